//! The agent and its unit beside real container engines: whoever connects to a published port from outside the host is
//! in no table of the host, only in the container's.
//! Docker and podman run in a container with a real systemd; the players come from a network namespace beside it.
//! Needs root and what `tests/machine/setup.sh` installs and builds.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for containers in real time"
)]

mod machine;

use std::thread::sleep;
use std::time::Duration;

use machine::container::{Machine, QUICK, Tree, states, text};
use machine::say;

/// The host, as the players see it, and the players.
const HOST: &str = "10.9.0.1";
const OUTSIDE: &str = "10.9.0.2";

/// Both engines get an image of one busybox, and the host a network with players.
/// Docker forwards nothing but its own unless told to; podman limits the number of processes, which needs a control group
/// controller that a nested systemd need not have.
const PREPARE: &str = "
    mkdir -p /run/image/bin /etc/containers
    cp /usr/bin/busybox /run/image/bin
    tar -C /run/image -c . | docker import - small
    tar -C /run/image -c . | podman import - small
    printf '[containers]\\npids_limit = 0\\n' >/etc/containers/containers.conf
    iptables -P FORWARD ACCEPT
    ip netns add outside
    ip link add outside type veth peer name eth0 netns outside
    ip address add 10.9.0.1/24 dev outside
    ip link set outside up
    ip -n outside address add 10.9.0.2/24 dev eth0
    ip -n outside link set eth0 up";

/// `None` when the test is to be skipped.
fn machine() -> Option<Machine> {
    // Engines mount, make namespaces and keys, and load programs into the kernel that guard devices.
    let options = &["--capability=all", "--system-call-filter=@keyring bpf"];
    let machine = Machine::new(&Tree { file: "docker.tar", options, prepare: PREPARE })?;
    machine.until("no container is left of another test", || {
        let left = "docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1
             podman rm --all --force --time 0 >/dev/null 2>&1
             docker ps -aq; podman ps -aq";
        machine.ok(left).is_empty()
    });
    Some(machine)
}

impl Machine {
    /// A server in a container, which listens on the port `inside` and is published as `published`.
    fn server(&self, engine: &str, published: u16, inside: u16) {
        let process = self.ok(&format!(
            "{engine} run -d --name server -p {published}:{inside} \
             small /bin/busybox nc -ll -p {inside} -e /bin/busybox cat >/dev/null &&
             {engine} inspect -f '{{{{.State.Pid}}}}' server"
        ));
        self.until("the server listens", || {
            !self.ok(&format!("nsenter -t {process} -n ss -Hltn sport = :{inside}")).is_empty()
        });
    }

    fn stop_server(&self, engine: &str) {
        self.ok(&format!("{engine} stop -t 1 server"));
    }

    /// A player from outside the host. Returns when the connection is made.
    fn player(&self, published: u16) {
        self.background("player", &format!("sleep 1000 | ip netns exec outside busybox nc {HOST} {published}"));
        self.until("the player is connected", || {
            !self.ok("ip netns exec outside ss -Htn state established").is_empty()
        });
    }

    /// What `mc-idle check` says of the listener, confined as the agent is.
    fn check_listener(&self) -> String {
        self.ok("systemctl stop mc-idle");
        self.drop_in("[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/bin/mc-idle check");
        // It fails, as there is no AWS here.
        self.run("systemctl start mc-idle");
        let lines = self.journal();
        let mut messages = lines.iter().filter_map(|entry| entry["MESSAGE"].as_str());
        let listener = messages.find(|message| message.contains(" listener: "));
        listener.unwrap_or_else(|| panic!("nothing is said of the listener\n{}", self.story())).to_owned()
    }

    /// For each sample traced but the last, which may not be complete: how often it opened `tcp`, and how often `tcp6`.
    fn reads(&self) -> Vec<(usize, usize)> {
        let trace = self.ok("cat /run/trace");
        let mut samples = Vec::new();
        for line in trace.lines() {
            // The host's tables come first.
            if line.contains("\"/proc/self/net/tcp\"") {
                samples.push((0, 0));
            }
            if let Some((tcp, tcp6)) = samples.last_mut() {
                *tcp += usize::from(line.contains("/net/tcp\""));
                *tcp6 += usize::from(line.contains("/net/tcp6\""));
            }
        }
        samples.pop();
        samples
    }
}

/// A player comes, goes, and the server stops: each is seen, though the host's own tables show nothing of it.
fn follows_a_published_server(engine: &str) {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.ok("systemctl start mc-idle");
    machine.until_state("no-server");
    machine.server(engine, 25570, 25565);
    assert_eq!(machine.until_state("idle").players, "0");

    machine.player(25570);
    assert_eq!(machine.until_state("occupied").players, "1");
    let established = machine.ok("ss -Htn state established");
    assert_eq!(established, "", "the host's tables tell of it too, so this proves nothing");

    machine.ok("systemctl stop player");
    assert_eq!(machine.until_state("idle").players, "0");
    machine.stop_server(engine);
    machine.until_state("no-server");
    assert_eq!(states(&machine.states()), ["no-server", "idle", "occupied", "idle", "no-server"]);
}

#[test]
fn sees_players_and_servers_in_docker_come_and_go() {
    follows_a_published_server("docker");
}

#[test]
fn sees_players_and_servers_in_podman_come_and_go() {
    follows_a_published_server("podman");
}

/// The address is the player's own, not the engine's.
fn names_the_player(engine: &str) {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server(engine, 25570, 25565);
    machine.player(25570);
    let listener = machine.check_listener();
    assert!(listener.starts_with("ok ") && listener.contains(&format!("{OUTSIDE}:")), "{listener}");
}

#[test]
fn check_names_a_player_in_docker() {
    names_the_player("docker");
}

#[test]
fn check_names_a_player_in_podman() {
    names_the_player("podman");
}

/// Blind from the first sample on, with words that help, until `remedy`; then the player who is there is seen.
fn is_blind_until(machine: &Machine, words: &[&str], remedy: impl FnOnce()) {
    machine.ok("systemctl start mc-idle");
    let line = machine.until_state("blind");
    for word in words {
        assert!(line.message.contains(word), "the journal does not say {word}: {}", line.message);
    }
    // Many samples.
    sleep(Duration::from_secs(3));
    assert_eq!(states(&machine.states()), ["blind"], "{}", machine.story());
    remedy();
    assert_eq!(machine.until_state("occupied").players, "1");
}

/// Also what the server's own file says, which lies in the container.
fn check_says_where_it_runs(engine: &str) {
    let Some(machine) = machine() else { return };
    machine.server(engine, 25570, 25565);
    machine.ok(&format!("{engine} exec server /bin/busybox sh -c 'echo server-port=25565 >/server.properties'"));
    let said = |line: &str| {
        // It fails, as there is no AWS here.
        let lines = text(&machine.run("mc-idle check").stdout);
        assert!(lines.lines().any(|said| said.starts_with(line)), "{line}\n{lines}");
    };
    said("ok      container: the server is in a container, and its players are counted there");
    said("ok      server.properties: /server.properties has server-port 25565");
    machine.config("[minecraft]\ncontainers = false\n");
    said(
        "FAILED  container: a server is in a container, where its players are not counted: set minecraft.containers = ",
    );
}

#[test]
fn check_says_that_the_server_is_in_docker() {
    check_says_where_it_runs("docker");
}

#[test]
fn check_says_that_the_server_is_in_podman() {
    check_says_where_it_runs("podman");
}

#[test]
fn is_blind_when_it_may_not_look_into_containers() {
    let Some(machine) = machine() else { return };
    machine.server("docker", 25565, 25565);
    machine.config(&format!("{QUICK}containers = false\n"));
    is_blind_until(&machine, &["minecraft.containers = true"], || {
        machine.player(25565);
        machine.config(&format!("{QUICK}containers = true\n"));
        machine.ok("systemctl reload mc-idle");
    });
}

#[test]
fn is_blind_when_other_processes_are_hidden() {
    let Some(machine) = machine() else { return };
    machine.server("docker", 25570, 25565);
    machine.config(QUICK);
    machine.drop_in("[Service]\nProtectProc=invisible");
    is_blind_until(&machine, &["ProtectProc", "hidepid", "minecraft.containers"], || {
        machine.player(25570);
        machine.drop_in("");
        machine.ok("systemctl restart mc-idle");
    });
}

/// `-p 25565:25577`: the host's own port is the usual one, so nobody thinks of the one inside.
#[test]
fn is_blind_when_a_player_is_on_another_port_inside() {
    let Some(machine) = machine() else { return };
    machine.server("docker", 25565, 25577);
    machine.player(25565);
    machine.config(QUICK);
    is_blind_until(&machine, &["minecraft.ports", "inside its container"], || {
        machine.config(&format!("{QUICK}ports = [25577]\n"));
        machine.ok("systemctl reload mc-idle");
    });
}

#[test]
fn a_container_that_comes_and_goes_costs_one_read_of_its_tables() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server("docker", 25570, 25565);
    // A second process in the same container: one that serves the player.
    machine.player(25570);
    machine.ok("systemctl start mc-idle");
    machine.until_state("occupied");
    let so_far = machine.states().len();
    let pid = machine.main_pid();
    machine.ok(": >/run/trace; : >/run/rounds");
    machine.background("beside-trace", &format!("exec strace -f -e trace=openat -o /run/trace -p {pid}"));

    machine.until("enough samples", || machine.reads().len() >= 10);
    let quiet = machine.reads();
    // The host's tables and the server's.
    assert!(quiet.iter().all(|reads| *reads == (2, 2)), "{quiet:?}");

    machine
        .write("/run/churn.sh", "while docker run --rm small /bin/busybox sh -c \"$1\"; do echo >>/run/rounds; done");
    let nap = "/bin/busybox sleep 0.5";
    machine.background("beside-churn", &format!("exec sh /run/churn.sh \"{nap} & {nap} & wait\""));
    let rounds = || machine.ok("wc -l </run/rounds").parse::<usize>().expect("a number");
    machine.until("containers have come and gone, and were looked into", || {
        let reads = machine.reads();
        rounds() >= 5 && reads.len() >= quiet.len() + 10 && reads.contains(&(3, 3))
    });
    let busy = machine.reads().split_off(quiet.len());
    let looked = busy.iter().filter(|reads| **reads == (3, 3)).count();
    say(&format!(
        "{} containers came and went in {} samples; {looked} samples read their tables",
        rounds(),
        busy.len()
    ));
    assert!(busy.iter().all(|(tcp, tcp6)| *tcp <= 3 && *tcp6 <= 3), "{busy:?}");
    assert_eq!(machine.states().len(), so_far, "{}", machine.story());
}
