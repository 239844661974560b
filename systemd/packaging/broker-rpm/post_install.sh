# $1: how many versions of the package are installed now; 1 on a first installation.
systemd-sysusers mc-broker.conf || :
journalctl --update-catalog || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
    # Enabled only if the distribution's or the operator's presets say so, and never started here.
    systemctl --no-reload preset mc-broker.service || :
fi
