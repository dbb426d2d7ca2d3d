#!/usr/bin/env bash
# EMR's bootstrap action: puts headwater-worker on the primary node, where steps run, and tells it its stack.
#
#   bootstrap.sh STACK REGION LEDGER_TABLE [MACHINE SHA256 URI]...
#
# MACHINE is what `uname -m` says. What is fetched must have the sum that the plan pins, or the cluster does not start.
set -euo pipefail

fail() {
    echo "headwater bootstrap: $*" >&2
    exit 1
}

# A test runs this below a folder of its own.
root=${HEADWATER_ROOT:-}
program=$root/usr/local/libexec/headwater-worker
# Where EMR's steps look for programs.
command=$root/usr/bin/headwater-worker
environment=$root/etc/headwater/environment
instance=$root/mnt/var/lib/info/instance.json

[ $# -ge 3 ] || fail "usage: bootstrap.sh STACK REGION LEDGER_TABLE [MACHINE SHA256 URI]..."
stack=$1 region=$2 ledger_table=$3
shift 3

# EMR runs bootstrap actions on every node. One that does not say what it is gets the worker too.
if [ -f "$instance" ] && grep -Eq '"isMaster"[[:space:]]*:[[:space:]]*false' "$instance"; then
    echo "headwater bootstrap: no step runs on this node"
    exit 0
fi

machine=$(uname -m)
sum='' uri=''
while [ $# -ge 3 ]; do
    [ "$1" = "$machine" ] && sum=$2 uri=$3
    shift 3
done
[ $# -eq 0 ] || fail "arguments that are no machine, sum and URI: $*"
[ -n "$uri" ] || fail "no worker was pushed for this kind of machine: $machine"

is_whole() {
    [ -f "$1" ] && echo "$sum  $1" | sha256sum --check --status
}

# The second of two equal runs changes nothing.
if ! is_whole "$program"; then
    fetched=$(mktemp)
    trap 'rm -f "$fetched"' EXIT
    aws s3 cp --only-show-errors --region "$region" "$uri" "$fetched" || fail "cannot fetch $uri"
    is_whole "$fetched" || fail "$uri has not the sum that the plan pins: $sum"
    sudo install -D -m 0755 "$fetched" "$program"
fi

# The root disk of EMR's machines is small: what is fetched and what is built on the way belongs on the other.
scratch=$root/mnt/tmp
[ -d "$scratch" ] || sudo install -d -m 1777 "$scratch"

write() {
    sudo mkdir -p "$(dirname "$2")"
    sudo tee "$2" >/dev/null
    sudo chmod "$1" "$2"
}

write 0644 "$environment" <<END
HEADWATER_STACK='$stack'
HEADWATER_LEDGER_TABLE='$ledger_table'
AWS_REGION='$region'
TMPDIR='$scratch'
TZ='UTC'
END

write 0755 "$command" <<END
#!/bin/sh
# Written by headwater's bootstrap action.
set -a
. '$environment'
exec '$program' "\$@"
END
echo "headwater bootstrap: $command is in place for stack $stack"
