//! The rule against an independent statement of it, on histories at random.
//!
//! The statement ([`crate::rule::history`]) looks at the whole past again for every sample and keeps no state, so it shares neither
//! code nor shape with the rule.

use std::time::Duration;

use mc_idle_rule::clocks::Windows;
use mc_idle_rule::facts::Sockets;
use mc_idle_rule::rule::{AbortReason, STOP_PATIENCE};
use mc_idle_rule::{Action, AttemptId, Efs, Facts, Moment, Rule, RuleSettings, State, View, Witness};
use proptest::prelude::*;

use crate::rule::history::{History, Sample};
use crate::rule::run::{NO_JITTER, Run, empty, listening, no_server, row, rule_settings, socket, stop_error, unknown};

#[derive(Debug, Clone)]
struct Step {
    sample: Sample,
    efs: Efs,
    own: Facts,
    witness: Facts,
    answer: Result<(), bool>,
}

fn attempt(actions: &[Action]) -> Option<AttemptId> {
    actions.iter().find_map(|action| match action {
        Action::Prepare(attempt) => Some(*attempt),
        Action::Alarm(_) => None,
    })
}

fn look(rule: &mut Rule, attempt: AttemptId, now: Moment, step: &Step) -> Result<(), AbortReason> {
    let witness = Witness::Second(&step.witness);
    rule.last_look(attempt, now, &step.own, witness, Vec::new(), NO_JITTER()).map(drop)
}

fn facts() -> impl Strategy<Value = Facts> {
    let sockets = prop::collection::vec((1_u8..4, 0_u64..3), 0..3);
    // Empty readings often, or no window would ever end.
    let seen = (prop::bool::weighted(0.9), prop_oneof![3 => Just(Vec::new()), 1 => sockets]).prop_map(
        |(listener, sockets)| {
            let connections = sockets.into_iter().map(|(peer, inode)| row(socket(peer, inode))).collect();
            let listening = if listener { vec![listening("0.0.0.0:25565")] } else { Vec::new() };
            Facts::of_host(Sockets { listening, connections, ..Sockets::default() })
        },
    );
    prop_oneof![1 => Just(unknown()), 15 => seen]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![12 => Just(5_000_u64), 2 => 0_u64..10_000, 1 => 10_001_u64..100_000];
    let efs = prop_oneof![8 => Just(Efs::Mounted), 1 => Just(Efs::Missing), 1 => Just(Efs::Hung)];
    let step = (gap, facts(), efs, facts(), facts(), prop::result::maybe_ok(any::<()>(), any::<bool>()));
    // The same facts several times over: a world that stays as it is for a while.
    let run = (step, 1_usize..8).prop_map(|((gap, facts, efs, own, witness, answer), times)| {
        let sample = Sample { gap: Duration::from_millis(gap), facts };
        vec![Step { sample, efs, own, witness, answer }; times]
    });
    prop::collection::vec(run, 0..30).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// What the rule shows and asks for is what the statement says, whatever happens.
    #[test]
    fn the_rule_is_what_the_statement_says(steps in steps()) {
        let windows = Windows { idle: Duration::from_secs(30), no_server: Duration::from_secs(45) };
        let rule_settings = RuleSettings { windows, ..rule_settings() };
        let mut rule = Rule::new(rule_settings.clone());
        let mut now = Moment(Duration::ZERO);
        let mut history = History::new(rule_settings);
        let mut quiet_until = now;
        for step in steps {
            now = now.plus(step.sample.gap);
            history.add(step.sample.clone(), step.efs);
            let actions = rule.observe(now, &step.sample.facts, step.efs);
            prop_assert_eq!(rule.view(now).running.map(|running| running.elapsed), history.elapsed());
            prop_assert_eq!(rule.view(now).counts.map(|counts| counts.players), history.players());
            let attempt = attempt(&actions);
            if !history.due() {
                quiet_until = quiet_until.min(now);
            }
            // The first promise: never while anybody may be there. The second: always when the time has come.
            if attempt.is_some() {
                prop_assert!(history.due() && history.nobody() && history.efs_allows());
            } else if now >= quiet_until && !rule.stopping() {
                prop_assert!(!(history.due() && history.nobody() && history.efs_allows()));
            }
            let Some(attempt) = attempt else { continue };
            history.add(Sample { gap: Duration::ZERO, facts: step.own.clone() }, step.efs);
            let look = look(&mut rule, attempt, now, &step);
            let clean = history.due() && history.nobody() && history.nobody_in(&step.witness);
            prop_assert_eq!(look.is_ok(), clean, "{:?}", look);
            match look {
                Ok(()) => {
                    let wait = match step.answer {
                        Ok(()) => STOP_PATIENCE,
                        Err(_) => Duration::from_mins(5),
                    };
                    quiet_until = now.plus(wait);
                    rule.answered(attempt, now, step.answer.map_err(stop_error), NO_JITTER());
                }
                Err(AbortReason::WitnessConnection | AbortReason::WitnessBlind(_)) => quiet_until = now.plus(Duration::from_mins(5)),
                Err(_) => {}
            }
        }
    }

    /// From a memory that is taken at any step and taken up at once, everything goes on as it would have. What an attempt
    /// and its refusal or grant have come to is not remembered, nor how long the rule has been blind.
    #[test]
    fn a_memory_changes_nothing(before in steps(), after in steps()) {
        let mut run = Run::new(rule_settings());
        let mut tried = false;
        for step in &before {
            run.now = run.now.plus(step.sample.gap);
            let actions = run.rule.observe(run.now, &step.sample.facts, step.efs);
            let Some(attempt) = attempt(&actions) else { continue };
            tried = true;
            if look(&mut run.rule, attempt, run.now, step).is_ok() {
                run.rule.answered(attempt, run.now, step.answer.map_err(stop_error), NO_JITTER());
            }
        }
        let mut heir = Rule::remembering(rule_settings(), run.rule.memory(), run.now);
        prop_assert_eq!(heir.memory(), run.rule.memory());
        // What passes before the heir's first sample would count for the other one alone.
        let mut gap = Duration::ZERO;
        for step in &after {
            run.now = run.now.plus(gap);
            gap = step.sample.gap;
            run.rule.observe(run.now, &step.sample.facts, step.efs);
            heir.observe(run.now, &step.sample.facts, step.efs);
            let (mut view, mut heirs) = (run.rule.view(run.now), heir.view(run.now));
            for view in [&mut view, &mut heirs] {
                if let State::Blind { lasting, .. } = &mut view.state {
                    *lasting = Duration::ZERO;
                }
            }
            if tried {
                let clocks = |view: View| (view.counts, view.running, view.window, view.efs);
                prop_assert_eq!(clocks(heirs), clocks(view));
            } else {
                prop_assert_eq!(heirs, view);
            }
        }
    }

    /// A machine that becomes and stays empty, readable and with its EFS is stopped, whatever was before.
    #[test]
    fn an_empty_machine_does_stop(steps in steps(), listener in any::<bool>()) {
        let mut run = Run::new(rule_settings());
        for step in &steps {
            let actions = run.sample(&step.sample.facts, step.efs);
            if let Some(attempt) = attempt(&actions) && look(&mut run.rule, attempt, run.now, step).is_ok() {
                run.rule.answered(attempt, run.now, step.answer.map_err(stop_error), NO_JITTER());
            }
        }
        let nobody = if listener { empty() } else { no_server() };
        // Five minutes of an earlier refusal or grant, and the longer window.
        let samples = 60 + 24 + 2;
        prop_assert!(run.until_prepared(samples, &nobody, Efs::Mounted).is_some());
    }
}
