//! A rule that is given one sample every interval, and the simplest of machines for it: a host with one server, nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use mc_idle_rule::backoff::Jitter;
use mc_idle_rule::clocks::Windows;
use mc_idle_rule::facts::{ConnectionRow, Listening, Sockets};
use mc_idle_rule::rule::{AbortReason, StopError};
use mc_idle_rule::{
    Action, Alarm, Answer, Asked, AttemptId, Edition, Efs, Facts, ListenerId, Moment, NetworkId, Patience, Rule,
    RuleSettings, Socket, State, Witness,
};

pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
pub(crate) const NO_JITTER: fn() -> Jitter = || Jitter::new(0.0);

/// Short windows, and a patience with connections that no test outlives by accident.
pub(crate) fn rule_settings() -> RuleSettings {
    RuleSettings {
        windows: Windows { idle: Duration::from_mins(1), no_server: Duration::from_mins(2) },
        interval: INTERVAL,
        min_connection: Duration::from_secs(20),
        joining_patience: Duration::from_hours(24),
        efs_patience: Patience::AtMost(Duration::from_secs(40)),
        ports: [25565].into(),
    }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The server of the simplest machine.
pub(crate) fn server() -> ListenerId {
    ListenerId { network: NetworkId::HOST, edition: Edition::Java, address: address("0.0.0.0:25565") }
}

pub(crate) fn listening(text: &str) -> Listening {
    Listening { address: address(text), uid: Some(1000), control_group: None }
}

/// A connection to the host from an address of its own; inode 0 is not accepted.
pub(crate) fn socket(peer: u8, inode: u64) -> Socket {
    let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, peer)), 40000 + u16::from(peer));
    Socket { network: NetworkId::HOST, local: address("10.0.0.5:25565"), peer: client, inode: NonZeroU64::new(inode) }
}

pub(crate) fn row(socket: Socket) -> ConnectionRow {
    ConnectionRow { socket, received: None }
}

pub(crate) fn empty() -> Facts {
    with(&[])
}

pub(crate) fn no_server() -> Facts {
    Facts::of_host(Sockets::default())
}

/// Connections by the number of their peer and their inode.
pub(crate) fn with(sockets: &[(u8, u64)]) -> Facts {
    showing(sockets.iter().map(|(peer, inode)| row(socket(*peer, *inode))).collect())
}

pub(crate) fn showing(connections: Vec<ConnectionRow>) -> Facts {
    Facts::of_host(Sockets { listening: vec![listening("0.0.0.0:25565")], connections, ..Sockets::default() })
}

pub(crate) fn unknown() -> Facts {
    Facts::unreadable("the table is cut".to_owned())
}

pub(crate) fn stop_error(permanent: bool) -> StopError {
    StopError { permanent, text: "no".to_owned() }
}

pub(crate) struct Run {
    pub(crate) rule: Rule,
    pub(crate) now: Moment,
    /// Told by the samples so far.
    pub(crate) alarms: Vec<Alarm>,
}

impl Run {
    pub(crate) fn new(rule_settings: RuleSettings) -> Self {
        Run { rule: Rule::new(rule_settings), now: Moment(Duration::from_secs(1000)), alarms: Vec::new() }
    }

    pub(crate) fn sample(&mut self, facts: &Facts, efs: Efs) -> Vec<Action> {
        self.now = self.now.plus(INTERVAL);
        let actions = self.rule.observe(self.now, facts, efs);
        self.alarms.extend(actions.iter().filter_map(|action| match action {
            Action::Alarm(alarm) => Some(alarm.clone()),
            Action::Prepare(_) => None,
        }));
        actions
    }

    /// One sample of a machine that does without EFS; returns the ticket if a stop is to be prepared.
    pub(crate) fn see(&mut self, facts: &Facts) -> Option<AttemptId> {
        self.sample(facts, Efs::Off).into_iter().find_map(|action| match action {
            Action::Prepare(attempt) => Some(attempt),
            Action::Alarm(_) => None,
        })
    }

    /// The same for as long as `lasting`, or until a stop is to be prepared.
    pub(crate) fn see_for(&mut self, lasting: Duration, facts: &Facts) -> Option<AttemptId> {
        let until = self.now.plus(lasting);
        while self.now < until {
            if let Some(attempt) = self.see(facts) {
                return Some(attempt);
            }
        }
        None
    }

    /// Samples until the rule asks for a stop; `None` if it does not within `samples`.
    pub(crate) fn until_prepared(&mut self, samples: usize, facts: &Facts, efs: Efs) -> Option<AttemptId> {
        (0..samples).find_map(|_| {
            self.sample(facts, efs).into_iter().find_map(|action| match action {
                Action::Prepare(attempt) => Some(attempt),
                Action::Alarm(_) => None,
            })
        })
    }

    /// The last look, with nothing asked.
    pub(crate) fn look(&mut self, attempt: AttemptId, own: &Facts, witness: &Facts) -> Result<(), AbortReason> {
        self.look_after(attempt, own, Witness::Second(witness), Vec::new())
    }

    /// The last look, with what the servers have said in the preparation.
    pub(crate) fn look_after(
        &mut self,
        attempt: AttemptId,
        own: &Facts,
        witness: Witness<'_>,
        fresh: Vec<Asked>,
    ) -> Result<(), AbortReason> {
        let leave = self.rule.last_look(attempt, self.now, own, witness, fresh, NO_JITTER());
        leave.map(|leave| assert_eq!(leave.attempt(), attempt))
    }

    /// What a question put to `listener` now leads to; `None` is no answer.
    pub(crate) fn asked(&self, listener: ListenerId, online: Option<u32>) -> Asked {
        let answer = online.map(|online| Answer { online, names: Vec::new() });
        Asked { listener, at: self.now, answer, arrived: 0 }
    }

    /// `listener` is asked now, and says that so many are online, or nothing.
    pub(crate) fn hear(&mut self, listener: ListenerId, online: Option<u32>) {
        let asked = self.asked(listener, online);
        self.rule.learn(asked);
    }

    /// Samples for as long as `lasting`, and an answer of `listener` each minute.
    pub(crate) fn see_and_hear(
        &mut self,
        lasting: Duration,
        facts: &Facts,
        listener: ListenerId,
        online: Option<u32>,
    ) -> Option<AttemptId> {
        let until = self.now.plus(lasting);
        while self.now < until {
            let minute = Duration::from_mins(1).min(until.since(self.now));
            if let Some(attempt) = self.see_for(minute, facts) {
                return Some(attempt);
            }
            self.hear(listener, online);
        }
        None
    }

    /// The agent ends, and another one goes on after `down` from what this one knew.
    pub(crate) fn restart(&mut self, down: Duration) {
        self.now = self.now.plus(down);
        self.rule = Rule::remembering(rule_settings(), self.rule.memory(), self.now);
    }

    pub(crate) fn state(&self) -> State {
        self.rule.view(self.now).state
    }

    /// The seconds on the clock that will be over first.
    pub(crate) fn elapsed(&self) -> u64 {
        self.rule.view(self.now).running.map_or(0, |running| running.elapsed.as_secs())
    }
}
