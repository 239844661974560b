"""What the launcher replaces, as a Lambda in Python would do the same with boto3: sees the instance, the heartbeat and what was used, and
starts the instance unless it runs. Served by the shortest loop that there is over Lambda's Runtime API; AWS's own client for it does more."""

import json
import os
import urllib.request

import boto3

RUNTIME = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
SERVER = os.environ["MC_SERVER"]
ec2, ssm = boto3.client("ec2"), boto3.client("ssm")


def parameter(name):
    try:
        return ssm.get_parameter(Name=f"/mc-idle/{SERVER}/{name}", WithDecryption=True)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None


KEY = parameter("key")


def handler(event):
    if event["headers"].get("authorization") not in (None, f"Bearer {KEY}"):
        return {"statusCode": 403}
    found = ec2.describe_instances(Filters=[{"Name": "tag:mc-idle:server", "Values": [SERVER]}])
    instance = found["Reservations"][0]["Instances"][0]
    heartbeat, starts, own = parameter("heartbeat"), parameter("starts"), parameter("instance-id")
    if event["requestContext"]["http"]["method"] == "POST" and instance["State"]["Name"] == "stopped":
        ec2.start_instances(InstanceIds=[own])
    body = {"state": instance["State"]["Name"], "heartbeat": heartbeat, "starts": starts}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


while True:
    with urllib.request.urlopen(f"{RUNTIME}/next") as next_one:
        request_id, event = next_one.headers["Lambda-Runtime-Aws-Request-Id"], json.load(next_one)
    answer = json.dumps(handler(event)).encode()
    urllib.request.urlopen(urllib.request.Request(f"{RUNTIME}/{request_id}/response", answer, method="POST")).close()
