"""The evenings, from asleep to asleep, each asserted step by step beside what always holds (promises.py)."""

import re
import time
from contextlib import suppress

import network
import scanners
import settings
from browser import BrowserError
from demo import expect
from instance import BOOT_SECONDS, GAME_SECONDS, OFF_SECONDS
from internet import PLAY
from scenarios import AGENT_ENDED, shown_in_order, world_saved

START = "Start the server"
SOON = 60  # for what takes a second or two, on a busy machine
TOLD_SECONDS = settings.SCHEDULE_SECONDS + 15  # until the schedule has woken the warden, if no event does
COST = re.compile(r"This month\n(\$\d+\.\d\d)")


# Steps.


def open_the_invitation(stage):
    """A friend opens the link that its owner has sent him, in Chromium."""
    stage.browser = stage.open_browser()
    stage.browser.open(stage.deployment.invitation)
    stage.browser.wait_for(START, SOON)
    home = f"https://{stage.deployment.page_host}/"
    expect(stage.browser.url() == home, "the key is left in the address bar")
    expect("Asleep" in stage.browser.text(), f"the page does not say asleep:\n{stage.browser.text()}")
    expect(not stage.promises.calls(), "looking at the page has started something")
    stage.say("Chromium has opened the page by its invitation link: asleep, with a button")


def press_start(stage):
    stage.timeline.mark("press")
    stage.browser.click(START)
    stage.say(f"the button {START!r} is pressed")
    stage.until("StartInstances is called", SOON, lambda: stage.promises.calls("StartInstances"))
    stage.until("the page says starting", SOON, lambda: stage.page == "starting")


def up(stage):
    """The machine boots, mounts EFS, and its server listens."""
    instance = stage.instance
    stage.until("the instance is running", SOON, lambda: instance.state == "running")
    stage.until("the agent has reported", BOOT_SECONDS, instance.last_beat, instance.console)
    stage.until("EFS is mounted", GAME_SECONDS, lambda: instance.last_beat()["efs"] == "mounted", instance.console)
    stage.until("the server listens", GAME_SECONDS, lambda: instance.last_beat()["listening"], instance.console)
    stage.until("the page says up", SOON, lambda: stage.page == "up")
    return instance.last_beat()["boot_id"]


def address_on_the_page(stage):
    def read():
        with suppress(BrowserError):  # the page is being replaced by its next state
            return stage.browser.texts("//p[@class='address']/code")
        return None

    address = stage.until("the page shows an address", SOON, read)[0]
    expect(address == PLAY, f"the page shows {address}, not the broker's name {PLAY}")
    return address


def in_game(stage, friend, seconds):
    stage.until(f"{friend.name} is in the game", seconds, friend.plays_since)
    over = friend.line("handed over")
    own = f"handed over {network.GUEST} 25565"
    expect(over == own, f"{friend.name} was not handed over to the instance's own address: {over}")
    stage.timeline.mark(f"{friend.name} handed over", friend.saw("handed over"))
    at = stage.timeline.mark(f"{friend.name} in game", friend.plays_since())
    stage.screen.line("game", f"{friend.name} was {over}, and is in the game")
    return at


def leave(stage, friend):
    stage.timeline.mark(f"{friend.name} left", friend.leave())
    stage.screen.line("game", f"{friend.name} has left")


def fall_asleep(stage):
    """From the request to stop until the page says asleep."""
    stage.until("EC2 stops the instance", SOON, lambda: stage.instance.state in ("stopping", "stopped"))
    stage.until("the machine is off", OFF_SECONDS, lambda: "off" in stage.timeline.moments, stage.instance.console)
    stage.until("the instance is stopped", SOON, lambda: stage.instance.state == "stopped")
    stage.until("the page says asleep", SOON, lambda: stage.page == "asleep")
    stage.browser.wait_for(START, SOON)


def cost_is_shown(stage):
    shown = COST.search(stage.browser.text())
    expect(shown and shown.group(1) != "$0.00", f"the page does not say what it cost:\n{stage.browser.text()}")
    stage.say(f"the page says what it cost this month: {shown.group(1)}")
    stage.browser.screenshot(stage.folder / "asleep.png")


def everybody_is_told(stage, parts):
    """Each of these once, in this order, by Discord and by mail."""
    for part in parts:
        stage.until(f"somebody is told {part!r}", TOLD_SECONDS, lambda part=part: stage.message(part))
    stage.until("the mails are as many", SOON, lambda: len(stage.mail.messages) >= len(stage.discord.messages))
    for channel, messages in (("Discord", stage.discord.messages), ("mail", stage.mail.messages)):
        texts = [message.text for message in messages]
        matches = len(texts) == len(parts) and all(part in text for part, text in zip(parts, texts, strict=True))
        expect(matches, f"by {channel} should have been told {parts}, and was told: {texts}")
    stage.say(f"{len(parts)} messages were told, each once, by Discord and by mail")


def told_at(stage, moment, part):
    stage.timeline.mark(f"told {moment}", stage.message(part).at)


def one_start(stage):
    starts = stage.promises.calls("StartInstances")
    expect(len(starts) == 1, f"StartInstances was called {len(starts)} times, not once")


def one_stop(stage, by_agent):
    stops = stage.promises.calls("StopInstances")
    expect(len(stops) == 1, f"StopInstances was called {len(stops)} times, not once")
    expect(stops[0].by_agent() == by_agent, f"it was not {'the agent' if by_agent else 'the warden'}: {stops[0]}")
    return stops[0]


# The evenings.


def evening(stage):
    """One friend presses start, another just joins; both play and leave; the instance stops, its world is saved."""
    open_the_invitation(stage)
    press_start(stage)
    alex = stage.friend("alex")
    stage.timeline.mark("alex joins")
    alex.join(PLAY)
    stage.screen.line("game", f"alex joins {PLAY}, which is mc-broker")
    stage.until("alex is held", SOON, lambda: alex.saw("alive"))
    stage.timeline.mark("alex held", alex.saw("alive"))
    stage.screen.line("game", "alex is vouched for by the session server, and held")

    boot_id = up(stage)
    stage.browser.screenshot(stage.folder / "up.png")
    sam = stage.friend("sam")
    stage.timeline.mark("sam joins")
    sam.join(address_on_the_page(stage))
    stage.screen.line("game", "sam joins at the address on the page")
    in_game(stage, alex, GAME_SECONDS)
    in_game(stage, sam, GAME_SECONDS)
    stage.promises.watch_the_broker()
    for friend in (alex, sam):
        stage.promises.plays_at_the_instance(friend)
    plays = settings.IDLE_SECONDS + 2 * settings.SAMPLE_SECONDS
    began = time.monotonic()
    stage.until("the agent counts two players", SOON, lambda: stage.instance.last_beat()["players"] == 2)
    stage.wait(plays, shown=lambda: f"they have played {time.monotonic() - began:.0f} of {plays} s")
    stage.say(f"no stop was asked for in {plays} s of play, longer than the window of {settings.IDLE_SECONDS} s")
    leave(stage, sam)
    stage.wait(2 * settings.SAMPLE_SECONDS, shown=lambda: "alex plays on")
    stage.promises.broker_carried_nothing()
    leave(stage, alex)

    left_at, latest = alex.left_at, settings.LATEST_STOP_SECONDS
    stage.until(
        f"the agent stops the instance (at the latest {latest} s after the last player)", latest,
        lambda: stage.promises.calls("StopInstances"), lambda: stage.instance.last_beat()["why"].partition(". ")[0],
    )
    took = stage.timeline.mark("stop", one_stop(stage, True).at) - left_at
    allowed = f"{settings.IDLE_SECONDS} to {latest} s"
    stage.screen.line("aws", f"StopInstances came {took:.1f} s after the last player had left; allowed are {allowed}")
    expect(settings.IDLE_SECONDS - 0.5 <= took <= latest, f"the stop came after {took:.1f} s; allowed are {allowed}")
    fall_asleep(stage)
    told = ("is starting", "is up", "joined", "Nobody", "has stopped")
    everybody_is_told(stage, told)
    expect("$" in stage.message("has stopped").text, "nobody is told what the evening cost")
    cost_is_shown(stage)
    one_start(stage)
    one_stop(stage, True)

    log = stage.instance.journal(boot_id)
    world_saved(stage.instance, log)
    shown_in_order(stage.instance, log, AGENT_ENDED)

    for moment, part in zip(("starting", "up", "joined", "left", "stopped"), told, strict=True):
        told_at(stage, moment, part)
    first = min(("alex in game", "sam in game"), key=stage.timeline.moments.get)
    phase = stage.timeline.phase
    phase("start pressed – EC2 says running", "press", "running")
    phase("start pressed – mc-idle reports", "press", "first heartbeat")
    phase("start pressed – the server listens", "press", "listening")
    phase("start pressed – the page says up", "press", "page up")
    phase("start pressed – the first friend is in the game", "press", first)
    phase("sam joins at the address on the page – in the game", "sam joins", "sam in game")
    phase("alex joins the broker – held", "alex joins", "alex held")
    held = f"held for {settings.HOLD_MINUTES} min at most"
    phase("alex joins the broker – handed over", "alex joins", "alex handed over", held)
    phase("the server listens – alex is handed over", "listening", "alex handed over")
    phase("alex handed over – in the game", "alex handed over", "alex in game")
    phase("the last one left – StopInstances", "alex left", "stop", allowed)
    phase("StopInstances – the machine is off", "stop", "off")
    phase("the machine is off – the page says asleep", "off", "page asleep")
    looks = f"the warden looks at events, and every {settings.SCHEDULE_SECONDS} s"
    for moment, since in (
        ("starting", "press"), ("up", "page up"), ("joined", first), ("left", "alex left"), ("stopped", "stopped"),
    ):
        phase(f"told on Discord: {moment}", since, f"told {moment}", looks)


def dead(stage):
    """mc-idle is killed: the dead-man's switch tells people, waits for whoever plays, and stops the instance."""
    open_the_invitation(stage)
    press_start(stage)
    boot_id = up(stage)
    sam = stage.friend("sam")
    stage.timeline.mark("sam joins")
    sam.join(address_on_the_page(stage))
    in_game(stage, sam, GAME_SECONDS)
    stage.promises.plays_at_the_instance(sam)

    instance = stage.instance
    instance.machine.ssh("sudo", "systemctl", "mask", "--runtime", "mc-idle")
    instance.machine.ssh("sudo", "systemctl", "kill", "--signal=KILL", "mc-idle")
    killed_at = stage.timeline.mark("killed")
    stage.say("mc-idle is killed, and masked, so that systemd does not bring it back")
    limits = settings.GRACE_MINUTES * 60
    silence = 4 * settings.HEARTBEAT_SECONDS + settings.ALARM_MINUTES * 60  # its last word lapses first
    patience = limits + silence + 3 * settings.SCHEDULE_SECONDS  # seen twice, by looks a minute apart
    alarm = stage.until("somebody is told that mc-idle is dead", patience, lambda: stage.message("reports no more"))
    stage.timeline.mark("alarm", alarm.at)
    took = alarm.at - killed_at
    stage.say(f"the alarm came {took:.0f} s after mc-idle had been killed")
    expect(took >= settings.ALARM_MINUTES * 60, f"the alarm came after {took:.0f} s, before its time")

    def left_alone():
        asked = [line for line in stage.warden_log() if "nobody watches" in line]
        return asked if len(asked) >= 2 else None

    asked = stage.until(
        "the warden has asked the game twice and left the instance alone",
        settings.STOP_MINUTES * 60 + 4 * settings.SCHEDULE_SECONDS + SOON, left_alone,
        lambda: f"sam plays; the alarm was {time.time() - alarm.at:.0f} s ago",
    )
    for line in asked:
        stage.screen.line("warden", line)
        expect("Leave" in line, f"the warden would have stopped the instance while sam plays: {line}")
    now = time.time()
    expect(now - alarm.at >= settings.STOP_MINUTES * 60, "the game was asked before the time of the stop")
    stage.say(f"{now - alarm.at:.0f} s after the alarm, with sam in the game, nothing is stopped")
    active = instance.unit("mc-idle", "ActiveState")["ActiveState"]
    expect(active in ("failed", "inactive"), f"mc-idle is {active} again")
    leave(stage, sam)
    # A look, of which one may be under way since before he left, with 30 s between its two questions.
    patience = 2 * settings.SCHEDULE_SECONDS + 60
    stage.until("the warden stops the instance", patience, lambda: stage.promises.calls("StopInstances"))
    stage.timeline.mark("stop", one_stop(stage, False).at)
    fall_asleep(stage)
    one_start(stage)
    by_warden = "which mc-idle no longer watched"
    everybody_is_told(stage, ("is starting", "is up", "joined", "reports no more", by_warden, "has stopped"))
    cost_is_shown(stage)
    one_stop(stage, False)
    world_saved(instance, instance.journal(boot_id))

    told_at(stage, "the stop", by_warden)
    phase = stage.timeline.phase
    phase("start pressed – the page says up", "press", "page up")
    lapsed = f"{settings.ALARM_MINUTES} min after its last word has lapsed, {settings.GRACE_MINUTES} after the start"
    phase("mc-idle killed – people are told", "killed", "alarm", lapsed)
    plays_on = f"not before {settings.STOP_MINUTES} min, and not while somebody plays"
    phase("the alarm – sam leaves, nothing is stopped", "alarm", "sam left", plays_on)
    empty = "the game says twice, 30 s apart, that nobody is online"
    phase("sam left – the warden calls StopInstances", "sam left", "stop", empty)
    phase("StopInstances – people are told", "stop", "told the stop")
    phase("StopInstances – the machine is off", "stop", "off")
    phase("the machine is off – the page says asleep", "off", "page asleep")


def scanner_night(stage):
    """Scanners, bots, previews and strangers, at the page and at the broker: nothing is started, nothing is paid."""
    stage.timeline.mark("night")
    stage.promises.nobody_starts = True
    with stage.open_browser() as owner:
        owner.open(stage.deployment.invitation)
        noted = COST.search(owner.wait_for(START, SOON)).group(1)  # the deployment has launched the instance once
    stage.browser = stage.open_browser()
    stage.browser.open(f"https://{stage.deployment.page_host}/")
    shown = stage.browser.wait_for("Asleep", SOON)
    expect(not stage.browser.buttons(START), f"a stranger is shown the button:\n{shown}")
    stage.say("Chromium without a key: asleep, and no button")
    rounds = 3
    for number in range(1, rounds + 1):
        for what, saw in scanners.visit(stage):
            stage.screen.line("scan", f"round {number}: {what}: {saw}")
            stage.look()
        stage.wait(20, shown=lambda: "the night goes on")
    stage.until(
        "the schedule has woken the warden", TOLD_SECONDS, lambda: scheduled_looks(stage) >= 1,
    )
    stage.timeline.mark("morning")
    expect(not stage.promises.calls(), "somebody has started something: " + ", ".join(map(str, stage.promises.calls())))
    expect(stage.instance.state == "stopped", f"the instance is {stage.instance.state}")
    told = [message.text for message in stage.discord.messages + stage.mail.messages]
    expect(not told, f"nothing has happened, and people were told: {told}")
    after = stage.status()
    expect(after["state"] == "asleep" and not after["cost_usd"], f"the page says {after}")
    stage.browser.open(stage.deployment.invitation)
    month = COST.search(stage.browser.wait_for(START, SOON))
    expect(month and month.group(1) == noted, f"the month had cost {noted}, and now {month and month.group(1)}")
    stage.say("in the morning: asleep, no call about an instance, nobody was told anything, it has cost nothing more")
    # Else everything above would be so as well if nothing could start the server at all.
    stage.promises.nobody_starts = False
    sam = stage.friend("sam")
    sam.join(PLAY)
    stage.until("a friend's join starts the server", SOON, lambda: stage.promises.calls("StartInstances"))
    stage.timeline.mark("started")
    stage.say("a friend joins, and that starts it")
    stage.timeline.phase(f"{rounds} rounds of scanners – nothing started", "night", "morning")
    stage.timeline.phase("then a friend joins – StartInstances", "morning", "started")


def scheduled_looks(stage):
    """How often the schedule has woken the warden."""
    group = f"/aws/lambda/{stage.deployment.warden}"
    events = stage.account.client("logs").filter_log_events(logGroupName=group)["events"]
    return sum(event["message"].startswith("START ") for event in events)


class Evening:
    def __init__(self, play, deploy_settings=None, boots=True, shortened=()):
        self.play, self.boots = play, boots
        self.deploy_settings = settings.DEPLOY | (deploy_settings or {})
        self.shortened = [*settings.SHORTENED, *shortened]


EVENINGS = {
    "evening": Evening(evening),
    "dead": Evening(dead, settings.DEAD_MAN, shortened=[settings.DEAD_MAN_SHORTENED]),
    "scanners": Evening(scanner_night, boots=False),
}
