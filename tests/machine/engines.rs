//! Docker and podman in a container with a real systemd, and players in a network namespace beside it: whoever connects to a
//! published port from outside the host is in no table of the host, only in the container's.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::container::{Machine, Tree, text};
use super::peers::{self, Aws};

/// The host, as the players see it.
pub(crate) const HOST: &str = "10.9.0.1";
/// The players.
pub(crate) const OUTSIDE: &str = "10.9.0.2";

/// Windows of 3 s, and whoever has been connected for a second plays. Further settings of the server can be added.
pub(crate) const SHORT: &str = "idle_minutes = 0.05\nno_server_minutes = 0.05\nsample_seconds = 0.2\n\
     efs.mount_point = \"\"\n[minecraft]\nmin_connection_seconds = 1\nask_seconds = 10\n";
/// Longer than both windows.
const LONGER: Duration = Duration::from_secs(7);

/// Both engines get an image of one busybox and a server in it, and the host a network with players. The server holds whoever
/// connects, and tells him at once, as its status, that nobody is online.
/// Docker forwards nothing but its own unless told to; podman limits the number of processes, which needs a control group
/// controller that a nested systemd need not have.
const PREPARE: &str = r#"
    mkdir -p /run/image/bin /etc/containers
    cp /usr/bin/busybox /run/image/bin
    cat >/run/image/bin/serve <<'END'
#!/bin/busybox sh
printf '\043\000\041{"players":{"max":10,"online":0}}'
exec /bin/busybox cat >/dev/null
END
    cat >/run/image/bin/relay <<'END'
#!/bin/busybox sh
exec /bin/busybox nc $BACKEND 25565
END
    cat >/usr/bin/serve-ipv4 <<'END'
#!/usr/bin/perl
use IO::Socket::INET;
$server = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => 25565, Listen => 9, ReuseAddr => 1) or die;
while ($client = $server->accept) {
    push @held, $client;
    syswrite $client, "\043\000\041{\"players\":{\"max\":10,\"online\":0}}";
}
END
    chmod +x /run/image/bin/* /usr/bin/serve-ipv4
    cp /run/image/bin/serve /usr/bin
    tar -C /run/image -c . >/run/image.tar
    docker import /run/image.tar small
    podman import /run/image.tar small
    printf '[containers]\npids_limit = 0\n' >/etc/containers/containers.conf
    iptables -P FORWARD ACCEPT
    useradd -m rootless
    for name in outside inner; do ip netns add $name; ip -n $name link set lo up; done
    ip link add outside type veth peer name eth0 netns outside
    ip address add 10.9.0.1/24 dev outside
    ip link set outside up
    ip -n outside address add 10.9.0.2/24 dev eth0
    ip -n outside link set eth0 up
    ip -n outside route add default via 10.9.0.1
    ip link add inner type veth peer name eth0 netns inner
    ip address add 10.8.0.1/24 dev inner
    ip link set inner up
    ip -n inner address add 10.8.0.2/24 dev eth0
    ip -n inner link set eth0 up
    ip -n inner route add default via 10.8.0.1"#;

/// The machine, without a container; `None` when the test is to be skipped.
pub(crate) fn machine() -> Option<Machine> {
    if !peers::installed() {
        return None;
    }
    // Engines mount, make namespaces, keys and network interfaces, and load programs into the kernel that guard devices.
    let options = &["--capability=all", "--system-call-filter=@keyring bpf", "--bind=/dev/net/tun"];
    let machine = Machine::new(&Tree { file: "docker.tar", options, prepare: PREPARE })?;
    machine.until("no container is left of another test", || {
        let left = "docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1
             podman rm --all --force --time 0 >/dev/null 2>&1
             loginctl terminate-user rootless 2>/dev/null; pkill -KILL -u rootless
             if [ -e /etc/docker/daemon.json ]; then rm /etc/docker/daemon.json; systemctl restart docker; fi
             docker ps -aq; podman ps -aq";
        machine.ok(left).is_empty()
    });
    Some(machine)
}

impl Machine {
    /// A container called `name`, which runs `command`.
    pub(crate) fn container(&self, engine: &str, name: &str, options: &str, command: &str) {
        self.ok(&format!("{engine} run -d --name {name} {options} small {command}"));
    }

    /// A server in a container called `name`, which listens on the port `inside` and is run with more `options`, such as
    /// `-p 25565:25565`.
    pub(crate) fn container_server(&self, engine: &str, name: &str, inside: u16, options: &str) {
        self.server_of(engine, name, inside, options, "/bin/serve");
    }

    /// The same, where `program` gets whoever connects.
    pub(crate) fn server_of(&self, engine: &str, name: &str, inside: u16, options: &str, program: &str) {
        self.container(engine, name, options, &format!("/bin/busybox nc -ll -p {inside} -e {program}"));
        self.until("the server listens", || {
            !self.inside(engine, name, &format!("ss -Hltn sport = :{inside}")).is_empty()
        });
    }

    /// What a program of the host prints in the network of a container.
    pub(crate) fn inside(&self, engine: &str, name: &str, line: &str) -> String {
        self.ok(&format!("nsenter -t {} -n {line}", self.process(engine, name)))
    }

    /// The first process of a container.
    pub(crate) fn process(&self, engine: &str, name: &str) -> String {
        self.ok(&format!("{engine} inspect -f '{{{{.State.Pid}}}}' {name}"))
    }

    /// The address of a container.
    pub(crate) fn address(&self, engine: &str, name: &str) -> Ipv4Addr {
        let address = self.ok(&format!("{engine} inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {name}"));
        address.parse().unwrap_or_else(|_| panic!("no address: {address}"))
    }

    /// A player from outside the host. Returns when the connection is made.
    pub(crate) fn outside_player(&self, host: &str, port: u16) {
        self.background("player", &format!("sleep 1000 | ip netns exec outside busybox nc {host} {port}"));
        self.until("the player is connected", || {
            !self.ok("ip netns exec outside ss -Htn state established").is_empty()
        });
    }

    /// What `mc-idle check` says, confined as the agent is: its lines on the server and its networks.
    pub(crate) fn check(&self) -> Check {
        self.ok("systemctl stop mc-idle");
        self.drop_in("[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/bin/mc-idle check");
        let before = self.journal().len();
        // It may fail.
        self.run("systemctl start mc-idle");
        let journal = self.journal();
        let messages = journal.iter().skip(before).filter_map(|entry| entry["MESSAGE"].as_str());
        let lines = messages.map(str::to_owned).collect();
        self.drop_in("");
        self.ok("systemctl reset-failed mc-idle");
        Check { lines }
    }

    /// `mc-idle status --json`.
    pub(crate) fn status_json(&self) -> Value {
        let status = text(&self.run("mc-idle status --json").stdout);
        serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}\n{}", self.story()))
    }

    /// The agent counts one player, and stops nothing for longer than its windows; when the player leaves, it does.
    pub(crate) fn counts_the_player(&self, aws: &Aws<'_>) {
        self.counts(aws, 1);
    }

    /// The same, where the one player is counted as so many.
    pub(crate) fn counts(&self, aws: &Aws<'_>, players: u64) {
        self.ok("systemctl start mc-idle");
        assert_eq!(self.until_state("occupied").players, players.to_string());
        sleep(LONGER);
        let status = self.status_json();
        assert_eq!(
            (status["state"].as_str(), status["players"].as_u64()),
            (Some("occupied"), Some(players)),
            "{status:#}"
        );
        let connections = status["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(connections.iter().any(|connection| connection["counts_as"] == "player"), "{status:#}");
        assert!(aws.stops().is_empty(), "{}", self.story());
        self.ok("systemctl stop player");
        self.is_stopped(aws);
    }

    /// EC2 is asked for the stop.
    pub(crate) fn is_stopped(&self, aws: &Aws<'_>) {
        self.until("EC2 is asked for the stop", || !aws.stops().is_empty());
    }

    /// The agent starts, is blind, says `words`, and stops nothing.
    pub(crate) fn is_blind(&self, aws: &Aws<'_>, words: &[&str]) {
        self.ok("systemctl start mc-idle");
        let line = self.until_state("blind");
        for word in words {
            assert!(line.message.contains(word), "the journal does not say {word}: {}", line.message);
        }
        sleep(LONGER);
        let status = self.status_json();
        assert_eq!((status["state"].as_str(), &status["players"]), (Some("blind"), &Value::Null), "{status:#}");
        assert!(aws.stops().is_empty(), "{}", self.story());
    }
}

/// What `mc-idle check` says.
pub(crate) struct Check {
    lines: Vec<String>,
}

impl Check {
    /// Asserts that the line that begins with `start`, such as `ok      listener`, has all `words`.
    #[track_caller]
    pub(crate) fn says(&self, start: &str, words: &[&str]) {
        let line = self.lines.iter().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no line {start}: {:#?}", self.lines));
        for word in words {
            assert!(line.contains(word), "{word}: {line}");
        }
    }
}
