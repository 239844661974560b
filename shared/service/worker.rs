//! A thread that does work for code that must not block.
//!
//! A file system may hang: while the thread is busy and one job is already waiting, no other is taken.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Where work is handed in. Never blocks.
#[derive(Debug)]
pub struct Worker<T> {
    thread: Option<Thread<T>>,
}

#[derive(Debug)]
struct Thread<T> {
    slot: Arc<Slot<T>>,
    /// For waiting for the end; the lock is only there so that a worker can be shared between threads.
    finished: Mutex<Receiver<()>>,
}

/// What lies between the two: at most one job. A channel of the standard library would do, but it wakes its receiver
/// while it still holds a lock that the receiver wants, which then goes back to sleep.
#[derive(Debug)]
struct Slot<T> {
    jobs: Mutex<Jobs<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Jobs<T> {
    next: Option<T>,
    /// There will be no more jobs.
    closed: bool,
}

impl<T> Slot<T> {
    /// The lock is never poisoned: a panic would have ended the agent.
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

    /// Waits for the next job; `None`: there will be no more.
    fn take(&self) -> Option<T> {
        let waits = |jobs: &mut Jobs<T>| jobs.next.is_none() && !jobs.closed;
        self.changed.wait_while(self.jobs(), waits).unwrap_or_else(PoisonError::into_inner).next.take()
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        self.slot.close();
    }
}

impl<T: Send + 'static> Worker<T> {
    /// A worker that discards everything.
    #[must_use]
    pub fn none() -> Self {
        Worker { thread: None }
    }

    /// Starts the thread, which ends once the worker is dropped and all work is done.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(name: &str, work: impl FnMut(T) + Send + 'static) -> io::Result<Self> {
        Self::start_with_end(name, work, || {})
    }

    /// The same, with an `end` that runs when all work is done.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start_with_end(
        name: &str,
        mut work: impl FnMut(T) + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let jobs = Mutex::new(Jobs { next: None, closed: false });
        let slot = Arc::new(Slot { jobs, changed: Condvar::new() });
        let (finish, finished) = mpsc::sync_channel(1);
        let taken_from = Arc::clone(&slot);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = taken_from.take() {
                work(job);
            }
            end();
            // The receiver may be gone.
            let _ = finish.send(());
        })?;
        Ok(Worker { thread: Some(Thread { slot, finished: Mutex::new(finished) }) })
    }

    /// Waits until all work is done, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        if let Some(thread) = self.thread {
            thread.slot.close();
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
    /// The thread is busy; returns the job.
    pub fn hand_in(&self, job: T) -> Result<(), T> {
        self.thread.as_ref().map_or(Ok(()), |thread| thread.slot.put(job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_it_is_stuck_is_given_back_at_once() {
        let (go, stuck) = mpsc::sync_channel::<()>(0);
        let (done, dones) = mpsc::channel();
        let worker = Worker::start("test", move |job: u8| {
            let _ = stuck.recv();
            done.send(job).unwrap();
        })
        .unwrap();
        // One in progress and one waiting, as soon as the thread has taken the first.
        for job in [0, 1] {
            while worker.hand_in(job).is_err() {}
        }
        assert_eq!(worker.hand_in(9), Err(9));
        drop(go);
        assert_eq!([dones.recv(), dones.recv()], [Ok(0), Ok(1)]);
        assert_eq!(Worker::none().hand_in(9), Ok(()));
    }
}
