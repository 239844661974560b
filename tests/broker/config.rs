//! A configuration that is wrong is refused, with file, line, key and what is allowed.

use crate::broker::{key_file, program};
use crate::support::Config;

fn complaint(text: &str) -> String {
    let config = Config::new(text);
    key_file(&config);
    let run = program().args(["check", "--offline", "--config"]).arg(config.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(78), "{text}");
    String::from_utf8_lossy(&run.stderr).replace(config.path().to_str().unwrap(), "FILE")
}

const REQUIRED: &str = "launcher.url = \"https://mc.example.org\"\nlauncher.key_file = \"/etc/mc-broker/broker-key\"\n";

#[test]
fn what_is_wrong_is_named_with_its_line_and_with_what_is_allowed() {
    let wrong = [
        ("listen = []", "FILE:3: listen = [] is not allowed; allowed: a list of 1 to 8 addresses"),
        ("listen = [\"25565\"]", "listen = [\"25565\"] is not allowed"),
        ("auth = \"yes\"", "allowed: \"mojang\" or \"none\""),
        (
            "auth = \"none\"",
            "FILE:3: auth = \"none\" is not allowed; allowed: \"none\" only with networks that may log in",
        ),
        (
            "auth_url = \"http://example.org\"",
            "allowed: an address that begins with https://, or with http:// on this machine",
        ),
        ("allow = [\"a name\"]", "since an entry is neither a name nor a UUID"),
        ("allow = \"nobody\"", "allow = \"nobody\" is not allowed"),
        ("allow_networks = [\"everywhere\"]", "allow_networks"),
        ("hold_minutes = 0", "allowed: a number from 0.1 to 60"),
        ("relay = 1", "allowed: true or false"),
        ("protocol.778.like = 700", "since like is a protocol that is not known"),
        ("protocol.778.transfer = 12", "since a protocol has like alone, or the four others"),
        ("protocol.new.like = 777", "since a protocol has a number"),
        ("motd.asleep = 7", "motd.asleep = 7 is not allowed"),
        ("metrics.textfile = \"/x/\"", "so it is a folder"),
        ("port = 25565", "FILE:3: unknown key port = 25565; known keys: listen, launcher.url"),
        ("listen", "FILE:3: not valid TOML"),
    ];
    for (text, words) in wrong {
        let complaint = complaint(&format!("{REQUIRED}{text}"));
        assert!(complaint.contains(words) && complaint.starts_with("mc-broker: "), "{text}: {complaint}");
    }
}

#[test]
fn what_is_required_has_to_be_there() {
    assert!(complaint("").contains("FILE: launcher.url is not set, and there is no default; allowed: an address"));
    let url = "launcher.url = \"https://mc.example.org\"";
    assert!(complaint(url).contains("FILE: launcher.key_file is not set"));
    for url in ["http://mc.example.org", "mc.example.org", "https://", "ftp://127.0.0.1", "https://a@b", "https://a/?b"]
    {
        assert!(complaint(&format!("launcher.url = \"{url}\"")).contains("launcher.url"), "{url}");
    }
}

#[test]
fn everything_that_is_allowed_is_taken() {
    let config = Config::new(&format!(
        "{REQUIRED}listen = [\"0.0.0.0:25565\", \"[::1]:25566\"]\nallow = [\"Alex\", \"ec561538-f3fd-461d-aff5-086b22154bce\"]\n\
         auth = \"none\"\nallow_networks = [\"192.0.2.0/24\"]\nhold_minutes = 2.5\nrelay = true\n\
         protocol.778 = {{ disconnect = 2, keep_alive = 4, transfer = 0x0c, success = \"session\" }}\nprotocol.779.like = 778\n"
    ));
    let run = program().args(["check", "--offline", "--config"]).arg(config.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
}
