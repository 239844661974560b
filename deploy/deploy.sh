#!/usr/bin/env bash
# Deploys a server: stack.yaml, what it needs in a bucket, the keys, and in the mode start its instance. Repeat it to change a
# setting, or to bring a new version; what is not named stays as it is. Only the AWS CLI 2 is needed beside what builds the programs.
#
#   make deploy SERVER=survival [NAME=VALUE...]        (or deploy/deploy.sh SERVER=survival ...)
#
# NAME is a parameter of stack.yaml, such as Mode, InstanceType, ImageId, Email or IdleMinutes, or one of these:
#   Discord=URL      messages go to this webhook of Discord's
#   Tell=FILE        or the channels are those in this file, as docs/launcher.md describes them
#   Allow=NAMES      whom a broker may start for: names or UUIDs, separated by commas; "everybody" lifts that
#   NewKey=true      a new invitation; the old one ends within five minutes
#   Zip=FILE         the launcher's zip, of a release; otherwise it is built here
#   Package=FILE     mc-idle's .rpm, of a release; otherwise it is built here
set -euo pipefail

program=deploy
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
template=$here/stack.yaml
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

# Regions without function URLs (Lambda developer guide, as of November 2026): the page needs a domain there.
no_function_urls="ap-south-2 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ap-east-2 ca-west-1 eu-south-2 eu-central-2 \
il-central-1 me-central-1"

own="Discord Tell Allow NewKey Zip Package"
written="Server Bucket LauncherKey BundleKey" # by this script alone
parameters=$(awk '/^Parameters:/ { inside = 1; next } /^[A-Z]/ { inside = 0 } inside && /^  [A-Z]/ { sub(":", "", $1); printf "%s ", $1 }' "$template")

is_in() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac; }

# What was asked for: NAME=VALUE each.
given=()
server=""
Discord="" Tell="" Allow="" NewKey="" Zip="" Package=""
for argument in "$@"; do
    name=${argument%%=*} value=${argument#*=}
    [ "$name" != "$argument" ] || die "$argument: expected NAME=VALUE"
    if [ "$name" = SERVER ]; then
        server=$value
    elif is_in "$name" "$own"; then
        printf -v "$name" %s "$value"
    elif is_in "$name" "$parameters" && ! is_in "$name" "$written"; then
        given+=("$argument")
    elif [[ $name =~ ^[A-Z_]+$ ]]; then
        : # of make's: TARGET, PROFILE
    else
        die "$name is no setting; there are $(for known in $parameters; do is_in "$known" "$written" || printf '%s, ' "$known"; done)${own// /, }"
    fi
done

need_aws
need_server

before="" # the parameters of the stack as it is
state=$(stack_state)
case $state in
"" | REVIEW_IN_PROGRESS) say "the stack $stack is new, in $account, $region" ;;
ROLLBACK_COMPLETE | ROLLBACK_FAILED)
    say "the stack $stack was never finished: what is left of it goes first"
    delete_stack
    ;;
*_IN_PROGRESS) die "the stack $stack is $state: somebody is changing it right now" ;;
DELETE_FAILED) die "the stack $stack is half deleted: make undeploy SERVER=$server takes down the rest" ;;
UPDATE_ROLLBACK_FAILED)
    die "the stack $stack is stuck in an update that failed: aws cloudformation continue-update-rollback --stack-name $stack, and then this again"
    ;;
*)
    before=$(stack_list Parameters ParameterKey ParameterValue)
    say "the stack $stack is there, and is updated"
    ;;
esac

# setting NAME: what it will be: as asked for, else as before, else the template's default.
setting() {
    local each
    for each in ${given[@]+"${given[@]}"}; do
        if [ "${each%%=*}" = "$1" ]; then
            printf %s "${each#*=}"
            return
        fi
    done
    if [ -n "$before" ]; then
        field "$1" "$before"
    else
        awk -v name="  $1:" '$0 == name { found = 1; next } found && /^    Default:/ { sub(/^    Default: */, ""); gsub("\"", ""); print; exit } found && /^  [A-Z]/ { exit }' "$template"
    fi
}
is_given() { local each; for each in ${given[@]+"${given[@]}"}; do [ "${each%%=*}" != "$1" ] || return 0; done; return 1; }

# The processor of an instance type: Graviton has a g behind its generation, as in t4g or im4gn (EC2 user guide, naming conventions).
processor_of() { if [[ $1 =~ ^(a1|[a-z]+[0-9]+g[a-z]*)\. ]]; then echo arm64; else echo x86_64; fi; }

# What a new stack gets where the template's default would not fit this machine or this account.
case $(uname -m) in
aarch64 | arm64) machine=arm64 ;;
*) machine=x86_64 ;;
esac
if is_given InstanceType && ! is_given Architecture; then
    given+=("Architecture=$(processor_of "$(setting InstanceType)")")
fi
if [ -z "$before" ]; then
    is_given Architecture || given+=("Architecture=$machine")
    if ! is_given InstanceType; then
        [ "$(setting Architecture)" = arm64 ] && given+=(InstanceType=t4g.medium) || given+=(InstanceType=t3.medium)
    fi
    # The world that an earlier stack of this name has left.
    if [ "$(setting World)" = efs ] && ! is_given FileSystemId; then
        left=$(file_systems)
        case $left in
        "") ;;
        *[[:space:]]*) die "there are several file systems of $server: ${left//$'\n'/, }. Say which: FileSystemId=fs-..." ;;
        *)
            say "the world is on $left, which an earlier stack has left"
            given+=("FileSystemId=$left")
            ;;
        esac
    fi
fi
if is_in "$region" "$no_function_urls" && [ -z "$(setting PageDomain)" ]; then
    die "Lambda has no function URLs in $region: give the page a name, PageDomain=play.example.org PageZoneId=Z..."
fi
type=$(setting InstanceType)
[ "$(processor_of "$type")" = "$(setting Architecture)" ] ||
    die "InstanceType=$type has a processor of $(processor_of "$type"), not of Architecture=$(setting Architecture)"

# end_instance ID: the command that does, for a person to type.
end_instance() {
    local request
    request=$(spot_request "$1") || return
    printf '%saws ec2 terminate-instances --instance-ids %s' \
        "${request:+aws ec2 cancel-spot-instance-requests --spot-instance-request-ids $request && }" "$1"
}

# An instance that is there could not stop itself in the other mode, would lose its world, or could not be joined any more.
for name in Mode World FileSystemId Port; do
    if [ -n "$before" ] && is_given "$name" && [ "$(setting "$name")" != "$(field "$name" "$before")" ]; then
        living=$(instances)
        read -r instance state _ <<<"$living"
        [ -z "$living" ] || [ "$(field World "$before")" != disk ] ||
            die "$name=$(setting "$name") needs a new instance, which would have a new world: this one is on the disk of $instance. Copy it first (docs/deploy.md), or leave $name as it is"
        [ -z "$living" ] ||
            die "$name=$(setting "$name") needs a new instance, and $instance is $state. When nobody plays: $(end_instance "$instance"), and then this again"
    fi
done

if ! is_given PricePerHour && { [ -z "$before" ] || is_given InstanceType || is_given Spot; }; then
    known=$(price "$type")
    [ "$(setting Spot)" = true ] && known="" # it changes all the time
    given+=("PricePerHour=${known:-0}")
fi

# The bucket, and what is in it.
# Its name can be guessed: in a bucket that somebody else has made of it, he could put a program of his own in the launcher's place.
if ! attempt aws s3api head-bucket --bucket "$bucket" --expected-bucket-owner "$account"; then
    [[ $trouble == *"(404)"* ]] || die "cannot use the bucket $bucket, which may be somebody else's: $trouble"
    say "making the bucket $bucket"
    if [ "$region" = us-east-1 ]; then where=(); else where=(--create-bucket-configuration "LocationConstraint=$region"); fi
    aws s3api create-bucket --bucket "$bucket" ${where[@]+"${where[@]}"} >/dev/null
fi
aws s3api put-public-access-block --bucket "$bucket" --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
hash_of() { { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; } | cut -c 1-64; }
upload() { # FILE KEY
    aws s3api head-object --bucket "$bucket" --key "$2" >/dev/null 2>&1 && return
    say "uploading $2"
    aws s3 cp --only-show-errors "$1" "s3://$bucket/$2"
}

target_of() { [ "$1" = "$machine" ] || { [ "$1" = arm64 ] && echo aarch64-unknown-linux-gnu || echo x86_64-unknown-linux-gnu; }; }
if [ -z "$Zip" ]; then
    Zip=$project/target/launcher/mc-launcher-$machine.zip
    say "building the launcher"
    make -C "$project" launcher TARGET= >&2
    is_given LauncherArchitecture || given+=("LauncherArchitecture=$machine")
else
    [ -f "$Zip" ] || die "Zip=$Zip: there is no such file"
    if ! is_given LauncherArchitecture; then
        case $Zip in
        *arm64*) given+=(LauncherArchitecture=arm64) ;;
        *x86_64*) given+=(LauncherArchitecture=x86_64) ;;
        *) die "Zip=$Zip: its name does not say for which processor; add LauncherArchitecture=arm64 or x86_64" ;;
        esac
    fi
fi
launcher_key=$server/launcher-$(hash_of "$Zip").zip
upload "$Zip" "$launcher_key"

# What makes a plain Amazon Linux the server: the package, and the same script and units that the golden image is made with.
bundle_key=$(field BundleKey "$before")
if [ -z "$(setting ImageId)" ] || [ -z "$bundle_key" ]; then
    architecture=$(setting Architecture)
    [ "$architecture" = arm64 ] && processor=aarch64 || processor=x86_64
    if [ -z "$Package" ] && [ -z "$(setting ImageId)" ]; then
        version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n 1)
        Package=$project/target/packages/mc-idle-$version-1.$processor.rpm
        say "building mc-idle's package for $architecture"
        make -C "$project" packages PROGRAMS=mc-idle TARGET="$(target_of "$architecture")" >&2
    fi
    if [ -z "$Package" ]; then
        bundle_key=$server/none # the golden image has it all
    else
        [ -f "$Package" ] || die "Package=$Package: there is no such file"
        case $Package in
        *".$processor.rpm") ;;
        *) die "Package=$Package is not an .rpm for $architecture: its name has to end in .$processor.rpm" ;;
        esac
        folder=$workspace/setup
        mkdir "$folder"
        cp "$Package" "$project/packer/scripts/install.sh" "$project/packer/cloud-init.conf" "$project/systemd/minecraft@.service" \
            "$project/systemd/minecraft-server" "$project/systemd/minecraft.sysusers" "$folder"
        bundle_key=$server/setup-$(cat "$folder"/* | hash_of -).tar.gz
        tar -C "$folder" -czf "$folder.tar.gz" .
        upload "$folder.tar.gz" "$bundle_key"
    fi
fi

# The stack.
say "deploying the stack: minutes the first time"
if ! aws cloudformation deploy --stack-name "$stack" --template-file "$template" \
    --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset --tags "mc-idle:server=$server" \
    --parameter-overrides "Server=$server" "Bucket=$bucket" "LauncherKey=$launcher_key" "BundleKey=$bundle_key" \
    ${given[@]+"${given[@]}"} >&2; then
    say "what went wrong:"
    aws cloudformation describe-stack-events --stack-name "$stack" --output text >&2 \
        --query "StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId,ResourceStatusReason]" || true
    die "the stack $stack was not deployed"
fi
had_email=$(field Email "$before")
before=$(stack_list Parameters ParameterKey ParameterValue)
given=()
outputs=$(stack_list Outputs OutputKey OutputValue)
output() { field "$1" "$outputs"; }

# The secrets, which CloudFormation cannot write.
new_key() { od -An -tx1 -N 16 /dev/urandom | tr -d ' \n'; }
key=$(parameter key)
if [ -z "$key" ] || [ "$NewKey" = true ]; then
    key=$(new_key)
    put_parameter key SecureString "$key"
fi
key=${key%%$'\n'*} # a second line is the old one, which ends when you say so
broker_key=$(parameter broker-key)
[ -n "$broker_key" ] || put_parameter broker-key SecureString "$(new_key)"
topic=$(output Topic)
if [ -n "$Tell" ]; then
    [ -f "$Tell" ] || die "Tell=$Tell: there is no such file"
    put_parameter tell SecureString "$(tr '\n\r\t' '   ' <"$Tell")" # which mean nothing in JSON
elif [ -n "$Discord" ]; then
    case $Discord in https://*) ;; *) die "Discord=...: allowed is the https address of a webhook" ;; esac
    put_parameter tell SecureString "{\"discord\": $(quoted "$Discord")${topic:+, \"sns\": \"$topic\"}}"
elif [ -n "$topic" ]; then
    told=$(parameter tell)
    if [ -z "$told" ]; then
        put_parameter tell SecureString "{\"sns\": \"$topic\"}"
    elif [ -z "$had_email" ] && [[ $told != *'"sns"'* ]]; then
        put_parameter tell SecureString "${told%\}*}, \"sns\": \"$topic\"}" # beside the channels that there are
    fi
fi
if [ "$Allow" = everybody ]; then
    delete_parameter "$prefix/allow"
elif [ -n "$Allow" ]; then
    put_parameter allow StringList "$Allow"
fi

# launch: an instance, whose id is $answer then.
launch() {
    local subnet try
    for subnet in $(output Subnets); do
        for try in 1 2 3 4 5 6; do
            ! attempt aws ec2 run-instances --subnet-id "$subnet" \
                --launch-template "LaunchTemplateId=$(output LaunchTemplate),Version=$(output LaunchTemplateVersion)" \
                --query 'Instances[0].InstanceId' --output text || return 0
            # EC2 learns of a new role after some seconds (IAM user guide, eventual consistency).
            if [[ $trouble != *nstance*rofile* ]] || [ "$try" = 6 ]; then break; fi
            sleep 10
        done
        # Not every zone has every type, or enough of it.
        [[ $trouble == *"(Unsupported)"* || $trouble == *"(InsufficientInstanceCapacity)"* ]] || break
        say "not in the zone of $subnet: $trouble"
    done
    die "cannot launch the instance: $trouble"
}

# The instance of the mode start, which no update of the stack ever touches.
if [ "$(setting Mode)" = start ]; then
    living=$(instances)
    case $(printf '%s' "$living" | grep -c .) in
    0)
        say "launching the instance"
        launch
        instance=$answer
        put_parameter instance-id String "$instance"
        ;;
    1)
        instance=${living%%[[:space:]]*}
        [ "$(parameter instance-id)" = "$instance" ] || put_parameter instance-id String "$instance"
        made=$(aws ec2 describe-tags --filters "Name=resource-id,Values=$instance" Name=key,Values=aws:ec2launchtemplate:version \
            --query 'Tags[0].Value' --output text)
        if [ "$made" != None ] && [ "$made" != "$(output LaunchTemplateVersion)" ]; then
            say "The instance $instance was made from version $made of the launch template, and now there is $(output LaunchTemplateVersion). It stays as it is."
            if [ "$(setting World)" = efs ]; then
                say "For a new one, when nobody plays: $(end_instance "$instance"), and then this command again. The world is on EFS."
            fi
        fi
        ;;
    *) die "$server has more than one instance, which cannot be right:
$living" ;;
    esac
fi

# shellcheck source-path=SCRIPTDIR source=summary.sh
. "$here/summary.sh"
summary
