"""What mc-broker costs: status pings, at rest, held players, hand-overs, and play, beside what else stands in front of a server.
Over 400 lines: the measures share one launcher and one table.

    python tests/bench/run.py --only broker     needs mc-broker in the folder of --binary, and broker-load in that of --sample-cost

The launcher is a stand-in in this process that answers at once; clients, session server and game are `broker_load.rs`.
"""

import contextlib
import http.server
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time

import around
import chart
from context import HERE, ROOT, Talker, cpu_text, has, output, status, table, threads_cpu
from launcher import serve

MOST_RESIDENT, MOST_HELD, LEAST_ANSWERS, MOST_LOGIN = 5 * 2**20, 4 * 2**10, 20_000, 0.100
RATE = 1000
# One player's play, as it is usually counted: 100 MB in an hour, 20 ticks a second.
TICKS_A_MINUTE = 20 * 60
KEY = "broker-key-0123456789"
SLEEPING = ROOT / "target/bench/sleeping"
HAPROXY = ROOT / "target/lab/haproxy"

BROKER, SLEEPER, LIBRARY, RELAY = "mc-broker", "mcsleepingserverstarter", "minecraft-protocol's server", "HAProxy"
# A loop that does nothing else: what the kernel alone takes for an answer.
FLOOR = "floor: the same bytes by a bare loop"
# lazymc 0.2.11, measured once on this kind of machine, not in this run: resident bytes, bytes a connection, answers a second.
LAZYMC = {"name": "lazymc 0.2.11, once", "resident": 5.0 * 2**20, "held": 7 * 2**10, "answers": 10_400}


class Launcher(http.server.BaseHTTPRequestHandler):
    """A launcher whose server is in `state`, at `port`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(202)

    def answer(self, code):
        body = json.dumps({
            "state": self.state, "address": None, "port": self.port, "host": {"v4": "127.0.0.1", "v6": None}, "players": 0,
            "online": None, "names": None, "last_player_at": None, "stop_at": None, "why": "", "since": None, "cost_usd": None,
            "at": "2026-11-30T06:00:00Z",
        }).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def free():
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port, patience=60):
    until = time.monotonic() + patience
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens at {port}")


class Program:
    """One that listens at `port`, and is measured."""

    def __init__(self, process, port):
        self.pid, self.port = process.pid, port

    def cpu(self):
        return threads_cpu(self.pid)

    def resident(self):
        return status(self.pid, "VmRSS") * 1024


@contextlib.contextmanager
def running(arguments, port, environment=None, cwd=None):
    process = subprocess.Popen(
        [str(word) for word in arguments], env=environment, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        listens(port)
        yield Program(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


@contextlib.contextmanager
def broker(context, state="asleep", game=25565, sessions=25566, further=""):
    """mc-broker, with its defaults but for what is said here."""
    launcher = serve(type("Launcher", (Launcher,), {"state": state, "port": game}))
    with around.folder() as folder:
        port, key, config = free(), folder / "broker-key", folder / "config.toml"
        key.touch(mode=0o600)
        key.write_text(KEY)
        config.write_text(
            f'listen = ["127.0.0.1:{port}"]\nlauncher.url = "http://127.0.0.1:{launcher}"\nlauncher.key_file = "{key}"\n'
            f'auth_url = "http://127.0.0.1:{sessions}"\nhold_minutes = 60\n{further}\n'
        )
        with running([program(context), "run", "--config", config], port, around.environment()) as one:
            time.sleep(1)  # the launcher is asked
            yield one


def program(context):
    return context.binary.with_name("mc-broker")


@contextlib.contextmanager
def sleeper(_context):
    port = free()
    with tempfile.TemporaryDirectory(prefix="mc-idle-") as folder:
        settings = f'webPort: 0\nbedrockPort: 0\nserverPort: {port}\nminecraftCommand: "true"\nversion: "1.21.11"\n'
        with open(os.path.join(folder, "sleepingSettings.yml"), "w") as file:
            file.write(settings)
        script = SLEEPING / "node_modules/mcsleepingserverstarter/build/sleepingServerStarter.js"
        with running(["node", script], port, cwd=folder) as one:
            yield one


@contextlib.contextmanager
def library(_context):
    port = free()
    with running(["node", HERE / "peers/status_server.js", "--port", port], port) as one:
        yield one


@contextlib.contextmanager
def relay(context, game=None):
    """HAProxy in front of a server at `game`, or of one that answers pings."""
    with contextlib.ExitStack() as stack:
        if game is None:
            game = free()
            stack.enter_context(Talker([load(context), "game", game])).heard()
        port, folder = free(), stack.enter_context(around.folder())
        config = folder / "haproxy.cfg"
        config.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
            f"listen minecraft\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{game}\n"
        )
        libraries = ":".join(str(path) for path in (HAPROXY / "usr/lib").iterdir())
        arguments = [HAPROXY / "usr/sbin/haproxy", "-db", "-f", config]
        yield stack.enter_context(running(arguments, port, {"LD_LIBRARY_PATH": libraries}))


@contextlib.contextmanager
def floor(context):
    port = free()
    with running([load(context), "floor", port], port) as one:
        yield one


def load(context):
    return context.tool("broker-load")


def peers():
    """Those that are here, and what is missing."""
    there, missing = {BROKER: broker, FLOOR: floor}, []
    if has("node") and (SLEEPING / "node_modules/mcsleepingserverstarter").exists():
        there[SLEEPER] = sleeper
    else:
        missing.append(f"{SLEEPER} (node, npm and tests/lab/setup.sh bench)")
    if has("node") and (ROOT / "target/lab/node_modules/minecraft-protocol").exists():
        there[LIBRARY] = library
    else:
        missing.append(f"{LIBRARY} (tests/lab/setup.sh lab)")
    if (HAPROXY / "usr/sbin/haproxy").exists():
        there[RELAY] = relay
    else:
        missing.append(f"{RELAY} (tests/lab/setup.sh lab, on Debian)")
    return there, missing


def loaded(context, *words):
    done = subprocess.run([load(context), *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def pings(context, there):
    """At rest, then status pings in turn, at a rate and without a pause."""
    rounds, seconds, rest = context.often(3, 1), context.often(3, 3), context.often(20, 5)
    with contextlib.ExitStack() as stack:
        programs = {name: stack.enter_context(start(context)) for name, start in there.items()}
        before = {name: one.cpu() for name, one in programs.items()}
        time.sleep(rest)
        result = {
            "rest_seconds": rest, "seconds": seconds, "rounds": rounds,
            "rest": {name: one.resident() for name, one in programs.items()},
            "rest_cpu": {name: (one.cpu() - before[name]) / rest for name, one in programs.items()},
        }
        for key, rate in (("paced", RATE), ("fast", 0)):
            taken = {name: [] for name in programs}
            rates = {name: [] for name in programs}
            # The first round warms up a compiler that compiles while it runs.
            for turn in range(rounds + 1):
                for name, one in programs.items():
                    before, spent = one.cpu(), loaded(context, "pings", one.port, rate, seconds if turn else 2)
                    if spent["failed"] > spent["answered"] / 100:
                        raise RuntimeError(f"{name}: {spent['failed']} pings failed, and {spent['answered']} did not")
                    if turn:
                        taken[name].append((one.cpu() - before) / spent["answered"])
                        rates[name].append(spent["answered"] / spent["seconds"])
            result[key] = {name: statistics.median(values) for name, values in taken.items()}
            result[f"{key}_spread"] = {name: [min(values), max(values)] for name, values in taken.items()}
            result[f"{key}_rate"] = {name: statistics.median(values) for name, values in rates.items()}
            result[f"{key}_resident"] = {name: one.resident() for name, one in programs.items()}
    return result


def held(context, there):
    """Players who wait, by how many they are: what each of them adds to what is resident."""
    result = {}
    watched = context.often(10, 5)
    for name, (manner, steps) in {
        BROKER: ("encrypted", [1000, 5000, 10_000]), LIBRARY: ("plain", [100]), RELAY: ("open", [1000, 5000]),
    }.items():
        if name not in there:
            continue
        sessions, points = free(), []
        start = broker(context, sessions=sessions) if name == BROKER else there[name](context)
        with start as one:
            time.sleep(2)
            rest = one.resident()
            with Talker([load(context), "hold", one.port, manner, sessions]) as players:
                for number in steps[:1] if context.quick else steps:
                    before, told = one.cpu(), json.loads(players.ask(str(number)))
                    if told["held"] != number:
                        raise RuntimeError(f"{name}: {told}")
                    spent = one.cpu() - before
                    time.sleep(3)
                    logins = number - (points[-1]["players"] if points else 0)
                    points.append({
                        "players": number, "resident": one.resident(), "each": (one.resident() - rest) / number,
                        "login": spent / logins,
                    })
                before = one.cpu()
                time.sleep(watched)
                idle = (one.cpu() - before) / watched
                told = json.loads(players.ask(str(number)))
                if told["held"] != number:
                    raise RuntimeError(f"{name} has let go of some: {told}")
        result[name] = {"manner": manner, "rest": rest, "points": points, "cpu": idle, "watched": watched}
    return result


def transfers(context):
    """Hand-overs of a server that is up; and what is left of them."""
    game, logins, pause = free(), context.often(50, 10), 1100
    watched = context.often(15, 5)
    with broker(context, "up", game) as one:
        before = one.cpu()
        time.sleep(watched)
        idle, before = one.cpu() - before, one.cpu()
        spaced = loaded(context, "transfers", one.port, game, logins, pause)
        spent, before = one.cpu() - before, one.cpu()
        time.sleep(watched)
        after = one.cpu() - before
    return {
        "logins": logins, "watched": watched, "milliseconds": statistics.median(spaced["milliseconds"]),
        "most": max(spaced["milliseconds"]), "first": spaced["milliseconds"][0], "closed": spaced["closed"],
        "login": spent / logins, "idle": idle / watched, "after": after / watched,
    }


def play(context, there):
    """An hour of one player's play, tick by tick, through those that relay it."""
    minutes, rounds, result = context.often(60, 6), context.often(2, 1), {}
    further = 'relay = true\nauth = "none"\nallow_networks = ["127.0.0.0/8"]'
    for name in (BROKER, RELAY):
        if name not in there:
            continue
        taken = []
        for _ in range(rounds):
            game = free()
            start = broker(context, "up", game, further=further) if name == BROKER else relay(context, game)
            with start as one, Talker([load(context), "play", one.port, game, minutes * TICKS_A_MINUTE]) as player:
                player.heard()
                before = one.cpu()
                done = json.loads(player.ask())
                taken.append((one.cpu() - before) / minutes)
        result[name] = {"cpu": statistics.median(taken), "spread": [min(taken), max(taken)]}
    return {"minutes": minutes, "rounds": rounds, "bytes": done["bytes"], "cpu": result}


def measure(context):
    for path in (program(context), load(context)):
        if not path.exists():
            raise RuntimeError(f"no {path}: make bench builds it")
    there, missing = peers()
    for name in missing:
        context.say(f"missing: {name}")
    result = {"missing": missing, "size": program(context).stat().st_size}
    with context.network():
        for name, work in (("pings", pings), ("held", held), ("play", play)):
            result[name] = work(context, there)
            context.say(f"broker: {name} is measured")
        result["transfers"] = transfers(context)
    packages = {SLEEPER: SLEEPING / "node_modules/mcsleepingserverstarter",
                LIBRARY: ROOT / "target/lab/node_modules/minecraft-protocol"}
    found = {name: json.loads((path / "package.json").read_text())["version"] for name, path in packages.items() if name in there}
    if RELAY in there:
        libraries = ":".join(str(path) for path in (HAPROXY / "usr/lib").iterdir())
        found[RELAY] = output("env", f"LD_LIBRARY_PATH={libraries}", HAPROXY / "usr/sbin/haproxy", "-v").split()[2]
    return result | {"versions": found}


def targets(result):
    rest, most = result["pings"]["rest"][BROKER], max(point["each"] for point in result["held"][BROKER]["points"])
    last, each = result["held"][BROKER]["points"][-1], 1 / result["pings"]["paced"][BROKER]
    fast, login, moved = 1 / result["pings"]["fast"][BROKER], result["transfers"]["milliseconds"], result["transfers"]
    return [
        ("mc-broker's resident memory at rest", f"at most {MOST_RESIDENT / 2**20:.0f} MiB", f"{rest / 2**20:.2f} MiB",
         rest <= MOST_RESIDENT),
        (f"memory for each held connection, encrypted, up to {last['players']:,}", f"at most {MOST_HELD / 2**10:.0f} KiB",
         f"{most / 2**10:.2f} KiB", most <= MOST_HELD),
        (f"status answers for a second of one core's CPU, at {RATE:,} a second", f"at least {LEAST_ANSWERS:,}", f"{each:,.0f}",
         each >= LEAST_ANSWERS),
        ("status answers for a second of one core's CPU, as many as come", f"at least {LEAST_ANSWERS:,}", f"{fast:,.0f}",
         fast >= LEAST_ANSWERS),
        ("CPU for a minute of play after a hand-over", "nothing: every connection closed",
         f"{moved['closed']} of {moved['logins']} closed", moved["closed"] == moved["logins"]),
        ("from a login to the Transfer, server up", f"under {MOST_LOGIN * 1000:.0f} ms, in the median", f"{login:.1f} ms",
         login < MOST_LOGIN * 1000),
    ]


def mebibytes(value):
    return f"{value / 2**20:.1f} MiB"


def kibibytes(value):
    return f"{value / 2**10:.1f} KiB"


def plots(result):
    def bars(title, values, words, note="A logarithmic scale."):
        first = [(BROKER, values.pop(BROKER))]
        return chart.bars(title, first + sorted(values.items(), key=lambda row: row[1]), words, note=note)

    once, measured = LAZYMC["name"], result["pings"]
    resident = {name: value for name, value in measured["rest"].items() if name != FLOOR}
    each = {name: one["points"][0]["each"] for name, one in result["held"].items()}
    return {
        "broker-pings.svg": bars(
            f"CPU of a status answer, at {RATE:,} pings a second", measured["paced"] | {once: 1 / LAZYMC["answers"]}, cpu_text,
            "A logarithmic scale; medians of rounds in turn. lazymc was measured once, and not in this run."),
        "broker-rest.svg": bars("Resident at rest", resident | {once: LAZYMC["resident"]}, mebibytes),
        "broker-held.svg": bars("Memory for each held connection", each | {once: LAZYMC["held"]}, kibibytes),
        "broker-play.svg": bars(
            "CPU of a minute of relayed play, 100 MB in an hour", {name: one["cpu"] for name, one in result["play"]["cpu"].items()},
            cpu_text, "Of a player who was handed over: nothing."),
    }


def missed(measured):
    ours, least = measured["fast"][BROKER], measured["fast"][FLOOR]
    return (
        f"**What is not met, and why:** {LEAST_ANSWERS:,} answers for a second of CPU are {cpu_text(1 / LEAST_ANSWERS)} each, and the "
        f"bare loop takes {cpu_text(least)} on this machine: {1 / least:,.0f} answers. mc-broker takes {ours / least:.2f} times as "
        "much, with its limits, timers and counts; four fifths of that go to the kernel, and half of all to the two calls that send (by "
        f"perf, once). At {RATE:,} a second it takes {cpu_text(measured['paced'][BROKER])}, and the loop "
        f"{cpu_text(measured['paced'][FLOOR])}: its own code takes some three times as long as when many come at once, presumably since it is "
        "waked for each step of each ping, with cold caches. Other work on the machine makes all of these larger.\n"
    )


def section(result):
    measured, moved, played = result["pings"], result["transfers"], result["play"]
    rows = []
    for name in measured["rest"]:
        version, is_program = result["versions"].get(name), name != FLOOR
        rows.append([
            f"{name} {version}" if version else name, mebibytes(measured["rest"][name]) if is_program else "",
            cpu_text(measured["rest_cpu"][name] * 60) if is_program else "", cpu_text(measured["paced"][name]),
            " – ".join(map(cpu_text, measured["paced_spread"][name])), f"{1 / measured['paced'][name]:,.0f}",
            f"{1 / measured['fast'][name]:,.0f}", mebibytes(measured["fast_resident"][name]) if is_program else "",
        ])
    rows.append([LAZYMC["name"], mebibytes(LAZYMC["resident"]), "", cpu_text(1 / LAZYMC["answers"]), "", f"{LAZYMC['answers']:,}", "", ""])
    waiting = []
    for name, one in result["held"].items():
        for point in one["points"]:
            last = point is one["points"][-1]
            waiting.append([
                name, f"{point['players']:,}", mebibytes(point["resident"]), kibibytes(point["each"]), cpu_text(point["login"]),
                cpu_text(one["cpu"] * 60 / point["players"]) if last else "",
            ])
    waiting.append([LAZYMC["name"], "", "", kibibytes(LAZYMC["held"]), "", ""])
    plays = [
        [f"{name}, relaying", cpu_text(one["cpu"]), " – ".join(map(cpu_text, one["spread"]))]
        for name, one in played["cpu"].items()
    ]
    missing = ["Missing here: " + "; ".join(result["missing"]) + ".\n"] if result["missing"] else []
    return "\n".join([
        "## The broker\n",
        "`tests/bench/broker.py`: mc-broker beside what else answers for a server that sleeps, or stands in front of one. Clients, "
        "session server and game are `tests/bench/broker_load.rs`, the launcher is a stand-in; all are on loopback. lazymc stands "
        "in the tables as it was measured once on this kind of machine, and not in this run. The stripped program has "
        f"{result['size'] / 1e6:.2f} MB.\n",
        "### Status pings, and at rest\n",
        f"At rest: after {measured['rest_seconds']} s in which nobody came. A ping is what a line of the server list is: a connection, "
        f"handshake, status, ping and pong; {RATE:,} a second for {measured['seconds']} s, the median of {measured['rounds']} rounds in "
        "turn, each from another of a thousand addresses; then as many as come, from 16 clients at once. The CPU is the program's, the "
        "kernel's share for its sockets included; on loopback that is the client's end of the connection too, as far as the kernel "
        "serves it while the program sends. The floor is what no server can be below here: one that takes one client at a time, reads, "
        "writes the answer that it has ready, and closes. HAProxy passes pings on to a server that answers them, whose own CPU is not counted, "
        "and which would have to be up.\n",
        "![CPU of a status answer](benchmarks/broker-pings.svg)\n",
        "![Resident at rest](benchmarks/broker-rest.svg)\n",
        table(["", "resident at rest", "CPU in a minute at rest", "CPU of an answer", "least – most", "answers for a second of CPU",
               "the same, as many as come", "resident after that"], *rows),
        *missing,
        *([missed(measured)] if 1 / measured["fast"][BROKER] < LEAST_ANSWERS else []),
        "### Held players\n",
        "Who waits for a server that starts: with mc-broker logged in with an account, encrypted, and in the configuration; with "
        "minecraft-protocol in offline mode, without encryption; with HAProxy only connected, on to a server that says nothing. "
        "mcsleepingserverstarter holds nobody: whoever joins is told to come again. Memory is what is resident, less what was at rest, "
        "for each; the kernel's for the sockets is not in it. The CPU of a login has the broker's two RSA decryptions in it.\n",
        "![Memory for each held connection](benchmarks/broker-held.svg)\n",
        table(["", "players", "resident", "for each", "CPU of a login", "CPU of a minute, each"], *waiting),
        "### Play\n",
        f"After a Transfer the player's connection leads to the server itself. Of {moved['logins']} players who were handed over, the "
        f"broker closed {moved['closed']} connections. It used {cpu_text(moved['after'] * 60)} of CPU in a minute then, and {cpu_text(moved['idle'] * 60)} in one before "
        "anybody had come: it asks the launcher and the server. From a login to the Transfer it took "
        f"{moved['milliseconds']:.1f} ms in the median, {moved['most']:.1f} ms at most, beside a launcher and a server that answer at once, "
        f"more than a second apart; {cpu_text(moved['login'])} of CPU each.\n",
        "A player of an older version can be relayed (`relay = true`): an hour of play is "
        f"{played['bytes'] / 1e6 * 60 / played['minutes']:.0f} MB, one packet down and one up in each of 20 ticks a second, here without the "
        f"time between them; the median of {played['rounds']} runs.\n",
        "![CPU of a minute of relayed play](benchmarks/broker-play.svg)\n",
        table(["", "CPU of a minute of play", "least – most"], ["mc-broker, after a Transfer", "nothing", ""], *plays),
    ])
