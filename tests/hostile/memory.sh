# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sixty-four domains at their quotas: what msgd has for one of them stays below 4 MiB (units/msgd.service.in
# has the sum), and is given back when they are gone.

n_domains=64

# Nothing is charged to any of the hostile domains.
nothing_charged() {
	msgctl --json domains | jq -e '[.domains[] | select(.name | startswith("hostile-")) | .used[]] | add == 0' >/dev/null
}

# Of its own: pages of the emulator's segment stay mapped once msgd has seen them.
smaller() { [ "$(msgd_kib RssAnon)" -lt "$1" ]; }

# Under a sanitizer only the charges count.
attack() {
	local before own after i each

	before=$(msgd_kib VmRSS)
	own=$(msgd_kib RssAnon)
	for i in $(seq $n_domains); do
		xen_sim create "hostile-$i" >/dev/null
	done
	for i in $(seq $n_domains); do
		guest "hostile-$i" "hostile-$i" "$build/tests/hostile/hostile-memory" "hostile-$i"
		attackers+=("$guest_pid")
		[ $((i % 8)) -ne 0 ] || await "$dir/hostile-$i.out" '^full: ' 60
	done
	for i in $(seq $n_domains); do
		await "$dir/hostile-$i.out" '^full: limit memory=' 60
	done
	counter_moves honest
	after=$(msgd_kib VmRSS)
	each=$(((after - before) / n_domains))
	# Fourteen applications a domain are all that the emulator has ports for: the others may have 5 pages,
	# an attach and its part of tables each.
	each=$((each + (64 - 14) * 23))
	echo "msgd: $each KiB a hostile domain at its quotas (private: $(msgd_kib RssAnon) KiB in all; before: $before)"
	msgctl --json domains | jq -c '.domains[] | select(.name == "hostile-64") | .used'
	sanitized || [ $each -lt 4096 ] || fail "$each KiB a domain"
	counter_moves honest
	attackers_kill
	attackers=()
	eventually nothing_charged
	sanitized || eventually smaller $((own + 4096))
	echo "msgd: private, before $own KiB, afterwards $(msgd_kib RssAnon) KiB"
}
