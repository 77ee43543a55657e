# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Lines of log without end. proto/limits.h: DOMAIN_LOG_BURST, and then ten a second.
attack() {
	local log=$dir/msgd.1.log way start=$SECONDS lines limit

	for way in malformed parked attach refused; do
		attacker "$way" "$hv" "$way"
	done
	for way in malformed parked attach refused; do
		await "$dir/$way.out" '^done' 60
	done
	lines=$(grep -c . "$log")
	limit=$((200 + 11 * (SECONDS - start + 1)))
	[ "$lines" -lt "$limit" ] || fail "$lines lines, and not $limit at most"
	[ "$(msgctl --json status | jq .counts.lines_left_out)" -gt 20000 ] || fail "too few lines were left out"
	grep -q 'hostile([0-9]*): too many lines: further ones are left out' "$log" || fail "nobody is told"
	# A line about somebody else finds its place.
	guest quiet quiet echo-client secret
	await "$log" 'refused: quiet('
}
