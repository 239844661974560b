//! What is set.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use mc_broker_core::connection::gate::{Auth, Starters};
use mc_broker_core::protocol::versions::ProtocolTable;

/// The settings; each is valid.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Proxies in front, which say who the client is.
    pub proxies: Vec<IpNet>,
    /// `None` only until everything is read.
    pub launcher_url: Option<Uri>,
    pub launcher_key: Option<KeyFile>,
    pub auth: Auth,
    pub session_server: Uri,
    pub starters: Starters,
    /// `None`: from everywhere.
    pub networks: Option<Vec<IpNet>>,
    pub hold: Duration,
    pub relay: bool,
    /// Whether the server is told who the client is, where bytes are relayed.
    pub relay_proxy_header: bool,
    pub texts: ListTexts,
    pub protocols: ProtocolTable,
    pub metrics_textfile: Option<PathBuf>,
}

/// What the server list shows.
#[derive(Debug, Clone, Default)]
pub struct ListTexts {
    pub asleep: String,
    pub starting: String,
    pub up: String,
}

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// A file that nobody else may read.
    Path(PathBuf),
    /// A credential of the unit (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}
