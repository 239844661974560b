//! What systemd is told (sd_notify(3)). Where there is no systemd, nothing is.

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

/// systemd, if `NOTIFY_SOCKET` says so.
#[derive(Debug, Default)]
pub struct Systemd {
    status: String,
}

impl Supervisor for Systemd {
    fn ready(&mut self) {
        tell(NotifyState::Ready);
    }

    fn status(&mut self, sentence: &str) {
        if self.status != sentence {
            sentence.clone_into(&mut self.status);
            // A newline would begin another assignment.
            tell(NotifyState::Status(&sentence.replace('\n', " ")));
        }
    }

    fn alive(&mut self) {
        tell(NotifyState::Watchdog);
    }

    fn stopping(&mut self) {
        tell(NotifyState::Stopping);
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}

fn tell(state: NotifyState<'_>) {
    // Without a supervisor there is nobody to tell; one that does not listen will act by its watchdog.
    let _ = sd_notify::notify(&[state]);
}
