# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# The installed msgd over an emulated Xen in $AUTOPKGTEST_TMP, for tests to source.
set -eu
cd "$AUTOPKGTEST_TMP"
xen=$PWD/xen

world_end() {
	local status=$?

	trap - EXIT
	[ $status -eq 0 ] || tail -n 20 ./*.log
	xen-sim "$xen" shutdown >/dev/null 2>&1 || true
	wait
	exit $status
}

# await LOG PATTERN PID: until the log has such a line; fails if the process ends without.
await() {
	timeout 60 tail -n +1 -s 0.05 --pid="$3" -f "$1" | grep -qm1 -- "$2"
}

# world_start <POLICY
world_start() {
	cat >policy
	: >msgd.log
	trap world_end EXIT
	msgd --hv="sim:$xen" --policy="$PWD/policy" >msgd.log 2>&1 &
	await msgd.log 'serves sim:' $!
}

# guest DOMAIN PROGRAM ARGUMENT...: a process in a domain; guest_start, behind, with a log DOMAIN.log.
guest() {
	local domain=$1

	shift
	timeout 120 xen-sim "$xen" run "$domain" -- "$@"
}
guest_start() {
	: >"$1.log"
	guest "$@" >"$1.log" 2>&1 </dev/null &
	guest_pid=$!
}
