//! What has to hold for every input of a parser, whoever makes it up: the fuzzer (`make fuzz`), or the corpus that
//! `tests/corpus.rs` replays. Each function is a target and panics at an input for which it does not hold.
//! Over 400 lines: one property after the other.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use mc_broker_core::connection::gate::{Auth, Gate, Starters};
use mc_broker_core::connection::machine::Face;
use mc_broker_core::connection::{Action, Closed, Common, Connection, Vouched};
use mc_broker_core::lobby::Order;
use mc_broker_core::protocol::versions::ProtocolTable;
use mc_broker_core::wire::frame::{self, Frames, framed};
use mc_broker_core::wire::proxy_header::{self, Source};
use mc_idle::ask::{Answer, raknet};
use mc_idle::cloud::metadata;
use mc_idle::config::ConfigError;
use mc_idle::config::keys::{self, KEYS};
use mc_idle::config::settings::{MountPoint, ParameterName, Settings};
use mc_idle::holds;
use mc_idle::holds::file::Time;
use mc_idle::holds::ledger::{Claim, HoldEnd, HoldSource, Ledger};
use mc_idle::host::mounts::fstab::Fstab;
use mc_idle::host::mounts::mountinfo::Table;
use mc_idle::host::properties::{self, Port};
use mc_idle::host::sockets::row::Row;
use mc_idle::host::sockets::tables;
use mc_idle::host::{addresses, processes};
use mc_idle::state::state_file;
use mc_idle_rule::facts::Publication;
use mc_idle_rule::{Edition, Moment, Rule};
use mc_launcher_core::web::access::Keys;
use mc_launcher_core::web::request::{self, Caller, KeyRing, Route};
use mc_ping::answer::{LONGEST_NAME, MOST_NAMES};
use mc_ping::java;
use mc_service::config::Loaded;

/// The function of a target.
pub type Property = fn(&[u8]);

/// Every target by its name, which is also that of its corpus.
pub const TARGETS: [(&str, Property); 15] = [
    ("addresses", addresses),
    ("broker_frames", broker_frames),
    ("broker_login", broker_login),
    ("config", config),
    ("docker_proxy", docker_proxy),
    ("fstab", fstab),
    ("hold", hold),
    ("java_status", java_status),
    ("launcher_request", launcher_request),
    ("metadata", metadata),
    ("mountinfo", mountinfo),
    ("raknet_pong", raknet_pong),
    ("server_properties", server_properties),
    ("state_file", state_file),
    ("tables", tables),
];

const PORT: u16 = 25565;
/// proc_net_tcp
const ESTABLISHED: u8 = 1;
const PLAYER: &[u8] = b"   1: 0100007F:63DD 0200007F:C001 01 00000000:00000000 02:0000048C 00000000  1000        0 502 2 0000000000000000 20 4 30 10 -1\n";

/// `/proc/self/net/tcp`. Unknown is never zero: what is taken for a table is whole, every row of it is told of, and one
/// more player is one more socket.
pub fn tables(input: &[u8]) {
    let Some(sockets) = rows(input) else { return };
    let text = String::from_utf8_lossy(input);
    let (header, body) = text.split_once('\n').expect("a table has a header line");
    assert!(header.split_whitespace().take(2).eq(["sl", "local_address"]), "{header:?} is no header line");
    assert!(text.ends_with('\n'), "the last row is cut");
    let written: Vec<_> = body.split_terminator('\n').map(port_and_state).collect();
    assert_eq!(sockets, written, "the rows that were told of, and those that are there");
    assert_eq!(rows(&input[..input.len() - 1]), None, "a table without its last line end is whole");
    let one_more = rows(&[input, PLAYER].concat()).expect("a whole table with a row more is whole");
    assert_eq!(players(&one_more), players(&sockets) + 1);
}

/// The local port and the state of every row; `None` for a table that is unknown.
fn rows(table: &[u8]) -> Option<Vec<(u16, u8)>> {
    let mut rows = Vec::new();
    let take = |row: &Row<'_>| {
        let entry = row.entry()?;
        assert_eq!((row.port, row.state), (entry.local_address.port(), entry.state.to_u8()), "procfs agrees");
        rows.push((row.port, row.state));
        Ok(())
    };
    tables::parse(table, Path::new("tcp"), take).ok()?;
    Some(rows)
}

fn port_and_state(row: &str) -> (u16, u8) {
    let mut words = row.split_whitespace().skip(1);
    let (local, state) = (words.next().expect("a local address"), words.nth(1).expect("a state"));
    let port = local.split(':').nth(1).expect("a port");
    (u16::from_str_radix(port, 16).expect("a port"), u8::from_str_radix(state, 16).expect("a state"))
}

fn players(rows: &[(u16, u8)]) -> usize {
    rows.iter().filter(|row| **row == (PORT, ESTABLISHED)).count()
}

/// `server.properties`: the last port that is written counts, and a comment never does.
pub fn server_properties(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let port = properties::port(&text);
    assert_eq!(properties::port(&format!("#server-port=25570\n{text}\n ! server-port=25570")), port);
    assert_eq!(properties::port(&format!("{text}\nserver-port=25570\n")), Port::Number(25570));
    assert_ne!(port.number(), Some(0));
}

/// `/proc/self/mountinfo`: what is taken for a table is whole, every mount that a path lies on is one of its lines, and a
/// mount on top of all is found.
pub fn mountinfo(input: &[u8]) {
    let Ok(table) = Table::parse(input) else { return };
    let lines: Vec<&[u8]> = input.strip_suffix(b"\n").unwrap_or(input).split(|byte| *byte == b'\n').collect();
    let word = |line: &[u8], at: usize| line.split(|byte| *byte == b' ').nth(at).map(<[u8]>::to_owned);
    let nfs: BTreeSet<i32> = table.nfs().map(|mount| mount.id).collect();
    assert!(nfs.len() <= lines.len());
    for (path, escaped) in [("/mnt/efs", "/mnt/efs"), ("/mnt/my efs", "/mnt/my\\040efs")] {
        let path = Path::new(path);
        let (mount, folder) = (table.at(path), table.at(&path.join("world/region")));
        for mount in [mount, folder] {
            let id = |line: &&[u8]| word(line, 0).and_then(|word| String::from_utf8(word).ok()?.parse().ok());
            let line = lines.iter().find(|line| id(line) == Some(mount.id));
            assert!(line.is_some(), "{mount:?} is not in the table");
            assert!(path.join("world/region").starts_with(mount.point()), "{mount:?}");
            assert_eq!(mount.nfs().is_some(), ["nfs", "nfs4"].contains(&mount.fs_type));
        }
        // A table in which two mounts have one number, or with a number below zero, is made up.
        let numbers =
            |at| lines.iter().filter_map(move |line| std::str::from_utf8(&word(line, at)?).ok()?.parse::<i32>().ok());
        let (ids, parents): (BTreeSet<i32>, BTreeSet<i32>) = (numbers(0).collect(), numbers(1).collect());
        let Some(free) = (1..=i32::MAX).find(|id| !ids.contains(id) && !parents.contains(id)) else { continue };
        if ids.len() == lines.len() && mount.id > 0 {
            let end: &[u8] = if input.ends_with(b"\n") { b"" } else { b"\n" };
            let parent = mount.id;
            let on_top =
                format!("{free} {parent} 0:51 / {escaped} rw,relatime shared:50 - nfs4 127.0.0.1:/ rw,vers=4.1\n");
            let text = [input, end, on_top.as_bytes()].concat();
            let table = Table::parse(&text).expect("a whole table with a line more is whole");
            let found = table.at(path);
            assert!(found.id == free && found.fs_type == "nfs4", "{found:?}");
        }
    }
}

/// `/etc/fstab`: a line counts for itself, a comment never does, and no mount point is told twice.
pub fn fstab(input: &[u8]) {
    const LINE: &[u8] = b"\nfs-1:/ /mnt/my\\040efs efs _netdev,nofail 0 0\n";
    let fstab = Fstab::parse(input);
    for points in [&fstab.at_boot, &fstab.later] {
        assert!(points.iter().all(|point| point.is_absolute()), "{points:?}");
        assert_eq!(points.iter().collect::<BTreeSet<_>>().len(), points.len(), "{points:?}");
    }
    let more = Fstab::parse(&[input, LINE].concat());
    assert!(more.at_boot.contains(&PathBuf::from("/mnt/my efs")) && more.later == fstab.later);
    assert_eq!(Fstab::parse(&[input, b"\n# fs-1:/ /mnt/efs efs defaults\n"].concat()), fstab);
}

/// A configuration file: the settings are within what is allowed, even those that stood before a wrong one; taken up a
/// second time it changes nothing; what is wrong stands in a line that there is. What could be a value and nothing else is
/// put to every key, since the fuzzer makes up few files that are TOML and have a known key.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains(['=', '\n']) {
        config_file(text);
    } else {
        for key in KEYS {
            config_file(&format!("{} = {text}", key.name));
        }
    }
}

fn config_file(text: &str) {
    static DEFAULT: LazyLock<Loaded<Settings>> = LazyLock::new(keys::defaults);
    let mut loaded = DEFAULT.clone();
    let taken = loaded.take(Path::new("config.toml"), text);
    are_allowed(&loaded.settings);
    match taken {
        Ok(()) => {
            let mut again = loaded.clone();
            again.take(Path::new("config.toml"), text).expect("what was taken once is taken again");
            assert_eq!(again.settings, loaded.settings);
        }
        Err(
            error @ (ConfigError::Syntax { line, .. }
            | ConfigError::UnknownKey { line, .. }
            | ConfigError::Value { line, .. }),
        ) => {
            let lines = 1 + text.matches('\n').count();
            assert!((1..=lines).contains(&line), "{error} of {lines} lines");
        }
        Err(error) => panic!("{error}, and there was no file"),
    }
}

fn are_allowed(settings: &Settings) {
    const INSTANCE: &str = "i-0123456789abcdef0";
    let within = |name, value: Duration, allowed: RangeInclusive<Duration>| {
        assert!(allowed.contains(&value), "{name} is {value:?}");
    };
    let (millis, seconds, minutes) = (Duration::from_millis, Duration::from_secs, Duration::from_mins);
    within("idle_minutes", settings.idle_window, Duration::from_nanos(1)..=minutes(10080));
    within("no_server_minutes", settings.no_server_window, Duration::from_nanos(1)..=minutes(10080));
    within("sample_seconds", settings.sample_interval, millis(200)..=seconds(60));
    within("min_connection_seconds", settings.min_connection, Duration::ZERO..=seconds(600));
    within("probe_seconds", settings.efs.probe, millis(200)..=seconds(60));
    within("patience_minutes", settings.efs_patience, Duration::ZERO..=minutes(1440));
    within("heartbeat.seconds", settings.heartbeat.interval, seconds(10)..=seconds(3600));

    let ports = &settings.scope.ports;
    assert!((1..=16).contains(&ports.len()) && !ports.contains(&0), "{ports:?}");
    for net in &settings.scope.ignore_peers {
        let mapped = matches!(net.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
        assert!(!mapped || net.prefix_len() < 96, "{net} matches no peer, since peers are in canonical form");
    }

    let plain = |part: &str| !["", ".", ".."].contains(&part);
    if let MountPoint::At(path) = &settings.efs.mount_point {
        let path = path.to_str().expect("TOML is text");
        let is_plain = path.strip_prefix('/').is_some_and(|path| path.split('/').all(plain));
        assert!((path == "/" || is_plain) && !path.contains('\0'), "{path:?}");
    }

    if let Some(file) = &settings.metrics_textfile {
        let file = file.to_str().expect("TOML is text");
        assert!(
            file.strip_prefix('/').is_some_and(|path| path.split('/').all(plain)) && !file.contains('\0'),
            "{file:?}"
        );
    }

    let names = [&settings.heartbeat.parameter, &settings.heartbeat.instance_id_parameter, &settings.hold.parameter];
    for name in names.into_iter().flatten().map(|name: &ParameterName| name.of(INSTANCE)) {
        let char = |char: char| char.is_ascii_alphanumeric() || ".-_/".contains(char);
        let first = name.trim_start_matches('/').to_ascii_lowercase();
        assert!(!name.is_empty() && name.len() <= 900 && name.chars().all(char), "{name:?}");
        assert!(!name.ends_with('/') && !name.contains("//") && name.matches('/').count() <= 15, "{name:?}");
        assert!(!first.starts_with("aws") && !first.starts_with("ssm"), "{name:?}");
    }
    if let Some(region) = &settings.aws.region {
        let char = |char| matches!(char, 'a'..='z' | '0'..='9' | '-');
        assert!(region.matches('-').count() >= 2 && region.chars().all(char), "{region:?}");
    }
    assert!(settings.aws.instance_id.as_deref().is_none_or(is_instance_id), "{:?}", settings.aws.instance_id);
}

fn is_instance_id(text: &str) -> bool {
    [10, 19].contains(&text.len())
        && text.starts_with("i-")
        && text[2..].bytes().all(|digit| b"0123456789abcdef".contains(&digit))
}

/// A state file, read three hours after boot: it counts no more time than that, the rule takes no connection for older
/// either, and written again it says the same. Four lines are put in the place of the values of one, too, since the fuzzer
/// makes up few texts that are JSON and have every field.
pub fn state_file(input: &[u8]) {
    state(input);
    let mut values = input.splitn(4, |byte| *byte == b'\n');
    if let (Some(clock), Some(elapsed), Some(waited), Some(connections)) =
        (values.next(), values.next(), values.next(), values.next())
    {
        let beginning = format!(r#"{{"v":1,"boot_id":"{BOOT}","slept_ms":10000"#);
        let mut text = beginning.into_bytes();
        for (name, value) in [("clock", clock), ("elapsed_ms", elapsed), ("efs_waited_ms", waited)] {
            text.extend(format!(r#","{name}":"#).bytes().chain(value.iter().copied()));
        }
        text.extend([br#","connections":["#, connections, b"]}"].concat());
        state(&text);
    }
}

const BOOT: &str = "6c3ee4a9-56fb-4d3c-8a9b-7f2f4b0a0d3e";

fn state(text: &[u8]) {
    const NOW: Moment = Moment(Duration::from_hours(3));
    const SLEPT: Duration = Duration::from_secs(10);
    let Ok(memory) = state_file::parse(text, BOOT, SLEPT, NOW) else { return };
    let text = state_file::text(&memory, BOOT, SLEPT);
    let again = state_file::parse(text.as_bytes(), BOOT, SLEPT, NOW).expect("what was taken up once is taken up again");
    assert_eq!(again, memory);
    let known = Rule::remembering(Settings::default().rule_settings(), memory, NOW).memory();
    assert!(known.running.is_none_or(|running| running.elapsed <= NOW.0), "{:?}", known.running);
    assert!(known.efs_waited <= NOW.0, "{:?}", known.efs_waited);
    assert!(known.connections.iter().all(|known| known.first_seen <= NOW), "{:?}", known.connections);
    assert!(known.answers.iter().all(|(.., at)| *at <= NOW), "{:?}", known.answers);
    let other_boot = text.replace(BOOT, "00000000-0000-0000-0000-000000000000");
    assert!(state_file::parse(other_boot.as_bytes(), BOOT, SLEPT, NOW).is_err(), "a state of another boot is taken up");
}

/// The answers of instance metadata, each of which may be anything, such as the page of a proxy. An answer is taken as it
/// is or not at all.
pub fn metadata(input: &[u8]) {
    let Ok(answer) = std::str::from_utf8(input) else { return };
    assert_eq!(metadata::instance_id(answer).as_deref(), is_instance_id(answer).then_some(answer));
    if let Some(region) = metadata::region(answer) {
        // It becomes part of a host's name.
        let plain = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(region == answer && plain && (1..64).contains(&region.len()), "{region:?}");
    }
    // A page is no word.
    let is_word = !answer.is_empty() && !answer.contains(|char: char| char.is_whitespace() || "<>{}".contains(char));
    assert!(metadata::is_spot(answer).is_none_or(|spot| is_word && spot == (answer == "spot")), "{answer:?}");
    assert!(metadata::is_replaced(answer).is_none() || is_word, "{answer:?}");
    assert_eq!(metadata::is_on_instance_store(answer).is_none(), answer.is_empty());
    if let Some(notice) = metadata::notice(answer) {
        assert!(!notice.to_string().is_empty());
        let action = format!("{:?}", notice.action).to_lowercase();
        let again = format!(r#"{{"action":"{action}","time":"{}"}}"#, notice.at);
        assert_eq!(metadata::notice(&again), Some(notice));
    }
}

/// The file of a hold, the value of the remote one, what is kept of both, and the duration on the command line: none holds
/// longer than it may, and no reason breaks the line that it is shown in.
pub fn hold(input: &[u8]) {
    const NOW: Moment = Moment(Duration::from_hours(1));
    const TIME: Time<'_> = Time { boot_id: "boot", slept: Duration::ZERO, now: NOW };
    let one_line = |reason: &str| reason.chars().count() <= 200 && !reason.chars().any(char::is_control);
    if let Some(Some(Claim { reason, end })) = holds::file::parse(input, TIME) {
        assert!(matches!(end, HoldEnd::At(end) if end > NOW && end.since(NOW) <= holds::LONGEST), "{end:?}");
        assert!(one_line(&reason), "{reason:?}");
    }
    if let Ok(remembered) = holds::memory::parse(input, "boot", Duration::ZERO, NOW) {
        let said = || remembered.iter().flat_map(|source| &source.said);
        assert!(said().all(|said| said.first <= NOW && one_line(&said.claim.reason)), "{remembered:?}");
        let questions: Vec<HoldSource> = remembered.iter().map(|source| source.question.clone()).collect();
        let holds = Ledger::new(&questions, remembered, NOW).holds(NOW, mc_idle::clock::wall());
        assert!(holds.iter().all(|hold| hold.left.is_none_or(|left| left <= holds::LONGEST)), "{holds:?}");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(claim) = holds::remote::parse(text) {
        assert!(one_line(&claim.reason) && !claim.reason.is_empty(), "{claim:?}");
        let HoldEnd::Wall(until) = claim.end else { panic!("{claim:?}") };
        let question = HoldSource::Parameter(String::new());
        let mut ledger = Ledger::new(std::slice::from_ref(&question), Vec::new(), NOW);
        ledger.answered(&question, vec![claim], NOW);
        assert!(ledger.holds(NOW, until).is_empty(), "not over at its end");
        let before = until.checked_sub(Duration::from_secs(1)).unwrap_or(until);
        assert!(ledger.holds(NOW, before).iter().all(|hold| hold.left <= Some(holds::LONGEST)));
    }
    if let Ok(duration) = holds::parse_duration(text) {
        assert!(duration <= holds::LONGEST, "{text:?} is {duration:?}");
    }
    assert!(one_line(&holds::tidy(text)));
}

/// `/proc/PID/cmdline` of what calls itself docker-proxy, which anybody may. A line that is made of valid parts comes back as
/// those parts, in whatever order they stand and whatever follows.
pub fn docker_proxy(input: &[u8]) {
    if let Some(found) = processes::publication(input) {
        let mapped = |address: SocketAddr| address.ip().to_canonical() != address.ip();
        assert!(!mapped(found.from) && !mapped(found.to), "{found:?} is not in canonical form");
        assert_eq!(processes::publication(&command_line(&found, 0, b"")), Some(found));
    }
    // The parts are taken from the input, which makes up few addresses by itself.
    let mut bytes = input.iter().copied().chain(std::iter::repeat(7));
    let mut next = || bytes.next().unwrap_or_default();
    let mut address = || {
        let port = u16::from_be_bytes([next(), next()]);
        let ip = match next() % 2 {
            0 => IpAddr::V4(Ipv4Addr::from([next(), next(), next(), next()])),
            _ => IpAddr::V6(Ipv6Addr::from([(); 16].map(|()| next()))),
        };
        SocketAddr::new(ip.to_canonical(), port)
    };
    let (from, to) = (address(), address());
    let edition = if next() % 2 == 0 { Edition::Java } else { Edition::Bedrock };
    let published = Publication { edition, from, to };
    let rest = input.get(40..).unwrap_or_default();
    assert_eq!(processes::publication(&command_line(&published, next(), rest)), Some(published));
}

/// The command line of a docker-proxy. Its arguments are turned by so many places.
fn command_line(publication: &Publication, turn: u8, rest: &[u8]) -> Vec<u8> {
    let Publication { edition, from, to } = publication;
    let mut arguments = [
        ("proto", if *edition == Edition::Java { "tcp".to_owned() } else { "udp".to_owned() }),
        ("host-ip", from.ip().to_string()),
        ("host-port", from.port().to_string()),
        ("container-ip", to.ip().to_string()),
        ("container-port", to.port().to_string()),
    ];
    arguments.rotate_left(usize::from(turn) % 5);
    let arguments: String = arguments.iter().flat_map(|(name, value)| ["-", name, "\0", value, "\0"]).collect();
    [b"/usr/bin/docker-proxy\0", arguments.as_bytes(), rest].concat()
}

/// `/proc/PID/net/fib_trie` and `if_inet6`: an address of the network's own is written there, is none of loopback, and is found whatever
/// stands before it.
pub fn addresses(input: &[u8]) {
    const V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    let Ok(text) = std::str::from_utf8(input) else { return };
    for address in addresses::ipv4(text) {
        assert!(!address.is_loopback() && text.contains(&format!("|-- {address}")), "{address} stands nowhere");
    }
    for address in addresses::ipv6(text) {
        let digits = format!("{:032x}", u128::from(address));
        assert!(text.to_ascii_lowercase().contains(&digits), "{address} stands nowhere");
    }
    let trie = format!("{text}\n        |-- {V4}\n           /32 host LOCAL\n");
    assert!(addresses::ipv4(&trie).contains(&V4));
    let table = format!("{text}\n{:032x} 02 40 00 80     eth0\n", u128::from(V6));
    assert!(addresses::ipv6(&table).contains(&V6));
}

/// The answer of a Java server, whole, and as the text of one: read in two pieces or byte by byte it is the same, the count is
/// one that stands there, and the names are few, short and harmless.
pub fn java_status(input: &[u8]) {
    let whole = java::Reader::new().push(input);
    for piece in [1, (input.len() / 2).max(1)] {
        let mut reader = java::Reader::new();
        let read = input.chunks(piece).map(|piece| reader.push(piece)).find(|read| *read != Ok(None));
        assert_eq!(read.unwrap_or(Ok(None)), whole, "in pieces of {piece}");
    }
    let text = java::status(input);
    let packet = [&[0], &*varint(input.len()), input].concat();
    if packet.len() <= java::LONGEST {
        let framed = java::Reader::new().push(&[&*varint(packet.len()), &*packet].concat());
        assert_eq!(framed, text.clone().map(Some));
    }
    for Answer { online, names } in whole.ok().flatten().into_iter().chain(text.ok()) {
        assert!(is_written(input, online), "{online} stands nowhere");
        assert!(names.len() <= MOST_NAMES && names.len() <= usize::try_from(online).expect("32 bits"), "{names:?}");
        for name in names {
            assert!((1..=LONGEST_NAME).contains(&name.chars().count()), "{name:?}");
            assert!(
                !name.contains(|char: char| char.is_control() || "\u{202e}\u{2066}\u{200f}".contains(char)),
                "{name:?}"
            );
        }
    }
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("7 bits"));
    bytes
}

fn is_written(input: &[u8], number: u32) -> bool {
    let digits = number.to_string();
    input.windows(digits.len()).any(|window| window == digits.as_bytes())
}

/// The answer of a Bedrock server, whole, and as the motd in one: it belongs to one ping only, the count is one that stands
/// there, and no motd makes it another.
pub fn raknet_pong(input: &[u8]) {
    const COUNT: u32 = 31_415;
    let time = input.get(1..9).map_or(0, |time| u64::from_be_bytes(time.try_into().expect("8 bytes")));
    if let Ok(Answer { online, names }) = raknet::pong(input, time) {
        assert!(names.is_empty());
        // Zeros before it are skipped, so that the digits are there all the same.
        assert!(is_written(input, online), "{online} stands nowhere");
        assert_eq!(raknet::pong(input, time ^ 1), Err(raknet::PongError::AnotherPing));
    }
    let motd = &input[..input.len().min(60_000)];
    let text =
        [b"MCPE;", motd, format!(";766;1.21.50;{COUNT};99999;1;world;Survival;1;19132;19133;0;").as_bytes()].concat();
    let length = u16::try_from(text.len()).expect("short").to_be_bytes();
    let ping = raknet::ping(time, 0);
    let answer = [&[0x1c], &ping[1..9], &[0; 8], &ping[9..25], &length, &text].concat();
    match raknet::pong(&answer, time) {
        Ok(found) => assert_eq!(found, Answer { online: COUNT, names: vec![] }),
        Err(error) => assert_eq!(error, raknet::PongError::NoCount),
    }
}

/// A request to the launcher, as Lambda hands it over. Whoever shows no key starts nothing and sees no names, and only a POST to
/// one path starts anything.
pub fn launcher_request(input: &[u8]) {
    const KEY: &str = "correct-horse-battery";
    const BROKER_KEY: &str = "broker-key-0123456789";
    const OWN: &str = "https://mc.example.org";
    let Ok(event) = serde_json::from_slice(input) else { return };
    let Some(request) = request::of_event(&event) else { return };
    let ring = KeyRing { key: Keys::parse(KEY), broker_key: Keys::parse(BROKER_KEY) };
    let cookie = ring.key.as_ref().map(Keys::cookie).unwrap_or_default();
    let shows = |text: &str| request.headers.iter().any(|(_, value)| value.to_ascii_lowercase().contains(text));
    match request::starter(&request, &ring, OWN) {
        Ok(Caller::Friend) => assert!(shows(KEY) || (shows(&cookie) && shows(OWN))),
        Ok(Caller::Broker { .. }) => assert!(shows(BROKER_KEY)),
        Ok(Caller::Nobody) => panic!("nobody starts something"),
        Err(denied) => assert!((400..=403).contains(&denied.status())),
    }
    assert!(!request::may_see(&request, &ring) || shows(KEY) || shows(BROKER_KEY) || shows(&cookie));
    match request::route(&request) {
        Route::Start => assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/start")),
        Route::Page | Route::Status => assert_ne!(request.method, "POST"),
        Route::Invitation(key) => assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())),
        Route::Refused(status) => assert!((400..500).contains(&status)),
    }
}

/// A stream of packets to the broker, and a PROXY header. What comes out is what was sent, however it is cut, and nothing is
/// longer than a login's packets.
pub fn broker_frames(input: &[u8]) {
    let packets = |piece: usize| {
        let (mut frames, mut packets) = (Frames::default(), Vec::new());
        for piece in input.chunks(piece) {
            frames.push(piece);
            loop {
                match frames.next_packet() {
                    Ok(Some(packet)) => packets.push(packet),
                    Ok(None) => break,
                    Err(_) => return (packets, true),
                }
            }
        }
        (packets, false)
    };
    let (whole, is_malformed) = packets(usize::MAX);
    assert_eq!((whole.clone(), is_malformed), packets(1), "in one piece, and byte by byte");
    assert!(whole.iter().all(|packet| (1..=frame::LONGEST).contains(&packet.len())));
    let again: Vec<u8> = whole.iter().flat_map(|packet| framed(packet)).collect();
    assert!(again.len() <= input.len(), "more came out than went in");
    if let Ok(Some((source, length))) = proxy_header::read(input) {
        assert!(length <= input.len() && length <= proxy_header::LONGEST);
        assert_eq!(proxy_header::read(&input[..length]), Ok(Some((source, length))), "nothing behind it matters");
        if let Source::Client(client) = source {
            let written = proxy_header::written(client, client);
            assert!(
                matches!(proxy_header::read(&written), Ok(Some((Source::Client(same), _))) if same.port() == client.port())
            );
        }
    }
}

/// Whatever a client sends to the broker: without the session server's word nobody is let in, nothing is sent after the end, and
/// nobody is asked for whose name is none. The first byte says how the others answer, and how the bytes are cut.
pub fn broker_login(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else { return };
    let is_up = how & 1 != 0;
    let common = Common {
        protocols: ProtocolTable::default(),
        gate: Gate { auth: Auth::SessionServer, starters: Starters::Launcher },
        relay: how & 2 != 0,
        public_key: vec![1; 294],
        mark: "mark".to_owned(),
    };
    let face = Face::Text("asleep".to_owned());
    let (to, mut now) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 25566)), Duration::ZERO);
    let mut connection = Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), now);
    let (mut is_over, mut sent) = (false, 0);
    for piece in bytes.chunks(usize::from(how >> 2) + 1) {
        now += Duration::from_millis(10);
        let mut actions =
            std::collections::VecDeque::from(connection.received(&mut piece.to_vec(), &common, &face, now));
        while let Some(action) = actions.pop_front() {
            assert!(!is_over, "{action:?} after the end");
            match action {
                Action::Send(bytes) => {
                    sent += bytes.len();
                    assert!(sent < 4096, "however often something is asked for");
                }
                Action::Admit => actions.extend(connection.admitted(true)),
                Action::Ask(guest) => {
                    let length = guest.name.chars().count();
                    assert!(
                        (1..=16).contains(&length) && guest.name.chars().all(|char| char.is_ascii_graphic()),
                        "{guest:?}"
                    );
                    let order = if is_up { Order::HandOver(to) } else { Order::LogIn };
                    actions.extend(connection.ordered(order, &common, 7, now));
                }
                Action::Decrypt { secret, token } => {
                    let plain = (secret.len() >= 16).then(|| (&secret[..16], token.as_deref()));
                    actions.extend(connection.decrypted(plain, &common, now));
                }
                Action::AskSessionServer { name, .. } => {
                    assert!(!name.is_empty());
                    actions.extend(connection.vouched(Vouched::ForNobody, &common, 7, now));
                }
                Action::Join(guest, account) => panic!("{guest:?} is let in as {account:?}"),
                Action::Relay { .. } => {
                    assert!(is_up && common.relay);
                    is_over = true;
                }
                Action::Close(why) => {
                    assert!(why != Closed::HandedOver || is_up);
                    is_over = true;
                }
            }
        }
        if is_over {
            return;
        }
    }
    let later = connection.next_tick();
    assert!(!connection.tick(&face, later).is_empty(), "somebody who says nothing more is kept for ever");
}
