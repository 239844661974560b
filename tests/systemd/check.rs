//! What `mc-idle check` says of the unit and of the power button, under a real systemd and logind in a container, beside an
//! AWS in which all is well. Needs root, what `tests/machine/setup.sh` installs and builds, and the lab.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test, which waits for systemd in real time"
)]

use crate::machine::container::{Machine, Tree, text};
use crate::support::emulated_aws::{self, EmulatedAws};

/// The installed service, and all that a stop needs.
struct World {
    machine: Machine,
    emulated_aws: EmulatedAws,
}

/// `None` when the test is to be skipped.
fn world() -> Option<World> {
    let machine =
        Machine::new(&Tree { file: "root.tar", options: &[], prepare: ": this one is taken apart by its tests" })?;
    skip_unless_lab()?;
    let emulated_aws = EmulatedAws::start_beside(machine.init());
    let world = World { machine, emulated_aws };
    world.machine.ok("systemctl --quiet unmask systemd-logind mc-idle
         rm -rf /run/systemd/logind.conf.d
         [ -e /usr/lib/systemd/system/mc-idle.service ] || mv /root/mc-idle.service /usr/lib/systemd/system/
         systemctl daemon-reload
         systemctl --quiet enable mc-idle
         systemctl restart systemd-logind");
    let rules = serde_json::json!([emulated_aws::narrow_role()]);
    world
        .machine
        .ok(&format!("busybox wget -q -O /dev/null --post-data='{rules}' {}/lab/faults", world.emulated_aws.url()));
    world.machine.write(
        "/etc/default/mc-idle",
        &format!("AWS_ENDPOINT_URL={0}\nAWS_EC2_METADATA_SERVICE_ENDPOINT={0}", world.emulated_aws.url()),
    );
    world.machine.config("[efs]\nmount_point = \"\"");
    world.machine.write("/srv/minecraft/server.properties", "server-port=25565");
    world.machine.server_in("/srv/minecraft");
    Some(world)
}

fn skip_unless_lab() -> Option<()> {
    let installed = emulated_aws::installed();
    assert!(installed || std::env::var_os("CI").is_none(), "skipped in CI: needs {}", emulated_aws::NEEDS);
    if !installed {
        crate::machine::say(&format!("skipped: needs {}", emulated_aws::NEEDS));
    }
    installed.then_some(())
}

impl World {
    /// The exit code and what is said, by root or whoever runs `by`.
    fn check_by(&self, by: &str) -> (Option<i32>, String) {
        let output = self.machine.run(&format!("set -a; . /etc/default/mc-idle; {by} mc-idle check"));
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// It ends with 1, for this and nothing else.
    fn assert_only_failure(&self, name: &str, said: &str) {
        let (code, lines) = self.check_by("");
        let failed: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("FAILED  ")).collect();
        assert!(
            code == Some(1)
                && matches!(failed.as_slice(), [line] if line.starts_with(&format!("{name}: ")) && line.contains(said)),
            "{name}: {said}: {code:?}\n{lines}"
        );
    }

    fn assert_well(&self, by: &str, line: &str) {
        let (code, lines) = self.check_by(by);
        assert!(code == Some(0) && lines.lines().any(|said| said.starts_with(line)), "{line}: {code:?}\n{lines}");
    }
}

#[test]
fn all_is_well_where_it_is_installed_and_runs() {
    let Some(world) = world() else { return };
    world.machine.ok("systemctl start mc-idle");
    let (code, lines) = world.check_by("");
    assert_eq!((code, lines.lines().count()), (Some(0), 17), "{lines}");
    // The server here listens and says nothing, as one with enable-status=false.
    let fine = |line: &str| line.starts_with("ok ") || line.starts_with("note    server's answer: ");
    assert!(lines.lines().all(fine), "{lines}");
    for said in [
        "unit: mc-idle.service is enabled and active",
        "power button: logind powers the machine off when EC2 presses it",
        "server.properties: /srv/minecraft/server.properties has server-port 25565",
    ] {
        assert!(lines.contains(said), "{said}: {lines}");
    }
    // As the service's user, who may not look into the server's process.
    let (code, lines) = world.check_by("setpriv --reuid mc-idle --regid mc-idle --clear-groups");
    assert_eq!(code, Some(0), "{lines}");
    assert_eq!(lines.lines().filter(|line| line.starts_with("ok ")).count(), 14, "{lines}");
    assert!(lines.contains("note    server.properties: not searched for; only root can inspect"), "{lines}");
}

#[test]
fn it_proves_what_holds_for_the_running_service_whatever_the_shell_has() {
    let Some(world) = world() else { return };
    world.machine.ok("systemctl start mc-idle");
    let checked = |shell: &str| {
        let output = world.machine.run(&format!("{shell} mc-idle check"));
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, lines) = checked("");
    assert_eq!((code, lines.lines().count()), (Some(0), 17), "{lines}");
    let said = "note    environment: AWS_EC2_METADATA_SERVICE_ENDPOINT, AWS_ENDPOINT_URL: as in the running service";
    assert!(lines.contains(said), "{lines}");
    // A key that the service does not have, an endpoint that does not exist, and a proxy on the way to it.
    let (code, lines) = checked(
        "AWS_ACCESS_KEY_ID=AKIAOPERATOR AWS_SECRET_ACCESS_KEY=s AWS_ENDPOINT_URL=http://127.0.0.1:1 https_proxy=x",
    );
    assert_eq!(code, Some(0), "{lines}");
    assert!(lines.contains("AWS_SECRET_ACCESS_KEY, https_proxy: as in the running service"), "{lines}");
    assert!(!lines.contains("AKIAOPERATOR"), "{lines}");
    // The other way round: what the service cannot do, no shell can make up for.
    world.machine.write("/etc/default/mc-idle", "AWS_ENDPOINT_URL=http://127.0.0.1:1");
    world.machine.ok("systemctl restart mc-idle");
    let url = world.emulated_aws.url();
    let shell = format!("AWS_ENDPOINT_URL={url} AWS_EC2_METADATA_SERVICE_ENDPOINT={url}");
    let (code, lines) = checked(&shell);
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("FAILED  instance metadata"), "{lines}");
    world.machine.ok("systemctl stop mc-idle");
    let (code, lines) = checked(&shell);
    assert_eq!(code, Some(0), "{lines}");
    assert!(lines.contains("not run environment: that of this shell is used: mc-idle is not running"), "{lines}");
}

#[test]
fn it_can_be_asked_as_confined_as_the_agent_is() {
    let Some(world) = world() else { return };
    world.machine.drop_in("[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/bin/mc-idle check");
    world.machine.ok("systemctl start mc-idle");
    let lines = world.machine.journal();
    let said =
        |text: &str| lines.iter().any(|line| line["MESSAGE"].as_str().is_some_and(|said| said.starts_with(text)));
    for text in ["ok      unit: ", "ok      power button: ", "ok      networks: ", "note    server.properties: "] {
        assert!(said(text), "{text}\n{}", world.machine.story());
    }
}

#[test]
fn a_unit_that_the_next_boot_does_not_start_is_told() {
    let Some(world) = world() else { return };
    world.assert_well("", "note    unit: mc-idle.service is enabled, but not running; run systemctl start mc-idle");
    world.machine.ok("systemctl disable mc-idle");
    world.assert_only_failure("unit", "is disabled, so it does not start at boot; run systemctl enable --now mc-idle");
    world.machine.ok("systemctl --runtime enable mc-idle");
    world.assert_only_failure("unit", "is enabled-runtime, so it does not start at boot");
    world.machine.ok("systemctl --runtime disable mc-idle; systemctl mask mc-idle");
    world.assert_only_failure("unit", "is masked; run systemctl unmask mc-idle");
    world.machine.ok("systemctl unmask mc-idle; systemctl enable mc-idle");
    world.machine.drop_in("[Service]\nRestart=no\nExecStart=\nExecStart=/bin/false");
    world.machine.run("systemctl start mc-idle");
    world.assert_only_failure("unit", "is enabled, but has failed; see systemctl status mc-idle");
}

/// As after a mistake in a drop-in: systemd starts it again and again, and never calls that a failure.
#[test]
fn a_unit_that_ends_again_and_again_is_told() {
    let Some(world) = world() else { return };
    world.machine.drop_in("[Service]\nReadWritePaths=/nonexistent");
    world.machine.ok("systemctl start mc-idle || true");
    world.machine.until("it ends", || world.machine.property("SubState").starts_with("auto-restart"));
    world.assert_only_failure("unit", "ends again and again");
}

/// Root sees every process all the same, and the service does not.
#[test]
fn processes_that_the_service_cannot_see_are_told() {
    let Some(world) = world() else { return };
    world.machine.config("efs.mount_point = \"\"\n[minecraft]\nask = false");
    world.machine.ok("mount -o remount,hidepid=2 /proc");
    world.assert_only_failure("networks", "hidepid=");
    world.machine.ok("mount -o remount,hidepid=0 /proc");
}

#[test]
fn a_unit_that_is_not_installed_is_told() {
    let Some(world) = world() else { return };
    world
        .machine
        .ok("systemctl disable mc-idle; mv /usr/lib/systemd/system/mc-idle.service /root/; systemctl daemon-reload");
    world.assert_only_failure("unit", "mc-idle.service is not installed");
}

#[test]
fn a_power_button_that_does_not_power_off_is_told() {
    let Some(world) = world() else { return };
    world.machine.ok("systemctl start mc-idle");
    world.machine.write("/run/systemd/logind.conf.d/50-test.conf", "[Login]\nHandlePowerKey=ignore");
    world.machine.ok("systemctl restart systemd-logind");
    world.assert_only_failure("power button", "HandlePowerKey is \"ignore\"; set HandlePowerKey=poweroff");
    world.machine.ok("rm -r /run/systemd/logind.conf.d; systemctl restart systemd-logind");
    world.assert_well("", "ok      power button: ");

    world.machine.background("beside", "exec systemd-inhibit --what=handle-power-key --who=desk --why=mine sleep 1000");
    let said = "an inhibitor lock keeps logind from reacting to it: mine (desk, process ";
    world.machine.until("the lock is there", || world.check_by("").1.contains(said));
    world.assert_only_failure("power button", said);
    world.machine.ok("systemctl stop beside");
    // Locks of other kinds are none of the button's business.
    world.machine.background("beside2", "exec systemd-inhibit --what=sleep --who=desk --why=mine sleep 1000");
    world.machine.until("the lock is there", || world.machine.ok("systemd-inhibit --list").contains("mine"));
    world.assert_well("", "ok      power button: ");
}

#[test]
fn a_machine_without_logind_is_told() {
    let Some(world) = world() else { return };
    world.machine.ok("systemctl start mc-idle; systemctl --runtime mask --now systemd-logind");
    world.assert_only_failure("power button", "install and start systemd-logind");
    world.machine.ok("systemctl --runtime unmask systemd-logind; systemctl start systemd-logind");
    // Nor is there one without a bus, and nobody to ask of the unit.
    let (code, lines) =
        world.check_by("unshare --mount /bin/sh -c \"mount -t tmpfs none /run/dbus && exec \\$0 \\$1\"");
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("not run unit: cannot query systemd: no D-Bus; install dbus"), "{lines}");
    assert!(lines.contains("FAILED  power button: cannot query logind, which"), "{lines}");
}

#[test]
fn a_logind_that_hangs_is_not_waited_for() {
    let Some(world) = world() else { return };
    world.machine.ok("systemctl start mc-idle; systemctl kill --signal=STOP systemd-logind");
    let (code, lines) = world.check_by("");
    world.machine.ok("systemctl kill --signal=CONT systemd-logind");
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("ok      unit: ") && lines.contains("presses its power button: no answer; "), "{lines}");
}
