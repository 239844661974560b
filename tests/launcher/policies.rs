//! The policies of the launcher's roles: what each lets happen, and what not. How IAM evaluates a policy is modelled here as far
//! as these policies use it; whether AWS agrees only AWS can tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

const POLICIES: [&str; 4] = ["page-start", "page-launch", "warden-start", "warden-launch"];
/// AWS cannot limit these to a resource (Service Authorization Reference, Amazon EC2).
const UNLIMITED: [&str; 1] = ["ec2:DescribeInstances"];
const INSTANCE: &str = "arn:aws:ec2:REGION:ACCOUNT:instance/i-1";
const TEMPLATE: &str = "arn:aws:ec2:REGION:ACCOUNT:launch-template/TEMPLATE";
const OURS: Context = &[("aws:ResourceTag/mc-idle:server", "SERVER")];
const RECORD: Context = &[
    ("route53:ChangeResourceRecordSetsNormalizedRecordNames", "RECORD"),
    ("route53:ChangeResourceRecordSetsRecordTypes", "A"),
];

/// The condition keys that a request has, and their values.
type Context<'a> = &'a [(&'a str, &'a str)];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("iam")
}

fn statements(policy: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(format!("{policy}.json"))).unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

/// A string, or several.
fn strings(value: &Value) -> Vec<&str> {
    value
        .as_str()
        .map_or_else(|| value.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(), |one| vec![one])
}

/// Whether `text` fits `pattern`, in which `*` is anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && fits(after, &rest[at..]))
}

fn holds(operator: &str, key: &str, allowed: &Value, context: Context) -> bool {
    let mut values = context.iter().filter(|(other, _)| *other == key).map(|(_, value)| *value);
    match operator {
        "StringEquals" | "ArnEquals" => values.next().is_some_and(|value| strings(allowed).contains(&value)),
        "ForAllValues:StringEquals" => values.all(|value| strings(allowed).contains(&value)),
        "Null" => values.next().is_none() == (allowed == "true"),
        other => panic!("a condition that this model does not know: {other}"),
    }
}

fn may(policy: &str, action: &str, resource: &str, context: Context) -> bool {
    statements(policy).iter().any(|statement| {
        let mut conditions = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
        strings(&statement["Action"]).contains(&action)
            && strings(&statement["Resource"]).iter().any(|pattern| fits(pattern, resource))
            && conditions.all(|(operator, keys)| {
                keys.as_object().unwrap().iter().all(|(key, allowed)| holds(operator, key, allowed, context))
            })
    })
}

fn parameter(name: &str) -> String {
    format!("arn:aws:ssm:REGION:ACCOUNT:parameter/mc-idle/SERVER/{name}")
}

#[test]
fn each_statement_allows_named_actions_on_named_resources_and_gives_its_reason() {
    let reasons = fs::read_to_string(folder().join("README.md")).unwrap();
    for policy in POLICIES {
        let mut ids = BTreeSet::new();
        for statement in statements(policy) {
            let fields: BTreeSet<&str> = statement.as_object().unwrap().keys().map(String::as_str).collect();
            let known = ["Action", "Condition", "Effect", "Resource", "Sid"].into();
            assert!(fields.is_subset(&known) && statement["Effect"] == "Allow", "{policy}: {statement}");
            let id = statement["Sid"].as_str().unwrap().to_owned();
            assert!(reasons.contains(&format!("\n| `{id}` | ")), "{id} has no reason");
            assert!(ids.insert(id), "{policy}: {statement}");
            let actions = strings(&statement["Action"]);
            assert!(actions.iter().all(|action| !action.contains(['*', '?'])), "{policy}: {statement}");
            for resource in strings(&statement["Resource"]) {
                let unlimited = resource == "*" && actions.iter().all(|action| UNLIMITED.contains(action));
                let parts: Vec<&str> = resource.splitn(6, ':').collect();
                // A part of an ARN is a name, or begins with one: `instance/*`.
                let named = parts.len() == 6 && parts.iter().all(|part| !part.starts_with('*') && !part.contains('?'));
                assert!(unlimited || named, "{policy}: {resource}");
                // Whatever an action changes that is named by `*` is limited by a condition, or below the server's own path.
                let limited = !resource.contains('*')
                    || statement.get("Condition").is_some()
                    || [parameter("launch/*").as_str()].contains(&resource)
                    || resource.starts_with("arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/mc-launcher-SERVER-");
                assert!(unlimited || limited, "{policy}: {resource}");
            }
        }
    }
}

#[test]
fn only_this_servers_instance_is_started_and_only_the_warden_stops_it() {
    let another: Context = &[("aws:ResourceTag/mc-idle:server", "another")];
    for policy in POLICIES {
        let warden = policy.starts_with("warden");
        assert!(may(policy, "ec2:DescribeInstances", "*", &[]), "{policy}");
        for (action, allowed) in [("ec2:StartInstances", true), ("ec2:StopInstances", warden)] {
            assert_eq!(may(policy, action, INSTANCE, OURS), allowed, "{policy}: {action}");
            for context in [another, &[]] {
                assert!(!may(policy, action, INSTANCE, context), "{policy}: {action}");
            }
        }
        for action in
            ["ec2:TerminateInstances", "ec2:ModifyInstanceAttribute", "ec2:RebootInstances", "ssm:SendCommand"]
        {
            assert!(!may(policy, action, INSTANCE, OURS), "{policy}: {action}");
        }
        assert!(!may(policy, "ec2:CreateTags", INSTANCE, OURS), "{policy}: what exists is not tagged");
    }
}

#[test]
fn each_role_reads_and_writes_its_own_parameters() {
    let all = [
        "heartbeat",
        "hold",
        "instance-id",
        "key",
        "broker-key",
        "allow",
        "tell",
        "wanted",
        "starts",
        "told",
        "launch/4",
    ];
    for policy in POLICIES {
        let (warden, launch) = (policy.starts_with("warden"), policy.ends_with("launch"));
        for name in all {
            let reads = match name {
                "key" | "broker-key" => !warden,
                "tell" => warden,
                "launch/4" => launch,
                _ => true,
            };
            let writes = match name {
                "wanted" | "starts" => true,
                "told" => warden,
                "instance-id" | "launch/4" => launch,
                _ => false,
            };
            assert_eq!(may(policy, "ssm:GetParameter", &parameter(name), &[]), reads, "{policy} reads {name}");
            assert_eq!(may(policy, "ssm:PutParameter", &parameter(name), &[]), writes, "{policy} writes {name}");
            for action in
                ["ssm:DeleteParameter", "ssm:GetParameters", "ssm:GetParameterHistory", "ssm:AddTagsToResource"]
            {
                assert!(!may(policy, action, &parameter(name), &[]), "{policy}: {action}");
            }
        }
        assert_eq!(may(policy, "ssm:GetParametersByPath", &parameter("launch"), &[]), launch, "{policy}");
        for path in [
            "arn:aws:ssm:REGION:ACCOUNT:parameter/mc-idle/SERVER",
            "arn:aws:ssm:REGION:ACCOUNT:parameter/mc-idle/another/launch",
        ] {
            assert!(!may(policy, "ssm:GetParametersByPath", path, &[]), "{policy}: {path}");
        }
        let another = "arn:aws:ssm:REGION:ACCOUNT:parameter/mc-idle/another/instance-id";
        assert!(!may(policy, "ssm:GetParameter", another, &[]) && !may(policy, "ssm:PutParameter", another, &[]));
    }
}

#[test]
fn an_instance_is_launched_in_one_mode_only_from_the_template_with_the_tag() {
    let tagged: Context = &[("aws:RequestTag/mc-idle:server", "SERVER"), ("ec2:LaunchTemplate", TEMPLATE)];
    let role = "arn:aws:iam::ACCOUNT:role/INSTANCE_ROLE";
    let to_ec2: Context = &[("iam:PassedToService", "ec2.amazonaws.com")];
    for policy in POLICIES {
        let launch = policy.ends_with("launch");
        for part in
            [INSTANCE, TEMPLATE, "arn:aws:ec2:REGION::image/ami-1", "arn:aws:ec2:REGION:ACCOUNT:subnet/subnet-1"]
        {
            assert_eq!(may(policy, "ec2:RunInstances", part, tagged), launch, "{policy}: {part}");
            let another = TEMPLATE.replace("TEMPLATE", "lt-2");
            let of_another = [("aws:RequestTag/mc-idle:server", "SERVER"), ("ec2:LaunchTemplate", another.as_str())];
            for context in [&of_another[..], &tagged[..1]] {
                assert!(!may(policy, "ec2:RunInstances", part, context), "{policy}: {part}");
            }
        }
        for untagged in [&tagged[1..], &[("aws:RequestTag/mc-idle:server", "another"), tagged[1]]] {
            assert!(!may(policy, "ec2:RunInstances", INSTANCE, untagged), "{policy}");
        }
        let launching: Context = &[("ec2:CreateAction", "RunInstances")];
        assert_eq!(may(policy, "ec2:CreateTags", INSTANCE, launching), launch, "{policy}");
        assert_eq!(may(policy, "iam:PassRole", role, to_ec2), launch, "{policy}");
        assert!(!may(policy, "iam:PassRole", role, &[("iam:PassedToService", "lambda.amazonaws.com")]), "{policy}");
        assert!(!may(policy, "iam:PassRole", "arn:aws:iam::ACCOUNT:role/admin", to_ec2), "{policy}");
    }
}

#[test]
fn the_warden_sets_one_record_and_tells_one_topic() {
    let zone = "arn:aws:route53:::hostedzone/ZONE";
    let action = "route53:ChangeResourceRecordSets";
    let names = RECORD[0].0;
    for policy in POLICIES {
        let warden = policy.starts_with("warden");
        assert_eq!(may(policy, action, zone, RECORD), warden, "{policy}");
        assert_eq!(may(policy, "sns:Publish", "arn:aws:sns:REGION:ACCOUNT:TOPIC", &[]), warden, "{policy}");
        let with_another = [RECORD[0], (names, "www"), RECORD[1]];
        let mx = [RECORD[0], (RECORD[1].0, "MX")];
        for context in [&with_another[..], &mx, &RECORD[..1], &RECORD[1..], &[]] {
            assert!(!may(policy, action, zone, context), "{policy}: {context:?}");
        }
        assert!(!may(policy, action, "arn:aws:route53:::hostedzone/ANOTHER", RECORD), "{policy}");
        let log = |role: &str| {
            format!("arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/mc-launcher-SERVER-{role}:log-stream:1")
        };
        for role in ["page", "warden"] {
            assert_eq!(may(policy, "logs:PutLogEvents", &log(role), &[]), policy.starts_with(role), "{policy}: {role}");
        }
    }
}
