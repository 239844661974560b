# A disk from Debian 12, for QEMU: the same provisioning, without an account. packer/debian/build.sh makes what it starts
# from.

source "qemu" "mc-idle" {
  iso_url          = var.base_image
  iso_checksum     = "none"
  disk_image       = true
  disk_interface   = "virtio"
  disk_size        = "4096M"
  format           = "qcow2"
  output_directory = var.output_folder
  vm_name          = "mc-idle.qcow2"

  accelerator  = var.accelerator
  machine_type = "q35"
  net_device   = "virtio-net"
  headless     = true
  boot_wait    = "1s"
  qemuargs = [
    ["-cpu", "max"],
    ["-smp", "2"],
    ["-m", "1024"],
    ["-serial", "file:${var.output_folder}.console"],
    # Where cloud-init finds the seed, for this boot only.
    ["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/"],
  ]

  http_directory       = var.seed_folder
  ssh_username         = "debian"
  ssh_private_key_file = var.ssh_key
  # In software emulation a boot takes about a minute.
  ssh_timeout            = "15m"
  ssh_handshake_attempts = 100
  shutdown_command       = "sudo -n systemctl poweroff"
  shutdown_timeout       = "10m"
}
