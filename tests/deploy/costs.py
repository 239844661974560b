#!/usr/bin/env python3
"""What a month costs: writes the tables of docs/costs.md from deploy/prices.tsv.
Over 400 lines: one table after the other.

    tests/deploy/costs.py                   writes them
    tests/deploy/costs.py --check           says what is not as the prices say it, and ends with exit code 1 then
    tests/deploy/costs.py --prices FILE     prints them for other prices, such as a copy with those of your region

--check also looks at README.md's own table, whether each price has a source and a date, and whether deploy/stack.yaml
has no more alarms, dashboards and metrics than are free.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRICES = ROOT / "deploy/prices.tsv"
PAGE = ROOT / "docs/costs.md"
README = ROOT / "README.md"
STACK = ROOT / "deploy/stack.yaml"
FIELDS = ["name", "usd", "unit", "source", "date", "read", "verified"]

MONTH = 730  # hours
HOURS = (0, 5, 20, 40, MONTH)
EVENING = 3  # hours
IDLE = 15  # minutes that mc-idle waits at an evening's end
FARGATE_IDLE = 20  # SHUTDOWNMIN of minecraft-ondemand
SYSTEM = 8  # GB, the stack's DiskGiB
WORLD = 10  # GB
README_DISK = 8  # GB, in README.md's table
WARDEN_MINUTES = 5  # the stack's LookMinutes
PAGE_LOOKS = 10_000
FUNCTION_GB = Decimal("0.25")
FUNCTION_SECONDS = 1
LOG_GB = Decimal("0.1")
EMAILS = 100
PLAYERS = 5
PLAYER_GB = Decimal("0.1")  # an hour
ZIP_GB = Decimal("0.01")
T_SHARES = {"medium": Decimal("0.2"), "large": Decimal("0.3")}  # of each of the two CPUs, covered by the price


@dataclass
class Machine:
    name: str
    cpus: int
    memory: int  # GB

    def title(self):
        return f"{self.name}, {self.cpus} CPU{'s' if self.cpus > 1 else ''}, {self.memory} GB"


MACHINES = (Machine("t4g.medium", 2, 4), Machine("t4g.large", 2, 8))
OTHERS = (
    Machine("t3.medium", 2, 4),
    Machine("t3.large", 2, 8),
    Machine("t4g.xlarge", 4, 16),
    Machine("m7g.medium", 1, 4),
    Machine("m7g.large", 2, 8),
    Machine("m7i.large", 2, 8),
)


@dataclass
class Price:
    usd: Decimal
    unit: str
    source: str
    date: str
    read: str
    verified: bool

    def quantity(self):
        number = re.match(r"\d+ ", self.unit)
        return Decimal(number.group()) if number else Decimal(1)


class Prices:
    """The lines of a file such as deploy/prices.tsv; `prices[name]` is the price of one."""

    def __init__(self, path):
        self.lines = {}
        self.problems = []
        self.used = set()
        fields = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            values = line.split("\t")
            if fields is None:
                fields = values
                if fields != FIELDS:
                    raise SystemExit(f"{path}:{number}: the fields should be {' '.join(FIELDS)}")
            elif len(values) != len(FIELDS):
                self.problems.append(f"{path}:{number}: {len(values)} fields instead of {len(FIELDS)}")
            else:
                self.add(f"{path}:{number}", dict(zip(FIELDS, values, strict=True)))

    def add(self, place, line):
        name, verified = line["name"], line["verified"] == "yes"
        if not re.fullmatch(r"\d+(\.\d+)?", line["usd"]):
            self.problems.append(f"{place}: the price of {name} is no number: {line['usd']!r}")
            return
        if name in self.lines:
            self.problems.append(f"{place}: {name} has a price already")
        if line["verified"] not in ("yes", "no"):
            self.problems.append(f"{place}: verified is yes or no, not {line['verified']!r}")
        if not re.match(r"https://\S+$" if verified else r"\S", line["source"]):
            self.problems.append(f"{place}: {name} has no source")
        if not re.fullmatch(r"20\d\d-\d\d(-\d\d)?" if verified else r"20\d\d-\d\d(-\d\d)?|undated", line["date"]):
            self.problems.append(f"{place}: {name} has no date")
        for field in ("unit", "read"):
            if not line[field].strip():
                self.problems.append(f"{place}: {name} lacks {field}")
        self.lines[name] = Price(
            Decimal(line["usd"]), line["unit"], line["source"], line["date"], line["read"], verified
        )

    def line(self, name):
        if name not in self.lines:
            raise SystemExit("\n".join([*self.problems, f"the list has no price of {name}"]))
        self.used.add(name)
        return self.lines[name]

    def __getitem__(self, name):
        line = self.line(name)
        return line.usd / line.quantity()

    def free(self, name):
        return self.line(name).quantity()

    def guessed(self):
        return sorted(name for name in self.used if not self.lines[name].verified)


def dollars(amount):
    return f"${Decimal(amount).quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def cents(amount):
    """For text: small amounts in cents."""
    number = (Decimal(amount) * 100).quantize(Decimal(1), ROUND_HALF_UP)
    if number < 1:
        return "less than a cent"
    if number >= 100:
        return dollars(amount)
    return f"{number} cent{'s' if number > 1 else ''}"


def table(columns, header, rows):
    """In Markdown; a letter for each column: l for text, r for numbers."""
    rule = "".join("---:|" if column == "r" else "---|" for column in columns)
    return "\n".join(["| " + " | ".join(header) + " |", "|" + rule, *("| " + " | ".join(row) + " |" for row in rows)])


def evenings(hours):
    return ceil(Decimal(hours) / EVENING)


def running(hours, idle):
    """For how many hours in a month a server runs that is played on for `hours`."""
    if hours == MONTH:
        return Decimal(MONTH)
    return hours + evenings(hours) * Decimal(idle) / 60


@dataclass
class Setup:
    name: str
    month: Decimal  # whatever happens
    hour: Decimal  # while the server runs
    idle: int = IDLE

    def cost(self, hours):
        return self.month + self.hour * running(hours, self.idle)


def fargate(prices, name, cpus, memory, fraction=1):
    task = cpus * prices["fargate-vcpu-hour"] + memory * prices["fargate-gb-hour"]
    storage = prices["route53-zone-month"] + WORLD * prices["efs-gb-month"]
    return Setup(f"minecraft-ondemand, {name}", storage, fraction * task + prices["ipv4-hour"], FARGATE_IDLE)


def efs(prices):
    return WORLD * (prices["efs-gb-month"] + prices["efs-backup-gb-month"])


def disk(prices, gigabytes):
    return gigabytes * prices["ebs-gp3-gb-month"]


def nano(prices):
    return MONTH * (prices["t4g.nano"] + prices["ipv4-hour"]) + disk(prices, SYSTEM)


def setups(prices, machine):
    hour = prices[machine.name] + prices["ipv4-hour"]
    on_disk = disk(prices, SYSTEM + WORLD)
    stack = disk(prices, SYSTEM) + efs(prices)
    return (
        Setup("mc-idle alone, world on the disk", on_disk, hour),
        Setup("with the launcher, world on the disk", on_disk, hour),
        Setup("**with the launcher, world on EFS**", stack, hour),
        Setup("the same in the mode `launch`", efs(prices), hour + disk(prices, SYSTEM) / MONTH),
        Setup("EFS, and a broker at home", stack, hour),
        Setup("EFS, and a broker on Lightsail, IPv6 only", stack + prices["lightsail-nano-ipv6-month"], hour),
        Setup("EFS, and a broker on Lightsail", stack + prices["lightsail-nano-month"], hour),
        Setup("EFS, and a broker on t4g.nano", stack + nano(prices), hour),
        fargate(prices, "1 CPU, 2 GB", 1, 2),
        fargate(prices, "the same on Fargate Spot", 1, 2, prices["fargate-spot-fraction"]),
        fargate(prices, f"{machine.cpus} CPUs, {machine.memory} GB", machine.cpus, machine.memory),
        Setup("never stopped, world on the disk", on_disk + MONTH * hour, Decimal(0)),
    )


def answer(prices):
    machine = MACHINES[0]
    hour = prices[machine.name] + prices["ipv4-hour"]
    rows = {row.name: row for row in setups(prices, machine)}
    stack, never = rows["**with the launcher, world on EFS**"], rows["never stopped, world on the disk"]
    alone = rows["mc-idle alone, world on the disk"]
    evening, end = cents(hour * running(EVENING, IDLE)), cents(hour * IDLE / 60)
    costs = [dollars(setup.cost(40)) for setup in (alone, stack, never)]
    return (
        f"**The short answer**, for 40 hours of play a month on a {machine.name} with {machine.memory} GB of memory: "
        f"{costs[0]} with the world on the\ndisk, {costs[1]} with it on EFS and backed up, as `make deploy` does it, "
        f"and {costs[2]} for a machine that never stops. An evening\nof {EVENING} hours costs {evening}, of which its "
        f"last {IDLE} minutes, with nobody there, are {end}. The launcher adds nothing."
    )


def by_hours(prices):
    titles = ["nobody plays"] + [f"{hours} h" for hours in HOURS[1:]]
    parts = []
    for machine in MACHINES:
        rows = [[row.name] + [dollars(row.cost(hours)) for hours in HOURS] for row in setups(prices, machine)]
        parts.append(table("lrrrrr", [machine.title(), *titles], rows))
    return "\n\n".join(parts)


def staying(prices):
    stack, on_disk = disk(prices, SYSTEM) + efs(prices), disk(prices, SYSTEM + WORLD)
    image = SYSTEM * prices["ebs-snapshot-gb-month"]
    address, zone = MONTH * prices["ipv4-idle-hour"], prices["route53-zone-month"]
    rows = (
        ("stack, world on EFS", stack, efs(prices), "EFS and its backups"),
        ("stack in the mode `launch`", efs(prices), efs(prices), "EFS and its backups"),
        ("stack, world on the disk", on_disk, on_disk, "the disk"),
        ("an AMI of your own, at most", image, image, "yours, not the stack's"),
        ("a zone in Route 53", zone, zone, "yours"),
        ("an Elastic IP", address, address, "yours"),
    )
    return table(
        "lrrl",
        ["", "nobody plays", "after `make undeploy`", "what stays then"],
        [[name, dollars(now), dollars(then), what] for name, now, then, what in rows],
    )


def for_nothing(prices):
    looks = MONTH * 60 // WARDEN_MINUTES
    calls = looks + PAGE_LOOKS
    work = calls * FUNCTION_GB * FUNCTION_SECONDS
    traffic = PLAYERS * 40 * PLAYER_GB
    alarms, dashboards = prices.free("cloudwatch-alarms-free"), prices.free("cloudwatch-dashboards-free")
    rows = (
        (
            f"Lambda: {looks:,} looks of the warden, {PAGE_LOOKS:,} at the page",
            f"{prices.free('lambda-requests-free'):,} calls, {prices.free('lambda-gb-seconds-free'):,} GB-seconds",
            calls * prices["lambda-requests"] + work * prices["lambda-gb-second-arm64"],
        ),
        (
            f"EventBridge: {looks:,} calls by schedule, at the price of its Scheduler",
            f"{prices.free('scheduler-invocations-free'):,}",
            looks * prices["scheduler-invocations"],
        ),
        (
            f"CloudWatch: up to {alarms} alarms",
            f"{alarms}",
            alarms * prices["cloudwatch-alarm-month"],
        ),
        ("CloudWatch: a dashboard", f"{dashboards}", prices["cloudwatch-dashboard-month"]),
        (f"logs: {LOG_GB} GB", f"{prices.free('logs-gb-free')} GB", LOG_GB * prices["logs-ingest-gb"]),
        (f"{EMAILS} messages by e-mail", f"{prices.free('sns-emails-free'):,}", EMAILS * prices["sns-emails"]),
        (
            f"traffic out: {PLAYERS} players, 40 hours, {PLAYER_GB} GB an hour",
            f"{prices.free('data-out-free')} GB",
            traffic * prices["data-out-gb"],
        ),
        ("SSM parameters, function URL, certificate", "all", Decimal(0)),
    )
    made = table(
        "lrr",
        ["what the stack uses in a month", "free, each month", "would cost"],
        [[use, free, dollars(cost)] for use, free, cost in rows],
    )
    credit = prices.line("new-account-credit").usd
    return f"{made}\n\nA new account also gets credits, up to ${credit}, for its first months. No table counts them."


def on_top(prices):
    machine = MACHINES[0]
    hours, fractions = running(40, IDLE), (prices["spot-fraction-low"], prices["spot-fraction-high"])
    spot = [dollars(hours * (part * prices[machine.name] + prices["ipv4-hour"])) for part in fractions]
    surplus = prices["t3-surplus-vcpu-hour"]
    secrets = MONTH * 60 // WARDEN_MINUTES * prices["kms-requests"]
    rows = [
        (f"an hour in which the game keeps one CPU busy, on a t3.{size}, at most", dollars(surplus * (1 - 2 * share)))
        for size, share in T_SHARES.items()
    ]
    rows += (
        (
            f"40 hours of {machine.name} and its address on Spot, instead of "
            f"{dollars(hours * (prices[machine.name] + prices['ipv4-hour']))} (not verified)",
            " to ".join(spot),
        ),
        ("a GB on EFS that nobody has touched for 30 days, a month", f"${prices['efs-ia-gb-month']}"),
        ("a GB that an evening changes, in EFS's backups", dollars(prices["efs-backup-gb-month"])),
        ("a zone in Route 53, a month", dollars(prices["route53-zone-month"])),
        ("the page under a name of its own (HTTP API), 10,000 looks", dollars(10_000 * prices["http-api-requests"])),
        ("an Elastic IP, a month", dollars(MONTH * prices["ipv4-idle-hour"])),
        (f"a GB out, beyond {prices.free('data-out-free')} GB a month", dollars(prices["data-out-gb"])),
        (
            "reading the secrets (KMS), and keeping the launcher's zip (S3), a month at most",
            dollars(secrets + ZIP_GB * prices["s3-gb-month"]),
        ),
    )
    return table("lr", ["", "USD"], rows)


def other_machines(prices):
    rows = []
    for machine in MACHINES + OTHERS:
        hour = prices[machine.name] + prices["ipv4-hour"]
        costs = [dollars(disk(prices, SYSTEM + WORLD) + hour * running(hours, IDLE)) for hours in (20, 40)]
        rows.append([machine.title(), f"${prices[machine.name]:.4f}", *costs])
    return table("lrrr", ["world on the disk", "an hour", "20 h", "40 h"], rows)


def sources(prices):
    numbers = {}  # of the sources, in their order
    rows = []
    for name, line in prices.lines.items():
        number = numbers.setdefault((line.source, line.read), len(numbers) + 1)
        unit = re.sub(r"^\d+", lambda match: f"{int(match.group()):,}", line.unit)
        rows.append([f"`{name}`", f"{line.usd}", unit, line.date, f"{number}", "yes" if line.verified else "**no**"])
    places = [f"{number}. {read}: <{source}>" for (source, read), number in numbers.items()]
    header = ["price", "USD", "for", "as of", "source", "verified"]
    return table("lrllrl", header, rows) + "\n\n" + "\n".join(places)


BLOCKS = {
    "answer": answer,
    "hours": by_hours,
    "staying": staying,
    "free": for_nothing,
    "on-top": on_top,
    "machines": other_machines,
    "sources": sources,
}
MAY_BE_GUESSED = {"on-top", "sources"}  # where the text says so


def blocks(prices):
    made = {}
    for name, make in BLOCKS.items():
        prices.used.clear()
        made[name] = make(prices)
        if prices.guessed() and name not in MAY_BE_GUESSED:
            guessed = ", ".join(prices.guessed())
            prices.problems.append(f"{PAGE}: the part {name} uses prices that are not verified: {guessed}")
    return made


def filled(text, made):
    """The page with these blocks between its comments."""
    for name, block in made.items():
        begin, end = f"<!-- costs: {name} -->", f"<!-- end of {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{PAGE}: there should be one {begin} and one {end}")
        before, rest = text.split(begin)
        text = before + begin + "\n" + block + "\n" + end + rest.split(end, 1)[1]
    return text


def readme_problems(text, prices):
    """README.md has a table of its own: instance and address by the hour, and a disk of README_DISK GB."""
    section = re.search(r"^## What it saves\n(.*?)(?=^## )", text, re.M | re.S)
    rows = re.findall(r"^\| *([a-z0-9]+\.[a-z0-9]+),([^|]*)\|([^\n]*)\|$", section.group(1) if section else "", re.M)
    header = re.search(r"^\| *instance *\|([^\n]*)\|$", section.group(1) if section else "", re.M)
    if not rows or not header:
        return [f'{README}: no table of instances under "What it saves"']
    hours = [int(re.search(r"\d+", title).group()) for title in header.group(1).split("|")]
    problems = []
    for name, words in (
        ("ipv4-hour", "address (${}/h)"),
        ("ebs-gp3-gb-month", f"{README_DISK} GB gp3 disk (${{}} per GB)"),
    ):
        if words.format(prices.line(name).usd) not in section.group(1):
            words = words.format(prices.line(name).usd)
            problems.append(f'{README}: "What it saves" does not say "{words}", which is the price of {name}')
    for name, details, cells in rows:
        hour = prices[name] + prices["ipv4-hour"]
        said_hour = re.search(r"\$([\d.]+)/h", details)
        if not said_hour or Decimal(said_hour.group(1)) != prices[name]:
            what = f"${said_hour.group(1)}" if said_hour else "nothing"
            problems.append(f"{README}: {name} costs ${prices[name]} an hour, and {what} is written there")
        for title, cell in zip(hours, cells.split("|"), strict=True):
            cost = dollars(disk(prices, README_DISK) + title * hour)
            if cell.strip() != cost:
                problems.append(f"{README}: {title} hours of {name} cost {cost}, and {cell.strip()} is written there")
    return problems


def stack_problems(text, prices):
    """The page says that these are free."""
    problems = []
    for kind, name in (
        ("CloudWatch::Alarm", "cloudwatch-alarms-free"),
        ("CloudWatch::Dashboard", "cloudwatch-dashboards-free"),
        ("Logs::MetricFilter", "cloudwatch-metrics-free"),
    ):
        number = len(re.findall(rf"^ *Type: AWS::{kind}$", text, re.M))
        if number > prices.free(name):
            problems.append(f"{STACK}: {number} of {kind}, and {prices.free(name)} are free; {PAGE} says that all are")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something differs")
    what.add_argument("--prices", type=Path, metavar="FILE", help="print the tables for these prices")
    options = parser.parse_args()

    prices = Prices(options.prices or PRICES)
    made = blocks(prices)
    if options.prices:
        print("\n\n".join(made.values()))
    else:
        was = PAGE.read_text()
        page = filled(was, made)
        if options.check:
            if page != was:
                prices.problems.append(f"{PAGE}: not what the prices make of it; tests/deploy/costs.py writes it")
            prices.problems += readme_problems(README.read_text(), prices)
            prices.problems += stack_problems(STACK.read_text(), prices)
        elif page != was:
            PAGE.write_text(page)
    for problem in prices.problems:
        print(problem.replace(f"{ROOT}/", ""), file=sys.stderr)
    return 1 if prices.problems else 0


if __name__ == "__main__":
    sys.exit(main())
