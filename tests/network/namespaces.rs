//! Servers in network namespaces that no container engine has made, and a process that passes itself off as docker-proxy.
//! What needs engines is in `tests/docker.rs` and `tests/podman.rs`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use mc_idle::ask::{AskTarget, Asker, Protocol};
use mc_idle::clock::Clock;

use crate::apart;
use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::check::check;
use crate::support::emulated_aws::{self, EmulatedAws};
use crate::support::sockets::{loopback, run};
use crate::support::{Process, root, wait_until};

/// Watched by no other test of this machine, whose other networks are looked at as well: each test here is a process.
fn port() -> u16 {
    20_000 + u16::try_from(std::process::id() % 10_000).unwrap()
}

/// A network called `inner`, reached at 10.78.0.2.
fn inner_network() {
    loopback();
    run("mount", &["-t", "tmpfs", "none", "/run"]);
    for line in [
        "netns add inner",
        "link add inner type veth peer name eth0 netns inner",
        "address add 10.78.0.1/24 dev inner",
        "link set inner up",
        "-n inner address add 10.78.0.2/24 dev eth0",
        "-n inner link set eth0 up",
    ] {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
}

const FURTHER: [&str; 2] = ["minecraft.min_connection_seconds = 1", "minecraft.ask_seconds = 10"];

/// A server in the network of the process that runs `prefix`, which listens when this returns.
fn server(prefix: &[&str]) -> Process {
    let program = "import socket, sys\n\
         server, held = socket.create_server(('', int(sys.argv[1]))), []\n\
         print('listening', flush=True)\n\
         while True: held.append(server.accept())";
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).arg(emulated_aws::python()).args(["-c", program, &port().to_string()]);
    let server = Process::start(&mut command);
    server.wait_for("listening");
    server
}

/// The agent counts one player for longer than its window, stops nothing, and does when the player leaves.
fn is_counted<Player>(player: Player) {
    let emulated_aws = EmulatedAws::start();
    let text = settings(port(), 2.0, &FURTHER);
    let checked = check(&text, |command| emulated_aws.attach(command));
    assert!(checked.says("ok", "another network namespace; connected: "), "{checked:#?}");
    let agent = Agent::start(&text, |command| emulated_aws.attach(command));
    agent.notices.wait_for_status("1 player is on");
    sleep(Duration::from_secs(5));
    assert!(agent.notices.status().contains("1 player is on"), "{}", agent.notices.status());
    assert!(emulated_aws.stops().is_empty(), "{:#?}", agent.process.output());
    drop(player);
    wait_until("the stop is asked for", || (!emulated_aws.stops().is_empty()).then_some(()));
}

#[test]
fn a_player_in_a_named_network_is_counted() {
    skip_unless!(root() && emulated_aws::installed(), "root, and the lab; run tests/lab/setup.sh");
    apart!("--net", "--mount");
    inner_network();
    let _server = server(&["ip", "netns", "exec", "inner"]);
    is_counted(TcpStream::connect(("10.78.0.2", port())).unwrap());
}

/// Nothing leads to it that the agent knows of, so that it cannot be asked either.
#[test]
fn a_player_in_a_network_without_a_name_is_counted() {
    skip_unless!(root() && emulated_aws::installed(), "root, and the lab; run tests/lab/setup.sh");
    apart!("--net");
    loopback();
    let server = server(&["unshare", "--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]);
    let pid = server.pid().to_string();
    let mut player = Command::new("nsenter");
    player.args(["-t", &pid, "-n"]).arg(emulated_aws::python());
    let program = "import socket, sys\n\
         player = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
         print('connected', flush=True)\n\
         sys.stdin.read()";
    let player = Process::start(player.args(["-c", program, &port().to_string()]));
    player.wait_for("connected");
    is_counted(player);
}

/// A program may end its first thread and go on with others. The kernel then shows its network in their folders alone.
#[test]
fn a_player_on_a_server_whose_first_thread_has_ended_is_counted() {
    skip_unless!(root() && emulated_aws::installed(), "root, and the lab; run tests/lab/setup.sh");
    apart!("--net", "--mount");
    inner_network();
    let program = "import ctypes, os, socket, sys, threading\n\
         def serve():\n\
         \x20   server, held = socket.create_server(('', int(sys.argv[1]))), []\n\
         \x20   print('listening', flush=True)\n\
         \x20   while True: held.append(server.accept())\n\
         threading.Thread(target=serve).start()\n\
         exit = {'x86_64': 60, 'aarch64': 93}[os.uname().machine]\n\
         ctypes.CDLL(None).syscall(exit, 0)";
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "inner"]).arg(emulated_aws::python());
    let server = Process::start(command.args(["-c", program, &port().to_string()]));
    server.wait_for("listening");
    let stat = format!("/proc/{}/stat", server.pid());
    wait_until("its first thread has ended", || std::fs::read_to_string(&stat).unwrap().contains(") Z ").then_some(()));
    is_counted(TcpStream::connect(("10.78.0.2", port())).unwrap());
}

/// A network is quiet if it receives next to nothing. What the agent's own questions bring is taken off, and never more.
#[test]
fn what_a_question_brings_to_a_network_is_known() {
    skip_unless!(root() && emulated_aws::installed(), "root, and the lab; run tests/lab/setup.sh");
    apart!("--net", "--mount");
    inner_network();
    let _server = server(&["ip", "netns", "exec", "inner"]);
    let received = || {
        let table =
            Command::new("ip").args(["netns", "exec", "inner", "cat", "/proc/net/dev"]).output().unwrap().stdout;
        let table = String::from_utf8(table).unwrap();
        let bytes = table.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap();
        bytes.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (asker, _regular) = Asker::start(Clock::start());
            let address = format!("10.78.0.2:{}", port()).parse().unwrap();
            let outcomes = asker.ask_all(vec![AskTarget { id: 1, protocol: Protocol::Java, address }]).await;
            outcomes[0].arrived
        })
    };
    // Neighbours get to know each other.
    ask();
    let (before, arrived) = (received(), ask());
    let brought = received() - before;
    assert!((250..=brought).contains(&arrived) && brought - arrived < 300, "{arrived} of {brought} bytes");
}

/// A process of the user `uid` that calls itself docker-proxy, and says that the port `listener` leads to where nobody is.
fn docker_proxy(uid: u32, listener: u16) -> Process {
    let mut command = Command::new("/bin/sh");
    command.uid(uid).args(["-c", "echo docker-proxy >/proc/$$/comm; echo ready; read line", "sh", "-proto", "tcp"]);
    command.args(["-host-ip", "127.0.0.1", "-host-port", &listener.to_string()]);
    let process = Process::start(command.args(["-container-ip", "203.0.113.9", "-container-port", "25577"]));
    process.wait_for("ready");
    process
}

#[test]
fn who_calls_himself_docker_proxy_is_believed_only_as_the_listeners_user() {
    skip_unless!(root() && emulated_aws::installed(), "root, and the lab; run tests/lab/setup.sh");
    apart!("--net");
    loopback();
    let server = Silent::start();
    let text = settings(server.port, 2.0, &["minecraft.ask = false"]);
    let _made_up = docker_proxy(65534, server.port);
    let emulated_aws = EmulatedAws::start();
    let checked = check(&text, |command| emulated_aws.attach(command));
    assert!(checked.line("listener").starts_with("ok "), "{checked:#?}");
    let mut agent = Agent::start(&text, |command| emulated_aws.attach(command));
    agent.notices.wait_for_status("No players on");
    wait_until("the stop is asked for", || (!emulated_aws.stops().is_empty()).then_some(()));
    agent.end();

    let _its_user = docker_proxy(0, server.port);
    let checked = check(&text, |command| emulated_aws.attach(command));
    assert!(checked.says("FAILED", "docker-proxy publishes 127.0.0.1:"), "{checked:#?}");
    let agent = Agent::start(&text, |command| emulated_aws.attach(command));
    agent.notices.wait_for_status("docker-proxy publishes 127.0.0.1:");
}
