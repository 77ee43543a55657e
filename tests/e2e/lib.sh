# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A world for one end-to-end case: a directory, an emulated Xen, msgd, and guests in domains of their own.
# Waiting is for lines in logs and for counters to move, with a limit; nothing sleeps and hopes.

build=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/msgd-e2e.XXXXXX")
hv=sim:$dir/xen
msgd_pid=''
# Looks in each guest whether the events of libmsg are true (tests/support/level-checker.h); or empty.
level_checker=$build/tests/support/liblevel-checker.so

patience=${patience:-60} # seconds until a wait counts as a hang: a busy machine takes many times as long as an idle one

failure=''
fail() {
	failure=$*
	echo "FAIL: $failure" >&2
	exit 1
}

xen_sim() { "$build/hv/sim/xen-sim" "$dir/xen" "$@"; }
msgctl() { "$build/msgctl/msgctl" "--hv=$hv" "$@"; }

# holds FILTER WORDS...: jq says that it is true of msgctl's answer.
holds() { msgctl --json "${@:2}" | jq -e "$1" >/dev/null; }
must_hold() { holds "$@" || fail "not $1: $(msgctl --json "${@:2}")"; }

skip() {
	echo "SKIP: $*"
	exit 77
}

# Processes with our directory in their command line: all were started here.
ours() {
	local file pid

	for file in /proc/[0-9]*/cmdline; do
		pid=${file#/proc/}
		pid=${pid%/cmdline}
		[ "$pid" != $$ ] && grep -qsF "$dir/" "$file" && echo "$pid"
	done
	return 0
}

# The emulator's own process: the only one of ours that was started with -d.
xen_sim_pid() {
	local pid

	for pid in $(ours); do
		[ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" != "$build/hv/sim/xen-sim $dir/xen -d " ] ||
			echo "$pid"
	done
}

world_end() {
	local status=$? pid left='' log

	trap - EXIT
	# A child that is killed before it has become a program has this trap, too.
	[ "$BASHPID" = $$ ] || exit $status
	set +e
	exec 9>&-
	xen_sim shutdown >/dev/null 2>&1
	for pid in $(ours); do kill "$pid" 2>/dev/null; done
	for _ in $(seq 200); do
		left=$(ours)
		[ -n "$left" ] || break
		sleep 0.05
	done
	for pid in $left; do
		failure="did not end: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
		kill -9 "$pid" 2>/dev/null
		status=1
	done
	# "Success" is an error reported without one.
	if grep -lE 'AddressSanitizer|runtime error|ThreadSanitizer|level-checker|cannot be preloaded|: Success$' "$dir"/*.log "$dir"/*.out \
		2>/dev/null; then
		failure='a log has words of a sanitizer or of the level checker, or an error without a cause'
		status=1
	fi
	if [ $status -ne 0 ]; then
		for log in "$dir"/*.log "$dir"/*.out; do
			[ -s "$log" ] && echo "--- ${log##*/}" && tail -n 60 "$log"
		done >&2
	fi
	rm -rf "$dir"
	# Last: before the logs it is easily overlooked.
	[ -z "$failure" ] || echo "FAIL: $failure" >&2
	exit $status
}
trap world_end EXIT
trap 'exit 130' INT TERM HUP

# await FILE PATTERN [SECONDS]: until the file has a line like it. tail, which outlives that, holds no guest's input open.
await() {
	grep -qm1 -- "$2" < <(exec timeout "${3:-$patience}" tail -n +1 -s 0.02 -F "$1" 2>/dev/null 9>&-) ||
		fail "no \"$2\" in ${1##*/}"
}

# eventually COMMAND...: tries until it succeeds.
eventually() {
	local end=$((SECONDS + patience))

	until "$@"; do
		[ $SECONDS -lt $end ] || fail "never came true: $*"
		sleep 0.02
	done
}

msgd_start() {
	local log=$dir/msgd.$((++msgd_starts)).log

	"$build/daemon/msgd" --hv="$hv" --policy="$dir/test.policy" "${msgd_options[@]}" >"$log" 2>&1 9>&- &
	msgd_pid=$!
	await "$log" 'serves sim:'
}
msgd_starts=0
msgd_options=()
msgd_kib() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$msgd_pid/status"; } # VmRSS, RssAnon and so on
# A sanitizer keeps what was freed, has memory of its own, and makes msgd many times as slow.
sanitized() { grep -q __asan_init "$build/daemon/msgd"; }

transport=any # policy demands it of every link
sim_option='' # of the emulator, or none
world_start() {
	[ -f "$dir/test.policy" ] || printf '%s\n' 'deny connect secret from any to any' \
		'allow listen * on any' "allow connect * from any to any transport=$transport" \
		>"$dir/test.policy"
	# shellcheck disable=SC2086 # none or one
	xen_sim -d $sim_option >"$dir/xen-sim.log" 2>&1 9>&-
	msgd_start
}

# guest DOMAIN[:no-argo|:no-argo-driver] LOG PROGRAM ARGUMENT...: in the background, stdin being what 9 holds open.
# In the emulator of $dir, which tests/hostile/all changes, or of $guest_xen.
guest() {
	local domain=${1%%:*} option='' log=$dir/$2.out program=$3

	[ "$1" = "$domain" ] || option=--${1#*:}
	shift 3
	case $program in
	/*) ;;
	peer | hostile | all-rings | contexts | asker) program=$build/tests/e2e/$program ;;
	*) program=$build/examples/$program ;;
	esac
	: >"$log"
	[ -z "$level_checker" ] || [ -f "$level_checker" ] || fail "no $level_checker"
	# In the foreground, timeout sends no SIGCONT after its signal: that would undo the stop by which a leak
	# checker, at xen-sim's end, waits for its own process, for ever. The program gets its signal from xen-sim.
	# shellcheck disable=SC2086 # none or one
	timeout --foreground "${guest_limit:-300}" "$build/hv/sim/xen-sim" "${guest_xen:-$dir/xen}" run $option "$domain" -- \
		env LD_PRELOAD="$level_checker" \
		ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0" "$program" "$@" \
		>"$log" 2>&1 <"${guest_stdin:-/dev/null}" 9>&- &
	guest_pid=$!
}

# The process of a peer, by what it said.
peer_pid() {
	await "$dir/$1.out" '^pid '
	sed -n 's/^pid //p' "$dir/$1.out"
}

# expect LOG PATTERN: the last line is like it.
expect() {
	tail -n 1 "$dir/$1.out" | grep -q -- "$2" ||
		fail "$1 said: $(tail -n 1 "$dir/$1.out"); expected: $2"
}

counter() { od -An -t u8 -N8 "$dir/$1.count" | tr -d ' '; }
counter_past() { [ "$(counter "$1")" -gt "$2" ]; }
counter_moves() { eventually counter_past "$1" $(($(counter "$1") + 1000)); }

# A content-checked transfer between two domains: NAME.sink, NAME.source, NAME.count.
transfer_between() { # NAME DOMAIN-OF-SINK DOMAIN-OF-SOURCE
	: >"$dir/$1.count"
	truncate -s 8 "$dir/$1.count"
	guest "$2" "$1.sink" peer sink "$1" "$dir/$1.count"
	eval "$1_sink=$guest_pid"
	guest "$3" "$1.source" peer source "${2%%:*}/$1"
	eval "$1_source=$guest_pid"
	counter_moves "$1"
}
transfer_start() { transfer_between "$1" "$1-sink" "$1-source${2:-}"; } # NAME [SUFFIX-OF-SOURCE'S-DOMAIN]

# It still runs, ends when told so, and every message was right.
transfer_stop() {
	local sink source

	eval "sink=\$$1_sink source=\$$1_source"
	counter_moves "$1"
	kill -TERM "$(peer_pid "$1.source")"
	wait "$source" || fail "the source of $1 failed"
	wait "$sink" || fail "the sink of $1 failed"
	[ "$(sed -n 's/^sent //p' "$dir/$1.source.out")" = \
		"$(sed -n 's/^received //p' "$dir/$1.sink.out")" ] || fail "$1: counts differ"
}

# The activity of processes so far: "context switches, CPU ticks". A busy loop need not switch.
activity() {
	local pid

	for pid in "$@"; do
		cat "/proc/$pid/status"
		sed 's/.*) //; s/^/stat /' "/proc/$pid/stat"
	done | awk '/ctxt_switches/ {n += $2} /^stat / {t += $13 + $14} END {print n + 0 ", " t + 0}'
}

# guest_stdin as a pipe that stays open until the case ends.
stdin_hold() {
	mkfifo "$dir/stdin"
	exec 9<>"$dir/stdin"
	guest_stdin=$dir/stdin
}
