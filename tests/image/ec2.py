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
from metadata import Metadata, as_latest  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

REGION = "eu-west-1"


class Lab(aws.Lab):
    def __init__(self, region, user_data, public_key):
        super().__init__(region, 0)
        self.metadata = Metadata(self.instance_id, region, user_data, public_key)

    def __call__(self, environ, start_response):
        as_latest(environ)
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
