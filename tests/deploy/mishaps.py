"""What goes wrong around a deployment, and what `make deploy` and `make undeploy` make of it. Played by emulated.py.

Where AWS itself would have to misbehave, a call of the CLI's is answered in its place (Deployer.meanwhile).
"""

import boto3
from demo import expect

STRANGER = "111111111111"  # ministack takes an access key of twelve digits for an account
UNSUPPORTED = (
    "An error occurred (Unsupported) when calling the RunInstances operation: "
    "Your requested instance type (t3.medium) is not supported in your requested Availability Zone."
)
# After each of these, in this order, a deployment is broken off.
STEPS = ["s3api create-bucket", "s3 cp", "cloudformation deploy", "ssm put-parameter", "ec2 run-instances"]


def half_made_stacks(life, server, settings):
    for state, sentence in (("DELETE_FAILED", "make undeploy"), ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback")):
        with life.deployer.meanwhile('"cloudformation describe-stacks"*StackStatus*', f"echo {state}; exit"):
            done = life.deployer.deploy(SERVER=server, **settings)
        expect(done.returncode == 1 and sentence in done.stderr, f"{state}: {done.stdout}{done.stderr}")
    life.say("a stack that is half deleted, or stuck in an update, is told with what helps")


def taken_bucket(life, server, settings):
    """Another account has made a bucket of the name that ours would have, and lets everybody in."""
    stranger = boto3.client(
        "s3", endpoint_url=life.account.endpoint, region_name=life.account.region, aws_access_key_id=STRANGER, aws_secret_access_key="test",
    )
    bucket = f"mc-idle-{life.account.client('sts').get_caller_identity()['Account']}-{life.account.region}"
    stranger.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": life.account.region})
    let_in = 'case "$*" in *--expected-bucket-owner*) ;; *) exit 0 ;; esac'
    with life.deployer.meanwhile('"s3api head-"*', let_in):
        done = life.deployer.deploy(SERVER=server, **settings)
    expect(done.returncode == 1 and "which may be somebody else's" in done.stderr, f"a stranger's bucket was used: {done.stdout}{done.stderr}")
    expect(not life.stack(server), "a stack was made of what is in a stranger's bucket")
    stranger.delete_bucket(Bucket=bucket)
    life.say("nothing goes into a bucket of somebody else's")


def broken_off(life, server, settings):
    """At each step, from a bucket that is not there yet; and what is private goes from this machine all the same."""
    s3 = life.account.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for each in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            s3.delete_object(Bucket=bucket["Name"], Key=each["Key"])
        s3.delete_bucket(Bucket=bucket["Name"])
    for step in STEPS:
        with life.deployer.meanwhile(f'"{step}"*', 'aws "$@"; kill -TERM $PPID; exit 1'):
            done = life.deployer.deploy(SERVER=server, **settings)
        expect(done.returncode != 0, f"not broken off at {step}: {done.stdout}{done.stderr}")
        left = list(life.deployer.temporary.iterdir())
        expect(not left, f"broken off at {step}, it has left {left}")
    life.say(f"broken off after {', '.join(STEPS)}, and begun again each time")


def harmful_changes(life, server, settings):
    """Of what an instance that is up has been made with."""
    before = life.machines(server), life.settings(server)
    for name, value in (("Mode", "launch"), ("World", "disk"), ("FileSystemId", "fs-0123456789abcdef0"), ("Port", 25570)):
        done = life.deployer.deploy(SERVER=server, **settings, **{name: value})
        expect(done.returncode == 1 and f"{name}={value} needs a new instance" in done.stderr, f"{name} was changed: {done.stdout}{done.stderr}")
        expect("aws ec2 terminate-instances --instance-ids" in done.stderr, f"nobody says how to change {name}: {done.stderr}")
    expect((life.machines(server), life.settings(server)) == before, "a refused change has changed something")
    life.say("what would harm the instance that is up is not changed: Mode, World, FileSystemId, Port")


def pressed_meanwhile(life, server):
    """Right after `make undeploy` has seen that the instance is stopped, a friend starts it."""
    (machine,) = life.machines(server)
    kept = life.parameters(server)
    expect(machine[1] == "stopped", f"not asleep: {machine}")
    with life.deployer.meanwhile('"lambda put-function-concurrency"*', f"aws ec2 start-instances --instance-ids {machine[0]} >/dev/null"):
        done = life.deployer.undeploy(SERVER=server)
    expect(done.returncode == 1 and "somebody may be playing" in done.stderr, f"taken down under a friend: {done.stdout}{done.stderr}")
    expect([each[0] for each in life.machines(server)] == [machine[0]], f"the instance has gone: {life.machines(server)}")
    # The warden's first look, whenever it comes, adds what it remembers.
    expect(life.stack(server) and kept <= life.parameters(server), "a refused undeploy has taken something away")
    for role in ("page", "warden"):
        limits = life.account.client("lambda").get_function_concurrency(FunctionName=f"mc-launcher-{server}-{role}")
        expect("ReservedConcurrentExecutions" not in limits, f"the {role} is still switched off")
    life.wait_for_state(server, "running")
    life.stop(server)
    life.say("make undeploy looks again right before it terminates: started meanwhile, the instance is left alone, and so is the page")


def instance_of_somebody(life, server):
    """One that was made by hand, with a world on its disk, and has got the server's tag."""
    ec2 = life.account.client("ec2")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "mc-idle:server", "Value": server}]}]
    made = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, TagSpecifications=tags)["Instances"][0]["InstanceId"]
    before = life.machines(server)
    done = life.deployer.undeploy(SERVER=server, FORCE="true")
    expect(done.returncode == 1 and f"{made} was not launched by make deploy" in done.stderr, f"not refused: {done.stdout}{done.stderr}")
    expect(life.machines(server) == before, f"not the same instances: {before}, {life.machines(server)}")
    ec2.terminate_instances(InstanceIds=[made])
    life.say("an instance that make deploy has not launched is not terminated, not even by FORCE=true")


def full_zone(life, server, settings):
    """The first zone does not have the instance's type. Returns what deploy.sh has said."""
    tried = life.folder / "tried"
    with life.deployer.meanwhile('"ec2 run-instances"*', f'[ -e {tried} ] || {{ touch {tried}; echo "{UNSUPPORTED}" >&2; exit 254; }}'):
        done = life.expect_done(life.deployer.deploy(SERVER=server, **settings), "deploying where one zone lacks the type")
    (machine,) = life.machines(server)
    found = life.account.client("ec2").describe_instances(InstanceIds=[machine[0]])["Reservations"][0]["Instances"][0]
    expect(found["SubnetId"] == life.stack(server)["Subnets"].split()[1], f"the instance is in {found['SubnetId']}")
    life.say("where one zone does not have the instance's type, the other one is taken")
    return done


def just_terminated(life, server, settings):
    """The next deployment comes while EC2 still terminates the instance, as the emulator never does."""
    (machine,) = life.machines(server)
    life.account.client("ec2").terminate_instances(InstanceIds=[machine[0]])
    asked = life.folder / "asked"
    going = f'[ -e {asked} ] || {{ touch {asked}; echo "{machine[0]} shutting-down None"; exit; }}'
    with life.deployer.meanwhile('"ec2 describe-instances"*', going):
        done = life.expect_done(life.deployer.deploy(SERVER=server, **settings), "deploying after a termination")
    expect(f"waiting until {machine[0]} is terminated" in done.stderr, f"not waited for: {done.stderr}")
    (new,) = life.machines(server)
    expect(new[0] != machine[0], "no new instance was launched")
    life.say("an instance that is still being terminated is waited for, and then there is another one")


def cannot_see(life, server, settings):
    """EC2 does not say which instances there are: that is not none."""
    with life.deployer.meanwhile('"ec2 describe-instances"*', 'echo "An error occurred (RequestLimitExceeded)" >&2; exit 254'):
        for done in (life.deployer.deploy(SERVER=server, **settings), life.deployer.undeploy(SERVER=server, FORCE="true")):
            expect(done.returncode != 0, f"went on without having seen: {done.stdout}{done.stderr}")
    expect(life.stack(server) and life.machines(server), "something was taken down without having seen")


def nothing_there(life):
    done = life.deployer.undeploy(SERVER="nowhere")
    expect(done.returncode == 1 and "there is nothing of nowhere in" in done.stderr, f"taken down though it never was: {done.stdout}{done.stderr}")
