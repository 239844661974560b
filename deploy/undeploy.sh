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

file_system="" disk_stays=false disk_gib=0
had_stack=$(stack_state)
if [ -n "$had_stack" ]; then
    outputs=$(stack_list Outputs OutputKey OutputValue)
    settings=$(stack_list Parameters ParameterKey ParameterValue)
    file_system=$(field FileSystem "$outputs")
    disk_gib=$(field DiskGiB "$settings")
    [ "$(field World "$settings")" != disk ] || disk_stays=true
else
    say "there is no stack $stack in $account, $region: only what is left of it is taken away"
fi

ids=() volumes=()
# Refuses while an instance is up; else `ids` are those that are to go.
look() {
    local living id state
    living=$(instances)
    ids=()
    while read -r id state _; do
        [ -n "$id" ] || continue
        if [ "$state" != stopped ] && [ "$force" != true ]; then
            die "$id is $state: somebody may be playing. Wait until it has stopped, or say FORCE=true"
        fi
        ids+=("$id")
    done <<<"$living"
}
look
# The launcher knows a key for five minutes more, so somebody may start it even now: a last look.
aws ssm delete-parameter --name "$prefix/key" >/dev/null 2>&1 || true
aws ssm delete-parameter --name "$prefix/broker-key" >/dev/null 2>&1 || true
look
if [ ${#ids[@]} != 0 ]; then
    for id in "${ids[@]}"; do
        request=$(aws ec2 describe-instances --instance-ids "$id" --query 'Reservations[0].Instances[0].SpotInstanceRequestId' --output text)
        # A persistent request would launch another one.
        [ "$request" = None ] || [ -z "$request" ] ||
            aws ec2 cancel-spot-instance-requests --spot-instance-request-ids "$request" >/dev/null
        if $disk_stays; then
            volumes+=("$(aws ec2 describe-volumes --filters "Name=attachment.instance-id,Values=$id" --query 'Volumes[0].VolumeId' --output text)")
        fi
    done
    say "terminating ${ids[*]}"
    aws ec2 terminate-instances --instance-ids "${ids[@]}" >/dev/null
    aws ec2 wait instance-terminated --instance-ids "${ids[@]}"
fi

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
        aws ssm delete-parameter --name "$name" >/dev/null 2>&1 || true
    done
}
delete_parameters
if [ -n "$had_stack" ]; then
    # A look of the warden that was under way may have written something since.
    sleep 5
    delete_parameters
fi

if aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
    aws s3 rm --only-show-errors --recursive "s3://$bucket/$server/"
    # Other servers may have something in it.
    aws s3api delete-bucket --bucket "$bucket" >/dev/null 2>&1 || true
fi

echo
echo "$server is taken down. What stays:"
if [ -n "$file_system" ]; then
    bytes=$(aws efs describe-file-systems --file-system-id "$file_system" --query 'FileSystems[0].SizeInBytes.Value' --output text || echo 0)
    awk -v id="$file_system" -v bytes="$bytes" -v price="$(price efs-gb-month)" 'BEGIN {
        printf "    the world on EFS, %s, with %.2f GB: $%.2f a month at most, and its backups\n", id, bytes / 1e9, bytes / 1e9 * price }'
    echo "        make deploy SERVER=$server finds it again; aws efs delete-file-system --file-system-id $file_system ends it"
fi
for volume in ${volumes[@]+"${volumes[@]}"}; do
    awk -v id="$volume" -v gib="$disk_gib" -v price="$(price ebs-gp3-gb-month)" 'BEGIN {
        printf "    the disk with the world, %s: $%.2f a month\n", id, gib * price }'
done
[ -z "$highest" ] || echo "    the parameter $prefix/launch/$highest, which costs nothing"
[ -n "$file_system$highest" ] || [ ${#volumes[@]} != 0 ] || echo "    nothing"
