//! A thread that works for whoever must not wait.
//!
//! A file system may hang like anything else: what comes while the thread is busy, and one thing waits for it already, is
//! not taken.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

/// Where work is handed in. Never waits.
#[derive(Debug)]
pub struct Background<T> {
    /// The receiver is for whoever waits for the end; the lock only lets others hold a reference to all this meanwhile.
    thread: Option<(SyncSender<T>, Mutex<Receiver<()>>)>,
}

impl<T: Send + 'static> Background<T> {
    /// One that does nothing with what it takes.
    #[must_use]
    pub fn none() -> Self {
        Background { thread: None }
    }

    /// Starts the thread, which ends once this is gone and all is done.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(name: &str, work: impl FnMut(T) + Send + 'static) -> io::Result<Self> {
        Self::start_with_end(name, work, || {})
    }

    /// The same, with an `end` that comes when all is done.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start_with_end(
        name: &str,
        mut work: impl FnMut(T) + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::sync_channel(1);
        let (finish, finished) = mpsc::sync_channel(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in jobs {
                work(job);
            }
            end();
            // Nobody may be waiting for this any more.
            let _ = finish.send(());
        })?;
        Ok(Background { thread: Some((queue, Mutex::new(finished))) })
    }

    /// Waits until all is done, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        if let Some((queue, finished)) = self.thread {
            drop(queue);
            // Either outcome ends the wait.
            let _ = finished.into_inner().map(|finished| finished.recv_timeout(patience));
        }
    }

    /// Whether there is a thread.
    #[must_use]
    pub fn works(&self) -> bool {
        self.thread.is_some()
    }

    /// Hands in `job`.
    ///
    /// # Errors
    /// The thread is busy; here it is back.
    pub fn hand_in(&self, job: T) -> Result<(), T> {
        match self.thread.as_ref().map(|(queue, _)| queue.try_send(job)) {
            Some(Err(TrySendError::Full(job))) => Err(job),
            // The thread is gone only when it has panicked, and then so is the agent.
            None | Some(Ok(()) | Err(TrySendError::Disconnected(_))) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_it_is_stuck_is_given_back_at_once() {
        let (go, stuck) = mpsc::sync_channel::<()>(0);
        let (done, dones) = mpsc::channel();
        let background = Background::start("test", move |job: u8| {
            let _ = stuck.recv();
            done.send(job).unwrap();
        })
        .unwrap();
        // One at work and one that waits, as soon as the thread has the first in hand.
        for job in [0, 1] {
            while background.hand_in(job).is_err() {}
        }
        assert_eq!(background.hand_in(9), Err(9));
        drop(go);
        assert_eq!([dones.recv(), dones.recv()], [Ok(0), Ok(1)]);
        assert_eq!(Background::none().hand_in(9), Ok(()));
    }
}
