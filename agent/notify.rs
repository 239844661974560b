//! What systemd is told (sd_notify(3)). Where there is no systemd, nothing is.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
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

/// systemd, if `NOTIFY_SOCKET` says so. It may stand still like anything else, so it is never waited for: what it does not
/// take is said again with the next sample, and what finds the queue full is not said.
#[derive(Debug)]
pub struct Systemd {
    line: Option<Line>,
    queue: VecDeque<String>,
    status: String,
    /// A message did not get out, and it may have been the status.
    lost: bool,
}

/// The way to it.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Systemd {
    /// Takes the way to it from the environment.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn start() -> io::Result<Self> {
        // What is no address is nobody's.
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name).ok());
        let line = address.map(Line::to).transpose()?;
        Ok(Systemd { line, queue: VecDeque::new(), status: String::new(), lost: false })
    }

    /// Returns whether it is said, or waits to be said.
    fn tell(&mut self, state: &NotifyState) -> bool {
        let fits = self.queue.len() < QUEUE;
        if fits {
            self.queue.push_back(state.to_string());
        }
        self.go_on();
        fits
    }

    /// Says what waits, as far as it is taken.
    fn go_on(&mut self) {
        let Some(line) = &self.line else {
            // Without a supervisor there is nobody to tell.
            self.queue.clear();
            return;
        };
        while let Some(message) = self.queue.front() {
            match line.socket.send_to_addr(message.as_bytes(), &line.to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // One that does not listen will act by its watchdog.
                sent => self.lost |= sent.is_err(),
            }
            self.queue.pop_front();
        }
    }
}

impl Line {
    fn to(to: SocketAddr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Line { socket, to })
    }
}

/// A path, or behind an `@` an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

impl Drop for Systemd {
    /// Lets the last message out, if systemd listens.
    fn drop(&mut self) {
        let Some(Line { socket, to }) = &self.line else { return };
        if self.queue.is_empty() || socket.set_write_timeout(Some(LAST_MESSAGE)).is_err() {
            return;
        }
        if socket.set_nonblocking(false).is_ok() {
            // Whatever comes of it, there is nobody left to hear.
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
            if self.tell(&NotifyState::Status(&sentence.replace('\n', " "))) {
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
