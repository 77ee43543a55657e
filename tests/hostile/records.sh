# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Records without end in the store, from two processes. Others attach, listen and connect meanwhile.
attack() {
	attacker records.1
	attacker records.2
	await "$dir/records.1.out" '^writing'
	guest quiet quiet peer listen quiet
	await "$dir/quiet.out" '^listening'
	for _ in 1 2 3 4 5; do
		guest caller try peer try quiet/quiet
		wait "$guest_pid" || fail "an honest connect: $(tail -n 1 "$dir/try.out")"
	done
	[ "$(wc -l <"$dir/msgd.1.log")" -lt 2000 ] || fail 'lines without end'
	[ "$(msgd_kib VmRSS)" -lt 65536 ] || fail "msgd takes $(msgd_kib VmRSS) KiB"
	kill -0 "${attackers[@]}" || fail 'an attacker ended'
}
