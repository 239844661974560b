"""The settings of the programs under test: which waits are shortened, and which lengthened for an emulated machine."""

from internet import PLAY
from scenarios import ASK as ASK_SECONDS
from scenarios import SAMPLE as SAMPLE_SECONDS
from scenarios import WINDOW as IDLE_SECONDS
from scenarios import YOUNG as YOUNG_SECONDS
from scenarios import latest
from start_demo import PRICE_PER_HOUR

HEARTBEAT_SECONDS = 10
SCHEDULE_SECONDS = 60  # the warden's
HOLD_MINUTES = 15
LATEST_STOP_SECONDS = latest(IDLE_SECONDS)
# mc-idle's, beside those that the stack writes.
AGENT = f"""\
sample_seconds = {SAMPLE_SECONDS}

[minecraft]
min_connection_seconds = {YOUNG_SECONDS}
ask_seconds = {ASK_SECONDS}

[heartbeat]
seconds = {HEARTBEAT_SECONDS}
"""
# Of deploy.sh.
DEPLOY = {
    "Address": PLAY, "Allow": "sam,alex", "PricePerHour": str(PRICE_PER_HOUR),
    "IdleMinutes": f"{IDLE_SECONDS / 60:g}", "LookMinutes": f"{SCHEDULE_SECONDS / 60:g}",
}
# Of the dead-man's switch, when it is what an evening is about.
GRACE_MINUTES = 10  # the default: an emulated machine takes its time until mc-idle reports
ALARM_MINUTES = 1
STOP_MINUTES = 3
DEAD_MAN = {
    "GraceMinutes": str(GRACE_MINUTES), "DeadAlarmMinutes": str(ALARM_MINUTES),
    "DeadStopHours": f"{STOP_MINUTES / 60:g}",
}

SHORTENED = [
    f"mc-idle: the idle window is {IDLE_SECONDS} s (15 min), a connection is a player after {YOUNG_SECONDS} s (70), "
    f"the server is asked every {ASK_SECONDS} s (60), a heartbeat comes every {HEARTBEAT_SECONDS} s (60)",
    "mc-launcher: the schedule wakes the warden every minute (5)",
    f"an hour costs ${PRICE_PER_HOUR}, more than such a machine does, so that minutes come to something",
]
DEAD_MAN_SHORTENED = (
    f"the dead-man's switch: the alarm comes {ALARM_MINUTES} min after mc-idle's last word has lapsed (10), the stop "
    f"{STOP_MINUTES} min after that (6 h)"
)
LENGTHENED = f"mc-broker holds a player for at most {HOLD_MINUTES} min (5): the machine is emulated, and boots slowly"
INJECTED = "EC2's events of state changes, which the emulator does not send: each wakes the warden"
EMULATED = [
    "AWS (ministack; IAM is not checked), and EC2's states, which QEMU's machine follows: power on, power button",
    "Discord's webhook and Mojang's session server (stand-ins, by their names and with TLS, in a private internet)",
]
REAL = (
    "deploy.sh and its stack, mc-idle, mc-launcher as Lambda functions, mc-broker, the golden image booting in QEMU, "
    "NFS 4.1 (nfs-ganesha), Chromium, Minecraft clients and a server (minecraft-protocol), SMTP with STARTTLS"
)
REAL_NIGHT = (
    "deploy.sh and its stack, mc-launcher as Lambda functions, mc-broker, Chromium, Minecraft clients "
    "(minecraft-protocol)"
)
