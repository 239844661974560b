"""The disks of machines, for ministack's EC2, which keeps each as it is for ever.

As in EC2 (API reference, EbsBlockDevice): a disk has the size and the tags that it was asked for with, and at its machine's
termination it goes, or becomes available if it was to stay.
"""

from launch_template import tags_of


def as_asked_for(ec2, request, machines):
    """What `request`, the parameters of a RunInstances, says of the disk of these new machines. Names of ministack's."""
    asked = "BlockDeviceMapping.1.Ebs."
    for machine in machines:
        disk = ec2._volumes[machine["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]]
        if size := ec2._p(request, asked + "VolumeSize"):
            disk["Size"] = int(size)
        if ec2._p(request, asked + "DeleteOnTermination") == "false":
            disk["Attachments"][0]["DeleteOnTermination"] = False
        ec2._tags[disk["VolumeId"]] = tags_of(ec2, request, "volume")


def let_go(ec2, instance_id):
    """At the termination of the machine."""
    for disk in [each for each in ec2._volumes.values() if any(one["InstanceId"] == instance_id for one in each["Attachments"])]:
        if disk["Attachments"][0]["DeleteOnTermination"]:
            del ec2._volumes[disk["VolumeId"]]
        else:
            disk.update(State="available", Attachments=[])
