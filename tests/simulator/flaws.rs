//! The real core, or one that is broken on purpose: to see whether the simulator finds it. Most are the bugs that the agent
//! once had, put back between the world and the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mc_idle_rule::answers::Answer;
use mc_idle_rule::backoff::Jitter;
use mc_idle_rule::facts::{ConnectionRow, Proxy, Socket, Sockets};
use mc_idle_rule::rule::{AbortReason, StopError};
use mc_idle_rule::{
    Action, Asked, AttemptId, Edition, Efs, Facts, Memory, Moment, Question, Rule, RuleSettings, StopPermit, View,
    Witness,
};

use super::oracle::Promise;
use super::settings::Settings;
use super::site::Site;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The last look does not see connections.
    BlindLastLook,
    /// A table that cannot be read is an empty one.
    UnknownIsZero,
    /// Time that was not observed counts.
    GapInFull,
    /// The windows are two minutes longer than they are.
    LateWindow,
    /// All networks are judged as one: while any listens, none that cannot be read matters.
    OneSet,
    /// Only the host's own network is looked at.
    HostOnly,
    /// A published port is taken to be the same inside.
    InnerPortIgnored,
    /// Whoever's listener cannot be told, it is a server's.
    UntoldIsServer,
    /// Any docker-proxy is believed, whoever's process it is.
    ImpostorBelieved,
    /// A server that does not answer has nobody online.
    SilenceIsZero,
    /// The same for Bedrock servers only.
    BedrockSilenceIsZero,
    /// What one server says is taken for every server's word.
    AnswerOfAnother,
    /// What is said in the preparation of a stop is not listened to.
    FreshIgnored,
    /// Nothing bounds a server that comes and goes.
    NoThirdClock,
    /// Young connections hold a stop up for ever.
    PatienceWithoutEnd,
    /// Who has just tried to join is not given two minutes.
    FailedJoinsForgotten,
    /// A dead connection is a player's for ever.
    NoGhost,
    /// Whoever's server says that nobody is online is a ghost, whatever comes in.
    GhostByAnswersAlone,
    /// The request opens a connection of its own, which takes its time.
    OwnConnection,
}

impl Flaw {
    pub(crate) const ALL: [Flaw; 19] = [
        Flaw::BlindLastLook,
        Flaw::UnknownIsZero,
        Flaw::GapInFull,
        Flaw::LateWindow,
        Flaw::OneSet,
        Flaw::HostOnly,
        Flaw::InnerPortIgnored,
        Flaw::UntoldIsServer,
        Flaw::ImpostorBelieved,
        Flaw::SilenceIsZero,
        Flaw::BedrockSilenceIsZero,
        Flaw::AnswerOfAnother,
        Flaw::FreshIgnored,
        Flaw::NoThirdClock,
        Flaw::PatienceWithoutEnd,
        Flaw::FailedJoinsForgotten,
        Flaw::NoGhost,
        Flaw::GhostByAnswersAlone,
        Flaw::OwnConnection,
    ];
}

impl Flaw {
    /// The promises that it breaks.
    pub(crate) fn breaks(self) -> &'static [Promise] {
        match self {
            Flaw::BlindLastLook
            | Flaw::OwnConnection
            | Flaw::SilenceIsZero
            | Flaw::BedrockSilenceIsZero
            | Flaw::UntoldIsServer => &[Promise::Nobody],
            Flaw::UnknownIsZero | Flaw::OneSet | Flaw::HostOnly | Flaw::InnerPortIgnored | Flaw::GapInFull => {
                &[Promise::Nobody, Promise::NotBefore]
            }
            Flaw::FailedJoinsForgotten => &[Promise::Nobody],
            Flaw::AnswerOfAnother | Flaw::FreshIgnored | Flaw::GhostByAnswersAlone => {
                &[Promise::Nobody, Promise::NotBefore, Promise::Bound]
            }
            Flaw::LateWindow
            | Flaw::NoThirdClock
            | Flaw::PatienceWithoutEnd
            | Flaw::NoGhost
            | Flaw::ImpostorBelieved => &[Promise::Bound],
        }
    }
}

#[derive(Debug)]
pub(crate) struct Core {
    rule: Rule,
    rule_settings: RuleSettings,
    flaw: Option<Flaw>,
    last: Option<Moment>,
    /// The last sample showed a listener.
    listened: bool,
    /// When each connection was first seen.
    met: BTreeMap<Socket, Moment>,
    /// Some server has just said that nobody is online.
    nobody: bool,
}

fn rule_settings(settings: &Settings, site: Site, flaw: Option<Flaw>) -> RuleSettings {
    let mut rule_settings = settings.rule_settings(site);
    match flaw {
        Some(Flaw::LateWindow) => {
            rule_settings.windows.idle += Duration::from_mins(2);
            rule_settings.windows.no_server += Duration::from_mins(2);
        }
        Some(Flaw::PatienceWithoutEnd) => rule_settings.joining_patience = Duration::from_hours(10_000),
        _ => {}
    }
    rule_settings
}

impl Core {
    pub(crate) fn new(settings: &Settings, site: Site, flaw: Option<Flaw>) -> Self {
        let rule_settings = rule_settings(settings, site, flaw);
        Core {
            rule: Rule::new(rule_settings.clone()),
            rule_settings,
            flaw,
            last: None,
            listened: false,
            met: BTreeMap::new(),
            nobody: false,
        }
    }

    pub(crate) fn remembering(
        settings: &Settings,
        site: Site,
        flaw: Option<Flaw>,
        memory: Memory,
        now: Moment,
    ) -> Self {
        let rule_settings = rule_settings(settings, site, flaw);
        let rule = Rule::remembering(rule_settings.clone(), memory, now);
        Core { rule, rule_settings, flaw, last: None, listened: false, met: BTreeMap::new(), nobody: false }
    }

    pub(crate) fn observe(&mut self, now: Moment, facts: &Facts, efs: Efs) -> Vec<Action> {
        let Some(flaw) = self.flaw else { return self.rule.observe(now, facts, efs) };
        self.forget_what_a_flaw_forgets(flaw, facts, now);
        let facts = self.distorted(flaw, facts, now);
        if flaw != Flaw::GapInFull {
            return self.rule.observe(now, &facts, efs);
        }
        let mut actions = Vec::new();
        let last = self.last.unwrap_or(now);
        let mut at = last.plus(self.rule_settings.interval);
        while at < now && now.since(last) > self.rule_settings.interval * 2 {
            actions.extend(self.rule.observe(at, &facts, efs));
            at = at.plus(self.rule_settings.interval);
        }
        self.last = Some(now);
        actions.extend(self.rule.observe(now, &facts, efs));
        actions
    }

    pub(crate) fn last_look(
        &mut self,
        attempt: AttemptId,
        now: Moment,
        own: &Facts,
        witness: Witness<'_>,
        fresh: Vec<Asked>,
        jitter: Jitter,
    ) -> Result<StopPermit, AbortReason> {
        let Some(flaw) = self.flaw else { return self.rule.last_look(attempt, now, own, witness, fresh, jitter) };
        let nobody =
            |facts: &Facts| if flaw == Flaw::BlindLastLook { without_connections(facts) } else { facts.clone() };
        let own = nobody(&self.distorted(flaw, own, now));
        let fresh = match flaw {
            Flaw::FreshIgnored => Vec::new(),
            _ => fresh.into_iter().flat_map(|asked| self.heard(flaw, asked)).collect(),
        };
        match witness {
            Witness::Second(facts) => {
                let facts = nobody(&self.distorted(flaw, facts, now));
                self.rule.last_look(attempt, now, &own, Witness::Second(&facts), fresh, jitter)
            }
            Witness::Reread { why, facts } => {
                let facts = nobody(&self.distorted(flaw, facts, now));
                self.rule.last_look(attempt, now, &own, Witness::Reread { why, facts: &facts }, fresh, jitter)
            }
        }
    }

    pub(crate) fn learn(&mut self, asked: Asked) {
        let Some(flaw) = self.flaw else { return self.rule.learn(asked) };
        self.nobody = asked.answer.as_ref().is_some_and(|answer| answer.online == 0);
        self.heard(flaw, asked).into_iter().for_each(|asked| self.rule.learn(asked));
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.rule.questions()
    }

    pub(crate) fn unprepared(&mut self, attempt: AttemptId, now: Moment, stop_error: StopError, jitter: Jitter) {
        self.rule.unprepared(attempt, now, stop_error, jitter);
    }

    pub(crate) fn answered(&mut self, attempt: AttemptId, now: Moment, answer: Result<(), StopError>, jitter: Jitter) {
        self.rule.answered(attempt, now, answer, jitter);
    }

    pub(crate) fn try_again_at(&mut self, now: Moment) {
        self.rule.try_again_at(now);
    }

    pub(crate) fn reclaim(&mut self, now: Moment, noticed: bool) {
        self.rule.reclaim(now, noticed);
    }

    pub(crate) fn hold(&mut self, held: bool) {
        self.rule.hold(held);
    }

    pub(crate) fn set(&mut self, settings: &Settings, site: Site) {
        self.rule_settings = rule_settings(settings, site, self.flaw);
        self.rule.set_settings(self.rule_settings.clone());
    }

    pub(crate) fn start_afresh(&mut self) {
        self.rule.start_afresh();
        self.last = None;
    }

    pub(crate) fn memory(&self) -> Memory {
        self.rule.memory()
    }

    pub(crate) fn view(&self, now: Moment) -> View {
        self.rule.view(now)
    }

    /// What a broken agent makes of facts.
    fn distorted(&self, flaw: Flaw, facts: &Facts, now: Moment) -> Facts {
        let mut facts = facts.clone();
        match flaw {
            Flaw::UnknownIsZero => {
                for network in facts.networks.iter_mut().filter(|network| network.sockets.is_err()) {
                    network.sockets = Ok(Sockets::default());
                }
            }
            Flaw::OneSet => {
                let listens = |sockets: &Sockets| !sockets.listening.is_empty();
                if facts.networks.iter().any(|network| network.sockets.as_ref().is_ok_and(listens)) {
                    facts.networks.retain(|network| network.sockets.is_ok());
                }
            }
            Flaw::HostOnly => {
                facts.networks.truncate(1);
                facts.others = false;
                facts.publishers.clear();
            }
            Flaw::InnerPortIgnored => {
                for publication in facts.publishers.iter_mut().filter_map(|publisher| publisher.publication.as_mut()) {
                    let port = publication.from.port();
                    publication.to.set_port(port);
                }
            }
            Flaw::UntoldIsServer => facts.publishers.retain(|publisher| publisher.proxy == Proxy::DockerProxy),
            Flaw::ImpostorBelieved => {
                let uid = facts.networks.first().and_then(|host| host.sockets.as_ref().ok()?.listening.first()?.uid);
                for publisher in facts.publishers.iter_mut().filter(|publisher| publisher.publication.is_some()) {
                    publisher.uid = uid;
                }
            }
            Flaw::FailedJoinsForgotten => {
                let all = facts.networks.iter_mut().flat_map(|network| &mut network.sockets);
                for ConnectionRow { socket, .. } in all.flat_map(|sockets| &mut sockets.connections) {
                    let age = self.met.get(socket).map_or(Duration::ZERO, |met| now.since(*met));
                    // Nobody who tries for less than a minute has been there for 35 s.
                    let looks = age.min(Duration::from_secs(40)).as_secs() / 20;
                    socket.inode = socket.inode.map(|inode| inode.saturating_add(1_000_000 * looks));
                }
            }
            Flaw::NoGhost | Flaw::GhostByAnswersAlone => {
                for network in &mut facts.networks {
                    network.received = None;
                    for connection in network.sockets.iter_mut().flat_map(|sockets| &mut sockets.connections) {
                        let counted = if self.nobody { 0 } else { now.0.as_secs() };
                        connection.received = (flaw == Flaw::GhostByAnswersAlone).then_some(counted);
                    }
                }
            }
            _ => {}
        }
        facts
    }

    /// What a broken agent hears of an answer.
    fn heard(&self, flaw: Flaw, asked: Asked) -> Vec<Asked> {
        let nobody = || Some(Answer::default());
        match flaw {
            Flaw::SilenceIsZero => vec![Asked { answer: asked.answer.or_else(nobody), ..asked }],
            Flaw::BedrockSilenceIsZero if asked.listener.edition == Edition::Bedrock => {
                vec![Asked { answer: asked.answer.or_else(nobody), ..asked }]
            }
            Flaw::AnswerOfAnother if asked.answer.is_some() => {
                let all = self.rule.questions().into_iter();
                all.map(|question| Asked { listener: question.listener, ..asked.clone() }).collect()
            }
            _ => vec![asked],
        }
    }

    /// Has a new rule go on from a memory in which something is missing.
    fn forget_what_a_flaw_forgets(&mut self, flaw: Flaw, facts: &Facts, now: Moment) {
        let sockets = || facts.networks.iter().flat_map(|network| &network.sockets);
        let listens = sockets().any(|sockets| !sockets.listening.is_empty());
        let listened = std::mem::replace(&mut self.listened, listens);
        if flaw == Flaw::FailedJoinsForgotten {
            let there: BTreeSet<Socket> =
                sockets().flat_map(|sockets| &sockets.connections).map(|connection| connection.socket).collect();
            self.met.retain(|socket, _| there.contains(socket));
            for socket in there {
                self.met.entry(socket).or_insert(now);
            }
        }
        let memory = match flaw {
            Flaw::NoThirdClock if listened != listens => Memory { no_player: Duration::ZERO, ..self.rule.memory() },
            _ => return,
        };
        self.rule = Rule::remembering(self.rule_settings.clone(), memory, now);
    }
}

fn without_connections(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    for sockets in facts.networks.iter_mut().flat_map(|network| &mut network.sockets) {
        sockets.connections.clear();
    }
    facts
}
