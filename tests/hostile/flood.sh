# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Eight peers publish frames without end to one application, which also takes checked messages in from an
# honest one. No call of the victim's takes more than 5 ms of CPU time past its limit; links that break the
# rules end with their reason; the honest link goes on.

flood=$build/tests/hostile/hostile-flood

flood_of() { attacker "attack.$1" attack victim/victim "$1"; }
reset_for() { await "$dir/victim.out" "is reset: $1" 60; }

attack() {
	local kinds='limit credit empty shutdown paid shreds events limit' victim kind

	[ "$transport" != argo ] || kinds='limit credit empty batch paid shreds events strange'
	[ "$transport" != argo-strict ] || kinds='limit credit empty batch paid shreds shutdown strange'
	: >"$dir/victim.count"
	truncate -s 8 "$dir/victim.count"
	guest victim victim "$flood" victim victim "$dir/victim.count"
	victim=$guest_pid
	await "$dir/victim.out" '^listening'
	guest shop near peer source victim/victim
	eventually counter_past victim 1000
	for kind in $kinds; do
		flood_of "$kind"
	done
	reset_for 'more limits than there was data'
	reset_for 'more frames of credit than there was data'
	reset_for 'more data than the credit given'
	reset_for 'a message in more fragments than it needs'
	for _ in 1 2 3; do
		counter_moves victim
	done
	kill -TERM "$(peer_pid victim)"
	wait "$victim" || fail "the victim failed: $(cat "$dir/victim.out")"
	grep '^dearest' "$dir/victim.out"
	expect victim '^ok'
	! grep 'link .* to domain [0-9]* is reset' "$dir/near.out" || fail 'the honest link was reset'
}
