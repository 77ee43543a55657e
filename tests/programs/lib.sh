# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2034
# Words for the tests with Debian's programs: a server of domain web, and a client in domain shop. For tests/programs/run
# to source, with $build.
#
# Nothing of the machine is used but its programs: each server has its own configuration, its data and its socket in
# $own, and runs as nobody where the test is run by root. msgio itself runs as whoever runs the test.

programs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/lib.sh
. "$programs/../e2e/lib.sh"
# shellcheck source=inputs.sh
. "$programs/inputs.sh"
peer=$programs/../e2e/msgio-peer
gate=$build/tests/programs/gate
MIB=1048576
client_limit=$((2 * patience)) # seconds after which a client is hung: before the services are ended,
guest_limit=$((5 * patience))  # which would break its connection

# ---- the programs ----------------------------------------------------------------------------

own=$dir/own
mkdir "$own" "$dir/home"
chmod 711 "$dir"
unprivileged=(env -u LD_PRELOAD HOME="$own")
if [ "$(id -u)" -eq 0 ]; then
	chown nobody: "$own"
	unprivileged+=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups --inh-caps=-all)
	"${unprivileged[@]}" test -w "$own" || skip "nobody does not get at $dir"
fi
export HOME=$dir/home LC_ALL=C
unset "${!PG@}" "${!GIT_@}" "${!RSYNC_@}" "${!CURL_@}" SSH_AUTH_SOCK no_proxy NO_PROXY http_proxy ALL_PROXY all_proxy

# By fetch, where they are not installed; nobody may not get at them in somebody's home.
unpacked=$programs/../../build-programs/root
if [ -d "$unpacked" ]; then
	"${unprivileged[@]}" test -x "$unpacked/usr/bin" || { cp -r "$unpacked" "$dir/unpacked" && unpacked=$dir/unpacked; }
	unpacked=$(cd "$unpacked" && pwd)
	LD_LIBRARY_PATH=$(printf '%s:' "$unpacked"/usr/lib/*-linux-gnu*{,/systemd})
	export LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:}
fi
for place in /usr/lib/postgresql/*/bin /usr/lib/git-core /usr/lib/systemd /lib/systemd /usr/sbin /usr/bin; do
	found="${found:-}:$place"
done
PATH=$build/msgio:$(printf '%s:' "$unpacked"/usr/{sbin,bin} "$unpacked"/usr/lib/{postgresql/*/bin,systemd})$PATH$found

needs() { # PROGRAM...
	local program

	for program in "$@"; do
		command -v "$program" >/dev/null || skip "no $program (tests/programs/fetch gets it)"
	done
}

# ---- the two domains -------------------------------------------------------------------------

world() {
	world_start
	xen_sim create web >/dev/null
	xen_sim create shop >/dev/null
}

# service DOMAIN LOG ARGUMENT...: msgio's exec or forward, until it listens.
service() {
	# shellcheck disable=SC2016 # of the shell that becomes the program
	guest "$1" "$2" /bin/sh -c 'echo "pid $$"; exec "$0" "$@"' "$build/msgio/msgio" "${@:3}"
	await "$dir/$2.out" 'listens on'
}

port_of() { sed -n 's/.* port //p' "$dir/$1.out"; }

# server LOG COMMAND...: in the background.
server() {
	"${unprivileged[@]}" "${@:2}" >"$dir/$1.out" 2>&1 </dev/null 9>&- &
	server_pid=$!
}

server_kill() {
	kill -9 "$server_pid"
	wait "$server_pid" 2>/dev/null || true
}

# client LOG COMMAND...: in domain shop, in the background; its standard output goes to LOG.got.
client() {
	# shellcheck disable=SC2016 # of the shell that becomes the program
	guest_limit=$client_limit guest shop "$1" /bin/sh -c 'echo "pid $$" >&2; log=$1; shift; exec "$@" >"$log.got"' sh "$dir/$1" "${@:2}"
}

# whole LOG: the last client was content.
whole() {
	wait "$guest_pid" || fail "$1: exit status $?"
}

# limited COMMAND...: a client's program that needs no domain, since its msgio is another process.
limited() { timeout "$client_limit" "$@"; }

# broken PID WHAT: it ends with an error, and did not hang.
broken() {
	local status=0

	wait "$1" || status=$?
	case $status in
	0) fail "$2: ended as if all were well" ;;
	124) fail "$2: hangs" ;;
	esac
	broken_status=$status
}

# ---- mid-work --------------------------------------------------------------------------------

# size_past FILE N: it is there, and so large.
size_past() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -gt "$2" ]; }

gate_new() { mkfifo "$dir/$1.open"; }
gate_reached() { eventually test -e "$dir/$1.reached"; }
gate_open() { timeout "$patience" sh -c ': >"$1"' sh "$dir/$1.open" || fail "gate $1: nobody is there"; }

parent_of() { sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$1/stat" 2>/dev/null || true; }

# under PID NAME: processes below it, of all generations, with this name; NAME may be a pattern.
under() {
	local file pid up

	for file in $(grep -lsx -- "$2" /proc/[0-9]*/comm); do
		pid=${file#/proc/}
		pid=${pid%/comm}
		up=$(parent_of "$pid")
		while [ "${up:-0}" -gt 1 ] && [ "$up" != "$1" ]; do up=$(parent_of "$up"); done
		[ "${up:-0}" != "$1" ] || echo "$pid"
	done
}

# kill_under PID NAME: all of them at once, of which one may see another's end first.
kill_under() {
	local pids

	pids=$(under "$1" "$2")
	[ -n "$pids" ] || fail "no $2 runs that could be killed"
	# shellcheck disable=SC2086 # a list
	kill -9 $pids 2>/dev/null || true
}

# idle LOG: this service of exec runs no program any more.
idle() { eventually eval "[ -z \"\$(under $(peer_pid "$1") '.*')\" ]"; }
