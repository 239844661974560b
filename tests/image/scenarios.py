"""What has to hold of the image, each scenario with the machine's own clock: see docs/development.md, "The image"."""

import time

from demo import expect

import efs
import journal
import network
from instance import BOOT_SECONDS, GAME_SECONDS, seconds_of

WINDOW = 60
SAMPLE = 5
YOUNG = 10
ASK = 10
ANSWER = 3  # that a server is given for its answer
PATIENCE = 40
NO_SERVER = 180  # an emulated machine takes its time to load the game
# From a window's end to the request lies the final heartbeat, which is given this long at most.
LAST_HEARTBEAT = 5
WATCHDOG = 30
HEARTBEAT_LAG = 15
SETTINGS = """\
idle_minutes = {idle_minutes}
no_server_minutes = {no_server_minutes}
sample_seconds = {sample_seconds}

[minecraft]
min_connection_seconds = {young}
ask_seconds = {ask}

[efs]
patience_minutes = {patience_minutes}

[heartbeat]
seconds = 10
"""
AGENT_ENDED = [
    ("mc-idle.service", "EC2 has accepted the stop", {"text": "EC2 accepted the stop"}),
    ("mc-idle.service", "the agent has ended as a success", {"message_id": journal.UNIT_SUCCEEDED}),
]
FAR = 1200  # a window that no scenario comes near to


def settings(no_server=FAR):
    return SETTINGS.format(
        idle_minutes=WINDOW / 60, no_server_minutes=no_server / 60, sample_seconds=SAMPLE, young=YOUNG, ask=ASK,
        patience_minutes=PATIENCE / 60,
    )


def latest(window):
    """A stop comes within its window, which begins with the first sample after the server's own answer is zero, and ends with
    one; and the final heartbeat comes before it."""
    return window + ASK + ANSWER + 2 * SAMPLE + LAST_HEARTBEAT


def up_and_idle(instance):
    """The machine starts, mounts EFS, and its game server listens."""
    instance.no_stop = "before its game server listened"
    beat = instance.wait_for_beat("that the agent has started", BOOT_SECONDS, lambda beat: True)
    instance.stage.say(f"the agent lives: mc-idle {beat['agent']} on {beat['instance_id']}")
    expect(beat["instance_id"] == instance.aws.instance_id, "the heartbeat has another instance id than the metadata")
    instance.wait_for_beat("EFS is mounted", GAME_SECONDS, lambda beat: beat["efs"] == "mounted")
    instance.stage.say("the heartbeat says that EFS is mounted")
    beat = instance.wait_for_beat(
        "the server listens, nobody plays", GAME_SECONDS, lambda beat: beat["state"] == "idle",
    )
    instance.no_stop = None
    return beat


def steve_joins(instance):
    """A player from outside, who counts from now on."""
    instance.stage.start_player("steve")
    expect(instance.crew.first_line("steve", GAME_SECONDS) == "spawned", "the player did not get into the game")
    instance.stage.screen.line("game", "steve is in the game, from another network")
    # The server's own answer may have made it `occupied` while his connection was still young.
    instance.wait_for_beat("one player is there", GAME_SECONDS, lambda beat: beat["state"] == "occupied" and beat["players"] == 1)
    instance.no_stop = "while steve was in the game"


def steve_leaves(instance):
    """Returns when, by the clock that the record of calls uses too."""
    expect(instance.crew.end("steve") == 0, "the player could not leave cleanly")
    instance.no_stop = None
    instance.stage.screen.line("game", "steve has left")
    return time.time()


def shown_in_order(instance, log, steps):
    """The journal has these entries, one after the other."""
    before = -1
    for unit, what, wanted in steps:
        place = log.place(unit, **wanted)
        expect(place is not None, f"the journal of the last boot does not show: {what}")
        instance.stage.say(f"journal, {what}: {log.show()[place].strip()}")
        expect(place > before, f"in the journal this comes too early: {what}")
        before = place


def world_saved(instance, log):
    """The last shutdown, as the journal on the disk tells it: the game server saved its world before EFS was unmounted."""
    game = f"minecraft@{efs.GAME}.service"
    shown_in_order(instance, log, [
        (game, "the game server is told to stop", {"text": "Stopping the server"}),
        (game, "it has saved its world", {"text": "The world is saved"}),
        (game, "it has ended as a success", {"message_id": journal.UNIT_SUCCEEDED}),
        ("mnt-efs.mount", "EFS is unmounted after that", {"message_id": journal.UNIT_STOPPED}),
    ])
    world = instance.stage.efs.saved_world()
    expect(world, "the world that the game server saved is not on EFS")
    instance.stage.say(f"on EFS: level.dat {world}")


def ended_well(instance, boot_id):
    """The same, and the agent had asked for it."""
    log = instance.journal(boot_id)
    world_saved(instance, log)
    shown_in_order(instance, log, AGENT_ENDED)
    expect(instance.last_beat()["state"] == "stopping", f"the last heartbeat is not `stopping`: {instance.last_beat()}")


def evening(stage):
    """A player comes, plays for longer than the window and leaves; the machine stops, and the world is saved first."""
    instance = stage.instance("first", settings())
    instance.start()
    boot_id = up_and_idle(instance)["boot_id"]
    stage.note_identity(instance)
    steve_joins(instance)
    plays = WINDOW + 2 * SAMPLE
    began = time.monotonic()
    instance.wait(plays, shown=lambda: f"steve has played {time.monotonic() - began:.0f} of {plays} s")
    stage.say(f"no stop was asked for in {plays} s of play, longer than the window of {WINDOW} s")
    left_at = steve_leaves(instance)
    instance.wait_for_stop(left_at, WINDOW - 0.5, latest(WINDOW))
    instance.wait_until_off()
    ended_well(instance, boot_id)


def efs_cut(stage):
    """EFS stops answering: the agent says so, works on, has its patience, and sees EFS come back."""
    instance = stage.instance("first", settings())
    instance.start()
    boot_id = up_and_idle(instance)["boot_id"]
    stage.note_identity(instance)
    steve_joins(instance)
    properties = ("MainPID", "NRestarts", "ActiveState")
    before = instance.unit("mc-idle", *properties)

    network.cut_efs()
    stage.say("EFS is cut off while a player is in the game")
    instance.wait_for_beat("EFS is hung", 60, lambda beat: beat["efs"] == "hung")
    stage.say(f"the heartbeat says that EFS is hung; now longer than the watchdog's {WATCHDOG} s")
    since = time.monotonic()
    while time.monotonic() - since < WATCHDOG + 2 * SAMPLE:
        instance.wait(SAMPLE)
        on_time(instance)
    after = instance.unit("mc-idle", *properties)
    expect(after == before, f"the agent did not just live on: {before} before, {after} after")
    stage.say(f"the agent lives on, samples on time, watchdog quiet: {after}")
    network.mend_efs()
    stage.say("EFS is back")
    instance.wait_for_beat("EFS is mounted", 180, lambda beat: beat["efs"] == "mounted")

    network.cut_efs()
    left_at = steve_leaves(instance)
    stage.say(f"EFS is cut off again, for the window of {WINDOW} s and the patience of {PATIENCE} s after it")
    due = instance.wait_for_beat("the stop is due", WINDOW + 30, lambda beat: beat["state"] == "due")
    expect("EFS" in due["why"], f"the heartbeat does not say that the stop waits for EFS: {due}")
    instance.wait_for_stop(left_at, WINDOW + PATIENCE - 0.5, latest(WINDOW) + PATIENCE + SAMPLE)
    expect_beats_in_time(instance)
    network.mend_efs()
    stage.say("EFS is back, so that the game server can save")
    instance.wait_until_off()
    ended_well(instance, boot_id)


def on_time(instance):
    """The agent's last sample is no older than it said it would be."""
    status = instance.agent()  # exits with 1 when it is overdue
    stage = instance.stage
    stage.screen.line("agent", f"pid {status['pid']}, {status['state']}, efs {status['efs']['state']}: {status['why']}")


def expect_beats_in_time(instance):
    beats = instance.beats()
    for earlier, later in zip(beats, beats[1:], strict=False):
        expect(
            seconds_of(later["at"]) <= seconds_of(earlier["next_by"]),
            f"a heartbeat came at {later['at']}, and the one before it had promised {earlier['next_by']}",
        )
    instance.stage.say(f"all {len(beats)} heartbeats came by the time that the one before had promised")


def reboot(stage):
    """A reboot in the middle of a window starts a full one afresh, and changes neither machine id nor host keys."""
    instance = stage.instance("second", settings(NO_SERVER))
    instance.start()
    up_and_idle(instance)
    identity = stage.note_identity(instance)
    part = WINDOW / 3
    beat = instance.wait_for_beat(
        f"{part:.0f} s of the window are over", WINDOW,
        lambda beat: beat["state"] == "idle" and beat["idle_seconds"] >= part,
    )
    boot_id = beat["boot_id"]
    instance.no_stop = "before a full window was over after the reboot"
    instance.machine.ssh("sudo", "systemd-run", "--quiet", "--on-active=1", "systemctl", "reboot")
    stage.say(f"the machine reboots with {beat['idle_seconds']} of {WINDOW} s on its idle clock")
    first = instance.wait_for_beat("that it has booted again", BOOT_SECONDS, lambda beat: beat["boot_id"] != boot_id)
    began = seconds_of(first["at"])
    fresh = instance.wait_for_beat(
        "nobody plays", GAME_SECONDS, lambda beat: beat["state"] == "idle" and beat["boot_id"] != boot_id,
    )
    idle_since = seconds_of(fresh["at"]) - fresh["idle_seconds"]
    expect(idle_since >= began - 2, f"the idle clock is older than the agent: {fresh}")
    stage.say(f"the idle clock has begun afresh: {fresh['idle_seconds']} of {fresh['window_seconds']} s")
    expect(instance.identity() == identity, "the machine id or the host keys changed with a reboot")
    stage.say("machine id and host keys are the ones from before the reboot")
    instance.wait(idle_since + WINDOW - 2 - time.time(), shown=lambda: "a full window runs")
    instance.no_stop = None
    instance.wait_for_stop(idle_since, WINDOW - 2, latest(WINDOW) + 2)
    instance.wait_until_off()
    ended_well(instance, fresh["boot_id"])


def efs_missing(stage):
    """EFS cannot be reached at boot: no game server starts on an empty folder, and the machine does not run for ever."""
    network.cut_efs()
    stage.say("EFS is cut off before the machine starts")
    instance = stage.instance("second", settings(NO_SERVER))
    instance.start()
    instance.no_stop = f"before no_server_minutes ({NO_SERVER} s) and the patience for EFS ({PATIENCE} s) were over"
    instance.wait_for_beat("no server", BOOT_SECONDS, lambda beat: beat["state"] == "no-server")
    beats = instance.beats()
    boot_id = beats[0]["boot_id"]
    since = seconds_of(beats[0]["at"])
    # The clock began with a sample, and this heartbeat had to wait for instance metadata: the journal knows exactly.
    soonest = NO_SERVER + PATIENCE - HEARTBEAT_LAG
    stage.note_identity(instance)
    game = instance.unit(f"minecraft@{efs.GAME}", "ActiveState", "ExecMainPID")
    expect(game["ExecMainPID"] == "0", f"the game server was started without EFS: {game}")
    instance.wait_for_beat("EFS is missing", 30, lambda beat: beat["efs"] == "missing")
    instance.wait(since + soonest - time.time(), shown=lambda: instance.console())
    instance.no_stop = None
    instance.wait_for_stop(since, soonest, latest(NO_SERVER) + PATIENCE + SAMPLE)
    instance.wait_until_off()
    network.mend_efs()
    log = instance.journal(boot_id)
    started = log.place(f"minecraft@{efs.GAME}.service", text="Done: listening")
    expect(started is None, "the game server was started without EFS")
    waited_long_enough(stage, log)
    shown_in_order(instance, log, AGENT_ENDED)


def waited_long_enough(stage, log):
    """By the machine's own clock, the stop was asked for after its window and its patience, and not before."""
    empty = log.place("mc-idle.service", text="No server on")
    asked = log.place("mc-idle.service", text="requesting the stop")
    expect(None not in (empty, asked), "the journal does not tell when the clock began and the stop was asked for")
    waited = log.seconds(asked) - log.seconds(empty)
    stage.say(f"by the machine's own clock the stop was asked for {waited:.1f} s after the first look that found no server")
    # Each line is written a moment after what it tells.
    expect(waited >= NO_SERVER + PATIENCE - 0.5, f"{waited:.1f} s are less than {NO_SERVER} s and {PATIENCE} s")


SCENARIOS = {"evening": evening, "efs-cut": efs_cut, "reboot": reboot, "efs-missing": efs_missing}
