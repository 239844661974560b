#!/usr/bin/env bash
# Takes a server down: its instance, its stack, its parameters and what it has in the bucket. The world on EFS stays.
#
#   make undeploy SERVER=survival [FORCE=true]         (or deploy/undeploy.sh SERVER=survival ...)
#
# It refuses while the instance is up, since somebody may be playing; FORCE=true takes it down all the same.
set -euo pipefail

program=undeploy
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

server="" force=false
for argument in "$@"; do
    case $argument in
    SERVER=*) server=${argument#*=} ;;
    FORCE=true | FORCE=false) force=${argument#*=} ;;
    *) die "$argument: allowed are SERVER=NAME and FORCE=true" ;;
    esac
done

need_aws
need_server

template="" concurrency="" file_system=""
had_stack=$(stack_state)
if [ -n "$had_stack" ]; then
    outputs=$(stack_list Outputs OutputKey OutputValue)
    template=$(field LaunchTemplate "$outputs")
    file_system=$(field FileSystem "$outputs")
    concurrency=$(field PageConcurrency "$(stack_list Parameters ParameterKey ParameterValue)")
else
    say "there is no stack $stack in $account, $region: only what is left of it is taken away"
fi

ids=()
# Refuses while an instance is up, or may have a world of its own; else `ids` are those that are to go.
look() {
    local living id state made_from
    living=$(instances)
    ids=()
    while read -r id state made_from; do
        [ -n "$id" ] || continue
        if [ "$force" != true ]; then
            [ "$state" = stopped ] ||
                die "$id is $state: somebody may be playing. Nothing has been taken down. Wait until it has stopped, or say FORCE=true"
            [ -n "$template" ] || die "$id is of $server, but no stack says whether make deploy has launched it: to terminate it, say FORCE=true"
        fi
        [ -z "$template" ] || [ "$made_from" = "$template" ] ||
            die "$id was not launched by make deploy, and its disk may have a world on it. Take away its tag mc-idle:server, or terminate it yourself"
        ids+=("$id")
    done <<<"$living"
}

# limit ROLE NUMBER: how many requests for this function of the launcher's run at once; nothing lifts the limit.
limit() {
    local function=mc-launcher-$server-$1
    if [ -n "$2" ]; then
        aws lambda put-function-concurrency --function-name "$function" --reserved-concurrent-executions "$2"
    else
        aws lambda delete-function-concurrency --function-name "$function"
    fi >/dev/null 2>&1 || true # of half a stack, there may be no function
}
switch_launcher_on() {
    limit page "$concurrency"
    limit warden ""
}

look
if [ -n "$had_stack" ]; then
    # From here on nobody can start it. Somebody may have done so since the first look.
    trap 'switch_launcher_on; rm -rf "$workspace"' EXIT
    limit page 0
    limit warden 0
    # What was under way goes on, and may start it.
    sleep 10
    look
fi
if [ ${#ids[@]} != 0 ]; then
    for id in "${ids[@]}"; do
        request=$(spot_request "$id")
        [ -z "$request" ] || aws ec2 cancel-spot-instance-requests --spot-instance-request-ids "$request" >/dev/null
    done
    say "terminating ${ids[*]}"
    aws ec2 terminate-instances --instance-ids "${ids[@]}" >/dev/null
    aws ec2 wait instance-terminated --instance-ids "${ids[@]}"
fi
trap 'rm -rf "$workspace"' EXIT

if [ -n "$had_stack" ]; then
    say "deleting the stack: some minutes"
    delete_stack
fi

# The highest launch/N stays: without it, a later stack could launch a second instance for a start that is still under way.
parameters=() highest=""
list_parameters() {
    local names
    names=$(aws ssm get-parameters-by-path --recursive --path "$prefix" --query 'Parameters[].Name' --output text | tr '\t' '\n')
    [ "$names" != None ] || names=""
    highest=$(printf '%s\n' "$names" | sed -n "s|^$prefix/launch/\([0-9]*\)\$|\1|p" | sort -n | tail -n 1)
    parameters=()
    for name in $names; do
        [ "$name" = "$prefix/launch/$highest" ] || parameters+=("$name")
    done
}
delete_parameters() {
    list_parameters
    for name in ${parameters[@]+"${parameters[@]}"}; do
        delete_parameter "$name"
    done
}
delete_parameters
found=true
if [ -z "$had_stack" ] && [ ${#ids[@]} = 0 ] && [ ${#parameters[@]} = 0 ]; then found=false; fi
if [ -n "$had_stack" ]; then
    # A look of the warden that was under way may have written something since.
    sleep 5
    delete_parameters
fi

if aws s3api head-bucket --bucket "$bucket" --expected-bucket-owner "$account" >/dev/null 2>&1; then
    deleted=$(aws s3 rm --recursive "s3://$bucket/$server/")
    [ -z "$deleted" ] || found=true
    # Other servers may have something in it.
    aws s3api delete-bucket --bucket "$bucket" >/dev/null 2>&1 || true
fi

what_stays() {
    local systems id bytes
    systems=$(file_systems)
    for id in $(printf '%s\n' "$file_system" "$systems" | sort -u); do
        bytes=$(aws efs describe-file-systems --file-system-id "$id" --query 'FileSystems[0].SizeInBytes.Value' --output text || echo 0)
        awk -v id="$id" -v bytes="$bytes" -v price="$(price efs-gb-month)" 'BEGIN {
            printf "    the world on EFS, %s, with %.2f GB: $%.2f a month at most, and its backups\n", id, bytes / 1e9, bytes / 1e9 * price }'
        echo "        make deploy SERVER=$server finds it again; aws efs delete-file-system --file-system-id $id ends it"
    done
    aws ec2 describe-volumes --filters "Name=tag:mc-idle:server,Values=$server" Name=status,Values=available \
        --query 'Volumes[].[VolumeId,Size]' --output text |
        awk -v price="$(price ebs-gp3-gb-month)" 'NF == 2 { printf "    a disk with a world, %s: $%.2f a month\n", $1, $2 * price }'
    [ -z "$highest" ] || echo "    the parameter $prefix/launch/$highest, which costs nothing"
}
what_stays >"$workspace/stays" # not in $(...), which would go on after an error
stays=$(<"$workspace/stays")
echo
if $found; then
    echo "$server is taken down. What stays:"
else
    [ -n "$stays" ] || die "there is nothing of $server in $account, $region"
    echo "there is nothing of $server left to take down in $account, $region. What stays:"
fi
echo "${stays:-    nothing}"
