#!/usr/bin/env python3
"""deploy/stack.yaml and the policies beside it, judged by tools that others wrote: cfn-lint and checkov.

    target/lab/stack/bin/python tests/deploy/lint.py

Prints a line for each thing shown; exits with 1 and what a tool says where one complains. tests/deploy/checkov.yaml lists what
checkov finds and is meant to be so; a line of it that is not needed any more is a complaint, too.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = PROJECT / "deploy/stack.yaml"
TOOLS = Path(sys.executable).parent
# It reads an empty FileSystemId into a place that only another one can reach, since MakesEfs stands before it.
IGNORED = "W1030"


def cfn_lint(file):
    done = subprocess.run(
        [TOOLS / "cfn-lint", "--ignore-checks", IGNORED, "--", file], capture_output=True, text=True, check=False,
    )
    if done.returncode:
        sys.exit(f"cfn-lint:\n{done.stdout}{done.stderr}")


def policies_in_a_template(folder):
    """cfn-lint knows each action of AWS, but looks at policies in templates only."""
    resources = {}
    for file in sorted((PROJECT / "deploy/iam").glob("*.json")):
        text = file.read_text()
        for placeholder, value in {"REGION": "eu-central-1", "ACCOUNT": "123456789012", "ZONE": "Z0123456789"}.items():
            text = text.replace(placeholder, value)
        name = "".join(part.title() for part in file.stem.split("-"))
        resources[name] = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": json.loads(text)}}
    template = Path(folder) / "policies.json"
    template.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, indent=1))
    return template


def checkov():
    """Each finding that there is, accepted or not, by its id."""
    done = subprocess.run(
        [TOOLS / "checkov", "--framework", "cloudformation", "--skip-download", "--compact", "--output", "json", "-f", TEMPLATE],
        capture_output=True, text=True, check=False,
    )
    try:
        results = json.loads(done.stdout)["results"]
    except (json.JSONDecodeError, KeyError, TypeError):
        sys.exit(f"checkov said nothing that could be read:\n{done.stdout}{done.stderr[-2000:]}")
    return {each["check_id"]: f"{each['resource']}: {each['check_name']}" for each in results["failed_checks"]}, len(results["passed_checks"])


def main():
    cfn_lint(TEMPLATE)
    print("cfn-lint has nothing to say about deploy/stack.yaml")
    with tempfile.TemporaryDirectory() as folder:
        cfn_lint(policies_in_a_template(folder))
    print("cfn-lint knows every action in deploy/iam")
    text = (PROJECT / "tests/deploy/checkov.yaml").read_text()
    accepted = set(yaml.safe_load(text)["skip-check"])
    findings, passed = checkov()
    if new := {key: value for key, value in findings.items() if key not in accepted}:
        sys.exit("checkov:\n" + "\n".join(f"{key} {value}" for key, value in new.items()))
    if stale := accepted - set(findings):
        sys.exit(f"tests/deploy/checkov.yaml accepts what checkov does not find: {', '.join(sorted(stale))}")
    print(f"checkov: {passed} passed; {len(accepted)} findings are accepted, each with its reason")


if __name__ == "__main__":
    main()
