//! Instance metadata that is late, wrong or not there: the agent starts all the same, says so, and finds out later.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::emulated_aws::{self, EmulatedAws, states};
use crate::support::{ports, wait_until};
use serde_json::{Value, json};

const INSTANCE: &str = "i-0123456789abcdef0";
const TOKEN: &str = "PUT /latest/api/token ";
const INSTANCE_ID: &str = "GET /latest/meta-data/instance-id ";
/// So short that what is left of it is told in seconds, and longer than any of these tests.
const WINDOW: f64 = 110.0;

/// A metadata service with one misbehaviour, until it is healed. A fake: no real one can be told to behave like this.
struct Metadata {
    address: String,
    healthy: Arc<AtomicBool>,
}

impl Metadata {
    /// `misbehave` is given the connection and the first line of a request, and returns whether it has dealt with it.
    fn start(misbehave: impl Fn(&mut TcpStream, &str) -> bool + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), misbehave)
    }

    fn on(listener: TcpListener, misbehave: impl Fn(&mut TcpStream, &str) -> bool + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let healthy = Arc::new(AtomicBool::new(false));
        let (heals, misbehave) = (Arc::clone(&healthy), Arc::new(misbehave));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heals, misbehave) = (Arc::clone(&heals), Arc::clone(&misbehave));
                thread::spawn(move || {
                    let mut stream = stream;
                    let Some(request) = first_line(&stream) else { return };
                    if heals.load(Ordering::Relaxed) || !misbehave(&mut stream, &request) {
                        behave(&mut stream, &request);
                    }
                });
            }
        });
        Metadata { address, healthy }
    }

    fn heal(&self) {
        self.healthy.store(true, Ordering::Relaxed);
    }
}

/// Reads a request, none of which has a body.
fn first_line(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next();
    lines.find(String::is_empty)?;
    first
}

fn behave(stream: &mut TcpStream, request: &str) {
    match request {
        _ if request.starts_with(TOKEN) => answer(stream, 200, "token"),
        _ if request.starts_with(INSTANCE_ID) => answer(stream, 200, INSTANCE),
        _ if request.starts_with("GET /latest/meta-data/placement/region ") => answer(stream, 200, "eu-west-1"),
        _ => answer(stream, 404, ""),
    }
}

/// Answers, and says how long a token lives, which the SDK insists on. Whether the client still listens is its affair.
fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let head = head(status, body, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn head(status: u16, body: &str, further: &str) -> String {
    format!("HTTP/1.1 {status} -\r\n{further}connection: close\r\ncontent-length: {}\r\n\r\n", body.len())
}

/// Says nothing for a while and then lets the right answer follow.
fn late(_: &mut TcpStream, _: &str) -> bool {
    thread::sleep(Duration::from_secs(4));
    false
}

/// The right answer, but so slowly that no pause between two bytes is long.
fn byte_by_byte(stream: &mut TcpStream, request: &str) -> bool {
    if !request.starts_with(INSTANCE_ID) {
        return false;
    }
    for byte in format!("{}{INSTANCE}", head(200, INSTANCE, "")).bytes() {
        thread::sleep(Duration::from_millis(200));
        if stream.write_all(&[byte]).is_err() {
            break;
        }
    }
    true
}

/// Starts the agent with the metadata service at `address`, which is of no use yet: the agent says `trouble`, and watches
/// the server all the same. After `heal` it finds out which instance this is.
fn assert_lives_with(address: &str, trouble: &str, heal: impl FnOnce()) {
    let agent = Agent::start(&settings(Silent::start().port, WINDOW, &[]), |command| {
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{address}"));
        // Only metadata is looked at here; what else the agent would ask of AWS ends at a closed port.
        command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    });
    agent.notices.wait_for("READY=1");
    let line = agent.process.wait_for("warning: Instance id or region not known yet, retrying: ");
    assert!(line.len() < 400, "{line}");
    // On a busy machine the first answer may be late, which is another trouble.
    let status = agent.notices.wait_for_status(trouble);
    let said = "Cannot stop this instance yet: instance metadata is unavailable: ";
    assert!(status.contains("No players") && status.contains(said), "{status}");
    let before = *agent.notices.countdown().last().unwrap();
    agent.notices.wait_for_countdown(before - 2);
    agent.notices.assert_alive_for(Duration::from_secs(1));
    let warnings = agent.process.output().iter().filter(|line| line.contains("region not known yet")).count();
    assert_eq!(warnings, 1, "the same trouble is told once");

    heal();
    agent.process.wait_for(&format!("This is {INSTANCE} in eu-west-1."));
    wait_until("the status is clean", || (!agent.notices.status().contains("instance metadata")).then_some(()));
}

fn assert_lives_with_fake(metadata: &Metadata, trouble: &str) {
    assert_lives_with(&metadata.address, trouble, || metadata.heal());
}

#[test]
fn the_region_is_the_configuration_s_then_the_environment_s_then_that_of_metadata() {
    let metadata = Metadata::start(|_, _| false);
    let start = |further: &[&str], variable: Option<&str>| {
        Agent::start(&settings(Silent::start().port, WINDOW, further), |command| {
            command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", metadata.address));
            command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").envs(variable.map(|value| ("AWS_REGION", value)));
        })
    };
    for (further, variable, region) in [
        (&["aws.region = \"eu-north-1\""][..], Some("ap-southeast-2"), "eu-north-1"),
        (&[], Some("ap-southeast-2"), "ap-southeast-2"),
        (&[], Some(""), "eu-west-1"),
        (&[], None, "eu-west-1"),
    ] {
        start(further, variable).process.wait_for(&format!("This is {INSTANCE} in {region}."));
    }
    let agent = start(&[], Some("eu west\u{1b}"));
    let line = agent.process.wait_for("warning: Instance id or region not known yet, retrying: ");
    assert!(line.ends_with("AWS_REGION is \"eu west\\u{1b}\", which is not a valid region."), "{line}");
}

#[test]
fn a_closed_port() {
    let listener = ports::reserved(Ipv4Addr::LOCALHOST.into());
    let address = listener.local_addr().unwrap().to_string();
    assert_lives_with(&address, "Connection refused", || {
        ports::listen(&listener);
        Metadata::on(listener, |_, _| false);
    });
}

#[test]
fn silence() {
    let metadata = Metadata::start(|_, _| {
        thread::sleep(Duration::from_mins(1));
        true
    });
    assert_lives_with_fake(&metadata, "no answer within 1s");
}

#[test]
fn an_answer_after_seconds() {
    assert_lives_with_fake(&Metadata::start(late), "no answer within 1s");
}

#[test]
fn an_answer_byte_by_byte() {
    assert_lives_with_fake(&Metadata::start(byte_by_byte), "no answer within 1s");
}

#[test]
fn a_token_that_is_never_accepted() {
    let metadata = Metadata::start(|stream, request| {
        let refused = !request.starts_with(TOKEN);
        if refused {
            answer(stream, 401, "");
        }
        refused
    });
    assert_lives_with_fake(&metadata, "HTTP status 401");
}

#[test]
fn no_token_to_be_had() {
    let metadata = Metadata::start(|stream, _| {
        answer(stream, 401, "");
        true
    });
    assert_lives_with_fake(&metadata, "HTTP status 401");
}

#[test]
fn no_such_page() {
    let metadata = Metadata::start(|stream, request| {
        let missing = request.starts_with(INSTANCE_ID);
        if missing {
            answer(stream, 404, "");
        }
        missing
    });
    assert_lives_with_fake(&metadata, "HTTP status 404");
}

#[test]
fn a_service_that_is_not_available() {
    let metadata = Metadata::start(|stream, request| {
        let unavailable = request.starts_with(INSTANCE_ID);
        if unavailable {
            answer(stream, 503, "");
        }
        unavailable
    });
    assert_lives_with_fake(&metadata, "HTTP status 503");
}

/// A service that says `body` where the instance id should be.
fn claims(body: &'static str) -> Metadata {
    Metadata::start(move |stream, request| {
        let asked = request.starts_with(INSTANCE_ID);
        if asked {
            answer(stream, 200, body);
        }
        asked
    })
}

#[test]
fn a_page_of_html_instead_of_an_id() {
    assert_lives_with_fake(&claims("<!DOCTYPE html>\n<html><body>Sign in</body></html>"), "is not a valid instance id");
}

#[test]
fn a_page_of_html_for_everything() {
    let metadata = Metadata::start(|stream, _| {
        let page = "<html>Sign in</html>";
        let _ = stream.write_all(format!("{}{page}", head(200, page, "")).as_bytes());
        true
    });
    assert_lives_with_fake(&metadata, "token response did not contain a TTL header");
}

#[test]
fn an_endless_id() {
    let body: &str = Box::leak("i-0".repeat(300_000).into_boxed_str());
    assert_lives_with_fake(&claims(body), "which is not a valid instance id");
}

#[test]
fn an_id_of_another_kind() {
    let said = "\"vol-0123456789abcdef0\", which is not a valid instance id";
    assert_lives_with_fake(&claims("vol-0123456789abcdef0"), said);
}

#[test]
fn metadata_that_comes_up_late_is_found_and_heartbeats_begin() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    // On a slow boot these are minutes; the agent does not know how long it will be either.
    let emulated_aws = EmulatedAws::start_with(&["--imds-delay-seconds", "6"]);
    let agent = Agent::start(&settings(Silent::start().port, WINDOW, &[]), |command| emulated_aws.attach(command));
    agent.notices.wait_for("READY=1");
    agent.process.wait_for("warning: Instance id or region not known yet");
    assert!(emulated_aws.calls().is_empty());
    agent.process.wait_for(&format!("This is {} in eu-west-1.", emulated_aws.instance_id));
    agent.process.wait_for("Permission check passed: EC2 allows the stop.");
    let idle = wait_until("the idle server is told of", || {
        emulated_aws.heartbeats().into_iter().find(|heartbeat| heartbeat["state"] == "idle")
    });
    assert_eq!(states(&emulated_aws.heartbeats()), ["starting", "idle"]);
    assert!(idle["idle_seconds"].as_u64() >= Some(2), "the clock ran all the while: {idle}");
}

#[test]
fn a_stop_that_is_due_before_the_instance_is_known_fails_in_words_and_comes_later() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([{"service": "imds", "status": 503}]));
    let agent = Agent::start(&settings(Silent::start().port, 2.0, &[]), |command| emulated_aws.attach(command));
    let said = "The stop failed: instance metadata has not identified this instance yet.";
    agent.process.wait_for(&format!("warning: {said}"));
    agent.notices.wait_for_status(said);
    assert!(emulated_aws.calls().is_empty());

    emulated_aws.faults(&json!([]));
    agent.process.wait_for("EC2 accepted the stop");
    assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (1, "stopped"));
    let last = emulated_aws.heartbeats().pop().unwrap_or(Value::Null);
    assert_eq!(last["state"], "stopping");
}

#[test]
fn a_stop_without_a_role_says_what_is_missing_and_comes_once_there_is_one() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    // What EC2 answers on an instance without an instance profile.
    emulated_aws.faults(&json!([{"service": "imds", "action": "meta-data/iam/security-credentials/", "status": 404}]));
    let agent = Agent::start(&settings(Silent::start().port, 2.0, &[]), |command| emulated_aws.attach(command));
    agent.process.wait_for("warning: The stop failed: no credentials (attach an instance profile with a role)");
    assert!(emulated_aws.calls().is_empty());

    emulated_aws.faults(&json!([]));
    agent.process.wait_for("EC2 accepted the stop");
    assert_eq!(emulated_aws.state(), "stopped");
}
