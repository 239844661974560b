"""RunInstances with a launch template, for ministack's EC2, which takes no notice of one.

As in EC2 (API reference, RunInstances): what the template says holds where the request says nothing.
"""


def filled(ec2, request):
    """`request`, the parameters of a RunInstances, with what its launch template says. Names of ministack's: of the pinned version."""
    template_id, name = ec2._p(request, "LaunchTemplate.LaunchTemplateId"), ec2._p(request, "LaunchTemplate.LaunchTemplateName")
    if not template_id and not name:
        return request
    found = [
        template for template in ec2._launch_templates.values()
        if template_id == template["LaunchTemplateId"] or name == template["LaunchTemplateName"]
    ]
    if not found:
        return request
    template = found[0]
    version = ec2._p(request, "LaunchTemplate.Version") or "$Default"
    number = {"$Default": template["DefaultVersionNumber"], "$Latest": template["LatestVersionNumber"]}.get(version, version)
    data = next(
        each["LaunchTemplateData"] for each in template["Versions"] if int(each["VersionNumber"]) == int(number)
    )
    said = {
        "ImageId": data.get("ImageId"), "InstanceType": data.get("InstanceType"), "UserData": data.get("UserData"),
        "IamInstanceProfile.Arn": (data.get("IamInstanceProfile") or {}).get("Arn"),
    }
    for place, group in enumerate(data.get("SecurityGroupIds") or [], 1):
        said[f"SecurityGroupId.{place}"] = group
    for place, spec in enumerate(data.get("TagSpecifications") or [], 1):
        said[f"TagSpecification.{place}.ResourceType"] = spec["ResourceType"]
        own = [
            {"Key": "aws:ec2launchtemplate:id", "Value": template["LaunchTemplateId"]},
            {"Key": "aws:ec2launchtemplate:version", "Value": str(number)},
        ] if spec["ResourceType"] == "instance" else []
        for order, tag in enumerate(spec["Tags"] + own, 1):
            said[f"TagSpecification.{place}.Tag.{order}.Key"] = tag["Key"]
            said[f"TagSpecification.{place}.Tag.{order}.Value"] = tag["Value"]
    for place, disk in enumerate(data.get("BlockDeviceMappings") or [], 1):
        said |= {f"BlockDeviceMapping.{place}.Ebs.{name}": str(value).lower() for name, value in disk["Ebs"].items()}
    return {key: [value] for key, value in said.items() if value} | request


def tags_of(ec2, request, kind):
    """The tags that a request has for what it makes of this kind."""
    tags, place = [], 1
    while found := ec2._p(request, f"TagSpecification.{place}.ResourceType"):
        order = 1
        while found == kind and (key := ec2._p(request, f"TagSpecification.{place}.Tag.{order}.Key")):
            tags.append({"Key": key, "Value": ec2._p(request, f"TagSpecification.{place}.Tag.{order}.Value")})
            order += 1
        place += 1
    return tags
