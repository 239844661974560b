//! Messages to systemd (sd_notify(3)). Without systemd, nothing is sent.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::printable::printable;

/// What supervises the agent.
pub trait Supervisor {
    /// The agent is working: READY=1.
    fn ready(&mut self);
    /// The status sentence: STATUS=.
    fn status(&mut self, sentence: &str);
    /// Samples are on time: WATCHDOG=1.
    fn alive(&mut self);
    /// The agent is ending: STOPPING=1.
    fn stopping(&mut self);
    /// How often it expects to hear that samples are on time, if at all.
    fn watchdog(&self) -> Option<Duration>;
}

/// How many messages may wait for a systemd that does not read.
const QUEUE: usize = 32;

/// How long to wait at the end until the last of them is sent.
const LAST_MESSAGE: Duration = Duration::from_millis(200);

/// systemd, if `NOTIFY_SOCKET` is set. It may hang, so it is never waited for: what it does not take is sent again with
/// the next sample, and what finds the queue full is dropped.
#[derive(Debug)]
pub struct Systemd {
    line: Option<NotifySocket>,
    queue: VecDeque<String>,
    status: String,
    /// A message could not be sent, and it may have been the status.
    lost: bool,
}

/// The socket to it.
#[derive(Debug)]
struct NotifySocket {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Systemd {
    /// Takes its address from the environment.
    ///
    /// # Errors
    /// No socket can be created.
    pub fn start() -> io::Result<Self> {
        // An invalid address is ignored.
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name).ok());
        let line = address.map(NotifySocket::to).transpose()?;
        Ok(Systemd { line, queue: VecDeque::new(), status: String::new(), lost: false })
    }

    /// Returns whether the message is sent, or waits to be sent.
    fn tell(&mut self, state: &NotifyState) -> bool {
        let fits = self.queue.len() < QUEUE;
        if fits {
            self.queue.push_back(state.to_string());
        }
        self.go_on();
        fits
    }

    /// Sends the waiting messages, as far as systemd takes them.
    fn go_on(&mut self) {
        let Some(line) = &self.line else {
            // There is no supervisor.
            self.queue.clear();
            return;
        };
        while let Some(message) = self.queue.front() {
            match line.socket.send_to_addr(message.as_bytes(), &line.to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // If systemd does not listen, its watchdog will act.
                sent => self.lost |= sent.is_err(),
            }
            self.queue.pop_front();
        }
    }
}

impl NotifySocket {
    fn to(to: SocketAddr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(NotifySocket { socket, to })
    }
}

/// A path or, after an `@`, an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

impl Drop for Systemd {
    /// Sends the last messages, if systemd listens.
    fn drop(&mut self) {
        let Some(NotifySocket { socket, to }) = &self.line else { return };
        if self.queue.is_empty() || socket.set_write_timeout(Some(LAST_MESSAGE)).is_err() {
            return;
        }
        if socket.set_nonblocking(false).is_ok() {
            // There is nobody left to report a failure to.
            let _ = self.queue.iter().try_for_each(|message| socket.send_to_addr(message.as_bytes(), to).map(drop));
        }
    }
}

impl Supervisor for Systemd {
    fn ready(&mut self) {
        self.tell(&NotifyState::Ready);
    }

    fn status(&mut self, sentence: &str) {
        self.go_on();
        let unheard = std::mem::take(&mut self.lost);
        if unheard || self.status != sentence {
            // A newline would begin another assignment.
            if self.tell(&NotifyState::Status(&printable(sentence))) {
                sentence.clone_into(&mut self.status);
            }
        }
    }

    fn alive(&mut self) {
        self.tell(&NotifyState::Watchdog);
    }

    fn stopping(&mut self) {
        self.tell(&NotifyState::Stopping);
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}
