# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The creator of links names pages that are not the link's. The victim refuses each, and writes into none.
attack() {
	guest victim victim echo-server echo
	attacker attack victim/echo
	await "$dir/attack.out" '^told'
	grep -q 'links with domain .* failed: .* is not of this link' "$dir/attack.out" ||
		fail "the victim tried for ever"
	# The victim still serves others.
	echo hello >"$dir/hello"
	guest_stdin=$dir/hello guest friend friend echo-client victim/echo
	wait "$guest_pid" || fail "the victim does not serve"
	expect friend 'got back: hello'
}
