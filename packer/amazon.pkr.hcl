# An AMI from the newest Amazon Linux 2023. Needs Packer 1.8 or later (`packer init packer` fetches its plugins); what older
# ones do not know stands between the marks.

locals {
  # What the package was built for, so that an AMI cannot get one of another architecture.
  suffix       = regex_replace(basename(var.package), "^.+[._](x86_64|aarch64|amd64|arm64)[.](rpm|deb)$", "$1")
  architecture = { x86_64 = "x86_64", amd64 = "x86_64", aarch64 = "arm64", arm64 = "arm64" }[local.suffix]
  # Small: they only build.
  builder = { arm64 = "t4g.small", x86_64 = "t3.small" }[local.architecture]
  time    = formatdate("YYYYMMDD-hhmmss", timestamp())
}

source "amazon-ebs" "mc-idle" {
  region          = var.region
  subnet_id       = var.subnet_id
  instance_type   = local.builder
  ami_name        = "${var.ami_name}-${local.architecture}-${local.time}"
  ami_description = "Minecraft server on EFS that stops itself when nobody plays (mc-idle, Amazon Linux 2023)"
  ssh_username    = "ec2-user"

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      # Not al2023-ami-minimal-* nor al2023-ami-ecs-*.
      name                = "al2023-ami-2023.*-kernel-*-${local.architecture}"
      architecture        = local.architecture
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    volume_size           = var.volume_gib
    delete_on_termination = true
    encrypted             = true
  }

  # No role: the builder needs no AWS. Tags say what is left over, should a build be broken off.
  run_tags = { Name = "mc-idle image build" }
  tags = {
    Name       = var.ami_name
    source-ami = "{{ .SourceAMIName }}"
    package    = basename(var.package)
  }

  # packer >= 1.8
  temporary_key_pair_type = "ed25519"
  # IMDSv2 and nothing else: for the builder, and for every instance of the AMI that does not say otherwise.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
  # packer >= 1.8 end
}
