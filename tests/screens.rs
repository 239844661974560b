//! The screens of `docs/screens.md`: what an operator sees in nine situations, on a real systemd with the unit as shipped, a
//! real Minecraft server and player, real sockets, a real sshd, and an emulated AWS.
//!
//! Each test brings a situation about, looks at it through `systemctl status`, `mc-idle status` and the journal, and compares
//! the sentences with those of the page. `make screens` writes the page from the same runs.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for systemd in real time"
)]

mod machine;

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use machine::container::{Machine, Tree, text};
use machine::peers::{self, PLAYER, SCANNER};
use machine::{checkout, say, ssh};
use serde_json::{Value, json};

/// Where `make screens` wants each screen as a file, rather than compared with the page.
const FOLDER: &str = "MC_IDLE_SCREENS";
/// In the place of the emulated instance's id, which is another in each run.
const INSTANCE: &str = "i-0123456789abcdef0";
/// Lines of the page that are longer are folded.
const WIDTH: usize = 110;
/// The clocks are set forward by up to this, which the machine must have been up for.
const LONGEST: Duration = Duration::from_mins(15);

/// There is no NFS in a container, so that in most situations nothing is on EFS.
const NO_EFS: &str = "sample_seconds = 1\nefs.mount_point = \"\"\n";

/// `None` when the test is to be skipped.
fn machine() -> Option<Machine> {
    let machine = Machine::new(&Tree { file: "root.tar", options: &[], prepare: ssh::ACCOUNT })?;
    if !peers::installed() {
        return None;
    }
    machine.addresses();
    Some(machine)
}

fn up() -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").expect("a kernel");
    let seconds = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.expect("seconds"))
}

impl Machine {
    /// Starts the service in a machine that has been up for a while: once to learn how it is, and then with the state that an
    /// agent before it would have left, so that nobody has to wait. `ready` and `edit` are given that state.
    fn start_later(&self, ready: impl Fn(&Value) -> bool, edit: impl FnOnce(&mut Value)) {
        while up() < LONGEST + Duration::from_secs(10) {
            say("waiting until this machine has been up for as long as the clocks are to show");
            sleep(Duration::from_secs(10));
        }
        self.ok("systemctl start mc-idle");
        let read = || serde_json::from_slice(&self.run("cat /run/mc-idle/state.json").stdout).unwrap_or(Value::Null);
        self.until("the agent knows how it is", || ready(&read()));
        let mut state = read();
        edit(&mut state);
        self.ok("systemctl stop mc-idle");
        self.write("/run/mc-idle/state.json", &state.to_string());
        self.ok("journalctl --rotate && journalctl -q --vacuum-time=1s && systemctl start mc-idle");
    }

    fn start_with_the_clock_at(&self, elapsed: Duration) {
        let millis = u64::try_from(elapsed.as_millis()).expect("not so long");
        self.start_later(|state| state["clock"].is_string(), |state| state["elapsed_ms"] = millis.into());
    }
}

/// One situation, as the operator sees it.
struct Screen<'a> {
    machine: &'a Machine,
    number: usize,
    title: &'static str,
    situation: &'static str,
}

impl Screen<'_> {
    /// Waits for the `sentences` to be in the status and the `lines` in the journal, and shows or compares all of it.
    fn shows(&self, instance_id: &str, sentences: &[&str], lines: &[&str]) {
        let machine = self.machine;
        for said in sentences {
            machine.until(&format!("the status says {said:?}"), || machine.property("StatusText").contains(said));
        }
        let journal = || machine.ok("journalctl --sync; journalctl --no-pager -q -u mc-idle");
        for said in lines {
            machine.until(&format!("the journal says {said:?}"), || journal().contains(said));
        }
        let told = |output: String| output.replace(instance_id, INSTANCE);
        let status = told(machine.ok("systemctl status --no-pager --lines=0 mc-idle"));
        let screen = told(machine.ok("mc-idle status"));
        let journal = told(journal());
        let why = told(machine.property("StatusText"));
        assert!(screen.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns:\n{screen}");
        let drawn = self.draw(&[
            ("systemctl status mc-idle", systemctl(&status)),
            ("mc-idle status", screen),
            ("journalctl -u mc-idle", journal.lines().map(journal_line).collect::<Vec<_>>().join("\n")),
        ]);
        if let Some(folder) = std::env::var_os(FOLDER) {
            fs::write(PathBuf::from(folder).join(format!("{}.md", self.number)), drawn)
                .expect("cannot write the screen");
            return;
        }
        let page = fs::read_to_string(checkout().join("docs/screens.md")).expect("a page");
        let heading = format!("## {}. {}\n", self.number, self.title);
        let mut sections = page.split("\n## ").map(|section| format!("## {section}"));
        let section = sections.find(|section| section.starts_with(&heading));
        let section = section.unwrap_or_else(|| panic!("the page lacks {heading}"));
        let on_the_page = gist(&section);
        let messages = journal.lines().filter_map(|line| line.split_once("]: ")).map(|(_, message)| message);
        // Others depend on what comes first: a first answer of AWS that takes long is told of, say.
        let messages = messages.filter(|message| lines.iter().any(|said| message.contains(said)));
        for said in messages.chain([why.as_str(), self.situation]) {
            assert!(
                on_the_page.contains(&gist(said)),
                "docs/screens.md is stale (make screens): {heading}lacks\n{said}\nThe section is\n{section}\nand should be\n{drawn}"
            );
        }
    }

    fn draw(&self, outputs: &[(&str, String)]) -> String {
        let mut drawn = format!("\n## {}. {}\n\n{}\n", self.number, self.title, self.situation);
        for (command, output) in outputs {
            let folded: Vec<String> = output.lines().map(fold).collect();
            drawn.push_str(&["\n```console\n$ ", command, "\n", &folded.join("\n"), "\n```\n"].concat());
        }
        drawn
    }
}

/// What `systemctl status` says that an operator reads, without the age of the process, which is that of the test.
fn systemctl(output: &str) -> String {
    let head = |line: &&str| ["●", "Active:", "Status:"].iter().any(|word| line.trim_start().starts_with(word));
    let without_age = |line: &str| {
        line.rsplit_once("; ").filter(|_| line.contains("Active:")).map_or(line, |(line, _)| line).to_owned()
    };
    output.lines().filter(head).map(without_age).collect::<Vec<_>>().join("\n")
}

/// A line without the names of host and process.
fn journal_line(line: &str) -> String {
    let (head, message) = line.split_once("]: ").unwrap_or_else(|| panic!("no line of the journal: {line}"));
    let mut words = head.rsplitn(3, ' ');
    let program = words.next().and_then(|name| name.split('[').next()).unwrap_or_default();
    format!("{} {program}: {message}", words.nth(1).unwrap_or_default())
}

/// Breaks a line that is too long for the page between words.
fn fold(line: &str) -> String {
    let (mut folded, mut column) = (String::new(), 0);
    for word in line.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if column > 8 && column + length > WIDTH {
            folded.truncate(folded.trim_end().len());
            folded.push_str("\n        ");
            column = 8;
        }
        folded.push_str(word);
        column += word.chars().count();
    }
    folded
}

/// A text without what is another in each run: times, ages, addresses.
fn gist(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        let unit = ["s", "min", "h"].contains(&word.trim_matches([')', '.', ',', ';', ':']));
        let number = word.contains(|char: char| char.is_ascii_digit());
        match (words.last(), number || unit) {
            (Some(&"#"), true) => {}
            _ => words.push(if number { "#" } else { word }),
        }
    }
    words.join(" ")
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

#[test]
fn a_player_keeps_it_up() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let (aws, _server) = (machine.aws(), machine.minecraft());
    let _player = machine.bot(PLAYER);
    machine.start_later(
        |state| state["connections"].as_array().is_some_and(|known| known.len() == 1),
        |state| {
            let first_seen = &mut state["connections"][0]["first_seen_ms"];
            *first_seen = (first_seen.as_u64().expect("ms") - 14 * 60 * 1000).into();
        },
    );
    let screen = Screen {
        machine: &machine,
        number: 1,
        title: "A player keeps it up",
        situation: "Somebody has been on the server for a quarter of an hour.",
    };
    screen.shows(
        &aws.instance_id,
        &["1 player is on port 25565."],
        &["1 player is on port 25565.", "EC2 allows the stop"],
    );
}

#[test]
fn a_scanner_does_not() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let (aws, _server) = (machine.aws(), machine.minecraft());
    machine.start_with_the_clock_at(minutes(12));
    machine.background("beside-scanner", &format!("sleep 1000 | busybox nc {} {}", SCANNER.to, peers::PORT));
    let screen = Screen {
        machine: &machine,
        number: 2,
        title: "A scanner does not",
        situation: "Nobody plays, and a machine somewhere on the internet pokes at the port.",
    };
    screen.shows(
        &aws.instance_id,
        &["No players on port 25565; this instance stops in", "1 connection is too young to count."],
        &["EC2 allows the stop"],
    );
}

#[test]
fn a_backup_holds_it() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let (aws, _server) = (machine.aws(), machine.minecraft());
    machine.background(
        "beside-backup",
        "exec systemd-inhibit --what=shutdown --who=backup.sh --why=\"nightly backup\" sleep 1000",
    );
    machine.start_with_the_clock_at(minutes(15));
    let screen = Screen {
        machine: &machine,
        number: 3,
        title: "A backup holds it",
        situation: "Nobody has played for a quarter of an hour, and the nightly backup still runs under `systemd-inhibit`.",
    };
    screen.shows(
        &aws.instance_id,
        &["waits for a hold to end. Held by an inhibitor lock: nightly backup"],
        &["nightly backup", "waits for a hold to end", "EC2 allows the stop"],
    );
    assert!(aws.stops().is_empty());
}

#[test]
fn ssh_holds_it() {
    let Some(machine) = machine() else { return };
    machine.config(&format!("{NO_EFS}hold.ssh_sessions = true\n"));
    let (aws, _server) = (machine.aws(), machine.minecraft());
    machine.log_in();
    machine.start_with_the_clock_at(minutes(9));
    let screen = Screen {
        machine: &machine,
        number: 4,
        title: "SSH holds it",
        situation: "Nobody plays; alice is logged in by SSH, and `hold.ssh_sessions` is `true`.",
    };
    screen.shows(&aws.instance_id, &["Held by an SSH session: alice"], &["alice", "EC2 allows the stop"]);
}

#[test]
fn efs_is_gone() {
    let Some(machine) = machine() else { return };
    machine.ok("mkdir -p /mnt/efs");
    machine.config("sample_seconds = 1\nefs.mount_point = \"/mnt/efs\"\n");
    let (aws, _server) = (machine.aws(), machine.minecraft());
    machine.start_with_the_clock_at(minutes(15));
    let screen = Screen {
        machine: &machine,
        number: 5,
        title: "EFS is gone",
        situation: "Nobody has played for a quarter of an hour, and the world's file system is not mounted: \
                    `efs.mount_point` is `\"/mnt/efs\"`.",
    };
    screen.shows(
        &aws.instance_id,
        &["EFS is not mounted at /mnt/efs; the stop waits"],
        &["EFS is not mounted at /mnt/efs; the stop waits", "EC2 allows the stop"],
    );
}

#[test]
fn iam_is_wrong() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let (aws, _server) = (machine.aws(), machine.minecraft());
    aws.faults(&[
        json!({"action": "StopInstances", "code": "UnauthorizedOperation"}),
        json!({"action": "PutParameter", "code": "AccessDeniedException"}),
    ]);
    machine.start_with_the_clock_at(minutes(5));
    let screen = Screen {
        machine: &machine,
        number: 6,
        title: "IAM is wrong",
        situation: "Nobody plays, and the policy of the instance's role allows neither the stop nor the heartbeat.",
    };
    screen.shows(
        &aws.instance_id,
        &[
            "the stop is due in",
            "The stop will fail when it is due: EC2 answered",
            "allow ec2:StopInstances",
            "allow ssm:PutParameter",
        ],
        &["allow ec2:StopInstances", "allow ssm:PutParameter"],
    );
}

#[test]
fn the_server_is_down() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let aws = machine.aws();
    machine.start_with_the_clock_at(minutes(10));
    let screen = Screen {
        machine: &machine,
        number: 7,
        title: "The server is down",
        situation: "The Minecraft server died ten minutes ago.",
    };
    screen.shows(&aws.instance_id, &["No server on port 25565"], &["No server on", "EC2 allows the stop"]);
}

#[test]
fn the_table_is_unreadable() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let (aws, _server) = (machine.aws(), machine.minecraft());
    machine.start_with_the_clock_at(minutes(9));
    machine.until("the agent sees", || machine.property("StatusText").contains("No players"));
    machine.ok("mkdir -p /run/unreadable && chmod 0 /run/unreadable");
    let pid = machine.main_pid();
    machine.ok(&format!("nsenter -t {pid} -m mount --bind /run/unreadable /proc/{pid}/net"));
    let screen = Screen {
        machine: &machine,
        number: 8,
        title: "The table is unreadable",
        situation: "Something has taken from mc-idle the right to read the kernel's table of connections.",
    };
    screen.shows(
        &aws.instance_id,
        &["Blind for", "cannot read /proc/self/net/tcp"],
        &["Blind: cannot read /proc/self/net/tcp", "EC2 allows the stop"],
    );
}

#[test]
fn the_stop_was_refused() {
    let Some(machine) = machine() else { return };
    machine.config(NO_EFS);
    let (aws, _server) = (machine.aws(), machine.minecraft());
    aws.faults(&[json!({"action": "StopInstances", "dry_run": false, "code": "OperationNotPermitted"})]);
    machine.start_with_the_clock_at(minutes(15));
    let screen = Screen {
        machine: &machine,
        number: 9,
        title: "The stop was refused",
        situation: "Nobody has played for a quarter of an hour, and the instance has stop protection.",
    };
    screen.shows(&aws.instance_id, &["stop protection (disableApiStop) is on; turn it off"], &["stop protection"]);
    assert_eq!(text(&machine.run("systemctl is-active mc-idle").stdout), "active\n");
}
