//! One connection: bytes from the socket into the core, and what the core wants out of it again.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mc_broker_core::connection::{Action, Closed, Connection};
use mc_broker_core::texts::Ending;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Level;

use crate::coordinator::Message;
use crate::counters::Counters;
use crate::journal::Kind;
use crate::net::relay;
use crate::net::shared::{OpenConnection, Reply};
use crate::random::random;

/// The bytes that are read at once. On the stack of a function, not of a task.
const PIECE: usize = 2048;
/// How long what is left to be sent may take at the end, and how long the client is listened to after that: closed earlier,
/// it might never see the last packet (tcp(7), a reset).
const FLUSH: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(2);
/// More than this is never left to be sent, in bytes: a status with a picture.
const MOST_UNSENT: usize = 256 * 1024;
/// What the answer to a ping of the oldest clients begins with.
const LEGACY_ANSWER: u8 = 0xff;

/// What has to be done for a connection beside talking.
enum Next {
    GoOn,
    /// The client has everything, and nothing more to say.
    Done,
    Close,
    Relay {
        to: SocketAddr,
        first: Vec<u8>,
    },
}

struct Session {
    stream: TcpStream,
    peer: SocketAddr,
    open: OpenConnection,
    connection: Connection,
    unsent: Vec<u8>,
    reply: Option<oneshot::Receiver<Reply>>,
    /// His name, once he has said it.
    name: Option<Box<str>>,
}

/// Serves the connection of `peer` to its end.
pub async fn serve(stream: TcpStream, peer: SocketAddr, open: OpenConnection) {
    let connection = Connection::new(peer.ip(), open.shared.clock.now());
    let mut session = Session { stream, peer, open, connection, unsent: Vec::new(), reply: None, name: None };
    match session.talk().await {
        Next::GoOn | Next::Done => {}
        Next::Close => Box::pin(session.finish()).await,
        Next::Relay { to, first } => {
            let Session { stream, peer, open, unsent, .. } = session;
            drop(unsent);
            Box::pin(relay::relay(stream, peer, to, first, open)).await;
        }
    }
}

impl Session {
    /// Until the connection is to be closed or relayed, or is gone ([`Next::GoOn`]).
    async fn talk(&mut self) -> Next {
        // One timer for all of it: to register a new one costs as much as to read.
        let mut timer = pin!(sleep_until(self.deadline()));
        loop {
            let deadline = self.deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let next = tokio::select! {
                ready = self.stream.readable() => match ready.map(|()| self.read()) {
                    Ok(Some(next)) => next,
                    Ok(None) | Err(_) => return Next::GoOn,
                },
                reply = waited_for(&mut self.reply) => self.replied(reply),
                ready = self.stream.writable(), if !self.unsent.is_empty() => match ready {
                    Ok(()) => self.flush(),
                    Err(_) => return Next::GoOn,
                },
                () = &mut timer => {
                    let (face, now) = (self.open.shared.face(), self.open.shared.clock.now());
                    let actions = self.connection.tick(&face, now);
                    self.act(actions)
                }
            };
            match next {
                Next::GoOn => {}
                done => return done,
            }
        }
    }

    fn deadline(&self) -> Instant {
        self.open.shared.clock.instant(self.connection.next_tick())
    }

    /// Reads what is there; `None`: the client is gone.
    fn read(&mut self) -> Option<Next> {
        let mut piece = [0; PIECE];
        loop {
            match self.stream.try_read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => {
                    let shared = Arc::clone(&self.open.shared);
                    let now = shared.clock.now();
                    let actions = self.connection.received(&mut piece[..length], &shared.common, &shared.face(), now);
                    match self.act(actions) {
                        Next::GoOn if length == PIECE => {}
                        next => return Some(next),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(Next::GoOn),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    fn replied(&mut self, reply: Option<Reply>) -> Next {
        let shared = Arc::clone(&self.open.shared);
        let now = shared.clock.now();
        let actions = match reply {
            Some(Reply::Order(order)) => self.connection.ordered(order, &shared.common, random(), now),
            Some(Reply::Vouched(vouched)) => self.connection.vouched(vouched, &shared.common, random(), now),
            // The coordinator has gone: the broker ends.
            None => self.connection.end(Ending::Closing),
        };
        self.act(actions)
    }

    fn act(&mut self, actions: Vec<Action>) -> Next {
        let shared = Arc::clone(&self.open.shared);
        let mut actions = std::collections::VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(bytes) => {
                    if self.unsent.len() + bytes.len() > MOST_UNSENT {
                        return Next::Close;
                    }
                    if self.unsent.is_empty() {
                        self.unsent = bytes;
                    } else {
                        self.unsent.extend(bytes);
                    }
                }
                Action::Admit => actions.extend(self.admit()),
                Action::Ask(guest) => {
                    let (sender, receiver) = oneshot::channel();
                    self.reply = Some(receiver);
                    self.open.tell_coordinator(Message::Ask(self.open.id, guest, sender));
                }
                Action::Join(guest, account) => {
                    let (sender, receiver) = oneshot::channel();
                    self.reply = Some(receiver);
                    self.open.tell_coordinator(Message::Join(self.open.id, guest, account, sender));
                }
                Action::Decrypt { secret, token } => {
                    let (secret, token) =
                        (shared.key_pair.decrypt(&secret), token.map(|token| shared.key_pair.decrypt(&token)));
                    let plain =
                        secret.as_deref().map(|secret| (secret, token.as_ref().and_then(|token| token.as_deref())));
                    actions.extend(self.connection.decrypted(plain, &shared.common, shared.clock.now()));
                }
                Action::AskSessionServer { name, hash } => {
                    let (sender, receiver) = oneshot::channel();
                    self.reply = Some(receiver);
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let vouched = shared.session_server.vouches_for(&name, &hash).await;
                        // The client may have gone.
                        let _ = sender.send(Reply::Vouched(vouched));
                    });
                }
                Action::Relay { to, first } => return Next::Relay { to, first },
                Action::Close(why) => {
                    self.closed(&why);
                    return self.last_words(&why);
                }
            }
        }
        self.flush()
    }

    /// A login of its address is counted; and from its network anybody may log in, or not.
    fn admit(&mut self) -> Vec<Action> {
        let shared = Arc::clone(&self.open.shared);
        Counters::add(&shared.counters.logins);
        shared.known(self.open.id);
        self.name = self.connection.name().map(Into::into);
        let address = self.peer.ip();
        if !shared.may_log_in_from(address) {
            return self.connection.end(Ending::Network);
        }
        let may = shared.limits().login(address, shared.clock.now());
        self.connection.admitted(may)
    }

    fn closed(&self, why: &Closed) {
        let shared = &self.open.shared;
        let counters = &shared.counters;
        match why {
            Closed::Answered => Counters::add(&counters.pings),
            Closed::HandedOver => {}
            Closed::Malformed => Counters::add(&counters.malformed),
            Closed::Silent => Counters::add(&counters.silent),
            Closed::Told(ending) => {
                counters.turned_away(ending.word());
                // Scanners log in too: only what concerns somebody who is known is worth a line.
                if let (Some(name), true) = (self.name.as_deref(), is_worth_a_line(ending)) {
                    let text = format!("{name} was told: {ending}");
                    shared.journal.tell(Level::INFO, Kind::TurnedAway, Some(name), text);
                }
            }
        }
    }

    /// After the answer to a ping a client closes, and has nothing to send before: what is sent then need not be waited for.
    /// The oldest clients are another matter: they may still be sending their question.
    fn last_words(&mut self, why: &Closed) -> Next {
        let is_legacy = self.unsent.first() == Some(&LEGACY_ANSWER);
        if *why == Closed::Answered && !is_legacy && matches!(self.flush(), Next::GoOn) && self.unsent.is_empty() {
            Next::Done
        } else {
            Next::Close
        }
    }

    /// Sends what it can.
    fn flush(&mut self) -> Next {
        while !self.unsent.is_empty() {
            match self.stream.try_write(&self.unsent) {
                Ok(written) if written >= self.unsent.len() => self.unsent = Vec::new(),
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::Close,
            }
        }
        Next::GoOn
    }

    /// Sends what is left, and waits a moment for the client to have read it.
    async fn finish(mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        let sent = timeout(FLUSH, async {
            self.stream.write_all(&unsent).await?;
            self.stream.shutdown().await
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            return;
        }
        let _ = timeout(LINGER, async { while self.stream.readable().await.is_ok() && self.still_there() {} }).await;
    }

    /// Drops what has come in; whether more may come.
    fn still_there(&self) -> bool {
        match self.stream.try_read(&mut [0; PIECE]) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Only those whom somebody vouches for come so far.
fn is_worth_a_line(ending: &Ending) -> bool {
    matches!(
        ending,
        Ending::Wait(_) | Ending::OverBudget(_) | Ending::NotStarted(_) | Ending::KeyRefused | Ending::TookTooLong(_)
    )
}

/// What was waited for; `None`: it will not come. Without anything to wait for, never.
async fn waited_for(reply: &mut Option<oneshot::Receiver<Reply>>) -> Option<Reply> {
    match reply {
        Some(receiver) => {
            let came = receiver.await.ok();
            *reply = None;
            came
        }
        None => std::future::pending().await,
    }
}
