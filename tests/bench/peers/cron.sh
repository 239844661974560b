#!/usr/bin/env bash
# What the usual cron job does every minute, without its poweroff: counts the connections with lsof, and the idle runs in a file.
#
#   cron.sh PORT COUNTER_FILE        prints one line for cron's log
set -u
port=$1 counter=$2

players=$(lsof -i "TCP:$port" -s TCP:ESTABLISHED | tail -n +2 | wc -l)
idle=0
[[ -f $counter ]] && idle=$(<"$counter")
if ((players > 0)); then
    idle=0
else
    idle=$((idle + 1))
fi
echo "$idle" >"$counter"
echo "$(date '+%F %T') connections: $players, idle minutes: $idle"
