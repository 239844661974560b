#!/usr/bin/env python3
"""AWS that runs real Lambda functions (ministack), with an EC2 whose machines take their time.

    target/lab/ministack/bin/python tests/lab/cloud.py --port P [--region eu-west-1] [--bind 127.0.0.1] [--address 127.0.0.1]
                                                       [--switched-on FOLDER] [--calls FILE]

Prints the endpoint when it is ready, and runs until SIGTERM, SIGINT or the end of its stdin (if that is a pipe).

ministack's own EC2 starts and stops a machine in no time, keeps the LaunchTime of the first start, does not know DryRun (it
stops what it is only asked about) and gives machines addresses of strangers. Here, as in EC2 (EC2 user guide, instance
lifecycle; API reference, StartInstances, StopInstances):
    a start is `pending` and a stop is `stopping` for some seconds, and a start in between is refused
    every start has its LaunchTime, and a stop says when and by whom it was
    a dry run of either does nothing
    every machine has the public address --address
    and is as its launch template says (launch_template.py), as is its disk (disks.py)

--switched-on: a machine is `stopping` for as long as a file with its id is in this folder, which whoever runs a real one keeps.
--calls: every call that starts, stops, launches or terminates a machine is appended to this file, as a line of JSON:
    {"at", "action", "instances", "dry_run", "access_key", "status"}
"""

import argparse
import json
import logging
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl
from urllib.request import ProxyHandler, build_opener

sys.dont_write_bytecode = True  # nothing generated among the sources
import disks  # noqa: E402
import launch_template  # noqa: E402

PENDING_SECONDS = 3
STOPPING_SECONDS = 4
CODES = {"pending": 0, "running": 16, "stopping": 64, "stopped": 80}
BY_USER = "Client.UserInitiatedShutdown"
CHANGES = {"RunInstances", "StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"}


def slow_ec2(ec2, address, switched_on):
    """Gives ministack's EC2 the life of a machine. Its names are private: they are those of the pinned version."""
    actions, describe, run, terminate = ec2._ACTION_MAP, ec2._instance_xml, ec2._run_instances, ec2._terminate_instances
    settled = {"StartInstances": {"pending", "running"}, "StopInstances": {"stopping", "stopped"}}

    def put(machine, state):
        machine["State"] = {"Code": CODES[state], "Name": state}

    def later(machine, seconds, before, after, waits=lambda: False):
        def end():
            time.sleep(seconds)
            while waits():
                time.sleep(0.2)
            if machine["State"]["Name"] == before:  # not terminated meanwhile
                put(machine, after)

        put(machine, before)
        threading.Thread(target=end, daemon=True).start()

    def start(machine):
        machine["LaunchTime"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        machine["Reason"] = ""
        later(machine, PENDING_SECONDS, "pending", "running")

    def stop(machine):
        machine["Reason"] = time.strftime("User initiated (%Y-%m-%d %H:%M:%S GMT)", time.gmtime())
        still_on = switched_on and switched_on / machine["InstanceId"]
        later(machine, STOPPING_SECONDS, "stopping", "stopped", lambda: still_on and still_on.exists())

    def changed(action, before, verb, change):
        """`change` to what is `before`; what is on its way there or is there already stays as it is."""

        def handle(p):
            machines = []
            for instance_id in ec2._parse_member_list(p, "InstanceId"):
                machine = ec2._instances.get(instance_id)
                if not machine:
                    return ec2._error("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist", 400)
                if machine["State"]["Name"] not in before | settled[action]:
                    text = f"This instance '{instance_id}' is not in a state from which it can be {verb}."
                    return ec2._error("IncorrectInstanceState", text, 400)
                machines.append(machine)
            if ec2._p(p, "DryRun") == "true":
                return ec2._error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
            items = ""
            for machine in machines:
                previous = machine["State"]
                if previous["Name"] in before:
                    change(machine)
                current = machine["State"]
                items += f"<item><instanceId>{machine['InstanceId']}</instanceId>"
                for tag, state in (("previousState", previous), ("currentState", current)):
                    items += f"<{tag}><code>{state['Code']}</code><name>{state['Name']}</name></{tag}>"
                items += "</item>"
            return ec2._xml(200, f"{action}Response", f"<instancesSet>{items}</instancesSet>")

        return handle

    def described(machine):
        reason = machine.get("Reason", "")
        extra = f"<reason>{reason}</reason>"
        if reason:
            extra += f"<stateReason><code>{BY_USER}</code><message>{BY_USER}: User initiated shutdown</message></stateReason>"
        return describe(machine).replace("<placement>", extra + "<placement>", 1)

    def run_here(p):
        request, before = launch_template.filled(ec2, p), set(ec2._instances)
        answer = run(request)
        made = [machine for name, machine in ec2._instances.items() if name not in before]
        disks.as_asked_for(ec2, request, made)
        for machine in made:
            machine["PublicIpAddress"] = address
        return answer

    def terminate_here(p):
        answer = terminate(p)
        for instance_id in ec2._parse_member_list(p, "InstanceId"):
            disks.let_go(ec2, instance_id)
        return answer

    ec2._instance_xml = described
    actions["RunInstances"] = run_here
    actions["TerminateInstances"] = terminate_here
    actions["StartInstances"] = changed("StartInstances", {"stopped"}, "started", start)
    actions["StopInstances"] = changed("StopInstances", {"running"}, "stopped", stop)


def recorded(ec2, file):
    """Has the calls that change machines written down, each with its answer's status, before whoever made it has the answer."""
    handle = ec2.handle_request

    async def handle_and_record(method, path, headers, body, query_params):
        at = time.time()
        answer = await handle(method, path, headers, body, query_params)
        sent = dict(parse_qsl(body if isinstance(body, str) else (body or b"").decode(errors="replace")))
        if sent.get("Action") in CHANGES:
            signed = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
            line = json.dumps({
                "at": at, "action": sent["Action"], "dry_run": sent.get("DryRun") == "true",
                "instances": [value for name, value in sent.items() if name.startswith("InstanceId")],
                "access_key": signed.partition("Credential=")[2].partition("/")[0], "status": answer[0],
            })
            with file.open("a") as out:
                out.write(line + "\n")
        return answer

    ec2.handle_request = handle_and_record


def say_when_ready(endpoint):
    opener = build_opener(ProxyHandler({}))
    while True:
        try:
            with opener.open(f"{endpoint}/_ministack/ready", timeout=2):
                print(endpoint, flush=True)
                return
        except OSError:  # not yet
            time.sleep(0.1)


def end_with_stdin():
    while os.read(0, 4096):  # not by sys.stdin, which the interpreter's own end would wait for
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main():
    options = argparse.ArgumentParser(description="AWS with real Lambda functions; see the head of this file")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--region", default="eu-west-1")
    options.add_argument("--bind", default="127.0.0.1")
    options.add_argument("--address", default="127.0.0.1")
    options.add_argument("--switched-on", metavar="FOLDER", type=Path)
    options.add_argument("--calls", metavar="FILE", type=Path)
    args = options.parse_args()
    endpoint = f"http://{args.bind}:{args.port}"
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint,  # for the functions: a custom runtime gets it from here only
        BIND_HOST=args.bind, GATEWAY_PORT=str(args.port), MINISTACK_REGION=args.region, LAMBDA_EXECUTOR="local",
        IOT_MTLS_ENABLED="0", SFTP_ENABLED="0",  # no ports besides
    )
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    from ministack import app  # reads the environment when it is loaded
    from ministack.core import lambda_runtime
    from ministack.services import ec2

    slow_ec2(ec2, args.address, args.switched_on)
    if args.calls:
        recorded(ec2, args.calls)
    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # not for /dev/null or a terminal
        threading.Thread(target=end_with_stdin, daemon=True).start()
    threading.Thread(target=say_when_ready, args=(endpoint,), daemon=True).start()
    sys.argv = sys.argv[:1]  # it has arguments of its own
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    try:
        app.main()
    finally:
        lambda_runtime.reset()  # the functions end with it


if __name__ == "__main__":
    main()
