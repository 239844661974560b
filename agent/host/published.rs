//! What the host's tables mean when a port on it may be published for a container. Pure.
//!
//! A container's engine may listen on the host's port itself. That is no server: it listens whether the server in the
//! container does or not, and the players whom it lets in do not show on the host. So an empty host table beside such a
//! listener proves nothing.

use super::containers::{Containers, ContainersError};
use super::tables::{Listener, Tables};
use crate::config::settings::Scope;
use crate::idle::Seen;

/// Why it is not known who plays.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// Nobody knows what is in the containers.
    #[error(transparent)]
    Containers(#[from] ContainersError),
    /// The port is published, but no container shows.
    #[error(
        "{ports} is published for a container, and no container's sockets can be found; run the server with the host's \
         network, or with Docker, Podman or containerd"
    )]
    NoContainer {
        /// The Minecraft ports, in words.
        ports: String,
    },
    /// The port is published, and whoever is in the container is there on another port.
    #[error(
        "{ports} is published for a container, but nothing listens on it inside, and somebody is connected to another \
         port there; set minecraft.ports to the port that the server listens on inside its container, or let a server on \
         the host itself run as a user of its own"
    )]
    OtherPort {
        /// The Minecraft ports, in words.
        ports: String,
    },
    /// The server is in a container, and is not to be looked at.
    #[error(
        "the server on {ports} is in a container, where its players cannot be seen with minecraft.containers = false; \
         set minecraft.containers = true"
    )]
    NotToBeLookedAt {
        /// The Minecraft ports, in words.
        ports: String,
    },
}

/// Where servers listen on the Minecraft ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// On the host itself.
    pub on_the_host: bool,
    /// In a container.
    pub in_a_container: bool,
}

/// Tells a server from a proxy that publishes the port of one.
#[must_use]
pub fn place(host: &Tables, containers: &Containers) -> Place {
    let is_a_proxy = |listener: &Listener| containers.may_publish(*listener, &host.listeners);
    Place { on_the_host: !host.listeners.iter().all(is_a_proxy), in_a_container: containers.seen.listener }
}

/// What `host` shows together with what is known of the containers.
///
/// # Errors
/// Why a container may hold players who are not seen.
pub fn weigh(
    host: &Tables,
    containers: Result<&Containers, ContainersError>,
    scope: &Scope,
) -> Result<Seen, PublishedError> {
    let containers = match containers {
        Ok(containers) => containers,
        Err(error) if scope.containers => return Err(error.into()),
        // Whoever sets it says that there is no container to be looked at.
        Err(_) => return Ok(host.seen.clone()),
    };
    let is_a_proxy = |listener: &Listener| containers.may_publish(*listener, &host.listeners);
    let published = host.listeners.iter().any(is_a_proxy);
    let Place { on_the_host, in_a_container } = place(host, containers);
    let ports = || scope.in_words();
    let counted = if scope.containers { both(&host.seen, &containers.seen) } else { host.seen.clone() };
    match (on_the_host, in_a_container) {
        (true, _) => Ok(counted),
        (false, true) if scope.containers => Ok(counted),
        (false, true) => Err(PublishedError::NotToBeLookedAt { ports: ports() }),
        (false, false) if published && containers.read == 0 => Err(PublishedError::NoContainer { ports: ports() }),
        (false, false) if published && containers.busy_elsewhere => Err(PublishedError::OtherPort { ports: ports() }),
        // The server in the container is not up (yet).
        (false, false) => Ok(Seen { listener: false, ..counted }),
    }
}

/// What two network namespaces show together.
#[must_use]
pub fn both(one: &Seen, other: &Seen) -> Seen {
    Seen {
        listener: one.listener || other.listener,
        sockets: one.sockets.iter().chain(&other.sockets).copied().collect(),
    }
}
