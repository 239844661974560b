//! What the metrics tell.

use std::time::Duration;

use jiff::Timestamp;

use crate::hold::{Hold, Source};
use crate::idle::rule::{CallOff, Refusal};
use crate::idle::window::Running;
use crate::idle::{State, View};

/// How often the agent has tried to stop the instance since its start, by what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// EC2 has agreed.
    pub accepted: u64,
    /// It was refused for a reason that does not pass by itself.
    pub refused: u64,
    /// It failed for a reason that may pass: EC2 was not to be reached, say.
    pub failed: u64,
    /// It was given up before the request: the last look showed somebody, or nothing at all.
    pub called_off: u64,
}

impl Attempts {
    /// Counts what EC2, or whatever stood in the way to it, has answered.
    pub fn answered(&mut self, answer: Result<(), &Refusal>) {
        match answer {
            Ok(()) => self.accepted += 1,
            Err(Refusal { lasting: true, .. }) => self.refused += 1,
            Err(Refusal { lasting: false, .. }) => self.failed += 1,
        }
    }

    /// Counts an attempt that the last look has ended.
    pub fn called_off(&mut self, call_off: &CallOff) {
        match call_off {
            CallOff::WitnessBlind(_) => self.failed += 1,
            CallOff::Superseded | CallOff::Connection | CallOff::Blind | CallOff::WitnessConnection => {
                self.called_off += 1;
            }
        }
    }
}

/// What is so, as long as no clock is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// The word of the state.
    pub state: &'static str,
    /// Players; `None`: unknown.
    pub players: Option<usize>,
    /// Connections too young to count; `None`: unknown.
    pub young: Option<usize>,
    /// The word for the EFS mount; `None`: unknown.
    pub efs: Option<&'static str>,
    /// Where the holds come from; `None`: unknown.
    pub holds: Option<Vec<Source>>,
    /// The attempts to stop.
    pub attempts: Attempts,
    /// Nothing is asked of AWS.
    pub dry_run: bool,
}

/// Everything that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What is so.
    pub what: What,
    /// The clock that runs, and its window.
    pub running: Option<(Running, Duration)>,
    /// When the heartbeat was last written.
    pub heartbeat_written: Option<Timestamp>,
    /// When this is told.
    pub at: Timestamp,
}

impl Facts {
    /// What `view` shows. Once the agent has ended nobody watches, and nothing but that is known.
    #[must_use]
    pub fn new(
        view: &View,
        holds: &[Hold],
        attempts: Attempts,
        dry_run: bool,
        heartbeat_written: Option<Timestamp>,
        at: Timestamp,
    ) -> Self {
        let watched = view.state != State::Ended;
        let counts = view.counts.filter(|_| watched);
        Facts {
            what: What {
                state: view.state.word(),
                players: counts.map(|counts| counts.players),
                young: counts.map(|counts| counts.young),
                efs: watched.then(|| view.efs.word()),
                holds: watched.then(|| holds.iter().map(|hold| hold.source).collect()),
                attempts,
                dry_run,
            },
            running: view.running.zip(view.window).filter(|_| watched),
            heartbeat_written,
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::census::Counts;
    use crate::idle::window::Clock;
    use crate::idle::{Efs, Moment, Patience, Reading, Rule, Seen, Terms};
    use crate::metrics::text::text;

    fn refusal(lasting: bool) -> Refusal {
        Refusal { lasting, text: String::new() }
    }

    #[test]
    fn every_attempt_is_counted_once_by_what_came_of_it() {
        let mut attempts = Attempts::default();
        attempts.answered(Ok(()));
        attempts.answered(Err(&refusal(true)));
        attempts.answered(Err(&refusal(false)));
        attempts.called_off(&CallOff::WitnessBlind(String::new()));
        for call_off in [CallOff::Connection, CallOff::Blind, CallOff::WitnessConnection, CallOff::Superseded] {
            attempts.called_off(&call_off);
        }
        assert_eq!(attempts, Attempts { accepted: 1, refused: 1, failed: 2, called_off: 4 });
    }

    fn rule() -> Rule {
        let (window, second) = (Duration::from_mins(15), Duration::from_secs(1));
        Rule::new(Terms {
            idle_window: window,
            no_server_window: window,
            interval: second,
            min_connection: second,
            efs_patience: Patience::AtMost(window),
        })
    }

    fn page(view: &View) -> String {
        text(&Facts::new(view, &[], Attempts::default(), false, None, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn whoever_cannot_be_seen_is_not_said_to_be_away() {
        let (mut rule, now) = (rule(), Moment(Duration::from_hours(1)));
        let before = page(&rule.view(now));
        assert!(before.contains("{state=\"starting\"} 1") && !before.contains("mc_idle_players"), "{before}");
        rule.observe(now, &Reading::Seen(Seen { listener: true, sockets: Vec::new() }), Efs::Hung);
        let seen = page(&rule.view(now));
        assert!(seen.contains("\nmc_idle_players 0\n") && seen.contains("mc_idle_efs{state=\"hung\"} 1"), "{seen}");
        rule.observe(now, &Reading::Unknown("cannot read it".to_owned()), Efs::Hung);
        let blind = page(&rule.view(now));
        assert!(blind.contains("{state=\"blind\"} 1") && !blind.contains("mc_idle_players"), "{blind}");
        assert!(!blind.contains("mc_idle_young_connections"), "{blind}");
    }

    #[test]
    fn every_state_and_every_efs_has_its_word_among_all_words() {
        let states = [
            State::Starting,
            State::NoServer,
            State::Occupied,
            State::Idle,
            State::Due(crate::idle::Wait::Moment),
            State::Blind { why: String::new(), lasting: Duration::ZERO },
            State::Stopping { accepted: true },
            State::StopFailed { refusal: refusal(true), again_in: Duration::ZERO },
            State::Ended,
        ];
        assert_eq!(states.each_ref().map(State::word), State::WORDS);
        let all = [Efs::Mounted, Efs::Unproven, Efs::Missing, Efs::Hung, Efs::Off].map(Efs::word);
        assert!(all.iter().all(|word| Efs::WORDS.contains(word)));
        for state in states {
            let view = View {
                state,
                counts: Some(Counts { players: 2, young: 1, joining: 0 }),
                running: Some(Running { clock: Clock::Idle, elapsed: Duration::from_millis(2900) }),
                window: Some(Duration::from_mins(15)),
                efs: Efs::Off,
                stop_in: None,
            };
            let page = page(&view);
            assert_eq!(page.matches("mc_idle_state{").count(), 9);
            assert!(page.contains(&format!("mc_idle_state{{state=\"{}\"}} 1\n", view.state.word())), "{page}");
            let watched = view.state != State::Ended;
            assert_eq!(page.contains("\nmc_idle_players 2\n"), watched, "{page}");
            assert_eq!(page.contains("\nmc_idle_clock_seconds{clock=\"idle\"} 2\n"), watched, "{page}");
        }
    }
}
