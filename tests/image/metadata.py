#!/usr/bin/env python3
"""Instance metadata as cloud-init asks for it (IMDSv2), for one instance of the image, at EC2's own address.

    target/lab/venv/bin/python tests/image/metadata.py --instance-id ID --user-data FILE --public-key FILE [--region eu-west-1]

That is for an instance of whatever emulator: it prints a line when it serves, and runs until SIGTERM. ec2.py has the same, with
an EC2 of its own.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))
import aws  # noqa: E402
import network  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402
from werkzeug.wrappers import Request, Response  # noqa: E402

KEY_NAME = "image-test"
# Those that cloud-init knows, newest first; EC2 has more.
VERSIONS = ("latest", "2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04")


class Metadata(aws.Metadata):
    """Also user data, the identity document, the key pair and the network card."""

    def __init__(self, instance_id, region, user_data, public_key):
        super().__init__(instance_id, region, 0)
        card = f"network/interfaces/macs/{network.GUEST_MAC}/"
        self.leaves |= {
            "ami-id": "ami-0123456789abcdef0",
            "ami-launch-index": "0",
            "hostname": "ip-10-77-0-10.eu-west-1.compute.internal",
            "local-hostname": "ip-10-77-0-10.eu-west-1.compute.internal",
            "local-ipv4": network.GUEST,
            "mac": network.GUEST_MAC,
            "public-keys/0/openssh-key": public_key,
            "reservation-id": "r-0123456789abcdef0",
            "security-groups": "minecraft",
            "services/domain": "amazonaws.com",
            "services/partition": "aws",
            card + "device-number": "0",
            card + "interface-id": "eni-0123456789abcdef0",
            card + "local-ipv4s": network.GUEST,
            card + "mac": network.GUEST_MAC,
            card + "owner-id": aws.DEFAULT_ACCOUNT_ID,
            card + "subnet-id": "subnet-0123456789abcdef0",
            card + "subnet-ipv4-cidr-block": "10.77.0.0/24",
            card + "vpc-id": "vpc-0123456789abcdef0",
            card + "vpc-ipv4-cidr-block": "10.77.0.0/16",
        }
        document = json.dumps({
            "accountId": aws.DEFAULT_ACCOUNT_ID, "architecture": "x86_64", "availabilityZone": region + "a",
            "imageId": "ami-0123456789abcdef0", "instanceId": instance_id, "instanceType": "t3.medium",
            "pendingTime": "2026-01-01T00:00:00Z", "privateIp": network.GUEST, "region": region,
            "version": "2017-09-30",
        }, indent=2)
        self.others = {
            "/latest/user-data": user_data,
            "/latest/dynamic/instance-identity": "document",
            "/latest/dynamic/instance-identity/": "document",
            "/latest/dynamic/instance-identity/document": document,
            # The one folder whose listing is not the names of its entries.
            "/latest/meta-data/public-keys/": f"0={KEY_NAME}",
        }

    def answer(self, request):
        answer = super().answer(request)
        # 404: the token was in order, but the path is none of those that mc-idle asks for.
        if request.path in self.others and answer.status_code in (200, 404):
            return Response(self.others[request.path], content_type="text/plain")
        return answer


def as_latest(environ):
    """All versions answer alike."""
    _, _, rest = environ["PATH_INFO"].partition("/")
    version, _, path = rest.partition("/")
    if version in VERSIONS and path:
        environ["PATH_INFO"] = f"/latest/{path}"


def main():
    options = argparse.ArgumentParser(description="instance metadata of one instance; see the head of this file")
    options.add_argument("--instance-id", required=True)
    options.add_argument("--user-data", type=Path, required=True)
    options.add_argument("--public-key", type=Path, required=True)
    options.add_argument("--region", default="eu-west-1")
    args = options.parse_args()
    user_data, public_key = args.user_data.read_text(), args.public_key.read_text().strip()
    metadata = Metadata(args.instance_id, args.region, user_data, public_key)

    @Request.application
    def serve(request):
        return metadata.answer(request)

    def serve_latest(environ, start_response):
        as_latest(environ)
        return serve(environ, start_response)

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server(network.METADATA, 80, serve_latest, threaded=True)
    print(f"serving {args.instance_id}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
