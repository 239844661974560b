//! The golden image's template with a real Packer, its last step on a real Debian tree, the policies beside it, and the
//! game server's unit under a real systemd. The image itself, built and booted: `make image`, `make image-test`.
//! Needs root and what `tests/machine/setup.sh` and `tests/lab/setup.sh` install.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for a container in real time"
)]

mod machine;
#[path = "packer/tree.rs"]
mod tree;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use machine::container::{Machine, Tree, text};
use machine::{checkout, ready};

/// Named as by `make packages`.
const PACKAGE: &str = "mc-idle_0.1.0-1_amd64.deb";
/// What is said of other names.
const MISNAMED: &str = "The package must be a .rpm (for Amazon Linux) or a .deb (for Debian), named as by make packages: \
                        with its architecture at the end.";

/// What Packer is to make of the template with these variables beside the necessary ones.
fn validate(template: &str, key: &Path, variables: &[&str]) -> Output {
    let package = key.with_file_name(PACKAGE);
    fs::write(&package, "").expect("cannot write");
    let mut packer = Command::new("packer");
    packer.current_dir(checkout()).env("CHECKPOINT_DISABLE", "1").arg("validate");
    packer.arg("-var").arg(format!("package={}", package.display()));
    packer.arg("-var").arg(format!("ssh_key={}", key.display()));
    packer.arg("-var").arg(format!("seed_folder={}", key.parent().expect("a folder").display()));
    packer.arg("-var").arg(format!("output_folder={}", key.with_file_name("build").display()));
    for variable in variables {
        packer.args(["-var", variable]);
    }
    packer.arg(template).stdin(Stdio::null()).output().expect("cannot start packer")
}

/// The template's folder for the installed Packer, and a key in a folder of its own.
fn template() -> Option<(String, tempfile::TempDir)> {
    if !ready(&["packer", "ssh-keygen"], &[]) {
        return None;
    }
    let folder = tempfile::tempdir().expect("no temporary folder");
    let script =
        Command::new(checkout().join("packer/debian/template.sh")).arg(folder.path().join("template")).output();
    let script = script.expect("cannot start template.sh");
    assert!(script.status.success(), "{}", text(&script.stderr));
    let key = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(folder.path().join("key"))
        .status()
        .expect("cannot start ssh-keygen");
    assert!(key.success());
    Some((text(&script.stdout).trim().to_owned(), folder))
}

#[test]
fn packer_takes_the_template() {
    let Some((template, folder)) = template() else { return };
    let format = Command::new("packer").args(["fmt", "-check", "packer"]).current_dir(checkout()).output();
    let format = format.expect("cannot start packer");
    assert!(format.status.success(), "packer fmt packer would change {}", text(&format.stdout));
    // Both builders in one.
    let taken = validate(&template, &folder.path().join("key"), &[]);
    assert!(taken.status.success(), "{}{}", text(&taken.stdout), text(&taken.stderr));
}

#[test]
fn the_image_is_for_the_processor_of_the_package() {
    let Some((template, _folder)) = template() else { return };
    for (package, processor, builder) in [
        ("mc-idle-0.1.0-1.aarch64.rpm", "arm64", "t4g.small"),
        ("mc-idle-0.1.0-1.x86_64.rpm", "x86_64", "t3.small"),
        // The folder says nothing of it.
        ("target/aarch64.rpm/mc-idle_0.1.0-1_amd64.deb", "x86_64", "t3.small"),
        ("target/x86_64/mc-idle_0.1.0-1_arm64.deb", "arm64", "t4g.small"),
    ] {
        let inspected = Command::new("packer")
            .current_dir(checkout())
            .env("CHECKPOINT_DISABLE", "1")
            .args(["inspect", "-var", &format!("package={package}"), &template])
            .output()
            .expect("cannot start packer");
        let said = text(&inspected.stdout);
        for line in [format!("local.architecture: \"{processor}\""), format!("local.builder: \"{builder}\"")] {
            assert!(said.contains(&line), "{package}: no {line} in {said}{}", text(&inspected.stderr));
        }
    }
    // Of which AWS is asked for a machine to start from.
    let amazon = fs::read_to_string(checkout().join("packer/amazon.pkr.hcl")).expect("a file of the project");
    for line in ["instance_type   = local.builder\n", "architecture        = local.architecture\n"] {
        assert!(amazon.contains(line), "no {line}");
    }
}

#[test]
fn a_wrong_variable_is_refused_with_a_sentence() {
    let Some((template, folder)) = template() else { return };
    for (variable, sentence) in [
        ("package=mc-idle", MISNAMED),
        ("package=mc-idle.rpm", MISNAMED),
        ("package=mc-idle-0.1.0-1.arm64.rpm", MISNAMED),
        // The package says it, and only the package.
        ("architecture=arm64", "A \"architecture\" variable was passed"),
        ("region=earth", "The region must be the name of an AWS region, such as eu-central-1."),
        ("subnet_id=10.0.0.0/24", "The subnet_id must be empty or look like subnet-0123456789abcdef0."),
        ("ami_name=a", "The ami_name must have 3 to 90 letters, digits or characters of ()./_- in it."),
        ("volume_gib=7", "The volume_gib must be a whole number from 8 to 1024."),
        ("volume_gib=8.5", "The volume_gib must be a whole number from 8 to 1024."),
        ("volume_gib=much", "a number is required"),
        ("base_image=disk.raw", "The base_image must be the path of a .qcow2 file."),
        ("accelerator=hvf", "The accelerator must be tcg or kvm."),
        ("output_folder=", "The output_folder must not be empty."),
        ("seed_folder=", "The seed_folder must not be empty."),
        ("ssh_key=", "The ssh_key must be the path of a private key."),
        ("eula=true", "A \"eula\" variable was passed"),
    ] {
        let refused = validate(&template, &folder.path().join("key"), &[variable]);
        assert!(!refused.status.success(), "{variable} was taken");
        // Packer breaks its lines.
        let said = text(&refused.stdout) + &text(&refused.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(sentence), "{variable}: {said}");
    }
}

#[test]
fn nothing_of_a_build_or_a_site_becomes_an_image() {
    if !ready(&["tar", "chroot", "unshare"], &["root.tar"]) {
        return;
    }
    let tree = tree::Sealed::new();
    let fit = tree.validate(&[], false);
    assert!(fit.status.success(), "a sealed tree is refused: {}", text(&fit.stderr));
    for (fault, line, sentence) in tree::FAULTS {
        let refused = tree.validate(&[line], false);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{fault} was not found:\n{said}");
        assert!(said.contains(&format!("WRONG: {sentence}")), "{fault}: {said}");
        assert!(said.contains("validate: 1 wrong"), "{fault} is found more than once, or more than it: {said}");
    }
    // What seal.sh leaves of all that a build leaves.
    assert!(!tree.validate(tree::LEFT_BY_A_BUILD, false).status.success());
    let fit = tree.validate(tree::LEFT_BY_A_BUILD, true);
    assert!(fit.status.success(), "seal.sh has left something: {}", text(&fit.stderr));
}

#[test]
fn policies_allow_what_is_needed_and_no_more() {
    let python = checkout().join("target/lab/venv/bin/python");
    if !python.is_file() {
        assert!(std::env::var_os("CI").is_none(), "skipped in CI: needs the lab");
        machine::say("skipped: needs the lab; run tests/lab/setup.sh");
        return;
    }
    let policies = Command::new(python).arg(checkout().join("tests/packer/policies.py")).output().expect("no Python");
    assert!(policies.status.success(), "{}{}", text(&policies.stdout), text(&policies.stderr));
}

/// A server that saves on SIGTERM and takes a while for it; EFS is a folder that the test sees from elsewhere too.
const PREPARE: &str = "
    set -e
    mkdir -p /mnt/efs /usr/lib/mc-idle /run/efs
    cat >/run/server <<'END'
#!/bin/sh
trap 'sleep 2; echo saved >>world; echo \"the world is saved\"; exit 143' TERM
echo \"the server plays in $(pwd) as $(id -un)\"
while :; do sleep 0.1; done
END
    chmod 755 /run/server";

/// What systemd needs in a container to filter addresses: the filter is a BPF program (systemd.resource-control(5)).
const FILTERS: [&str; 2] = ["--capability=CAP_BPF,CAP_NET_ADMIN", "--system-call-filter=bpf"];

/// A server with a world on EFS, which is not mounted yet. Each test has one of its own, and with it a journal of its own.
struct Game {
    machine: Machine,
    unit: String,
    folder: String,
}

impl Game {
    /// `None` when the test is to be skipped.
    fn new(name: &str) -> Option<Self> {
        let machine = Machine::new(&Tree { file: "root.tar", options: &FILTERS, prepare: PREPARE })?;
        for (file, to) in [
            ("minecraft@.service", "/usr/lib/systemd/system/minecraft@.service"),
            ("minecraft-server", "/usr/lib/mc-idle/minecraft-server"),
            ("minecraft.sysusers", "/usr/lib/sysusers.d/minecraft.conf"),
        ] {
            let content = fs::read_to_string(checkout().join("systemd").join(file)).expect("a file of the project");
            machine.write(to, &content);
        }
        machine.ok(&format!(
            "chmod 755 /usr/lib/mc-idle/minecraft-server
             systemd-sysusers
             systemctl stop 'minecraft@*' mnt-efs.mount
             rm -rf /run/efs/* /mnt/efs/*
             install -d -o minecraft -g minecraft /run/efs/minecraft /run/efs/minecraft/{name}
             echo '/run/efs /mnt/efs none bind,_netdev,nofail 0 0' >/etc/fstab
             systemctl daemon-reload"
        ));
        Some(Game { machine, unit: format!("minecraft@{name}"), folder: format!("/run/efs/minecraft/{name}") })
    }

    /// Puts an executable file there.
    fn program(&self, path: &str, content: &str) {
        self.machine.write(path, content);
        self.machine.ok(&format!("chmod 755 {path}"));
    }

    /// What the unit has printed, and what systemd has said of it.
    fn journal(&self) -> String {
        self.machine.ok(&format!("journalctl --sync; journalctl -q -o cat -u {}", self.unit))
    }

    fn until_it_says(&self, line: &str) {
        self.machine.until(&format!("{line}: {}", self.journal()), || self.journal().contains(line));
    }
}

#[test]
fn the_game_is_saved_before_efs_goes() {
    let Some(game) = Game::new("behind-a-shell") else { return };
    // As people write it: the shell stays, and does not pass signals on.
    game.program(&format!("{}/start.sh", game.folder), "#!/bin/sh\n/run/server\necho the shell goes on");
    game.machine.ok(&format!("systemctl start {}", game.unit));
    game.until_it_says("the server plays in /mnt/efs/minecraft/behind-a-shell as minecraft");
    // What a shutdown does: EFS goes, and all that needs it goes before it.
    game.machine.ok("systemctl stop mnt-efs.mount; ! mountpoint -q /mnt/efs; ! test -e /mnt/efs/minecraft");
    assert_eq!(game.machine.ok(&format!("cat {}/world", game.folder)), "saved");
    let journal = game.journal();
    assert!(journal.contains("Deactivated successfully"), "{journal}");
    assert!(!journal.contains("the shell goes on"), "to start.sh the stop looks like a crash: {journal}");
}

#[test]
fn java_is_told_what_the_environment_says() {
    let Some(game) = Game::new("by-java") else { return };
    game.program("/usr/local/bin/java", "#!/bin/sh\necho \"java gets: $*\"\nexec /run/server");
    game.machine.write("/etc/default/minecraft", "JAVA_OPTIONS=-Xmx1G");
    game.machine.write("/etc/default/minecraft-by-java", "JAVA_OPTIONS=-Xmx3G -XX:+UseG1GC");
    game.machine.ok(&format!("touch {}/server.jar; systemctl start {}", game.folder, game.unit));
    game.until_it_says("java gets: -Xmx3G -XX:+UseG1GC -jar server.jar nogui");
    game.until_it_says("the server plays");
    // java is the unit's main process: 143, its answer to SIGTERM, is no failure.
    game.machine.ok(&format!("systemctl stop {}", game.unit));
    let journal = game.journal();
    assert!(journal.contains("the world is saved") && journal.contains("Deactivated successfully"), "{journal}");
    // Neither an EULA nor anything else is written for the owner.
    assert_eq!(game.machine.ok(&format!("ls {} | xargs", game.folder)), "server.jar world");
}

#[test]
fn the_game_does_not_get_the_instance_s_role() {
    let Some(game) = Game::new("curious") else { return };
    let machine = &game.machine;
    // Instance metadata and, beside it, AWS's DNS, which the game needs: a secret for whoever connects.
    machine.write("/run/metadata.sh", "read -r request; echo \"$request\" >>/run/asked; echo a secret");
    machine.background("silent", "busybox nc -ll -p 80 -e /bin/sh /run/metadata.sh");
    let addresses = ["169.254.169.254", "fd00:ec2::254", "169.254.169.253"];
    for address in addresses {
        machine.ok(&format!("ip address replace {address} dev lo"));
        machine.until(&format!("{address} answers"), || {
            machine.run(&format!("busybox nc -w 5 {address} 80 </dev/null")).stdout == b"a secret\n"
        });
    }
    let ask = "#!/bin/sh
for address in 169.254.169.254 fd00:ec2::254 169.254.169.253; do
    echo \"$address tells: $(busybox nc -w 3 $address 80 </dev/null 2>&1)\"
done
exec /run/server";
    game.program(&format!("{}/start.sh", game.folder), ask);
    machine.ok(&format!("systemctl start {}", game.unit));
    game.until_it_says("the server plays");
    let denied = machine.ok(&format!("systemctl show -P IPAddressDeny {}", game.unit));
    assert!(denied.contains("169.254.169.254/32") && denied.contains("fd00:ec2::254/128"), "{denied}");
    let journal = game.journal();
    for (address, told) in addresses.into_iter().zip(["nc: timed out", "nc: timed out", "a secret"]) {
        assert!(journal.contains(&format!("{address} tells: {told}")), "{journal}");
    }
    // mc-idle itself needs it.
    machine.ok("systemctl start mc-idle");
    machine.until("mc-idle asks instance metadata", || {
        machine.run("grep -F 'PUT /latest/api/token' /run/asked").status.success()
    });
}

#[test]
fn no_efs_no_game() {
    let Some(game) = Game::new("without-efs") else { return };
    game.program(&format!("{}/start.sh", game.folder), "#!/bin/sh\nexec /run/server");
    // EFS cannot be mounted.
    game.machine.ok("echo 'nowhere /mnt/efs nosuchfs _netdev,nofail 0 0' >/etc/fstab; systemctl daemon-reload");
    let start = game.machine.run(&format!("systemctl start {}", game.unit));
    assert!(!start.status.success());
    game.until_it_says("Dependency failed");
    // EFS does not even stand in fstab, and a world was once written to the root volume.
    game.machine.ok(": >/etc/fstab; systemctl daemon-reload; cp -a /run/efs/minecraft /mnt/efs/");
    game.machine.ok(&format!("systemctl start {}", game.unit));
    game.until_it_says("nothing is mounted at /mnt/efs");
    game.until_it_says("Failed with result 'exit-code'");
    // Nor after a while: that is up to a person.
    game.machine.ok(&format!("sleep 12; systemctl is-failed {}", game.unit));
    let journal = game.journal();
    assert!(!journal.contains("Scheduled restart job") && !journal.contains("the server plays"), "{journal}");
}
