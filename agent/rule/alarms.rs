//! Conditions that an operator must be told about, reported once each time they arise.

use std::collections::BTreeSet;
use std::time::Duration;

use super::answers::{Answers, ListenerId, Testimony};
use super::facts::Edition;
use super::moment::Moment;
use super::observation::Observation;
use super::tracker::{ConnectionClass, Tracked};

/// Being blind for this long raises an alarm.
pub const BLIND: Duration = Duration::from_mins(5);
/// So does a server whose answers have contradicted its connections for this long.
pub const DISAGREEMENT: Duration = Duration::from_hours(4);

/// Something that an operator has to look into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// For [`BLIND`] not everything could be seen, and no player was.
    Blind,
    /// A server that said that somebody is online has been silent for so long that its answer no longer counts, or a
    /// Bedrock port has never answered.
    GivenUp(ListenerId),
    /// For [`DISAGREEMENT`] a server has said that somebody is online, while no connection showed anybody.
    OnlineUnseen,
    /// For [`DISAGREEMENT`] a player was connected to a server that said that nobody is online.
    PlayersDenied,
    /// A due stop has waited for connections as long as it may, and no server says that nobody is online.
    JoiningUnanswered,
    /// There is no second witness, and nothing can replace it.
    NoWitness(String),
}

/// The alarms raised so far, and since when the conditions that may raise one have lasted.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: BTreeSet<Alarm>,
    online_unseen: Option<Moment>,
    players_denied: Option<Moment>,
}

impl Alarms {
    /// Returns the alarms that are new at `now`.
    pub fn observe<'a>(
        &mut self,
        now: Moment,
        observation: &Observation,
        answers: &Answers,
        connections: impl Iterator<Item = Tracked<'a>>,
        blind_for: Option<Duration>,
        joining_unanswered: bool,
    ) -> Vec<Alarm> {
        let (mut connected, mut denied) = (false, false);
        for connection in connections {
            connected |= matches!(connection.class, ConnectionClass::Player | ConnectionClass::Young);
            let nobody = |listener| answers.word(listener, now) == Some(Testimony::Nobody);
            denied |= connection.class == ConnectionClass::Player
                && !connection.listeners.is_empty()
                && connection.listeners.iter().all(nobody);
        }
        // Bedrock players (UDP) have no connection row.
        let tcp = |(listener, online): (&ListenerId, u32)| listener.edition == Edition::Java && online > 0;
        let unseen = !connected && answers.online(now).any(tcp);
        self.online_unseen = unseen.then(|| self.online_unseen.unwrap_or(now));
        self.players_denied = denied.then(|| self.players_denied.unwrap_or(now));
        let lasts = |since: Option<Moment>| since.is_some_and(|since| now.since(since) >= DISAGREEMENT);
        let mut on: BTreeSet<Alarm> = observation.given_up.iter().map(|listener| Alarm::GivenUp(*listener)).collect();
        on.extend(blind_for.is_some_and(|lasting| lasting >= BLIND).then_some(Alarm::Blind));
        on.extend(lasts(self.online_unseen).then_some(Alarm::OnlineUnseen));
        on.extend(lasts(self.players_denied).then_some(Alarm::PlayersDenied));
        on.extend(joining_unanswered.then_some(Alarm::JoiningUnanswered));
        let keeps = |alarm: &Alarm| matches!(alarm, Alarm::NoWitness(_));
        self.raised.retain(|alarm| keeps(alarm) || on.contains(alarm));
        on.into_iter().filter(|alarm| self.raised.insert(alarm.clone())).collect()
    }

    /// Raises an alarm that no sample shows; returns whether it is new.
    pub fn raise(&mut self, alarm: Alarm) -> bool {
        self.raised.insert(alarm)
    }
}
