//! Every key: its name, meaning, default and allowed values, and how to set it.
//!
//! The defaults are text, parsed by the same code as an operator's values.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use mc_broker_core::connection::gate::{Auth, Starters};
use mc_broker_core::protocol::versions::ProtocolTable;
use mc_players::AllowList;
use mc_service::config::values::{minutes, networks, number, put, put_or, text};
use mc_service::config::{Key, Loaded, Refused, paths};
use toml::de::DeValue;

use crate::config::protocols;
use crate::config::settings::{KeyFile, ListTexts, Settings};

/// The longest text in the server list, in characters.
const LONGEST_TEXT: usize = 200;
const TEXT_ALLOWED: &str = "a text of at most 200 characters";

/// Every key, in the order of the documentation.
pub const KEYS: &[Key<Settings>] = &[
    Key {
        name: "listen",
        meaning: "The addresses to listen at. `[::]` is every address, IPv4 and IPv6.",
        default: Some("[\"[::]:25565\"]"),
        allowed: "a list of 1 to 8 addresses with their ports, such as \"[::]:25565\" or \"192.0.2.7:25565\"",
        set: |settings, value| put(&mut settings.listen, listen(value)),
    },
    Key {
        name: "launcher.url",
        meaning: "Where the launcher is: the address to which `/status` and `/start` are added.",
        default: None,
        allowed: "an address that begins with https://, or with http:// on this machine, such as \
            \"https://mc.example.org\"",
        set: |settings, value| put(&mut settings.launcher_url, address(value).map(Some)),
    },
    Key {
        name: "launcher.key_file",
        meaning: "Where the launcher's `broker-key` is. A name without a slash is a credential of the unit, which \
            reads `/etc/mc-broker/broker-key`.",
        default: None,
        allowed: "the absolute path of a file that nobody else may read (mode 0600), or the name of a credential of the \
            unit, such as \"broker-key\"",
        set: |settings, value| put_or(&mut settings.launcher_key, key_file(value).map(Some)),
    },
    Key {
        name: "auth",
        meaning: "Who vouches for a player before anything is started for him: Mojang's session server, or nobody. \
            `\"none\"` is for servers in offline mode, and needs `allow_networks`.",
        default: Some("\"mojang\""),
        allowed: "\"mojang\" or \"none\"",
        set: |settings, value| put(&mut settings.auth, auth(value)),
    },
    Key {
        name: "auth_url",
        meaning: "The session server: another one that speaks the same, such as authlib-injector's.",
        default: Some("\"https://sessionserver.mojang.com\""),
        allowed: "an address that begins with https://, or with http:// on this machine; unless it ends in /hasJoined, \
            /session/minecraft/hasJoined is added",
        set: |settings, value| put(&mut settings.session_server, address(value)),
    },
    Key {
        name: "allow",
        meaning: "For whom the server is started: the launcher decides, everybody, or a list. A server that is up takes \
            whom it likes.",
        default: Some("\"launcher\""),
        allowed: "\"launcher\", \"everybody\", or a list of names and UUIDs of players",
        set: |settings, value| put_or(&mut settings.starters, starters(value)),
    },
    Key {
        name: "allow_networks",
        meaning: "From where anybody may log in. If not set, from everywhere.",
        default: None,
        allowed: "a list of IPv4 and IPv6 addresses and CIDR blocks, such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
        set: |settings, value| put(&mut settings.networks, networks(value).map(Some)),
    },
    Key {
        name: "hold_minutes",
        meaning: "How long a player is held at most, in minutes.",
        default: Some("5"),
        allowed: "a number from 0.1 to 60, decimals allowed",
        set: |settings, value| put(&mut settings.hold, number(value, 0.1, 60.0).map(minutes)),
    },
    Key {
        name: "relay",
        meaning: "Whether players whose version cannot be handed over have their game data relayed. The broker's address \
            must then not be among the agent's `minecraft.ignore_peers`.",
        default: Some("false"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.relay, value.as_bool()),
    },
    Key {
        name: "relay_proxy_header",
        meaning: "Whether the server is told who such a player is, by the PROXY protocol, version 2. The server has to \
            expect it.",
        default: Some("false"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.relay_proxy_header, value.as_bool()),
    },
    Key {
        name: "proxy_networks",
        meaning: "Proxies in front of the broker, whose connections begin with a PROXY header, version 2.",
        default: Some("[]"),
        allowed: "a list of IPv4 and IPv6 addresses and CIDR blocks, such as \"192.0.2.7\" or \"2001:db8::/32\"",
        set: |settings, value| put(&mut settings.proxies, networks(value)),
    },
    Key {
        name: "motd.asleep",
        meaning: "What the server list shows while the server is asleep.",
        default: Some("\"Asleep. Join to start it.\""),
        allowed: TEXT_ALLOWED,
        set: |settings, value| put(&mut settings.texts.asleep, list_text(value)),
    },
    Key {
        name: "motd.starting",
        meaning: "What the server list shows while the server starts.",
        default: Some("\"Starting. Join to wait for it.\""),
        allowed: TEXT_ALLOWED,
        set: |settings, value| put(&mut settings.texts.starting, list_text(value)),
    },
    Key {
        name: "motd.up",
        meaning: "What the server list shows while the server is up, until it has been asked for its own text.",
        default: Some("\"Up.\""),
        allowed: TEXT_ALLOWED,
        set: |settings, value| put(&mut settings.texts.up, list_text(value)),
    },
    Key {
        name: "protocol",
        meaning: "Protocols that are newer than the program. `protocol.778.like = 777` has players of 778 handed over as \
            those of 777 are.",
        default: Some("{}"),
        allowed: protocols::ALLOWED,
        set: |settings, value| protocols::add(&mut settings.protocols, value),
    },
    Key {
        name: "metrics.textfile",
        meaning: "The file to write metrics for Prometheus to; node_exporter reads files whose names end in .prom. The \
            unit must be allowed to write there: set `ReadWritePaths=` to the file's folder with `systemctl edit \
            mc-broker`.",
        default: Some("\"\""),
        allowed: "the absolute path of a file, or \"\" for none",
        set: |settings, value| put_or(&mut settings.metrics_textfile, text(value).and_then(paths::file)),
    },
];

/// Settings with the default of every key.
#[must_use]
pub fn defaults() -> Loaded<Settings> {
    let blank = Settings {
        listen: Vec::new(),
        proxies: Vec::new(),
        launcher_url: None,
        launcher_key: None,
        auth: Auth::SessionServer,
        session_server: Uri::default(),
        starters: Starters::Launcher,
        networks: None,
        hold: Duration::ZERO,
        relay: false,
        relay_proxy_header: false,
        texts: ListTexts::default(),
        protocols: ProtocolTable::default(),
        metrics_textfile: None,
    };
    Loaded::defaults(KEYS, blank)
}

fn listen(value: &DeValue<'_>) -> Option<Vec<SocketAddr>> {
    let addresses = value.as_array().filter(|addresses| (1..=8).contains(&addresses.len()))?;
    addresses.iter().map(|address| address.get_ref().as_str()?.parse().ok()).collect()
}

/// An address without a query, and without TLS only on this machine.
fn address(value: &DeValue<'_>) -> Option<Uri> {
    let uri: Uri = value.as_str()?.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_allowed = match uri.scheme_str()? {
        "https" => true,
        "http" => is_here,
        _ => false,
    };
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (is_allowed && uri.query().is_none() && !has_user).then_some(uri)
}

fn key_file(value: &DeValue<'_>) -> Result<KeyFile, Refused> {
    match text(value)? {
        "" => Err(Refused { why: None }),
        name if !name.contains('/') && !name.contains('\0') => Ok(KeyFile::Credential(name.to_owned())),
        path => paths::file(path)?.map(KeyFile::Path).ok_or(Refused { why: None }),
    }
}

fn auth(value: &DeValue<'_>) -> Option<Auth> {
    match value.as_str()? {
        "mojang" => Some(Auth::SessionServer),
        "none" => Some(Auth::None),
        _ => None,
    }
}

fn starters(value: &DeValue<'_>) -> Result<Starters, Refused> {
    let wrong = Refused { why: None };
    match value {
        DeValue::String(word) => match word.as_ref() {
            "launcher" => Ok(Starters::Launcher),
            "everybody" => Ok(Starters::Everybody),
            _ => Err(wrong),
        },
        DeValue::Array(entries) => {
            let entries: Option<Vec<&str>> = entries.iter().map(|entry| entry.get_ref().as_str()).collect();
            let list = AllowList::of(entries.ok_or(wrong)?);
            list.map(Starters::Only).map_err(|_| Refused { why: Some("an entry is neither a name nor a UUID") })
        }
        _ => Err(wrong),
    }
}

fn list_text(value: &DeValue<'_>) -> Option<String> {
    value.as_str().filter(|text| text.chars().count() <= LONGEST_TEXT).map(str::to_owned)
}
