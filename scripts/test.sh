#!/bin/bash
# Runs every test of every module in go.work.
source "$(dirname "$0")/lib.sh"
source scripts/provide.sh

# Tests make hundreds of databases, and every commit in them is synced. Where
# memory has room their folders are there: no test can take the power away.
if [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -ge 4194304 ] 2>/dev/null && [ -w /dev/shm ]; then
	export GOTMPDIR=${GOTMPDIR:-${TMPDIR:-/tmp}} # what the compiler writes is large
	TMPDIR=$(mktemp -d /dev/shm/gatebook-test-XXXXXXXX)
	chmod 1777 "$TMPDIR" # database servers run as users of their own
	export TMPDIR
	trap 'rm -rf "$TMPDIR"' EXIT
fi

provide
status=0
beside go test -race -shuffle=on -timeout=30m work || status=$?
unprovided || status=1
exit "$status"
