#!/bin/bash
# Runs the benchmarks that a bound rests on; RUN=pattern selects.
source "$(dirname "$0")/lib.sh"
source scripts/provide.sh

provide_databases
# Here it counts what a commit waits for.
GATEBOOK_TEST_DISK=yes beside go run ./test/bench ${RUN:+-run "$RUN"}
