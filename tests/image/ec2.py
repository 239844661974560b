#!/usr/bin/env python3
"""AWS as one instance sees it: tests/lab/aws.py with the metadata that cloud-init asks for, at EC2's own address.

    target/lab/venv/bin/python tests/image/ec2.py --user-data FILE --public-key FILE

Serves instance metadata at 169.254.169.254:80 and the API at 10.77.0.1:4566. When ready it prints one JSON line as
aws.py does, and then runs until SIGTERM or until its stdin is closed. /lab/... pages: see aws.py.
"""

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))
import aws  # noqa: E402
import network  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402
from werkzeug.wrappers import Response  # noqa: E402

REGION = "eu-west-1"
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


class Lab(aws.Lab):
    def __init__(self, region, user_data, public_key):
        super().__init__(region, 0)
        self.metadata = Metadata(self.instance_id, region, user_data, public_key)

    def __call__(self, environ, start_response):
        _, _, rest = environ["PATH_INFO"].partition("/")
        version, _, path = rest.partition("/")
        if version in VERSIONS and path:
            environ["PATH_INFO"] = f"/latest/{path}"
        return super().__call__(environ, start_response)


def main():
    options = argparse.ArgumentParser(description="AWS for one instance of the image; see the head of this file")
    options.add_argument("--user-data", type=Path, required=True)
    options.add_argument("--public-key", type=Path, required=True)
    args = options.parse_args()

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), ended.set()), daemon=True).start()

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    lab = Lab(REGION, args.user_data.read_text(), args.public_key.read_text().strip())
    for address, port in ((network.METADATA, 80), (network.GATEWAY, network.API_PORT)):
        server = make_server(address, port, lab, threaded=True, request_handler=aws.Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://{network.GATEWAY}:{network.API_PORT}"
    imds = f"http://{network.METADATA}"
    ready = {"endpoint": endpoint, "imds": imds, "instance_id": lab.instance_id, "region": REGION}
    print(json.dumps(ready), flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
