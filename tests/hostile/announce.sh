# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Announcements without end, from a newcomer and from one that was there before msgd.

at_most() { [ "$1" -le "$2" ] || fail "$3: $1"; }

attack() {
	attacker attacker
	await "$dir/attacker.out" '^newcomer' 60
	# Its application is all that it is charged for.
	at_most "$(used hostile ends)" 0 'ends of a newcomer'
	at_most "$(used hostile announced)" 0 'channels of a newcomer'
	at_most "$(used hostile memory)" 8192 'bytes of a newcomer'
	kill -9 "$msgd_pid"
	wait "$msgd_pid"
	msgd_start
	await "$dir/attacker.out" '^returned' 60
	msgctl --json domains | jq -c '.domains[] | select(.name == "hostile") | .used'
	at_most "$(used hostile memory)" $((2 << 20)) 'bytes'
	at_most "$(wc -l <"$dir/msgd.2.log")" 400 'lines in the log'
	msgctl --json channels | jq -e '[.channels[] | select(.state == "open")] | length == 1' >/dev/null ||
		fail "the honest pair's channel"
	counter_moves honest
}
