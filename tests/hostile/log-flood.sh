# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Lines of log, and events, without end. proto/limits.h: DOMAIN_LOG_BURST, and then ten a second.
log_is_bounded() { # LOG SECONDS-AT-ITS-START
	local lines limit

	lines=$(grep -c . "$1")
	limit=$((200 + 11 * (SECONDS - $2 + 1)))
	[ "$lines" -lt "$limit" ] || fail "$lines lines, and not $limit at most"
	grep -q 'hostile([0-9]*): too many lines: further ones are left out' "$1" || fail "nobody is told"
}

# The events of the honest pair, by their serials.
honest_events() {
	msgctl --json history | jq -c '[.history[] | select([.who, .peer][].domain? // "" | startswith("honest-")).serial]'
}

attack() {
	local way start=$SECONDS events size

	events=$(honest_events)
	size=$(msgd_kib RssAnon)
	for way in malformed parked attach refused; do
		attacker "$way" "$hv" "$way"
	done
	for way in malformed parked attach refused; do
		await "$dir/$way.out" '^done' 90
	done
	log_is_bounded "$dir/msgd.1.log" "$start"
	[ "$(msgctl --json status | jq .counts.lines_left_out)" -gt 5000 ] || fail "too few lines were left out"
	# Nor does it flush what others did, or make msgd larger than its history and what the charges allow.
	[ "$(honest_events)" = "$events" ] || fail "events: $events; afterwards: $(honest_events)"
	[ "$(msgctl --json history | jq '.history | length')" = 1000 ] || fail 'the history is not full'
	sanitized || [ "$(msgd_kib RssAnon)" -lt $((size + 3072)) ] ||
		fail "msgd: $size KiB before, $(msgd_kib RssAnon) KiB afterwards"
	# A line about somebody else finds its place.
	guest quiet quiet echo-client secret
	await "$dir/msgd.1.log" 'refused: quiet('

	attacker announce "$hv" announce
	await "$dir/announce.out" '^ready'
	kill -9 "$msgd_pid"
	wait "$msgd_pid" 2>/dev/null
	start=$SECONDS
	msgd_start
	await "$dir/announce.out" '^done' 60
	await "$dir/msgd.2.log" 'no longer permitted'
	msgctl status >/dev/null
	log_is_bounded "$dir/msgd.2.log" "$start"
}
