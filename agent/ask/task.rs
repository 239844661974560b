//! The task that asks servers, and the handle through which the rest of the agent uses it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use mc_idle_rule::Moment;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ask::own::OwnSockets;
use crate::ask::round::{AskQueue, Occasion};
use crate::ask::{AskOutcome, AskTarget, DEADLINE};
use crate::clock::{Clock, Timer};

/// Has servers asked. A handle: all copies belong to one task.
#[derive(Debug)]
pub struct Asker<K> {
    queue: Arc<AskQueue<K>>,
}

impl<K> Clone for Asker<K> {
    fn clone(&self) -> Self {
        Asker { queue: Arc::clone(&self.queue) }
    }
}

impl<K: Clone + Ord + Send + Sync + 'static> Asker<K> {
    /// Starts the task, which needs tokio's runtime. The outcomes of the regular questions arrive at the receiver; the
    /// task ends when that is dropped.
    #[must_use]
    pub fn start(clock: Clock) -> (Self, mpsc::UnboundedReceiver<AskOutcome<K>>) {
        let queue = Arc::new(AskQueue::new(clock));
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(Arc::clone(&queue), sender));
        (Asker { queue }, receiver)
    }

    /// From now on asks `targets` and no others every `interval`: new ones immediately, known ones at their own pace.
    /// Never waits, and may be called any number of times.
    pub fn watch(&self, targets: Vec<AskTarget<K>>, interval: Duration) {
        if self.queue.schedule().replace(targets, interval) {
            self.queue.changed.notify_one();
        }
    }

    /// Asks all `targets` at once and returns the outcomes in the same order, after [`DEADLINE`] at the latest.
    /// Dropping the future closes what is open.
    pub fn ask_all(&self, targets: Vec<AskTarget<K>>) -> impl Future<Output = Vec<AskOutcome<K>>> + Send + use<K> {
        let queue = Arc::clone(&self.queue);
        async move {
            let until = queue.clock.instant(queue.clock.now().plus(DEADLINE));
            let mut questions = JoinSet::new();
            for (place, target) in targets.into_iter().enumerate() {
                let queue = Arc::clone(&queue);
                questions.spawn(async move { (place, queue.ask(target, Occasion::Fresh(until)).await) });
            }
            let mut asked = questions.join_all().await;
            asked.sort_unstable_by_key(|(place, _)| *place);
            asked.into_iter().map(|(_, asked)| asked).collect()
        }
    }

    /// The local addresses of the connections that ask servers.
    #[must_use]
    pub fn own(&self) -> OwnSockets {
        self.queue.own.clone()
    }
}

async fn run<K: Clone + Ord + Send + Sync + 'static>(
    queue: Arc<AskQueue<K>>,
    results: mpsc::UnboundedSender<AskOutcome<K>>,
) {
    let mut alarm = queue.clock.alarm();
    let mut questions = JoinSet::new();
    loop {
        let now = queue.clock.now();
        let (due, next) = {
            let mut schedule = queue.schedule();
            (schedule.due(now), schedule.next())
        };
        for target in due {
            questions.spawn(question(Arc::clone(&queue), target, now));
        }
        tokio::select! {
            () = queue.changed.notified() => {}
            () = reaches(&mut alarm, next) => {}
            Some(over) = questions.join_next() => {
                // A question never panics, and is never aborted.
                let Ok((target, due, asked)) = over else { continue };
                if queue.schedule().finish(&target, due) && results.send(asked).is_err() {
                    return;
                }
            }
            () = results.closed() => return,
        }
    }
}

async fn reaches(alarm: &mut Timer, next: Option<Moment>) {
    match next {
        Some(moment) => alarm.at(moment).await,
        None => pending().await,
    }
}

async fn question<K: Clone + Ord>(
    queue: Arc<AskQueue<K>>,
    target: AskTarget<K>,
    due: Moment,
) -> (AskTarget<K>, Moment, AskOutcome<K>) {
    let asked = queue.ask(target.clone(), Occasion::Regular).await;
    (target, due, asked)
}
