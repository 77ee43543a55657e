# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A listener never answers the CLOSE of an honest caller, who connects more often than its domain may have
# channels. Neither that caller nor a neighbour in its domain is refused for its quota.

attack() {
	local caller

	xen_sim create shop >/dev/null # it outlives its processes
	attacker mute listen deaf
	await "$dir/mute.out" '^listening'
	guest shop caller "$build/tests/hostile/hostile-unanswered" call hostile/deaf 70000
	caller=$guest_pid
	transfer_between neighbour web shop
	wait "$caller" || fail "the caller: $(cat "$dir/caller.out")"
	expect caller '^done, [1-9][0-9]* again'
	guest shop late "$build/tests/hostile/hostile-unanswered" call hostile/deaf 10
	wait "$guest_pid" || fail "the late caller: $(cat "$dir/late.out")"
	[ "$(used shop channels)" -lt 20000 ] || fail "$(used shop channels) channels are charged"
	transfer_stop neighbour
}
