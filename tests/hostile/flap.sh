# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154 # run has them
# A domain's names come and go, and it watches for them, and does not read. Its memory in msgd stays below its
# limit, no turn of msgd's loop takes more than 20 ms of the processor, and when all is told msgd sleeps.

turns() { msgctl --json status | jq .turns.count; }
# Two questions make msgd run a few turns of its loop; one with something to do runs them without end.
slept() {
	local before

	before=$(turns)
	[ $(($(turns) - before)) -lt 20 ]
}

attack() {
	local longest

	attacker attacker 20000
	await "$dir/attacker.out" '^done' 100
	[ "$(used hostile watches)" -gt 0 ] || fail 'nothing is watched'
	[ "$(used hostile memory)" -lt $((2 << 20)) ] || fail "$(used hostile memory) bytes"
	longest=$(msgctl --json status | jq .turns.longest_cpu_us)
	echo "the longest turn took $longest us of the processor; $(used hostile memory) bytes"
	sanitized || [ "$longest" -lt 20000 ] || fail "a turn of msgd's loop took $longest us of the processor"
	eventually slept
}
