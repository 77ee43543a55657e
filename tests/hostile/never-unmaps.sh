# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A listener never unmaps what it is granted. Its callers' pages stay bounded, however often they connect: eight
# links of 66 pages that it holds openly, one if it says that it has let go. tests/unit/libmsg counts 10,000.
mapped() { sed -n 's/^mapped //p' "$dir/$1.out" | tail -n 1; }

reconnect() { # WAY MOST
	attacker "$1" "$1"
	guest victim "victim.$1" "$build/tests/hostile/hostile-$attack" connect hostile/trap 1000
	wait "$guest_pid" || fail "the victim failed"
	grep -q '^connected [1-9]' "$dir/victim.$1.out" || fail "the victim had no link"
	[ "$(mapped "$1")" -le "$2" ] || fail "$1: $(mapped "$1") pages"
}

attack() {
	reconnect holds $((8 * 66))
	# msgd bounds how often such links are made, and says so, too.
	grep -qE '^last: .*(has not let go of the memory of 8 links that ended|keep failing)' "$dir/victim.holds.out" ||
		fail "no reason: $(tail -n 1 "$dir/victim.holds.out")"
	attackers_kill
	attackers=()
	eventually nothing_left
	reconnect lies 66
}
