# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # run has, and uses, them; a filter of jq is quoted
# Domains at their quotas that make msgd work: an honest connect takes less than ten times as long as without
# them, at the 99th percentile, and no turn of msgd's loop takes more than 20 ms of the processor. The emulator
# holds 64 domains, of which domain 0, the honest ones and `hostile` are six.

no_transfer=yes # the honest pair is the one that connects: a transfer would have the processors to itself
n_hostile=${HOSTILE_DOMAINS:-58}
n_rules=${HOSTILE_RULES:-10000}
! sanitized || n_hostile=8

# Names as such, beginnings, and ends, for many callers and holders; the last rules are those that decide.
rules() {
	local quarter=$((n_rules / 4))

	seq $quarter | sed 's/.*/deny connect secret-& from guest-& to any/'
	seq $quarter | sed 's/.*/allow connect svc&-* from any to shop-&/'
	seq $quarter | sed 's/.*/deny connect *-x& from any to guest-&/'
	seq $((quarter - 3)) | sed 's/.*/deny listen hidden-&* on any/'
	printf '%s\n' 'allow listen * on any' 'deny connect trap from any to hostile*' \
		'allow connect * from any to any'
}
rules >"$dir/test.policy"

probe() { # LOG: prints the 99th percentile
	guest calls "$1" "$build/tests/hostile/hostile-work" connect serves/probe 2000
	wait "$guest_pid" || fail "the honest connects failed: $(tail -n 1 "$dir/$1.out")"
	sed -n 's/^p99 //p' "$dir/$1.out"
}

hostiles() { # FILTER: of the hostile domains, in jq
	msgctl --json domains | jq -e --argjson n $((n_hostile + 1)) \
		"[.domains[] | select(.name | startswith(\"hostile\")) | .used] | $1" >/dev/null
}
at_quota() { hostiles 'map(select(.requests >= 1023 and .names >= 1023)) | length == $n'; }
all_gone() { hostiles 'map(add) | add == 0'; }

no_long_turn() {
	local longest

	longest=$(msgctl --json status | jq .turns.longest_cpu_us)
	echo "$1: the longest turn took $longest us of the processor"
	sanitized || [ "$longest" -lt 20000 ] || fail "$1: a turn of msgd's loop took $longest us of the processor"
}

# msgd's time on a processor, and in the queue for one.
msgd_waited() { cut -d ' ' -f 1,2 "/proc/$msgd_pid/schedstat"; }
# BEFORE: since then, msgd has stood in the queue for more than a hundredth of its time, which is then what one in a
# hundred connects waits for.
others_use_it() {
	echo "$1 $(msgd_waited)" | awk '{exit !(99 * ($4 - $2) > $3 - $1)}'
}

attack() {
	local i names=(hostile) idle loaded before

	for i in $(seq "$n_hostile"); do
		xen_sim create "hostile-$i" >/dev/null
		names+=("hostile-$i")
	done
	guest serves serve "$build/tests/hostile/hostile-work" serve probe
	await "$dir/serve.out" listening
	idle=$(probe idle)
	"$build/tests/hostile/hostile-work" attack "$hv" "${names[@]}" >"$dir/attack.out" 2>&1 9>&- &
	attackers+=($!)
	await "$dir/attack.out" full 60
	eventually at_quota
	for i in 1 2 3; do
		before=$(msgd_waited)
		loaded=$(probe "loaded-$i")
		echo "an honest connect: $idle us idle, $loaded us under attack"
		[ "$loaded" -ge $((10 * idle)) ] || break
		! others_use_it "$before" || break
	done
	# Where msgd stands in a queue for the processor, that is what a connect waits for. Without a bound on what
	# msgd does first, it takes ten seconds.
	if others_use_it "$before"; then
		[ "$loaded" -lt 2000000 ] || fail "an honest connect takes $loaded us, on a busy machine"
	else
		[ "$loaded" -lt $((10 * idle)) ] || fail "an honest connect takes ten times as long"
	fi
	at_quota || fail "the attackers are not at their quotas any more"
	msgctl --json names | jq -e '(.names | length) == 16385 and .left_out > 0' >/dev/null || sanitized ||
		fail 'not as many names are shown as may be'
	no_long_turn 'under attack'
	# A reload judges all that waits, and all names, again.
	msgctl reload >/dev/null
	probe reloaded >/dev/null
	no_long_turn 'after a reload'
	kill -9 "${attackers[@]}"
	attackers=()
	eventually all_gone
	no_long_turn 'after the attack'
}

# From some domains of its own, and under the policy that is there, which is judged again meanwhile.
attack_among_others() {
	local i names=()

	for i in 1 2 3 4; do
		xen_sim create "hostile-work-$i" >/dev/null 2>&1
		names+=("hostile-work-$i")
	done
	"$build/tests/hostile/hostile-work" attack "$hv" "${names[@]}" >"$dir/attack.out" 2>&1 9>&- &
	attackers+=($!)
	await "$dir/attack.out" full 60
	for i in 1 2 3 4 5 6 7 8; do
		msgctl reload >/dev/null
	done
	kill -9 "${attackers[@]}"
}
