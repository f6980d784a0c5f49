#!/bin/bash
# Runs every test of every module in go.work.
source "$(dirname "$0")/lib.sh"
source scripts/provide.sh

provide
status=0
beside go test -race -shuffle=on -timeout=15m work || status=$?
unprovided || status=1
exit "$status"
