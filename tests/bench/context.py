"""What the measures share: programs, a network of their own, sockets in it, CPU of processes, and words for figures."""

import contextlib
import ctypes
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

import around

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAB = ROOT / "tests/lab"
PYTHON = ROOT / "target/lab/venv/bin/python"
PORT = 25565
MOST_HOLDERS = 24
# The kernel's table of connections on an instance with 4 GiB of memory (t3.medium): one place for each 128 KiB.
PLACES = 32_768
CHILD_TABLE = pathlib.Path("/proc/sys/net/ipv4/tcp_child_ehash_entries")
TABLE = pathlib.Path("/proc/sys/net/ipv4/tcp_ehash_entries")
CLONE_NEWNET = 0x40000000
# Of a small server, those of the kernel included: mc-idle looks at each now and then.
PROCESSES = 100


class Context:
    """One run of the bench."""

    def __init__(self, binary, sample_cost, quick, folder):
        self.binary, self.sample_cost, self.quick = binary, sample_cost, quick
        self.folder = pathlib.Path(folder)
        self.root = os.geteuid() == 0

    def often(self, full, quick):
        """How often something is done: `full` times, or `quick` times with --quick."""
        return quick if self.quick else full

    def tool(self, name):
        """The path of a program of mc-idle-tools."""
        return self.sample_cost.with_name(name)

    def seconds(self, full):
        """How long something is watched."""
        return full / 60 if self.quick else full

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def sample(self, *words):
        """What sample-cost prints."""
        done = subprocess.run([self.sample_cost, *map(str, words)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout) if done.stdout else None

    @contextlib.contextmanager
    def network(self, places=PLACES):
        """A network of this process's own, and of what it starts: no socket of the machine is in it.

        `places`: how long its table of connections is, None: the machine's own table. Gives the length that it has.
        Without root it is the machine's own network after all.
        """
        if not self.root:
            yield places_here()
            return
        libc = ctypes.CDLL(None, use_errno=True)
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            with child_table(places):
                if libc.unshare(CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "unshare")
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            # What the polls leave behind for a minute would be rows in the table.
            pathlib.Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("0")
            with others():
                yield places_here()
        finally:
            libc.setns(before, CLONE_NEWNET)
            os.close(before)

    @contextlib.contextmanager
    def sockets(self, port=PORT):
        with Sockets(port) as sockets:
            yield sockets

    @contextlib.contextmanager
    def agent(self, settings="", binary=None):
        """The agent itself against the emulated AWS, with its defaults but for the port and EFS; gives its process."""
        with around.folder() as folder, around.emulator() as aws, open(self.folder / "agent.log", "w") as log:
            config = folder / "config.toml"
            config.write_text(settings or f'[minecraft]\nports = [{PORT}]\n[efs]\nmount_point = ""\n')
            environment = around.environment(RUNTIME_DIRECTORY=str(folder), **around.at_endpoint(aws["endpoint"]))
            with around.ended(around.start(binary or self.binary, config, environment, log)) as agent:
                yield agent


class Talker:
    """A process that answers a line with a line."""

    def __init__(self, arguments, environment=None):
        self.arguments = [str(word) for word in arguments]
        self.environment = environment

    def __enter__(self):
        self.process = subprocess.Popen(
            self.arguments, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_):
        # Ended by its closed stdin; by a signal where it is busy with something else.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def heard(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended without an answer: {' '.join(self.arguments)}")
        return line

    def ask(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.heard()


class Sockets:
    """A listener on the game's port with some connections, and foreign ones in as many processes as may open so many files."""

    def __init__(self, port):
        self.port, self.stack, self.others = port, contextlib.ExitStack(), []
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Two sockets for each connection, and some for Python itself.
        self.each = (most - 50) // 2

    def __enter__(self):
        self.game = self.holder(self.port)
        return self

    def __exit__(self, *details):
        return self.stack.__exit__(*details)

    def holder(self, port):
        talker = self.stack.enter_context(Talker([sys.executable, HERE / "sockets.py", port]))
        talker.heard()
        return talker

    def players(self, number):
        return int(self.game.ask(str(number)))

    def foreign(self, number):
        """That many sockets of other connections, or as many as may be open; says how many there are."""
        wanted, there = number // 2, 0
        for index in range(min(MOST_HOLDERS, -(-wanted // self.each))):
            if index == len(self.others):
                self.others.append(self.holder(0))
            there += int(self.others[index].ask(str(min(self.each, wanted - there))))
        return 2 * there


@contextlib.contextmanager
def others():
    """Processes that do nothing, in place of those of a server's: run.py sees none of the machine's own."""
    processes = [subprocess.Popen(["sleep", "infinity"], stdin=subprocess.DEVNULL) for _ in range(PROCESSES)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def child_table(places):
    """Only the networks made in between get such a table."""
    if places is None or not CHILD_TABLE.exists():
        yield
        return
    # Kept open: in the new network the path means that network's own.
    with open(CHILD_TABLE, "r+b", buffering=0) as file:
        before = file.read()
        file.seek(0)
        file.write(b"%d\n" % places)
        try:
            yield
        finally:
            file.seek(0)
            file.write(before)


def places_here():
    """How long the table is that the kernel walks; where the machine's is shared, its length has a minus sign."""
    return abs(int(TABLE.read_text())) if TABLE.exists() else None


def has(program):
    return shutil.which(program) is not None


def spent(arguments):
    """The CPU seconds of a process and of what it started, from its start to its end."""
    process = subprocess.Popen([str(word) for word in arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"exit code {process.returncode}: {arguments}")
    return usage.ru_utime + usage.ru_stime


def tasks(pid):
    return pathlib.Path(f"/proc/{pid}/task").iterdir()


def threads_cpu(pid):
    """CPU seconds of all threads: the first figure of schedstat, in nanoseconds, where stat counts in hundredths."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks(pid)) / 1e9


def status(pid, name):
    """A figure of /proc/PID/status."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"no {name} in /proc/{pid}/status")


def output(*arguments):
    """The first line that a program prints, wherever it prints it; None without the program."""
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else None


def turns(works, rounds, seconds):
    """Does all of `works` (name: a function that gives CPU seconds) in turn, A B A B; gives what each round took, by name.

    At most for so many seconds, but three times at least. The first round finds cold caches, and does not count.
    """
    taken, began = {name: [] for name in works}, time.monotonic()
    for turn in range(rounds + 1):
        if turn > 3 and time.monotonic() - began > seconds:
            break
        for name, work in works.items():
            value = work()
            if turn:
                taken[name].append(value)
    return taken


def ratio(ours, theirs):
    """The median over the rounds of what ours is of theirs."""
    return statistics.median(our / their for our, their in zip(ours, theirs))


def cpu_text(seconds):
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 0.9995:
            break
    else:
        factor, unit = 1e6, "µs"
    value = seconds * factor
    return f"{value:.0f} {unit}" if value >= 99.5 else f"{value:.1f} {unit}" if value >= 9.95 else f"{value:.2f} {unit}"


def part_text(value):
    """A ratio, below a half as one of so many."""
    return f"1/{1 / value:.1f}" if value < 0.5 else f"{value:.2f}" if value < 1.995 else f"{value:.1f} times"


def table(head, *rows):
    """A markdown table; all columns but the first are figures."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
