//! The command line and the configuration, as an operator meets them.
//! Over 400 lines, a quarter of them the table of values for each key.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use mc_idle::cloud::StopAction;
use mc_idle::config::keys::KEYS;
use mc_idle::config::settings::MountPoint;
use mc_idle::config::{Settings, load};
use mc_service::config::Key;
use proptest::prelude::*;
use rustix::process::Signal;

use crate::apart;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::{Config, Notices, checkout, mc_idle};

/// Values of a key that are refused and that are taken, as they are written in a file.
struct Values {
    key: &'static str,
    refused: &'static [&'static str],
    taken: &'static [&'static str],
}

/// For every key both sides of each of its ends, and values of a wrong type or form.
const VALUES: &[Values] = &[
    Values {
        key: "idle_minutes",
        refused: &["0", "0.0", "-1", "10080.1", "10081", "nan", "inf", "-inf", "\"15\"", "true", "[15]", "{ a = 1 }"],
        taken: &["0.001", "1", "15.5", "1e2", "10_080", "10080", "10080.0", "+15", "0xF"],
    },
    Values {
        key: "no_server_minutes",
        refused: &["0", "-0.5", "10080.001", "99999999999999999999", "nan", "\"30 min\"", "2026-11-22"],
        taken: &["0.001", "10080"],
    },
    Values {
        key: "sample_seconds",
        refused: &["0", "0.1999", "60.001", "61", "-5", "nan", "\"5\"", "[]"],
        taken: &["0.2", "60", "60.0"],
    },
    Values {
        key: "joining_patience_minutes",
        refused: &["0", "0.0999", "-1", "1440.1", "1441", "nan", "\"30\"", "true"],
        taken: &["0.1", "1440", "1440.0"],
    },
    Values {
        key: "action",
        refused: &["\"\"", "\"Stop\"", "\"poweroff\"", "1", "[\"stop\"]"],
        taken: &["\"stop\"", "'hibernate'", "\"terminate\""],
    },
    Values {
        key: "minecraft.ports",
        refused: &[
            "[]",
            "[0]",
            "[65536]",
            "[-1]",
            "[25565.0]",
            "25565",
            "\"25565\"",
            "[\"25565\"]",
            "[25565, 0]",
            "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]",
        ],
        taken: &["[1]", "[65535]", "[25565, 25566]", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"],
    },
    Values {
        key: "minecraft.min_connection_seconds",
        refused: &["-0.1", "600.1", "601", "nan", "\"70\"", "false"],
        taken: &["0", "0.0", "600"],
    },
    Values { key: "minecraft.containers", refused: &["\"true\"", "1", "0", "\"\""], taken: &["true", "false"] },
    Values {
        key: "minecraft.ignore_peers",
        refused: &[
            "[\"192.0.2.0/33\"]",
            "[\"192.0.2.256\"]",
            "[\"192.0.2.1/\"]",
            "[\"2001:db8::/129\"]",
            "[\"2001:db8:::/32\"]",
            "[\"localhost\"]",
            "[\"\"]",
            "[192]",
            "\"192.0.2.7\"",
            "[\"192.0.2.7\", \"192.0.2\"]",
        ],
        taken: &[
            "[]",
            "[\"192.0.2.7\"]",
            "[\"192.0.2.7/32\", \"0.0.0.0/0\", \"2001:db8::1\", \"::/0\", \"fe80::/128\", \"::ffff:192.0.2.0/120\"]",
        ],
    },
    Values {
        key: "minecraft.bedrock_ports",
        refused: &[
            "[0]",
            "[65536]",
            "[-1]",
            "[19132.0]",
            "19132",
            "\"\"",
            "[\"19132\"]",
            "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]",
        ],
        taken: &["[]", "[1]", "[65535]", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"],
    },
    Values { key: "minecraft.ask", refused: &["\"true\"", "1", "0", "\"\""], taken: &["true", "false"] },
    Values {
        key: "minecraft.ask_seconds",
        refused: &["9.9", "0", "120.1", "121", "-60", "\"60\"", "nan"],
        taken: &["10", "120", "10.5"],
    },
    Values {
        key: "efs.mount_point",
        refused: &[
            "\"/mnt/\\u0000efs\"",
            "\"mnt/efs\"",
            "\"./efs\"",
            "\"/mnt/../efs\"",
            "\"/mnt/./efs\"",
            "\"Auto\"",
            "5",
            "[\"/mnt/efs\"]",
        ],
        taken: &["\"\"", "\"auto\"", "\"/\"", "\"/mnt/my efs/\"", "'/mnt/efs'", "\"/mnt/..efs/...\""],
    },
    Values { key: "efs.probe_seconds", refused: &["0.19", "0", "60.1", "\"5\"", "nan"], taken: &["0.2", "60"] },
    Values {
        key: "efs.patience_minutes",
        refused: &["-1", "1440.1", "1441", "\"for ever\"", "nan"],
        taken: &["0", "1440", "0.5"],
    },
    Values {
        key: "heartbeat.parameter",
        refused: &[
            "\"a b\"",
            "\"/mc-idle/{instance}/x\"",
            "\"mc-idle/x\"",
            "\"/mc-idle//x\"",
            "\"/mc-idle/\"",
            "\"/aws/x\"",
            "\"SSMx\"",
            "\"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16\"",
            "\"/caf\u{e9}\"",
            "5",
        ],
        taken: &["\"\"", "\"x\"", "\"/mc-idle/{instance_id}/x\"", "\"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15\""],
    },
    Values {
        key: "heartbeat.instance_id_parameter",
        refused: &["\"a:b\"", "\"/aws\"", "true"],
        taken: &["\"\"", "\"/servers/mc\""],
    },
    Values {
        key: "heartbeat.seconds",
        refused: &["9.9", "0", "3600.1", "3601", "\"60\"", "nan"],
        taken: &["10", "3600"],
    },
    Values { key: "heartbeat.names", refused: &["\"true\"", "1", "\"\""], taken: &["true", "false"] },
    Values { key: "hold.ssh_sessions", refused: &["\"true\"", "1", "\"\""], taken: &["true", "false"] },
    Values { key: "hold.parameter", refused: &["\"a:b\"", "\"/aws\"", "true"], taken: &["\"\"", "\"/servers/hold\""] },
    Values {
        key: "metrics.textfile",
        refused: &["\"mc-idle.prom\"", "\"/\"", "\"/metrics/\"", "\"/var/../mc-idle.prom\"", "true", "[]"],
        taken: &["\"\"", "\"/var/lib/node_exporter/mc-idle.prom\""],
    },
    Values {
        key: "aws.region",
        refused: &["\"\"", "\"eu\"", "\"eu-central\"", "\"EU-central-1\"", "\"eu--1\"", "\"eu-central-1/\"", "1"],
        taken: &["\"eu-central-1\"", "\"us-gov-west-1\""],
    },
    Values {
        key: "aws.instance_id",
        refused: &[
            "\"\"",
            "\"i-0123\"",
            "\"0123456789abcdef0\"",
            "\"i-0123456789ABCDEF0\"",
            "\"i-0123456789abcdef00\"",
            "1",
        ],
        taken: &["\"i-01234567\"", "\"i-0123456789abcdef0\""],
    },
];

fn with(config: &Path, command: &[&str]) -> Command {
    let mut process = mc_idle();
    process.args(command).arg("--config").arg(config);
    process
}

/// Both commands refuse the file, say just `complaint` on stderr, touch nothing and tell systemd nothing.
fn assert_refused(config: &Path, complaint: &str) {
    for command in [&["run", "--dry-run"][..], &["run"], &["check", "--offline"], &["check"]] {
        let (runtime, notices) = (tempfile::tempdir().unwrap(), Notices::listen());
        let output = with(config, command)
            .env("RUNTIME_DIRECTORY", runtime.path())
            .env("NOTIFY_SOCKET", notices.socket())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(err, format!("mc-idle: {complaint}\n"), "{command:?}");
        assert_eq!(output.status.code(), Some(78), "{command:?}: {err}");
        assert!(output.stdout.is_empty(), "{command:?} wrote {:?}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0, "{command:?} left a file behind");
        assert_eq!(notices.all(), Vec::<String>::new(), "{command:?}");
    }
}

/// The same for a file whose text is not valid TOML, or for what the system says: the exact words are not ours.
fn assert_refused_somehow(config: &Path, beginning: &str) {
    let output = with(config, &["check", "--offline"]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(err.starts_with(&format!("mc-idle: {beginning}")), "{err}");
    assert_refused(config, err.trim_start_matches("mc-idle: ").trim_end_matches('\n'));
}

fn key_line(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((table, name)) => format!("[{table}]\n{name} = {value}\n"),
        None => format!("{key} = {value}\n"),
    }
}

fn applied(text: &str) -> Result<Settings, String> {
    load::parse(Path::new("config.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn every_key_has_its_values_here() {
    let here: Vec<&str> = VALUES.iter().map(|values| values.key).collect();
    let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(here, known);
}

#[test]
fn a_value_that_is_not_allowed_is_named_with_its_line_and_with_what_is_allowed() {
    for values in VALUES {
        let key = KEYS.iter().find(|key| key.name == values.key).expect("a key that there is");
        for value in values.refused {
            let text = format!("# A comment.\n\n{}", key_line(key.name, value));
            let line = if key.name.contains('.') { 4 } else { 3 };
            let (name, allowed) = (key.name, key.allowed);
            let complaint = applied(&text).expect_err(&text);
            let plain = complaint.split_once(", since ").map_or(complaint.clone(), |(before, after)| {
                format!("{before}; {}", after.split_once("; ").expect("what is allowed").1)
            });
            assert_eq!(plain, format!("config.toml:{line}: {name} = {value} is not allowed; allowed: {allowed}"));
        }
    }
}

#[test]
fn a_path_that_is_refused_is_told_what_is_wrong_with_it() {
    for (value, why) in [
        ("/mnt/../efs", "it contains .."),
        ("..", "it contains .."),
        ("/mnt/./efs", "it contains a . component"),
        ("/mnt/.", "it contains a . component"),
        ("mnt/efs", "it does not start with /"),
        ("~/efs", "it does not start with /"),
        ("Auto", "it does not start with /"),
        ("/mnt\\u0000/efs", "a path cannot contain NUL"),
    ] {
        let refused = applied(&format!("efs.mount_point = \"{value}\"\n")).unwrap_err();
        let beginning =
            format!("config.toml:1: efs.mount_point = \"{value}\" is not allowed, since {why}; allowed: \"auto\"");
        assert!(refused.starts_with(&beginning), "{refused}");
    }
    let refused = applied("metrics.textfile = \"/metrics/\"\n").unwrap_err();
    assert!(refused.contains(" is not allowed, since it ends with /, so it is a folder; allowed: "), "{refused}");
}

#[test]
fn a_value_at_the_limits_is_taken() {
    for values in VALUES {
        for value in values.taken {
            let text = key_line(values.key, value);
            assert!(applied(&text).is_ok(), "{text}: {:?}", applied(&text));
        }
    }
}

#[test]
fn what_is_written_is_what_is_set() {
    let settings = applied(
        "idle_minutes = 0.5\nno_server_minutes = 1\nsample_seconds = 0.2\naction = 'hibernate'\n\
         minecraft = { ports = [2, 1], min_connection_seconds = 1.5, ignore_peers = ['192.0.2.7', '::ffff:10.0.0.0/104'] }\n\
         efs.mount_point = '/mnt//my efs/'\nefs.probe_seconds = 2\n[heartbeat]\nseconds = 10\nparameter = 'x-{instance_id}'\n\
         [aws]\nregion = 'eu-central-1'\ninstance_id = 'i-01234567'\n",
    )
    .unwrap();
    assert_eq!(settings.idle_window, Duration::from_secs(30));
    assert_eq!(settings.no_server_window, Duration::from_mins(1));
    assert_eq!(settings.sample_interval, Duration::from_millis(200));
    assert_eq!(settings.action, StopAction::Hibernate);
    assert_eq!(settings.scope.ports, BTreeSet::from([1, 2]));
    assert_eq!(settings.min_connection, Duration::from_millis(1500));
    assert!(
        settings.scope.ignores("192.0.2.7".parse().unwrap()) && !settings.scope.ignores("192.0.2.8".parse().unwrap())
    );
    assert!(settings.scope.ignores("10.1.2.3".parse().unwrap()));
    assert_eq!(settings.efs.mount_point, MountPoint::At("/mnt/my efs".into()));
    assert_eq!(settings.efs.probe, Duration::from_secs(2));
    assert_eq!(settings.heartbeat.interval, Duration::from_secs(10));
    assert_eq!(settings.heartbeat.parameter.unwrap().of("i-01234567"), "x-i-01234567");
    assert_eq!(settings.aws.region.as_deref(), Some("eu-central-1"));
    assert_eq!(settings.aws.instance_id.as_deref(), Some("i-01234567"));
}

#[test]
fn a_wrong_value_ends_run_and_check_with_78() {
    for values in VALUES {
        let key = KEYS.iter().find(|key| key.name == values.key).expect("a key that there is");
        let value = values.refused[0];
        let config = Config::new(&format!("# A comment.\n{}", key_line(key.name, value)));
        let (file, line) = (config.path(), if key.name.contains('.') { 3 } else { 2 });
        let (file, name, allowed) = (file.display(), key.name, key.allowed);
        let why = match name {
            "efs.mount_point" => ", since a path cannot contain NUL",
            "metrics.textfile" => ", since it does not start with /",
            _ => "",
        };
        let complaint = format!("{file}:{line}: {name} = {value} is not allowed{why}; allowed: {allowed}");
        assert_refused(&config.path(), &complaint);
    }
}

#[test]
fn an_unknown_key_ends_run_and_check_with_78() {
    let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    for (text, line, key, found) in [
        ("idle_minute = 15", 1, "idle_minute", "15"),
        ("Idle_Minutes = 15", 1, "Idle_Minutes", "15"),
        ("\nidle_minutes = 1\n[minecraft]\n\nport = 25565", 5, "minecraft.port", "25565"),
        ("efs.idle_minutes = 1", 1, "efs.idle_minutes", "1"),
        ("minecraft = 25565", 1, "minecraft", "25565"),
        ("'with a dot.' = [1,\n  2]", 1, "with a dot.", "[1, 2]"),
    ] {
        let config = Config::new(text);
        let (file, known) = (config.path(), known.join(", "));
        let complaint = format!("{}:{line}: unknown key {key} = {found}; known keys: {known}", file.display());
        assert_refused(&file, &complaint);
    }
}

#[test]
fn a_table_in_the_wrong_place_ends_run_and_check_with_78() {
    for (text, line, complaint) in [
        ("\n[minecarft]\nports = [25565]", 2, "unknown key minecarft"),
        ("minecarft.ports = [25565]", 1, "unknown key minecarft"),
        ("[[minecraft]]\nports = [25565]", 1, "unknown key minecraft"),
        ("\n[minecraft.ports]\nfirst = 25565", 2, "minecraft.ports"),
        ("minecraft.ports.first = 25565", 1, "minecraft.ports"),
    ] {
        let config = Config::new(text);
        assert_refused_somehow(&config.path(), &format!("{}:{line}: {complaint} = ", config.path().display()));
    }
}

#[test]
fn what_is_not_toml_ends_run_and_check_with_78() {
    for (text, line) in [
        ("\n\nidle_minutes = ", 3),
        ("idle_minutes 15", 1),
        ("idle_minutes = 1\nidle_minutes = 2", 2),
        ("action = stop", 1),
        ("idle_minutes = 1\n[efs\n", 2),
        ("idle_minutes = 015", 1),
    ] {
        let config = Config::new(text);
        assert_refused_somehow(&config.path(), &format!("{}:{line}: not valid TOML: ", config.path().display()));
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_run_and_check_with_78() {
    let refused = |path: &Path| assert_refused_somehow(path, &format!("cannot read {}: ", path.display()));
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path());
    refused(&folder.path().join("missing.toml"));
    let no_text = folder.path().join("no-text.toml");
    fs::write(&no_text, b"idle_minutes = 15 # \xff\n").unwrap();
    refused(&no_text);
    // Root may read anything.
    if !crate::support::root() {
        let secret = folder.path().join("secret.toml");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        refused(&secret);
    }
}

/// A configuration with drop-ins beside it.
fn with_drop_ins(text: &str, drop_ins: &[(&str, &str)]) -> Config {
    let config = Config::new(text);
    let folder = config.path().with_file_name("config.d");
    fs::create_dir(&folder).unwrap();
    for (name, text) in drop_ins {
        fs::write(folder.join(name), text).unwrap();
    }
    config
}

#[test]
fn drop_ins_are_read_in_name_order_and_later_ones_win_key_by_key() {
    let config = with_drop_ins(
        "idle_minutes = 1\nno_server_minutes = 1\nefs.patience_minutes = 1\n",
        &[
            ("9-last.toml", "idle_minutes = 4\n"),
            ("10-first.toml", "idle_minutes = 2\nno_server_minutes = 2\n[minecraft]\nports = [1]\n"),
            ("20-second.toml", "idle_minutes = 3\n[minecraft]\nmin_connection_seconds = 3\n"),
            ("99-other.conf", "idle_minutes = 5\n"),
            ("99-backup.toml~", "nonsense"),
        ],
    );
    let settings = load::load(Some(&config.path())).unwrap();
    assert_eq!(settings.idle_window, Duration::from_mins(4));
    assert_eq!(settings.no_server_window, Duration::from_mins(2));
    assert_eq!(settings.efs_patience, Duration::from_mins(1));
    assert_eq!(settings.scope.ports, BTreeSet::from([1]));
    assert_eq!(settings.min_connection, Duration::from_secs(3));
    assert_eq!(settings.sample_interval, Settings::default().sample_interval);
}

#[test]
fn a_patience_shorter_than_a_connection_has_to_be_is_named_whichever_file_set_either() {
    let allowed = KEYS.iter().find(|key| key.name == "joining_patience_minutes").unwrap().allowed;
    let connection = "minecraft.min_connection_seconds";
    for (main, drop_ins, at, found, limit) in [
        ("\njoining_patience_minutes = 1\n", &[][..], "config.toml:2", "1", "70 (its default)"),
        (
            "joining_patience_minutes = 5\n",
            &[("1.toml", "#\nminecraft.min_connection_seconds = 300.1\n")],
            "config.toml:1",
            "5",
            "300.1 (at config.d/1.toml:2)",
        ),
        (
            "[minecraft]\nmin_connection_seconds = 600\n",
            &[("1.toml", "joining_patience_minutes = 20\n"), ("2.toml", "#\n\njoining_patience_minutes = 9.9\n")],
            "config.d/2.toml:3",
            "9.9",
            "600 (at config.toml:2)",
        ),
    ] {
        let config = with_drop_ins(main, drop_ins);
        let folder = config.path().parent().unwrap().display().to_string();
        let limit = limit.replace("at ", &format!("at {folder}/"));
        assert!(allowed.ends_with(connection), "{allowed}");
        let complaint = format!(
            "{folder}/{at}: joining_patience_minutes = {found} is not allowed; allowed: {allowed}, which is {limit}"
        );
        assert_eq!(load::load(Some(&config.path())).map_err(|error| error.to_string()), Err(complaint.clone()));
        assert_refused(&config.path(), &complaint);
    }
    for (main, drop_ins) in [
        ("minecraft.min_connection_seconds = 600\n", &[][..]),
        ("joining_patience_minutes = 0.1\nminecraft.min_connection_seconds = 6\n", &[]),
        ("joining_patience_minutes = 1\n", &[("1.toml", "minecraft.min_connection_seconds = 60\n")]),
        ("joining_patience_minutes = 1\n", &[("1.toml", "joining_patience_minutes = 30\n")]),
    ] {
        let config = with_drop_ins(main, drop_ins);
        assert!(load::load(Some(&config.path())).is_ok(), "{main}: {:?}", load::load(Some(&config.path())));
    }
}

#[test]
fn a_wrong_drop_in_is_named_with_its_own_line() {
    let config = with_drop_ins("\n\n\nidle_minutes = 1\n", &[("1.toml", ""), ("2.toml", "#\nidle_minutes = 0\n")]);
    let drop_in = config.path().with_file_name("config.d/2.toml");
    let complaint = format!("{}:2: idle_minutes = 0 is not allowed; allowed: {}", drop_in.display(), KEYS[0].allowed);
    assert_refused(&config.path(), &complaint);

    let config = with_drop_ins("", &[]);
    let folder = config.path().with_file_name("config.d");
    fs::create_dir(folder.join("folder.toml")).unwrap();
    assert_refused_somehow(&config.path(), &format!("cannot read {}/folder.toml: ", folder.display()));

    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    assert_refused_somehow(&config.path(), &format!("cannot read {}: ", folder.display()));
}

#[test]
fn a_drop_in_does_not_heal_what_is_wrong_before_it() {
    let config = with_drop_ins("idle_minutes = 0\n", &[("1.toml", "idle_minutes = 1\n")]);
    let complaint =
        format!("{}:1: idle_minutes = 0 is not allowed; allowed: {}", config.path().display(), KEYS[0].allowed);
    assert_refused(&config.path(), &complaint);
}

#[test]
fn the_file_in_etc_may_be_missing_and_is_read_if_it_is_there() {
    apart!("--mount");
    // /etc of this mount namespace only.
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none", "/etc"]).status().unwrap();
    assert!(mounted.success());
    let check = || {
        let output = mc_idle().args(["check", "--offline"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let well = (Some(0), "ok      configuration\n".to_owned(), String::new());
    assert_eq!(check(), well);

    fs::create_dir_all("/etc/mc-idle/config.d").unwrap();
    fs::write("/etc/mc-idle/config.d/site.toml", "idle_minutes = 20\n").unwrap();
    assert_eq!(check(), well);
    fs::write("/etc/mc-idle/config.d/site.toml", "idle_minutes = 0\n").unwrap();
    let (code, out, err) = check();
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.contains("/etc/mc-idle/config.d/site.toml:1: idle_minutes = 0 "), "{err}");
    fs::write("/etc/mc-idle/config.toml", "\nidle_minutes = 0\n").unwrap();
    let (code, _, err) = check();
    assert_eq!(code, Some(78));
    assert!(err.contains("/etc/mc-idle/config.toml:2: idle_minutes = 0 "), "{err}");
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let config = Config::new("idle_minutes = 20\n");
    let output = with(&config.path(), &["check", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ok      configuration\n");
    assert!(output.stderr.is_empty());
}

fn said(arguments: &[&str]) -> (Output, String) {
    let output = mc_idle().args(arguments).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
fn help_and_version_are_told_on_stdout() {
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let (output, text) = said(arguments);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{text}");
        for command in ["run", "check"] {
            assert!(text.lines().any(|line| line.trim_start().starts_with(command)), "{command} in {text}");
        }
        assert!(!text.contains("probe-mount"), "the helper is nobody's business: {text}");
    }
    let (output, text) = said(&["run", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("--config <FILE>") && text.contains("--dry-run"), "{text}");
    let (output, text) = said(&["--version"]);
    assert_eq!((output.status.code(), text), (Some(0), format!("mc-idle {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [
        &[][..],
        &["start"],
        &["--config", "/dev/null"],
        &["run", "--dryrun"],
        &["run", "extra"],
        &["run", "--config"],
        &["run", "--config", "a", "--config", "b"],
        &["run", "--offline"],
        &["check", "--dry-run"],
    ] {
        let (output, text) = said(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty() && text.contains("--help"), "{arguments:?}: {text}");
    }
}

/// The agent in a dry run beside a server on which nobody plays.
fn idle_agent(server: &Silent, idle_seconds: f64) -> Agent {
    Agent::start(&settings(server.port, idle_seconds, &[]), |command| {
        command.arg("--dry-run");
    })
}

const STOPPED: &str = "EC2 would be asked to stop this instance now";

/// Has the agent read `text`, and returns how many lines it had said up to its answer.
fn reload(agent: &Agent, text: &str, answer: &str) -> (usize, String) {
    let lines = agent.process.output().len();
    agent.config.write(text);
    agent.process.signal(Signal::HUP);
    agent.process.wait_for_after(lines, answer)
}

#[test]
fn sigterm_and_sigint_end_the_agent_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut agent = idle_agent(&Silent::start(), 600.0);
        agent.process.wait_for("No players on");
        agent.notices.wait_for("READY=1");
        agent.process.signal(signal);
        assert_eq!(agent.process.wait().code(), Some(0));
        agent.process.wait_for("mc-idle is exiting on request.");
        agent.notices.wait_for("STOPPING=1");
        assert!(!agent.process.output().join("\n").contains(STOPPED));
    }
}

#[test]
fn a_reload_takes_new_settings_and_leaves_the_clock_alone() {
    let server = Silent::start();
    let agent = idle_agent(&server, 60.0);
    agent.notices.wait_for_countdown(57);
    // At least 3 s have been counted: of a window of 100 s no more than 97 s can be left.
    let (_, said) = reload(&agent, &settings(server.port, 100.0, &[]), "Configuration reloaded");
    assert!(said.contains("reloaded: idle_minutes: 1 -> 1.66666"), "{said}");
    let left = crate::support::wait_until("the new window shows", || {
        agent.notices.countdown().into_iter().filter(|left| *left > 60).max()
    });
    sleep(Duration::from_millis(600));
    let most = agent.notices.countdown().into_iter().max().unwrap();
    assert!(left <= 97 && most <= 97, "the clock was set back: {most} s are left");
    // A window that is over already: due at once, not in 2 s.
    let told = agent.notices.statuses().len();
    let lines = agent.process.output().len();
    reload(&agent, &settings(server.port, 2.0, &[]), "Configuration reloaded");
    agent.process.wait_for_after(lines, STOPPED);
    let after = &agent.notices.statuses()[told..];
    assert!(!after.iter().any(|status| status.contains("stops in 2 s")), "the clock was set back: {after:#?}");
}

#[test]
fn a_bad_file_is_refused_at_a_reload_and_the_old_settings_stay() {
    let server = Silent::start();
    let mut agent = idle_agent(&server, 60.0);
    agent.notices.wait_for_countdown(58);
    // The first line would stop the machine now; it must not be taken without the second.
    let bad = format!("idle_minutes = 0.01\nminecraft.ports = [{}]\nidle_mintes = 1\n", server.port);
    let (lines, said) = reload(&agent, &bad, "New configuration rejected, keeping the old one: ");
    assert!(said.contains(" error: "), "{said}");
    let place = format!("{}:3: unknown key idle_mintes = 1; known keys: ", agent.config.path().display());
    assert!(said.contains(&place), "{said}");
    let told = agent.notices.statuses().len();
    sleep(Duration::from_secs(2));
    assert!(agent.process.runs());
    assert_eq!(agent.process.output().len(), lines, "{:#?}", agent.process.output());
    let after = agent.notices.statuses().split_off(told);
    assert!(!after.is_empty() && after.iter().all(|status| status.contains("No players on")), "{after:#?}");
    assert!(agent.notices.countdown().iter().all(|left| *left <= 60 && *left > 30));

    reload(&agent, &settings(server.port, 2.0, &[]), "Configuration reloaded");
    agent.process.wait_for(STOPPED);
}

#[test]
fn an_agent_reads_other_ports_after_a_reload() {
    let (server, other) = (Silent::start(), Silent::start());
    let agent = idle_agent(&server, 60.0);
    agent.process.wait_for("No players on");
    let further = ["no_server_minutes = 10", "minecraft.min_connection_seconds = 0"];
    let _player = std::net::TcpStream::connect(("127.0.0.1", other.port)).unwrap();
    reload(&agent, &settings(other.port, 60.0, &further), "Configuration reloaded");
    agent.process.wait_for(&format!("1 player is on port {}.", other.port));
}

/// `#key = default` of the shipped file, with their tables.
fn shipped() -> Vec<(String, String)> {
    let text = fs::read_to_string(checkout().join("systemd/mc-idle.toml")).unwrap();
    let mut table = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once(" = "))
            && !name.contains(' ')
        {
            found.push((format!("{table}{name}"), value.to_owned()));
        }
    }
    found
}

#[test]
fn the_shipped_file_has_every_key_with_its_default_and_no_other() {
    let shipped = shipped();
    let names: Vec<&str> = shipped.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    for ((name, value), key) in shipped.iter().zip(KEYS) {
        if let Some(default) = key.default {
            assert_eq!(value, default, "{name}");
        }
    }
}

#[test]
fn the_shipped_file_changes_nothing_until_a_line_is_taken_in_hand() {
    let text = fs::read_to_string(checkout().join("systemd/mc-idle.toml")).unwrap();
    assert_eq!(applied(&text), Ok(Settings::default()));
    let taken = |wanted: fn(&Key<Settings>) -> bool| -> String {
        let lines = shipped().into_iter().zip(KEYS).filter(|(_, key)| wanted(key));
        lines.map(|((name, value), _)| format!("{name} = {value}\n")).collect::<Vec<_>>().concat()
    };
    assert_eq!(applied(&taken(|key| key.default.is_some())), Ok(Settings::default()));
    // What has no default stands there as an example.
    let examples = applied(&taken(|_| true));
    assert!(examples.is_ok(), "{examples:?}");
}

/// The rows of the table of keys in `docs/configuration.md`, each as its cells.
fn documented_rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(checkout().join("docs/configuration.md")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("| `idle_minutes` |")).unwrap();
    let rows = lines[first..].iter().take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_documentation_has_every_key_with_its_default_and_no_other() {
    let rows = documented_rows();
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, KEYS.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>());
    for (row, key) in rows.iter().zip(KEYS) {
        if let Some(default) = key.default {
            assert_eq!(row[1], format!("`{default}`"), "{}", key.name);
        }
    }
}

/// Text with the look of a configuration, so that more than the parser of TOML is reached.
fn toml_like() -> impl Strategy<Value = String> {
    let names = KEYS.iter().map(|key| key.name).chain(["minecraft", "efs", "x", "aws.x", "'ä.'"]).collect::<Vec<_>>();
    let values = VALUES.iter().flat_map(|values| values.refused.iter().chain(values.taken)).copied();
    let value = prop_oneof![
        prop::sample::select(values.collect::<Vec<_>>()).prop_map(str::to_owned),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| format!("{text:?}")),
        "[\\[\\]{}=\",.0-9a-z:/ \n#_-]{0,12}",
    ];
    let line = (prop::sample::select(names), value, 0..4).prop_map(|(name, value, form)| match form {
        0 => format!("[{name}]\n"),
        1 => format!("[[{name}]]\n{name} = {value}\n"),
        _ => format!("{name} = {value}\n"),
    });
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = applied(&String::from_utf8_lossy(&bytes));
    }

    /// Whatever is refused is named with a line that the text has.
    #[test]
    fn nothing_with_the_look_of_a_configuration_makes_it_panic(text in toml_like()) {
        if let Err(complaint) = applied(&text) {
            let line: usize = complaint.split(':').nth(1).unwrap().parse().unwrap();
            prop_assert!((1..=text.lines().count() + 1).contains(&line), "{complaint}");
        }
    }
}
