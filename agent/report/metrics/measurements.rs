//! What the metrics measure.

use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::State;
use mc_idle_rule::clocks::Running;

use crate::holds::Source;
use crate::report::attempts::Attempts;
use crate::report::snapshot::Snapshot;

/// Everything but clocks and times: a change of it is written at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// The state word.
    pub state: &'static str,
    /// `None`: unknown.
    pub players: Option<usize>,
    /// Connections too young to count; `None`: unknown.
    pub young: Option<usize>,
    /// Players online according to the servers; `None`: no server answers.
    pub online: Option<u32>,
    /// The word for the worst EFS mount; `None`: unknown.
    pub efs: Option<&'static str>,
    /// The source of each hold; `None`: unknown.
    pub holds: Option<Vec<Source>>,
    pub attempts: Attempts,
    /// No requests go to AWS.
    pub dry_run: bool,
}

/// All measurements at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurements {
    pub values: Values,
    /// The running clock and its window.
    pub running: Option<(Running, Duration)>,
    /// When a player was last seen; `None`: not since boot.
    pub last_player_at: Option<Timestamp>,
    /// `None`: not yet.
    pub heartbeat_written: Option<Timestamp>,
    pub at: Timestamp,
}

impl Measurements {
    /// The measurements of `snapshot`. After the agent has exited nothing else is known.
    #[must_use]
    pub fn new(snapshot: &Snapshot<'_>) -> Self {
        let Snapshot { view, conditions, .. } = snapshot;
        let watched = view.state != State::Ended;
        let counts = view.counts.filter(|_| watched);
        Measurements {
            values: Values {
                state: view.state.word(),
                players: counts.map(|counts| counts.players),
                young: counts.map(|counts| counts.young),
                online: view.online.filter(|_| watched),
                efs: watched.then(|| view.efs.word()),
                holds: watched.then(|| conditions.holds.iter().map(|hold| hold.source).collect()),
                attempts: conditions.attempts,
                dry_run: conditions.dry_run,
            },
            running: view.running.zip(view.window).filter(|_| watched),
            last_player_at: snapshot.last_player_at().filter(|_| watched),
            heartbeat_written: conditions.heartbeat_written,
            at: snapshot.wall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::report::conditions::Conditions;
    use crate::report::metrics::text::text;
    use mc_idle_rule::View;
    use mc_idle_rule::clocks::ClockKind;
    use mc_idle_rule::facts::{self, Listening, Sockets};
    use mc_idle_rule::rule::StopError;
    use mc_idle_rule::tracker::Counts;
    use mc_idle_rule::{Efs, Moment, Rule};

    fn page(view: &View) -> String {
        let (settings, conditions) = (Settings::default(), Conditions::default());
        let (rule, moment) = (Rule::new(settings.rule_settings()), Moment(Duration::ZERO));
        let snapshot = Snapshot::new(&rule, &[], &settings, &conditions, moment, Timestamp::UNIX_EPOCH);
        text(&Measurements::new(&Snapshot { view: view.clone(), ..snapshot }))
    }

    #[test]
    fn whoever_cannot_be_seen_is_not_said_to_be_away() {
        let (mut rule, now) = (Rule::new(Settings::default().rule_settings()), Moment(Duration::from_hours(1)));
        let before = page(&rule.view(now));
        assert!(before.contains("{state=\"starting\"} 1") && !before.contains("mc_idle_players"), "{before}");
        let listening = Listening { address: "0.0.0.0:25565".parse().unwrap(), uid: None, control_group: None };
        let sockets = Sockets { listening: vec![listening], ..Sockets::default() };
        rule.observe(now, &facts::Facts::of_host(sockets), Efs::Hung);
        let seen = page(&rule.view(now));
        assert!(seen.contains("\nmc_idle_players 0\n") && seen.contains("mc_idle_efs{state=\"hung\"} 1"), "{seen}");
        rule.observe(now, &facts::Facts::unreadable("cannot read it".to_owned()), Efs::Hung);
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
            State::Due(mc_idle_rule::Blocker::Moment),
            State::Blind { why: String::new(), lasting: Duration::ZERO },
            State::Stopping { accepted: true },
            State::StopFailed {
                stop_error: StopError { permanent: true, text: String::new() },
                again_in: Duration::ZERO,
            },
            State::Ended,
        ];
        assert_eq!(states.each_ref().map(State::word), State::WORDS);
        let all = [Efs::Mounted, Efs::Unproven, Efs::Missing, Efs::Hung, Efs::Off].map(Efs::word);
        assert!(all.iter().all(|word| Efs::WORDS.contains(word)));
        for state in states {
            let view = View {
                counts: Some(Counts { players: 2, young: 1, joining: 0 }),
                running: Some(Running { clock: ClockKind::Idle, elapsed: Duration::from_millis(2900) }),
                window: Some(Duration::from_mins(15)),
                ..View::of(state)
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
