//! What others read fits its schema: the heartbeat, its examples, and the launcher's status.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use mc_heartbeat::{EfsState, Heartbeat};
use mc_idle::report::heartbeat::{Report, Writer};
use mc_launcher_core::server::heartbeat::Received;
use mc_launcher_core::server::instance::{Instance, InstanceState};
use mc_launcher_core::server::state::ServerState;
use mc_launcher_core::server::status::{Status, Subject};
use mc_launcher_core::server::usage::Usage;
use mc_launcher_core::settings::Settings;

use serde_json::Value;

use crate::skip_unless;
use crate::support::checkout;
use crate::support::emulated_aws::{self, python};

const HEARTBEAT: &str = "shared/heartbeat/schema.json";
const STATUS: &str = "launcher/core/server/status.schema.json";

/// `schema` is a path below the checkout.
fn assert_fits(schema: &str, value: &Path) {
    let check = "import json, sys, jsonschema; \
                 checker = jsonschema.FormatChecker(); schema, value = (json.load(open(name)) for name in sys.argv[1:]); \
                 jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)";
    let output = Command::new(python()).args(["-c", check]).arg(checkout().join(schema)).arg(value).output().unwrap();
    assert!(output.status.success(), "{}: {}", value.display(), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_example_of_a_heartbeat_and_what_the_agent_writes_fit_the_schema() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let examples: Vec<_> = fs::read_dir(checkout().join("shared/heartbeat/examples")).unwrap().collect();
    assert_eq!(examples.len(), 9, "one for each state");
    for example in examples {
        assert_fits(HEARTBEAT, &example.unwrap().path());
    }
    let writer = Writer { instance_id: "i-0123456789abcdef0".to_owned(), boot_id: "unknown".to_owned() };
    let report = Report::starting(EfsState::Off, "mc-idle has started.".to_owned());
    let at = Timestamp::UNIX_EPOCH;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), report.heartbeat(&writer, at, at).text()).unwrap();
    assert_fits(HEARTBEAT, file.path());
}

#[test]
fn the_status_of_the_launcher_fits_its_schema_and_the_schema_has_every_field_of_it() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let example = fs::read_to_string(checkout().join("shared/heartbeat/examples/occupied.json")).unwrap();
    let heartbeat = Heartbeat::parse(&example).unwrap();
    let (started, now) =
        (Timestamp::from_second(1_700_000_000).unwrap(), Timestamp::from_second(1_700_003_600).unwrap());
    let instance = Instance {
        id: heartbeat.instance_id.clone(),
        state: InstanceState::Running,
        launch_time: started,
        v4: Some("203.0.113.7".parse().unwrap()),
        v6: None,
        stopped_at: None,
        reason: None,
    };
    let received = Received { heartbeat, at: now };
    let mut usage = Usage::default();
    usage.see(std::slice::from_ref(&instance), now);
    let schema: Value = serde_json::from_str(&fs::read_to_string(checkout().join(STATUS)).unwrap()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for state in [
        ServerState::Asleep,
        ServerState::Starting(instance.clone()),
        ServerState::Up(instance.clone()),
        ServerState::Stopping(instance),
        ServerState::Unknown("EC2 does not answer".to_owned()),
    ] {
        for price in ["0", "0.0376"] {
            let settings = Settings::read(|name| match name {
                "MC_SERVER" => Some("survival".to_owned()),
                "MC_PRICE_PER_HOUR" => Some(price.to_owned()),
                _ => None,
            });
            let (settings, heartbeat) = (settings.unwrap(), Some(&received));
            let subject = Subject {
                settings: &settings,
                state: &state,
                heartbeat,
                usage: Some(&usage),
                wished: false,
                taken_back: None,
                now,
            };
            for status in [Status::new(&subject), Status::new(&subject).without_secrets()] {
                let value = serde_json::to_value(status).unwrap();
                assert!(value.as_object().unwrap().keys().eq(properties.keys()), "{value}");
                let file = tempfile::NamedTempFile::new().unwrap();
                fs::write(file.path(), value.to_string()).unwrap();
                assert_fits(STATUS, file.path());
            }
        }
    }
}
