# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# One domain's processes fill channels with messages of one byte, which their receiver does not read. It holds
# no more for them than the share of one domain, as malloc counts it, and their links end for it; the link of
# an honest peer of the same receiver goes on.

# With room for more channels than msgd lets a domain have by default.
printf '[limits]\nmemory = 65536\n' >"$dir/msgd.conf"
msgd_options=(--config="$dir/msgd.conf")

hoard=$build/tests/hostile/hostile-hoard

victim_kib() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(peer_pid victim)/status"; }

attack() {
	local i

	: >"$dir/victim.count"
	truncate -s 8 "$dir/victim.count"
	guest victim victim "$hoard" victim victim "$dir/victim.count"
	await "$dir/victim.out" '^listening'
	guest shop near peer source victim/victim
	eventually counter_past victim 1000
	for i in 1 2 3; do
		attacker "attack.$i" attack victim/victim 7000
	done
	for i in 1 2 3; do
		await "$dir/attack.$i.out" '^done' 90
	done
	counter_moves victim
	grep -q 'is reset: more unread data than this application holds' "$dir/victim.out" ||
		fail 'no link was reset'
	# The share is 128 MiB; glibc keeps some of what was freed.
	sanitized || [ "$(victim_kib)" -lt 190000 ] || fail "$(victim_kib) KiB"
}
