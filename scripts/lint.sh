#!/bin/bash
# Checks format, go vet, go mod tidy and the linters, module by module.
source "$(dirname "$0")/lib.sh"

status=0
unformatted=$(git ls-files -co --exclude-standard '*.go' | while read -r f; do [ -f "$f" ] && gofmt -l "$f"; done)
if [ -n "$unformatted" ]; then
	say "not formatted by gofmt:" && echo "$unformatted" && status=1
fi
for dir in $(modules); do
	say "lint $dir"
	go -C "$dir" mod tidy -diff || status=1
	[ "$dir" = ./tools ] || go -C "$dir" vet ./... || status=1
done
exit "$status"
