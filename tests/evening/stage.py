"""Everything that an evening needs, started and ended: network, AWS, launcher, broker, EFS, a browser, who is told."""

import json
import os
import sys
import time
from pathlib import Path

import network
from account import Account
from browser import BrowserError, Driver
from certificate import key_hash
from demo import Failure, expect, wait
from deployment import Deployment
from efs import GAME, MINECRAFT_USER, Efs
from friend import Friend
from front import Front
from internet import DISCORD, DISCORD_ADDRESS, MAIL, MAIL_ADDRESS, PAGE_ADDRESS, SESSIONS_ADDRESS, Internet
from power import Instance
from promises import Promises
from stand_ins import WEBHOOK, Discord, Mail, Sessions, tls
from timeline import Timeline

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
LAB = TESTS.parent / "target/lab"
REGION = "eu-west-1"
LOOK_SECONDS = 1  # between two looks at the page
TELL = {
    "discord": f"https://{DISCORD}{WEBHOOK}",
    "smtp": {"url": f"smtp://{MAIL}", "from": "mc@example.org", "to": ["sam@example.org"]},
}
BROKER_CONFIG = """\
launcher.url = "https://{host}"
launcher.key_file = "{key_file}"
hold_minutes = {hold_minutes}
"""


class Stage:
    def __init__(self, programs, image, screen, crew, folder, sockets):
        """`programs`: the launcher and the broker. `image`: None for an evening on which nothing starts."""
        self.launcher, self.broker_program = programs
        self.image, self.screen, self.crew, self.folder, self.sockets = image, screen, crew, folder, sockets
        self.timeline = Timeline()
        self.internet = Internet(sockets, REGION)
        self.efs = Efs(crew, folder, HERE / "guest")
        self.friends = []
        self.account = self.deployment = self.instance = self.promises = self.browser = self.driver = None
        self.discord = self.mail = self.sessions = None
        self.told = 0
        self.page = None  # the state that the page shows
        self.looked = 0

    def say(self, text):
        self.screen.line("test", text)

    # Before the evening.

    def set_up(self, deploy_settings, agent_settings, hold_minutes):
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):  # the certificates that are believed are those of this machine
            self.crew.environment.pop(name, None)
        self.internet.build()
        network.start_dhcp(self.crew, self.sockets)
        network.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.sockets / "key")
        own = tls(self.internet.certificate, self.internet.key)
        self.discord, self.mail = Discord(DISCORD_ADDRESS, own), Mail(MAIL_ADDRESS, own)
        self.sessions = Sessions(SESSIONS_ADDRESS, own)
        self.start_aws()
        self.deployment = Deployment(self.account, GAME, self.launcher, deploy_settings, TELL, self.sockets)
        began = time.monotonic()
        for line in self.deployment.make().splitlines():
            self.screen.line("deploy", line)
        self.screen.line("deploy", f"deploy.sh and a first stop took {time.monotonic() - began:.0f} s")
        for messages in (self.discord.messages, self.mail.messages):
            messages.clear()
        host = self.deployment.page_host
        self.internet.add(host, PAGE_ADDRESS)
        Front(self.account.endpoint.removeprefix("http://"), host, (PAGE_ADDRESS, 443), own)
        self.instance = Instance(self, "instance", self.folder / "switched-on")
        self.promises = Promises(self, self.folder / "calls")
        self.screen.line("aws", f"{self.instance.instance_id} is stopped; the launcher's page is https://{host}/")
        if self.image:
            self.start_efs()
            self.start_metadata(agent_settings)
        self.start_broker(hold_minutes)
        self.driver = Driver(self.crew.environment)
        self.driver.start()

    def start_aws(self):
        (self.folder / "switched-on").mkdir()
        self.crew.start(
            "aws", LAB / "ministack/bin/python", TESTS / "lab/cloud.py", "--bind", network.GATEWAY,
            "--port", network.API_PORT, "--region", REGION, "--address", network.GUEST,
            "--switched-on", self.folder / "switched-on", "--calls", self.folder / "calls",
            environment={"TMPDIR": str(self.sockets)},
        )
        self.account = Account(self.crew.first_line("aws", 60), REGION)

    def start_efs(self):
        self.efs.fill()
        self.put_node(self.efs.game)
        self.efs.start()
        while not self.efs.listens():
            time.sleep(0.2)
        self.say("nfs-ganesha serves EFS, with the game server on it")

    @staticmethod
    def put_node(game):
        """What game.js runs with: this machine's Node.js, which Debian 12 can run, and the lab's modules, as links."""
        node = network.command("node", "-p", "process.execPath").strip()
        network.command("cp", node, game / "node")
        (game / "tests/lab").mkdir(parents=True)
        network.command("cp", TESTS / "lab/any_server.js", TESTS / "lab/peer.js", game / "tests/lab")
        (game / "target/lab").mkdir(parents=True)
        network.command("cp", LAB / "package.json", game / "target/lab")
        network.command("cp", "--archive", "--link", LAB / "node_modules", game / "target/lab")
        for folder in (game, game / "tests", game / "target"):
            os.chown(folder, MINECRAFT_USER, MINECRAFT_USER)

    def start_metadata(self, agent_settings):
        document = self.folder / "user-data"
        document.write_text(self.deployment.user_data(agent_settings))
        self.crew.start(
            "metadata", sys.executable, TESTS / "image/metadata.py", "--instance-id", self.instance.instance_id,
            "--region", REGION, "--user-data", document, "--public-key", self.sockets / "key.pub",
        )
        self.crew.first_line("metadata", 60)

    def start_broker(self, hold_minutes):
        key_file, config = self.sockets / "broker-key", self.sockets / "broker.toml"
        key_file.touch(mode=0o600)
        key_file.write_text(self.deployment.broker_key)
        config.write_text(BROKER_CONFIG.format(
            host=self.deployment.page_host, key_file=key_file, hold_minutes=hold_minutes,
        ))
        self.crew.start(
            "broker", *network.inside("broker", self.broker_program, "run", "--config", config), log_lines=True,
        )
        end = time.monotonic() + 30
        while ":25565 " not in network.command(*network.inside("broker", "ss", "-Hltn")):
            self.crew.check()
            expect(time.monotonic() < end, "the broker did not listen within 30 s")
            time.sleep(0.2)

    def open_browser(self):
        """Chromium, which believes the page's own certificate, and no other of this authority."""
        believed = f"--ignore-certificate-errors-spki-list={key_hash(self.internet.certificate)}"
        return self.driver.browser(arguments=[believed])

    def friend(self, name):
        friend = Friend(self.crew, name, self.internet.authority)
        self.friends.append(friend)
        return friend

    # While it goes on.

    def look(self):
        self.crew.check()
        self.instance.look()
        self.promises.check()
        for message in self.discord.messages[self.told:]:
            self.screen.line("told", message.text)
            self.told += 1
        if self.browser and time.monotonic() - self.looked > LOOK_SECONDS:
            self.looked = time.monotonic()
            page = self.browser.title().rpartition(": ")[2]
            if page and page != self.page:
                self.page = page
                self.timeline.mark(f"page {page}")
                shown = self.browser.text()
                self.screen.line("page", " / ".join(shown.splitlines()))
                self.promises.check_page(shown)

    def wait(self, seconds, until=lambda: None, shown=None):
        return wait(self.screen, self.look, seconds, until, shown)

    def until(self, what, seconds, condition, shown=None):
        """The same, and fails unless it is so in time."""
        value = self.wait(seconds, condition, shown or (lambda: f"waiting until {what}"))
        expect(value, f"it was not so within {seconds:.0f} s that {what}")
        return value

    def message(self, part):
        """The first message on Discord that has this in it."""
        return next((message for message in list(self.discord.messages) if part in message.text), None)

    def warden_log(self):
        return self.account.log_lines(self.deployment.warden)

    # After it.

    def last_words(self):
        """What a failure leaves: the functions' logs, the page, the console, and the guest's journal if it answers."""
        for name in (self.deployment and self.account and (self.deployment.page, self.deployment.warden)) or ():
            for line in self.account.log_lines(name)[-10:]:
                self.screen.line(name, line)
        if self.browser:
            try:
                self.say("the page shows: " + " / ".join(self.browser.text().splitlines()))
                self.browser.screenshot(self.folder / "page-at-failure.png")
            except BrowserError as error:
                self.say(f"the page cannot be seen: {error}")
        machine = self.instance and self.instance.machine
        if not machine or not machine.starts or not machine.is_on():
            return
        for line in machine.console_tail(15):
            self.screen.line("", f"console: {line}")
        try:
            text = machine.ssh("sudo", "journalctl", "--boot", "--no-pager", "--output=short-monotonic")
            kept = machine.folder / "journal-at-failure.txt"
            kept.write_text(text)
            self.say(f"the guest's journal is in {kept}")
        except Failure as failure:
            self.say(f"the guest's journal is not to be had: {failure}")

    def end(self):
        if self.driver:
            self.driver.stop()

    def status(self):
        """GET /status as a script with the key has it, from the page's own address."""
        words = ["curl", "--silent", "--cacert", self.internet.authority, "--header"]
        url = f"https://{self.deployment.page_host}/status"
        return json.loads(network.command(*words, f"Authorization: Bearer {self.deployment.key}", url))
