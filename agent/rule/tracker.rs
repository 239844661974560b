//! Tracks how old each connection is and how much has come in on it, and from that what it counts as. Over 400 lines
//! because the tables and the second witness tell one age.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::{Answers, ListenerId};
use super::facts::{ConnectionRow, NetworkId, Socket};
use super::moment::Moment;
use super::observation::{Observation, WatchedConnection};
use super::traffic::{NetworkTraffic, Traffic};

/// A connection that the server has not accepted delays a stop for this long after it was first seen. After that it is
/// the backlog of a frozen server, not a player joining.
pub const BACKLOG_GRACE: Duration = Duration::from_secs(30);
/// A connection younger than this is not a ghost.
pub const GHOST_AGE: Duration = Duration::from_mins(10);
/// A connection on which nothing has come in for this long is dead: a client that plays sends something every few
/// seconds, and the server disconnects one that sends nothing for 30 s.
pub const GHOST_SILENCE: Duration = Duration::from_mins(5);
/// Fewer bytes than this over the time it takes to be a ghost are not a game: a client answers a keep-alive of 10 bytes
/// every 15 s, each in its own segment.
pub const GHOST_BYTES: u64 = 600;
/// This many answers of zero, and none above, make a connection on which next to nothing comes in a ghost.
pub const GHOST_ANSWERS: usize = 5;

/// A connection that does not show any more is remembered for this long: the tables may leave a row out for a while.
const REMEMBERED: Duration = Duration::from_hours(1);
/// At most this many are remembered; beyond that, those that showed longest ago are forgotten.
const UNSHOWN: usize = 1024;

/// What an open connection counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionClass {
    Player,
    /// Not old enough to be a player; delays a due stop.
    Young,
    /// Not yet accepted by the server; delays a due stop.
    Joining,
    /// Waiting to be accepted for so long that the server must be hung.
    Backlog,
    /// Nothing comes in on it, or next to nothing while the server says that nobody is online.
    Ghost,
    /// Nothing has listened on its port since it was first seen.
    NoListener,
}

/// How many connections there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections old enough to be players; the pair that a proxy makes of one client counts once.
    pub players: usize,
    /// Accepted connections that are not yet players.
    pub young: usize,
    /// Not yet accepted, first seen less than [`BACKLOG_GRACE`] ago.
    pub joining: usize,
}

impl Counts {
    /// Whether nobody is there: no player, nobody who may become one, and nobody waiting to be accepted.
    #[must_use]
    pub fn nobody(self) -> bool {
        self == Counts::default()
    }
}

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Track {
    first_seen: Moment,
    /// It did not show before this; `None`: not known.
    shown_since: Option<Moment>,
    /// It was not open before this, accepted or not; `None`: not known.
    opened: Option<Moment>,
    last_seen: Moment,
    /// Whether the last observation showed it.
    shown: bool,
    listened: bool,
    listeners: Vec<ListenerId>,
    from: Option<NetworkId>,
    traffic: Traffic,
}

/// An accepted connection that a sample or the second witness has shown, and the last sample does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unshown {
    /// As in [`Track`].
    opened: Option<Moment>,
    last_shown: Moment,
}

/// What is kept of a connection across a restart of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownConnection {
    pub socket: Socket,
    pub first_seen: Moment,
    /// Whether something has listened on its port since then.
    pub listened: bool,
}

/// An accepted connection that has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedConnection {
    pub socket: Socket,
    /// The listeners whose answers apply to it.
    pub listeners: Vec<ListenerId>,
    /// From the first to the last sample that showed it.
    pub seen_for: Duration,
    /// To the last sample that showed it from the last one that did not; `None`: its network was found, or became
    /// readable again, only when the connection already existed. Never so in the host's network, which is looked at in
    /// every sample.
    pub open_for: Option<Duration>,
}

/// An open connection, and what it counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked<'a> {
    pub socket: Socket,
    /// How long it has been seen.
    pub age: Duration,
    /// How long it has been open, accepted or not; `None`: it may have been open long before it was first seen.
    pub open_for: Option<Duration>,
    pub class: ConnectionClass,
    /// The listeners whose answers apply to it.
    pub listeners: &'a [ListenerId],
    /// The network of its other end, if that is on this machine.
    pub from: Option<NetworkId>,
}

/// Every open connection, in an unbroken run of readable samples.
#[derive(Debug, Default)]
pub struct Tracker {
    tracks: BTreeMap<Socket, Track>,
    /// When each network that was readable in the last observation was last read.
    read: BTreeMap<NetworkId, Moment>,
    /// When the last observation was.
    last: Option<Moment>,
    received: BTreeMap<NetworkId, NetworkTraffic>,
    unshown: BTreeMap<Socket, Unshown>,
    /// The second witness has looked since [`Tracker::forget_witness`].
    witnessed: bool,
}

impl Tracker {
    /// Starts with the `known` connections, except those first seen after `now`.
    #[must_use]
    pub fn remembering(known: Vec<KnownConnection>, now: Moment) -> Self {
        let track = |known: KnownConnection| {
            // Whether another network was read before it was first seen is not kept.
            let since = known.socket.network.is_host().then_some(known.first_seen);
            Track {
                first_seen: known.first_seen,
                shown_since: since,
                opened: since,
                // A connection that ended before the first sample is taken to have lasted until now: its client may be
                // about to come back.
                last_seen: now,
                shown: false,
                listened: known.listened,
                listeners: Vec::new(),
                from: None,
                traffic: Traffic::default(),
            }
        };
        let past = known.into_iter().filter(|known| known.first_seen <= now);
        Tracker { tracks: past.map(|known| (known.socket, track(known))).collect(), ..Tracker::default() }
    }

    /// Before when a connection that shows for the first time at `now` did not; `None`: not known. A network that was read
    /// in the last observation would have shown it then, which counts as now.
    fn not_shown_before(&self, network: NetworkId, now: Moment) -> Option<Moment> {
        let read = *self.read.get(&network)?;
        Some(if Some(read) == self.last { now } else { read })
    }

    /// The connections to pass to [`Tracker::remembering`].
    #[must_use]
    pub fn known(&self) -> Vec<KnownConnection> {
        let known = |(socket, track): (&Socket, &Track)| KnownConnection {
            socket: *socket,
            first_seen: track.first_seen,
            listened: track.listened,
        };
        self.tracks.iter().map(known).collect()
    }

    /// A question of the agent's own has brought so many bytes to `network`.
    pub fn asked(&mut self, network: NetworkId, arrived: u64) {
        if let Some(received) = self.received.get_mut(&network) {
            received.own(arrived);
        }
    }

    /// Takes an observation: adds new connections, and removes and returns those that are gone, unless their network
    /// could not be read.
    pub fn update(&mut self, now: Moment, observation: &Observation) -> Vec<EndedConnection> {
        for (network, received) in &observation.received {
            self.received.entry(*network).or_default().note(now, *received);
        }
        for watched in &observation.connections {
            let socket = watched.connection.socket;
            let shown_since = self.not_shown_before(socket.network, now);
            let opened = self.opened(&socket, shown_since);
            self.unshown.remove(&socket);
            let new = Track {
                first_seen: now,
                shown_since,
                opened,
                last_seen: now,
                shown: true,
                listened: false,
                listeners: Vec::new(),
                from: None,
                traffic: Traffic::default(),
            };
            let track = self.tracks.entry(socket).or_insert(new);
            track.last_seen = now;
            track.listened |= watched.listening;
            track.listeners.clone_from(&watched.listeners);
            track.from = watched.from;
            if let Some(received) = watched.connection.received {
                track.traffic.note(now, received);
            }
        }
        self.read.retain(|network, _| observation.readable.contains(network));
        self.read.extend(observation.walked.iter().map(|network| (*network, now)));
        self.last = Some(now);
        let shown: BTreeSet<Socket> = observation.sockets().collect();
        let mut gone = Vec::new();
        self.tracks.retain(|socket, track| {
            track.shown = shown.contains(socket);
            // What was not looked for is not gone.
            let unread =
                observation.readable.contains(&socket.network) && !observation.walked.contains(&socket.network);
            let stays = track.shown || unread || observation.may_hide(socket.network);
            // What was not accepted cannot be told from another connection of the same port.
            if !stays && socket.inode.is_some() {
                self.unshown.insert(*socket, Unshown { opened: track.opened, last_shown: track.last_seen });
            }
            if !stays && track.listened && socket.inode.is_some() {
                gone.push(EndedConnection {
                    socket: *socket,
                    listeners: std::mem::take(&mut track.listeners),
                    seen_for: track.last_seen.since(track.first_seen),
                    open_for: match track.shown_since {
                        None if socket.network.is_host() => Some(track.last_seen.since(track.first_seen)),
                        since => since.map(|since| track.last_seen.since(since)),
                    },
                });
            }
            stays
        });
        self.received.retain(|network, _| shown.iter().any(|socket| socket.network == *network));
        self.forget_unshown(now);
        gone
    }

    fn forget_unshown(&mut self, now: Moment) {
        self.unshown.retain(|_, unshown| now.since(unshown.last_shown) < REMEMBERED);
        while self.unshown.len() > UNSHOWN {
            let oldest = self.unshown.iter().min_by_key(|(_, unshown)| unshown.last_shown);
            let Some(oldest) = oldest.map(|(socket, _)| *socket) else { break };
            self.unshown.remove(&oldest);
        }
    }

    /// Takes what the second witness shows in a last look. How long what it alone shows has been open is not known: if it
    /// still shows it in the next look, the tables leave it out.
    pub fn witness(&mut self, now: Moment, observation: &Observation) {
        self.witnessed = true;
        let alone = |socket: &Socket| socket.inode.is_some() && !self.tracks.contains_key(socket);
        for socket in observation.sockets().filter(alone) {
            let unshown = self.unshown.entry(socket).or_insert(Unshown { opened: None, last_shown: now });
            unshown.last_shown = now;
        }
    }

    /// The looks of the second witness so far were in an earlier wait.
    pub fn forget_witness(&mut self) {
        self.witnessed = false;
    }

    /// When a connection that the last sample did not show was opened: `new`, unless it has shown before, accepted or not.
    fn opened(&self, socket: &Socket, new: Option<Moment>) -> Option<Moment> {
        let unshown = self.unshown.get(socket).map(|unshown| unshown.opened);
        let waited = || self.tracks.get(&Socket { inode: None, ..*socket }).map(|waited| waited.opened);
        unshown.or_else(waited).unwrap_or(new)
    }

    /// Every connection of the last observation. Those of networks that could not be read are kept and grow older, but
    /// are left out here because they were not seen.
    pub fn connections<'a>(
        &'a self,
        now: Moment,
        min_connection: Duration,
        answers: &'a Answers,
    ) -> impl Iterator<Item = Tracked<'a>> {
        let shown = self.tracks.iter().filter(|(_, track)| track.shown);
        shown.map(move |(socket, track)| Tracked {
            socket: *socket,
            age: now.since(track.first_seen),
            open_for: track.opened.map(|opened| now.since(opened)),
            class: if track.listened {
                self.class(socket, track, now, min_connection, answers)
            } else {
                ConnectionClass::NoListener
            },
            listeners: &track.listeners,
            from: track.from,
        })
    }

    /// How long a connection of another observation at `now` has been open, if that is known, and what it counts as,
    /// given what is known so far; one never seen before is new.
    #[must_use]
    pub fn standing_of(
        &self,
        watched: &WatchedConnection,
        now: Moment,
        min_connection: Duration,
        answers: &Answers,
    ) -> (Option<Duration>, ConnectionClass) {
        let ConnectionRow { socket, .. } = watched.connection;
        match self.tracks.get(&socket) {
            Some(track) if track.listened || watched.listening => {
                let open_for = track.opened.map(|opened| now.since(opened));
                (open_for, self.class(&socket, track, now, min_connection, answers))
            }
            None if watched.listening => {
                // As long as the witness has not looked in this wait, the tables may have left it out all the time.
                let new = self.not_shown_before(socket.network, now).filter(|_| self.witnessed);
                let opened = self.opened(&socket, new);
                (opened.map(|opened| now.since(opened)), class(&socket, Duration::ZERO, min_connection))
            }
            _ => (Some(Duration::ZERO), ConnectionClass::NoListener),
        }
    }

    /// What a connection counts as, given that something has listened on its port.
    fn class(
        &self,
        socket: &Socket,
        track: &Track,
        now: Moment,
        min_connection: Duration,
        answers: &Answers,
    ) -> ConnectionClass {
        let age = now.since(track.first_seen);
        if socket.inode.is_some() && age >= GHOST_AGE && self.is_ghost(socket, track, now, answers) {
            return ConnectionClass::Ghost;
        }
        class(socket, age, min_connection)
    }

    fn is_ghost(&self, socket: &Socket, track: &Track, now: Moment, answers: &Answers) -> bool {
        let dead = if socket.network.is_host() {
            track.traffic.is_below(1, GHOST_SILENCE, now)
        } else {
            let received = self.received.get(&socket.network);
            received.is_some_and(|received| received.is_below(GHOST_BYTES, GHOST_SILENCE, now))
        };
        let nobody = |listener: &ListenerId| answers.said_nobody(listener, now, GHOST_ANSWERS);
        let made_up = !track.listeners.is_empty()
            && track.listeners.iter().all(nobody)
            && track.traffic.is_below(GHOST_BYTES, GHOST_AGE, now);
        dead || made_up
    }
}

fn class(socket: &Socket, age: Duration, min_connection: Duration) -> ConnectionClass {
    match socket.inode {
        Some(_) if age >= min_connection => ConnectionClass::Player,
        Some(_) => ConnectionClass::Young,
        None if age < BACKLOG_GRACE => ConnectionClass::Joining,
        None => ConnectionClass::Backlog,
    }
}

/// Counts connections; the pair that a proxy on this machine makes of one client counts as one player.
#[must_use]
pub fn count<'a>(connections: impl IntoIterator<Item = Tracked<'a>>) -> Counts {
    let mut counts = Counts::default();
    let mut players = Vec::new();
    for connection in connections {
        match connection.class {
            ConnectionClass::Player => players.push((connection.socket, connection.from)),
            ConnectionClass::Young => counts.young += 1,
            ConnectionClass::Joining => counts.joining += 1,
            ConnectionClass::Backlog | ConnectionClass::Ghost | ConnectionClass::NoListener => {}
        }
    }
    // By the network that they come from and the server that they go to: players that may have reached that network
    // through a proxy.
    let mut inner: BTreeMap<(NetworkId, NetworkId, u16), usize> = BTreeMap::new();
    for (socket, from) in &players {
        if let Some(from) = from {
            *inner.entry((*from, socket.network, socket.local.port())).or_default() += 1;
        }
    }
    let pairs: usize = inner
        .iter()
        .map(|((from, network, port), number)| {
            let to_a_proxy =
                |socket: &Socket| socket.network == *from && (socket.network, socket.local.port()) != (*network, *port);
            (*number).min(players.iter().filter(|(socket, _)| to_a_proxy(socket)).count())
        })
        .sum();
    counts.players = players.len().saturating_sub(pairs).max(usize::from(!players.is_empty()));
    counts
}
