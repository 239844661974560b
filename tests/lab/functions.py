"""mc-launcher as two functions of Lambda: what docs/launcher.md has its deployer do."""

import io
import json
import platform
import zipfile


def package(binary):
    """The .zip of a function: the program by the name that Lambda calls."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, binary.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return memory.getvalue()


def create_functions(account, binary, settings):
    """`page` with a URL, whose host is returned, and `warden`, woken each minute instead of every five."""
    code, functions = package(binary), account.client("lambda")
    by = ["lambda.amazonaws.com", "scheduler.amazonaws.com"]
    trust = {"Effect": "Allow", "Principal": {"Service": by}, "Action": "sts:AssumeRole"}
    role = account.client("iam").create_role(
        RoleName="mc-launcher", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    architecture = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    for name, timeout in (("page", 10), ("warden", 180)):
        made = functions.create_function(
            FunctionName=name, Runtime="provided.al2023", Handler="bootstrap", Role=role, Code={"ZipFile": code},
            Timeout=timeout, MemorySize=256, Architectures=[architecture],
            Environment={"Variables": settings | {"MC_ROLE": name}},
        )
    account.client("scheduler").create_schedule(
        Name="warden", ScheduleExpression="rate(1 minute)", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": made["FunctionArn"], "RoleArn": role},
    )
    url = functions.create_function_url_config(FunctionName="page", AuthType="NONE")["FunctionUrl"]
    return url.removeprefix("https://").rstrip("/")
