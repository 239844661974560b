//! What the servers answered when asked who is online, listener by listener.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::facts::{Edition, NetworkId};
use super::moment::Moment;

/// How long the silence of a listener that used to answer counts as unknown; after that it is disregarded.
pub const SILENCE_PATIENCE: Duration = Duration::from_mins(30);
/// The answers of a listener are forgotten once it has been gone for this long.
pub const GONE: Duration = Duration::from_mins(2);
/// Answers up to this old can make a connection a ghost: 10 minutes, plus one because a server that is asked every
/// 2 minutes does not always answer five times in 10.
pub const RECENT: Duration = Duration::from_mins(11);
/// An answer that has not been followed by another question for this long counts as silence: listeners are asked at
/// least every 2 minutes.
const STALE: Duration = Duration::from_mins(5);
/// At most this many answers are kept per listener: one every 10 s for [`RECENT`].
const KEPT: usize = 70;

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId {
    pub network: NetworkId,
    pub edition: Edition,
    /// The bound address and port; the address may be unspecified.
    pub address: SocketAddr,
}

/// Who is online, according to the server itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub online: u32,
    /// As far as the server names them.
    pub names: Vec<String>,
}

/// The result of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub listener: ListenerId,
    /// When the question was asked.
    pub at: Moment,
    /// `None`: no answer, which is not the same as zero.
    pub answer: Option<Answer>,
    /// Bytes that the question has certainly brought to the listener's network.
    pub arrived: u64,
}

/// What a listener currently says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Testimony {
    /// More than 0.
    Online(u32),
    Nobody,
    /// It answered before, but not when it was last asked.
    Silent {
        /// Its last answer.
        online: u32,
        /// How long it has not answered.
        lasting: Duration,
    },
    Never {
        /// How long the listener has existed.
        lasting: Duration,
    },
}

#[derive(Debug)]
struct History {
    appeared: Moment,
    present: Moment,
    last: Option<(Moment, Answer)>,
    /// When the first question after `last` that got no answer was asked.
    silent_since: Option<Moment>,
    /// Whether somebody was online, for each answer of the last [`RECENT`].
    recent: VecDeque<(Moment, bool)>,
}

/// All answers of the servers that still matter.
#[derive(Debug, Default)]
pub struct Answers {
    histories: BTreeMap<ListenerId, History>,
}

impl Answers {
    /// Starts with the answers from before a restart of the agent: how many were online, and when that was said.
    #[must_use]
    pub fn remembering(said: Vec<(ListenerId, u32, Moment)>, now: Moment) -> Self {
        let known = said.into_iter().filter(|(.., at)| *at <= now);
        let history = |online, at| History {
            appeared: at,
            present: now,
            last: Some((at, Answer { online, names: Vec::new() })),
            silent_since: None,
            recent: VecDeque::new(),
        };
        Answers { histories: known.map(|(listener, online, at)| (listener, history(online, at))).collect() }
    }

    /// The answers to pass to [`Answers::remembering`].
    #[must_use]
    pub fn known(&self) -> Vec<(ListenerId, u32, Moment)> {
        let known = |(listener, history): (&ListenerId, &History)| {
            history.last.as_ref().map(|(at, answer)| (*listener, answer.online, *at))
        };
        self.histories.iter().filter_map(known).collect()
    }

    /// Records which listeners exist, and forgets those that have been gone for [`GONE`]. Listeners for which `unknown`
    /// holds could not be checked and may still exist.
    pub fn see(&mut self, now: Moment, there: &BTreeSet<ListenerId>, unknown: impl Fn(&ListenerId) -> bool) {
        for listener in there {
            let new =
                || History { appeared: now, present: now, last: None, silent_since: None, recent: VecDeque::new() };
            self.histories.entry(*listener).or_insert_with(new).present = now;
        }
        self.histories.retain(|listener, history| {
            if unknown(listener) {
                history.present = now;
            }
            now.since(history.present) < GONE
        });
    }

    /// Records the result of a question. Results for listeners that do not exist are dropped, and so are results of
    /// questions older than the last answered one.
    pub fn learn(&mut self, asked: Asked) {
        let Some(history) = self.histories.get_mut(&asked.listener) else { return };
        // A late answer or timeout, after the answer to a later question.
        if history.last.as_ref().is_some_and(|(at, _)| asked.at < *at) {
            return;
        }
        match asked.answer {
            Some(answer) => {
                history.silent_since = None;
                while history.recent.len() >= KEPT
                    || history.recent.front().is_some_and(|(at, _)| asked.at.since(*at) >= RECENT)
                {
                    history.recent.pop_front();
                }
                history.recent.push_back((asked.at, answer.online > 0));
                history.last = Some((asked.at, answer));
            }
            None => history.silent_since = Some(history.silent_since.unwrap_or(asked.at)),
        }
    }

    /// Drops all answers, because servers are no longer asked.
    pub fn forget(&mut self) {
        self.histories.clear();
    }

    /// What `listener` says at `now`; `None` if it has not been seen.
    #[must_use]
    pub fn word(&self, listener: &ListenerId, now: Moment) -> Option<Testimony> {
        let history = self.histories.get(listener)?;
        let Some((at, answer)) = &history.last else {
            return Some(Testimony::Never { lasting: now.since(history.appeared) });
        };
        let stale = (now.since(*at) >= STALE).then_some(*at);
        Some(match (history.silent_since.or(stale), answer.online) {
            (Some(since), online) => Testimony::Silent { online, lasting: now.since(since.min(at.plus(STALE))) },
            (None, 0) => Testimony::Nobody,
            (None, online) => Testimony::Online(online),
        })
    }

    /// Whether `listener` has ever answered, so that questions are known to reach it.
    #[must_use]
    pub fn has_answered(&self, listener: &ListenerId) -> bool {
        self.histories.get(listener).is_some_and(|history| history.last.is_some())
    }

    /// The last answer of `listener`, unless it has fallen silent since.
    #[must_use]
    pub fn answer(&self, listener: &ListenerId, now: Moment) -> Option<&Answer> {
        let answered = matches!(self.word(listener, now), Some(Testimony::Online(_) | Testimony::Nobody));
        answered.then(|| self.histories.get(listener)?.last.as_ref().map(|(_, answer)| answer)).flatten()
    }

    /// How many are online, according to each listener that answers.
    pub fn online(&self, now: Moment) -> impl Iterator<Item = (&ListenerId, u32)> {
        self.histories.keys().filter_map(move |listener| Some((listener, self.answer(listener, now)?.online)))
    }

    /// Whether `listener` gave at least `least` answers in the last [`RECENT`], and all of them were that nobody is
    /// online.
    #[must_use]
    pub fn said_nobody(&self, listener: &ListenerId, now: Moment, least: usize) -> bool {
        let Some(history) = self.histories.get(listener) else { return false };
        let mut recent = history.recent.iter().filter(|(at, _)| now.since(*at) < RECENT);
        recent.clone().count() >= least && recent.all(|(_, somebody)| !somebody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: fn() -> ListenerId =
        || ListenerId { network: NetworkId::HOST, edition: Edition::Java, address: "0.0.0.0:25565".parse().unwrap() };

    fn at(minutes: f64) -> Moment {
        Moment(Duration::from_secs_f64(minutes * 60.0))
    }

    fn asked(minutes: f64, online: Option<u32>) -> Asked {
        let answer = online.map(|online| Answer { online, names: Vec::new() });
        Asked { listener: SERVER(), at: at(minutes), answer, arrived: 0 }
    }

    fn answers(history: &[(f64, Option<u32>)]) -> Answers {
        let mut answers = Answers::default();
        for (minutes, online) in history {
            answers.see(at(*minutes), &[SERVER()].into(), |_| false);
            answers.learn(asked(*minutes, *online));
        }
        answers
    }

    #[test]
    fn an_answer_holds_until_the_next_question_is_over() {
        let mut answers = answers(&[(0.0, Some(2))]);
        assert_eq!(answers.word(&SERVER(), at(1.0)), Some(Testimony::Online(2)));
        answers.learn(asked(1.0, None));
        let lasting = Duration::from_mins(2);
        assert_eq!(answers.word(&SERVER(), at(3.0)), Some(Testimony::Silent { online: 2, lasting }));
        assert_eq!(answers.answer(&SERVER(), at(3.0)), None);
        answers.learn(asked(4.0, Some(0)));
        assert_eq!(answers.word(&SERVER(), at(4.0)), Some(Testimony::Nobody));
    }

    #[test]
    fn no_answer_is_not_an_answer_of_zero() {
        let answers = answers(&[(0.0, None), (1.0, None)]);
        assert_eq!(answers.word(&SERVER(), at(1.0)), Some(Testimony::Never { lasting: Duration::from_mins(1) }));
        assert!(!answers.said_nobody(&SERVER(), at(1.0), 0) || answers.answer(&SERVER(), at(1.0)).is_none());
    }

    #[test]
    fn an_answer_that_nobody_asks_for_again_grows_stale() {
        let answers = answers(&[(0.0, Some(2))]);
        assert_eq!(answers.word(&SERVER(), at(4.9)), Some(Testimony::Online(2)));
        assert!(matches!(answers.word(&SERVER(), at(6.0)), Some(Testimony::Silent { online: 2, .. })));
    }

    #[test]
    fn a_listener_that_has_gone_for_two_minutes_takes_its_answers_along() {
        let mut answers = answers(&[(0.0, Some(2))]);
        answers.see(at(1.9), &BTreeSet::new(), |_| false);
        assert!(answers.word(&SERVER(), at(1.9)).is_some());
        answers.see(at(2.5), &BTreeSet::new(), |_| true);
        assert!(answers.word(&SERVER(), at(2.5)).is_some(), "its network cannot be read");
        answers.see(at(4.5), &BTreeSet::new(), |_| false);
        assert_eq!(answers.word(&SERVER(), at(4.5)), None);
    }

    #[test]
    fn one_answer_above_zero_in_ten_minutes_speaks_for_everybody() {
        let zeros: Vec<_> = (0_u8..20).map(|minute| (f64::from(minute), Some(0))).collect();
        let mut answers = answers(&zeros);
        assert!(answers.said_nobody(&SERVER(), at(19.0), 5));
        answers.learn(asked(19.5, Some(1)));
        answers.learn(asked(20.0, Some(0)));
        assert!(!answers.said_nobody(&SERVER(), at(29.4), 1));
        assert!(!answers.said_nobody(&SERVER(), at(29.6), 2), "there was one");
    }
}
