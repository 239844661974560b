//! Both roles in Lambda: the real binary beside a Runtime API of the test's own (AWS Lambda developer guide, custom runtimes).

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::launcher::{KEY, program};
use crate::stand_in::{INSTANCE, StandIn};
use crate::support::{Process, wait_until};

/// Lambda, for one function.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub port: u16,
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

#[derive(Default)]
struct Shared {
    events: VecDeque<String>,
    /// Whether it succeeded, and what came back.
    answers: Vec<(bool, Value)>,
    given: usize,
}

impl Runtime {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let runtime = Runtime { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let serving = runtime.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        runtime
    }

    /// Invokes the function with `event`, and returns whether it succeeded, and what came back.
    pub(crate) fn invoke(&self, event: &Value) -> (bool, Value) {
        let number = {
            let mut shared = self.shared.0.lock().unwrap();
            shared.events.push_back(event.to_string());
            shared.given += 1;
            shared.given
        };
        self.shared.1.notify_all();
        wait_until("the function answers", || self.shared.0.lock().unwrap().answers.get(number - 1).cloned())
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((line, body)) = request(&mut reader) {
            let (head, answer) = if line.contains("/invocation/next") {
                let mut shared = self.shared.0.lock().unwrap();
                while shared.events.is_empty() {
                    shared = self.shared.1.wait(shared).unwrap();
                }
                let headers = "lambda-runtime-aws-request-id: 8476a536\r\nlambda-runtime-deadline-ms: 9999999999999\r\n\
                    lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:123456789012:function:mc\r\n";
                (format!("HTTP/1.1 200 OK\r\n{headers}"), shared.events.pop_front().unwrap())
            } else {
                let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
                self.shared.0.lock().unwrap().answers.push((line.contains("/response"), answer));
                ("HTTP/1.1 202 Accepted\r\n".to_owned(), String::new())
            };
            let answer = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The first line of a request, and its body, in one piece or in chunks; `None`: the connection has ended.
fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let (mut first, mut length, mut chunked) = (String::new(), 0, false);
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= line == "transfer-encoding: chunked";
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend(&chunk[..size]);
        chunked = size > 0;
    }
    Some((first, String::from_utf8(body).ok()?))
}

/// The command of a function, as Lambda starts it.
pub(crate) fn function(runtime: &Runtime, endpoint: &str, role: &str) -> Command {
    let mut command = program(endpoint, &[("MC_ROLE", role)]);
    command.env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{}", runtime.port));
    command.env("AWS_LAMBDA_FUNCTION_NAME", "mc").env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").env("AWS_LAMBDA_LOG_GROUP_NAME", "mc");
    command.env("AWS_LAMBDA_LOG_STREAM_NAME", "mc");
    command
}

const HOST: &str = "abcdefghij.lambda-url.eu-central-1.on.aws";

/// A request as a function URL hands it on.
pub(crate) fn http(method: &str, path: &str, headers: &Value, cookies: &[&str], body: &str) -> Value {
    let mut all = headers.clone();
    all["host"] = HOST.into();
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": all,
        "cookies": cookies, "body": body, "isBase64Encoded": false,
        "requestContext": {"domainName": HOST, "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "198.51.100.7"}},
    })
}

#[test]
fn the_page_answers_as_a_function_and_takes_nothing_but_requests() {
    let (ec2, lambda) = (StandIn::start("stopped"), Runtime::start());
    let process = Process::start(&mut function(&lambda, &ec2.url(), "page"));
    let (done, page) = lambda.invoke(&http("GET", "/", &json!({}), &[], ""));
    assert!(done && page["statusCode"] == 200 && page["body"].as_str().unwrap().contains("asleep"), "{page}");
    let (_, invited) = lambda.invoke(&http("GET", &format!("/i/{KEY}"), &json!({}), &[], ""));
    assert_eq!((&invited["statusCode"], &invited["headers"]["location"]), (&json!(303), &json!("/")));
    let cookie = invited["cookies"][0].as_str().unwrap().split(';').next().unwrap().to_owned();
    let form = |origin: &str| json!({"origin": origin, "content-type": "application/x-www-form-urlencoded"});
    let (_, foreign) = lambda.invoke(&http("POST", "/start", &form("https://evil.example"), &[&cookie], ""));
    assert_eq!((&foreign["statusCode"], ec2.count("StartInstances")), (&json!(403), 0));
    let (_, plain) = lambda.invoke(&http("POST", "/start", &form(&format!("http://{HOST}")), &[&cookie], ""));
    assert_eq!(plain["statusCode"], 403, "without TLS it is another origin");
    let (_, pressed) = lambda.invoke(&http("POST", "/start", &form(&format!("https://{HOST}")), &[&cookie], ""));
    assert_eq!((&pressed["statusCode"], ec2.count("StartInstances")), (&json!(303), 1), "{pressed}");
    for event in [json!({}), json!({"detail-type": "Scheduled Event"}), json!([1]), json!(null)] {
        let (done, why) = lambda.invoke(&event);
        assert!(!done && why["errorMessage"].as_str().unwrap().contains("HTTP requests only"), "{event}: {why}");
    }
    assert!(!process.output().join("\n").contains(KEY));
}

/// Events twice, out of order, late, for another instance, of an unknown form: told once, and nothing breaks.
#[test]
fn the_warden_is_woken_by_anything_and_tells_what_is_so() {
    let (ec2, lambda) = (StandIn::start("stopped"), Runtime::start());
    ec2.put("tell", r#"{"sns": "arn:aws:sns:eu-central-1:123456789012:minecraft"}"#);
    let _process = Process::start(&mut function(&lambda, &ec2.url(), "warden"));
    let changed = |id: &str, state: &str| json!({"detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "detail": {"instance-id": id, "state": state}});
    let notice = |id: &str| {
        let detail = json!({"instance-id": id, "instance-action": "stop"});
        json!({"detail-type": "EC2 Spot Instance Interruption Warning", "source": "aws.ec2", "detail": detail})
    };
    let wake = |event: &Value| {
        let (done, answer) = lambda.invoke(event);
        assert!(done, "{event}: {answer}");
        ec2.state().published.clone()
    };
    // It says that it runs; it does not.
    assert_eq!(wake(&changed(INSTANCE, "running")), [""; 0]);
    assert_eq!(wake(&notice(INSTANCE)), [""; 0], "of one that does not run");
    ec2.set("running");
    // By the console, so long ago that nobody can be about to note who has started it.
    ec2.state().machines[0].launch_time = crate::stand_in::now().checked_sub(Duration::from_secs(10)).unwrap();
    for event in [
        changed(INSTANCE, "running"),
        changed(INSTANCE, "running"),
        changed(INSTANCE, "pending"),
        changed("i-00000000000000001", "terminated"),
        notice("i-00000000000000001"),
        json!({"source": "aws.scheduler"}),
        json!({"detail-type": 1, "detail": []}),
        json!("x"),
        json!(null),
    ] {
        assert_eq!(wake(&event), ["survival is starting."], "{event}");
    }
    let told = ["survival is starting.", "EC2 is about to take survival's spot instance back, within two minutes."];
    assert_eq!(wake(&notice(INSTANCE)), told);
    assert_eq!(wake(&notice(INSTANCE)), told);
    ec2.set("stopped");
    let all = wake(&changed(INSTANCE, "shutting-down"));
    assert!(all.len() == 3 && all[2].starts_with("survival has stopped"), "{all:?}");
    assert_eq!(wake(&changed(INSTANCE, "stopped")).len(), 3);
}

#[test]
fn a_start_that_ec2_takes_back_is_told() {
    let (ec2, lambda) = (StandIn::start("stopped"), Runtime::start());
    ec2.put("tell", r#"{"sns": "arn:aws:sns:eu-central-1:123456789012:minecraft"}"#);
    let _process = Process::start(&mut function(&lambda, &ec2.url(), "warden"));
    {
        let machine = &mut ec2.state().machines[0];
        (machine.launch_time, machine.reason) = (crate::stand_in::now(), "Server.InsufficientInstanceCapacity");
    }
    for _ in 0..2 {
        assert!(lambda.invoke(&json!({"detail-type": "EC2 Instance State-change Notification"})).0);
        let told = ec2.state().published.clone();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("taken the start of survival back: Server.InsufficientInstanceCapacity"), "{told:?}");
    }
}

/// What CloudWatch makes metrics of: graphs of it are people's, and an unknown figure is none.
#[test]
fn each_look_of_the_warden_leaves_figures_in_its_log() {
    let (ec2, lambda) = (StandIn::start("running"), Runtime::start());
    let process = Process::start(&mut function(&lambda, &ec2.url(), "warden"));
    let look = || {
        let begun = process.output().len();
        lambda.invoke(&json!({"detail-type": "Scheduled Event"}));
        serde_json::from_str::<Value>(&process.wait_for_after(begun, "_aws").1).unwrap()
    };
    let up = look();
    assert_eq!((&up["Server"], &up["Running"], &up["Unwatched"]), (&json!("survival"), &json!(1), &json!(0)), "{up}");
    assert_eq!(up.get("Players"), None, "no heartbeat has said how many: {up}");
    let metrics = &up["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&metrics["Namespace"], &metrics["Dimensions"]), (&json!("mc-idle"), &json!([["Server"]])));
    ec2.set("stopped");
    assert_eq!(look()["Running"], 0);
    ec2.fail("DescribeInstances", crate::stand_in::Fault::Code("AccessDeniedException"));
    let blind = look();
    assert_eq!((blind.get("Running"), blind.get("Unwatched")), (None, None), "{blind}");
}

/// The switch itself is watched by an alarm on the function's errors.
#[test]
fn a_warden_that_cannot_look_fails_as_a_function() {
    let (ec2, lambda) = (StandIn::start("stopped"), Runtime::start());
    let _process = Process::start(&mut function(&lambda, &ec2.url(), "warden"));
    let scheduled = json!({"detail-type": "Scheduled Event"});
    for (action, words) in [
        ("DescribeInstances", "cannot see the server's instances"),
        ("GetParameter told", "cannot read what has been told"),
        ("GetParameter tell", "nobody can be told anything"),
        ("GetParameter starts", "cannot read what was used"),
        ("GetParameter wanted", "cannot read whether a start is wanted"),
        ("PutParameter starts", "cannot note what was used"),
    ] {
        // There is something to note.
        ec2.remove("starts");
        ec2.fail(action, crate::stand_in::Fault::Code("AccessDeniedException"));
        let (done, answer) = lambda.invoke(&scheduled);
        assert!(!done && answer["errorMessage"].as_str().unwrap().contains(words), "{action}: {answer}");
        ec2.mend();
    }
    assert!(lambda.invoke(&scheduled).0);
}
