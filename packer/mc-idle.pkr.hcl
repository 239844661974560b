# The golden image of a Minecraft server that stops itself, from two starting points with the same provisioning:
#   amazon-ebs   an AMI from Amazon Linux 2023 (amazon.pkr.hcl)
#   qemu         a disk from Debian 12, to try everything without an account (qemu.pkr.hcl, make image)
# Run Packer in the project's folder: paths are relative to it. Nothing of a site is in the image: see user-data.yaml.

build {
  sources = ["source.amazon-ebs.mc-idle", "source.qemu.mc-idle"]

  # While cloud-init is at work, package databases may be locked. Its failures are shown; the build goes on.
  provisioner "shell" {
    inline = [
      "echo waiting for cloud-init",
      "sudo -n cloud-init status --wait >/dev/null || sudo -n cloud-init status --long || true",
      # Everything goes through one folder, which seal.sh removes.
      "mkdir -m 700 /tmp/mc-idle-image",
    ]
  }
  provisioner "file" {
    source      = var.package
    destination = "/tmp/mc-idle-image/${basename(var.package)}"
  }
  provisioner "file" {
    sources = [
      "systemd/minecraft@.service",
      "systemd/minecraft-server",
      "systemd/minecraft.sysusers",
      "packer/cloud-init.conf",
    ]
    destination = "/tmp/mc-idle-image/"
  }
  provisioner "shell" {
    execute_command = "sudo -n env {{ .Vars }} bash '{{ .Path }}'"
    script          = "packer/scripts/install.sh"
  }
  # Last: nothing may be left behind, and the build fails when something is.
  provisioner "shell" {
    execute_command = "sudo -n env {{ .Vars }} bash '{{ .Path }}'"
    scripts         = ["packer/scripts/seal.sh", "packer/scripts/validate.sh"]
  }
}
