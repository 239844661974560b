//! A stop is prepared only when EC2 has answered, and its request goes over the connection that was prepared or not at all:
//! the agent as a process, and a way to AWS that breaks.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "waits in real time, and ends at what is wrong"
)]

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::body::SdkBody;
use mc_aws::connection::Unsent;
use mc_aws::connector::Connector;
use serde_json::json;

use crate::apart;
use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::check::check;
use crate::support::emulated_aws::{self, Call, EmulatedAws};
use crate::support::relay::Relay;
use crate::support::sockets::loopback;
use crate::support::{SOON, wait_until};

/// A passing refusal is tried again within 7.5 s; what has not come by then does not come soon.
const PAST_THE_FIRST_RETRY: Duration = Duration::from_secs(9);
/// Settings of an agent that need not ask instance metadata.
const IDENTITY: &str = "aws.region = \"eu-west-1\"\naws.instance_id = \"i-0123456789abcdef0\"";
const AGREED: &str = "EC2 accepted the stop";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn with_credentials<'a>(command: &'a mut Command, access_key: &str) -> &'a mut Command {
    command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", "secret")
}

/// Waits until EC2 was asked `count` times whether it would stop the instance: once at the start, and then in each preparation.
fn wait_for_questions(emulated_aws: &EmulatedAws, count: usize) {
    let own = |call: &&Call| {
        call.action == "StopInstances"
            && call.params.contains_key("DryRun")
            && call.params["InstanceId.1"] == emulated_aws.instance_id
    };
    wait_until("EC2 is asked whether it would", || {
        (emulated_aws.calls().iter().filter(own).count() >= count).then_some(())
    });
}

fn is_the_stop(said: &str) -> bool {
    said.contains("Action=StopInstances") && !said.contains("DryRun")
}

#[test]
fn a_request_whose_connection_has_gone_fails_at_once_and_opens_none() {
    let (port, requests) = crate::support::ec2::start();
    let (relay, ssm) = (Relay::start(port), Silent::start());
    let agent = Agent::start(&settings(Silent::start().port, 3.0, &[IDENTITY]), |command| {
        with_credentials(command, "AKIATEST")
            .env("AWS_ENDPOINT_URL_EC2", relay.url())
            // The final heartbeat hangs: there are some seconds between the preparation and the last look.
            .env("AWS_ENDPOINT_URL_SSM", ssm.url());
    });
    // Whether it may stop itself, and others; then the preparation.
    let answers = || relay.answered().concat().matches("<Code>DryRunOperation").count();
    wait_until("EC2 has answered in the preparation", || (answers() == 3).then_some(()));
    thread::sleep(Duration::from_millis(500));
    relay.cut();
    let opened = relay.said().len();
    agent.process.wait_for("The stop failed: the prepared connection to EC2 was closed before the request");
    assert_eq!(relay.said().len(), opened, "no connection is opened for the request");
    assert!(requests.lock().unwrap().iter().all(|(_, body)| body.contains("DryRun")), "{requests:?}");

    agent.process.wait_for(AGREED);
    let requests = requests.lock().unwrap();
    assert_eq!(requests.iter().filter(|(_, body)| !body.contains("DryRun")).count(), 1, "{requests:?}");
}

#[tokio::test]
async fn a_request_that_the_network_loses_is_given_up_by_the_kernel_too() {
    apart!("--net");
    loopback();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to: http::Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let mut connection = Connector::to_metadata(Duration::from_secs(1)).open(&to).await.unwrap();
    let (_accepted, _) = listener.accept().unwrap();
    crate::support::sockets::run("ip", &["link", "set", "lo", "down"]);
    let request = http::Request::builder().uri(&to).body(SdkBody::from("Action=StopInstances")).unwrap();
    // Without that the kernel would send it again and again, for a quarter of an hour.
    let sent = tokio::time::timeout(SOON, connection.send(request)).await.expect("it is given up");
    assert!(!sent.unwrap_err().is::<Unsent>(), "for all that is known it has arrived");
}

#[test]
fn nobody_who_joins_while_a_connection_to_ec2_comes_up_is_cut_off() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let folder = tempfile::tempdir().unwrap();
    let emulated_aws = EmulatedAws::start_with(&["--tls", folder.path().to_str().unwrap()]);
    // The emulator closes each connection after its answer.
    let relay = Relay::start(emulated_aws.tls_port());
    let server = Silent::start();
    let agent = Agent::start(&settings(server.port, 6.0, &[]), |command| {
        emulated_aws.attach(command);
        command.env("AWS_ENDPOINT_URL_EC2", format!("https://localhost:{}", relay.port));
        command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
    });
    wait_for_questions(&emulated_aws, 1);
    relay.delay(Duration::from_secs(2));
    wait_for_questions(&emulated_aws, 2);
    // The connection for the request has been accepted, and is carried on only after the delay.
    let comes_up = || relay.said().last().is_some_and(String::is_empty).then_some(());
    wait_until("the connection for the request comes up", comes_up);
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let joined = now();
    thread::sleep(PAST_THE_FIRST_RETRY);
    let late: Vec<_> = emulated_aws.stops().into_iter().filter(|stop| stop.at > joined).collect();
    assert!(late.is_empty(), "asked for after {joined}, with somebody connected: {late:?}");
    assert!(emulated_aws.stops().is_empty(), "the test came too late");

    relay.delay(Duration::ZERO);
    drop(player);
    agent.process.wait_for(AGREED);
    assert_eq!(emulated_aws.state(), "stopped");
}

#[test]
fn where_each_connection_is_closed_after_its_answer_the_request_has_one_that_was_open_before_the_last_look() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let relay = Relay::start(emulated_aws.port());
    let agent = Agent::start(&settings(Silent::start().port, 4.0, &[]), |command| {
        emulated_aws.attach(command);
        command.env("AWS_ENDPOINT_URL_EC2", relay.url());
    });
    wait_for_questions(&emulated_aws, 1);
    // The final heartbeat hangs, and with it the last look waits.
    emulated_aws.faults(&json!([{"action": "PutParameter", "hang": true}]));
    wait_for_questions(&emulated_aws, 2);
    let silent = wait_until("a connection waits for the request", || {
        let said = relay.said();
        let asked = said.iter().rposition(|said| said.contains("DryRun"))?;
        (said.len() == asked + 2 && said[asked + 1].is_empty()).then_some(asked + 1)
    });
    assert!(emulated_aws.stops().is_empty());
    emulated_aws.faults(&json!([]));
    agent.process.wait_for(AGREED);
    let said = relay.said();
    assert_eq!(said.iter().position(|said| is_the_stop(said)), Some(silent), "{said:?}");
    assert_eq!(said.len(), silent + 1, "and it was the last one");
    assert_eq!(emulated_aws.stops().len(), 1);
}

#[test]
fn without_an_answer_of_ec2_no_stop_is_prepared_and_it_is_tried_again() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let faults = [
        (json!({"hang": true}), "EC2 did not answer: "),
        (json!({"reset": true}), "EC2 did not answer: "),
        (json!({"status": 502}), "cannot parse the answer from EC2's endpoint: "),
    ];
    let rules: Vec<_> = faults
        .iter()
        .enumerate()
        .map(|(number, (fault, _))| {
            let mut rule = fault.clone();
            rule["access_key"] = json!(format!("AKIATEST{number}"));
            rule["dry_run"] = json!(true);
            rule["service"] = json!("ec2");
            rule
        })
        .collect();
    emulated_aws.faults(&json!(rules));
    let start = |number| {
        Agent::start(&settings(Silent::start().port, 3.0, &["heartbeat.parameter = \"\""]), |command| {
            emulated_aws.attach(with_credentials(command, &format!("AKIATEST{number}")));
        })
    };
    let agents: Vec<_> = (0..faults.len()).map(start).collect();
    for (agent, (_, reason)) in agents.iter().zip(&faults) {
        agent.process.wait_for(&format!("warning: The stop failed: {reason}"));
        agent.notices.wait_for_status(&format!("The stop failed: {reason}"));
    }
    thread::sleep(PAST_THE_FIRST_RETRY);
    assert!(emulated_aws.stops().is_empty(), "{:?}", emulated_aws.stops());
    emulated_aws.faults(&json!([]));
    for agent in &agents {
        agent.process.wait_for(AGREED);
    }
    assert_eq!(emulated_aws.stops().len(), agents.len());
}

#[test]
fn what_ec2_refuses_for_good_in_a_dry_run_is_not_asked_for_and_of_the_rest_the_request_itself_decides() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([
        {"access_key": "AKIATEST0", "dry_run": true, "code": "UnauthorizedOperation"},
        {"access_key": "AKIATEST1", "dry_run": true, "code": "RequestLimitExceeded"},
    ]));
    let [refused, asked] = ["AKIATEST0", "AKIATEST1"].map(|key| {
        Agent::start(&settings(Silent::start().port, 3.0, &["heartbeat.parameter = \"\""]), |command| {
            emulated_aws.attach(with_credentials(command, key));
        })
    });
    let connection = refused.process.wait_for("error: The stop failed: EC2 answered UnauthorizedOperation");
    assert!(connection.contains("allow ec2:StopInstances on this instance"), "{connection}");
    asked.process.wait_for(AGREED);
    thread::sleep(PAST_THE_FIRST_RETRY);
    let stops = emulated_aws.stops();
    assert!(matches!(&stops[..], [stop] if stop.access_key == "AKIATEST1"), "{stops:?}");
}

#[test]
fn all_goes_through_a_proxy_that_the_environment_names() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let folder = tempfile::tempdir().unwrap();
    let emulated_aws = EmulatedAws::start_with(&["--tls", folder.path().to_str().unwrap()]);
    let text = settings(Silent::start().port, 3.0, &[]);
    // Nothing listens on port 1; only the proxy knows better.
    for (scheme, variable, proxy) in [
        ("https", "HTTPS_PROXY", Relay::start_proxy(emulated_aws.tls_port())),
        ("http", "HTTP_PROXY", Relay::start_proxy(emulated_aws.port())),
    ] {
        let agent = Agent::start(&text, |command| {
            emulated_aws.attach(command);
            command.env("AWS_ENDPOINT_URL", format!("{scheme}://localhost:1"));
            command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
            command.env(variable, format!("http://user:secret@127.0.0.1:{}", proxy.port));
        });
        agent.process.wait_for(AGREED);
        let asked =
            if scheme == "https" { "CONNECT localhost:1 HTTP/1.1" } else { "POST http://localhost:1/ HTTP/1.1" };
        for said in proxy.said() {
            let head = said.to_ascii_lowercase();
            assert!(said.starts_with(asked), "{said}");
            // user:secret
            assert!(head.contains("proxy-authorization: basic dxnlcjpzzwnyzxq="), "{said}");
            assert_eq!(said.contains("AKIA") || said.contains("ASIA"), scheme == "http", "{said}");
        }
    }
    assert_eq!(emulated_aws.stops().len(), 2);
    let around = Agent::start(&text, |command| {
        emulated_aws.attach(command);
        command.env("AWS_ENDPOINT_URL", emulated_aws.tls_endpoint.as_ref().unwrap());
        command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
        command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "localhost");
    });
    around.process.wait_for(AGREED);
}

#[test]
fn the_environment_chooses_the_kind_of_endpoint() {
    // Ends every connection at once: only where they would lead matters here.
    let nothing = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = nothing.local_addr().unwrap().port();
    thread::spawn(move || nothing.incoming().for_each(drop));
    let text = settings(Silent::start().port, 3.0, &[IDENTITY]);
    for (variable, endpoints) in [
        ("AWS_USE_DUALSTACK_ENDPOINT", ["ec2.eu-west-1.api.aws", "ssm.eu-west-1.api.aws"]),
        ("AWS_USE_FIPS_ENDPOINT", ["ec2-fips.eu-west-1.amazonaws.com", "ssm-fips.eu-west-1.amazonaws.com"]),
    ] {
        for (value, endpoints) in [
            ("true", endpoints),
            ("false", ["ec2.eu-west-1.amazonaws.com", "ssm.eu-west-1.amazonaws.com"]),
            ("", ["ec2.eu-west-1.amazonaws.com", "ssm.eu-west-1.amazonaws.com"]),
        ] {
            let proxy = Relay::start_proxy(port);
            check(&text, |command| {
                with_credentials(command, "AKIATEST").env(variable, value);
                command.env("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port));
            });
            let said: BTreeSet<_> =
                proxy.said().iter().filter_map(|said| said.lines().next()).map(str::to_owned).collect();
            let expected = endpoints.map(|endpoint| format!("CONNECT {endpoint}:443 HTTP/1.1"));
            assert_eq!(said, BTreeSet::from(expected), "{variable}={value}");
        }
    }
}
