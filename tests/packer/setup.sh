#!/bin/bash
# Installs what the tests of the image's template need. Run as root on Debian; the second run does nothing.
set -euo pipefail

missing=()
command -v packer >/dev/null || missing+=(packer)
command -v ssh-keygen >/dev/null || missing+=(openssh-client)
if [ ${#missing[@]} != 0 ]; then
    echo "setup: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi
