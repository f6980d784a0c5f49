#!/bin/bash
# Fuzzes every target for FUZZTIME, one after the other; RUN=pattern selects.
source "$(dirname "$0")/lib.sh"

status=0
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' work | while read -r pkg; do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' | grep -E "${RUN:-.}" || true); do
		say "$pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$pkg"
	done
done
