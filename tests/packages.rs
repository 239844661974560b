//! The packages as an operator meets them: made as `make packages` makes them, from the binary under test, looked at with
//! dpkg's and rpm's own tools, and installed, upgraded and removed on a Debian with a real systemd.
//! Needs root and what `make test` installs and builds. Over 400 lines: the tests share the packages and the machine.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for systemd in real time"
)]

mod machine;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use machine::container::{Machine, QUICK, Tree, text};
use machine::{AGENT, checkout, ready};
use tempfile::TempDir;

const THIS: &str = env!("CARGO_PKG_VERSION");
/// The version of an upgrade.
const NEXT: &str = "99.0.0";
/// The glibc of Amazon Linux 2023.
const GLIBC: &str = "2.34";

/// What stands in a configuration after somebody has edited it.
const EDITED: &str = "idle_minutes = 25";

/// The other program that is packed.
const BROKER: &str = "mc-broker";

fn deb(version: &str) -> String {
    deb_of("mc-idle", version)
}

fn deb_of(program: &str, version: &str) -> String {
    format!("{program}_{version}-1_amd64.deb")
}

fn rpm(version: &str) -> String {
    rpm_of("mc-idle", version)
}

fn rpm_of(program: &str, version: &str) -> String {
    format!("{program}-{version}-1.x86_64.rpm")
}

/// Makes packages of `program`, which is `binary`, in `folder`.
fn build(program: &str, binary: &Path, folder: &Path, version: &str, target: Option<&str>) -> Output {
    Command::new(checkout().join("systemd/packaging/build.sh"))
        .arg(program)
        .arg(binary)
        .arg(folder)
        .args(target)
        .env("PACKAGE_VERSION", version)
        .env("FAST", "1")
        .output()
        .expect("cannot run build.sh")
}

fn built(program: &str, binary: &Path, folder: &Path, version: &str, target: Option<&str>) {
    let output = build(program, binary, folder, version, target);
    assert!(output.status.success(), "build.sh failed:\n{}{}", text(&output.stdout), text(&output.stderr));
}

/// The folder with the packages of both versions. `None` when the test is to be skipped.
fn packages() -> Option<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if !ready(&["cargo-deb", "cargo-generate-rpm", "dpkg-deb", "rpm", "readelf", "strip", "cc"], &["root.tar"]) {
        return None;
    }
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let _ = fs::remove_dir_all(&folder);
        for version in [THIS, NEXT] {
            built("mc-idle", Path::new(AGENT), &folder, version, None);
        }
        let broker = Path::new(AGENT).with_file_name(BROKER);
        assert!(broker.is_file(), "mc-broker is not built: cargo test --locked --workspace --test broker --no-run");
        built(BROKER, &broker, &folder, THIS, None);
        folder
    });
    Some(folder)
}

/// What a command of this machine prints; it must succeed.
fn printed(program: &str, arguments: &[&str], package: &Path) -> String {
    let output =
        Command::new(program).args(arguments).arg(package).env("LC_ALL", "C.UTF-8").output().expect("installed");
    assert!(output.status.success(), "{program} {arguments:?} failed: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The files in a .deb, each with its mode and owner, in order.
fn files_in_deb(package: &Path) -> Vec<String> {
    let contents = printed("dpkg-deb", &["--contents"], package);
    let mut files: Vec<String> = contents
        .lines()
        .filter(|line| !line.starts_with('d'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[5])
        })
        .collect();
    files.sort();
    files
}

/// A Debian with both versions of both packages of the agent in /root, and with what `lay` puts into the folder that it is given.
fn debian(lay: impl FnOnce(&Path)) -> Option<Machine> {
    let packages = packages()?;
    let files: TempDir = tempfile::tempdir().expect("no temporary folder");
    let root = files.path().join("root");
    fs::create_dir(&root).expect("a folder");
    for file in [deb(THIS), deb(NEXT), rpm(THIS), rpm(NEXT)] {
        fs::copy(packages.join(&file), root.join(&file)).expect("cannot copy a package");
    }
    lay(files.path());
    Machine::bare(&Tree { file: "root.tar", options: &[], prepare: "" }, files.path())
}

fn put(folder: &Path, file: &str, content: &str, mode: u32) {
    let file = folder.join(file);
    fs::create_dir_all(file.parent().expect("a path with a folder")).expect("cannot make folder");
    fs::write(&file, content).expect("cannot write");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("cannot set the mode");
}

impl Machine {
    /// What a shell line prints that need not succeed.
    fn said(&self, line: &str) -> String {
        text(&self.run(line).stdout).trim().to_owned()
    }

    /// Lets an operator edit the configuration, and the clock of an empty server run for some seconds, which it returns.
    fn in_use(&self) -> u64 {
        self.ok(&format!("sed -i 's/^#idle_minutes.*/{EDITED}/' /etc/mc-idle/config.toml"));
        self.config(QUICK);
        self.server();
        self.ok("systemctl reload-or-restart mc-idle");
        self.until("the clock shows six seconds", || self.idle_clock() >= 6);
        self.idle_clock()
    }

    /// Does the upgrade `line`, and asserts on what an operator expects of one.
    fn upgraded(&self, line: &str) {
        let clock = self.in_use();
        let pid = self.main_pid();
        let lines = self.states().len();
        self.ok(line);
        assert_eq!(self.property("ActiveState"), "active");
        assert_ne!(self.main_pid(), pid, "the old agent still runs");
        self.until("the new agent says its state", || self.states().len() > lines);
        let after = self.states()[lines].idle_seconds.expect("a clock");
        assert!(after >= clock, "the clock shows {after} s, and {clock} s before the upgrade\n{}", self.story());
        self.ok(&format!("grep -qx '{EDITED}' /etc/mc-idle/config.toml"));
        self.ok("test -e /etc/mc-idle/config.d/50-test.toml");
        assert_eq!(self.states()[lines].window_seconds, Some(25 * 60), "the operator's settings hold");
    }

    /// Lets the service end with a configuration that it refuses.
    fn fails(&self) {
        self.config("idle_minuets = 15");
        assert!(!self.run("systemctl restart mc-idle").status.success(), "a bad configuration was taken");
        assert_eq!(self.property("ActiveState"), "failed");
    }

    /// Nothing of the agent is left running, and systemd and the journal have never heard of it.
    fn nothing_left(&self) {
        self.nothing_left_of("mc-idle");
    }

    fn nothing_left_of(&self, program: &str) {
        assert_eq!(self.said(&format!("pidof {program}")), "");
        let units = format!(
            "systemctl list-units --all --no-legend --plain {program}.service
             systemctl list-unit-files --no-legend {program}.service
             find /etc/systemd /usr/lib/systemd /var/lib/systemd -name '*{program}*'"
        );
        assert_eq!(self.said(&units), "");
        assert!(!self.ok("journalctl --list-catalog").contains(program), "the catalog still explains {program}");
        assert_eq!(self.said(&format!("ls -d /run/{program} /usr/bin/{program}")), "");
    }

    /// The user is there, and the journal is explained.
    fn is_set_up(&self) {
        self.ok("id mc-idle");
        assert!(self.ok("journalctl --list-catalog").contains("mc-idle"), "the catalog does not explain mc-idle");
        self.ok("mc-idle check --offline");
    }
}

#[test]
fn the_deb_contains_what_belongs_on_debian() {
    let Some(packages) = packages() else { return };
    let package = packages.join(deb(THIS));
    assert_eq!(
        files_in_deb(&package),
        [
            "-rw-r--r-- 0/0 ./etc/mc-idle/config.d/README",
            "-rw-r--r-- 0/0 ./etc/mc-idle/config.toml",
            "-rw-r--r-- 0/0 ./usr/lib/systemd/catalog/mc-idle.catalog",
            "-rw-r--r-- 0/0 ./usr/lib/systemd/system/mc-idle.service",
            "-rw-r--r-- 0/0 ./usr/lib/sysusers.d/mc-idle.conf",
            "-rw-r--r-- 0/0 ./usr/share/bash-completion/completions/mc-idle",
            "-rw-r--r-- 0/0 ./usr/share/doc/mc-idle/changelog.Debian.gz",
            "-rw-r--r-- 0/0 ./usr/share/doc/mc-idle/changelog.gz",
            "-rw-r--r-- 0/0 ./usr/share/doc/mc-idle/copyright",
            "-rw-r--r-- 0/0 ./usr/share/fish/vendor_completions.d/mc-idle.fish",
            "-rw-r--r-- 0/0 ./usr/share/man/man5/mc-idle.toml.5.gz",
            "-rw-r--r-- 0/0 ./usr/share/man/man8/mc-idle.8.gz",
            "-rw-r--r-- 0/0 ./usr/share/zsh/vendor-completions/_mc-idle",
            "-rwxr-xr-x 0/0 ./usr/bin/mc-idle",
        ]
    );
    let conffiles = Command::new("dpkg-deb").arg("--info").arg(&package).arg("conffiles").output().expect("dpkg-deb");
    let conffiles = text(&conffiles.stdout);
    let mut conffiles: Vec<&str> = conffiles.lines().collect();
    conffiles.sort_unstable();
    assert_eq!(conffiles, ["/etc/mc-idle/config.d/README", "/etc/mc-idle/config.toml"]);
    let depends = Command::new("dpkg-deb").arg("--field").arg(&package).arg("Depends").output().expect("dpkg-deb");
    assert_eq!(
        text(&depends.stdout).trim(),
        format!("ca-certificates, libc6 (>= {GLIBC}), libgcc-s1, systemd"),
        "what the package asks for is what build.sh checks the binary for"
    );
}

#[test]
fn a_deb_is_installed_upgraded_and_purged() {
    let Some(machine) = debian(|_| {}) else { return };
    let told = machine.ok(&format!("dpkg --install /root/{}", deb(THIS)));
    machine.is_set_up();
    assert_eq!(machine.ok("systemctl is-enabled mc-idle"), "enabled");
    assert_eq!(machine.property("ActiveState"), "active", "Debian starts what it installs");

    // Nobody has configured it yet, so it must not stop anything yet.
    assert!(told.contains("It stops nothing within the next 2 hours"), "{told}");
    let held = || machine.ok("mc-idle status").contains("just installed and not configured yet");
    machine.until("the status shows the hold", held);
    machine.ok("mc-idle release");

    machine.upgraded(&format!("dpkg --install /root/{}", deb(NEXT)));
    assert_eq!(machine.ok("systemctl is-enabled mc-idle"), "enabled");
    assert!(!held(), "an upgrade is no reason for a hold");

    machine.ok("dpkg --remove mc-idle");
    assert_eq!(machine.said("pidof mc-idle"), "");
    machine.ok(&format!("grep -qx '{EDITED}' /etc/mc-idle/config.toml"));

    machine.ok("dpkg --purge mc-idle");
    machine.nothing_left();
    assert_eq!(machine.said("ls -d /etc/mc-idle /etc/default/mc-idle"), "");
}

#[test]
fn a_deb_follows_policy_rc_d_and_does_not_hold_a_server_that_is_configured() {
    let Some(machine) = debian(|files| put(files, "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)) else {
        return;
    };
    let install = format!("dpkg --install /root/{}", deb(THIS));
    machine.ok(&install);
    machine.is_set_up();
    assert_eq!(machine.ok("systemctl is-enabled mc-idle"), "enabled");
    assert_eq!(machine.property("ActiveState"), "inactive", "policy-rc.d forbids the start");
    machine.ok("dpkg --purge mc-idle; rm /usr/sbin/policy-rc.d");
    machine.nothing_left();

    // As a tool does that sets up a machine: settings first.
    machine.config(QUICK);
    let told = machine.ok(&install);
    assert!(!told.contains("Nothing is stopped"), "{told}");
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.said("ls /run/mc-idle/hold.json"), "", "configured already, and yet held");

    machine.fails();
    machine.ok("dpkg --purge mc-idle");
    machine.nothing_left();
}

#[test]
fn the_rpm_contains_what_belongs_on_amazon_linux() {
    let Some(packages) = packages() else { return };
    let package = packages.join(rpm(THIS));
    let query = |what: &str| printed("rpm", &["--query", "--package", what], &package);
    assert_eq!(
        query("--list").lines().collect::<Vec<_>>(),
        [
            "/etc/mc-idle/config.d/README",
            "/etc/mc-idle/config.toml",
            "/usr/bin/mc-idle",
            "/usr/lib/systemd/catalog/mc-idle.catalog",
            "/usr/lib/systemd/system/mc-idle.service",
            "/usr/lib/sysusers.d/mc-idle.conf",
            "/usr/share/bash-completion/completions/mc-idle",
            "/usr/share/doc/mc-idle/CHANGELOG.md",
            "/usr/share/fish/vendor_completions.d/mc-idle.fish",
            "/usr/share/licenses/mc-idle/LICENSE-APACHE",
            "/usr/share/licenses/mc-idle/LICENSE-MIT",
            "/usr/share/man/man5/mc-idle.toml.5",
            "/usr/share/man/man8/mc-idle.8",
            "/usr/share/zsh/site-functions/_mc-idle",
        ]
    );
    assert_eq!(query("--configfiles").trim(), "/etc/mc-idle/config.toml");
    let flags = query("--queryformat=[%{FILENAMES} %{FILEFLAGS:fflags} %{FILEMODES:perms} %{FILEUSERNAME}\\n]");
    assert!(flags.contains("/etc/mc-idle/config.toml cn -rw-r--r-- root"), "not %config(noreplace):\n{flags}");
    assert!(flags.contains("/usr/bin/mc-idle  -rwxr-xr-x root"), "{flags}");
    printed("rpm", &["--checksig", "--nosignature"], &package);

    // Whatever of the C library the binary needs is there once the package's own requirements are met.
    let requires = query("--requires");
    for name in ["systemd", "ca-certificates", "/bin/sh", &format!("libc.so.6(GLIBC_{GLIBC})(64bit)")] {
        assert!(requires.lines().any(|line| line == name), "{name} is not required:\n{requires}");
    }
    let scripts = query("--scripts");
    for line in ["postinstall", "preuninstall", "postuninstall", "systemctl --no-reload preset mc-idle.service"] {
        assert!(scripts.contains(line), "no {line}:\n{scripts}");
    }
}

#[test]
fn an_rpm_is_installed_upgraded_and_erased() {
    // Fedora and Amazon Linux enable nothing that is not on a list of theirs.
    let Some(machine) = debian(|files| put(files, "etc/systemd/system-preset/00-fedora.preset", "disable *\n", 0o644))
    else {
        return;
    };
    // The dependencies are dpkg's here.
    let rpm = |verb: &str, what: &str| machine.ok(&format!("rpm --force-debian --nodeps {verb} {what}"));
    rpm("--install", &format!("/root/{}", self::rpm(THIS)));
    machine.is_set_up();
    assert_eq!(machine.said("systemctl is-enabled mc-idle"), "disabled");
    assert_eq!(machine.property("ActiveState"), "inactive");

    machine.ok("systemctl enable --now mc-idle");
    machine.upgraded(&format!("rpm --force-debian --nodeps --upgrade /root/{}", self::rpm(NEXT)));
    assert_eq!(machine.ok("systemctl is-enabled mc-idle"), "enabled");
    assert_eq!(machine.ok("rpm --query mc-idle"), format!("mc-idle-{NEXT}-1.x86_64"));

    rpm("--erase", "mc-idle");
    machine.nothing_left();
    machine.ok(&format!("grep -qx '{EDITED}' /etc/mc-idle/config.toml.rpmsave"));
    machine.ok("test -e /etc/mc-idle/config.d/50-test.toml");
}

#[test]
fn an_upgrade_of_the_rpm_does_not_start_what_was_stopped() {
    let Some(machine) = debian(|_| {}) else { return };
    machine.ok(&format!("rpm --force-debian --nodeps --install /root/{}", rpm(THIS)));
    assert_eq!(machine.ok("systemctl is-enabled mc-idle"), "enabled", "Debian's presets enable everything");
    assert_eq!(machine.property("ActiveState"), "inactive");
    machine.ok(&format!("rpm --force-debian --nodeps --upgrade /root/{}", rpm(NEXT)));
    assert_eq!(machine.property("ActiveState"), "inactive");
    machine.fails();
    machine.ok("rm /etc/mc-idle/config.d/50-test.toml; rpm --force-debian --erase mc-idle");
    machine.nothing_left();
    assert_eq!(machine.said("ls -d /etc/mc-idle"), "", "nobody has put anything there");
}

#[test]
fn the_brokers_packages_contain_what_the_agents_do() {
    let Some(packages) = packages() else { return };
    let brokers = |text: &str| text.replace("mc-idle", BROKER);
    let (agent, broker) = (packages.join(deb(THIS)), packages.join(deb_of(BROKER, THIS)));
    let mut wanted: Vec<String> = files_in_deb(&agent).iter().map(|file| brokers(file)).collect();
    wanted.sort();
    assert_eq!(files_in_deb(&broker), wanted);
    let field = |package: &Path| {
        let output = Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends").output().expect("dpkg-deb");
        text(&output.stdout)
    };
    assert_eq!(field(&broker), field(&agent));

    let (agent, broker) = (packages.join(rpm(THIS)), packages.join(rpm_of(BROKER, THIS)));
    for what in ["--list", "--configfiles", "--requires"] {
        let query = |package: &Path| printed("rpm", &["--query", "--package", what], package);
        assert_eq!(query(&broker), brokers(&query(&agent)), "{what}");
    }
}

#[test]
fn the_broker_is_installed_waits_for_its_configuration_and_is_purged() {
    let Some(packages) = packages() else { return };
    let (deb, rpm) = (deb_of(BROKER, THIS), rpm_of(BROKER, THIS));
    let lay = |files: &Path| {
        for file in [&deb, &rpm] {
            fs::copy(packages.join(file), files.join("root").join(file)).expect("cannot copy a package");
        }
    };
    let Some(machine) = debian(lay) else { return };
    let property = |name: &str| machine.ok(&format!("systemctl show -P {name} mc-broker"));
    let install = format!("dpkg --install /root/{deb}");
    let told = machine.ok(&install);
    assert!(told.contains("has to be configured before it can run"), "{told}");
    machine.ok("id mc-broker");
    assert!(machine.ok("journalctl --list-catalog").contains(BROKER), "the catalog does not explain mc-broker");
    assert_eq!(machine.said("systemctl is-enabled mc-broker"), "disabled");
    assert_eq!(property("ActiveState"), "inactive");

    let verify = machine.run("systemd-analyze verify mc-broker.service");
    assert!(verify.status.success() && verify.stderr.is_empty(), "{}", text(&verify.stderr));
    machine.ok("systemd-analyze security --no-pager --offline=true --threshold=12 mc-broker.service");

    assert!(!machine.run("systemctl start mc-broker").status.success(), "it runs without a configuration");
    assert_eq!(property("ExecMainStatus"), "78");
    assert_eq!((property("ActiveState"), property("NRestarts")), ("failed".to_owned(), "0".to_owned()));

    // Nothing answers there, and it runs all the same. The key is the unit's credential.
    machine.write(
        "/etc/mc-broker/config.d/50-site.toml",
        "[launcher]\nurl = \"http://127.0.0.1:8099\"\nkey_file = \"broker-key\"",
    );
    machine.ok("systemctl enable --now mc-broker");
    let says = |what: &str| machine.ok("journalctl --sync; journalctl -q -u mc-broker -o cat").contains(what);
    machine.until("the journal says that there is no key", || says("broker-key is no key"));
    machine.write("/etc/mc-broker/broker-key", "secret");
    machine.ok("chmod 600 /etc/mc-broker/broker-key; systemctl restart mc-broker");
    machine.until("the launcher is asked", || says("the launcher cannot be reached"));

    let pid = property("MainPID");
    machine.ok(&install);
    assert_eq!(property("ActiveState"), "active");
    assert_ne!(property("MainPID"), pid, "an upgrade restarts what runs");

    machine.ok("dpkg --remove mc-broker; test -e /etc/mc-broker/broker-key; dpkg --purge mc-broker");
    machine.nothing_left_of(BROKER);
    assert_eq!(machine.said("ls -d /etc/mc-broker"), "");

    machine.ok(&format!("rpm --force-debian --nodeps --install /root/{rpm}"));
    machine.ok("id mc-broker; rpm --force-debian --erase mc-broker");
    machine.nothing_left_of(BROKER);
    assert_eq!(machine.said("ls -d /etc/mc-broker"), "");
}

/// A program in C, linked with `options`.
fn compiled(folder: &Path, source: &str, options: &[&str]) -> PathBuf {
    let (code, program) = (folder.join("program.c"), folder.join("program"));
    fs::write(&code, source).expect("cannot write");
    let status = Command::new("cc").arg("-o").arg(&program).arg(&code).args(options).status().expect("cannot run cc");
    assert!(status.success(), "cc failed");
    program
}

#[test]
fn a_binary_that_amazon_linux_cannot_run_is_not_packed() {
    let Some(_) = packages() else { return };
    let folder = tempfile::tempdir().expect("no temporary folder");
    let refused = |program: &Path, why: &str| {
        let output = build("mc-idle", program, &folder.path().join("packages"), THIS, None);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        let left = fs::read_dir(folder.path().join("packages")).expect("a folder").count();
        assert_eq!(left, 0, "something was left behind");
    };
    let newer = "#include <stdlib.h>\nint main(void) { return (int)(arc4random() & 1); }\n";
    refused(&checkout().join("Cargo.toml"), "cannot tell which glibc");
    refused(&compiled(folder.path(), newer, &[]), "needs GLIBC_2.36, but at most GLIBC_2.34 is allowed");
    let library = compiled(folder.path(), "int main(void) { return 0; }\n", &["-Wl,--no-as-needed", "-lresolv"]);
    refused(&library, "needs libresolv.so.2, which the packages do not depend on");
}

#[test]
fn packages_for_graviton_have_the_names_of_its_architecture() {
    let Some(_) = packages() else { return };
    let folder = tempfile::tempdir().expect("no temporary folder");
    let program = compiled(folder.path(), "int main(void) { return 0; }\n", &["-s"]);
    // Not a program of that architecture: only what is written about it. `make arm64-test` looks at the real ones.
    built("mc-idle", &program, folder.path(), THIS, Some("aarch64-unknown-linux-gnu"));
    let deb = folder.path().join(format!("mc-idle_{THIS}-1_arm64.deb"));
    assert!(printed("dpkg-deb", &["--info"], &deb).contains("Architecture: arm64"));
    let rpm = folder.path().join(format!("mc-idle-{THIS}-1.aarch64.rpm"));
    assert_eq!(printed("rpm", &["--query", "--package", "--queryformat=%{ARCH}"], &rpm), "aarch64");
}
