#!/usr/bin/env python3
"""What has to hold of deploy/stack.yaml and the policies beside it, in every set-up that its parameters allow.

    target/lab/stack/bin/python tests/deploy/template.py [MC-IDLE]     MC-IDLE: the program, which then judges its settings

Prints a line for each thing shown; exits with 1 at the first that does not hold.
"""

import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

sys.dont_write_bytecode = True  # nothing generated among the sources
import cloudformation  # noqa: E402
import first_boot  # noqa: E402
from cloudformation import ACCOUNT, REGION, Stack  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = PROJECT / "deploy/stack.yaml"
LONGEST = 51_200  # bytes of a template that is sent with the request (CloudFormation quotas)
LONGEST_POLICY = 6_144  # characters of a managed policy (IAM quotas)
NEEDED = {
    "Server": "survival", "Bucket": "mc-idle-bucket", "LauncherKey": "survival/launcher.zip", "BundleKey": "survival/setup.tar.gz",
}
CHOICES = {
    "Mode": ["start", "launch"],
    "World": ["efs", "disk"],
    "FileSystemId": ["", "fs-0123456789abcdef0"],
    "Spot": ["false", "true"],
    "Shell": ["true", "false"],
    "BedrockPort": [0, 19132],
    "PageDomain": ["", "play.example.org"],
    "RecordName": ["", "mc.example.org"],
    "Email": ["", "me@example.org"],
}
ZONES = {"PageZoneId": "ZPAGE", "RecordZoneId": "ZRECORD"}
# AWS cannot limit these to a resource (Service Authorization Reference).
UNLIMITED = {
    "ec2:DescribeInstances", "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
}
# Beside what a role of EC2 or EventBridge can be told by.
UNLIMITED_DEPLOYER = {"acm:RequestCertificate", "elasticfilesystem:DescribeFileSystems", "logs:DescribeLogGroups"}
TAGGED = {
    "AWS::EC2::VPC", "AWS::EC2::InternetGateway", "AWS::EC2::RouteTable", "AWS::EC2::Subnet", "AWS::EC2::SecurityGroup",
    "AWS::IAM::Role", "AWS::Logs::LogGroup", "AWS::Lambda::Function", "AWS::CertificateManager::Certificate", "AWS::SNS::Topic",
}
# What has to be allowed to make a resource, and to delete it again.
MAKING = {
    "AWS::EC2::VPC": "ec2:CreateVpc ec2:ModifyVpcAttribute ec2:DeleteVpc",
    "AWS::EC2::InternetGateway": "ec2:CreateInternetGateway ec2:DeleteInternetGateway",
    "AWS::EC2::VPCGatewayAttachment": "ec2:AttachInternetGateway ec2:DetachInternetGateway",
    "AWS::EC2::RouteTable": "ec2:CreateRouteTable ec2:DeleteRouteTable",
    "AWS::EC2::Route": "ec2:CreateRoute ec2:DeleteRoute",
    "AWS::EC2::Subnet": "ec2:CreateSubnet ec2:ModifySubnetAttribute ec2:DeleteSubnet",
    "AWS::EC2::SubnetRouteTableAssociation": "ec2:AssociateRouteTable ec2:DisassociateRouteTable",
    "AWS::EC2::SecurityGroup": "ec2:CreateSecurityGroup ec2:AuthorizeSecurityGroupIngress ec2:AuthorizeSecurityGroupEgress "
    "ec2:RevokeSecurityGroupEgress ec2:DeleteSecurityGroup",
    "AWS::EC2::LaunchTemplate": "ec2:CreateLaunchTemplate ec2:CreateLaunchTemplateVersion ec2:DeleteLaunchTemplate",
    "AWS::EFS::FileSystem": "elasticfilesystem:CreateFileSystem elasticfilesystem:PutLifecycleConfiguration "
    "elasticfilesystem:PutBackupPolicy",
    "AWS::EFS::MountTarget": "elasticfilesystem:CreateMountTarget elasticfilesystem:DeleteMountTarget",
    "AWS::IAM::Role": "iam:CreateRole iam:PutRolePolicy iam:DeleteRolePolicy iam:DeleteRole",
    "AWS::IAM::Policy": "iam:PutRolePolicy iam:DeleteRolePolicy",
    "AWS::IAM::InstanceProfile": "iam:CreateInstanceProfile iam:AddRoleToInstanceProfile iam:RemoveRoleFromInstanceProfile "
    "iam:DeleteInstanceProfile",
    "AWS::Logs::LogGroup": "logs:CreateLogGroup logs:PutRetentionPolicy logs:DeleteLogGroup",
    "AWS::Lambda::Function": "lambda:CreateFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration "
    "lambda:DeleteFunction iam:PassRole s3:GetObject",
    "AWS::Lambda::EventInvokeConfig": "lambda:PutFunctionEventInvokeConfig lambda:DeleteFunctionEventInvokeConfig",
    "AWS::Lambda::Url": "lambda:CreateFunctionUrlConfig lambda:DeleteFunctionUrlConfig",
    "AWS::Lambda::Permission": "lambda:AddPermission lambda:RemovePermission",
    "AWS::Events::Rule": "events:PutRule events:PutTargets events:RemoveTargets events:DeleteRule",
    "AWS::CloudWatch::Alarm": "cloudwatch:PutMetricAlarm cloudwatch:DeleteAlarms",
    "AWS::CloudWatch::Dashboard": "cloudwatch:PutDashboard cloudwatch:DeleteDashboards",
    "AWS::SNS::Topic": "sns:CreateTopic sns:DeleteTopic",
    "AWS::SNS::Subscription": "sns:Subscribe sns:Unsubscribe",
    "AWS::CertificateManager::Certificate": "acm:RequestCertificate acm:DeleteCertificate",
    "AWS::ApiGatewayV2::Api": "apigateway:POST apigateway:DELETE",
    "AWS::ApiGatewayV2::Integration": "apigateway:POST",
    "AWS::ApiGatewayV2::Route": "apigateway:POST",
    "AWS::ApiGatewayV2::Stage": "apigateway:POST",
    "AWS::ApiGatewayV2::DomainName": "apigateway:POST",
    "AWS::ApiGatewayV2::ApiMapping": "apigateway:POST",
    "AWS::Route53::RecordSet": "route53:ChangeResourceRecordSets",
}


def fail(sentence):
    sys.exit(f"template.py: {sentence}")


def expect(so, sentence):
    if not so:
        fail(sentence)


def listed(value):
    return value if isinstance(value, list) else [value]


def set_ups(template):
    """Every combination of what changes the stack's shape that the template's rules allow."""
    for values in itertools.product(*CHOICES.values()):
        chosen = dict(zip(CHOICES, values, strict=True))
        zones = {name: zone for name, zone in ZONES.items() if chosen[name.replace("ZoneId", "Domain" if "Page" in name else "Name")]}
        stack = Stack(template, **NEEDED, **chosen, **zones)
        # A world on the disk would go with each evening's instance.
        lost = chosen["Mode"] == "launch" and chosen["World"] == "disk"
        expect(bool(stack.violated()) == lost, f"the template's rules say of {chosen}: {stack.violated()}")
        if not lost:
            yield chosen, stack


def statements(document):
    """Each right of a policy by itself: effect, action, resource, condition."""
    for each in document["Statement"]:
        for action in listed(each["Action"]):
            for resource in listed(each["Resource"]):
                yield each["Effect"], action, resource, json.dumps(each.get("Condition", {}), sort_keys=True)


def documents(stack, role):
    own = [each["PolicyDocument"] for each in stack.properties(role).get("Policies", [])]
    shared = [
        each["Properties"]["PolicyDocument"] for each in stack.of_type("AWS::IAM::Policy").values()
        if f"<{role}>" in each["Properties"]["Roles"]
    ]
    return own + shared


def rights(stack, role):
    return {right for document in documents(stack, role) for right in statements(document)}


def written_policy(name, stack):
    """launcher/iam/NAME.json with its placeholders filled in."""
    text = (PROJECT / f"launcher/iam/{name}.json").read_text()
    for placeholder, value in {
        "REGION": REGION, "ACCOUNT": ACCOUNT, "SERVER": "survival", "TEMPLATE": "<LaunchTemplate>", "INSTANCE_ROLE": "<InstanceRole>",
        f"arn:aws:sns:{REGION}:{ACCOUNT}:TOPIC": "<Topic>", "ZONE": "ZRECORD", '"RECORD"': '"mc.example.org"',
    }.items():
        text = text.replace(placeholder, value)
    document = json.loads(text)
    left_out = {"Tell": "Topic" not in stack.resources, "SetTheRecord": not stack.parameters["RecordName"]}
    document["Statement"] = [each for each in document["Statement"] if not left_out.get(each["Sid"], False)]
    return set(statements(document))


def of_the_page(chosen, stack):
    public = [
        each["Properties"] for each in stack.of_type("AWS::Lambda::Permission").values() if each["Properties"]["Principal"] == "*"
    ]
    url = stack.of_type("AWS::Lambda::Url")
    if chosen["PageDomain"]:
        expect(not public and not url, "with a domain, the page is open to the world by its function as well")
        (api,) = stack.of_type("AWS::ApiGatewayV2::Api").values()
        expect(api["Properties"]["DisableExecuteApiEndpoint"] is True, "the page has a second name beside its domain")
    else:
        expect(len(url) == 1, "the page has no address")
        wanted = [
            {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
            {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        ]
        have = [{key: value for key, value in each.items() if key not in ("FunctionName", "Principal")} for each in public]
        expect(sorted(map(str, have)) == sorted(map(str, wanted)), f"a public function URL needs both permissions; there are {have}")
    expect(
        all(each["FunctionName"] == "mc-launcher-survival-page" for each in public), "something beside the page is open to the world",
    )
    for name, each in stack.of_type("AWS::Lambda::Permission").items():
        principal = each["Properties"]["Principal"]
        expect(principal == "*" or each["Properties"].get("SourceArn"), f"{name} lets all of {principal} call a function")


def of_rights(chosen, stack):
    for role in stack.of_type("AWS::IAM::Role"):
        for _, action, resource, _ in rights(stack, role):
            expect("*" not in action, f"{role} may do all of {action}")
            expect(resource != "*" or action in UNLIMITED, f"{role} may do {action} on everything")
            # A star stands for an id that is not known yet, never for a part of a name of ours.
            of_aws = r":(instance|volume|network-interface|security-group|subnet|image|snapshot|key-pair)/\*$|/(launch/|survival/setup-)\*$|:log-group:[^*]+:\*$"
            expect("*" not in resource or resource == "*" or re.search(of_aws, resource), f"{role} may do {action} on {resource}")
    mode = chosen["Mode"]
    for role, name in (("PageRole", f"page-{mode}"), ("WardenRole", f"warden-{mode}")):
        have, written = rights(stack, role), written_policy(name, stack)
        expect(have == written, f"{role} is not as launcher/iam/{name}.json: {have ^ written}")
    of_instance = rights(stack, "InstanceRole")
    own = {action for _, action, _, _ in of_instance} - UNLIMITED
    stop = "ec2:TerminateInstances" if mode == "launch" else "ec2:StopInstances"
    expect(own == {stop, "ssm:PutParameter", "ssm:GetParameter", "s3:GetObject"}, f"the instance's role may do {own}")
    for _, action, resource, condition in of_instance:
        if action == stop:
            expect("instance/${ec2:InstanceID}" in condition, "the instance may stop others than itself")
        elif action.startswith(("ssm:Put", "ssm:Get")):
            expect(re.search(r"parameter/mc-idle/survival/(heartbeat|hold)$", resource), f"the instance may do {action} on {resource}")


def of_the_network(chosen, stack):
    expect(set(stack.of_type("AWS::EC2::SecurityGroup")) <= {"ServerGroup", "EfsGroup"}, "a security group that is not known here")
    wanted = [("tcp", 25565, "0.0.0.0/0")]
    if chosen["BedrockPort"]:
        wanted.append(("udp", 19132, "0.0.0.0/0"))
    have = []
    for rule in stack.properties("ServerGroup")["SecurityGroupIngress"]:
        expect(rule["FromPort"] == rule["ToPort"], f"a range of ports is open: {rule}")
        have.append((rule["IpProtocol"], rule["FromPort"], rule.get("CidrIp")))
    expect(have == wanted, f"open is {have}, and should be {wanted}")
    if chosen["World"] == "efs":
        (rule,) = stack.properties("EfsGroup")["SecurityGroupIngress"]
        (source,) = (value for key, value in rule.items() if key.startswith(("Cidr", "Source")))
        expect((rule["FromPort"], rule["ToPort"], source) == (2049, 2049, "<ServerGroup>"), f"EFS is open to {rule}")
        targets = stack.of_type("AWS::EFS::MountTarget").values()
        expect(all(each["Properties"]["SecurityGroups"] == ["<EfsGroup>"] for each in targets), "a mount target is open to others")
    expect(not stack.of_type("AWS::EC2::SecurityGroupIngress"), "a port is opened elsewhere")


def of_what_stays(chosen, stack):
    for name, each in stack.resources.items():
        keeps = {each.get("DeletionPolicy"), each.get("UpdateReplacePolicy")}
        if each["Type"] == "AWS::EFS::FileSystem":
            expect(keeps == {"Retain"}, f"{name}, with the world, goes with the stack")
            expect(each["Properties"]["Encrypted"] is True, f"{name} is not encrypted")
        else:
            expect(not keeps & {"Retain", "RetainExceptOnCreate"}, f"{name} stays when the stack goes, and costs")
    makes = chosen["World"] == "efs" and not chosen["FileSystemId"]
    expect(bool(stack.of_type("AWS::EFS::FileSystem")) == makes, "a file system is made where none should be, or the other way round")
    # An update of the stack must not replace or stop a machine under a player.
    expect(not stack.of_type("AWS::EC2::Instance"), "an update of the stack could stop the instance")


def of_tags(_, stack):
    wanted = {"Key": "mc-idle:server", "Value": "survival"}
    for name, each in stack.resources.items():
        tags = each["Properties"].get("Tags") or each["Properties"].get("FileSystemTags") or []
        if each["Type"] in TAGGED | {"AWS::EFS::FileSystem"}:
            expect(wanted in tags, f"{name} does not carry the tag mc-idle:server")
    (own,) = stack.properties("LaunchTemplate")["TagSpecifications"]
    expect(wanted in own["Tags"], "the launch template does not carry the tag mc-idle:server")
    specs = stack.properties("LaunchTemplate")["LaunchTemplateData"]["TagSpecifications"]
    tagged = {spec["ResourceType"] for spec in specs if wanted in spec["Tags"]}
    expect(tagged == {"instance", "volume"}, f"what is launched carries no tag mc-idle:server: {tagged}")


def of_the_instance(chosen, stack):
    data = stack.properties("LaunchTemplate")["LaunchTemplateData"]
    launches, spot = chosen["Mode"] == "launch", chosen["Spot"] == "true"
    expect(data["MetadataOptions"]["HttpTokens"] == "required", "IMDSv1 answers")
    expect(data["InstanceInitiatedShutdownBehavior"] == ("terminate" if launches else "stop"), "a poweroff does what it should not")
    (disk,) = data["BlockDeviceMappings"]
    expect(disk["Ebs"]["Encrypted"] is True, "the disk is not encrypted")
    expect(disk["Ebs"]["DeleteOnTermination"] is (chosen["World"] == "efs"), "a world on the disk goes with the instance, or a disk without one stays")
    market = data.get("InstanceMarketOptions")
    expect(bool(market) == spot, "spot is not as it was asked for")
    if spot:
        options = market["SpotOptions"]
        wanted = ("one-time", "terminate") if launches else ("persistent", "stop")
        have = options["SpotInstanceType"], options["InstanceInterruptionBehavior"]
        expect(have == wanted, f"mc-idle could not {'terminate' if launches else 'stop'} this spot instance: {have}")
    # The launcher names a subnet of its own, which EC2 refuses beside network interfaces of the template.
    expect("NetworkInterfaces" not in data, "the template has network interfaces, so no subnet can be chosen at a launch")
    settings = stack.properties("Page")["Environment"]["Variables"]
    expect(("MC_SUBNETS" in settings) == launches, "MC_SUBNETS is not as the mode needs it")
    if launches:
        expect(settings["MC_LAUNCH_TEMPLATE"] == "<LaunchTemplate>:LaunchTemplate.LatestVersionNumber", "no version is named")
    own = {"MC_ROLE"}
    warden = stack.properties("Warden")["Environment"]["Variables"]
    expect({k: v for k, v in settings.items() if k not in own} == {k: v for k, v in warden.items() if k not in own}, "page and warden differ")


def of_user_data(chosen, stack, program):
    text = stack.properties("LaunchTemplate")["LaunchTemplateData"]["UserData"]
    expect(text.startswith("#cloud-config\n") and len(text) < 16_384, "no cloud-config, or too long")
    data = yaml.safe_load(text)
    files = {each["path"]: each for each in data["write_files"]}
    ((device, folder, kind, *_),) = data["mounts"]
    wanted = ("/srv/minecraft", "none")
    if chosen["World"] == "efs":
        wanted = (f"{chosen['FileSystemId'] or '<FileSystem>'}:/", "efs")
    expect((device, kind) == wanted and folder == "/mnt/efs", f"the world would be on {data['mounts']}")
    (script,) = (path for path in files if path.startswith("/var/lib/cloud/scripts/per-boot/"))
    expect(files[script]["permissions"] == "0755", f"{script} cannot be run")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "first-boot"
        file.write_text(files[script]["content"])
        for check in (["bash", "-n"], ["shellcheck", "--severity=error"]):
            if shutil.which(check[0]):
                done = subprocess.run([*check, file], capture_output=True, text=True, check=False)
                expect(done.returncode == 0, f"{' '.join(check)}: {done.stdout}{done.stderr}")
        for trouble in first_boot.troubles(files[script]["content"], Path(name) / "machine"):
            fail(trouble)
        site = Path(name) / "config.toml"
        site.write_text(files["/etc/mc-idle/config.d/50-site.toml"]["content"])
        if program:
            done = subprocess.run([program, "check", "--offline", "--config", site], capture_output=True, text=True, check=False)
            expect(done.returncode != 78, f"mc-idle refuses its settings: {done.stdout}{done.stderr}")
    content = files["/etc/mc-idle/config.d/50-site.toml"]["content"]
    action = "terminate" if chosen["Mode"] == "launch" else "stop"
    expect(f'action = "{action}"' in content, f"mc-idle would not {action}")
    for name in ("heartbeat", "hold"):
        expect(f'parameter = "/mc-idle/survival/{name}"' in content, f"{name} is not where the launcher looks for it")


def of_the_deployer(template):
    allowed = set()
    for name in ("deployer", "deployer-launcher", "deployer-domain"):
        document = json.loads((PROJECT / f"deploy/iam/{name}.json").read_text())
        expect(len(json.dumps(document, separators=(",", ":"))) <= LONGEST_POLICY, f"deploy/iam/{name}.json is too long for a policy")
        for effect, action, resource, _ in statements(document):
            expect(effect == "Allow" and "*" not in action, f"deploy/iam/{name}.json allows all of {action}")
            free = action in UNLIMITED_DEPLOYER or action.startswith("ec2:Describe")
            expect(resource != "*" or free, f"deploy/iam/{name}.json allows {action} on everything")
            allowed.add(action)
    for kind in {each["Type"] for each in template["Resources"].values()}:
        expect(kind in MAKING, f"what a deployer needs for {kind} is not known here")
        missing = set(MAKING[kind].split()) - allowed
        expect(not missing, f"a deployer cannot make and delete {kind}: {missing} is not allowed")
    world = {"elasticfilesystem:DeleteFileSystem", "ec2:DeleteVolume"} & allowed
    expect(not world, f"a deployer may delete worlds: {world}")


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else None
    text = TEMPLATE.read_text()
    expect(len(text.encode()) < LONGEST, f"the template has {len(text.encode())} bytes, more than {LONGEST} are not taken")
    aliases = [token for token in yaml.scan(text, cloudformation.Loader) if isinstance(token, (yaml.AliasToken, yaml.AnchorToken))]
    expect(not aliases, "CloudFormation knows no aliases (user guide, template formats)")
    template = cloudformation.read(TEMPLATE)

    scripts = "".join((PROJECT / "deploy" / name).read_text() for name in ("deploy.sh", "undeploy.sh", "summary.sh"))
    for name in template["Outputs"]:
        expect(re.search(rf"\b(output|field) {name}\b", scripts), f"nobody uses the output {name}")
    for used in re.findall(r"\boutput ([A-Z]\w+)", scripts):
        expect(used in template["Outputs"], f"a script uses the output {used}, which there is not")
    print(f"each of {len(template['Outputs'])} outputs is used by make deploy or make undeploy")

    checks = [of_the_page, of_rights, of_the_network, of_what_stays, of_tags, of_the_instance]
    count, judged = 0, set()
    for chosen, stack in set_ups(template):
        for check in checks:
            check(chosen, stack)
        shape = (chosen["Mode"], chosen["World"], chosen["FileSystemId"])
        if shape not in judged:
            judged.add(shape)
            of_user_data(chosen, stack, program)
        count += 1
    for name, zone in (("PageDomain", "play.example.org"), ("RecordName", "mc.example.org")):
        expect(Stack(template, **NEEDED, **{name: zone}).violated(), f"{name} is taken without its zone")
    print(f"{count} set-ups: open are the game and the page only; each role may do what launcher/iam says, and no more")
    print("the page's function URL has both permissions; EFS stays, and nothing else does; everything is tagged")
    print(f"{len(judged)} kinds of user data: cloud-config, settings that mc-idle takes, a script that is tried again until all is set up")
    of_the_deployer(template)
    print("whoever has deploy/iam may make and delete each kind of resource, and no world")


if __name__ == "__main__":
    main()
