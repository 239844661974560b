"""An account of the emulated AWS (cloud.py): clients of its services, and events that the emulator itself never sends."""

import json
import uuid
from datetime import datetime, timezone

import boto3
from botocore.config import Config

ACCOUNT_ID = "000000000000"


class Account:
    def __init__(self, endpoint, region):
        self.endpoint, self.region = endpoint, region
        self.clients = {}

    def client(self, service):
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.endpoint, region_name=self.region, aws_access_key_id="test",
                aws_secret_access_key="test", config=Config(proxies={}, read_timeout=90),
            )
        return self.clients[service]

    def hand_state_change(self, function, instance_id, state):
        """To the function, as an EventBridge rule does. Its form: EC2 user guide."""
        event = {
            "version": "0", "id": str(uuid.uuid4()), "source": "aws.ec2", "account": ACCOUNT_ID, "region": self.region,
            "detail-type": "EC2 Instance State-change Notification",
            "time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            "resources": [f"arn:aws:ec2:{self.region}:{ACCOUNT_ID}:instance/{instance_id}"],
            "detail": {"instance-id": instance_id, "state": state},
        }
        self.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event))

    def log_lines(self, function):
        """What the function has written so far, without Lambda's own lines."""
        events = self.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        lines = [event["message"].rstrip() for event in events]
        return [line for line in lines if not line.startswith(("START ", "END ", "REPORT "))]
