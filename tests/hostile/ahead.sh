# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2034,SC2016 # run has, and uses, them
# Callers keep the numbers that msgd gives them ahead. They keep nobody out of the listener's backlog; once policy
# does not let them connect any more, the use of such a number is no channel for long; and to use one that was given
# back ends the link.

no_transfer=yes # the honest pair is the one that connects
program=$build/tests/hostile/hostile-ahead

honest_calls() { # LOG: twice as many, and one of each attacker, have room in the backlog
	guest shop "$1" "$program" call web/name 12 40
	wait "$guest_pid" || fail "an honest caller: $(tail -n 1 "$dir/$1.out")"
}

attack() {
	local n

	guest web server "$program" serve name 32
	await "$dir/server.out" '^listening'
	honest_calls first
	for n in 1 2 3 4; do
		attacker "keeper-$n" keep web/name $((n == 1 ? 2 : 1))
		await "$dir/keeper-$n.out" '^keeps'
	done
	honest_calls beside
	[ "$(used hostile channels)" -le 20 ] || fail "$(used hostile channels) channels of them are charged"
	kill -USR1 "$(peer_pid keeper-1)"
	await "$dir/keeper-1.out" '^deaf'
	sed -i "1i deny connect * from hostile to any" "$dir/test.policy"
	msgctl reload >/dev/null || fail 'reload'
	kill -USR1 "$(peer_pid keeper-1)"
	await "$dir/server.out" '^hostile said raw'
	await "$dir/server.out" '^hostile: ECONNRESET: .*policy or the administrator permits the channel no more'
	must_hold '[.history[] | select(.kind == "channel-reset" and (.rule // "" | test("test.policy:1$")))] | length > 0' history
	kill -USR1 "$(peer_pid keeper-1)"
	await "$dir/keeper-1.out" '^gave back'
	eventually eval '[ "$(used hostile channels)" -eq 0 ]'
	honest_calls after # of which msgd tells the server after that
	kill -USR1 "$(peer_pid keeper-1)"
	await "$dir/keeper-1.out" '^the link ended'
	honest_calls last
}
