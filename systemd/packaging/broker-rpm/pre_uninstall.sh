# $1: how many versions of the package remain; 0 on removal, 1 when an upgrade removes the old one.
if [ "$1" -eq 0 ]; then
    systemctl --no-reload disable --now mc-broker.service || :
fi
