#!/bin/bash
# Runs the benchmarks that a bound rests on; RUN=pattern selects.
source "$(dirname "$0")/lib.sh"
source scripts/provide.sh

provide_databases
beside go run ./test/bench ${RUN:+-run "$RUN"}
