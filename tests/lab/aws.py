#!/usr/bin/env python3
"""AWS on 127.0.0.1: EC2, SSM, IAM and STS (moto), a strict IMDSv2, and one running instance that it describes.
Over 400 lines: all of it is one server.

    target/lab/venv/bin/python tests/lab/aws.py [--port 0] [--region eu-west-1] [--imds-delay-seconds N] [--faults] [--tls FOLDER]

When ready it prints one JSON line and then runs until SIGTERM or until its stdin (if that is a pipe) is closed:
    {"endpoint": "http://127.0.0.1:PORT", "imds": "http://127.0.0.1:PORT", "instance_id": "i-...", "region": "eu-west-1"}
and with --faults also "faulty_endpoint" (microburst in front of the same moto) and "faults" (its rules URL).
and with --tls "tls_endpoint", the same by TLS, with a certificate whose authority's is in FOLDER/ca.pem (SSL_CERT_FILE).
The agent's environment: AWS_ENDPOINT_URL=<endpoint>, AWS_EC2_METADATA_SERVICE_ENDPOINT=<imds>.
--imds-delay-seconds N: the metadata service answers 503 for the first N seconds, as on a slow boot.

What a test can ask and set (JSON both ways):
    GET  /lab/calls                  every EC2 and SSM call in order: {"at", "service", "action", "params", "access_key",
                                     "status", "injected"}; status null: not answered (yet); injected: the fault's code or null
    GET  /lab/calls?action=StopInstances
    GET  /lab/state                  {"instance_id", "state": "running" | "stopped" | "terminated" | ...}
    GET  /lab/heartbeats?name=NAME   all values written to that parameter, oldest first, decoded (no name: all parameters)
    POST /lab/power {"state": "running"}     or "stopped", "terminated": as if by an operator; leaves no call behind
    POST /lab/metadata {"path": P, "value": V}     what /latest/meta-data/P answers: "spot/instance-action", say; null: 404
    POST /lab/clock {"ahead_seconds": N}           sets AWS's clock ahead of this machine's (below 0: behind); as AWS does,
                                     it refuses requests that were signed more than five minutes away from its time
    POST /lab/parameter {"name": N, "value": V}    sets a parameter (a remote hold, say); value null deletes it
    GET, POST, DELETE /lab/faults    the rules below; POST replaces them all, [] or DELETE clears and frees hung calls

Fault rules, the first that matches decides; each has any of
    service      "ec2", "ssm" or "imds" (default: any of ec2 and ssm)
    action       "StopInstances", "PutParameter"...; for imds the path after /latest/: "api/token", "meta-data/instance-id"
    dry_run      true or false: only (never) EC2 calls with DryRun=true
    instance_id  only EC2 calls about this instance
    access_key   only calls that were signed with it
    times        how often it fires (default: for ever)
  and does one of
    code         answer this error in the protocol's own form; status and message have sensible defaults
    status       (without code) answer this status with an empty body; the only kind that imds knows besides those below
    hang: true   accept the request and never answer (until the rules change)
    reset: true  reset the TCP connection
    delay_seconds: N    wait first; alone: then let it pass
    [{"action": "StopInstances", "dry_run": false, "code": "UnauthorizedOperation"}]             refused for ever, DryRun is not
    [{"action": "StopInstances", "code": "UnauthorizedOperation", "times": 1}]                   refused once
    [{"code": "RequestLimitExceeded", "service": "ec2", "times": 2}]                             SDK retries get through
    [{"action": "StopInstances", "code": "OperationNotPermitted"}]                               message names disableApiStop
    also UnsupportedOperation, InvalidInstanceID.NotFound, IncorrectInstanceState, AuthFailure, InternalError
    [{"action": "PutParameter", "code": "ThrottlingException"}]    also TooManyUpdates, AccessDeniedException
    [{"action": "StopInstances", "dry_run": false, "hang": true}]    [{"service": "imds", "status": 500, "times": 3}]
The same by microburst: POST to the "faults" URL (replaces all; [] clears; PATCH appends) and call "faulty_endpoint":
    [{"service": "ec2", "operation": "StopInstances", "error": {"code": "UnauthorizedOperation", "status": 403}, "times": 1}]
    [{"service": "ec2", "operation": "StopInstances", "body": "DryRun != 'true'", "error": {"code": "IncorrectInstanceState"}}]
    [{"service": "ssm", "operation": "PutParameter", "error": {"code": "TooManyUpdates"}}]    [{"service": "ec2", "reset": true}]
  its own record of what fired: GET .../_microburst/fired; a call that it answers itself is not in /lab/calls.
"""

import argparse
import contextlib
import ctypes
import json
import logging
import os
import pathlib
import secrets
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from io import BytesIO
from urllib.error import HTTPError
from urllib.parse import parse_qs, parse_qsl
from urllib.request import Request as WebRequest
from urllib.request import urlopen
from xml.sax.saxutils import escape

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # saves a second at start

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2 import ec2_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.ssm import ssm_backends
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

sys.dont_write_bytecode = True  # nothing generated among the sources
from certificate import certificate  # noqa: E402
from ports import free_port  # noqa: E402

ROLE = "mc-idle-lab"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
CREDENTIALS_LIVE_SECONDS = 6 * 3600
SIGNATURE_LIVES_SECONDS = 300

# Code: (status, message); messages as AWS words them where that is known.
KNOWN_ERRORS = {
    "UnauthorizedOperation": (403, "You are not authorized to perform this operation."),
    "AuthFailure": (401, "AWS was not able to validate the provided access credentials"),
    "RequestLimitExceeded": (503, "Request limit exceeded."),
    "InternalError": (500, "An internal error has occurred"),
    "Unavailable": (503, "The service is unavailable. Please try again shortly."),
    "IncorrectInstanceState": (400, "This instance '{id}' is not in a state from which it can be stopped."),
    "InvalidInstanceID.NotFound": (400, "The instance ID '{id}' does not exist"),
    "InvalidInstanceID.Malformed": (400, 'Invalid id: "{id}"'),
    "OperationNotPermitted": (
        400,
        "The instance '{id}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.",
    ),
    "UnsupportedOperation": (
        400,
        "You can't stop the Spot Instance '{id}' because it is associated with a one-time Spot Instance request.",
    ),
    "DryRunOperation": (412, "Request would have succeeded, but DryRun flag is set."),
    "ThrottlingException": (400, "Rate exceeded"),
    "TooManyUpdates": (400, "There are concurrent updates for a resource that supports one update at a time."),
    "InvalidSignatureException": (400, "Signature expired, or not yet current"),
    "AccessDeniedException": (400, "User is not authorized to perform: ssm:PutParameter"),
    "InternalServerError": (500, "An error occurred on the server side."),
    "ServiceUnavailable": (503, "The service is unavailable."),
}
RULE_KEYS = {
    "service", "action", "dry_run", "instance_id", "access_key", "times", "code", "status", "message", "hang", "reset", "delay_seconds",
}


def error_response(service, code, status, message, instance_id):
    """An error in the form the service's protocol gives it: EC2 query XML or JSON 1.1."""
    known_status, known_message = KNOWN_ERRORS.get(code, (400, code))
    status = status or known_status
    message = (message or known_message).replace("{id}", instance_id)
    request_id = str(uuid.uuid4())
    if service == "ec2":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        kind = "text/xml;charset=UTF-8"
    else:
        body = json.dumps({"__type": code, "message": message})
        kind = "application/x-amz-json-1.1"
    return Response(body, status, {"x-amzn-RequestId": request_id}, content_type=kind)


class Faults:
    """The rules, and the switch that frees hung calls."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []
        self.changed = threading.Event()

    def replace(self, rules):
        for rule in rules:
            if unknown := set(rule) - RULE_KEYS:
                raise ValueError(f"unknown keys {sorted(unknown)}, allowed are {sorted(RULE_KEYS)}")
        with self.lock:
            self.rules = [dict(rule) for rule in rules]
            self.changed.set()
            self.changed = threading.Event()

    def take(self, service, action, dry_run, instance_id, access_key):
        """The rule that this call meets, with one of its times used up."""
        with self.lock:
            for rule in self.rules:
                if service not in ([rule["service"]] if rule.get("service") else ["ec2", "ssm"]):
                    continue
                if rule.get("action", action) != action or rule.get("dry_run", dry_run) != dry_run:
                    continue
                if rule.get("instance_id", instance_id) != instance_id or rule.get("access_key", access_key) != access_key:
                    continue
                left = rule.get("times")
                if left == 0:
                    continue
                if left is not None:
                    rule["times"] = left - 1
                return rule, self.changed
        return None, None


class Silence(Response):
    """No answer at all: the connection is closed, or reset, without a byte."""

    def __init__(self, connection, reset):
        super().__init__()
        self.connection, self.reset = connection, reset

    def __call__(self, environ, start_response):
        if self.reset:  # linger 0 makes a close send RST; socket.close() would wait for the server's own files
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionError("fault: no answer")  # keeps the server from writing one


class Metadata:
    """IMDSv2 as EC2 has it: no token, no data."""

    def __init__(self, instance_id, region, delay_seconds):
        self.tokens = {}
        self.opens_at = time.monotonic() + delay_seconds
        self.leaves = {
            "ami-manifest-path": "(unknown)",
            "instance-id": instance_id,
            "instance-life-cycle": "on-demand",
            "instance-type": "t3.medium",
            "local-ipv4": "127.0.0.1",
            "placement/availability-zone": region + "a",
            "placement/region": region,
            "iam/security-credentials/" + ROLE: self.credentials,
        }

    @staticmethod
    def credentials():
        def stamp(seconds):
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))

        return json.dumps({
            "Code": "Success",
            "LastUpdated": stamp(0),
            "Type": "AWS-HMAC",
            "AccessKeyId": "ASIALABLABLABLABLAB1",
            "SecretAccessKey": "lab-secret-from-instance-metadata",
            "Token": "lab-session-token",
            "Expiration": stamp(CREDENTIALS_LIVE_SECONDS),
        }, indent=2)

    def answer(self, request):
        if time.monotonic() < self.opens_at:
            return Response("not up yet", 503)
        if request.headers.get("X-Forwarded-For"):
            return Response(status=403)
        if request.path == "/latest/api/token":
            return self.new_token(request)
        if request.method != "GET":
            return Response(status=405)
        if time.monotonic() >= self.tokens.get(request.headers.get(TOKEN_HEADER), 0):
            return Response(status=401)
        path = request.path.removeprefix("/latest/meta-data/")
        if path == request.path:
            return Response(status=404)
        leaf = self.leaves.get(path)
        if leaf is not None:
            return Response(leaf() if callable(leaf) else leaf, content_type="text/plain")
        folder = path.rstrip("/") + "/" if path else ""
        names = sorted({
            head + slash for name in self.leaves if name.startswith(folder)
            for head, slash, _ in [name.removeprefix(folder).partition("/")]
        })
        return Response("\n".join(names), 200 if names else 404, content_type="text/plain")

    def new_token(self, request):
        if request.method != "PUT":
            return Response(status=405)
        ttl = request.headers.get(TTL_HEADER, "")
        if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            return Response(status=400)
        token = secrets.token_urlsafe(40)
        self.tokens[token] = time.monotonic() + int(ttl)
        return Response(token, headers={TTL_HEADER: ttl}, content_type="text/plain")  # the SDK insists on the echo


class Lab:
    """The one WSGI application: metadata, the lab's own pages, and moto behind the record and the faults."""

    def __init__(self, region, imds_delay_seconds):
        self.region = region
        self.ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][region]
        self.ssm = ssm_backends[DEFAULT_ACCOUNT_ID][region]
        self.instance_id = self.ec2.run_instances(
            "ami-lab", 1, None, [], instance_type="t3.medium", region_name=region, tags={}, is_instance_type_default=False
        ).instances[0].id
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.warm_up()
        self.metadata = Metadata(self.instance_id, region, imds_delay_seconds)
        self.faults = Faults()
        self.calls = []
        self.ahead_seconds = 0

    def warm_up(self):
        """Loads moto's pages for both services, which takes the first call of each seconds on a busy machine."""
        for service, headers, body in (
            ("ec2", {}, "Action=DescribeInstances&Version=2016-11-15"),
            ("ssm", {"X-Amz-Target": "AmazonSSM.GetParameter", "Content-Type": "application/x-amz-json-1.1"}, '{"Name": "none"}'),
        ):
            authorization = f"AWS4-HMAC-SHA256 Credential=LAB/20260101/{self.region}/{service}/aws4_request"
            call = EnvironBuilder(method="POST", data=body, headers={**headers, "Authorization": authorization})
            Response.from_app(self.moto, call.get_environ(), buffered=True)

    def __call__(self, environ, start_response):
        # moto reads the stream again, so it gets a copy.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        request = Request(environ)
        if request.path.startswith("/latest/"):
            answer = self.fault(request, "imds", request.path.removeprefix("/latest/"), {}, None)
            answer = answer or self.metadata.answer(request)
        elif request.path.startswith("/lab/"):
            answer = self.page(request, body)
        else:
            answer = self.api_call(request, body)
        return answer(environ, start_response)

    def api_call(self, request, body):
        try:  # "... Credential=KEY/DATE/REGION/SERVICE/aws4_request, ..."
            scope = request.headers["Authorization"].partition("Credential=")[2].partition(",")[0].split("/")
            access_key, service = scope[0], scope[3]
        except (KeyError, IndexError):
            access_key = service = None
        if service == "ec2":
            params = dict(parse_qsl(body.decode() or request.query_string.decode(), keep_blank_values=True))
            action = params.pop("Action", None)
        elif service == "ssm":
            params = json.loads(body or b"{}")
            action = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        else:
            return self.to_moto(request)
        call = {"at": time.time(), "service": service, "action": action, "params": params,
                "access_key": access_key, "status": None, "injected": None}
        self.calls.append(call)
        answer = self.too_skewed(request, service, call) or self.fault(request, service, action, params, call)
        answer = answer or self.to_moto(request)
        if not isinstance(answer, Silence):
            call["status"] = answer.status_code
        return answer

    def now(self):
        return time.time() + self.ahead_seconds

    def too_skewed(self, request, service, call):
        signed = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        if abs(self.now() - signed.timestamp()) <= SIGNATURE_LIVES_SECONDS:
            return None
        call["injected"] = {"ec2": "AuthFailure", "ssm": "InvalidSignatureException"}[service]
        return error_response(service, call["injected"], None, None, self.instance_id)

    def to_moto(self, request):
        return Response.from_app(self.moto, request.environ, buffered=True)

    def fault(self, request, service, action, params, call):
        dry_run, instance_id = params.get("DryRun") == "true", params.get("InstanceId.1")
        rule, changed = self.faults.take(service, action, dry_run, instance_id, call and call["access_key"])
        if rule is None:
            return None
        kind = rule.get("code") or next((k for k in ("hang", "reset", "status", "delay_seconds") if rule.get(k)), None)
        if call:
            call["injected"] = kind
        if rule.get("delay_seconds"):
            changed.wait(rule["delay_seconds"])
        if rule.get("hang"):
            changed.wait()
        if rule.get("hang") or rule.get("reset"):
            return Silence(request.environ["werkzeug.socket"], bool(rule.get("reset")))
        if rule.get("code") and service != "imds":
            return error_response(service, rule["code"], rule.get("status"), rule.get("message"), self.instance_id)
        if rule.get("status"):
            return Response(status=rule["status"])
        return None

    def page(self, request, body):
        asked = {key: values[0] for key, values in parse_qs(request.query_string.decode()).items()}
        try:
            sent = json.loads(body) if body else None
            answer = self.page_content(request.method, request.path.removeprefix("/lab/"), asked, sent)
        except Exception as error:  # whatever a test sent wrong, it should read why
            return Response(json.dumps({"error": f"{type(error).__name__}: {error}"}), 400, content_type="application/json")
        if answer is None:
            return Response(json.dumps({"error": "no such page"}), 404, content_type="application/json")
        return Response(json.dumps(answer), content_type="application/json")

    def page_content(self, method, page, asked, sent):
        match method, page:
            case "GET", "calls":
                return [call for call in list(self.calls) if asked.get("action", call["action"]) == call["action"]]
            case "GET", "state":
                return self.state()
            case "GET", "heartbeats":
                return [
                    decoded(call["params"]["Value"]) for call in list(self.calls)
                    if call["action"] == "PutParameter" and call["status"] == 200
                    and asked.get("name", call["params"]["Name"]) == call["params"]["Name"]
                ]
            case "POST", "power":
                change = {
                    "running": self.ec2.start_instances,
                    "stopped": self.ec2.stop_instances,
                    "terminated": self.ec2.terminate_instances,
                }[sent["state"]]
                change([self.instance_id])
                return self.state()
            case "POST", "clock":
                self.ahead_seconds = sent["ahead_seconds"]
                return sent
            case "POST", "parameter":
                if sent["value"] is None:
                    self.ssm.delete_parameter(sent["name"])
                else:
                    self.ssm.put_parameter(sent["name"], "", sent["value"], "String", "", "", True, [], "text", None, None)
                return sent
            case "POST", "metadata":
                if sent["value"] is None:
                    self.metadata.leaves.pop(sent["path"], None)
                else:
                    self.metadata.leaves[sent["path"]] = sent["value"]
                return sent
            case "GET", "faults":
                return self.faults.rules
            case ("POST" | "DELETE"), "faults":
                self.faults.replace(sent or [])
                return self.faults.rules
        return None

    def state(self):
        return {"instance_id": self.instance_id, "state": self.ec2.get_instance(self.instance_id)._state.name}


def decoded(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


class Handler(MotoRequestHandler):
    def log_request(self, *_args):
        pass

    def date_time_string(self, timestamp=None):  # of the Date header
        return super().date_time_string(timestamp or self.server.app.now())


def start_microburst(upstream):
    """microburst as a child that dies with us; returns it and its address once it answers."""
    port = free_port()
    die_with_parent = ctypes.CDLL(None).prctl
    child = subprocess.Popen(
        [sys.executable, "-m", "microburst", "--host", "127.0.0.1", "--port", str(port), "--upstream", upstream],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,  # logs every request
        preexec_fn=lambda: die_with_parent(1, signal.SIGTERM),  # PR_SET_PDEATHSIG
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            urlopen(address + "/_microburst/health", timeout=1).close()
            warm_up(address)
            return child, address
        except OSError:
            if child.poll() is not None:
                break
            time.sleep(0.1)
    child.kill()
    raise SystemExit("aws.py: microburst did not start")


def warm_up(microburst):
    """Makes microburst load its service models, which keeps the first faulty call waiting for seconds otherwise."""

    def call(path, body, headers=None, method="POST"):
        with contextlib.suppress(HTTPError):  # is what the rule asks for
            urlopen(WebRequest(microburst + path, body, headers or {}, method=method), timeout=30).close()

    call("/_microburst/rules", b'[{"service": "*", "error": {"code": "WarmUp"}}]')
    for service, headers, body in (
        ("ec2", {}, b"Action=StopInstances&Version=2016-11-15"),
        ("ssm", {"X-Amz-Target": "AmazonSSM.PutParameter", "Content-Type": "application/x-amz-json-1.1"}, b"{}"),
    ):
        authorization = f"AWS4-HMAC-SHA256 Credential=LAB/20260101/lab/{service}/aws4_request"
        call("/", body, {**headers, "Authorization": authorization})
    call("/_microburst/rules", b"[]")
    call("/_microburst/fired", None, method="DELETE")


def main():
    options = argparse.ArgumentParser(description="AWS on 127.0.0.1 for mc-idle's lab; see the head of this file")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--region", default="eu-west-1")
    options.add_argument("--imds-delay-seconds", type=float, default=0)
    options.add_argument("--tls", metavar="FOLDER", type=pathlib.Path, help="the same by TLS, on a port of its own")
    options.add_argument("--faults", action="store_true", help="microburst in front, on a port of its own")
    args = options.parse_args()

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # not for /dev/null or a terminal
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), ended.set()), daemon=True).start()

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    lab = Lab(args.region, args.imds_delay_seconds)
    server = make_server("127.0.0.1", args.port, lab, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    ready = {"endpoint": endpoint, "imds": endpoint, "instance_id": lab.instance_id, "region": args.region}
    if args.tls:
        own = certificate(args.tls, ["localhost"])
        secure = make_server("127.0.0.1", 0, lab, threaded=True, request_handler=Handler, ssl_context=own)
        threading.Thread(target=secure.serve_forever, daemon=True).start()
        ready["tls_endpoint"] = f"https://localhost:{secure.server_port}"
    microburst = None
    if args.faults:
        microburst, ready["faulty_endpoint"] = start_microburst(endpoint)
        ready["faults"] = ready["faulty_endpoint"] + "/_microburst/rules"
    print(json.dumps(ready), flush=True)
    ended.wait()
    if microburst:
        microburst.terminate()
        try:
            microburst.wait(3)
        except subprocess.TimeoutExpired:
            microburst.kill()
    os._exit(0)  # hung calls hold their threads for ever


if __name__ == "__main__":
    main()
