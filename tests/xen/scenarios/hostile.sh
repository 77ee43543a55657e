# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Attacks of tests/hostile by a guest of its own, on real Xen, beside an honest pair of two others whose every
# message is checked. Afterwards, when the attacker is gone, nothing of it is left. (faults/death-noticed has
# two guests that write records in loops.)
# boots: xenstored argo
# limit: 300
# cases: foreign-pages announce cycles unanswered

. /lab/lab.sh
. /lab/transfer.sh

# used QUANTITY: what msgd charges the attacker for.
used() { msgctl --json domains | jq --arg what "$1" '[.domains[] | select(.name == "pv2") | .used[$what]] | add // 0'; }
at_most() { [ "$1" -le "$2" ] || fail "$3: $1"; }
nothing_left() { msgctl --json domains | jq -e '[.domains[] | select(.name == "pv2") | .used[]] | add // 0 == 0' >/dev/null; }

beside_honest() { # COMMAND...
	msgd_have
	guest_have_all pv1 pv pvh1 pvh pv2 pv
	transfer_start honest pvh1 pv1
	"$@"
	stop attacker
	eventually 20 nothing_left
	transfer_stop honest >/tmp/honest
	seen "$(</tmp/honest)"
}

# The creator of links names pages that are not the link's: the victim refuses each, and serves others still.
foreign_pages() {
	start victim pvh1 'echo-server echo'
	await victim '^listening'
	start attacker pv2 'hostile-foreign-pages pvh1/echo'
	await attacker '^told' 120
	on pv1 'echo hello | echo-client pvh1/echo' | grep -q 'got back: hello' || fail 'the victim does not serve'
	stop victim
}
case_foreign_pages() { beside_honest foreign_pages; }

# Announcements without end, from a newcomer and from one that was there before msgd.
announce() {
	start attacker pv2 hostile-announce
	await attacker '^newcomer' 120
	at_most "$(used ends)" 0 'ends of a newcomer'
	at_most "$(used announced)" 0 'channels of a newcomer'
	at_most "$(used memory)" 8192 'bytes of a newcomer'
	msgd_kill
	msgd_start
	await attacker '^returned' 120
	at_most "$(used memory)" $((2 << 20)) bytes
	counter_moves honest pvh1
}
case_announce() { beside_honest announce; }

# Links that fail over and over, to a listener that does not read meanwhile.
cycles() {
	start quiet pvh1 'peer sink quiet /tmp/quiet.count'
	await quiet '^listening'
	signal quiet STOP
	start attacker pv2 'hostile-cycles pvh1/quiet 2000'
	await attacker '^done: ' 200
	output attacker | grep -q 'keep failing: the next in [0-9]* ms$' || fail "$(output attacker)"
	at_most "$(used memory)" 65536 bytes
	signal quiet CONT
	stop quiet
}
case_cycles() { beside_honest cycles; }

# A listener never answers the CLOSE of an honest caller, who is not refused for its quota.
unanswered() {
	start attacker pv2 'hostile-unanswered listen deaf'
	await attacker '^listening'
	start caller pv1 'hostile-unanswered call pv2/deaf 6000'
	finish caller 200 >/tmp/caller || fail "the caller: $(tail -n 1 /tmp/caller)"
	grep -q '^done, ' /tmp/caller || fail "the caller said: $(tail -n 1 /tmp/caller)"
}
case_unanswered() { beside_honest unanswered; }
