#!/usr/bin/env python3
"""A stack's life in an emulated AWS: deployed by one command, its page pressed in a browser, updated under a player, taken down;
with what goes wrong on the way (mishaps.py).

    target/lab/venv/bin/python tests/deploy/emulated.py target/debug/mc-launcher

Real: deploy/*.sh, the AWS CLI 2, the template, the launcher in its functions, the browser. Emulated: AWS (ministack), whose EC2 is
helped to take its time and to read launch templates (cloud.py); nothing in it checks IAM, and nothing boots. The package of mc-idle
is an empty file, since nothing installs it here. Exit code 0: all as promised; 1: not, and the last line says what.
"""

import json
import os
import signal
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import mishaps  # noqa: E402
from account import Account  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402
from browser import BrowserError, Driver  # noqa: E402
from demo import Crew, Failure, Screen, expect  # noqa: E402
from deployer import Deployer, invitation  # noqa: E402
from front import Front  # noqa: E402
from functions import package  # noqa: E402
from ports import free_port  # noqa: E402

LAB = HERE.parent.parent / "target/lab"
REGION = "eu-west-1"
SERVER, OTHER, NEIGHBOUR = "survival", "adventure", "survival-2"
BUTTON = "Start the server"
# Parameters that the warden writes, whose first look comes after five minutes.
OF_LOOKS = {"told", "starts", "wanted"}


class Life:
    def __init__(self, launcher, screen, crew, folder):
        self.launcher, self.screen, self.crew, self.folder = launcher, screen, crew, Path(folder)
        self.account = self.deployer = self.gateway = None

    def say(self, text):
        self.screen.line("deploy", text)

    def start_aws(self):
        port = free_port()
        self.crew.start(
            "aws", LAB / "ministack/bin/python", HERE.parent / "lab/cloud.py", "--port", port, "--region", REGION,
            environment={"TMPDIR": str(self.folder)},
        )
        endpoint = self.crew.first_line("aws", 60)
        self.gateway = endpoint.removeprefix("http://")
        self.account = Account(endpoint, REGION)
        self.deployer = Deployer(endpoint, REGION, self.folder)
        self.say(f"an empty account at {endpoint}")

    def artefacts(self):
        """The launcher's zip, another that differs from it, and a package by its name."""
        first, second = self.folder / "mc-launcher-x86_64.zip", self.folder / "newer-mc-launcher-x86_64.zip"
        first.write_bytes(package(self.launcher))
        second.write_bytes(first.read_bytes())
        with zipfile.ZipFile(second, "a") as archive:
            archive.writestr("newer", "")
        rpm = self.folder / "mc-idle-0.1.0-1.x86_64.rpm"
        rpm.touch()
        return first, second, {"Package": rpm, "Architecture": "x86_64"}

    def expect_done(self, done, what):
        expect(done.returncode == 0, f"{what} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def machines(self, server):
        """Id, state and LaunchTime of the server's instances that are not terminated."""
        found = self.account.client("ec2").describe_instances(Filters=[{"Name": "tag:mc-idle:server", "Values": [server]}])
        machines = [machine for each in found["Reservations"] for machine in each["Instances"]]
        return [(each["InstanceId"], each["State"]["Name"], each["LaunchTime"]) for each in machines if each["State"]["Name"] != "terminated"]

    def wait_for_state(self, server, state, seconds=30):
        end = time.monotonic() + seconds
        while [each[1] for each in self.machines(server)] != [state]:
            expect(time.monotonic() < end, f"{server} is not {state} after {seconds} s: {self.machines(server)}")
            time.sleep(0.2)
        return self.machines(server)[0]

    def parameters(self, server):
        found = self.account.client("ssm").describe_parameters(MaxResults=50)["Parameters"]
        return {each["Name"].removeprefix(f"/mc-idle/{server}/") for each in found if each["Name"].startswith(f"/mc-idle/{server}/")}

    def stack(self, server):
        """What the stack's outputs say; None: there is no stack."""
        try:
            found = self.account.client("cloudformation").describe_stacks(StackName=f"mc-idle-{server}")["Stacks"][0]
        except ClientError:
            return None
        return None if found["StackStatus"] == "DELETE_COMPLETE" else {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}

    def settings(self, server):
        """What the stack was last deployed with."""
        found = self.account.client("cloudformation").describe_stacks(StackName=f"mc-idle-{server}")["Stacks"][0]
        return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}

    def channels(self):
        told = self.account.client("ssm").get_parameter(Name=f"/mc-idle/{SERVER}/tell", WithDecryption=True)
        return json.loads(told["Parameter"]["Value"])

    # The story.

    def refusals(self, zip_file, rest):
        mishaps.taken_bucket(self, SERVER, {"Zip": zip_file, **rest})
        for settings, sentence in (
            ({"SERVER": "Survival!"}, "SERVER=Survival! is not allowed; allowed: 1 to 32 of a-z, 0-9 and -"),
            ({"SERVER": SERVER, "Modus": "launch"}, "Modus is no setting; there are Mode, "),
            ({"SERVER": SERVER, "Zip": self.folder / "none.zip"}, "none.zip: there is no such file"),
            ({"SERVER": SERVER, "Zip": zip_file, **rest, "Architecture": "arm64"}, "is not an .rpm for arm64"),
            ({"SERVER": SERVER, "Zip": zip_file, **rest, "InstanceType": "c7gn.large"}, "InstanceType=c7gn.large has a processor of arm64"),
            ({"SERVER": SERVER, "Zip": zip_file, **rest, "IdleMinutes": "soon"}, "IdleMinutes"),
        ):
            done = self.deployer.deploy(**settings)
            expect(done.returncode == 1, f"{settings} was taken: {done.stdout}{done.stderr}")
            expect(sentence in done.stderr, f"{settings} was refused, but not with {sentence!r}: {done.stderr}")
        settings = {"Zip": zip_file, **rest}
        mishaps.half_made_stacks(self, SERVER, settings)
        mishaps.nothing_there(self)
        expect(not self.stack(SERVER) and not self.machines(SERVER), "a refused deployment has left something")
        self.say("wrong settings are refused with a sentence, before anything is made")

    def create(self, zip_file, rest):
        mishaps.broken_off(self, SERVER, {"Zip": zip_file, **rest})
        began = time.monotonic()
        with self.deployer.meanwhile("*", "echo a warning of the CLI >&2"):
            done = self.deployer.deploy(SERVER=SERVER, Zip=zip_file, **rest, Email="me@example.org", Discord="https://discord.com/api/webhooks/1/x")
        self.expect_done(done, "make deploy")
        link = invitation(done)
        expect(link, f"make deploy said no link: {done.stdout}")
        expect("$0.0466 an hour for t3.medium" in done.stdout, f"make deploy does not say what it costs: {done.stdout}")
        self.say(f"make deploy took {time.monotonic() - began:.0f} s, and says the page's link")
        expect({"key", "broker-key", "instance-id", "tell"} <= self.parameters(SERVER), f"parameters are missing: {self.parameters(SERVER)}")
        expect(len(self.machines(SERVER)) == 1, f"not one instance: {self.machines(SERVER)}")
        return link

    def press(self, driver, link, server):
        """A friend opens the invitation, and presses the button while the server is asleep."""
        _, host, key = link
        front = Front(self.gateway, host)
        try:
            with driver.browser() as stranger:
                stranger.open(front.url("/"))
                expect(not stranger.buttons(BUTTON), "somebody without a key is shown a button")
            with driver.browser() as friend:
                # On a busy machine AWS may not answer in time: the page says so, and a friend presses again.
                for _ in range(3):
                    friend.open(front.url(f"/i/{key}"))
                    friend.wait_for("asleep", 60)
                    friend.click(BUTTON)
                    if "was not started" not in friend.text():
                        break
                friend.wait_for("starting", 60)
        finally:
            front.shutdown()
            front.server_close()
        self.wait_for_state(server, "running")
        self.say(f"the page of {server}, pressed in a browser, has started it")

    def stop(self, server):
        """As mc-idle does at the end of an evening."""
        (machine,) = self.machines(server)
        self.account.client("ec2").stop_instances(InstanceIds=[machine[0]])
        return self.wait_for_state(server, "stopped")

    def update(self, zip_file, rest, link):
        """While the server is up: nothing may happen to its instance."""
        before = self.machines(SERVER)
        self.account.client("ssm").put_parameter(
            Name=f"/mc-idle/{SERVER}/key", Type="SecureString", Value=f"{link[2]}\nthe-old-key-for-a-while", Overwrite=True,
        )
        code = self.account.client("lambda").get_function(FunctionName=f"mc-launcher-{SERVER}-page")["Configuration"]
        done = self.expect_done(self.deployer.deploy(SERVER=SERVER, Zip=zip_file, **rest, HoursPerMonth=60, IdleMinutes=20), "an update")
        newer = self.account.client("lambda").get_function(FunctionName=f"mc-launcher-{SERVER}-page")["Configuration"]
        expect(newer["CodeSha256"] != code["CodeSha256"], "the new zip has not arrived in the function")
        for role in ("page", "warden"):
            settings = self.account.client("lambda").get_function(FunctionName=f"mc-launcher-{SERVER}-{role}")["Configuration"]["Environment"]
            expect(settings["Variables"]["MC_HOURS_PER_MONTH"] == "60", f"the new setting has not arrived: {settings}")
        expect(self.machines(SERVER) == before, f"an update changed the instance: {before}, {self.machines(SERVER)}")
        expect(invitation(done) == link and "the-old-key" not in done.stdout, f"an update changed the invitation: {done.stdout}")
        expect("was made from version 1 of the launch template, and now there is 2" in done.stderr, f"nobody says that the instance is older: {done.stderr}")
        self.say("updated with a new setting and a new zip while it is up: same instance, same start, same invitation")
        tell, channels = self.folder / "tell.json", {"post": "https://ntfy.sh/x", "smtp": {"from": 'the "server" <mc@example.org>'}}
        tell.write_text(json.dumps(channels, indent="\t").replace("\n", "\r\n"))
        renewed = self.expect_done(self.deployer.deploy(SERVER=SERVER, Zip=zip_file, **rest, NewKey="true", Tell=tell), "a new key")
        expect(invitation(renewed)[2] != link[2], "NewKey=true left the old key")
        expect(self.channels() == channels, f"the channels are not as in the file: {self.channels()}")
        expect(self.machines(SERVER) == before, "deploying the same again changed the instance")
        self.say("the same once more changes nothing; NewKey=true makes a new invitation")
        return invitation(renewed)

    def take_down(self, neighbour):
        """A server, beside another one that stays as it is."""
        outputs = self.stack(SERVER)
        refused = self.deployer.undeploy(SERVER=SERVER)
        expect(refused.returncode == 1 and "somebody may be playing" in refused.stderr, f"taken down while it was up: {refused.stderr}")
        expect(self.stack(SERVER) and self.machines(SERVER)[0][1] == "running", "a refused undeploy has changed something")
        self.stop(SERVER)
        mishaps.instance_of_somebody(self, SERVER)
        mishaps.pressed_meanwhile(self, SERVER)
        done = self.expect_done(self.deployer.undeploy(SERVER=SERVER), "make undeploy")
        left = [self.stack(SERVER), self.machines(SERVER), self.parameters(SERVER), self.uploads(SERVER)]
        expect(not any(left), f"make undeploy has left stack, machines, parameters or uploads: {left}")
        there = {each["FileSystemId"] for each in self.account.client("efs").describe_file_systems()["FileSystems"]}
        expect(outputs["FileSystem"] in there, "the world has gone with the stack")
        again = self.expect_done(self.deployer.undeploy(SERVER=SERVER), "make undeploy once more")
        for said in (done.stdout, again.stdout):
            expect(outputs["FileSystem"] in said and "a month" in said, f"make undeploy does not say what stays: {said}")
        self.say(f"make undeploy refuses while it is up; then only the world stays, {outputs['FileSystem']}")
        expect(self.everything(NEIGHBOUR) == neighbour, f"{NEIGHBOUR} is not what it was: {self.everything(NEIGHBOUR)}")
        done = self.expect_done(self.deployer.undeploy(SERVER=NEIGHBOUR, FORCE="true"), "make undeploy of the neighbour")
        disks = self.account.client("ec2").describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]
        expect([each["Size"] for each in disks] == [12], f"not the disk of {NEIGHBOUR} alone has stayed: {disks}")
        expect(f"a disk with a world, {disks[0]['VolumeId']}: $0.96 a month" in done.stdout, f"the disk that stays is not told: {done.stdout}")
        buckets = [each["Name"] for each in self.account.client("s3").list_buckets()["Buckets"]]
        expect(not buckets, f"a bucket stays: {buckets}")
        self.say(f"{NEIGHBOUR}, in the same account, stays as it is meanwhile; of it stays the disk with its world")
        return outputs["FileSystem"]

    def move_in(self, zip_file, rest):
        """A second server in the account, with a name that begins like the first one's, and its world on the disk."""
        self.expect_done(self.deployer.deploy(SERVER=NEIGHBOUR, Zip=zip_file, **rest, World="disk", DiskGiB=12), "make deploy of a second server")
        refused = self.deployer.deploy(SERVER=NEIGHBOUR, Zip=zip_file, **rest, Port=25570)
        expect(refused.returncode == 1 and "would have a new world: this one is on the disk of i-" in refused.stderr, f"a world on a disk was given up: {refused.stderr}")
        return self.everything(NEIGHBOUR)

    def everything(self, server):
        return self.stack(server), self.machines(server), self.parameters(server) - OF_LOOKS, self.uploads(server)

    def uploads(self, server):
        """What it has in the account's bucket."""
        s3 = self.account.client("s3")
        return [
            each["Key"] for bucket in s3.list_buckets()["Buckets"]
            for each in s3.list_objects_v2(Bucket=bucket["Name"], Prefix=f"{server}/").get("Contents", [])
        ]

    def find_the_world(self, zip_file, rest, world):
        """After a first try that could not be finished."""
        failed = self.deployer.deploy(SERVER=SERVER, Zip=zip_file, **rest, PageDomain="play.example.org", PageZoneId="ZNOTTHERE")
        expect(failed.returncode == 1 and "No hosted zone" in failed.stderr, f"a failure is not told with its reason: {failed.stderr}")
        expect(not self.machines(SERVER), "something runs, though the stack was not finished")
        settings = {"Zip": zip_file, **rest}
        done = mishaps.full_zone(self, SERVER, settings | {"Discord": "https://discord.com/api/webhooks/1/x"})
        expect(self.stack(SERVER)["FileSystem"] == world, f"the world was not found again: {done.stderr}")
        mishaps.just_terminated(self, SERVER, settings | {"Email": "me@example.org"})
        expect(set(self.channels()) == {"discord", "sns"}, f"with an e-mail address, messages go to {self.channels()}")
        mishaps.cannot_see(self, SERVER, settings)
        self.expect_done(self.deployer.undeploy(SERVER=SERVER, FORCE="true"), "make undeploy FORCE=true")
        expect(not self.stack(SERVER) and not self.machines(SERVER), "FORCE=true has left something")
        self.say("a stack that could not be finished is told why, and in nobody's way; deployed again, it finds its world; FORCE=true takes it down while it is up")

    def launch_mode(self, driver, zip_file, rest):
        """An instance for each evening, a page with a name of its own, and a record for the server."""
        zone = self.account.client("route53").create_hosted_zone(Name="example.org", CallerReference="1")["HostedZone"]["Id"].split("/")[-1]
        done = self.deployer.deploy(
            SERVER=OTHER, Zip=zip_file, **rest, Mode="launch", PageDomain="play.example.org", PageZoneId=zone,
            RecordName="mc.example.org", RecordZoneId=zone, LookMinutes=1,
        )
        link = invitation(self.expect_done(done, "make deploy Mode=launch"))
        expect(link[1] == "play.example.org", f"the page is not where it should be: {link}")
        expect(not self.machines(OTHER), "something runs before anybody has pressed")
        self.press(driver, link, OTHER)
        (machine,) = self.machines(OTHER)
        data = self.account.client("ec2").describe_instances(InstanceIds=[machine[0]])["Reservations"][0]["Instances"][0]
        expect(data["ImageId"] == "ami-0c2023a1b2c3d4e5f", f"the instance is not of the template's image: {data['ImageId']}")
        expect({"launch/1", "instance-id"} <= self.parameters(OTHER), f"the launch left no trace: {self.parameters(OTHER)}")
        self.wait_for_record(zone)
        self.expect_done(self.deployer.undeploy(SERVER=OTHER, FORCE="true"), "make undeploy in the mode launch")
        expect(self.parameters(OTHER) == {"launch/1"}, f"the highest launch/N has to stay, and it alone: {self.parameters(OTHER)}")
        self.say("mode launch with a domain: pressed, launched from the template, the record follows; launch/1 stays")

    def wait_for_record(self, zone):
        """The warden, woken by its schedule, sets it."""
        end = time.monotonic() + 150
        while True:
            records = self.account.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
            found = [each for each in records if each["Name"].rstrip(".") == "mc.example.org" and each["Type"] == "A"]
            if found:
                expect([each["Value"] for each in found[0]["ResourceRecords"]] == ["127.0.0.1"], f"the record leads elsewhere: {found}")
                return
            expect(time.monotonic() < end, f"no record mc.example.org after 150 s: {records}")
            self.screen.progress("deploy", "waiting for the warden's schedule to set the record")
            time.sleep(1)

    def run(self):
        self.start_aws()
        first, second, rest = self.artefacts()
        self.refusals(first, rest)
        link = self.create(first, rest)
        self.stop(SERVER)
        with Driver() as driver:
            self.press(driver, link, SERVER)
            renewed = self.update(second, rest, link)
            mishaps.harmful_changes(self, SERVER, {"Zip": second, **rest})
            world = self.take_down(self.move_in(second, rest))
            self.find_the_world(first, rest, world)
            self.launch_mode(driver, first, rest)
        expect(renewed, "no link")
        self.say("all as promised")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    crew = Crew(screen)
    try:
        with tempfile.TemporaryDirectory(prefix="mc-idle-deploy-", ignore_cleanup_errors=True) as folder:
            try:
                Life(Path(sys.argv[1]).resolve(), screen, crew, folder).run()
            finally:
                crew.end_all()
                if cloud := crew.members.get("aws"):
                    with suppress(ProcessLookupError):  # functions that have outlived it
                        os.killpg(cloud.pid, signal.SIGKILL)
    except (Failure, BrowserError, BotoCoreError, ClientError) as failure:
        screen.line("FAILED", str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
