#!/bin/bash
# Builds the binary and starts the demo. Needs nothing but Go.
source "$(dirname "$0")/lib.sh"

mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/gatebook ./cmd/gatebook
exec bin/gatebook demo "$@"
