# $1: how many versions of the package remain.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart mc-broker.service || :
    else
        # Otherwise a failed service would stay in systemd's list.
        systemctl reset-failed mc-broker.service 2>/dev/null || :
    fi
fi
journalctl --update-catalog || :
if [ "$1" -eq 0 ]; then
    # The package does not own the folders: cargo-generate-rpm packs only files.
    rmdir --ignore-fail-on-non-empty /etc/mc-broker/config.d /etc/mc-broker 2>/dev/null || :
fi
