#!/usr/bin/env bash
# Runs one step of a make target and says how long it took:
# `scripts/step.sh NAME COMMAND...`.
set -uo pipefail
name=$1
shift
echo "== $name: $*"
start=$SECONDS
"$@"
status=$?
verdict=ok
[ "$status" = 0 ] || verdict="FAILED with status $status"
echo "== $name: $verdict after $((SECONDS - start)) s"
exit "$status"
