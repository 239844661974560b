//! `mc-idle check`: with each fault put in, one at a time, it ends with 1 and says so in the line that is about it; and
//! with none it ends with 0. What needs a systemd is in `tests/systemd_check.rs`, an EFS that hangs in `tests/nfs.rs`, and
//! containers in `tests/docker.rs`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use mc_idle::check::finding::Check;
use serde_json::{Value, json};
use support::agent::{Silent, settings};
use support::check::{Checked, check, without_systemd};
use support::lab::{self, Lab, python};
use support::{Config, Process, checkout, mc_idle, root};
use tempfile::TempDir;

/// A window that no test waits for.
const LONG: f64 = 900.0;

/// A server with a process and a working directory of its own.
struct Server {
    _process: Process,
    folder: TempDir,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = "import socket, time; server = socket.create_server((\"127.0.0.1\", 0)); \
                       print(\"port\", server.getsockname()[1], flush=True); time.sleep(1000)";
        let process = Process::start(Command::new(python()).args(["-c", program]).current_dir(folder.path()));
        let port = process.wait_for("port ").trim_start_matches("port ").parse().unwrap();
        let server = Server { _process: process, folder, port };
        server.properties(&format!("#Minecraft server properties\nmotd=A server\nserver-port={port}\n"));
        server
    }

    fn properties(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("server.properties")
    }
}

/// AWS with a role that may do what it has to and no more, and a server.
struct World {
    lab: Lab,
    server: Server,
}

impl World {
    fn new() -> Self {
        let lab = Lab::start();
        lab.faults(&json!([lab::narrow_role()]));
        World { lab, server: Server::start() }
    }

    fn check(&self, further: &[&str]) -> Checked {
        check(&settings(self.server.port, LONG, further), |command| self.lab.attach(command))
    }

    /// With rules before that of the narrow role.
    fn check_with(&self, rules: &[Value]) -> Checked {
        self.lab.faults(&rules.iter().cloned().chain([lab::narrow_role()]).collect());
        self.check(&[])
    }
}

/// It ends with 1, for this and nothing else.
fn assert_only_failure(checked: &Checked, name: &str, text: &str) {
    let failed = checked.marked("FAILED");
    assert!(
        checked.code == Some(1)
            && matches!(failed.as_slice(), [line] if line.starts_with(&format!("{name}: ")) && line.contains(text)),
        "{name}: {text}: {checked:#?}"
    );
}

/// It ends with 0 and says this, but not as a fault.
fn assert_note(checked: &Checked, name: &str, text: &str) {
    assert_eq!((checked.code, checked.marked("FAILED")), (Some(0), vec![]), "{checked:#?}");
    assert!(checked.line(name).starts_with("note ") && checked.line(name).contains(text), "{checked:#?}");
}

#[test]
fn all_is_well() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let checked = world.check(&[]);
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    assert_eq!(checked.marked("FAILED").len() + checked.marked("note").len(), 0, "{checked:#?}");
    let names: Vec<&str> =
        checked.lines.iter().map(|line| line[8..].split_once(": ").map_or(&line[8..], |(name, _)| name)).collect();
    assert_eq!(names, Check::ALL.map(Check::name), "one line each, in order");
    for (name, text) in [
        ("instance metadata", world.lab.instance_id.as_str()),
        ("credentials", "ASIALABLABLABLABLAB1"),
        ("clock", "agrees with AWS's"),
        ("permission to stop", "ec2:StopInstances is allowed on this instance"),
        ("other instances", "ec2:StopInstances is refused on them"),
        ("permission to write the heartbeat", "/heartbeat was written"),
        ("EFS", "nothing is on EFS"),
        ("listener", "nobody is connected"),
        ("container", "the server runs on the host itself"),
        ("server.properties", &format!("{} has server-port {}", world.server.file().display(), world.server.port)),
    ] {
        assert!(checked.line(name).starts_with("ok ") && checked.line(name).contains(text), "{text}: {checked:#?}");
    }
    for name in ["unit", "power button"] {
        assert!(checked.line(name).starts_with("not run ") && checked.line(name).contains("not here"), "{checked:#?}");
    }
    assert_eq!((world.lab.stops().len(), world.lab.state().as_str()), (0, "running"));
}

#[test]
fn what_aws_refuses_is_told_in_its_line() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    for (rule, name, text) in [
        (
            json!({"action": "StopInstances", "code": "UnauthorizedOperation"}),
            "permission to stop",
            "allow ec2:StopInstances",
        ),
        (json!({"service": "ec2", "hang": true}), "permission to stop", "EC2 did not answer"),
        (
            json!({"action": "PutParameter", "code": "AccessDeniedException"}),
            "permission to write the heartbeat",
            "allow ssm:",
        ),
        (
            json!({"instance_id": "i-00000000000000000", "code": "DryRunOperation"}),
            "other instances",
            "may stop them too: limit ec2:StopInstances to the instance itself",
        ),
    ] {
        assert_only_failure(&world.check_with(&[rule]), name, text);
    }
    // Emulators and EC2 may look for the instance first.
    let unknown = json!({"instance_id": "i-00000000000000000", "code": "InvalidInstanceID.NotFound"});
    assert_note(&world.check_with(&[unknown]), "other instances", "stays open");
}

#[test]
fn a_termination_needs_a_permission_of_its_own() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let terminate = ["action = \"terminate\""];
    let checked = world.check(&terminate);
    assert!(checked.line("permission to stop").contains("ec2:TerminateInstances is allowed"), "{checked:#?}");
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    world.lab.faults(&json!([]));
    assert_only_failure(
        &world.check(&terminate),
        "other instances",
        "may terminate them too: limit ec2:TerminateInstances",
    );
    assert_eq!(world.lab.state(), "running");
}

#[test]
fn without_metadata_or_credentials_what_hangs_on_them_is_not_run() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let no_id = json!({"service": "imds", "action": "meta-data/instance-id", "status": 500});
    let checked = world.check_with(&[no_id]);
    assert_only_failure(&checked, "instance metadata", "HTTP status 500; off EC2, set aws.region and aws.instance_id");
    for name in ["credentials", "clock", "permission to stop", "other instances", "permission to write the heartbeat"] {
        assert!(checked.line(name).starts_with("not run "), "{checked:#?}");
    }
    world.lab.faults(&json!([lab::narrow_role()]));
    world.lab.metadata("iam/security-credentials/mc-idle-lab", &Value::Null);
    let checked = world.check(&[]);
    assert_only_failure(&checked, "credentials", "attach an instance profile with a role");
    assert!(checked.line("clock").starts_with("not run "), "{checked:#?}");
    assert!(checked.line("listener").starts_with("ok "), "{checked:#?}");
}

#[test]
fn a_clock_that_is_off_is_told_and_told_apart_from_permissions() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    world.lab.clock_ahead(60);
    assert_note(&world.check(&[]), "clock", " s behind AWS's");
    world.lab.clock_ahead(-60);
    assert_note(&world.check(&[]), "clock", " s ahead of AWS's");
    for (seconds, text) in [(3600, "min behind AWS's, which refuses"), (-3600, "min ahead of AWS's, which refuses")] {
        world.lab.clock_ahead(seconds);
        let calls = world.lab.calls().len();
        let checked = world.check(&[]);
        assert_only_failure(&checked, "clock", text);
        let refused = world.lab.calls().into_iter().skip(calls).filter(|call| call.injected.is_some()).count();
        assert!(refused >= 2, "AWS has refused the first request of each service for its time");
    }
}

#[test]
fn an_efs_that_is_not_mounted_is_told() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let mount_point = tempfile::tempdir().unwrap();
    let text = settings(world.server.port, LONG, &[])
        .replace("efs.mount_point = \"\"", &format!("efs.mount_point = \"{}\"", mount_point.path().display()));
    let checked = check(&text, |command| world.lab.attach(command));
    assert_only_failure(&checked, "EFS", "nothing is mounted at");
    assert!(
        checked.line("server.properties").starts_with("ok "),
        "its process is looked at all the same: {checked:#?}"
    );
}

#[test]
fn server_properties_with_another_port_are_told() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let port = world.server.port;
    world.server.properties("server-port=25999\n");
    // The server may stand behind a proxy.
    assert_note(
        &world.check(&[]),
        "server.properties",
        &format!("has server-port 25999, but the server that is watched listens on port {port}"),
    );
    world.server.properties("server-port=many\n");
    assert_note(&world.check(&[]), "server.properties", "server-port \"many\", which is no port");
    world.server.properties("");
    assert_note(&world.check(&[]), "server.properties", "no server-port, which means 25565");
    fs::remove_file(world.server.file()).unwrap();
    assert_note(&world.check(&[]), "server.properties", "none in the working directory of the server's process");
}

#[test]
fn a_wrong_port_is_told_by_what_the_server_itself_says() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let watched = Silent::start().port;
    // Its own process is this test, whose working directory is the checkout.
    let checked = check(&settings(watched, LONG, &[]), |command| world.lab.attach(command));
    assert_note(&checked, "server.properties", "none in the working directory");

    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let checked = check(&settings(free, LONG, &[]), |command| world.lab.attach(command));
    assert_only_failure(&checked, "listener", &format!("nothing listens on port {free}"));
    assert!(checked.line("container").starts_with("not run container: no server listens"), "{checked:#?}");
    assert!(checked.line("server.properties").contains("not looked for; no server runs"), "{checked:#?}");
}

#[test]
fn another_user_is_told_what_only_root_may_see() {
    skip_unless!(lab::installed(), lab::NEEDS);
    skip_unless!(root(), "root");
    let world = World::new();
    let as_nobody = |command: Command| {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        nobody.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => nobody.env(name, value),
                None => nobody.env_remove(name),
            };
        }
        nobody
    };
    let config = Config::new(&settings(world.server.port, LONG, &[]));
    let folder = config.path().parent().unwrap().to_owned();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = mc_idle();
    command.arg("check").arg("--config").arg(config.path());
    world.lab.attach(&mut command);
    let mut process = Process::start(&mut as_nobody(without_systemd(command)));
    let code = process.wait().code();
    process.wait_for(" power button");
    let checked = Checked { code, lines: process.output() };
    assert_note(&checked, "server.properties", "only root may look into the server's process");
    assert!(checked.line("container").starts_with("ok "), "{checked:#?}");
}

/// `--json` with these arguments: the exit code, and the document, which is as its schema says.
fn document(arguments: &[&str], config: &Path, lab: Option<&Lab>) -> (Option<i32>, Value) {
    let mut command = mc_idle();
    command.args(["check", "--json"]).args(arguments).arg("--config").arg(config);
    if let Some(lab) = lab {
        lab.attach(&mut command);
    }
    let output = without_systemd(command).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &output.stdout).unwrap();
    let program = "import json, sys, jsonschema; \
                   jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(json.load(open(sys.argv[2])))";
    let schema = checkout().join("agent/check/schema.json");
    let valid = Command::new(python()).args(["-c", program]).arg(schema).arg(file.path()).output().unwrap();
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_json_is_what_its_schema_says() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let world = World::new();
    let config = Config::new(&settings(world.server.port, LONG, &[]));
    let (code, found) = document(&[], &config.path(), Some(&world.lab));
    assert_eq!((code, &found["well"]), (Some(0), &json!(true)), "{found:#}");
    let names: Vec<&str> =
        found["findings"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, Check::ALL.map(Check::name));
    assert_eq!(
        found["findings"][9],
        json!({
            "name": "container", "result": "ok", "text": "the server runs on the host itself",
        })
    );
    assert_eq!(found["findings"][11]["result"], "not-run");

    world.lab.faults(&json!([]));
    let (code, found) = document(&[], &config.path(), Some(&world.lab));
    assert_eq!((code, &found["well"]), (Some(1), &json!(false)), "{found:#}");
    assert_eq!(found["findings"][5]["result"], "failed");
}

#[test]
fn the_json_of_the_configuration_alone() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let config = Config::new("idle_minutes = 20\n");
    let well = json!({"v": 1, "well": true, "findings": [{"name": "configuration", "result": "ok", "text": ""}]});
    assert_eq!(document(&["--offline"], &config.path(), None), (Some(0), well));
    config.write("idle_minutes = 0\n");
    for arguments in [&["--offline"][..], &[]] {
        let (code, found) = document(arguments, &config.path(), None);
        assert_eq!((code, &found["well"]), (Some(78), &json!(false)));
        let findings = found["findings"].as_array().unwrap();
        let text = findings[0]["text"].as_str().unwrap();
        assert_eq!((findings.len(), &findings[0]["result"]), (1, &json!("failed")));
        assert!(text.starts_with(&format!("{}:1: idle_minutes = 0 is not allowed", config.path().display())), "{text}");
    }
}

#[test]
fn every_check_is_explained_and_in_the_schema() {
    let readme = fs::read_to_string(checkout().join("README.md")).unwrap();
    let schema: Value = serde_json::from_slice(&fs::read(checkout().join("agent/check/schema.json")).unwrap()).unwrap();
    let names = Check::ALL.map(Check::name);
    assert_eq!(schema["$defs"]["finding"]["properties"]["name"]["enum"], json!(names));
    for name in names {
        assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in the README");
    }
}
