//! What has to hold for every input of a parser, whoever makes it up: the fuzzer (`make fuzz`), or the corpus that
//! `tests/corpus.rs` replays. Each function is a target and panics at an input for which it does not hold.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use mc_idle::config::files::{self, ConfigError};
use mc_idle::config::keys::KEYS;
use mc_idle::config::settings::{ParameterName, Settings};
use mc_idle::hold;
use mc_idle::host::properties::{self, Port};
use mc_idle::host::row::Row;
use mc_idle::host::{containers, mountinfo, tables};
use mc_idle::idle::{Moment, Rule};
use mc_idle::{metadata, state_file};

/// The function of a target.
pub type Property = fn(&[u8]);

/// Every target by its name, which is also that of its corpus.
pub const TARGETS: [(&str, Property); 8] = [
    ("config", config),
    ("containers", containers),
    ("hold", hold),
    ("metadata", metadata),
    ("mountinfo", mountinfo),
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

/// `/proc/self/mountinfo`: the mount that is found is the last one with its mount point, as it stands there, and a mount on
/// top of all is found.
pub fn mountinfo(input: &[u8]) {
    for (mount_point, escaped) in [("/mnt/efs", "/mnt/efs"), ("/mnt/my efs", "/mnt/my\\040efs")] {
        let mount_point = Path::new(mount_point);
        let Ok(found) = mountinfo::topmost(input, mount_point) else { continue };
        let is_there = |line: &&[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(escaped.as_bytes());
        match (input.split(|byte| *byte == b'\n').rfind(is_there), found) {
            (None, None) => {}
            (Some(line), Some(found)) => {
                let line = std::str::from_utf8(line).expect("what is parsed is text");
                let mut words = line.split(' ');
                assert_eq!(words.next().and_then(|id| id.parse().ok()), Some(found.mnt_id), "{line:?}");
                assert_eq!(words.skip(5).skip_while(|word| *word != "-").nth(1), Some(&*found.fs_type), "{line:?}");
            }
            (line, found) => panic!("{line:?} is there, and {found:?} was found"),
        }
        let on_top = format!("\n98 29 0:51 / {escaped} rw,relatime shared:50 - nfs4 127.0.0.1:/ rw,vers=4.1\n");
        let found = mountinfo::topmost([input, on_top.as_bytes()].concat().as_slice(), mount_point);
        assert!(matches!(found, Ok(Some(mount)) if mount.mnt_id == 98 && mount.fs_type == "nfs4"));
    }
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
    static DEFAULT: LazyLock<Settings> = LazyLock::new(Settings::default);
    let mut settings = DEFAULT.clone();
    let taken = files::apply(&mut settings, Path::new("config.toml"), text);
    are_allowed(&settings);
    match taken {
        Ok(()) => {
            let mut again = settings.clone();
            files::apply(&mut again, Path::new("config.toml"), text).expect("what was taken once is taken again");
            assert_eq!(again, settings);
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

    let mount_point = settings.efs.mount_point.to_str().expect("TOML is text");
    let plain = |part: &str| !["", ".", ".."].contains(&part);
    assert!(
        ["", "/"].contains(&mount_point)
            || mount_point.strip_prefix('/').is_some_and(|path| path.split('/').all(plain)),
        "{mount_point:?}"
    );

    assert!(!mount_point.contains('\0'), "{mount_point:?}");

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
    let known = Rule::remembering(Settings::default().terms(), memory, NOW).memory();
    assert!(known.running.is_none_or(|running| running.elapsed <= NOW.0), "{:?}", known.running);
    assert!(known.efs_waited <= NOW.0, "{:?}", known.efs_waited);
    assert!(known.first_seen.iter().all(|(_, at)| *at <= NOW), "{:?}", known.first_seen);
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

/// The file of a hold, the value of the remote one, and the duration on the command line: none holds longer than it may, and
/// no reason breaks the line that it is shown in.
pub fn hold(input: &[u8]) {
    const NOW: Moment = Moment(Duration::from_hours(1));
    let one_line = |reason: &str| reason.chars().count() <= 200 && !reason.chars().any(char::is_control);
    if let Some(Some(hold)) = hold::parse(input, "boot", NOW) {
        assert!(hold.left.is_some_and(|left| left <= hold::LONGEST && !left.is_zero()), "{hold:?}");
        assert!(one_line(&hold.reason), "{hold:?}");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(remote) = hold::remote(text) {
        assert!(one_line(&remote.reason) && !remote.reason.is_empty(), "{remote:?}");
        assert_eq!(remote.at(remote.until), None, "over at its end");
    }
    if let Ok(duration) = hold::parse_duration(text) {
        assert!(duration <= hold::LONGEST, "{text:?} is {duration:?}");
    }
    assert!(one_line(&hold::tidy(text)));
}

/// `/proc/PID/cgroup`: a container's id is one wherever it stands, no other run of digits is, and no line hides another.
pub fn containers(input: &[u8]) {
    const ID: &str = "3f2a8c1d3f2a8c1d3f2a8c1d3f2a8c1d3f2a8c1d3f2a8c1d3f2a8c1d3f2a8c1d";
    let (mut digits, mut has_id) = (0, false);
    for byte in input.iter().chain(b"\n") {
        if byte.is_ascii_hexdigit() {
            digits += 1;
        } else {
            has_id |= digits == ID.len();
            digits = 0;
        }
    }
    assert_eq!(containers::names_a_container(input), has_id);
    assert_eq!(input.split(|byte| *byte == b'\n').any(containers::names_a_container), has_id);
    let more = [input, b"\n0::/system.slice/docker-", ID.as_bytes(), b".scope\n"].concat();
    assert!(containers::names_a_container(&more));
}
