//! How many instructions one look at the sockets takes, and what the rule makes of it, on hosts that are always the same:
//! callgrind counts them, so that a busy machine does not matter. What the kernel does is not counted.
//!
//! The figures stand in `tests/tools/instructions.json`. A tenth more is a failure, and so is a tenth less: a figure that is too high
//! would let the next growth pass. `make instructions` writes the file anew.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]

#[path = "../support/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mc_idle::config::Settings;
use mc_idle::host::networks::Depth;
use mc_idle::host::{Host, OwnEnds, ThisHost};
use mc_idle_rule::Moment;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sample-cost");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");
/// In percent, up and down.
const LIMIT: f64 = 10.0;

/// A look at each host, with this many players on port 25565.
const PLAYERS: usize = 3;
const PROCESSES: u32 = 100;
const FOREIGN: usize = 5000;

/// What `sample-cost repeat` is asked for, and after how many rounds, and how many more, it is counted. What comes before
/// the first count may take its time: the start of the program, and connections that grow into players.
const SAMPLE: (&str, u32, u32) = ("sample", 2, 4);
const OBSERVE: (&str, u32, u32) = ("observe", 200, 1000);

const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const HEADER6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr \
                       tm->when retrnsmt   uid  timeout inode";
const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref \
                          pointer drops\n";
const ANY: &str = "00000000";
const ANY6: &str = "00000000000000000000000000000000";
const LISTEN: &str = "0A";
const ESTABLISHED: &str = "01";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    /// What `rustc --version` says.
    rustc: String,
    /// The kind of processor.
    processor: String,
    /// How many instructions each case takes.
    instructions: BTreeMap<String, u32>,
}

/// A table of sockets as the kernel writes it.
struct Table {
    text: String,
    rows: usize,
    ipv6: bool,
}

impl Table {
    fn new(ipv6: bool) -> Self {
        let header = if ipv6 { HEADER6 } else { HEADER };
        let mut table = Table { text: String::new(), rows: 0, ipv6 };
        table.line(header);
        table
    }

    fn line(&mut self, line: &str) {
        // tcp4_seq_show in net/ipv4/tcp_ipv4.c pads, tcp6_seq_show does not.
        let width = if self.ipv6 { 0 } else { 149 };
        writeln!(self.text, "{line:width$}").unwrap();
    }

    fn row(&mut self, local: &str, port: u16, peer: &str, peer_port: u16, state: &str) {
        let (number, inode) = (self.rows, 20_000 + self.rows);
        self.rows += 1;
        self.line(&format!(
            "{number:4}: {local}:{port:04X} {peer}:{peer_port:04X} {state} 00000000:00000000 00:00000000 00000000  1000        0 \
             {inode} 1 0000000000000000 20 4 30 10 -1"
        ));
    }

    /// A server on port 25565 and its players, who come by IPv4 to a socket of IPv6, as Java has it.
    fn server(&mut self) {
        self.row(ANY6, 25565, ANY6, 0, LISTEN);
        for (player, port) in (0..PLAYERS).zip(50_000..) {
            let peer = format!("0000000000000000FFFF000007{player:02X}33C6");
            self.row("0000000000000000FFFF00000500000A", 25565, &peer, port, ESTABLISHED);
        }
    }
}

/// A folder that looks like a host on which nothing changes.
struct Machine {
    root: TempDir,
}

impl Machine {
    /// A host with sshd, processes of its own, and these tables of sockets.
    fn new(mut tcp: Table, tcp6: &Table) -> Self {
        tcp.row(ANY, 22, ANY, 0, LISTEN);
        let machine = Machine { root: tempfile::tempdir().unwrap() };
        machine.process("self", "sample-cost");
        let tables = machine.folder("self").join("net");
        fs::write(tables.join("tcp"), tcp.text).unwrap();
        fs::write(tables.join("tcp6"), &tcp6.text).unwrap();
        fs::write(tables.join("udp"), UDP_HEADER).unwrap();
        for id in 1..=PROCESSES {
            machine.process(&id.to_string(), "daemon");
            machine.in_the_network_of("self", &id.to_string());
        }
        machine
    }

    fn folder(&self, process: &str) -> PathBuf {
        self.root.path().join("proc").join(process)
    }

    fn process(&self, id: &str, name: &str) {
        let folder = self.folder(id);
        fs::create_dir_all(folder.join("net")).unwrap();
        fs::write(folder.join("cgroup"), "0::/system.slice/daemon.service\n").unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
    }

    /// One network has one file.
    fn in_the_network_of(&self, process: &str, other: &str) {
        for name in ["net/tcp", "net/tcp6"] {
            fs::hard_link(self.folder(process).join(name), self.folder(other).join(name)).unwrap();
        }
    }

    fn quiet() -> Self {
        let mut tcp6 = Table::new(true);
        tcp6.server();
        Machine::new(Table::new(false), &tcp6)
    }

    /// The same beside a proxy with many connections, half of them by IPv6.
    fn crowded() -> Self {
        let (mut tcp, mut tcp6) = (Table::new(false), Table::new(true));
        tcp6.server();
        for (number, port) in (0..FOREIGN / 2).zip(30_000..) {
            tcp.row("0500000A", 443, &format!("{number:04X}33C6"), port, ESTABLISHED);
            let peer = format!("B80D01200000000000000000{number:08X}");
            tcp6.row("B80D0120000000000000000001000000", 443, &peer, port, ESTABLISHED);
        }
        Machine::new(tcp, &tcp6)
    }

    /// The server is in a container, and Docker publishes its port.
    fn docker() -> Self {
        let (mut tcp, mut tcp6, mut inside) = (Table::new(false), Table::new(true), Table::new(true));
        tcp.row(ANY, 25565, ANY, 0, LISTEN);
        tcp6.row(ANY6, 25565, ANY6, 0, LISTEN);
        inside.server();
        let machine = Machine::new(tcp, &tcp6);
        machine.process("4000", "docker-proxy");
        machine.in_the_network_of("self", "4000");
        machine.process("5000", "java");
        let server = machine.folder("5000");
        fs::write(server.join("cgroup"), format!("0::/system.slice/docker-{}.scope\n", "3f2a8c1d".repeat(8))).unwrap();
        fs::write(server.join("net/tcp"), Table::new(false).text).unwrap();
        fs::write(server.join("net/tcp6"), inside.text).unwrap();
        fs::write(server.join("net/udp"), UDP_HEADER).unwrap();
        machine
    }

    /// How many instructions one round takes.
    fn count(&self, (what, before, rounds): (&str, u32, u32)) -> u32 {
        // One that sees less than is there costs less.
        let mut host = ThisHost::below(self.root.path());
        let look = host.look(Moment(Duration::ZERO), Depth::Sample, &Settings::default().scope, &OwnEnds::new());
        let sockets = look.facts.networks.iter().map(|network| network.sockets.as_ref().unwrap());
        let (listening, connected) = sockets.fold((0, 0), |(listening, connected), sockets| {
            (listening + sockets.listening.len(), connected + sockets.connections.len())
        });
        assert!(listening > 0 && connected == PLAYERS, "{look:?}");
        let both = self.count_all(what, before + rounds) - self.count_all(what, before);
        u32::try_from(both / u64::from(rounds)).unwrap()
    }

    /// How many instructions the program takes from its start to its end.
    fn count_all(&self, what: &str, rounds: u32) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--vgdb=no"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(PROGRAM)
            // The same path wherever the folder is.
            .args(["repeat", what, "--root", ".", "--rounds", &rounds.to_string()])
            .current_dir(self.root.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let counted = fs::read_to_string(out).unwrap();
        let total = counted.lines().find_map(|line| line.strip_prefix("summary:")).unwrap();
        total.trim().parse().unwrap()
    }
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What of it is wrong, for each case that is.
fn complaints(committed: &BTreeMap<String, u32>, counted: &BTreeMap<String, u32>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (case, now) in counted {
        let Some(then) = committed.get(case) else {
            complaints.push(format!("{case}: {now} instructions, and no figure to compare them with"));
            continue;
        };
        let percent = (f64::from(*now) / f64::from(*then) - 1.0) * 100.0;
        if percent.abs() > LIMIT {
            let (percent, way) = (percent.abs(), if percent > 0.0 { "more" } else { "fewer" });
            complaints.push(format!("{case}: {now} instructions, {percent:.1} % {way} than {then}"));
        }
    }
    let gone = committed.keys().filter(|case| !counted.contains_key(*case));
    complaints.extend(gone.map(|case| format!("{case}: there is no such case")));
    complaints
}

#[test]
fn growth_and_a_figure_that_is_too_high_are_told() {
    let figures =
        |figures: &[(&str, u32)]| figures.iter().map(|(case, figure)| ((*case).to_owned(), *figure)).collect();
    let committed = figures(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000), ("gone", 1000)]);
    let counted = figures(&[("a", 1099), ("b", 1101), ("c", 901), ("d", 899), ("new", 1000)]);
    let expected = [
        "b: 1101 instructions, 10.1 % more than 1000",
        "d: 899 instructions, 10.1 % fewer than 1000",
        "new: 1000 instructions, and no figure to compare them with",
        "gone: there is no such case",
    ];
    assert_eq!(complaints(&committed, &counted), expected);
}

#[test]
fn neither_a_look_nor_the_rule_grows_by_a_tenth() {
    skip_unless!(has("valgrind"), "valgrind (as root on Debian, make test installs it)");
    skip_unless!(cfg!(debug_assertions), "the dev profile, which the figures are of");
    let cases = [
        (format!("look: {PLAYERS} players, {PROCESSES} processes"), Machine::quiet(), SAMPLE),
        (format!("look: {PLAYERS} players, {FOREIGN} other connections"), Machine::crowded(), SAMPLE),
        (format!("look: {PLAYERS} players in a container"), Machine::docker(), SAMPLE),
        (format!("rule: {PLAYERS} players"), Machine::quiet(), OBSERVE),
    ];
    let renew = std::env::var_os("MC_IDLE_RENEW").is_some();
    let processor = std::env::consts::ARCH.to_owned();
    let committed = if renew { None } else { Some(fs::read_to_string(FILE).unwrap()) };
    let committed: Option<Figures> = committed.map(|text| serde_json::from_str(&text).unwrap());
    if let Some(committed) = &committed {
        skip_unless!(committed.processor == processor, format!("{}, which the figures are of", committed.processor));
    }

    let instructions = cases.iter().map(|(case, machine, work)| (case.clone(), machine.count(*work))).collect();
    let counted = Figures { rustc: rustc(), processor, instructions };
    let text = serde_json::to_string_pretty(&counted).unwrap() + "\n";
    let Some(committed) = committed else {
        fs::write(FILE, &text).unwrap();
        // Past the test harness, which keeps the output of tests that pass to itself.
        let _ = write!(std::io::stderr().lock(), "{FILE}:\n{text}");
        return;
    };
    let complaints = complaints(&committed.instructions, &counted.instructions);
    assert!(
        complaints.is_empty(),
        "a look or the rule no longer takes what {FILE} says, give or take {LIMIT} %:\n  {}\n\
         The figures were taken with {}, this is {}; another compiler or C library makes others.\n\
         If that is as it should be: make instructions, and commit it.",
        complaints.join("\n  "),
        committed.rustc,
        counted.rustc,
    );
}
