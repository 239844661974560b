"""How the cost of a look grows with the sockets of the machine."""

import statistics

import chart
from context import PORT, cpu_text, ratio, table, turns
from peers import OURS, Peers

# One connection to the game's port, both of its ends, and others.
SOCKETS = [2, 4, 10, 100, 1000, 10_000, 37_000, 95_000, 100_000]
SOCKETS_QUICK = [2, 10, 1000, 10_000]
SAMPLE, FLOOR = "mc-idle: a look", "floor: a plain read"
# At most so long for each number, but three rounds in any case.
SECONDS, SECONDS_QUICK = 40, 10


def measure(context):
    points = []
    with context.network() as places, context.sockets() as sockets:
        sockets.players(1)
        with Peers(context, 1) as peers:
            for name in OURS:
                del peers.works[name]  # beside the floor instead
            for wanted in SOCKETS_QUICK if context.quick else SOCKETS:
                number = 2 + sockets.foreign(wanted - 2)
                if points and number == points[-1]["sockets"]:
                    break  # no more may be open here
                points.append(point(context, number, peers.works))
            missing = peers.missing
    return {"places": places, "points": points, "missing": missing}


def point(context, number, works):
    floors = []

    def look():
        seen = context.sample("compare", "--port", PORT, "--rounds", max(3, min(50, 100_000 // number)))
        floors.append(seen["floor_us"] / 1e6)
        return seen["sample_us"] / 1e6

    taken = turns({SAMPLE: look, **works}, context.often(15, 3), context.often(SECONDS, SECONDS_QUICK))
    cpu = {name: statistics.median(values) for name, values in taken.items()}
    context.say(f"growth: {number:,} sockets, {len(taken[SAMPLE])} rounds")
    return {
        "sockets": number, "rounds": len(taken[SAMPLE]), "cpu": cpu | {FLOOR: statistics.median(floors[1:])},
        "part": ratio(taken[SAMPLE], floors[1:]),
    }


def targets(_result):
    return []


def names(result):
    return [SAMPLE, FLOOR, *(name for name in result["points"][0]["cpu"] if name not in (SAMPLE, FLOOR))]


def plots(result):
    series = [(name, [(one["sockets"], one["cpu"][name]) for one in result["points"]]) for name in names(result)]
    return {"growth.svg": chart.lines("CPU of one look, by the sockets of the machine", "established sockets", series, cpu_text)}


def section(result):
    head = ["established sockets", *names(result), "look ÷ floor", "rounds"]
    rows = [
        [f"{one['sockets']:,}", *(cpu_text(one["cpu"][name]) for name in names(result)), f"{one['part']:.3f}", one["rounds"]]
        for one in result["points"]
    ]
    where = f", in a table of {result['places']:,} places" if result["places"] else ""
    missing = "Missing here: " + "; ".join(result["missing"]) + ".\n" if result["missing"] else ""
    return "\n".join([
        "## How it grows with the sockets of the machine\n",
        f"CPU of one look{where}: one connection to the game, all others foreign. A connection on loopback is two sockets, "
        "one for either end, and a process here holds thousands of them. The floor under every reader of `/proc/net/tcp` and `tcp6` "
        "is reading them to the end that the kernel tells, and doing nothing with it; mc-idle does not ask for that end.\n",
        "![CPU of one look, by the sockets of the machine](benchmarks/growth.svg)\n",
        table(head, *rows), missing,
    ])
