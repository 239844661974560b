//! The agent and its unit beside a real Docker, and servers in networks of their own.
//! Needs root, the lab, and what `tests/machine/setup.sh` installs and builds.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for containers in real time"
)]

mod machine;

use std::thread::sleep;
use std::time::{Duration, Instant};

use machine::container::{Machine, states};
use machine::engines::{HOST, OUTSIDE, SHORT, machine};
use machine::peers::Program;
use machine::{checkout, say};

/// A player comes, goes, and the server stops: each is seen, though the host's own tables show nothing of it.
#[test]
fn sees_players_and_servers_come_and_go() {
    let Some(machine) = machine() else { return };
    // Windows that no test waits for.
    machine.config("sample_seconds = 0.2\n[minecraft]\nmin_connection_seconds = 1\n");
    machine.container_server("docker", "server", 25565, "-p 25570:25565");
    machine.ok("systemctl start mc-idle");
    assert_eq!(machine.until_state("idle").players, "0");
    machine.outside_player(HOST, 25570);
    assert_eq!(machine.until_state("occupied").players, "1");
    let established = machine.ok("ss -Htn state established sport = :25570");
    assert_eq!(established, "", "the host's tables tell of it too, so this proves nothing");
    machine.ok("systemctl stop player");
    assert_eq!(machine.until_state("idle").players, "0");
    machine.ok("docker stop -t 1 server");
    machine.until_state("no-server");
    // A container that is new is looked for every half a minute.
    machine.ok("docker start server");
    machine.until_state("idle");
    assert_eq!(states(&machine.states()), ["idle", "occupied", "idle", "no-server", "idle"]);
}

/// The usual port leads to another one inside, beside a container that does it the usual way.
#[test]
fn the_port_inside_is_followed() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container_server("docker", "idle", 25565, "-p 25566:25565");
    machine.container_server("docker", "server", 25577, "-p 25565:25577");
    machine.outside_player(HOST, 25565);
    let check = machine.check();
    check.says("ok      listener", &["in a container", &format!("connected: {OUTSIDE}:")]);
    check.says("ok      server's answer", &["0 and 0 online"]);
    machine.counts_the_player(&aws);
}

/// Velocity's shape: players are on the proxy, and the server behind it is in a container of its own.
#[test]
fn a_player_on_the_proxy_only_is_counted() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container_server("docker", "backend", 25565, "");
    machine.container_server("docker", "proxy", 25577, "-p 25565:25577");
    machine.outside_player(HOST, 25565);
    machine.check().says("ok      listener", &[&format!("connected: {OUTSIDE}:")]);
    machine.counts_the_player(&aws);
}

#[test]
fn a_player_on_the_proxy_and_the_server_behind_it_is_counted_once() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container_server("docker", "backend", 25565, "");
    let backend = machine.address("docker", "backend");
    machine.server_of("docker", "proxy", 25577, &format!("-p 25565:25577 -e BACKEND={backend}"), "/bin/relay");
    machine.outside_player(HOST, 25565);
    machine.until("the proxy is connected to the server", || {
        !machine.inside("docker", "backend", "ss -Htn state established").is_empty()
    });
    machine.counts_the_player(&aws);
}

/// The server is down, its container is not; what another container does says nothing about it.
#[test]
fn a_container_without_its_server_is_stopped_whatever_others_are_connected_to() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container_server("docker", "database", 5432, "");
    let database = machine.address("docker", "database");
    machine.container("docker", "site", "-i -p 8080:80", &format!("/bin/busybox nc {database} 5432"));
    machine.container("docker", "server", "-p 25565:25565", "/bin/busybox sleep 1000");
    machine.until("the database has a client", || {
        !machine.inside("docker", "database", "ss -Htn state established").is_empty()
    });
    machine.check().says("FAILED  listener", &["nothing listens on port 25565"]);
    machine.ok("systemctl start mc-idle");
    machine.until_it_was("no-server");
    machine.is_stopped(&aws);
}

/// An IPv4 server of root's, as docker-proxy's sockets are, beside containers that have nothing to do with it.
#[test]
fn an_empty_server_on_the_host_beside_containers_is_stopped() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(&format!("{SHORT}ask = false\n"));
    machine.container_server("docker", "site", 80, "-p 8080:80");
    machine.container("docker", "other", "", "/bin/busybox sleep 1000");
    machine.background("server", "serve-ipv4");
    machine.until("the server listens", || machine.ok("ss -Hltn sport = :25565").contains("0.0.0.0:25565"));
    machine.check().says("ok      listener", &["0.0.0.0:25565 on the host", "nobody is connected"]);
    machine.ok("systemctl start mc-idle");
    assert_eq!(machine.until_it_was("idle").players, "0");
    machine.is_stopped(&aws);
}

/// Docker's own process holds the port, and its arguments do not say where it leads.
#[test]
fn a_port_without_a_proxy_of_its_own_is_followed_to_the_usual_one_inside() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.write("/etc/docker/daemon.json", r#"{"userland-proxy": false}"#);
    machine.ok("systemctl restart docker");
    machine.container_server("docker", "server", 25565, "-p 25565:25565");
    let holder = machine.ok("ss -Hltnp sport = :25565");
    machine.outside_player(HOST, 25565);
    let check = machine.check();
    assert!(holder.contains("dockerd"), "{holder}");
    check.says("ok      listener", &[&format!("connected: {OUTSIDE}:")]);
    machine.counts_the_player(&aws);
}

/// Its containers live on, and the packet filter leads to them; docker-proxy, which says where a port leads, ends with it.
#[test]
fn a_player_is_counted_while_dockers_daemon_is_down() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.write("/etc/docker/daemon.json", r#"{"live-restore": true}"#);
    machine.ok("systemctl restart docker");
    machine.container_server("docker", "server", 25577, "-p 25565:25577");
    machine.outside_player(HOST, 25565);
    machine.ok("systemctl start mc-idle");
    machine.until_state("occupied");
    machine.ok("systemctl stop docker.socket docker");
    machine.until("nothing publishes the port", || machine.ok("ss -Hltn sport = :25565").is_empty());
    machine.counts_the_player(&aws);
    machine.ok("systemctl start docker");
}

/// Bedrock's players have no connection that any table shows.
#[test]
fn a_bedrock_player_in_a_container_is_counted() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container("docker", "server", "-p 19132:19132/udp", "/bin/busybox sleep 1000");
    let network = format!("/proc/{}/root/proc/{}/ns/net", machine.init(), machine.process("docker", "server"));
    let script = |name: &str| checkout().join("tests/lab").join(name);
    let server = Program::start(
        std::process::Command::new("nsenter")
            .arg(format!("--net={network}"))
            .arg("node")
            .arg(script("bedrock.js"))
            .args(["--host", "0.0.0.0", "--port", "19132"]),
    );
    server.wait_for("listening");
    let bot = Program::start(
        machine.in_its_network("node").arg(script("bedrock_bot.js")).args(["--host", HOST, "--port", "19132"]),
    );
    bot.wait_for("joined");
    // The lab's server counts anew once a second.
    sleep(Duration::from_secs(3));
    machine.check().says("ok      Bedrock", &["1 online"]);
    machine.ok("systemctl start mc-idle");
    machine.until_state("occupied");
    sleep(Duration::from_secs(7));
    let status = machine.status_json();
    assert_eq!((status["state"].as_str(), status["online"].as_u64()), (Some("occupied"), Some(1)), "{status:#}");
    assert!(aws.stops().is_empty(), "{}", machine.story());
    // The lab's server is silent after its player has left, and so nothing is known any more.
    drop((bot, server));
}

/// What LXC, nspawn and `ip netns` make.
#[test]
fn a_player_in_the_network_of_a_unit_is_counted() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.ok("systemd-run -q --collect --unit=server -p NetworkNamespacePath=/run/netns/inner \
         busybox nc -ll -p 25565 -e /usr/bin/serve");
    machine.until("the server listens", || !machine.ok("ip netns exec inner ss -Hltn sport = :25565").is_empty());
    machine.outside_player("10.8.0.2", 25565);
    let check = machine.check();
    check.says("ok      listener", &["another network namespace", &format!("connected: {OUTSIDE}:")]);
    check.says("ok      server's answer", &["0 online"]);
    machine.counts_the_player(&aws);
}

/// The server's own file lies in the container.
#[test]
fn check_finds_the_servers_own_file() {
    let Some(machine) = machine() else { return };
    machine.container_server("docker", "server", 25565, "-p 25570:25565");
    machine.ok("docker exec server /bin/busybox sh -c 'echo server-port=25565 >/server.properties'");
    let lines = machine.run("mc-idle check").stdout;
    let lines = String::from_utf8_lossy(&lines);
    assert!(lines.contains("ok      server.properties: /server.properties has server-port 25565"), "{lines}");
}

#[test]
fn is_blind_when_it_may_not_look_into_containers() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.container_server("docker", "server", 25577, "-p 25565:25577");
    machine.outside_player(HOST, 25565);
    machine.config(&format!("{SHORT}containers = false\nask = false\n"));
    let check = machine.check();
    check.says("FAILED  listener", &["docker-proxy", ":25577", "minecraft.containers = true"]);
    check.says("note    networks", &["minecraft.containers = false"]);
    machine.is_blind(&aws, &["docker-proxy", "minecraft.containers = true"]);
    machine.config(SHORT);
    machine.ok("systemctl reload mc-idle");
    assert_eq!(machine.until_state("occupied").players, "1");
}

#[test]
fn is_blind_when_other_processes_are_hidden() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.container_server("docker", "server", 25565, "-p 25570:25565");
    machine.config(SHORT);
    machine.drop_in("[Service]\nProtectProc=invisible");
    // Root sees more than the agent will.
    let checked = String::from_utf8(machine.run("mc-idle check").stdout).unwrap();
    assert!(checked.contains("FAILED  unit: mc-idle.service has ProtectProc=invisible, "), "{checked}");
    machine.is_blind(&aws, &["ProtectProc", "hidepid", "minecraft.containers"]);
    machine.outside_player(HOST, 25570);
    machine.drop_in("");
    machine.ok("systemctl restart mc-idle");
    assert_eq!(machine.until_state("occupied").players, "1");
}

impl Machine {
    /// For each sample traced but the last, which may not be complete: how many tables of networks it opened.
    fn reads(&self) -> Vec<usize> {
        let trace = self.ok("cat /run/trace");
        let mut samples = Vec::new();
        for line in trace.lines() {
            // The host's tables come last.
            samples.resize(samples.len().max(1), 0);
            if let Some(tables) = samples.last_mut() {
                *tables += usize::from(line.contains("/net/tcp\""));
            }
            if line.contains("\"/proc/self/net/tcp6\"") {
                samples.push(0);
            }
        }
        samples.pop();
        samples
    }
}

/// Reading a table costs a millisecond on a large machine, whatever is in it.
#[test]
fn networks_without_a_server_are_not_read_in_each_sample() {
    let Some(machine) = machine() else { return };
    machine.config("sample_seconds = 0.2\n[minecraft]\nask = false\n");
    machine.container_server("docker", "server", 25565, "-p 25570:25565");
    for number in 0..3 {
        machine.container_server("docker", &format!("site{number}"), 80, "");
    }
    machine.ok("systemctl start mc-idle");
    machine.until_state("idle");
    machine.ok(": >/run/trace");
    let pid = machine.main_pid();
    machine.background("beside-trace", &format!("exec strace -f -e trace=openat -o /run/trace -p {pid}"));
    let began = Instant::now();
    machine.until("enough samples", || machine.reads().len() >= 22);
    // The first may have been cut.
    let reads = machine.reads().split_off(1);
    let thorough = reads.iter().filter(|tables| **tables > 2).count();
    // All are read every half a minute, and a slow machine takes longer than that.
    let most = 1 + usize::try_from(began.elapsed().as_secs() / 30).expect("not so long");
    say(&format!("{} samples, of which {thorough} read every network", reads.len()));
    // The host's and the server's; now and then all.
    assert!(reads.iter().all(|tables| [2, 5].contains(tables)) && thorough <= most, "{reads:?}");
}
