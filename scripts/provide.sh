# Provides what the tests need beside Go; sourced by the scripts that test.
#
# As root on a Debian-like system it installs what is missing and says so.
# Elsewhere it uses what is there. The outcome is told to the tests (package
# test/need) in environment variables. Each holds a path, or "missing: " and
# the reason:
#
#	GATEBOOK_TEST_CHROMIUM      the Chromium to drive
#	GATEBOOK_TEST_NODE          a Node.js of version 20 or newer
#	GATEBOOK_TEST_NODE_MODULES  test/node_modules, as test/package-lock.json says
#	GATEBOOK_TEST_NEXTJS        test/nextjs/node_modules, as its package-lock.json says
#	GATEBOOK_TEST_CLIENTS       test/clients/node_modules, as its package-lock.json says
#	GATEBOOK_TEST_ADAPTERS      test/adapters/node_modules, as its package-lock.json says
#	GATEBOOK_TEST_STRACE        strace, which shows that commits are synced in time
#	GATEBOOK_TEST_NGINX         nginx, in front of the handler
#	GATEBOOK_TEST_CADDY         Caddy, in front of the handler
#
# and for database servers, if they cannot be had, only that reason; beside()
# starts them and tells the address:
#
#	GATEBOOK_TEST_POSTGRES      postgres://user:password@host:port/postgres
#	GATEBOOK_TEST_MYSQL         user:password@tcp(host:port)/  of MariaDB
#	GATEBOOK_TEST_REDIS         redis://:password@host:port
#
# A path or address given from outside is kept. unprovided() prints what is
# missing.
# shellcheck shell=bash

node_min=20

may_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_updated=
apt_install() {
	say "installing by apt-get: $*"
	if [ -z "$apt_updated" ]; then
		try apt-get -q update || say "apt-get update failed; using the package lists that are there"
		apt_updated=yes
	fi
	DEBIAN_FRONTEND=noninteractive try apt-get -q -y --no-install-recommends install "$@"
}

# The race detector needs cgo, and so a C compiler.
provide_cc() {
	if command -v "$(go env CC)" >/dev/null; then
		return
	fi
	may_apt && apt_install gcc libc6-dev && return
	die "no C compiler, and go test -race needs one: install gcc"
}

first_command() {
	local name
	for name in "$@"; do
		if command -v "$name"; then
			return
		fi
	done
	return 1
}

provide_chromium() {
	local why="not installed"
	if [ -n "${GATEBOOK_TEST_CHROMIUM:-}" ]; then
		return
	fi
	if ! first_command chromium chromium-browser google-chrome >/dev/null; then
		if may_apt; then
			apt_install chromium fonts-dejavu-core || why="apt-get install chromium failed"
		else
			why="not installed, and this is not root on a system with apt-get"
		fi
	fi
	GATEBOOK_TEST_CHROMIUM=$(first_command chromium chromium-browser google-chrome) ||
		GATEBOOK_TEST_CHROMIUM="missing: Chromium: $why"
}

provide_strace() {
	local why="not installed"
	if [ -n "${GATEBOOK_TEST_STRACE:-}" ]; then
		return
	fi
	if ! command -v strace >/dev/null; then
		if may_apt; then
			apt_install strace || why="apt-get install strace failed"
		else
			why="not installed, and this is not root on a system with apt-get"
		fi
	fi
	GATEBOOK_TEST_STRACE=$(command -v strace) || GATEBOOK_TEST_STRACE="missing: strace: $why"
}

# Debian starts a server when it installs one. The tests start their own, on
# ports of their own, so it is kept from that.
apt_install_idle() {
	local policy=/usr/sbin/policy-rc.d made='' status=0
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
	fi
	apt_install "$@" || status=1
	[ -z "$made" ] || rm -f "$policy"
	return "$status"
}

# provide_proxy NAME COMMAND PACKAGE sets the variable NAME to the path of COMMAND.
provide_proxy() {
	local why="not installed" path=$PATH:/usr/sbin:/usr/local/sbin found
	if [ -n "${!1:-}" ]; then
		return
	fi
	if ! PATH=$path command -v "$2" >/dev/null; then
		if may_apt; then
			apt_install_idle "$3" || why="apt-get install $3 failed"
		else
			why="not installed, and this is not root on a system with apt-get"
		fi
	fi
	found=$(PATH=$path command -v "$2") || found="missing: $2: $why"
	printf -v "$1" %s "$found"
}

# Debian's PostgreSQL keeps its programs away from the PATH.
has_postgres() { command -v postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres'; }
has_mariadb() { PATH=$PATH:/usr/sbin command -v mariadbd && command -v mariadb-install-db; }
has_redis() { command -v redis-server || command -v valkey-server; }

# provide_database NAME WHAT CHECK PACKAGE installs a database server. Where that
# cannot be, the variable NAME says why; else it is left to beside().
provide_database() {
	local why="not installed"
	if [ -n "${!1:-}" ] || "$3" >/dev/null; then
		return
	fi
	if may_apt; then
		if apt_install_idle "$4" && "$3" >/dev/null; then
			return
		fi
		why="apt-get install $4 failed"
	else
		why="not installed, and this is not root on a system with apt-get"
	fi
	printf -v "$1" %s "missing: $2: $why"
}

# beside runs a command beside database servers on free ports of the loopback
# address and on folders of their own, which end with it, however it ends. A
# server whose variable is set is not started.
beside() {
	mkdir -p bin
	go build -o bin/servers ./test/servers
	bin/servers "$@"
}

node_fits() {
	"$1" -e "process.exit(+process.versions.node.split('.')[0] >= $node_min ? 0 : 1)" 2>/dev/null
}

provide_node() {
	local own=$root/scripts/node/node_modules why="not installed" found
	if [ -n "${GATEBOOK_TEST_NODE:-}" ]; then
		return
	fi
	if found=$(command -v node) && node_fits "$found" && command -v npm >/dev/null; then
		GATEBOOK_TEST_NODE=$found
		return
	fi
	if ! command -v npm >/dev/null; then
		if may_apt; then
			apt_install nodejs npm || why="apt-get install nodejs npm failed"
		else
			why="no npm, and this is not root on a system with apt-get"
		fi
	fi
	if found=$(command -v node) && node_fits "$found"; then
		GATEBOOK_TEST_NODE=$found
		return
	fi
	if command -v npm >/dev/null; then
		# The system's Node is older than the packages under test accept; npm
		# carries Node itself as a package.
		if ! find "$own" -path '*/bin/node' -type f 2>/dev/null | grep -q .; then
			say "installing by npm: a Node.js of version $node_min or newer, in scripts/node/node_modules"
			# The package is an optional one, so npm also ends well without it.
			why="npm ci in scripts/node failed, or npm has none for this machine"
			try npm ci --prefix scripts/node --ignore-scripts --no-audit --no-fund || true
		fi
		for found in "$own"/node-*/bin/node; do
			if [ -x "$found" ] && node_fits "$found"; then
				GATEBOOK_TEST_NODE=$found
				return
			fi
		done
	fi
	GATEBOOK_TEST_NODE="missing: Node.js $node_min or newer: $why"
}

# provide_packages VARIABLE FOLDER WHAT installs the npm packages of a lock file.
provide_packages() {
	local variable=$1 folder=$2 what="npm packages for $3"
	local dir=$root/$folder/node_modules
	if [ -n "${!variable:-}" ]; then
		return
	fi
	# npm writes what it installed beside the packages; a lock file that is
	# newer means that the folder is old.
	if [ ! -f "$dir/.package-lock.json" ] || [ "$folder/package-lock.json" -nt "$dir/.package-lock.json" ]; then
		if ! command -v npm >/dev/null; then
			printf -v "$variable" %s "missing: $what: no npm"
			return
		fi
		say "installing by npm: the packages of $folder/package-lock.json, in $folder/node_modules"
		if ! try npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund; then
			printf -v "$variable" %s "missing: $what: npm ci in $folder failed"
			return
		fi
		touch "$dir/.package-lock.json"
	fi
	printf -v "$variable" %s "$dir"
}

provide() {
	provide_cc
	provide_chromium
	provide_node
	provide_packages GATEBOOK_TEST_NODE_MODULES test "the interop tests"
	provide_packages GATEBOOK_TEST_NEXTJS test/nextjs "the tests beside Next.js"
	provide_packages GATEBOOK_TEST_CLIENTS test/clients "the tests in browsers"
	provide_packages GATEBOOK_TEST_ADAPTERS test/adapters "the tests beside the adapters of Auth.js"
	provide_strace
	provide_proxy GATEBOOK_TEST_NGINX nginx nginx-light
	provide_proxy GATEBOOK_TEST_CADDY caddy caddy
	provide_databases
	export GATEBOOK_TEST_CHROMIUM GATEBOOK_TEST_NODE GATEBOOK_TEST_NODE_MODULES GATEBOOK_TEST_NEXTJS
	export GATEBOOK_TEST_CLIENTS GATEBOOK_TEST_ADAPTERS GATEBOOK_TEST_STRACE
	export GATEBOOK_TEST_NGINX GATEBOOK_TEST_CADDY
}

provide_databases() {
	provide_database GATEBOOK_TEST_POSTGRES PostgreSQL has_postgres postgresql
	provide_database GATEBOOK_TEST_MYSQL MariaDB has_mariadb mariadb-server-core
	provide_database GATEBOOK_TEST_REDIS Redis has_redis redis-server
	export GATEBOOK_TEST_POSTGRES GATEBOOK_TEST_MYSQL GATEBOOK_TEST_REDIS
}

# unprovided prints a line for each part that is missing and fails if there is
# one and CI=true: in CI a part that was not tested is a failure.
unprovided() {
	local part missing=
	for part in "$GATEBOOK_TEST_CHROMIUM" "$GATEBOOK_TEST_NODE" "$GATEBOOK_TEST_NODE_MODULES" "$GATEBOOK_TEST_NEXTJS" \
		"$GATEBOOK_TEST_CLIENTS" "$GATEBOOK_TEST_ADAPTERS" "$GATEBOOK_TEST_STRACE" "$GATEBOOK_TEST_NGINX" "$GATEBOOK_TEST_CADDY" \
		"${GATEBOOK_TEST_POSTGRES:-}" "${GATEBOOK_TEST_MYSQL:-}" "${GATEBOOK_TEST_REDIS:-}"; do
		case $part in
		missing:*)
			say "skipped what needs ${part#missing: }"
			missing=yes
			;;
		esac
	done
	[ -z "$missing" ] || [ "${CI:-}" != true ]
}
