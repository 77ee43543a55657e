# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A listener that does not read now, an honest caller of it, and a hostile one whose links fail over and over.

other_waits() {
	msgctl --json links | jq -e 'any(.links[]; .state == "binding" and .creator.domain == "other")' >/dev/null
}

attack() {
	: >"$dir/quiet.count"
	truncate -s 8 "$dir/quiet.count"
	guest quiet quiet.sink peer sink quiet "$dir/quiet.count"
	# shellcheck disable=SC2034 # transfer_stop's
	quiet_sink=$guest_pid
	await "$dir/quiet.sink.out" '^listening'
	kill -STOP "$(peer_pid quiet.sink)"
	attacker attacker quiet/quiet
	await "$dir/attacker.out" '^done: ' 60
	tail -n 1 "$dir/attacker.out"
	expect attacker 'keep failing: the next in [0-9]* ms$'
	[ "$(used hostile memory)" -lt 65536 ] || fail "$(used hostile memory) bytes"
	guest other quiet.source peer source quiet/quiet
	# shellcheck disable=SC2034 # likewise
	quiet_source=$guest_pid
	eventually other_waits
	kill -CONT "$(peer_pid quiet.sink)"
	counter_moves quiet
	transfer_stop quiet
}
