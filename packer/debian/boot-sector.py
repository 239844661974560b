#!/usr/bin/env python3
"""Puts GRUB on a disk with a GPT: boot.img into the first sector, core.img into the BIOS boot partition.

Usage: boot-sector.py BOOT.IMG CORE.IMG DISK FIRST-SECTOR SECTORS    (of the BIOS boot partition)

The offsets are those of grub/i386/pc/boot.h.
"""

import struct
import sys

SECTOR = 512
KERNEL_SECTOR = 0x5C  # in boot.img: where core.img begins
DRIVE_CHECK = 0x66  # in boot.img: a jump that disks do not take
PARTITION_TABLE = 0x1B8  # in the disk's first sector: stays as it is
FIRST_LIST = SECTOR - 12  # in core.img's first sector: where the rest of it is


def main():
    boot_path, core_path, disk_path, first, sectors = sys.argv[1:]
    first, sectors = int(first), int(sectors)
    with open(boot_path, "rb") as file:
        boot = bytearray(file.read(SECTOR))
    with open(core_path, "rb") as file:
        core = bytearray(file.read())
    if len(core) > sectors * SECTOR:
        sys.exit(f"boot-sector.py: {core_path} has {len(core)} bytes, the partition only {sectors * SECTOR}")
    struct.pack_into("<Q", boot, KERNEL_SECTOR, first)
    boot[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
    struct.pack_into("<Q", core, FIRST_LIST, first + 1)
    with open(disk_path, "r+b") as disk:
        table = disk.read(SECTOR)[PARTITION_TABLE:]
        disk.seek(0)
        disk.write(boot[:PARTITION_TABLE] + table)
        disk.seek(first * SECTOR)
        disk.write(core)


main()
