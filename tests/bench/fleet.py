"""How many servers one account carries: the agent's own heartbeat writers, simulated against SSM's limit of writes."""

import json
import subprocess

COMMAND = "cargo run --release -p mc-idle-tools --bin fleet"
STARTS = {"evening": "over an evening", "hour": "within one hour", "second": "in the same second"}


def measure(context):
    done = subprocess.run([str(context.tool("fleet")), "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def carried(result, starts, rate):
    """The largest fleet without a lost change of state, with the least burst that was tried."""
    return next(row for row in result["carried"] if row["starts"] == starts and row["rate"] == rate)["no_state_lost"]


def row_of(result, servers, seconds, rate, starts):
    wanted = (servers, seconds, rate, starts)
    return next(row for row in result["settings"] if (row["servers"], row["seconds"], row["rate"], row["starts"]) == wanted)


def targets(result):
    """What docs/status-and-heartbeat.md says."""
    def lossless(words, servers, seconds, rate):
        lost = row_of(result, servers, seconds, rate, "evening")["states"]["lost"]
        return (f"changes of state lost by {words}, started over an evening", "0", str(lost), lost == 0)

    within_an_hour, evening = carried(result, "hour", 3), carried(result, "evening", 3)
    return [
        ("servers started within one hour, defaults, 3 writes/s, no change of state lost", "at least 150",
         str(within_an_hour), within_an_hour >= 150),
        ("servers started over an evening, defaults, 3 writes/s, no change of state lost", "at least 360",
         str(evening), evening >= 360),
        lossless("1,000 servers at 300 s and 3 writes/s", 1000, 300, 3),
        lossless("10,000 servers at 900 s and 10 writes/s", 10_000, 900, 10),
    ]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def seconds(value):
    if value is None:
        return "-"
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2f} s"


def runs(rows):
    head = ["servers", "`heartbeat.seconds`", "writes/s", "started", "up at once", "written: states, players, regular", "refused calls",
            "changes of state lost", "delay: median, p99, longest", "changes of players lost", "`stopping` lost", "living called dead"]
    return table(head, [
        [
            f"{row['servers']:,}", row["seconds"], f"{row['rate']:g}", STARTS[row["starts"]], f"{row['most_up']:,}",
            ", ".join(f"{row[name]:,}" for name in ("of_states", "of_players", "regular")), f"{row['refused']:,}",
            f"{row['states']['lost']:,} of {row['states']['all']:,}",
            ", ".join(seconds(row["states"][name]) for name in ("median_s", "p99_s", "longest_s")),
            f"{row['players']['lost']:,} of {row['players']['all']:,}", f"{row['lost'].get('stopping', 0):,}",
            f"{row['dead']:,} times, {row['dead_hours']:,.1f} h",
        ]
        for row in rows
    ])


def section(result):
    default = result["default_seconds"]
    sizes = table(
        ["started", "writes/s", "burst", "no change of state lost", "no living agent called dead"],
        [[STARTS[row["starts"]], f"{row['rate']:g}", f"{row['burst']:g}", f"{row['no_state_lost']:,}", f"{row['none_called_dead']:,}"]
         for row in result["carried"]],
    )
    costs = table(
        ["`heartbeat.seconds`", "most at 3/s", "at 10/s", "writes a month", "1 server", "1,000", "10,000"],
        [[row["seconds"], f"{row['paper_3']:,}", f"{row['paper_10']:,}", f"{row['writes']:,.0f}", f"${row['dollars']:.4f}",
          f"${row['dollars'] * 1000:,.2f}", f"${row['dollars'] * 10_000:,.2f}"] for row in result["always_on"]],
    )
    evenings = table(
        ["servers", "`heartbeat.seconds`", "requests a month and server", "1 server", "the fleet"],
        [[f"{row['servers']:,}", row["seconds"], f"{row['requests_per_server_month']:,.0f}", f"${row['dollars_per_server_month']:.4f}",
          f"${row['dollars_per_server_month'] * row['servers']:,.2f}"]
         for row in result["settings"] if row["rate"] == 10 and row["starts"] == "evening"],
    )
    return "\n".join([
        "## A fleet in one account\n",
        f"`{COMMAND}` (seed {result['seed']}; the same seed gives the same figures, but for a few by rounding: heartbeats carry whole seconds of the real clock)\n",
        "**Simulated, not measured on AWS.** Every server is the agent's own heartbeat writer on a clock that jumps. It lives one evening: "
        "it boots in 30 to 90 s, 1 to 4 friends come and go (a quarter drop out once), and it is stopped after 15 minutes without them; "
        "one evening in twenty ends by hand. SSM is a bucket of tokens, and the SDK asks three times for each heartbeat. That SSM takes 3 "
        "writes a second for an account and region, and 10 with higher throughput, is what AWS's support has been quoted with; AWS "
        "documents neither the true limit nor the burst, and others report more: NOT VERIFIED. The way to SSM takes 30 ms, and a machine "
        "goes down 5 to 15 s after its request to stop: both assumed.\n",
        "A change of state is lost if the next one, or the agent's end, came before it was written. A reader calls a living agent dead "
        "when `next_by` passes with nothing new written. Not counted as lost: `starting`, which the first look replaces within a second.\n",
        f"The largest fleet, all at `heartbeat.seconds = {default}`, of {result['evenings']} evenings each; {result['sizes'][-1]:,} is the largest "
        "tried, and the sizes tried are some steps apart:\n", sizes,
        f"Fleets at the default, {default} s, with a burst of 3:\n", runs(result["default"]),
        "Larger ones at other settings, with a burst of 3 at 3/s and of 10 at 10/s:\n", runs(result["settings"]),
        "On paper, servers that are up all month, regular heartbeats alone. Standard parameters at standard throughput cost nothing; the "
        "dollars are those of higher throughput, 0.05 for 10,000 calls, where every other call of Parameter Store in the account is "
        "billed as well:\n", costs,
        "In simulation, one evening a day for 30 days, at 10 writes a second. All requests count, whether refused ones are billed or not "
        "(NOT VERIFIED); what CloudTrail or EventBridge may add is not in it (NOT VERIFIED):\n", evenings,
    ])
