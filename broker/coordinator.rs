//! The one task that all connections ask: it has the lobby, and carries out what the lobby wants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mc_broker_core::connection::machine::Face;
use mc_broker_core::lobby::guest::{Account, Guest};
use mc_broker_core::lobby::start::StartAnswer;
use mc_broker_core::lobby::{Effect, Errand, Id, Lobby, Note, Shown};
use mc_broker_core::protocol::status;
use mc_broker_core::server::own_addresses::OwnAddresses;
use mc_broker_core::server::sight::PingResult;
use mc_broker_core::server::status::LauncherStatus;
use mc_broker_core::texts::in_words;
use mc_service::notify::{Supervisor, Systemd};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tracing::Level;

use crate::config::settings::ListTexts;
use crate::counters::Counters;
use crate::game;
use crate::journal::{Journal, Kind};
use crate::launcher::Launcher;
use crate::metrics::{Gauges, Textfile};
use crate::net::shared::{Reply, Shared};

/// How often systemd and the metrics are told.
const REPORTS: Duration = Duration::from_secs(5);

/// What a connection, or an errand, tells the coordinator.
#[derive(Debug)]
pub enum Message {
    Ask(Id, Guest, oneshot::Sender<Reply>),
    Join(Id, Guest, Account, oneshot::Sender<Reply>),
    Leave(Id),
    Status(Duration, Result<LauncherStatus, String>),
    Pinged(SocketAddr, PingResult),
    Probed(SocketAddr, bool),
    Started(Duration, StartAnswer),
}

/// What the one task holds.
pub struct Coordinator {
    lobby: Lobby,
    /// To whom the next order goes.
    waiting: HashMap<Id, oneshot::Sender<Reply>>,
    shared: Arc<Shared>,
    launcher: Launcher,
    own: OwnAddresses,
    texts: ListTexts,
    journal: Journal,
    supervisor: Systemd,
    metrics: Textfile,
    /// What was last said about the server.
    shown: Option<Shown>,
    reported: Duration,
    /// How many status pings there were.
    pings: u64,
}

/// What a coordinator is made of.
pub struct CoordinatorParts {
    pub shared: Arc<Shared>,
    pub launcher: Launcher,
    pub own: OwnAddresses,
    pub texts: ListTexts,
    pub hold: Duration,
    pub journal: Journal,
    pub supervisor: Systemd,
    pub metrics: Textfile,
}

impl Coordinator {
    /// One for whom nobody waits yet.
    #[must_use]
    pub fn new(parts: CoordinatorParts) -> Self {
        let CoordinatorParts { shared, launcher, own, texts, hold, journal, supervisor, metrics } = parts;
        Coordinator {
            lobby: Lobby::new(hold),
            waiting: HashMap::new(),
            shared,
            launcher,
            own,
            texts,
            journal,
            supervisor,
            metrics,
            shown: None,
            reported: Duration::ZERO,
            pings: 0,
        }
    }

    /// Works until `end` comes.
    pub async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>, mut end: oneshot::Receiver<()>) {
        self.supervisor.ready();
        let mut ticked = self.shared.clock.now();
        let effects = self.lobby.tick(ticked);
        self.carry_out(effects);
        loop {
            // However much there is to do.
            let next = self.shared.clock.instant(ticked + self.lobby.tick_every());
            let effects = tokio::select! {
                biased;
                _ = &mut end => break,
                () = sleep_until(next) => {
                    ticked = self.shared.clock.now();
                    let pings = self.shared.counters.pings.load(Ordering::Relaxed);
                    if std::mem::replace(&mut self.pings, pings) < pings {
                        self.lobby.looked_at(ticked);
                    }
                    self.lobby.tick(ticked)
                }
                Some(message) = messages.recv() => self.take(message),
            };
            self.carry_out(effects);
            self.report();
        }
        self.supervisor.stopping();
    }

    fn take(&mut self, message: Message) -> Vec<Effect> {
        let now = self.shared.clock.now();
        match message {
            Message::Ask(id, guest, reply) => {
                self.waiting.insert(id, reply);
                self.lobby.ask(id, guest, now)
            }
            Message::Join(id, guest, account, reply) => {
                self.waiting.insert(id, reply);
                self.lobby.join(id, guest, account, now)
            }
            Message::Leave(id) => {
                self.waiting.remove(&id);
                self.lobby.leave(id);
                Vec::new()
            }
            Message::Status(asked, status) => self.lobby.status(asked, now, status),
            Message::Pinged(target, result) => self.lobby.pinged(target, now, result),
            Message::Probed(target, accepts) => self.lobby.probed(target, now, accepts),
            Message::Started(asked, answer) => self.lobby.started(asked, now, &answer),
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Order(id, order) => {
                    if let Some(reply) = self.waiting.remove(&id) {
                        // The connection may be gone.
                        let _ = reply.send(Reply::Order(order));
                    }
                }
                Effect::Errand(errand) => self.send(errand),
                Effect::Note(note) => self.note(&note),
            }
        }
        self.show();
    }

    fn send(&self, errand: Errand) {
        let coordinator = self.shared.coordinator.clone();
        let tell = move |message| {
            // The coordinator ends with the program.
            let _ = coordinator.send(message);
        };
        match errand {
            Errand::Status { asked } => {
                let launcher = self.launcher.clone();
                tokio::spawn(async move { tell(Message::Status(asked, launcher.status().await)) });
            }
            Errand::Start { asked, account } => {
                let launcher = self.launcher.clone();
                tokio::spawn(async move { tell(Message::Started(asked, launcher.start(&account).await)) });
            }
            Errand::Ping(target) if self.own.has(target, is_local) => {
                tell(Message::Pinged(target, PingResult::Ourselves));
            }
            Errand::Ping(target) => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    let result = game::ping(target, &shared.common.mark, shared.relay_proxy_header).await;
                    tell(Message::Pinged(target, result));
                });
            }
            Errand::Probe(target) => {
                let words = self.lobby.words().unwrap_or_default().to_vec();
                tokio::spawn(async move {
                    let takes = game::takes_transfers(target, &words).await;
                    tell(Message::Probed(target, takes.unwrap_or(true)));
                });
            }
        }
    }

    fn note(&self, note: &Note) {
        let (level, kind, player, text) = match note {
            Note::Started { name } => {
                Counters::add(&self.shared.counters.starts);
                (Level::INFO, Kind::StartAccepted, Some(name), format!("{name} joins: the server is started."))
            }
            Note::Refused { name, why } => {
                let why = why.trim_end_matches('.');
                (
                    Level::WARN,
                    Kind::StartRefused,
                    Some(name),
                    format!("{name} joins, and the server is not started: {why}."),
                )
            }
            Note::HandedOver { name, to, held } => {
                Counters::add(&self.shared.counters.handed_over);
                let text = format!("{name} is handed over to {}{}.", in_words(*to), after(*held));
                (Level::INFO, Kind::HandedOver, Some(name), text)
            }
            Note::Relayed { name, to, held } => {
                let text = format!("{name} is relayed to {}{}.", in_words(*to), after(*held));
                (Level::INFO, Kind::HandedOver, Some(name), text)
            }
            Note::TransfersRefused { at } => {
                let text = format!(
                    "The server at {} does not take players who are handed over: set accepts-transfers=true in its \
                     server.properties.",
                    in_words(*at)
                );
                (Level::ERROR, Kind::TransfersRefused, None, text)
            }
            Note::LeadsBack { to } => {
                let text =
                    format!("The launcher says that the server is at {}, and that is this broker.", in_words(*to));
                (Level::ERROR, Kind::LeadsBack, None, text)
            }
            Note::LauncherDown { why } => {
                let text = format!("Cannot ask the launcher, so nobody can be handed over: {why}.");
                (Level::WARN, Kind::Launcher, None, text)
            }
            Note::LauncherBack => (Level::INFO, Kind::Launcher, None, "The launcher answers again.".to_owned()),
        };
        self.journal.tell(level, kind, player.map(String::as_str), text);
    }

    /// Puts what is known of the server where connections find it.
    fn show(&mut self) {
        let shown = self.lobby.shown(self.shared.clock.now());
        if self.shown.as_ref() == Some(&shown) {
            return;
        }
        let is_news = self.shown.as_ref().is_none_or(|last| last.word() != shown.word());
        // At the start nothing is known yet, which is no news.
        if is_news && self.lobby.sight().has_heard() {
            self.journal.tell(Level::INFO, Kind::StateChanged, None, format!("The server is {}.", shown.in_words()));
        }
        let text = shown.text(&self.texts.asleep, &self.texts.starting, &self.texts.up);
        let own = shown.words().and_then(|words| status::passed_on(words, &self.shared.common.mark));
        self.shared.show(match own {
            Some(json) => Face::Server { json, text },
            None => Face::Text(text),
        });
        self.shown = Some(shown);
    }

    fn report(&mut self) {
        let now = self.shared.clock.now();
        let shown = self.lobby.shown(now);
        let held = match self.lobby.held() {
            0 => "nobody waits".to_owned(),
            1 => "1 player waits".to_owned(),
            held => format!("{held} players wait"),
        };
        self.supervisor.status(&format!("The server is {}; {held}.", shown.in_words()));
        if now.saturating_sub(self.reported) < REPORTS {
            return;
        }
        self.reported = now;
        self.supervisor.alive();
        self.shared.limits().forget(now);
        let gauges = Gauges { connections: self.shared.connections(), held: self.lobby.held(), state: shown.word() };
        self.metrics.write(&self.shared.counters, gauges);
    }
}

/// How long somebody was held, if he was.
fn after(held: Duration) -> String {
    if held.is_zero() { String::new() } else { format!(" after {} s", held.as_secs()) }
}

/// Whether an address is this machine's: only then can a socket have it.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
