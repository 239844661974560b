# $1: how many versions of the package remain.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart mc-idle.service || :
    else
        # Otherwise a failed service would stay in systemd's list.
        systemctl reset-failed mc-idle.service 2>/dev/null || :
    fi
fi
journalctl --update-catalog || :
if [ "$1" -eq 0 ]; then
    # The clocks and holds outlive the service, but not the package.
    rm -rf /run/mc-idle || :
    # The package does not own the folders: cargo-generate-rpm packs only files.
    rmdir --ignore-fail-on-non-empty /etc/mc-idle/config.d /etc/mc-idle 2>/dev/null || :
fi
