#!/bin/bash
# Fuzzes every target for FUZZTIME, one after the other; RUN=pattern selects.
source "$(dirname "$0")/lib.sh"

status=0
for pkg in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' work); do
	targets=$(go test -list '^Fuzz' "$pkg") || { printf '%s\n' "$targets" && status=1; }
	for target in $(grep '^Fuzz' <<<"$targets" | grep -E -e "${RUN:-.}" || true); do
		say "$pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$pkg" || status=1
	done
done
exit "$status"
