//! The state machine of a connection. Over 400 lines, tests aside: every step of the protocol is here, and only here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mc_players::Uuid;

use crate::connection::gate::Auth;
use crate::connection::{Action, Closed, Common, HANDSHAKE, Vouched};
use crate::crypto::cipher::{Decryptor, Encryptor, SECRET};
use crate::crypto::login_hash::login_hash;
use crate::crypto::offline_uuid::offline_uuid;
use crate::lobby::Order;
use crate::lobby::guest::{Account, Guest, Manner};
use crate::protocol::handshake::{self, Intent};
use crate::protocol::login::{self, LoginStart, Proof};
use crate::protocol::status::{self, StatusQuestion};
use crate::protocol::versions::{ConfigurationIds, Dialect};
use crate::protocol::{configuration, legacy_ping};
use crate::server::status::Family;
use crate::texts::Ending;
use crate::wire::frame::{Frames, framed};

/// How long a client may take to encrypt: it asks the session server before it answers.
const ENCRYPTION: Duration = Duration::from_secs(15);
/// How long it may take to acknowledge the end of the login.
const ACKNOWLEDGEMENT: Duration = Duration::from_secs(10);
/// How often something is sent to those who are held: a client gives up after 30 s of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Whoever is held, and has not sent anything for so long, has gone. A client whose window is being dragged sends nothing
/// for up to 60 s (the game's own source, 26.3).
const GONE: Duration = Duration::from_secs(90);
/// How long a ping of the oldest clients, which has one byte, waits for a second one.
const SECOND_BYTE: Duration = Duration::from_millis(500);
/// More is not taken from somebody who is held, in bytes: mods greet with some hundred KiB.
const MOST_WHILE_HELD: u64 = 4 * 1024 * 1024;

/// What is shown in the server list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Face {
    /// The broker's own words.
    Text(String),
    /// The server's own answer, as JSON, and a text for clients that cannot read it.
    Server { json: String, text: String },
}

/// Who logs in.
#[derive(Debug)]
struct Player {
    protocol: u32,
    dialect: Dialect,
    start: LoginStart,
    /// Handshake and Login Start as they came in, for a relay.
    first: Vec<u8>,
}

/// How far a player of a held connection is.
#[derive(Debug)]
enum Stage {
    /// Login Success is sent, and not acknowledged.
    Finishing {
        ids: ConfigurationIds,
        until: Duration,
    },
    Configuration {
        ids: ConfigurationIds,
    },
    /// In the login, by plugin requests; how many are not answered. Of those who are encrypted, that is not counted.
    Login {
        unanswered: u32,
    },
}

#[derive(Debug)]
enum Phase {
    Handshake,
    /// One byte of a legacy ping has come.
    LegacyPing {
        until: Duration,
    },
    Status {
        protocol: u32,
        /// A client asks once: the answer can be a thousand times as long as the question.
        answered: bool,
    },
    LoginStart {
        protocol: u32,
        first: Vec<u8>,
    },
    /// Whether the address may have one more login is being found out.
    Admission {
        player: Player,
    },
    /// The lobby is asked whether the server is up.
    Asking {
        player: Player,
    },
    Encryption {
        player: Player,
        token: [u8; 4],
        until: Duration,
    },
    /// The secret is being decrypted.
    Decrypting {
        player: Player,
        token: Option<[u8; 4]>,
    },
    /// The session server is asked.
    Vouching {
        player: Player,
    },
    Held {
        player: Player,
        stage: Stage,
        order: Option<Order>,
        next: Duration,
        number: u32,
    },
    Closed,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    peer: IpAddr,
    phase: Phase,
    input: Frames,
    encryptor: Option<Box<Encryptor>>,
    decryptor: Option<Box<Decryptor>>,
    /// When it began, and when something last came in.
    began: Duration,
    heard: Duration,
    /// What has come in since it is held, in bytes.
    taken: u64,
}

impl Connection {
    /// One that has just been accepted, from `peer`.
    #[must_use]
    pub fn new(peer: IpAddr, now: Duration) -> Self {
        Connection {
            peer,
            phase: Phase::Handshake,
            input: Frames::default(),
            encryptor: None,
            decryptor: None,
            began: now,
            heard: now,
            taken: 0,
        }
    }

    /// The name that the client has said, between that and the end of its login.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.phase {
            Phase::Admission { player }
            | Phase::Asking { player }
            | Phase::Encryption { player, .. }
            | Phase::Decrypting { player, .. }
            | Phase::Vouching { player }
            | Phase::Held { player, .. } => Some(&player.start.name),
            _ => None,
        }
    }

    /// When [`Connection::tick`] is to be called.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        match &self.phase {
            Phase::Handshake | Phase::Status { .. } | Phase::LoginStart { .. } => self.began + HANDSHAKE,
            Phase::LegacyPing { until }
            | Phase::Encryption { until, .. }
            | Phase::Held { stage: Stage::Finishing { until, .. }, .. } => *until,
            Phase::Held { next, .. } => *next,
            // Whoever is asked answers within bounds.
            Phase::Admission { .. } | Phase::Asking { .. } | Phase::Decrypting { .. } | Phase::Vouching { .. } => {
                self.heard + GONE
            }
            Phase::Closed => Duration::MAX,
        }
    }

    /// The client has sent `bytes`. `face` is what the server list shows.
    pub fn received(&mut self, bytes: &mut [u8], common: &Common, face: &Face, now: Duration) -> Vec<Action> {
        self.heard = now;
        if let Phase::Held { stage: Stage::Configuration { .. }, .. } = self.phase {
            // Nothing that comes in here changes anything.
            return self.count(bytes.len());
        }
        if let Some(decryptor) = &mut self.decryptor {
            decryptor.decrypt(bytes);
        }
        self.input.push(bytes);
        let mut actions = Vec::new();
        loop {
            match self.step(common, face, now) {
                Step::Act(mut more) => actions.append(&mut more),
                Step::NeedsMore => return actions,
                Step::Malformed => {
                    actions.push(self.close(Closed::Malformed));
                    return actions;
                }
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, face: &Face, now: Duration) -> Vec<Action> {
        if now < self.next_tick() {
            return Vec::new();
        }
        match &mut self.phase {
            Phase::LegacyPing { .. } => self.legacy_answer(face, true),
            Phase::Held { player, stage, next, number, .. } => {
                if now.saturating_sub(self.heard) >= GONE {
                    return vec![self.close(Closed::Silent)];
                }
                *number = number.wrapping_add(1);
                let packet = match stage {
                    Stage::Finishing { .. } => return vec![self.close(Closed::Silent)],
                    Stage::Configuration { ids } => configuration::keep_alive(*ids, (*number).into()),
                    Stage::Login { unanswered } if player.dialect != Dialect::Brief => {
                        *unanswered += 1;
                        login::plugin_request(*number)
                    }
                    // It waits for a moment only, and has nothing that it could be asked.
                    Stage::Login { .. } => Vec::new(),
                };
                *next = now + KEEP_ALIVE;
                self.sent(packet)
            }
            Phase::Closed => Vec::new(),
            _ => vec![self.close(Closed::Silent)],
        }
    }

    /// Whether the address may have one more login.
    pub fn admitted(&mut self, may: bool) -> Vec<Action> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Admission { player } if may => {
                let guest = self.guest(&player);
                self.phase = Phase::Asking { player };
                vec![Action::Ask(guest)]
            }
            Phase::Admission { .. } => self.tell(Ending::TooOften),
            other => self.stay(other),
        }
    }

    /// The lobby has decided. `random` is not to be foreseen by anybody.
    pub fn ordered(&mut self, order: Order, common: &Common, random: u128, now: Duration) -> Vec<Action> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Asking { player } => match order {
                Order::End(ending) => self.tell(ending),
                Order::HandOver(to) => self.hand_over_at_once(player, to, random, now),
                Order::LogIn => self.log_in(player, common, random, now),
            },
            Phase::Held { player, stage, next, number, order: _ } => {
                self.phase = Phase::Held { player, stage, next, number, order: Some(order) };
                self.obey()
            }
            other => self.stay(other),
        }
    }

    /// The secret and the token, decrypted; `None`: they cannot be.
    pub fn decrypted(&mut self, plain: Option<(&[u8], Option<&[u8]>)>, common: &Common, now: Duration) -> Vec<Action> {
        let (player, sent_token) = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Decrypting { player, token } => (player, token),
            other => return self.stay(other),
        };
        let secret = plain.and_then(|(secret, token)| {
            let is_ours = sent_token.is_none_or(|sent| token == Some(&sent[..]));
            <[u8; SECRET]>::try_from(secret).ok().filter(|_| is_ours)
        });
        let Some(secret) = secret else { return vec![self.close(Closed::Malformed)] };
        self.heard = now;
        self.encryptor = Some(Box::new(Encryptor::new(secret)));
        let mut decryptor = Decryptor::new(secret);
        // What has come in behind the answer is encrypted already.
        let mut behind = self.input.take();
        decryptor.decrypt(&mut behind);
        self.input.push(&behind);
        self.decryptor = Some(Box::new(decryptor));
        let (name, hash) = (player.start.name.clone(), login_hash(&secret, &common.public_key));
        self.phase = Phase::Vouching { player };
        vec![Action::AskSessionServer { name, hash }]
    }

    /// The session server has answered.
    pub fn vouched(&mut self, vouched: Vouched, common: &Common, random: u128, now: Duration) -> Vec<Action> {
        let player = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Vouching { player } => player,
            other => return self.stay(other),
        };
        match vouched {
            Vouched::For(account) if !common.gate.permits(&account) => self.tell(Ending::NotListed),
            Vouched::For(account) => self.hold(player, account, random, now),
            Vouched::ForNobody => self.tell(Ending::NotAuthenticated),
            Vouched::Unknown(why) => self.tell(Ending::SessionServerDown(why)),
            Vouched::Busy => self.tell(Ending::Busy),
        }
    }

    /// Ends the connection from here, with a text if the client can read one now.
    pub fn end(&mut self, ending: Ending) -> Vec<Action> {
        match &mut self.phase {
            Phase::Held { order, .. } => {
                *order = Some(Order::End(ending));
                self.obey()
            }
            Phase::Asking { .. } | Phase::Admission { .. } | Phase::Encryption { .. } | Phase::Vouching { .. } => {
                self.tell(ending)
            }
            _ => vec![self.close(Closed::Told(ending))],
        }
    }

    fn stay(&mut self, phase: Phase) -> Vec<Action> {
        self.phase = phase;
        Vec::new()
    }

    fn count(&mut self, bytes: usize) -> Vec<Action> {
        self.taken += u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.taken > MOST_WHILE_HELD { vec![self.close(Closed::Malformed)] } else { Vec::new() }
    }

    fn sent(&mut self, mut bytes: Vec<u8>) -> Vec<Action> {
        if bytes.is_empty() {
            return Vec::new();
        }
        if let Some(encryptor) = &mut self.encryptor {
            encryptor.encrypt(&mut bytes);
        }
        vec![Action::Send(bytes)]
    }

    fn close(&mut self, why: Closed) -> Action {
        self.phase = Phase::Closed;
        Action::Close(why)
    }

    /// Says a text to somebody who is in the login.
    fn tell(&mut self, ending: Ending) -> Vec<Action> {
        let mut actions = self.sent(login::disconnect(&ending.to_string()));
        actions.push(self.close(Closed::Told(ending)));
        actions
    }

    /// What can be done with what has come in.
    fn step(&mut self, common: &Common, face: &Face, now: Duration) -> Step {
        match &self.phase {
            Phase::Handshake => {
                if self.input.bytes().first() == Some(&legacy_ping::FIRST) {
                    self.phase = Phase::LegacyPing { until: now + SECOND_BYTE };
                    return Step::Act(Vec::new());
                }
            }
            Phase::LegacyPing { .. } => {
                return match self.input.bytes() {
                    [_, legacy_ping::SECOND, ..] => Step::Act(self.legacy_answer(face, false)),
                    [_, _, ..] => Step::Malformed,
                    _ => Step::NeedsMore,
                };
            }
            // One question at a time; and nobody has anything to say now.
            Phase::Admission { .. } | Phase::Asking { .. } | Phase::Decrypting { .. } | Phase::Vouching { .. } => {
                let too_much = self.input.bytes().len() > crate::wire::frame::LONGEST;
                return if too_much { Step::Malformed } else { Step::NeedsMore };
            }
            Phase::Held { stage: Stage::Configuration { .. }, .. } => {
                let behind = self.input.take().len();
                return match self.count(behind) {
                    actions if actions.is_empty() => Step::NeedsMore,
                    actions => Step::Act(actions),
                };
            }
            Phase::Closed => return Step::NeedsMore,
            Phase::Status { .. } | Phase::LoginStart { .. } | Phase::Encryption { .. } | Phase::Held { .. } => {}
        }
        match self.input.next_packet() {
            Ok(Some(packet)) => self.packet(&packet, common, face, now).map_or(Step::Malformed, Step::Act),
            Ok(None) => Step::NeedsMore,
            Err(_) => Step::Malformed,
        }
    }

    /// A whole packet has come in; `None`: it is not one that may come now.
    fn packet(&mut self, packet: &[u8], common: &Common, face: &Face, now: Duration) -> Option<Vec<Action>> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Handshake => {
                let read = handshake::read(packet).ok()?;
                self.phase = match read.intent {
                    Intent::Status => Phase::Status { protocol: read.protocol, answered: false },
                    Intent::Login => Phase::LoginStart {
                        protocol: read.protocol,
                        first: if common.relay { framed(packet) } else { Vec::new() },
                    },
                };
                Some(Vec::new())
            }
            Phase::Status { protocol, answered } => match status::read(packet)? {
                StatusQuestion::Status if answered => None,
                StatusQuestion::Status => {
                    self.phase = Phase::Status { protocol, answered: true };
                    let json = match face {
                        Face::Text(text) => status::own(text, protocol, &common.mark),
                        Face::Server { json, .. } => json.clone(),
                    };
                    Some(vec![Action::Send(status::response(&json))])
                }
                StatusQuestion::Ping(number) => {
                    Some(vec![Action::Send(status::pong(number)), self.close(Closed::Answered)])
                }
            },
            Phase::LoginStart { protocol, mut first } => {
                let start = login::read_start(packet, protocol).ok()?;
                if common.relay {
                    first.extend(framed(packet));
                }
                let dialect = common.protocols.dialect(protocol);
                self.phase = Phase::Admission { player: Player { protocol, dialect, start, first } };
                Some(vec![Action::Admit])
            }
            Phase::Encryption { player, token, until: _ } => {
                let (secret, proof) = login::read_encryption(packet, player.protocol).ok()?;
                let (expected, encrypted) = match proof {
                    Proof::Token(encrypted) => (Some(token), Some(encrypted.to_vec())),
                    Proof::Signature => (None, None),
                };
                let secret = secret.to_vec();
                self.phase = Phase::Decrypting { player, token: expected };
                Some(vec![Action::Decrypt { secret, token: encrypted }])
            }
            Phase::Held { player, stage, order, next, number } => {
                let stage = match stage {
                    Stage::Finishing { ids, .. } if login::is_acknowledged(packet) => Stage::Configuration { ids },
                    Stage::Login { unanswered } if login::is_plugin_response(packet) => {
                        Stage::Login { unanswered: unanswered.saturating_sub(1) }
                    }
                    // A cookie that nobody asked for, and the like.
                    stage @ Stage::Login { .. } => stage,
                    Stage::Finishing { .. } | Stage::Configuration { .. } => return None,
                };
                let next = if matches!(stage, Stage::Configuration { .. }) { now + KEEP_ALIVE } else { next };
                self.phase = Phase::Held { player, stage, order, next, number };
                let mut actions = self.count(packet.len());
                actions.extend(self.obey());
                Some(actions)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn legacy_answer(&mut self, face: &Face, oldest: bool) -> Vec<Action> {
        let (Face::Text(text) | Face::Server { text, .. }) = face;
        let answer = if oldest { legacy_ping::oldest_answer(text) } else { legacy_ping::answer(text) };
        vec![Action::Send(answer), self.close(Closed::Answered)]
    }

    fn guest(&self, player: &Player) -> Guest {
        let manner = match player.dialect {
            Dialect::Transfer(_) => Manner::HandOver,
            _ if !player.first.is_empty() => Manner::Relay,
            Dialect::Plugin => Manner::Tell,
            Dialect::Brief => Manner::Brief,
        };
        Guest { name: player.start.name.clone(), family: Family::of(self.peer), manner }
    }

    /// The server is up: nobody has to be authenticated, since it does that itself.
    fn hand_over_at_once(&mut self, player: Player, to: SocketAddr, random: u128, now: Duration) -> Vec<Action> {
        let Dialect::Transfer(ids) = player.dialect else {
            return self.relay(player, to);
        };
        let mut actions = self.finish(&player, ids, random);
        let (stage, order) = (Stage::Finishing { ids, until: now + ACKNOWLEDGEMENT }, Some(Order::HandOver(to)));
        self.phase = Phase::Held { player, stage, order, next: now + ACKNOWLEDGEMENT, number: 0 };
        actions.extend(self.obey());
        actions
    }

    fn relay(&mut self, player: Player, to: SocketAddr) -> Vec<Action> {
        if player.first.is_empty() {
            return self.tell(Ending::Up(to));
        }
        let mut first = player.first;
        first.extend(self.input.take());
        self.phase = Phase::Closed;
        vec![Action::Relay { to, first }]
    }

    fn finish(&mut self, player: &Player, ids: ConfigurationIds, random: u128) -> Vec<Action> {
        let uuid = player.start.uuid.unwrap_or_else(|| offline_uuid(&player.start.name));
        self.sent(login::success(&player.start.name, uuid, random, ids.success_tail))
    }

    /// The server is not up.
    fn log_in(&mut self, mut player: Player, common: &Common, random: u128, now: Duration) -> Vec<Action> {
        if !common.gate.may_permit(&player.start.name) {
            return self.tell(Ending::NotListed);
        }
        match common.gate.auth {
            Auth::SessionServer => {
                let [a, b, c, d, ..] = random.to_be_bytes();
                let token = [a, b, c, d];
                let request = login::encryption_request(player.protocol, &common.public_key, &token);
                // Whoever is encrypted cannot be relayed: the server would have to be told the secret.
                player.first = Vec::new();
                self.phase = Phase::Encryption { player, token, until: now + ENCRYPTION };
                self.sent(request)
            }
            Auth::None => {
                let uuid = Uuid::of_bytes(offline_uuid(&player.start.name)).to_string();
                let account = Account { name: player.start.name.clone(), uuid };
                if common.gate.permits(&account) {
                    self.hold(player, account, random, now)
                } else {
                    self.tell(Ending::NotListed)
                }
            }
        }
    }

    fn hold(&mut self, player: Player, account: Account, random: u128, now: Duration) -> Vec<Action> {
        let guest = self.guest(&player);
        let mut actions = vec![Action::Join(guest, account)];
        // At once: whoever has waited for the session server has heard nothing for a while.
        let (stage, next) = match player.dialect {
            Dialect::Transfer(ids) => {
                actions.extend(self.finish(&player, ids, random));
                (Stage::Finishing { ids, until: now + ACKNOWLEDGEMENT }, now + ACKNOWLEDGEMENT)
            }
            Dialect::Plugin | Dialect::Brief => (Stage::Login { unanswered: 0 }, now),
        };
        self.heard = now;
        self.phase = Phase::Held { player, stage, order: None, next, number: 0 };
        actions
    }

    /// Carries out the lobby's order, if there is one and the client is so far.
    fn obey(&mut self) -> Vec<Action> {
        let (stage, order) = match &mut self.phase {
            Phase::Held { stage: Stage::Finishing { .. }, .. } => return Vec::new(),
            Phase::Held { stage, order, player, .. } => {
                let waits =
                    matches!(stage, Stage::Login { unanswered: 1.. }) && matches!(order, Some(Order::HandOver(_)));
                if waits && !player.first.is_empty() {
                    // The server would take the answers for its own.
                    return Vec::new();
                }
                match order.take() {
                    Some(order) => (stage, order),
                    None => return Vec::new(),
                }
            }
            _ => return Vec::new(),
        };
        match (stage, order) {
            (Stage::Configuration { ids }, Order::HandOver(to)) => {
                let packet = configuration::transfer(*ids, to);
                let mut actions = self.sent(packet);
                actions.push(self.close(Closed::HandedOver));
                actions
            }
            (Stage::Configuration { ids }, Order::End(ending)) => {
                let packet = configuration::disconnect(*ids, &ending.to_string());
                let mut actions = self.sent(packet);
                actions.push(self.close(Closed::Told(ending)));
                actions
            }
            (Stage::Login { .. }, Order::HandOver(to)) => match std::mem::replace(&mut self.phase, Phase::Closed) {
                Phase::Held { player, .. } => self.relay(player, to),
                _ => Vec::new(),
            },
            (Stage::Login { .. }, Order::End(ending)) => self.tell(ending),
            (_, Order::LogIn) | (Stage::Finishing { .. }, _) => Vec::new(),
        }
    }
}

enum Step {
    Act(Vec<Action>),
    NeedsMore,
    Malformed,
}
