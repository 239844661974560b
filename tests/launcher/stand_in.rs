//! A stand-in for EC2, SSM and Route 53 over HTTP, asked by the real SDK. A fake, for what the emulators do not do: client tokens that are
//! remembered, instances that take their time, refusals, answers that get lost or never come, and addresses on this machine.
//! Over 400 lines: three APIs.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::support::http::request;

/// The server of every test.
pub(crate) const SERVER: &str = "survival";
/// Its instance.
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
/// How many parameters SSM gives at once.
const PAGE: usize = 10;

/// What a call meets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// This error code, with HTTP 400.
    Code(&'static str),
    /// No answer, ever.
    Hang,
    /// The call is carried out, and its answer gets lost.
    LostAnswer,
    /// The call is carried out only after a while.
    Late(Duration),
}

/// A call that was made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `StartInstances`, `PutParameter`.
    pub action: String,
    /// The id of an instance, or the name of a parameter.
    pub subject: String,
}

/// An instance.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub id: String,
    pub state: &'static str,
    /// The state that follows, and when.
    next: Option<(&'static str, Timestamp)>,
    pub launch_time: Timestamp,
    pub reason: &'static str,
    token: Option<(String, String)>,
    /// It does not show before this time.
    shows: Timestamp,
}

impl Machine {
    fn new(id: &str, state: &'static str, launch_time: Timestamp) -> Self {
        Machine { id: id.to_owned(), state, next: None, launch_time, reason: "", token: None, shows: launch_time }
    }
}

/// What EC2 and SSM have.
pub(crate) struct State {
    pub machines: Vec<Machine>,
    pub parameters: BTreeMap<String, (String, Timestamp)>,
    /// How often each was written.
    versions: BTreeMap<String, u64>,
    /// What Route 53 has, by type.
    pub records: BTreeMap<String, String>,
    pub calls: Vec<Call>,
    /// What the next calls of an action meet; the last one stays.
    /// An action, or an action and its subject: `GetParameter heartbeat`.
    pub faults: BTreeMap<&'static str, VecDeque<Option<Fault>>>,
    /// What was published to topics.
    pub published: Vec<String>,
    /// How long an instance boots, and how long it goes down.
    pub boots: Duration,
    pub stops: Duration,
    /// How long a new instance does not show.
    pub hides: Duration,
    /// The most instances that there were at once.
    pub most: usize,
}

/// The stand-in. It lives as long as the test's process.
#[derive(Clone)]
pub(crate) struct StandIn {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap()
}

/// Returns when this day, in UTC, goes on for a minute at least: what is counted by days is to be looked at in the same one.
pub(crate) fn within_a_day() {
    while now().as_second() % 86_400 >= 86_340 {
        thread::sleep(Duration::from_secs(1));
    }
}

/// What EC2 says of a launch: in whole seconds, and a little before its answer.
fn launched_now() -> Timestamp {
    Timestamp::from_second(now().as_second() - 1).unwrap()
}

fn after(duration: Duration) -> Timestamp {
    now().checked_add(duration).unwrap()
}

impl StandIn {
    /// One with the server's instance in `state`, launched an hour ago, its id and a key in SSM.
    pub(crate) fn start(state: &'static str) -> Self {
        let stand_in = StandIn::empty();
        let hour_ago = now().checked_sub(Duration::from_hours(1)).unwrap();
        stand_in.state().machines.push(Machine::new(INSTANCE, state, hour_ago));
        stand_in.put("instance-id", INSTANCE);
        stand_in
    }

    /// One with a key in SSM, and nothing else.
    pub(crate) fn empty() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            machines: Vec::new(),
            parameters: BTreeMap::new(),
            versions: BTreeMap::new(),
            records: BTreeMap::new(),
            calls: Vec::new(),
            faults: BTreeMap::new(),
            published: Vec::new(),
            boots: Duration::from_millis(300),
            stops: Duration::from_millis(300),
            hides: Duration::ZERO,
            most: 0,
        }));
        let stand_in = StandIn { port, state };
        let serving = stand_in.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        stand_in.put("key", super::launcher::KEY);
        stand_in.put("broker-key", super::launcher::BROKER_KEY);
        stand_in
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        state
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets a parameter of the server.
    pub(crate) fn put(&self, name: &str, value: &str) {
        let mut state = self.state();
        state.parameters.insert(full(name), (value.to_owned(), now()));
        *state.versions.entry(full(name)).or_default() += 1;
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.state().parameters.get(&full(name)).map(|(value, _)| value.clone())
    }

    pub(crate) fn remove(&self, name: &str) {
        self.state().parameters.remove(&full(name));
    }

    /// From now on every call of `action` meets `fault`.
    pub(crate) fn fail(&self, action: &'static str, fault: Fault) {
        self.state().faults.insert(action, VecDeque::from([Some(fault)]));
    }

    /// Everything works again.
    pub(crate) fn mend(&self) {
        self.state().faults.clear();
    }

    /// How often `action` was asked for.
    pub(crate) fn count(&self, action: &str) -> usize {
        self.state().calls.iter().filter(|call| call.action == action).count()
    }

    /// How many instances were ever made, and how many there were at once at most.
    pub(crate) fn machines(&self) -> usize {
        self.state().machines.len()
    }

    pub(crate) fn most(&self) -> usize {
        self.state().most
    }

    /// The state of the instance that was launched last.
    pub(crate) fn instance(&self) -> Machine {
        self.state().machines.last().unwrap().clone()
    }

    /// One more instance of the server, launched an hour ago.
    pub(crate) fn add(&self, id: &str, state: &'static str) {
        let hour_ago = now().checked_sub(Duration::from_hours(1)).unwrap();
        self.state().machines.push(Machine::new(id, state, hour_ago));
    }

    /// The ids of instances that were asked to stop.
    pub(crate) fn stops(&self) -> Vec<String> {
        let state = self.state();
        let stops = state.calls.iter().filter(|call| call.action == "StopInstances");
        stops.map(|call| call.subject.clone()).collect()
    }

    /// Has the instance go to `state`.
    pub(crate) fn set(&self, state: &'static str) {
        let mut all = self.state();
        let machine = all.machines.last_mut().unwrap();
        (machine.state, machine.next) = (state, None);
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, body)) = request(&mut reader) {
            let (action, parameters) = match target(&head) {
                Some(target) => (target, serde_json::from_str(&body).unwrap()),
                None if head.contains("/rrset") => {
                    ("ChangeResourceRecordSets".to_owned(), json!({"Type": inner(&body, "Type"), "Body": body}))
                }
                None => form(&body),
            };
            let fault = self.state().fault(&action, &subject(&parameters));
            match fault {
                Some(Fault::Hang) => thread::sleep(Duration::from_hours(1)),
                Some(Fault::Late(time)) => thread::sleep(time),
                _ => {}
            }
            let (status, kind, answer) = match &fault {
                Some(Fault::Code(code)) => {
                    self.state().note(&action, &parameters);
                    refusal(&head, code)
                }
                _ => self.state().carry_out(&action, &parameters),
            };
            if fault == Some(Fault::LostAnswer) {
                return;
            }
            let head =
                format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", answer.len());
            if stream.write_all((head + &answer).as_bytes()).is_err() {
                return;
            }
        }
    }
}

pub(crate) fn full(name: &str) -> String {
    format!("/mc-idle/{SERVER}/{name}")
}

/// What SSM is asked for.
fn target(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("x-amz-target:"))?;
    Some(line.rsplit_once('.')?.1.trim().to_owned())
}

/// What EC2 is asked for, and with what.
fn form(body: &str) -> (String, Value) {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    let parameters: serde_json::Map<String, Value> =
        pairs.map(|(name, value)| (decoded(name), Value::from(decoded(value)))).collect();
    (parameters["Action"].as_str().unwrap().to_owned(), Value::Object(parameters))
}

/// What is in the first element of this name.
fn inner(xml: &str, name: &str) -> String {
    let after = xml.split_once(&format!("<{name}>")).map_or("", |(_, after)| after);
    after.split('<').next().unwrap_or_default().to_owned()
}

/// What a call is about.
fn subject(parameters: &Value) -> String {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str).map(str::to_owned);
    text("InstanceId.1").or_else(|| text("Name")).or_else(|| text("Path")).unwrap_or_default()
}

fn refusal(head: &str, code: &str) -> (u16, &'static str, String) {
    match target(head) {
        Some(_) => (400, "application/x-amz-json-1.1", json!({"__type": code, "message": "as told"}).to_string()),
        None => (400, "text/xml", ec2_error(code)),
    }
}

fn ec2_error(code: &str) -> String {
    format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>as told</Message></Error></Errors><RequestID>1</RequestID></Response>"
    )
}

fn ec2_answer(action: &str, content: &str) -> (u16, &'static str, String) {
    let space = "http://ec2.amazonaws.com/doc/2016-11-15/";
    (
        200,
        "text/xml",
        format!("<{action}Response xmlns=\"{space}\"><requestId>1</requestId>{content}</{action}Response>"),
    )
}

impl State {
    /// Time has gone on.
    fn settle(&mut self) {
        for machine in &mut self.machines {
            if let Some((state, _)) = machine.next.filter(|(_, at)| *at <= now()) {
                (machine.state, machine.next) = (state, None);
            }
        }
        let living = self.machines.iter().filter(|machine| machine.state != "terminated").count();
        self.most = self.most.max(living);
    }

    fn fault(&mut self, action: &str, subject: &str) -> Option<Fault> {
        let name = subject.rsplit_once('/').map_or(subject, |(_, name)| name);
        let of_subject = format!("{action} {name}");
        let key = if self.faults.contains_key(of_subject.as_str()) { &of_subject } else { action };
        let faults = self.faults.get_mut(key)?;
        if faults.len() > 1 { faults.pop_front().flatten() } else { faults.front().cloned().flatten() }
    }

    fn note(&mut self, action: &str, parameters: &Value) {
        self.calls.push(Call { action: action.to_owned(), subject: subject(parameters) });
    }

    fn carry_out(&mut self, action: &str, parameters: &Value) -> (u16, &'static str, String) {
        self.note(action, parameters);
        let text = |name: &str| parameters.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match action {
            "DescribeInstances" => self.describe(&text("Filter.1.Name"), &text("Filter.1.Value.1")),
            "StopInstances" if text("DryRun") == "true" => {
                // A question is no request.
                self.calls.pop();
                (412, "text/xml", ec2_error("DryRunOperation"))
            }
            "StartInstances" | "StopInstances" => self.change(action, &text("InstanceId.1")),
            "RunInstances" => {
                self.run(&text("ClientToken"), &text("SubnetId"), &text("TagSpecification.1.Tag.1.Value"))
            }
            "Publish" => {
                self.published.push(text("Message"));
                let answer = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
                    <MessageId>1</MessageId></PublishResult></PublishResponse>";
                (200, "text/xml", answer.to_owned())
            }
            "GetParameter" => self.get(&text("Name")),
            "PutParameter" => self.put(&text("Name"), &text("Value"), parameters["Overwrite"] == true),
            "ChangeResourceRecordSets" => self.change_record(&text("Type"), &text("Body")),
            "GetParametersByPath" => self.by_path(&text("Path"), &text("NextToken")),
            other => panic!("the stand-in knows no {other}"),
        }
    }

    fn describe(&self, name: &str, value: &str) -> (u16, &'static str, String) {
        let fits = |machine: &&Machine| match name {
            "tag:mc-idle:server" => value == SERVER,
            "instance-id" => machine.id == value,
            "client-token" => machine.token.as_ref().is_some_and(|(token, _)| token == value),
            other => panic!("the stand-in knows no filter {other}"),
        };
        let items: String =
            self.machines.iter().filter(|machine| machine.shows <= now()).filter(fits).map(item).collect();
        let set = format!("<reservationSet><item><instancesSet>{items}</instancesSet></item></reservationSet>");
        ec2_answer("DescribeInstances", &set)
    }

    fn change(&mut self, action: &str, id: &str) -> (u16, &'static str, String) {
        let (boots, stops) = (after(self.boots), after(self.stops));
        let Some(machine) = self.machines.iter_mut().find(|machine| machine.id == id) else {
            return (400, "text/xml", ec2_error("InvalidInstanceID.NotFound"));
        };
        match (action, machine.state) {
            ("StartInstances", "stopped") => {
                (machine.state, machine.next) = ("pending", Some(("running", boots)));
                machine.launch_time = launched_now();
            }
            ("StopInstances", "running") => (machine.state, machine.next) = ("stopping", Some(("stopped", stops))),
            ("StartInstances", "pending" | "running") | ("StopInstances", "stopping" | "stopped") => {}
            _ => return (400, "text/xml", ec2_error("IncorrectInstanceState")),
        }
        ec2_answer(action, "<instancesSet/>")
    }

    fn run(&mut self, token: &str, subnet: &str, server: &str) -> (u16, &'static str, String) {
        assert_eq!(server, SERVER, "an instance without its tag");
        let key = Some((token.to_owned(), subnet.to_owned()));
        let known = self.machines.iter().find(|machine| machine.token == key);
        let id = match known {
            Some(machine) if machine.state == "terminated" => {
                return (400, "text/xml", ec2_error("IdempotentInstanceTerminated"));
            }
            Some(machine) => machine.id.clone(),
            None => {
                let id = format!("i-{:017x}", self.machines.len() + 1);
                let next = Some(("running", after(self.boots)));
                let shows = after(self.hides);
                self.machines.push(Machine { next, token: key, shows, ..Machine::new(&id, "pending", now()) });
                self.settle();
                id
            }
        };
        let item = self.machines.iter().find(|machine| machine.id == id).map(item).unwrap();
        ec2_answer("RunInstances", &format!("<instancesSet>{item}</instancesSet>"))
    }

    fn get(&self, name: &str) -> (u16, &'static str, String) {
        match self.parameters.get(name) {
            Some((value, modified)) => ssm(&json!({"Parameter": {
                "Name": name, "Type": "String", "Value": value, "LastModifiedDate": seconds(*modified),
                "Version": self.versions.get(name).copied().unwrap_or(1),
            }})),
            None => ssm_error("ParameterNotFound"),
        }
    }

    fn put(&mut self, name: &str, value: &str, overwrite: bool) -> (u16, &'static str, String) {
        if value.is_empty() || value.len() > 4096 {
            return ssm_error("ValidationException");
        }
        if !overwrite && self.parameters.contains_key(name) {
            return ssm_error("ParameterAlreadyExists");
        }
        self.parameters.insert(name.to_owned(), (value.to_owned(), now()));
        let version = self.versions.entry(name.to_owned()).or_default();
        *version += 1;
        ssm(&json!({"Version": version, "Tier": "Standard"}))
    }

    /// Route 53 removes only what it has (ChangeResourceRecordSets, Route 53 API reference); moto does not mind.
    fn change_record(&mut self, kind: &str, body: &str) -> (u16, &'static str, String) {
        let (action, value) = (inner(body, "Action"), inner(body, "Value"));
        if action == "UPSERT" {
            self.records.insert(kind.to_owned(), value);
        } else if self.records.remove(kind) != Some(value) {
            let message = format!("[Tried to delete resource record set [type='{kind}'] but it was not found]");
            let error = format!(
                "<Error><Type>Sender</Type><Code>InvalidChangeBatch</Code><Message>{message}</Message></Error>"
            );
            return (400, "text/xml", format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"));
        }
        let info = "<Id>1</Id><Status>PENDING</Status><SubmittedAt>2026-11-30T06:00:00Z</SubmittedAt>";
        let answer = format!(
            "<ChangeResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeInfo>{info}\
             </ChangeInfo></ChangeResourceRecordSetsResponse>"
        );
        (200, "text/xml", answer)
    }

    fn by_path(&self, path: &str, next: &str) -> (u16, &'static str, String) {
        let from: usize = next.parse().unwrap_or_default();
        let below = format!("{path}/");
        let all: Vec<_> = self.parameters.iter().filter(|(name, _)| name.starts_with(&below)).collect();
        let page: Vec<Value> =
            all.iter().skip(from).take(PAGE).map(|(name, (value, _))| json!({"Name": name, "Value": value})).collect();
        let next = (all.len() > from + PAGE).then(|| (from + PAGE).to_string());
        ssm(&json!({"Parameters": page, "NextToken": next}))
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_nanosecond() as f64 / 1e9
}

fn ssm(answer: &Value) -> (u16, &'static str, String) {
    (200, "application/x-amz-json-1.1", answer.to_string())
}

fn ssm_error(code: &str) -> (u16, &'static str, String) {
    (400, "application/x-amz-json-1.1", json!({"__type": code, "message": ""}).to_string())
}

fn item(machine: &Machine) -> String {
    let Machine { id, state, launch_time, reason, .. } = machine;
    let launch_time = launch_time.strftime("%Y-%m-%dT%H:%M:%S.000Z");
    let address = if *state == "running" { "<ipAddress>127.0.0.1</ipAddress>" } else { "" };
    let reason =
        if reason.is_empty() { String::new() } else { format!("<stateReason><code>{reason}</code></stateReason>") };
    format!(
        "<item><instanceId>{id}</instanceId><instanceState><code>0</code><name>{state}</name></instanceState>\
         <launchTime>{launch_time}</launchTime>{address}{reason}</item>"
    )
}
