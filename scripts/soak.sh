#!/bin/bash
# Runs the tests of the test module at full length: GATEBOOK_SOAK=1 makes the
# crash, cluster and large-data tests long (need.Soak). RUN=pattern selects.
source "$(dirname "$0")/lib.sh"
source scripts/provide.sh

provide
status=0
GATEBOOK_SOAK=1 beside go test -race -count=1 -timeout=6h ${RUN:+-run "$RUN"} ./test/... || status=$?
unprovided || status=1
exit "$status"
