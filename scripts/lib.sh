# Shared by the scripts of this folder; sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

say() { printf '== %s\n' "$*" >&2; }
die() { printf '== %s\n' "$*" >&2; exit 1; }

if ! command -v go >/dev/null && [ -x /usr/local/go/bin/go ]; then
	PATH=$PATH:/usr/local/go/bin
fi
command -v go >/dev/null || die "Go is not on the PATH; go.mod says which version is needed (https://go.dev/doc/install)"

# modules prints the folder of every module, the untagged ones included.
modules() {
	find . -name go.mod -not -path '*/node_modules/*' -not -path '*/testdata/*' -exec dirname {} + | sort
}

# try runs a command quietly; if it fails its output is shown.
try() {
	local log
	log=$(mktemp)
	if "$@" >"$log" 2>&1 </dev/null; then
		rm -f "$log"
		return 0
	fi
	tail -n 20 "$log" >&2
	rm -f "$log"
	return 1
}
