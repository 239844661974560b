# What deploy.sh and undeploy.sh share. Sourced by them, with `set -euo pipefail` and $program set.
# shellcheck shell=bash

# shellcheck disable=SC2154 # $program is theirs
say() { printf '%s\n' "$*" >&2; }
die() { say "$program: $*"; exit 1; }

# For files, which others cannot read, and which go however this ends.
workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT

# AWS CLI 2 is the only tool needed beside a shell. AWS=... is another command for it.
aws() { command "${AWS:-aws}" "$@"; }

# attempt COMMAND...: what it says in $answer, what it complains of in $trouble: a warning of the CLI's is no part of an answer.
attempt() {
    local status=0
    answer=$("$@" 2>"$workspace/trouble") || status=$?
    trouble=$(<"$workspace/trouble")
    return "$status"
}

need_aws() {
    local version
    version=$(aws --version 2>&1) || die "needs the AWS CLI, version 2: https://docs.aws.amazon.com/cli/"
    case $version in
    aws-cli/1.*) die "needs version 2 of the AWS CLI, this is ${version%% *}" ;;
    esac
    account=$(aws sts get-caller-identity --query Account --output text) ||
        die "cannot find out whose account this is: are credentials set (aws configure, AWS_PROFILE)?"
    region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
    [ -n "$region" ] || die "no region is set: aws configure, or AWS_REGION=eu-central-1"
    export AWS_REGION=$region AWS_DEFAULT_REGION=$region
    export AWS_PAGER="" # nothing waits for a key
}

need_server() {
    [ -n "${server:-}" ] || die "which server? Say SERVER=NAME, such as SERVER=survival"
    [[ $server =~ ^[a-z0-9-]{1,32}$ ]] || die "SERVER=$server is not allowed; allowed: 1 to 32 of a-z, 0-9 and -"
    stack=mc-idle-$server
    # shellcheck disable=SC2034 # theirs, too
    bucket=mc-idle-$account-$region
    prefix=/mc-idle/$server
}

# The state of the stack, such as CREATE_COMPLETE; empty if there is none.
stack_state() {
    local answer trouble
    if attempt aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].StackStatus' --output text; then
        [ "$answer" = DELETE_COMPLETE ] || printf '%s' "$answer"
    else
        case $trouble in
        *"does not exist"*) ;;
        *) die "cannot see whether the stack $stack is there: $trouble" ;;
        esac
    fi
}

delete_stack() {
    aws cloudformation delete-stack --stack-name "$stack"
    aws cloudformation wait stack-delete-complete --stack-name "$stack" ||
        die "the stack $stack is not gone: aws cloudformation describe-stack-events --stack-name $stack says why"
}

# stack_list WHAT NAME VALUE: what the stack has, a line each: the name, a tab, the value.
stack_list() {
    aws cloudformation describe-stacks --stack-name "$stack" --query "Stacks[0].$1[].[$2,$3]" --output text
}

# field NAME LIST: the value of a name in such a list; empty if it is not there, or nothing.
field() { printf '%s\n' "$2" | awk -F '\t' -v name="$1" '$1 == name { print ($2 == "None" ? "" : $2) }'; }

# The server's instances that are not terminated, a line each: id, state, launch template (None: made without one). Waits for
# those that are being terminated. What runs in $(...) does not end at an error by itself: so each step says `|| return`.
instances() {
    local found going
    found=$(aws ec2 describe-instances \
        --filters "Name=tag:mc-idle:server,Values=$server" \
        Name=instance-state-name,Values=pending,running,stopping,stopped,shutting-down \
        --query "Reservations[].Instances[].[InstanceId,State.Name,Tags[?Key=='aws:ec2launchtemplate:id']|[0].Value]" --output text) ||
        return
    going=$(awk '$2 == "shutting-down" { print $1 }' <<<"$found")
    if [ -n "$going" ]; then
        say "waiting until ${going//$'\n'/ } is terminated"
        # shellcheck disable=SC2086 # several ids are several words
        aws ec2 wait instance-terminated --instance-ids $going || return
    fi
    awk 'NF && $2 != "shutting-down"' <<<"$found"
}

# spot_request ID: the request of a spot instance; empty if it is none. A persistent request would launch another instance in the
# place of one that is terminated.
spot_request() {
    local request
    request=$(aws ec2 describe-instances --instance-ids "$1" --query 'Reservations[0].Instances[0].SpotInstanceRequestId' --output text) ||
        return
    [ "$request" = None ] || printf '%s' "$request"
}

# parameter NAME: its value, decrypted. Fails if it cannot be read; empty if it is not there.
parameter() {
    local answer trouble
    if attempt aws ssm get-parameter --with-decryption --name "$prefix/$1" --query Parameter.Value --output text; then
        printf '%s' "$answer"
    else
        case $trouble in
        *ParameterNotFound*) ;;
        *) die "cannot read the parameter $prefix/$1: $trouble" ;;
        esac
    fi
}

# delete_parameter NAME: also if it is not there.
delete_parameter() {
    local answer trouble
    attempt aws ssm delete-parameter --name "$1" || [[ $trouble == *ParameterNotFound* ]] || die "cannot delete the parameter $1: $trouble"
}

# quoted TEXT: as a JSON string. None of the texts here has a control character in it.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# put_parameter NAME TYPE VALUE: the value goes through a file of one's own, since every user of this machine sees the arguments
# of a command.
put_parameter() {
    local file=$workspace/parameter
    printf '{"Name": %s, "Type": "%s", "Value": %s, "Overwrite": true}' "$(quoted "$prefix/$1")" "$2" "$(quoted "$3")" >"$file"
    aws ssm put-parameter --cli-input-json "file://$file" >/dev/null || die "cannot write the parameter $prefix/$1"
    rm -f "$file"
}

# file_systems: the ids of those that this or an earlier stack has made for the server, a line each.
file_systems() {
    aws efs describe-file-systems --query "FileSystems[?Tags[?Key=='mc-idle:server' && Value=='$server']].FileSystemId" --output text |
        tr -s '\t ' '\n' | sed '/^None$/d; /^$/d'
}

# price NAME: of deploy/prices.tsv, in USD; empty if it is not known.
price() { awk -F '\t' -v name="$1" '$1 == name { print $2; exit }' "$here/prices.tsv"; }
