//! `mc-idle check`: with each fault put in, one at a time, it ends with 1 and says so in the line that is about it; and
//! with none it ends with 0. What needs a systemd is in `tests/systemd/check.rs`, an EFS that hangs in `tests/nfs.rs`, and
//! containers in `tests/docker.rs`. Over 400 lines: at least one test for each line.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::fs;
use std::path::Path;
use std::process::Command;

use mc_idle::check::finding::Check;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::skip_unless;
use crate::support::agent::{Silent, settings};
use crate::support::check::{Checked, check, without_systemd};
use crate::support::emulated_aws::{self, EmulatedAws, python};
use crate::support::sockets::{V4, port};
use crate::support::{Config, Process, checkout, mc_idle, ports, root};

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
    emulated_aws: EmulatedAws,
    server: Server,
}

impl World {
    fn new() -> Self {
        let emulated_aws = EmulatedAws::start();
        emulated_aws.faults(&json!([emulated_aws::narrow_role()]));
        World { emulated_aws, server: Server::start() }
    }

    fn check(&self, further: &[&str]) -> Checked {
        check(&settings(self.server.port, LONG, further), |command| self.emulated_aws.attach(command))
    }

    /// With rules before that of the narrow role.
    fn check_with(&self, rules: &[Value]) -> Checked {
        self.emulated_aws.faults(&rules.iter().cloned().chain([emulated_aws::narrow_role()]).collect());
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
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let checked = world.check(&[]);
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    // The server here listens and says nothing, as one with enable-status=false.
    let notes = checked.marked("note");
    assert!(checked.marked("FAILED").is_empty() && notes.len() == 1, "{checked:#?}");
    assert!(notes[0].starts_with("server's answer: ") && notes[0].contains("enable-status=true"), "{checked:#?}");
    let names: Vec<&str> =
        checked.lines.iter().map(|line| line[8..].split_once(": ").map_or(&line[8..], |(name, _)| name)).collect();
    assert_eq!(names, Check::ALL.map(Check::name), "one line each, in order");
    for (name, text) in [
        ("instance metadata", world.emulated_aws.instance_id.as_str()),
        ("credentials", "ASIALABLABLABLABLAB1"),
        ("clock", "in sync with AWS"),
        ("permission to stop", "ec2:StopInstances is allowed on this instance"),
        ("other instances", "ec2:StopInstances on them is refused"),
        ("permission to write the heartbeat", "wrote /mc-idle/"),
        ("EFS", "nothing is on EFS"),
        ("listener", "nobody is connected"),
        ("networks", "the host's network "),
        ("second witness", "netlink shows the host's sockets as well"),
        ("Bedrock", "nothing is bound"),
        ("server.properties", &format!("{} has server-port {}", world.server.file().display(), world.server.port)),
    ] {
        assert!(checked.line(name).starts_with("ok ") && checked.line(name).contains(text), "{text}: {checked:#?}");
    }
    for name in ["unit", "power button"] {
        let line = checked.line(name);
        assert!(line.starts_with("not run ") && line.contains("does not run systemd"), "{checked:#?}");
    }
    assert_eq!((world.emulated_aws.stops().len(), world.emulated_aws.state().as_str()), (0, "running"));
}

#[test]
fn what_aws_refuses_is_told_in_its_line() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
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
            "may stop them too; limit ec2:StopInstances to the instance itself",
        ),
    ] {
        assert_only_failure(&world.check_with(&[rule]), name, text);
    }
    // Emulators and EC2 may look for the instance first.
    let unknown = json!({"instance_id": "i-00000000000000000", "code": "InvalidInstanceID.NotFound"});
    assert_note(&world.check_with(&[unknown]), "other instances", "cannot tell whether ec2:StopInstances on them");
}

#[test]
fn a_termination_needs_a_permission_of_its_own() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let terminate = ["action = \"terminate\""];
    let checked = world.check(&terminate);
    assert!(checked.line("permission to stop").contains("ec2:TerminateInstances is allowed"), "{checked:#?}");
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    world.emulated_aws.faults(&json!([]));
    assert_only_failure(
        &world.check(&terminate),
        "other instances",
        "may terminate them too; limit ec2:TerminateInstances",
    );
    assert_eq!(world.emulated_aws.state(), "running");
}

#[test]
fn without_metadata_or_credentials_what_hangs_on_them_is_not_run() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let no_id = json!({"service": "imds", "action": "meta-data/instance-id", "status": 500});
    let checked = world.check_with(&[no_id]);
    assert_only_failure(&checked, "instance metadata", "HTTP status 500; off EC2, set aws.region and aws.instance_id");
    for name in ["credentials", "clock", "permission to stop", "other instances", "permission to write the heartbeat"] {
        assert!(checked.line(name).starts_with("not run "), "{checked:#?}");
    }
    world.emulated_aws.faults(&json!([emulated_aws::narrow_role()]));
    world.emulated_aws.metadata("iam/security-credentials/mc-idle-lab", &Value::Null);
    let checked = world.check(&[]);
    assert_only_failure(&checked, "credentials", "attach an instance profile with a role");
    assert!(checked.line("clock").starts_with("not run "), "{checked:#?}");
    assert!(checked.line("listener").starts_with("ok "), "{checked:#?}");
}

#[test]
fn a_clock_that_is_off_is_told_and_told_apart_from_permissions() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    world.emulated_aws.clock_ahead(60);
    assert_note(&world.check(&[]), "clock", " s behind AWS, ");
    world.emulated_aws.clock_ahead(-60);
    assert_note(&world.check(&[]), "clock", " s ahead of AWS, ");
    for (seconds, text) in [(3600, "min behind AWS, which refuses"), (-3600, "min ahead of AWS, which refuses")] {
        world.emulated_aws.clock_ahead(seconds);
        let calls = world.emulated_aws.calls().len();
        let checked = world.check(&[]);
        assert_only_failure(&checked, "clock", text);
        let refused = world.emulated_aws.calls().into_iter().skip(calls).filter(|call| call.injected.is_some()).count();
        assert!(refused >= 2, "AWS has refused the first request of each service for its time");
    }
}

#[test]
fn an_efs_that_is_not_mounted_is_told() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let mount_point = tempfile::tempdir().unwrap();
    let text = settings(world.server.port, LONG, &[])
        .replace("efs.mount_point = \"\"", &format!("efs.mount_point = \"{}\"", mount_point.path().display()));
    let checked = check(&text, |command| world.emulated_aws.attach(command));
    assert_only_failure(&checked, "EFS", "nothing is mounted at");
    assert!(
        checked.line("server.properties").starts_with("ok "),
        "its process is looked at all the same: {checked:#?}"
    );
}

#[test]
fn server_properties_with_another_port_are_told() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let port = world.server.port;
    world.server.properties("server-port=25999\n");
    // The server may stand behind a proxy.
    assert_note(
        &world.check(&[]),
        "server.properties",
        &format!("has server-port 25999, but the watched server listens on port {port}"),
    );
    world.server.properties("server-port=many\n");
    assert_note(&world.check(&[]), "server.properties", "server-port \"many\", which is not a port");
    world.server.properties("");
    assert_note(&world.check(&[]), "server.properties", "no server-port, which means 25565");
    fs::remove_file(world.server.file()).unwrap();
    assert_note(&world.check(&[]), "server.properties", "none in the working directory of the server's process");
}

#[test]
fn a_wrong_port_is_told_by_what_the_server_itself_says() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let watched = Silent::start().port;
    // Its own process is this test, whose working directory is the checkout.
    let checked = check(&settings(watched, LONG, &[]), |command| world.emulated_aws.attach(command));
    assert_note(&checked, "server.properties", "none in the working directory");

    let nobody = ports::reserved(V4);
    let free = port(&nobody);
    let checked = check(&settings(free, LONG, &[]), |command| world.emulated_aws.attach(command));
    assert_only_failure(&checked, "listener", &format!("nothing listens on port {free}"));
    assert!(checked.line("server's answer").starts_with("not run server's answer: no server listens"), "{checked:#?}");
    assert!(checked.line("server.properties").contains("not searched for; no server process"), "{checked:#?}");
}

#[test]
fn the_name_of_a_folder_forges_no_line() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let forged = "x\nok      EFS: mounted at /mnt/efs, and answers\u{1b}[1A\u{202e}";
    let visible = "x\\nok      EFS: mounted at /mnt/efs, and answers\\u001b[1A\\u202e";
    // As a mount point, and as the folder of the server itself.
    let world = World::new();
    let folder = world.server.folder.path().join(forged.replace('/', "-"));
    fs::create_dir(&folder).unwrap();
    let mount_point = format!("efs.mount_point = {}", json!(format!("/mnt/{forged}")));
    let text = settings(world.server.port, LONG, &[]).replace("efs.mount_point = \"\"", &mount_point);
    let checked = check(&text, |command| world.emulated_aws.attach(command));
    assert_only_failure(&checked, "EFS", &format!("/mnt/{visible}"));
    assert_eq!(checked.lines.len(), Check::ALL.len(), "{checked:#?}");

    let config = Config::new(&text);
    let mut command = mc_idle();
    command.args(["check", "--json", "--config"]).arg(config.path());
    world.emulated_aws.attach(&mut command);
    let output = without_systemd(command).output().unwrap();
    let document = String::from_utf8(output.stdout).unwrap();
    assert!(document.contains("\\u202e") && !document.contains(['\u{1b}', '\u{202e}']), "{document}");
    let found: Value = serde_json::from_str(&document).unwrap();
    assert!(finding(&found, Check::Efs)["text"].as_str().unwrap().contains(forged), "{found:#}");

    // A configuration with such a name, and such a text in it.
    let file = folder.join("config.toml");
    for (content, said) in [("idle_minutes = 0 # ", "idle_minutes = 0"), ("'\u{202e}' = '\u{9b}'", "'\\u009b'")] {
        fs::write(&file, content).unwrap();
        let output = mc_idle().args(["check", "--offline", "--config"]).arg(&file).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), complaint.lines().count()), (Some(78), 1), "{complaint}");
        assert!(complaint.contains(said) && complaint.contains("\\u001b[1A\\u202e"), "{complaint}");
        assert!(!complaint.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{complaint:?}");
    }
}

#[test]
fn another_user_is_told_what_only_root_may_see() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
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
    world.emulated_aws.attach(&mut command);
    let mut process = Process::start(&mut as_nobody(without_systemd(command)));
    let code = process.wait().code();
    process.wait_for(" power button");
    let checked = Checked { code, lines: process.output() };
    assert_note(&checked, "server.properties", "only root can inspect the server's process");
    assert!(checked.line("networks").starts_with("ok "), "{checked:#?}");
}

/// `--json` with these arguments: the exit code, and the document, which is as its schema says.
fn document(arguments: &[&str], config: &Path, emulated_aws: Option<&EmulatedAws>) -> (Option<i32>, Value) {
    let mut command = mc_idle();
    command.args(["check", "--json"]).args(arguments).arg("--config").arg(config);
    if let Some(emulated_aws) = emulated_aws {
        emulated_aws.attach(&mut command);
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

fn finding(document: &Value, check: Check) -> &Value {
    let findings = document["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["name"] == check.name()).unwrap()
}

#[test]
fn the_json_is_what_its_schema_says() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let world = World::new();
    let config = Config::new(&settings(world.server.port, LONG, &[]));
    let (code, found) = document(&[], &config.path(), Some(&world.emulated_aws));
    assert_eq!((code, &found["well"]), (Some(0), &json!(true)), "{found:#}");
    let names: Vec<&str> =
        found["findings"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, Check::ALL.map(Check::name));
    assert_eq!(
        *finding(&found, Check::Witness),
        json!({
            "name": "second witness", "result": "ok", "text": "netlink shows the host's sockets as well",
        })
    );
    assert_eq!(finding(&found, Check::Unit)["result"], "not-run");

    world.emulated_aws.faults(&json!([]));
    let (code, found) = document(&[], &config.path(), Some(&world.emulated_aws));
    assert_eq!((code, &found["well"]), (Some(1), &json!(false)), "{found:#}");
    assert_eq!(finding(&found, Check::OtherInstances)["result"], "failed");
}

#[test]
fn the_json_of_the_configuration_alone() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
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
    let page = fs::read_to_string(checkout().join("docs/check.md")).unwrap();
    let schema: Value = serde_json::from_slice(&fs::read(checkout().join("agent/check/schema.json")).unwrap()).unwrap();
    let names = Check::ALL.map(Check::name);
    assert_eq!(schema["$defs"]["finding"]["properties"]["name"]["enum"], json!(names));
    for name in names {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not in docs/check.md");
    }
}
