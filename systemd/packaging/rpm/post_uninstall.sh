# $1: how many versions of the package stay.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart mc-idle.service || :
    else
        # One that had failed would stay in systemd's list.
        systemctl reset-failed mc-idle.service 2>/dev/null || :
    fi
fi
journalctl --update-catalog || :
if [ "$1" -eq 0 ]; then
    # The folders are nobody's: cargo-generate-rpm packs files only.
    rmdir --ignore-fail-on-non-empty /etc/mc-idle/config.d /etc/mc-idle 2>/dev/null || :
fi
