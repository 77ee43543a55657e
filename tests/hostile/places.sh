# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # run has, and uses, them; a filter of jq is quoted
# More processes of one domain than it may have: those that may are let in, and each of the others is told by
# EDQUOT which setting refuses it, however many they are. The setting is kept, whatever it is.

printf '[limits]\nprocesses = 64\n' >"$dir/msgd.conf"

msgd_start() {
	"$build/daemon/msgd" --hv="$hv" --policy="$dir/test.policy" --config="$dir/msgd.conf" \
		>"$dir/msgd.log" 2>&1 9>&- &
	msgd_pid=$!
	await "$dir/msgd.log" 'serves sim:'
}

count() { grep -c "$2" "$dir/$1.out"; }
all_answered() { [ "$(count "$1" '^attached$\|^refused ')" -eq 135 ]; }

take() { # LOG PLACES: of 135 processes
	attacker "$1" 135
	for _ in 1 2 3; do all_answered "$1" || (eventually all_answered "$1") 2>/dev/null; done
	all_answered "$1" || fail "only $(count "$1" '^attached$\|^refused ') of 135 were answered"
	[ "$(count "$1" '^attached$')" -eq "$2" ] || fail "$(count "$1" '^attached$') of 135 were let in, not $2"
	[ "$(count "$1" "^refused EDQUOT: .*limit processes=$2 of domain hostile")" -eq $((135 - $2)) ] ||
		fail "not each refusal names the setting: $(grep '^refused' "$dir/$1.out" | sort | uniq -c)"
	kill -9 "$(peer_pid "$1")"
	attackers=()
	eventually nothing_left
}

attack() {
	take few 64
	printf '[limits]\nprocesses = 135\n' >"$dir/msgd.conf"
	msgctl reload >/dev/null
	take many 135
}

# In a domain of its own, for it takes all places, and under the limits that are there. The emulator has room for
# some 250 processes.
attack_among_others() {
	xen_sim create hostile-places >/dev/null 2>&1
	guest hostile-places all "$build/tests/hostile/hostile-places" 80
	for _ in 1 2 3; do
		[ "$(count all '^attached$\|^refused ')" -lt 80 ] || break
		(eventually eval '[ "$(count all "^attached$\|^refused ")" -eq 80 ]') 2>/dev/null
	done
	kill -9 "$(peer_pid all)"
}
