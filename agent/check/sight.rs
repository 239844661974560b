//! What the agent would see: the server, the networks, the second witness, and the server's answer. Uses the agent's
//! own judgement, so that nothing passes here that would blind the agent.

use std::collections::BTreeSet;
use std::io::{self, Write};

use mc_idle_rule::facts::Facts;
use mc_idle_rule::judge::{Evidence, Watch, judge};
use mc_idle_rule::observation::{Observation, Question, Unknown};
use mc_idle_rule::{Answer, Asked, Edition, ListenerId, Moment, NetworkId};

use crate::ask::{self, AskTarget, Asker, Protocol};
use crate::check::CheckContext;
use crate::check::finding::{Check, Finding};
use crate::check::printer::Printer;
use crate::config::Settings;
use crate::host::networks::{Depth, SecondLook};
use crate::host::{Host, processes};

/// Prints the findings, and returns whether a Java server listens.
///
/// # Errors
/// A finding cannot be written.
pub async fn run(subject: &mut CheckContext<'_, impl Host>, printer: &mut Printer<impl Write>) -> io::Result<bool> {
    let settings = subject.settings;
    let now = subject.clock.now();
    let mut facts = to_the_service(subject.host.look(now, Depth::LastLook, &settings.scope, &BTreeSet::new()).facts);
    let hidden = || processes::hidden_from_users(subject.proc).filter(|_| settings.scope.containers);
    facts.hidden = facts.hidden.or_else(hidden);
    let watch = Watch { ports: settings.scope.ports.clone(), bedrock_patience: settings.no_server_window };
    let mut evidence = Evidence::default();
    let first = judge(&facts, &evidence, &watch, now);
    evidence.answers.see(now, &first.listeners, |_| false);
    evidence.accepting.clone_from(&first.accepting);
    for asked in ask(subject, &first).await {
        evidence.answers.learn(asked);
    }
    let reading = judge(&facts, &evidence, &watch, now);
    let second = match subject.host.second_look(now, &settings.scope, &BTreeSet::new()) {
        SecondLook::Witness(facts) => SecondLook::Witness(to_the_service(facts)),
        SecondLook::Reread { why, facts } => SecondLook::Reread { why, facts: to_the_service(facts) },
    };
    let seen = Seen { facts: &facts, reading: &reading, evidence: &evidence, now, settings };
    let listens = reading.servers.iter().any(|server| server.edition == Edition::Java);
    printer.tell(seen.listener())?;
    printer.tell(seen.networks())?;
    printer.tell(seen.witness(&second, &watch))?;
    printer.tell(seen.answer())?;
    printer.tell(seen.bedrock())?;
    Ok(listens)
}

/// What the service makes of this: in its user namespace no user but root and its own has a number (`PrivateUsers=` of the unit,
/// systemd.exec(5)), so that it cannot tell the others apart.
fn to_the_service(mut facts: Facts) -> Facts {
    let root_alone = |uid: &mut Option<u32>| *uid = uid.filter(|uid| *uid == 0);
    for sockets in facts.networks.iter_mut().filter_map(|network| network.sockets.as_mut().ok()) {
        sockets.listening.iter_mut().chain(&mut sockets.bedrock).for_each(|row| root_alone(&mut row.uid));
    }
    facts.publishers.iter_mut().for_each(|publisher| root_alone(&mut publisher.uid));
    facts
}

async fn ask(subject: &CheckContext<'_, impl Host>, reading: &Observation) -> Vec<Asked> {
    if !subject.settings.ask.enabled {
        return Vec::new();
    }
    let target = |Question { listener, address, .. }: &Question| {
        let protocol = if listener.edition == Edition::Java { Protocol::Java } else { Protocol::Bedrock };
        AskTarget { id: *listener, protocol, address: *address }
    };
    let (asker, _regular) = Asker::start(subject.clock);
    let over = asker.ask_all(reading.questions.iter().map(target).collect()).await;
    let learned = |asked: ask::AskOutcome<ListenerId>| Asked {
        listener: asked.id,
        at: asked.asked_at,
        answer: asked.answer.ok().map(|ask::Answer { online, names }| Answer { online, names }),
        arrived: asked.arrived,
    };
    over.into_iter().map(learned).collect()
}

struct Seen<'a> {
    facts: &'a Facts,
    reading: &'a Observation,
    evidence: &'a Evidence,
    now: Moment,
    settings: &'a Settings,
}

impl Seen<'_> {
    fn listener(&self) -> Finding {
        let ports = self.settings.scope.in_words();
        let blinds = |unknown: &&Unknown| matches!(unknown, Unknown::Published { .. } | Unknown::Untold { .. });
        if let Some(unknown) = self.reading.unknown.iter().find(blinds) {
            return Finding::failed(Check::Listener, unknown.to_string());
        }
        let host = |network: &&mc_idle_rule::facts::Network| network.id.is_host();
        if let Some(Err(why)) = self.facts.networks.iter().find(host).map(|network| &network.sockets) {
            return Finding::failed(Check::Listener, why.clone());
        }
        let servers = self.reading.servers.iter();
        let server = servers.clone().find(|server| server.edition == Edition::Java).or_else(|| servers.clone().next());
        match server {
            None => {
                let text = format!("nothing listens on {ports}; start the server, or set minecraft.ports");
                Finding::failed(Check::Listener, text)
            }
            Some(server) => {
                let place = place(server.network);
                Finding::ok(
                    Check::Listener,
                    format!("a server listens on {} {place}; {}", server.address, self.peers()),
                )
            }
        }
    }

    /// Shows addresses, unlike the agent: whoever can run this on the host can see them anyway.
    fn peers(&self) -> String {
        let counted = self.reading.connections.iter().filter(|watched| watched.listening);
        let peers: BTreeSet<String> = counted.map(|watched| watched.connection.socket.peer.to_string()).collect();
        if peers.is_empty() {
            return "nobody is connected".to_owned();
        }
        format!("connected: {}", peers.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn networks(&self) -> Finding {
        let blinds = |unknown: &&Unknown| matches!(unknown, Unknown::Hidden { .. } | Unknown::Unreadable { .. });
        if let Some(unknown) = self.reading.unknown.iter().find(blinds) {
            return Finding::failed(Check::Networks, unknown.to_string());
        }
        if let Some(why) = &self.facts.hidden {
            let text = format!("{why}; every server answers, so the answers are used instead");
            return Finding::note(Check::Networks, text);
        }
        let others = self.facts.networks.iter().filter(|network| !network.id.is_host()).count();
        match (self.settings.scope.containers, self.facts.others) {
            (false, true) => Finding::note(
                Check::Networks,
                "there are networks besides the host's, but players there do not count: minecraft.containers = false",
            ),
            (_, false) => Finding::ok(Check::Networks, "the host's network is visible, and there is no other"),
            (true, true) => Finding::ok(Check::Networks, format!("the host's network and {others} more are visible")),
        }
    }

    fn witness(&self, second: &SecondLook, watch: &Watch) -> Finding {
        let (facts, missing) = match second {
            SecondLook::Witness(facts) => (facts, None),
            SecondLook::Reread { why, facts } => (facts, Some(why)),
        };
        let reading = judge(facts, self.evidence, watch, self.now);
        let answers = |server: &ListenerId| self.evidence.answers.answer(server, self.now).is_some();
        match (missing, reading.unknown.first()) {
            (None, None) => Finding::ok(Check::Witness, "netlink shows the host's sockets as well"),
            // The finding about the first look has the reason.
            (None, Some(_)) if !self.reading.unknown.is_empty() => {
                Finding::not_run(Check::Witness, "the first look cannot see everything")
            }
            (None, Some(unknown)) => Finding::failed(Check::Witness, unknown.to_string()),
            (Some(why), _) if self.reading.servers.iter().all(answers) => {
                Finding::note(Check::Witness, format!("{why}; the server's answer is used instead"))
            }
            (Some(why), _) => Finding::failed(
                Check::Witness,
                format!("{why}, and not every server answers: no stop would be possible"),
            ),
        }
    }

    fn answer(&self) -> Finding {
        let servers: Vec<&ListenerId> =
            self.reading.servers.iter().filter(|server| server.edition == Edition::Java).collect();
        if servers.is_empty() {
            return Finding::not_run(Check::Answer, "no server listens");
        }
        if !self.settings.ask.enabled {
            let text = "servers are not asked (minecraft.ask = false): players without a visible connection go unseen";
            return Finding::note(Check::Answer, text);
        }
        match servers.iter().find(|server| self.evidence.answers.answer(server, self.now).is_none()) {
            Some(silent) => Finding::note(
                Check::Answer,
                format!(
                    "the server at {} does not answer status pings, so players without a visible connection (behind a \
                     tunnel) would be missed; set enable-status=true in its server.properties",
                    silent.address
                ),
            ),
            None => Finding::ok(Check::Answer, self.online(Edition::Java)),
        }
    }

    fn bedrock(&self) -> Finding {
        let bound: Vec<&ListenerId> =
            self.reading.listeners.iter().filter(|listener| listener.edition == Edition::Bedrock).collect();
        if bound.is_empty() {
            return Finding::ok(Check::Bedrock, "nothing is bound to the ports in minecraft.bedrock_ports");
        }
        match bound.iter().find(|listener| self.evidence.answers.answer(listener, self.now).is_none()) {
            Some(silent) => Finding::failed(
                Check::Bedrock,
                format!(
                    "{} is bound, but {}: players there cannot be seen",
                    silent.address,
                    if self.settings.ask.enabled { "does not answer" } else { "is not asked (minecraft.ask = false)" }
                ),
            ),
            None => Finding::ok(Check::Bedrock, self.online(Edition::Bedrock)),
        }
    }

    fn online(&self, edition: Edition) -> String {
        let of_it = self.reading.servers.iter().filter(|server| server.edition == edition);
        let answers: Vec<&Answer> = of_it.filter_map(|it| self.evidence.answers.answer(it, self.now)).collect();
        let names: Vec<&str> = answers.iter().flat_map(|answer| &answer.names).map(String::as_str).collect();
        let online: Vec<String> = answers.iter().map(|answer| answer.online.to_string()).collect();
        let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        format!("{} online{names}", online.join(" and "))
    }
}

fn place(network: NetworkId) -> &'static str {
    if network.is_host() { "on the host" } else { "in a container or another network namespace" }
}
