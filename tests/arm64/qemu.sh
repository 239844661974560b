#!/bin/sh
# What starts a program for arm64 in place of the kernel, with the libraries that programs for arm64 are linked with.
exec qemu-aarch64 -L /usr/aarch64-linux-gnu "$@"
