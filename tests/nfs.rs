//! The agent and its unit beside real NFS mounts, one of which comes, hangs and goes, in a virtual machine without a network.
//! The steps are in `tests/machine/vm/run`, which runs inside.
//! Needs root and what `tests/machine/setup.sh` installs and builds.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test, which waits for a virtual machine in real time"
)]

mod machine;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use machine::{AGENT, built, checkout, ready, say};

/// In this order.
const STEPS: [&str; 16] = [
    "starts_where_nothing_is_on_efs",
    "starts_before_the_mount",
    "sees_the_mount_made_later",
    "sees_one_more_mount",
    "starts_with_the_mount",
    "check_finds_server_properties_on_efs",
    "check_says_on_which_mount_a_link_and_a_folder_are",
    "says_hung_when_the_server_is_gone",
    "check_is_not_kept_waiting_by_efs",
    "lives_on_while_efs_hangs",
    "a_link_to_a_mount_that_hangs_keeps_nobody_waiting",
    "restarts_while_efs_hangs",
    "says_mounted_when_the_server_answers_again",
    "does_not_hold_the_mount",
    "leaves_an_automount_alone",
    "sees_the_automount_used",
];

/// For the whole run, which takes five minutes, and on a busy machine several times that.
const PATIENCE: Duration = Duration::from_mins(25);

/// Ends with the test, however that ends.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn efs_comes_hangs_and_goes() {
    if !ready(&["qemu-system-x86_64", "mkfs.ext4", "setpriv"], &["nfs.ext4", "vmlinuz", "initrd"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("no temporary folder");
    let payload = folder.path().join("payload.ext4");
    let console = folder.path().join("console.log");
    pack(folder.path(), &payload);

    let mut qemu = Qemu(
        // --pdeathsig: it goes with this thread even if the test is killed.
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(built("vmlinuz"))
            .arg("-initrd")
            .arg(built("initrd"))
            // On a busy host the guest's clock stands still now and then: no panic for that, and patience with its disks.
            .args([
                "-append",
                "root=/dev/vda rw console=ttyS0 panic=-1 no_timer_check systemd.default_device_timeout_sec=300",
            ])
            // Writes to the system's disk go to a file of this run.
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio,snapshot=on", built("nfs.ext4").display()))
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio,readonly=on", payload.display()))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start QEMU"),
    );
    say("a virtual machine boots without hardware virtualisation: about half a minute");

    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(qemu.0.stdout.take().expect("a pipe"));
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // The test may have ended.
            let _ = sender.send(line.trim_end().to_owned());
        }
    });

    let end = Instant::now() + PATIENCE;
    let mut passed = Vec::new();
    let mut all = Vec::new();
    let why = loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(step) = line.strip_prefix("STEP ") {
                    say(&format!("  {step}"));
                    let mut words = step.split(' ');
                    if let (Some(name), Some("ok")) = (words.next(), words.next()) {
                        passed.push(name.to_owned());
                    }
                }
                let done = line == "DONE";
                all.push(line);
                if done {
                    break "every step was tried";
                }
            }
            Err(RecvTimeoutError::Timeout) => break "the patience ended",
            Err(RecvTimeoutError::Disconnected) => break "the virtual machine ended",
        }
    };
    if passed != STEPS {
        let console = fs::read(&console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let tail: Vec<&str> = console.lines().rev().take(40).collect();
        say(&format!("the console's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n")));
        panic!("{why}, and passed were only {passed:?}:\n{}", all.join("\n"));
    }
}

/// The disk with all that the steps need.
fn pack(folder: &Path, disk: &Path) {
    let files = folder.join("payload");
    fs::create_dir(&files).expect("cannot make a folder");
    for from in [
        Path::new(AGENT),
        &checkout().join("systemd/mc-idle.service"),
        &checkout().join("systemd/mc-idle.toml"),
        &checkout().join("systemd/mc-idle.sysusers"),
        &checkout().join("tests/machine/vm/run"),
    ] {
        let to = files.join(from.file_name().expect("a file"));
        fs::copy(from, to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
    }
    let made = Command::new("mkfs.ext4").args(["-q", "-d"]).arg(&files).arg(disk).arg("256M").output();
    let made = made.expect("cannot run mkfs.ext4");
    assert!(made.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr));
}
