//! An evening is told, by channels that do what channels do. Discord's side is a stand-in, since no copy of it can be had; the
//! mail server and SNS are others' programs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mc_heartbeat::{AgentState, Heartbeat};
use serde_json::{Value, json};

use crate::launcher::{ALEX, Launcher, OFTEN, SELDOM};
use crate::skip_unless;
use crate::stand_in::{Fault, StandIn, now};
use crate::support::{Process, emulated_aws, ports, wait_until};

/// What a web server answers, one after the other; the last one stays.
type Answers = Vec<&'static str>;
const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const GONE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const SECONDS: &str = "HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 20\r\n\r\n{\"retry_after\": 0.5}";
const MILLISECONDS: &str = "HTTP/1.1 429 Too Many\r\ncontent-length: 21\r\n\r\n{\"retry_after\": 1500}";
/// It is never answered.
const HANG: &str = "";

/// A web server that keeps what was sent to it.
struct Web {
    port: u16,
    got: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&got);
        thread::spawn(move || {
            for (number, mut stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let answer = answers[number.min(answers.len() - 1)].to_owned();
                let keeping = Arc::clone(&keeping);
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let (mut length, mut line) = (0, String::new());
                    while reader.read_line(&mut line).unwrap() > 2 {
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    keeping.lock().unwrap().push(String::from_utf8(body).unwrap());
                    if answer == HANG {
                        thread::sleep(Duration::from_hours(1));
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                });
            }
        });
        Web { port, got }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/webhooks/1/a-secret", self.port)
    }

    /// Everything that was sent so far.
    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    /// The messages that Discord got.
    fn messages(&self) -> Vec<String> {
        let content = |body: &String| {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["allowed_mentions"], json!({"parse": []}), "nobody is mentioned: {body}");
            body["content"].as_str().unwrap().to_owned()
        };
        self.got().iter().map(content).collect()
    }

    fn until(&self, count: usize) -> Vec<String> {
        wait_until("the messages are there", || Some(self.got()).filter(|got| got.len() >= count))
    }
}

/// Puts a heartbeat of this boot, as the agent writes it.
pub(crate) fn heartbeat(ec2: &StandIn, state: AgentState, players: u64) {
    let example = Heartbeat::parse(include_str!("../../shared/heartbeat/examples/occupied.json")).unwrap();
    let names = example.names.filter(|_| players > 0);
    let next_by = now().checked_add(Duration::from_mins(3)).unwrap();
    let stop_at = (players == 0).then_some(next_by);
    let heartbeat = Heartbeat { state, players: Some(players), names, stop_at, at: now(), next_by, ..example };
    ec2.put("heartbeat", &heartbeat.text());
}

/// From asleep to asleep, each step told before the next one.
fn evening(ec2: &StandIn, launcher: &Launcher, mut told: impl FnMut(usize)) {
    wait_until("the first look is over", || ec2.get("told"));
    assert_eq!(launcher.press_by(ALEX).status, 202);
    told(1);
    wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
    heartbeat(ec2, AgentState::Occupied, 2);
    told(3);
    heartbeat(ec2, AgentState::Idle, 0);
    told(4);
    ec2.set("stopped");
    told(5);
}

fn is_evening(messages: &[String]) {
    let beginnings = [
        "survival is starting, started by Alex.",
        "survival is up at 127.0.0.1.",
        "Alex, Steve joined survival.",
        "Nobody has been on survival since 21:26 UTC; it stops at ",
        "survival has stopped after ",
    ];
    assert_eq!(messages.len(), beginnings.len(), "{messages:?}");
    for (message, beginning) in messages.iter().zip(beginnings) {
        assert!(message.starts_with(beginning), "{messages:?}");
    }
}

#[test]
fn an_evening_is_told_once_by_every_channel_and_by_limits_that_are_obeyed() {
    let ec2 = StandIn::start("stopped");
    ec2.state().boots = Duration::from_secs(3);
    let (discord, limited, plain) =
        (Web::start(vec![OK]), Web::start(vec![SECONDS, OK, MILLISECONDS, OK]), Web::start(vec![OK]));
    let topic = "arn:aws:sns:eu-central-1:123456789012:minecraft";
    ec2.put("tell", &json!({"discord": [discord.url(), limited.url()], "post": plain.url(), "sns": topic}).to_string());
    let settings = [("MC_PRICE_PER_HOUR", "0.0832")];
    let launcher = Launcher::start(&ec2, OFTEN, &settings);
    evening(&ec2, &launcher, |count| drop(discord.until(count)));
    // Several more looks: nothing is told twice.
    thread::sleep(Duration::from_secs(3));
    is_evening(&discord.messages());
    is_evening(&plain.got());
    is_evening(&ec2.state().published.clone());
    // The two that met a limit came once more.
    let mut limited = limited.messages();
    limited.dedup();
    is_evening(&limited);
    assert!(discord.messages()[4].contains("this evening, $"), "{:?}", discord.messages());
    let logged = launcher.process.output().join("\n");
    assert!(!logged.contains("a-secret"), "{logged}");
}

#[test]
fn a_channel_that_fails_holds_up_no_other_and_the_others_tell_of_it() {
    let ec2 = StandIn::start("stopped");
    ec2.state().boots = Duration::from_secs(3);
    let (gone, broken, hung, redirecting, plain) = (
        Web::start(vec![GONE]),
        Web::start(vec![BROKEN]),
        Web::start(vec![HANG]),
        Web::start(vec!["HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"]),
        Web::start(vec![OK]),
    );
    let tell = json!({"discord": [gone.url(), broken.url(), hung.url(), redirecting.url()], "post": plain.url()});
    ec2.put("tell", &tell.to_string());
    let launcher = Launcher::start(&ec2, OFTEN, &[]);
    wait_until("the first look is over", || ec2.get("told"));
    launcher.press_by(ALEX);
    // By the one that works: the start, and that two of the others were deleted or lead elsewhere.
    let got = plain.until(3);
    assert_eq!(got[0], "survival is starting, started by Alex.");
    let of_channels: Vec<&String> = got.iter().filter(|text| text.contains("do not arrive")).collect();
    assert_eq!(of_channels.len(), 2, "{got:?}");
    assert!(of_channels.iter().any(|text| text.contains("404")) && of_channels.iter().any(|text| text.contains("302")));
    // What failed for good is left alone; what failed perhaps only now is tried again, but not at once.
    wait_until("the start is over", || (ec2.instance().state == "running").then_some(()));
    thread::sleep(Duration::from_secs(3));
    assert_eq!((gone.got().len(), redirecting.got().len()), (1, 1));
    assert_eq!(broken.got().len(), 1);
    // When its time has come.
    let told = ec2.get("told").unwrap();
    assert!(told.contains("\"tries\":1"), "{told}");
    let year = format!("\"next\":\"{}-", now().strftime("%Y"));
    ec2.put("told", &told.replace(&year, "\"next\":\"2020-"));
    broken.until(2);
}

#[test]
fn what_could_not_be_noted_is_told_again_and_never_lost() {
    let ec2 = StandIn::start("stopped");
    let plain = Web::start(vec![OK]);
    ec2.put("tell", &json!({"post": plain.url()}).to_string());
    ec2.fail("PutParameter told", Fault::Code("InternalServerError"));
    let launcher = Launcher::start(&ec2, OFTEN, &[]);
    launcher.press_by(ALEX);
    let got = plain.until(4);
    assert!(
        got.iter().filter(|text| text.contains("is up at") || text.contains("is starting")).count() >= 2,
        "{got:?}"
    );
    launcher.process.wait_for("could not look: what was told could not be noted");
}

/// As when the schedule and an event wake the warden together: nothing keeps Lambda from running it twice.
#[test]
fn looks_at_the_same_time_tell_once() {
    for late in [0, 100, 800] {
        let ec2 = StandIn::start("running");
        // By the console, so long ago that nobody can be about to note who has started it.
        ec2.state().machines[0].launch_time = now().checked_sub(Duration::from_secs(10)).unwrap();
        let plain = Web::start(vec![OK]);
        ec2.put("tell", &json!({"post": plain.url()}).to_string());
        ec2.fail("PutParameter told", Fault::Late(Duration::from_millis(late)));
        let wardens: Vec<Launcher> = thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| Launcher::start(&ec2, SELDOM, &[]))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        plain.until(1);
        thread::sleep(Duration::from_secs(5));
        assert_eq!(plain.got(), ["survival is starting."], "{late} ms");
        // Of two notes at once the later one stands, perhaps that of a look that left it to the other: then it waits a minute more.
        let told = ec2.get("told").unwrap();
        let waits = told.contains("\"pending\":[{") && told.contains("\"tries\":0");
        assert!(told.contains("starting") && (told.contains("\"pending\":[]") || waits), "{told}");
        drop(wardens);
    }
}

#[test]
fn a_start_that_was_waited_for_is_told_once() {
    let ec2 = StandIn::start("stopping");
    let plain = Web::start(vec![OK]);
    ec2.put("tell", &json!({"post": plain.url()}).to_string());
    let launcher = Launcher::start(&ec2, OFTEN, &[]);
    wait_until("a look is over", || ec2.get("told"));
    assert_eq!(launcher.press_by(ALEX).status, 202);
    ec2.set("stopped");
    wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
    heartbeat(&ec2, AgentState::Idle, 0);
    wait_until("it is up", || plain.got().iter().any(|message| message.starts_with("survival is up")).then_some(()));
    let count = |words: &str| plain.got().iter().filter(|message| message.contains(words)).count();
    assert_eq!((count("survival has stopped"), count("started by Alex")), (1, 1), "{:?}", plain.got());
}

/// What only this look knows is told although another one has noted something meanwhile.
#[test]
fn a_look_beside_another_one_loses_nothing() {
    let ec2 = StandIn::start("stopping");
    let plain = Web::start(vec![OK]);
    ec2.put("tell", &json!({"post": plain.url()}).to_string());
    let page = Launcher::start(&ec2, SELDOM, &[]);
    assert_eq!(page.press().status, 202);
    wait_until("the first look is over", || ec2.get("told"));
    ec2.set("stopped");
    ec2.fail("StartInstances", Fault::Code("InsufficientInstanceCapacity"));
    let late = Some(Fault::Late(Duration::from_millis(1500)));
    ec2.state().faults.insert("GetParameter told", [None, late, None].into());
    let _warden = Launcher::start(&ec2, SELDOM, &[]);
    wait_until("the wish is served", || (ec2.get("wanted").as_deref() == Some("none")).then_some(()));
    ec2.put("told", "{}");
    let got = plain.until(1);
    assert!(got[0].contains("EC2 has no free machine of this type"), "{got:?}");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(plain.got().len(), 1, "{:?}", plain.got());
}

/// The answer to the removal of a record gets lost: it is gone, and to remove it again fails for ever.
#[test]
fn a_record_that_is_gone_has_been_removed() {
    let ec2 = StandIn::start("running");
    let settings = [("MC_ZONE_ID", "Z0123456789"), ("MC_RECORD", "play.example.org")];
    let launcher = Launcher::start(&ec2, OFTEN, &settings);
    wait_until("the record is set", || (!ec2.state().records.is_empty()).then_some(()));
    ec2.fail("ChangeResourceRecordSets", Fault::LostAnswer);
    ec2.set("stopped");
    wait_until("it is removed", || ec2.state().records.is_empty().then_some(()));
    launcher.process.wait_for("cannot set the record play.example.org");
    ec2.mend();
    wait_until("it is noted", || ec2.get("told").filter(|told| told.contains("\"records\":{\"v4\":null")));
}

#[test]
fn mail_goes_out_by_a_mail_server() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = "import sys\n\
        from aiosmtpd.controller import Controller\n\
        class Print:\n    async def handle_DATA(self, server, session, envelope):\n        \
        print('mail from', envelope.mail_from, 'to', envelope.rcpt_tos, flush=True)\n        \
        print(envelope.content.decode(), flush=True)\n        return '250 OK'\n\
        Controller(Print(), hostname='127.0.0.1', port=int(sys.argv[1])).start()\n\
        print('listening', flush=True)\n\
        sys.stdin.read()\n";
    // aiosmtpd takes no port 0.
    let port = ports::free().to_string();
    let process = Process::start(Command::new(emulated_aws::python()).args(["-c", server, &port]));
    process.wait_for("listening");
    let ec2 = StandIn::start("stopped");
    let smtp = json!({"url": format!("smtp://127.0.0.1:{port}"), "from": "mc@example.org", "to": ["alex@example.org"]});
    ec2.put("tell", &json!({"smtp": smtp}).to_string());
    let launcher = Launcher::start(&ec2, OFTEN, &[]);
    launcher.press_by(ALEX);
    process.wait_for("mail from mc@example.org to ['alex@example.org']");
    process.wait_for("Subject: Minecraft server survival");
    process.wait_for("survival is ");
}

/// EC2, SSM, SNS, SQS and Route 53 as others wrote them (moto).
#[test]
fn with_the_emulator_a_start_is_told_by_sns_and_the_record_is_set_and_removed() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let aws = emulated_aws::EmulatedAws::start();
    let python = |script: &str| {
        let head = format!(
            "import boto3, json, sys\n\
             def client(name): return boto3.client(name, endpoint_url='{}', region_name='eu-west-1', \
             aws_access_key_id='AKIAIOSFODNN7EXAMPLE', aws_secret_access_key='secret')\n\
             ec2, ssm, sns, sqs, dns = [client(name) for name in ('ec2', 'ssm', 'sns', 'sqs', 'route53')]\n\
             instance = '{}'\n",
            aws.url(),
            aws.instance_id
        );
        let output = Command::new(emulated_aws::python()).args(["-c", &(head + script)]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let prepared = python(
        "topic = sns.create_topic(Name='mc')['TopicArn']\n\
         queue = sqs.create_queue(QueueName='mc')['QueueUrl']\n\
         arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=['QueueArn'])['Attributes']['QueueArn']\n\
         sns.subscribe(TopicArn=topic, Protocol='sqs', Endpoint=arn)\n\
         ec2.create_tags(Resources=[instance], Tags=[{'Key': 'mc-idle:server', 'Value': 'survival'}])\n\
         ec2.stop_instances(InstanceIds=[instance])\n\
         zone = dns.create_hosted_zone(Name='example.org', CallerReference='1')['HostedZone']['Id']\n\
         for name, value in (('instance-id', instance), ('key', 'correct-horse-battery')):\n    \
         ssm.put_parameter(Name='/mc-idle/survival/' + name, Value=value, Type='SecureString' if name == 'key' else 'String')\n\
         ssm.put_parameter(Name='/mc-idle/survival/tell', Type='SecureString', Value=json.dumps({'sns': topic}))\n\
         print(zone.rsplit('/', 1)[1], queue)\n",
    );
    let (zone, queue) = prepared.split_once(' ').unwrap();
    let settings = [("AWS_REGION", "eu-west-1"), ("MC_ZONE_ID", zone), ("MC_RECORD", "play.example.org")];
    let launcher = Launcher::start_at(&aws.url(), OFTEN, &settings);
    assert_eq!(launcher.status()["state"], "asleep");
    let pressed = launcher.press();
    assert_eq!(pressed.status, 202, "{pressed:?}");
    let received = || {
        python(&format!(
            "messages = sqs.receive_message(QueueUrl='{queue}', MaxNumberOfMessages=10).get('Messages', [])\n\
         print(' '.join(json.loads(message['Body'])['Message'] for message in messages))\n"
        ))
    };
    wait_until("SNS has told it", || received().contains("survival is starting").then_some(()));
    let records = || {
        python(&format!(
            "sets = dns.list_resource_record_sets(HostedZoneId='{zone}')['ResourceRecordSets']\n\
         print(' '.join(one['ResourceRecords'][0]['Value'] for one in sets if one['Type'] == 'A'))\n"
        ))
    };
    let address = python("print(ec2.describe_instances()['Reservations'][0]['Instances'][0]['PublicIpAddress'])\n");
    wait_until("the record is set", || (records() == address).then_some(()));
    python("ec2.stop_instances(InstanceIds=[instance])\n");
    wait_until("the record is removed", || records().is_empty().then_some(()));
    // What moto wrote of the stop is understood.
    assert_eq!(launcher.status()["state"], "asleep");
}
