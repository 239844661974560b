//! A thread that works for whoever must not wait.
//!
//! A file system may hang like anything else: what comes while the thread is busy, and one thing waits for it already, is
//! not taken.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Where work is handed in. Never waits.
#[derive(Debug)]
pub struct Background<T> {
    thread: Option<Thread<T>>,
}

#[derive(Debug)]
struct Thread<T> {
    tray: Arc<Tray<T>>,
    /// For whoever waits for the end; the lock only lets others hold a reference to all this meanwhile.
    finished: Mutex<Receiver<()>>,
}

/// What lies between the two: one job at most. A channel of the standard library would do, but it wakes its receiver while
/// it still holds a lock that the receiver wants, which then falls asleep once more.
#[derive(Debug)]
struct Tray<T> {
    jobs: Mutex<Jobs<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Jobs<T> {
    next: Option<T>,
    /// There will be no other.
    closed: bool,
}

impl<T> Tray<T> {
    /// A panic in the midst of two assignments would have ended the agent.
    fn jobs(&self) -> MutexGuard<'_, Jobs<T>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: T) -> Result<(), T> {
        {
            let mut jobs = self.jobs();
            if jobs.next.is_some() {
                return Err(job);
            }
            jobs.next = Some(job);
        }
        self.changed.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.jobs().closed = true;
        self.changed.notify_one();
    }

    /// Waits for the next job; `None`: there will be no other.
    fn take(&self) -> Option<T> {
        let waits = |jobs: &mut Jobs<T>| jobs.next.is_none() && !jobs.closed;
        self.changed.wait_while(self.jobs(), waits).unwrap_or_else(PoisonError::into_inner).next.take()
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        self.tray.close();
    }
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
        let jobs = Mutex::new(Jobs { next: None, closed: false });
        let tray = Arc::new(Tray { jobs, changed: Condvar::new() });
        let (finish, finished) = mpsc::sync_channel(1);
        let taken_from = Arc::clone(&tray);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = taken_from.take() {
                work(job);
            }
            end();
            // Nobody may be waiting for this any more.
            let _ = finish.send(());
        })?;
        Ok(Background { thread: Some(Thread { tray, finished: Mutex::new(finished) }) })
    }

    /// Waits until all is done, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        if let Some(thread) = self.thread {
            thread.tray.close();
            // Either outcome ends the wait.
            let _ = thread.finished.lock().map(|finished| finished.recv_timeout(patience));
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
        self.thread.as_ref().map_or(Ok(()), |thread| thread.tray.put(job))
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
