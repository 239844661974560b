"""The policies in packer/iam and launcher/iam, and what else is JSON there: as docs/security.md has them, in a form that AWS takes, and enforced
as far as moto can: it knows actions, but neither resources nor conditions, so those are checked by reading here.

    target/lab/venv/bin/python tests/packer/policies.py
"""

import base64
import json
import os
import re
import sys
from pathlib import Path

os.environ.update(AWS_DEFAULT_REGION="eu-west-1", AWS_EC2_METADATA_DISABLED="true")

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

PROJECT = Path(__file__).parents[2]
IAM = PROJECT / "packer" / "iam"
LAUNCHER = PROJECT / "launcher" / "iam"

# What the instance's role may do, and to what. What the launcher's roles may, and to what, is read by tests/launcher/policies.rs.
INSTANCE = {
    "ec2:StopInstances": "arn:aws:ec2:*:*:instance/*",
    "ssm:PutParameter": [f"arn:aws:ssm:REGION:ACCOUNT:parameter/mc-idle/*/{name}" for name in ("heartbeat", "instance-id")],
}
CONDITIONS = {
    "ec2:StopInstances": {"ArnLike": {"ec2:SourceInstanceARN": "arn:aws:ec2:*:*:instance/${ec2:InstanceID}"}},
}
# Each role's policy, who takes it on, and what it may do; an action that is not here is refused.
PAGE = {"ec2:StartInstances", "ec2:DescribeInstances", "ssm:GetParameter", "ssm:PutParameter"}
ROLES = {
    "instance": (IAM / "instance-role.json", IAM / "instance-trust.json", "ec2", set(INSTANCE)),
    "page": (LAUNCHER / "page-start.json", LAUNCHER / "trust.json", "lambda", PAGE),
    "warden": (LAUNCHER / "warden-start.json", LAUNCHER / "trust.json", "lambda", PAGE | {"ec2:StopInstances"}),
}


def load(path):
    return json.loads(path.read_text())


def the_documentation_has_the_same():
    page = (PROJECT / "docs" / "security.md").read_text()
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert load(IAM / "instance-role.json") in shown, "the policy in docs/security.md is not that of packer/iam/instance-role.json"


def statements_are_as_narrow_as_they_should_be():
    policy = load(IAM / "instance-role.json")
    assert policy["Version"] == "2012-10-17"  # without it ${…} is plain text
    found = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow" and isinstance(statement["Action"], str), statement
        found[statement["Action"]] = statement["Resource"]
        wanted = CONDITIONS.get(statement["Action"])
        assert statement.get("Condition") == wanted, f"{statement['Action']}: {statement.get('Condition')}"
    assert found == INSTANCE, found
    for _, trust, service, _ in ROLES.values():
        trusted = load(trust)["Statement"]
        assert [one["Principal"] for one in trusted] == [{"Service": f"{service}.amazonaws.com"}], trusted


def call(client, action, **parameters):
    """The code that AWS answers with, "" for a success."""
    try:
        getattr(client, action)(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


@mock_aws
def actions_are_enforced():
    ec2, ssm, iam, sts = (boto3.client(name) for name in ("ec2", "ssm", "iam", "sts"))
    image = ec2.describe_images()["Images"][0]["ImageId"]
    mine = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ssm.put_parameter(Name="/mc-idle/survival/heartbeat", Value="{}", Type="String")
    attempts = {
        "ec2:StopInstances": (ec2, "stop_instances", {"InstanceIds": [mine]}),
        "ec2:StartInstances": (ec2, "start_instances", {"InstanceIds": [mine]}),
        "ec2:TerminateInstances": (ec2, "terminate_instances", {"InstanceIds": [mine]}),
        "ec2:RebootInstances": (ec2, "reboot_instances", {"InstanceIds": [mine]}),
        "ec2:DescribeInstances": (ec2, "describe_instances", {}),
        "ec2:RunInstances": (ec2, "run_instances", {"ImageId": image, "MinCount": 1, "MaxCount": 1}),
        "ec2:CreateTags": (ec2, "create_tags", {"Resources": [mine], "Tags": [{"Key": "mc-idle", "Value": "server"}]}),
        "ssm:PutParameter": (
            ssm, "put_parameter",
            {"Name": "/mc-idle/survival/heartbeat", "Value": "{}", "Type": "String", "Overwrite": True},
        ),
        "ssm:GetParameter": (ssm, "get_parameter", {"Name": "/mc-idle/survival/heartbeat"}),
        "ssm:DeleteParameter": (ssm, "delete_parameter", {"Name": "/mc-idle/survival/heartbeat"}),
        "iam:ListRoles": (iam, "list_roles", {}),
    }
    for role, (policy, trust, _, allowed) in ROLES.items():
        name = f"mc-idle-{role}"
        policy = load(policy)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust.read_text())
        # In AWS's form: moto refuses policies that IAM would.
        iam.put_role_policy(RoleName=name, PolicyName="shipped", PolicyDocument=json.dumps(policy))
        iam.delete_role_policy(RoleName=name, PolicyName="shipped")
        for statement in policy["Statement"]:  # what moto cannot judge
            statement["Resource"] = "*"
            statement.pop("Condition", None)
        iam.put_role_policy(RoleName=name, PolicyName="actions", PolicyDocument=json.dumps(policy))
        assumed = sts.assume_role(RoleArn=f"arn:aws:iam::123456789012:role/{name}", RoleSessionName=mine)["Credentials"]
        session = boto3.Session(assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"])
        for action, (client, method, parameters) in attempts.items():
            client = session.client(client.meta.service_model.service_name)
            enforced(action in allowed, role, action, lambda: call(client, method, **parameters))


@set_initial_no_auth_action_count(0)
def enforced(allowed, role, action, attempt):
    code = attempt()
    refused = code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")  # moto's for SSM
    assert code == "" or refused, f"{role}: {action}: {code}"
    assert refused != allowed, f"the role of the {role} {'cannot' if refused else 'can'} {action}"


@mock_aws
def the_launch_template_is_taken():
    path = PROJECT / "packer" / "launch-template.json"
    data = load(path)
    # Nothing that the page does not say what to put there.
    page = (PROJECT / "docs" / "by-hand.md").read_text()
    for word in re.findall(r'"([A-Z][A-Z_]+)"', path.read_text()):
        assert re.search(rf"s([/|]){word}\1", page), f"docs/by-hand.md puts nothing in the place of {word}"
    assert data["InstanceInitiatedShutdownBehavior"] == "stop"
    options = data["MetadataOptions"]
    assert options == {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1}, options
    user_data = (PROJECT / "packer" / "user-data.yaml").read_bytes()
    data["UserData"] = base64.b64encode(user_data).decode()
    assert len(user_data) <= 16 * 1024, "EC2 takes 16 KiB of user data"
    # botocore refuses keys and types that EC2 does not know.
    boto3.client("ec2").create_launch_template(LaunchTemplateName="survival", LaunchTemplateData=data)


def user_data_is_what_cloud_init_takes():
    import yaml

    text = (PROJECT / "packer" / "user-data.yaml").read_text()
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert set(data) == {"mounts", "write_files", "runcmd"}, set(data)
    (source, at, kind, options, dump, check), = data["mounts"]
    assert (at, kind, dump, check) == ("/mnt/efs", "efs", "0", "0"), data["mounts"]
    assert options.split(",") == ["_netdev", "nofail", "tls", "noresvport"], options
    assert source.endswith(":/")
    paths = [file["path"] for file in data["write_files"]]
    assert paths == ["/etc/mc-idle/config.d/50-site.toml", "/etc/default/minecraft-survival"], paths
    assert "eula" not in json.dumps(data).lower(), "the EULA is the owner's to accept"


for check in (
    the_documentation_has_the_same,
    statements_are_as_narrow_as_they_should_be,
    actions_are_enforced,
    the_launch_template_is_taken,
    user_data_is_what_cloud_init_takes,
):
    try:
        check()
    except Exception as error:
        sys.exit(f"{check.__name__}: {type(error).__name__}: {error}")
    print("ok", check.__name__)
