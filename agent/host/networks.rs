//! Every network of the machine, and how often each is read.
//!
//! Reading a table takes about a millisecond on a large machine, whatever is in it, and walking all processes about
//! ten. So processes are walked only from time to time, and a network in which nothing listens on a wanted port is read
//! only then; all others are read in every sample. A last look skips nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mc_idle_rule::facts::{Facts, Listening, Network, Sockets};
use mc_idle_rule::{Moment, NetworkId, Socket};
use mc_service::error_chain::chain;

use crate::config::settings::Scope;
use crate::host::addresses;
use crate::host::processes::{self, ProcessSurvey, is_gone};
use crate::host::sockets::seq_file::TableEnd;
use crate::host::sockets::sock_diag::{self, Diagnosis};
use crate::host::sockets::tables::{self, TableError, Tables, Wanted};
use crate::host::sockets::{counters, udp, witness};

/// A survey of all processes is reused for this long.
const SURVEY: Duration = Duration::from_secs(30);
/// How often all processes are surveyed in one look when those of a network exit while it is being read.
const ROUNDS: u32 = 3;

/// How thorough a look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Sample,
    /// A stop is based on it, so it relies on nothing that was known before.
    LastLook,
    /// The same, read through other processes where there are any.
    SecondReading,
}

/// What one look shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    pub facts: Facts,
    /// Connections whose peers are ignored; for display only.
    pub ignored: Vec<Socket>,
}

/// What the second source shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondLook {
    /// Another source has answered; what it could not tell is unknown in these facts.
    Witness(Facts),
    /// There is no other source on this machine; the tables were read a second time.
    Reread {
        /// Why there is no other source.
        why: String,
        facts: Facts,
    },
}

/// Why there is no second source.
pub const NO_SOCK_DIAG: &str = "cannot query sockets over netlink (load the kernel module tcp_diag, and allow AF_NETLINK \
     for mc-idle)";

/// What was last read of a network.
#[derive(Debug, Clone)]
struct NetworkCache {
    network: Network,
    ignored: Vec<Socket>,
}

impl NetworkCache {
    /// Whether it has to be read in every sample.
    fn is_busy(&self) -> bool {
        let busy = |sockets: &Sockets| !sockets.listening.is_empty() || !sockets.connections.is_empty();
        self.network.sockets.as_ref().map_or(true, busy)
    }
}

/// The networks of a machine.
#[derive(Debug)]
pub struct Networks {
    proc: PathBuf,
    cgroups: PathBuf,
    /// Whether this is the machine that the agent runs on, not a folder laid out like one.
    real: bool,
    survey: Option<(Moment, Arc<ProcessSurvey>)>,
    /// The networks other than the host's, as they were last read.
    others: BTreeMap<NetworkId, NetworkCache>,
    addresses: BTreeMap<NetworkId, BTreeSet<IpAddr>>,
    /// Sockets bound to Bedrock ports on the host.
    bedrock: Vec<Listening>,
    diagnosis: Diagnosis,
}

impl Networks {
    /// The networks of the machine below `root`: `/`, or a folder laid out like one.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Networks {
            proc: root.join("proc"),
            cgroups: root.join("sys/fs/cgroup"),
            real: root == Path::new("/"),
            survey: None,
            others: BTreeMap::new(),
            addresses: BTreeMap::new(),
            bedrock: Vec::new(),
            diagnosis: Diagnosis::default(),
        }
    }

    /// Reads all networks.
    pub fn look(&mut self, now: Moment, depth: Depth, scope: &Scope, own: &BTreeSet<SocketAddr>) -> Look {
        let mut fresh = depth != Depth::Sample || !self.surveyed_since(now);
        let mut look = Look::default();
        for round in 1..=ROUNDS {
            if fresh && let Err(why) = self.renew_survey(now) {
                return Look { facts: Facts::unreadable(why), ..Look::default() };
            }
            let survey = self.latest_survey();
            let ports = wanted_ports(&survey, scope);
            let wanted = Wanted { ports: &ports, scope, own };
            let (mut others, missed) = self.others(&survey, depth, fresh, &wanted);
            // Their processes have exited or left them, but others may be in them.
            if !missed.is_empty() && round < ROUNDS {
                fresh = true;
                continue;
            }
            match self.left(&missed, now) {
                Ok(left) => others.extend(left),
                Err(why) => return Look { facts: Facts::unreadable(why), ..Look::default() },
            }
            let host = self.host(&survey, depth, fresh, &wanted);
            // Perhaps of a later one: what has gone, had gone by then.
            let hidden = self.latest_survey().hidden.clone();
            look.facts = Facts {
                others: !survey.networks.is_empty(),
                publishers: survey.publishers.clone(),
                hidden: hidden.filter(|_| scope.containers),
                networks: Vec::new(),
            };
            for known in std::iter::once(host).chain(others) {
                look.facts.networks.push(known.network);
                look.ignored.extend(known.ignored);
            }
            break;
        }
        look
    }

    /// Reads all networks from another source: the host's over netlink, every other one again, through another process
    /// where there is one.
    pub fn second_look(&mut self, now: Moment, scope: &Scope, own: &BTreeSet<SocketAddr>) -> SecondLook {
        let Look { mut facts, .. } = self.look(now, Depth::SecondReading, scope, own);
        if let Err(error) = sock_diag::probe() {
            let why = format!("{NO_SOCK_DIAG}: {error}");
            return SecondLook::Reread { why, facts };
        }
        let ports = wanted_ports(&self.latest_survey(), scope);
        let sockets = witness::ask(&self.proc.join("self/net"), &Wanted { ports: &ports, scope, own });
        if let Some(host) = facts.networks.iter_mut().find(|network| network.id.is_host()) {
            host.sockets = match (std::mem::replace(&mut host.sockets, Ok(Sockets::default())), sockets) {
                (Ok(read), Ok(sockets)) => Ok(self.told_of(Sockets { bedrock: read.bedrock, ..sockets }, false)),
                (Err(why), _) => Err(why),
                (_, Err(error)) => Err(chain(&error)),
            };
        }
        SecondLook::Witness(facts)
    }

    fn latest_survey(&self) -> Arc<ProcessSurvey> {
        self.survey.as_ref().map(|(_, survey)| Arc::clone(survey)).unwrap_or_default()
    }

    fn surveyed_since(&self, now: Moment) -> bool {
        self.survey.as_ref().is_some_and(|(at, _)| now.since(*at) < SURVEY)
    }

    fn renew_survey(&mut self, now: Moment) -> Result<(), String> {
        self.survey = None;
        self.survey = Some((now, Arc::new(processes::survey(&self.proc, &self.cgroups)?)));
        Ok(())
    }

    /// The host's own network.
    fn host(&mut self, survey: &ProcessSurvey, depth: Depth, fresh: bool, wanted: &Wanted<'_>) -> NetworkCache {
        let net = self.proc.join("self/net");
        let end = if depth == Depth::Sample { TableEnd::Seen } else { TableEnd::Told };
        let read = tables::read(&net, NetworkId::HOST, end, wanted).map_err(|error| chain(&error));
        let mut known = self.known(NetworkId::HOST, &net, fresh, read);
        if fresh {
            match udp::read(&net, &wanted.scope.bedrock_ports) {
                Ok(bound) => self.bedrock = bound,
                Err(error) => known.network.sockets = Err(format!("cannot read {}/udp: {error}", net.display())),
            }
        }
        known.network.sockets = known.network.sockets.map(|mut sockets| {
            sockets.bedrock.clone_from(&self.bedrock);
            let asks = !sockets.connections.is_empty() || !survey.publishers.is_empty();
            if fresh && self.real && asks {
                // What it does not return stays unknown; that it does not answer at all is reported elsewhere.
                let ends = sockets.connections.iter().map(|it| (it.socket.local, it.socket.peer));
                self.diagnosis = sock_diag::ask(wanted.ports, ends).unwrap_or_default();
            }
            self.told_of(sockets, fresh)
        });
        known
    }

    /// `sockets` of the host, with what the kernel has said about them; byte counts only if it was asked just now.
    fn told_of(&self, mut sockets: Sockets, fresh: bool) -> Sockets {
        for listening in &mut sockets.listening {
            listening.control_group = self.diagnosis.control_groups.get(&listening.address).copied();
        }
        for connection in sockets.connections.iter_mut().filter(|_| fresh) {
            let ends = (connection.socket.local, connection.socket.peer);
            connection.received = self.diagnosis.received.get(&ends).copied();
        }
        sockets
    }

    /// All other networks, and those that were missed because their processes have exited.
    fn others(
        &mut self,
        survey: &ProcessSurvey,
        depth: Depth,
        fresh: bool,
        wanted: &Wanted<'_>,
    ) -> (Vec<NetworkCache>, Vec<NetworkId>) {
        let mut before = std::mem::take(&mut self.others);
        let mut missed = Vec::new();
        if !wanted.scope.containers {
            return (Vec::new(), missed);
        }
        for (id, processes) in &survey.networks {
            let known = match before.remove(id) {
                Some(mut known) if !fresh && !known.is_busy() => {
                    known.network.walked = false;
                    Some(known)
                }
                _ => self.other(*id, processes, depth, fresh, wanted),
            };
            match known {
                Some(known) => drop(self.others.insert(*id, known)),
                None => missed.push(*id),
            }
        }
        (self.others.values().cloned().collect(), missed)
    }

    /// Those of the `missed` networks that are still there, which are unknown. On a machine where containers come and go all
    /// the time, others have gone for good: whoever was in them has gone with them.
    fn left(&mut self, missed: &[NetworkId], now: Moment) -> Result<Vec<NetworkCache>, String> {
        if missed.is_empty() {
            return Ok(Vec::new());
        }
        self.renew_survey(now)?;
        let survey = self.latest_survey();
        let left = missed.iter().filter(|id| survey.networks.contains_key(id));
        let left: Vec<NetworkCache> =
            left.map(|id| unknown(*id, "its processes exited while its sockets were being read".to_owned())).collect();
        self.others.extend(left.iter().map(|known| (known.network.id, known.clone())));
        Ok(left)
    }

    /// Reads a network through the first of `processes` that stays in it. `None`: none does.
    fn other(
        &mut self,
        id: NetworkId,
        processes: &[PathBuf],
        depth: Depth,
        fresh: bool,
        wanted: &Wanted<'_>,
    ) -> Option<NetworkCache> {
        let mut order: Vec<&PathBuf> = processes.iter().collect();
        if depth == Depth::SecondReading {
            order.reverse();
        }
        order.into_iter().find_map(|process| {
            let net = process.join("net");
            let in_use = counters::in_use(&net);
            let read = if in_use.tcp { tables::read(&net, id, TableEnd::Told, wanted) } else { Ok(Tables::default()) };
            let read = match read {
                Err(TableError::Unreadable { source, .. }) if is_gone(&source) => return None,
                read => read.map_err(|error| chain(&error)),
            };
            let mut known = self.known(id, &net, fresh, read);
            let busy = known.network.sockets.as_ref().is_ok_and(|sockets| !sockets.connections.is_empty());
            known.network.received = if busy { counters::received(&net) } else { None };
            if in_use.udp
                && let Ok(sockets) = &mut known.network.sockets
            {
                match udp::read(&net, &wanted.scope.bedrock_ports) {
                    Ok(bound) => sockets.bedrock = bound,
                    Err(error) if is_gone(&error) => return None,
                    Err(error) => known.network.sockets = Err(format!("cannot read {}/udp: {error}", net.display())),
                }
            }
            // All of it belongs to this network only if the process stayed in it throughout.
            (processes::network(process).ok() == Some(id)).then_some(known)
        })
    }

    fn known(&mut self, id: NetworkId, net: &Path, fresh: bool, read: Result<Tables, String>) -> NetworkCache {
        let addresses = match self.addresses.get(&id).filter(|_| !fresh) {
            Some(addresses) => Ok(addresses.clone()),
            None => addresses::read(net),
        };
        let (sockets, ignored) = match read {
            Ok(Tables { sockets, ignored }) => (Ok(sockets), ignored),
            Err(why) => (Err(why), Vec::new()),
        };
        match addresses {
            Ok(addresses) => {
                self.addresses.insert(id, addresses.clone());
                NetworkCache { network: Network { id, addresses, sockets, received: None, walked: true }, ignored }
            }
            // Without its addresses it is not known which ports lead to it.
            Err(error) => unknown(id, format!("cannot read the addresses in {}: {error}", net.display())),
        }
    }
}

fn unknown(id: NetworkId, why: String) -> NetworkCache {
    let network = Network { sockets: Err(why), ..Network::showing(id, Sockets::default()) };
    NetworkCache { network, ignored: Vec::new() }
}

/// The ports whose rows are read: those of the settings, and those to which docker-proxy leads from one of them. The
/// judgement decides in which networks they are watched.
fn wanted_ports(survey: &ProcessSurvey, scope: &Scope) -> BTreeSet<u16> {
    let mut ports = scope.ports.clone();
    let publications = || survey.publishers.iter().filter_map(|publisher| publisher.publication);
    loop {
        let led_to = publications().filter(|publication| ports.contains(&publication.from.port()));
        let more: BTreeSet<u16> = led_to.map(|publication| publication.to.port()).collect();
        if more.is_subset(&ports) {
            return ports;
        }
        ports.extend(more);
    }
}
