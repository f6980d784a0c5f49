#!/bin/bash
# Runs the benchmarks that a bound rests on; RUN=pattern selects.
source "$(dirname "$0")/lib.sh"

exec go run ./test/bench ${RUN:+-run "$RUN"}
