variable "package" {
  type        = string
  description = "The package of mc-idle to install: the .rpm for Amazon Linux, the .deb for Debian (make packages). The AMI is for the processor in its name."

  validation {
    condition     = regex_replace(var.package, "^.+([.](x86_64|aarch64)[.]rpm|_(amd64|arm64)[.]deb)$", "ok") == "ok"
    error_message = "The package must be a .rpm (for Amazon Linux) or a .deb (for Debian), named as by make packages: with its architecture at the end."
  }
}

variable "region" {
  type        = string
  default     = "eu-central-1"
  description = "The AWS region that the AMI is built in, and belongs to."

  validation {
    condition     = regex_replace(var.region, "^[a-z]{2}(-[a-z]+)+-[0-9]$", "ok") == "ok"
    error_message = "The region must be the name of an AWS region, such as eu-central-1."
  }
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "The subnet of the builder, with a way to the package repositories; empty: one of the default VPC."

  validation {
    condition     = regex_replace(var.subnet_id, "^(subnet-[0-9a-f]{8,17})?$", "") == ""
    error_message = "The subnet_id must be empty or look like subnet-0123456789abcdef0."
  }
}

variable "ami_name" {
  type        = string
  default     = "mc-idle"
  description = "What the AMI's name begins with; architecture and time are added."

  validation {
    condition     = regex_replace(var.ami_name, "^[A-Za-z0-9()./_-]{3,90}$", "ok") == "ok"
    error_message = "The ami_name must have 3 to 90 letters, digits or characters of ()./_- in it."
  }
}

variable "volume_gib" {
  type        = number
  default     = 8
  description = "The size of the AMI's root volume, in GiB. The world is on EFS, not there."

  validation {
    condition     = var.volume_gib >= 8 && var.volume_gib <= 1024 && floor(var.volume_gib) == var.volume_gib
    error_message = "The volume_gib must be a whole number from 8 to 1024."
  }
}

variable "base_image" {
  type        = string
  default     = "target/image/base.qcow2"
  description = "The disk that the qemu build starts from: what packer/debian/base.sh makes."

  validation {
    condition     = regex_replace(var.base_image, "^.+[.]qcow2$", "ok") == "ok"
    error_message = "The base_image must be the path of a .qcow2 file."
  }
}

variable "output_folder" {
  type        = string
  default     = "target/image/build"
  description = "The folder that the qemu build makes its disk in; it must not be there yet."

  validation {
    condition     = length(var.output_folder) > 0
    error_message = "The output_folder must not be empty."
  }
}

variable "seed_folder" {
  type        = string
  default     = "target/image/seed"
  description = "The cloud-init seed of the qemu build (meta-data, user-data): lets Packer in, stays out of the image."

  validation {
    condition     = length(var.seed_folder) > 0
    error_message = "The seed_folder must not be empty."
  }
}

variable "ssh_key" {
  type        = string
  default     = "target/image/key"
  description = "The private key that the seed's user-data lets in; for the qemu build only."

  validation {
    condition     = length(var.ssh_key) > 0
    error_message = "The ssh_key must be the path of a private key."
  }
}

variable "accelerator" {
  type        = string
  default     = "tcg"
  description = "How QEMU runs the guest: tcg (software, everywhere) or kvm (needs a usable /dev/kvm)."

  validation {
    condition     = contains(["tcg", "kvm"], var.accelerator)
    error_message = "The accelerator must be tcg or kvm."
  }
}
