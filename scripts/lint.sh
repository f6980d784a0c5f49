#!/bin/bash
# Checks format, go.mod files, go vet and the linters, module by module.
#
# golangci-lint brings staticcheck at the version that tools/go.mod pins, and
# is built from source once; Go's build cache keeps it.
source "$(dirname "$0")/lib.sh"

status=0
# fail runs a command and remembers that it failed.
fail() { "$@" || status=1; }

unformatted() {
	local found
	found=$(find . -name '*.go' -not -path '*/node_modules/*' -print0 | xargs -0 gofmt -l)
	[ -z "$found" ] || { say "not as gofmt writes it:" && printf '%s\n' "$found" && return 1; }
}

say "building golangci-lint (a minute and a half the first time)"
mkdir -p bin
GOWORK=off go -C tools build -o "$root/bin/golangci-lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fail unformatted
# Each module is checked by itself: in the workspace a requirement that its
# go.mod lacks would be found in another's.
export GOWORK=off
for dir in $(modules); do
	say "lint $dir"
	fail go -C "$dir" mod tidy -diff
	[ "$dir" != ./tools ] || continue
	fail go -C "$dir" vet ./...
	(cd "$dir" && "$root/bin/golangci-lint" run --config "$root/.golangci.yaml" ./...) || status=1
done
[ "$status" = 0 ] && say "lint: ok" || say "lint: failed"
exit "$status"
