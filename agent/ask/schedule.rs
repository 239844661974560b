//! Which server is asked when. Pure: targets and the time go in, the targets that are due come out.

use std::collections::BTreeMap;
use std::time::Duration;

use mc_idle_rule::Moment;

use crate::ask::AskTarget;
use crate::ask::form::Forms;

/// The servers that are asked regularly.
#[derive(Debug)]
pub struct Schedule<K> {
    interval: Duration,
    entries: BTreeMap<K, Scheduled<K>>,
}

#[derive(Debug)]
struct Scheduled<K> {
    target: AskTarget<K>,
    /// When it was last asked; `None`: never.
    asked: Option<Moment>,
    /// Whether that question is still open.
    open: bool,
    forms: Forms,
}

impl<K: Clone + Ord> Schedule<K> {
    /// A schedule without servers.
    #[must_use]
    pub fn new() -> Self {
        Schedule { interval: Duration::MAX, entries: BTreeMap::new() }
    }

    /// Replaces all targets with `targets`; each is asked every `interval`, counted from the start of its last
    /// question. What is known about a target that stays is kept; one whose address or protocol has changed is new. Of
    /// several with the same id the last one counts. Returns whether anything has changed.
    pub fn replace(&mut self, targets: Vec<AskTarget<K>>, interval: Duration) -> bool {
        let count = self.entries.len();
        let mut changed = self.interval != interval;
        self.interval = interval;
        let mut before = std::mem::take(&mut self.entries);
        for target in targets {
            let kept = before.remove(&target.id).filter(|entry| entry.target == target);
            changed |= kept.is_none();
            let entry = kept.unwrap_or_else(|| Scheduled {
                target: target.clone(),
                asked: None,
                open: false,
                forms: Forms::default(),
            });
            self.entries.insert(target.id, entry);
        }
        changed || self.entries.len() != count
    }

    /// The targets that are due. They count as asked now, and are not due again before [`finish`](Self::finish) closes
    /// their question.
    pub fn due(&mut self, now: Moment) -> Vec<AskTarget<K>> {
        let interval = self.interval;
        let due = self.entries.values_mut().filter(|entry| entry.due_at(interval).is_some_and(|at| at <= now));
        due.map(|entry| {
            (entry.asked, entry.open) = (Some(now), true);
            entry.target.clone()
        })
        .collect()
    }

    /// When the next one is due; `None`: never, unless something changes.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.entries.values().filter_map(|entry| entry.due_at(self.interval)).min()
    }

    /// Records that the question to `target` that was due at `asked` is over. Returns whether the result is still
    /// wanted: it is not if the target has gone or changed in the meantime.
    pub fn finish(&mut self, target: &AskTarget<K>, asked: Moment) -> bool {
        let entry = self.entries.get_mut(&target.id);
        entry.filter(|entry| entry.target == *target && entry.asked == Some(asked)).is_some_and(|entry| {
            entry.open = false;
            true
        })
    }

    /// Reads or changes what is known about `target`'s form. Nothing is kept for a target that is not scheduled.
    pub fn form<T>(&mut self, target: &AskTarget<K>, with: impl FnOnce(&mut Forms) -> T) -> T {
        match self.entries.get_mut(&target.id).filter(|entry| entry.target == *target) {
            Some(entry) => with(&mut entry.forms),
            None => with(&mut Forms::default()),
        }
    }
}

impl<K: Clone + Ord> Default for Schedule<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Scheduled<K> {
    fn due_at(&self, interval: Duration) -> Option<Moment> {
        if self.open {
            return None;
        }
        Some(self.asked.map_or(Moment(Duration::ZERO), |asked| asked.plus(interval)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Protocol;
    use mc_ping::PingForm;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn target(id: u8, port: u16) -> AskTarget<u8> {
        AskTarget { id, protocol: Protocol::Java, address: ([127, 0, 0, 1], port).into() }
    }

    fn second(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// The ids of the targets due now, whose questions end immediately.
    fn ask(schedule: &mut Schedule<u8>, now: Moment) -> Vec<u8> {
        let due = schedule.due(now);
        assert!(due.iter().all(|target| schedule.finish(target, now)));
        due.iter().map(|target| target.id).collect()
    }

    #[test]
    fn a_new_server_is_asked_at_once_and_one_that_stays_keeps_its_pace() {
        let mut schedule = Schedule::new();
        assert_eq!(schedule.next(), None);
        assert!(schedule.replace(vec![target(1, 1)], MINUTE));
        assert_eq!(ask(&mut schedule, second(100)), [1]);
        assert!(!schedule.replace(vec![target(1, 1)], MINUTE));
        assert!(schedule.replace(vec![target(2, 2), target(1, 1)], MINUTE));
        assert_eq!(ask(&mut schedule, second(130)), [2]);
        assert_eq!(schedule.next(), Some(second(160)));
        assert!(ask(&mut schedule, second(159)).is_empty());
        assert_eq!(ask(&mut schedule, second(160)), [1]);
        assert!(schedule.replace(vec![target(2, 2)], MINUTE));
        assert_eq!(ask(&mut schedule, second(300)), [2]);
        assert!(schedule.replace(vec![], MINUTE));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_server_that_has_moved_is_a_new_one() {
        let mut schedule = Schedule::new();
        schedule.replace(vec![target(1, 1)], MINUTE);
        let [before] = schedule.due(second(0)).try_into().unwrap();
        schedule.form(&before, |forms| forms.note(Some(PingForm::Proxied)));
        let moved = target(1, 2);
        schedule.replace(vec![moved], MINUTE);
        assert!(!schedule.finish(&before, second(0)), "nobody wants to know any more");
        assert_eq!(schedule.form(&moved, |forms| forms.first()), PingForm::Plain);
        assert_eq!(schedule.due(second(0)), [moved]);
        assert!(!schedule.finish(&before, second(0)), "not even if both were asked in one moment");
        assert!(schedule.finish(&moved, second(0)));
        let bedrock = AskTarget { protocol: Protocol::Bedrock, ..moved };
        schedule.replace(vec![bedrock], MINUTE);
        assert_eq!(ask(&mut schedule, second(2)), [1]);
    }

    #[test]
    fn a_question_that_is_open_is_not_asked_again() {
        let mut schedule = Schedule::new();
        schedule.replace(vec![target(1, 1)], MINUTE);
        assert_eq!(schedule.due(second(0)).len(), 1);
        assert_eq!((schedule.next(), schedule.due(second(600)).len()), (None, 0));
        schedule.replace(vec![target(1, 1)], MINUTE * 2);
        assert_eq!(schedule.due(second(700)).len(), 0);
        assert!(schedule.finish(&target(1, 1), second(0)));
        assert_eq!(ask(&mut schedule, second(700)), [1]);
    }

    #[test]
    fn what_is_known_of_the_form_stays_with_the_server() {
        let mut schedule = Schedule::new();
        schedule.replace(vec![target(1, 1)], MINUTE);
        schedule.form(&target(1, 1), |forms| forms.note(Some(PingForm::Proxied)));
        schedule.form(&target(2, 2), |forms| forms.note(Some(PingForm::Proxied)));
        schedule.replace(vec![target(1, 1), target(2, 2)], MINUTE);
        assert_eq!(schedule.form(&target(1, 1), |forms| forms.first()), PingForm::Proxied);
        assert_eq!(schedule.form(&target(2, 2), |forms| forms.first()), PingForm::Plain);
    }

    proptest! {
        /// Whatever comes and goes, no server is asked more often than the interval allows, and those that stay are
        /// asked in time.
        #[test]
        fn everybody_is_asked_in_time_and_not_too_often(
            steps in prop::collection::vec((0_u64..40, prop::collection::btree_set(0_u8..4, 0..4)), 1..40),
        ) {
            let mut schedule = Schedule::new();
            let mut now = second(0);
            let mut asked: BTreeMap<u8, Moment> = BTreeMap::new();
            for (seconds, ids) in steps {
                schedule.replace(ids.iter().map(|id| target(*id, 1)).collect(), MINUTE);
                asked.retain(|id, _| ids.contains(id));
                let until = now.plus(Duration::from_secs(seconds));
                while let Some(next) = schedule.next().filter(|next| *next <= until) {
                    now = now.max(next);
                    for id in ask(&mut schedule, now) {
                        let last = asked.insert(id, now);
                        prop_assert!(last.is_none_or(|last| now.since(last) >= MINUTE));
                    }
                }
                now = until;
                for id in ids {
                    prop_assert!(asked.get(&id).is_some_and(|last| now.since(*last) < MINUTE || now == *last));
                }
            }
        }
    }
}
