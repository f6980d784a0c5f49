#!/bin/bash
# Checks format, go.mod files, go vet and the linters, module by module.
#
# golangci-lint brings staticcheck at the version that tools/go.mod pins, and
# is built from source once; Go's build cache keeps it.
source "$(dirname "$0")/lib.sh"

status=0
# check runs a command and remembers if it failed.
check() { "$@" || status=1; }

gofmt_all() {
	local found
	found=$(find . -name '*.go' -not -path '*/node_modules/*' -print0 | xargs -0 gofmt -l)
	if [ -n "$found" ]; then
		say "not as gofmt writes it:"
		printf '%s\n' "$found"
		return 1
	fi
}

say "building golangci-lint (a minute and a half the first time)"
mkdir -p bin
GOWORK=off go -C tools build -o "$root/bin/golangci-lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint

check gofmt_all
# Each module is checked by itself: in the workspace a requirement that its
# go.mod lacks would be found in another's.
export GOWORK=off
for dir in $(modules); do
	say "lint $dir"
	check go -C "$dir" mod tidy -diff
	[ "$dir" != ./tools ] || continue
	check go -C "$dir" vet ./...
	(cd "$dir" && "$root/bin/golangci-lint" run --config "$root/.golangci.yaml" ./...) || status=1
done
if [ "$status" = 0 ]; then say "lint: ok"; else say "lint: failed"; fi
exit "$status"
