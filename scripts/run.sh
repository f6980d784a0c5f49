#!/bin/bash
# Builds the binary and starts the demo; arguments go to the demo. Needs
# nothing but Go. The first build fetches and compiles what the binary is made
# of, and shows how far it is.
source "$(dirname "$0")/lib.sh"

target=./cmd/gatebook
export CGO_ENABLED=0 # the binary has no cgo, and no C compiler is needed

# count shows how many lines came that match $1, and passes the others on. $2
# says what is counted, $3 how many are expected. On a terminal it counts in
# place; elsewhere each 50 are a line.
count() {
	local n=0 line of=${3:+ of $3}
	while IFS= read -r line; do
		if ! [[ $line =~ $1 ]]; then
			printf '%s\n' "$line" >&2
			continue
		fi
		n=$((n + 1))
		if [ -t 2 ]; then
			printf '\r\033[K== %s %d%s: %.50s' "$2" "$n" "$of" "${BASH_REMATCH[1]}" >&2
		elif [ $((n % 50)) = 1 ]; then
			say "$2 $n$of"
		fi
	done
	if [ "$n" -gt 0 ]; then
		[ ! -t 2 ] || printf '\r\033[K' >&2
		say "$2: $n done"
	fi
}

# Listing the packages fetches the modules that they are in.
go list -deps "$target" 2>&1 >/dev/null | count '^go: downloading (.*)' 'fetching modules'
stale=$(go list -deps -f '{{if .Stale}}stale{{end}}' "$target" | grep -c . || true)
mkdir -p bin
go build -v -o bin/gatebook "$target" 2>&1 | count '^([^ #]+)$' 'compiling packages' "$stale"

exec bin/gatebook demo "$@"
