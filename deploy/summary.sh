# What deploy.sh says at its end: the page, the address, what it costs. Sourced by it.
# shellcheck shell=bash

# sum EXPRESSION [DIGITS]
sum() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }

cost_at_rest() {
    local world="" disk
    disk=$(price ebs-gp3-gb-month)
    [ "$(setting World)" != efs ] || world=" and \$$(price efs-gb-month) for each GB of the world on EFS"
    if [ "$(setting Mode)" = start ]; then
        printf '$%s a month for %s GiB of disk%s' "$(sum "$(setting DiskGiB) * ${disk:-0}")" "$(setting DiskGiB)" "${world:+,$world}"
    else
        printf 'no machine and no disk%s' "${world:+,$world}"
    fi
}

cost_at_play() {
    local type hour address less=""
    type=$(setting InstanceType)
    hour=$(price "$type") address=$(price ipv4-hour)
    [ "$(setting Spot)" != true ] || less=", less as a spot instance"
    if [ -n "$hour" ]; then
        printf '$%s an hour for %s and its address%s' "$(sum "$hour + ${address:-0}" 4)" "$type" "$less"
    else
        printf 'what %s costs, which is not known here: say PricePerHour=' "$type"
    fi
}

summary() {
    local address
    address=$(output Address)
    # shellcheck disable=SC2154 # set by deploy.sh
    cat <<END

The page, with the invitation for your friends. Whoever has it may start the server:
    $(output PageUrl)i/$key
The address to play at:
    ${address:-the one that the page shows while the server is up}, port $(setting Port)
What it costs (US dollars in us-east-1, docs/costs.md):
    at rest: $(cost_at_rest)
    at play: $(cost_at_play)
Starts, hours, players and alarms:
    $(output Dashboard)
A broker needs the parameter $prefix/broker-key, and this as launcher.url:
    $(output PageUrl)
END
    if [ -n "$(output FileSystem)" ]; then
        echo "The world is on $(output FileSystem), which stays when the stack goes."
    fi
    if [ "$(setting Eula)" != true ] || [ -z "$(setting GameUrl)" ]; then
        cat <<END
The game: put it there as docs/deploy.md says, or let the instance's first boot do it, if you accept Minecraft's EULA:
    GameUrl=https://.../server.jar Eula=true
    Without a game, the instance stops after $(setting NoServerMinutes) minutes.
END
    fi
    if [ -n "$(setting Email)" ]; then
        echo "AWS has sent a mail to $(setting Email). Messages come once that is confirmed."
    fi
}
