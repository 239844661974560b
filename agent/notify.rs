//! What systemd is told (sd_notify(3)). Where there is no systemd, nothing is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// Whoever supervises the agent.
pub trait Supervisor {
    /// The agent does its work: READY=1.
    fn ready(&mut self);
    /// The sentence of the status: STATUS=.
    fn status(&mut self, sentence: &str);
    /// Samples are on time: WATCHDOG=1.
    fn alive(&mut self);
    /// The agent ends: STOPPING=1.
    fn stopping(&mut self);
    /// How often it wants to hear that samples are on time, if at all.
    fn watchdog(&self) -> Option<Duration>;
}

/// Messages that may wait for a systemd that does not read.
const QUEUE: usize = 32;

/// How long the end waits for the last of them.
const LAST_MESSAGE: Duration = Duration::from_millis(200);

/// systemd, if `NOTIFY_SOCKET` says so. It may stand still like anything else, so a thread of its own talks to it; what
/// finds the queue full is not said.
#[derive(Debug)]
pub struct Systemd {
    /// `None` only while it is dropped.
    queue: Option<SyncSender<Message>>,
    finished: Receiver<()>,
    status: String,
    /// A message did not get out, and it may have been the status.
    lost: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Message {
    Ready,
    Status(String),
    Alive,
    Stopping,
}

impl Systemd {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let (finish, finished) = mpsc::sync_channel(1);
        let lost = Arc::new(AtomicBool::new(false));
        let losing = Arc::clone(&lost);
        thread::Builder::new().name("notify".to_owned()).spawn(move || {
            for message in messages {
                let state = match &message {
                    Message::Ready => NotifyState::Ready,
                    Message::Status(sentence) => NotifyState::Status(sentence),
                    Message::Alive => NotifyState::Watchdog,
                    Message::Stopping => NotifyState::Stopping,
                };
                // Without a supervisor there is nobody to tell; one that does not listen will act by its watchdog.
                if sd_notify::notify(&[state]).is_err() {
                    losing.store(true, Ordering::Relaxed);
                }
            }
            // Nobody may be waiting for this any more.
            let _ = finish.send(());
        })?;
        Ok(Systemd { queue: Some(queue), finished, status: String::new(), lost })
    }

    fn tell(&self, message: Message) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(message).is_ok())
    }
}

impl Drop for Systemd {
    /// Lets the last message out, if systemd listens.
    fn drop(&mut self) {
        self.queue = None;
        // Either outcome ends the wait.
        let _ = self.finished.recv_timeout(LAST_MESSAGE);
    }
}

impl Supervisor for Systemd {
    fn ready(&mut self) {
        self.tell(Message::Ready);
    }

    fn status(&mut self, sentence: &str) {
        // A newline would begin another assignment.
        let unheard = self.lost.swap(false, Ordering::Relaxed);
        if (unheard || self.status != sentence) && self.tell(Message::Status(sentence.replace('\n', " "))) {
            sentence.clone_into(&mut self.status);
        }
    }

    fn alive(&mut self) {
        self.tell(Message::Alive);
    }

    fn stopping(&mut self) {
        self.tell(Message::Stopping);
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}
