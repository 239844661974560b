//! The agent and its unit beside a real Podman, whose ports are held by conmon or rootlessport: nothing says where they lead.
//! Needs root, the lab, and what `tests/machine/setup.sh` installs and builds.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for containers in real time"
)]

mod machine;

use machine::engines::{HOST, OUTSIDE, SHORT, machine};

#[test]
fn a_player_in_a_container_is_counted() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container_server("podman", "server", 25565, "-p 25570:25565");
    machine.outside_player(HOST, 25570);
    assert_eq!(machine.ok("ss -Htn state established sport = :25570"), "", "the host's tables tell of it too");
    let check = machine.check();
    check.says("ok      listener", &["in a container", &format!("{OUTSIDE}:")]);
    machine.counts_the_player(&aws);
}

/// An IPv4 server of root's beside containers: whether its socket is conmon's nobody but itself can tell.
#[test]
fn an_empty_server_on_the_host_beside_containers_is_stopped_if_it_answers() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.container("podman", "database", "-p 8080:80", "/bin/busybox nc -ll -p 80 -e /bin/serve");
    machine.background("server", "serve-ipv4");
    machine.until("the server listens", || machine.ok("ss -Hltn sport = :25565").contains("0.0.0.0:25565"));
    let check = machine.check();
    check.says("ok      listener", &["0.0.0.0:25565 on the host", "nobody"]);
    check.says("ok      server's answer", &["0 online"]);

    machine.config(&format!("{SHORT}ask = false\n"));
    machine.check().says("FAILED  listener", &["conmon", "minecraft.ask"]);
    machine.is_blind(&aws, &["0.0.0.0:25565", "conmon", "minecraft.ask"]);

    machine.config(SHORT);
    machine.ok("systemctl reload mc-idle");
    assert_eq!(machine.until_it_was("idle").players, "0");
    machine.is_stopped(&aws);
}

/// conmon's port leads to another one inside, where nobody looks: only the server's answer tells of its players.
#[test]
fn a_published_port_that_leads_elsewhere_and_never_answers_is_not_taken_for_empty() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(&format!("{SHORT}ask = false\n"));
    machine.container_server("podman", "server", 25577, "-p 25565:25577");
    machine.outside_player(HOST, 25565);
    machine.check().says("FAILED  listener", &["conmon", "minecraft.ask"]);
    machine.is_blind(&aws, &["conmon", "minecraft.ask"]);
}

#[test]
fn a_player_in_a_container_of_a_user_is_counted() {
    let Some(machine) = machine() else { return };
    let aws = machine.aws();
    machine.config(SHORT);
    machine.write(
        "/run/rootless.sh",
        "cd; export XDG_RUNTIME_DIR=/run/user/$(id -u)
         alias podman='podman --cgroup-manager=cgroupfs'
         podman rm --all --force --time 0
         podman import /run/image.tar small
         podman run -d --name server -p 25565:25565 small /bin/busybox nc -ll -p 25565 -e /bin/serve",
    );
    machine.ok("mkdir -p /run/user/$(id -u rootless) && chown rootless: /run/user/$(id -u rootless)
         runuser -l rootless -c 'sh /run/rootless.sh'");
    machine.until("the server listens", || !machine.ok("ss -Hltn sport = :25565").is_empty());
    assert!(machine.ok("ss -Hltnp sport = :25565").contains("rootlessport"));
    // The host has no route to the server's own address: the answer comes by way of the published port.
    let check = machine.check();
    check.says("ok      listener", &["nobody is connected"]);
    check.says("ok      second witness", &[]);
    machine.outside_player(HOST, 25565);
    // rootlessport connects to the server from within the server's own network, so that its two ends are not known for one.
    machine.counts(&aws, 2);
}
