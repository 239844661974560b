//! `mc-broker run`: assembles the service and runs it.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mc_broker_core::connection::Common;
use mc_broker_core::connection::gate::Gate;
use mc_broker_core::server::own_addresses::OwnAddresses;
use mc_service::exit_code;
use mc_service::notify::Systemd;
use mc_service::process::refuse;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::Level;

use crate::cli::NAME;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::coordinator::{Coordinator, CoordinatorParts};
use crate::journal::{Journal, Kind};
use crate::key_pair::KeyPair;
use crate::launcher::Launcher;
use crate::metrics::Textfile;
use crate::net::listener;
use crate::net::shared::{Shared, SharedParts};
use crate::random::random;
use crate::session_server::SessionServer;

/// How long the broker waits for the journal when it ends.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(300);
/// How long players may take to read that it ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the service until a signal ends it.
#[must_use]
pub fn run(config: Option<&Path>) -> ExitCode {
    let settings = match config::load(config) {
        Ok(settings) => settings,
        Err(error) => return refuse(NAME, &error, exit_code::CONFIG),
    };
    raise_limit_of_files();
    // One thread: what there is to be done is short. Only DNS lookups use further threads.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let started = Journal::start().and_then(|parts| Ok((parts, runtime?)));
    let ((journal, journal_thread), runtime) = match started {
        Ok(parts) => parts,
        Err(error) => return refuse(NAME, &error, exit_code::INTERNAL),
    };
    let result = runtime.block_on(serve(settings, journal));
    runtime.shutdown_background();
    journal_thread.finish(JOURNAL_PATIENCE);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(NAME, &error, exit_code::FAILED),
    }
}

async fn serve(settings: Settings, journal: Journal) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listeners = settings.listen.iter().map(|address| listen(*address)).collect::<io::Result<Vec<_>>>()?;
    let own = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let key_pair = KeyPair::generate().map_err(|_| io::Error::other("cannot make a key for logins"))?;
    // Both are there: the configuration would have been refused.
    let (Some(url), Some(key)) = (settings.launcher_url, settings.launcher_key) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let launcher = Launcher::new(url, key);
    let common = Common {
        protocols: settings.protocols,
        gate: Gate { auth: settings.auth, starters: settings.starters },
        relay: settings.relay,
        public_key: key_pair.public().to_vec(),
        mark: format!("{:032x}", random()),
    };
    let (coordinator, messages) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(SharedParts {
        common,
        key_pair,
        clock: Clock::start(),
        coordinator,
        session_server: SessionServer::new(settings.session_server),
        journal: journal.clone(),
        networks: settings.networks,
        relay_proxy_header: settings.relay_proxy_header,
    }));
    let at = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let version = env!("CARGO_PKG_VERSION");
    journal.tell(Level::INFO, Kind::Started, None, format!("mc-broker {version} listens at {at}."));
    let parts = CoordinatorParts {
        shared: Arc::clone(&shared),
        launcher,
        own: OwnAddresses::new(own),
        texts: settings.texts,
        hold: settings.hold,
        journal: journal.clone(),
        supervisor: Systemd::start()?,
        metrics: Textfile::start(settings.metrics_textfile, journal.clone())?,
    };
    let (end, ended) = oneshot::channel();
    let coordinator = tokio::spawn(Coordinator::new(parts).run(messages, ended));
    let proxies: Arc<[_]> = settings.proxies.into();
    for listener in listeners {
        tokio::spawn(listener::accept(listener, Arc::clone(&proxies), Arc::clone(&shared)));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    journal.tell(Level::INFO, Kind::Ended, None, "mc-broker is exiting on request.");
    // With the coordinator go the orders that connections wait for, and they tell their players.
    let _ = end.send(());
    let _ = coordinator.await;
    tokio::time::sleep(LAST_WORDS).await;
    Ok(())
}

/// A socket that listens at `address`; if that is every IPv6 address, then every IPv4 address as well.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        socket.set_reuseaddr(true)?;
        if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
        }
        socket.bind(address)?;
        socket.listen(listener::BACKLOG)
    };
    bind().map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {address}: {error}")))
}

/// As many files as the unit allows: a connection is one, and the usual limit is made for programs that use select(2).
fn raise_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    // If that fails, there are fewer connections.
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
}
