#!/usr/bin/env python3
"""AWS as the instance of first_stop.py sees it: tests/lab/aws.py at AWS's own addresses and names, by TLS.

    target/lab/venv/bin/python tests/release/ec2.py FOLDER

Runs in the instance's network, which must have METADATA on an interface. Serves instance metadata there on port 80, and
NAMES at 127.0.0.1:443, with a certificate whose authority's is in FOLDER/ca.pem. When ready it prints one JSON line,
then runs until its stdin is closed. /lab/... pages: see aws.py; they are at METADATA.
"""

import json
import logging
import sys
import threading
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))
import aws  # noqa: E402
from certificate import certificate  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

REGION = "eu-west-1"
METADATA = "169.254.169.254"
NAMES = [f"{service}.{REGION}.amazonaws.com" for service in ("ec2", "ssm")]
# What a role as README.md has it may not do: stop another instance.
NARROW_ROLE = {"instance_id": "i-00000000000000000", "code": "UnauthorizedOperation"}


def main():
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    lab = aws.Lab(REGION, 0)
    lab.faults.replace([NARROW_ROLE])
    own = certificate(sys.argv[1], NAMES)
    for address, port, tls in ((METADATA, 80, None), ("127.0.0.1", 443, own)):
        server = make_server(address, port, lab, threaded=True, request_handler=aws.Handler, ssl_context=tls)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"instance_id": lab.instance_id, "region": REGION}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
