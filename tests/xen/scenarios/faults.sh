# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What dies, stops or comes back, in mid-transfer; what the other end sees; and whether ports and grants
# come back. SOURCE is what sends, SINK what receives and checks every message.
# boots: xenstored oxenstored argo
# limit: 300
# cases: kill-source kill-sink destroy-source destroy-sink destroy-ten death-noticed pause msgd-restart
# cases: quiesce reboot stale-record gntalloc-limit gntalloc-raised
# cases-oxenstored: destroy-source destroy-sink death-noticed msgd-restart quiesce reboot stale-record
# cases-argo: kill-source kill-sink destroy-source destroy-sink destroy-unread destroy-unread-pv destroy-unread-dom0
# cases-argo: destroy-mid-message destroy-mid-message-pvh destroy-mid-message-dom0 destroy-ten death-noticed pause msgd-restart
# cases-argo: quiesce reboot stale-record

. /lab/lab.sh
. /lab/transfer.sh

# end_seen TAG: it ends by itself, with ECONNRESET, soon; prints what it said.
end_seen() {
	local said status=0

	said=$(finish "$1" 10) || status=$?
	[ $status -eq 3 ] || fail "$1 ended with $status: $(tail -n 1 <<<"$said")"
	said=$(tail -n 1 <<<"$said")
	[[ $said == 'error ECONNRESET after '[1-9]* ]] || fail "$1 said: $said"
	echo "$said"
}

# ---- Xen's state ---------------------------------------------------------------------------------

# Event channels of a domain, between processes; the number of the kernel's own does not change.
ports() { lsevtchn "$1" 2>/dev/null | grep -c .; }
# Pages of a domain's that some domain maps, after Xen's own list. Its console and store pages are among them, always.
grants_mapped() { # DOMID LIST
	awk -v want="d$1" '
		/grant-table for remote/ {mine = 0; for (i = 1; i <= NF; i++) if ($i == want) mine = 1}
		/\[0x[0-9a-f]+\]/ && mine {n++}
		END {print n + 0}' "$2"
}

# Xen prints it in its own time.
grants_printed() { xl dmesg >/tmp/grants && grep -q 'gnttab_usage_print_all.* done' /tmp/grants; }

# Pages that a domain's driver for Argo has for rings.
ring_pages() {
	local said

	said=$(on "$1" 'argo-selftest 0 pages_held')
	[[ $said =~ ^pages\ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}"
}

# resources GUEST...: "domain: ports grants" of dom0 and of these, and rings where there are some.
resources() {
	local guest domid

	xl dmesg -c >/dev/null
	xl debug-keys g
	eventually 10 grants_printed
	for guest in dom0 "$@"; do
		domid=0
		[ "$guest" = dom0 ] || domid=$(guest_domid "$guest")
		echo "$guest: $(ports "$domid") ports, $(grants_mapped "$domid" /tmp/grants) grants" \
			"$([ "$transport" = grant ] || echo "and $(ring_pages "$guest") pages of rings")"
	done
}
resources_are() { # TEXT GUEST...
	local want=$1

	shift
	[ "$(resources "$@")" = "$want" ]
}

no_links() {
	local links

	links=$(msgctl --json links) || fail 'msgctl links'
	[ -z "$(json_values transport <<<"$links")" ] || fail "links: $links"
}

guests_have() {
	msgd_have
	guest_have_all pv1 pv pvh1 pvh
}

# ---- a process dies --------------------------------------------------------------------------------

process_killed() { # VICTIM OTHER
	local before began

	guests_have
	before=$(resources pv1 pvh1)
	transfer_start t pvh1 pv1
	began=${EPOCHREALTIME/./}
	signal "t-$1" KILL
	seen "the $2 says: $(end_seen "t-$2") ($(milliseconds_since "$began") ms);" \
		"back to $(tr '\n' ' ' <<<"$before")"
	finish "t-$1" >/dev/null || true
	eventually 5 resources_are "$before" pv1 pvh1
}
case_kill_source() { process_killed source sink; }
case_kill_sink() { process_killed sink source; }

# ---- a domain dies -----------------------------------------------------------------------------------

domain_destroyed() { # VICTIM OTHER GUEST-OF-VICTIM
	local before began gone said

	guests_have
	before=$(resources pv1 pvh1)
	transfer_start t pvh1 pv1
	guest_destroy "$3"
	gone=${EPOCHREALTIME/./}
	eventually 1 no_zombies
	gone=$(milliseconds_since "$gone")
	said=$(end_seen "t-$2")
	no_links
	guests_have
	seen "the $2 says: $said; no zombie $gone ms after xl destroy; back to $(tr '\n' ' ' <<<"$before")"
	eventually 5 resources_are "$before" pv1 pvh1
}
case_destroy_source() { domain_destroyed source sink pv1; }
case_destroy_sink() { domain_destroyed sink source pvh1; }

# asleep TAG: in a system call that waits; what is stopped is not.
asleep() {
	local domain id offset

	in_tag "$1"
	on "$domain" "grep -q '^State:.S' /proc/\$(cat /run/lab/$id.pid)/status"
}

# The receiver's domain goes while messages lie in the receiver's ring, and the sender waits for room.
destroyed_unread() { # SINK SOURCE
	local n_read n_sent said

	guests_have
	transfer_start t "$1" "$2"
	signal t-sink STOP
	eventually 20 asleep t-source
	n_read=$(counter t "$1")
	guest_destroy "$1"
	eventually 1 no_zombies
	said=$(end_seen t-source)
	n_sent=${said#error ECONNRESET after }
	[ "${n_sent%%:*}" -gt $n_read ] || fail "nothing was unread: $n_read read, the source says: $said"
	seen "the source says: $said, of which $n_read were read"
	no_links
	guests_have
	transfer_start t "$1" "$2"
	transfer_stop t
}
case_destroy_unread() { destroyed_unread pvh1 pv1; }
case_destroy_unread_pv() { destroyed_unread pv1 pvh1; }
case_destroy_unread_dom0() { destroyed_unread pvh1 dom0; } # dom0 lives on

# The sender's domain goes when a part of a message is in the receiver's ring: it is not delivered.
destroyed_mid_message() { # SINK SOURCE
	guests_have
	start t-sink "$1" 'peer sink t /tmp/t.count'
	await t-sink '^listening'
	start t-long "$2" "peer long $(domain_name "$1")/t 1000000"
	await t-long '^stopped'
	counter t "$1" 1
	links_right
	signal t-sink STOP
	signal t-long CONT
	await t-long '^goes on'
	eventually 20 asleep t-long # there was credit for its beginning
	guest_destroy "$2"
	signal t-sink CONT # stopped, it cannot let go of the dead domain's page
	eventually 1 no_zombies
	seen "the sink says: $(end_seen t-sink)"
	[ "$(counter t "$1")" = 1 ] || fail "$(counter t "$1") messages"
}
case_destroy_mid_message() { destroyed_mid_message pvh1 pv1; }
case_destroy_mid_message_pvh() { destroyed_mid_message pv1 pvh1; }
case_destroy_mid_message_dom0() { destroyed_mid_message dom0 pv1; }

# in_each GUEST N COMMAND: N commands at once, i being the number; their output in /tmp/each.i.out.
in_each() { start "each-$1" "$1" "for i in \$(seq $2); do $3 >/tmp/each.\$i.out 2>&1 & done; wait"; }
# each_said GUEST N PATTERN SECONDS: until all N have said so.
each_said() {
	on "$1" "for i in \$(seq $2); do await /tmp/each.\$i.out '$3' $4 || exit 1; done" $(($4 + 10)) ||
		fail "in $1: $(on "$1" 'tail -qn 1 /tmp/each.*.out')"
}

# Ten processes with a link each to a domain that goes.
case_destroy_ten() {
	local before began

	guests_have
	before=$(resources pv1 pvh1)
	in_each pvh1 10 "peer many-accept d\$i 1"
	in_each pv1 10 "peer many-connect pvh1/d\$i 1"
	each_said pvh1 10 '^open 1' 60
	guest_destroy pv1
	began=${EPOCHREALTIME/./}
	eventually 1 no_zombies
	seen "no zombie after $(milliseconds_since "$began") ms; all ten say ECONNRESET"
	each_said pvh1 10 '^error ECONNRESET after 1' 20
	finish each-pvh1 || true
	guests_have
	eventually 5 resources_are "$before" pv1 pvh1
}

# msgd_said OFFSET PATTERN: its log, from that byte on.
msgd_said() { tail -c "+$(($1 + 1))" /run/lab/msgd.log | grep -q -- "$2"; }

# Two guests write their part of the store in loops; of a third one's death msgd hears all the same, at once: well
# within a second on a machine that has nothing else to do, which the line says.
case_death_noticed() {
	local began offset guest domid noticed

	guests_have
	guest_have pv3 pv
	for guest in pv1 pvh1; do
		start "write-$guest" $guest 'nice hostile-records'
	done
	for guest in pv1 pvh1; do
		await "write-$guest" '^writing' 120
	done
	start victim pv3 'peer listen victim'
	await victim '^listening'
	domid=$(guest_domid pv3)
	offset=$(stat -c %s /run/lab/msgd.log)
	guest_destroy pv3
	began=${EPOCHREALTIME/./}
	eventually 10 msgd_said "$offset" "pv3($domid).* is gone"
	noticed=$(milliseconds_since "$began")
	eventually 10 no_zombies
	for guest in pv1 pvh1; do
		msgctl --json domains | json_values name | grep -qx "\"$guest\"" || fail "msgd forgot $guest"
		stop "write-$guest"
	done
	seen "within $noticed ms of xl destroy's end, while two guests write in loops"
}

# ---- a domain stops for a while -------------------------------------------------------------------------

case_pause() {
	local guest

	guests_have
	transfer_start t pvh1 pv1
	for guest in pv1 pvh1; do
		xl pause $guest
		sleep 3 # the test itself: three seconds in which it does nothing
		msgctl --json domains | json_values name | grep -qx "\"$guest\"" ||
			fail "msgd forgot $guest"
		xl unpause $guest
		counter_moves t pvh1
	done
	seen "$(transfer_stop t)"
}

# ---- msgd dies and comes back -------------------------------------------------------------------------------

case_msgd_restart() {
	local before round

	guests_have
	before=$(resources pv1 pvh1)
	transfer_start a pvh1 pv1
	for round in 1 2; do
		msgd_kill
		counter_moves a pvh1
		msgd_start
		counter_moves a pvh1
		transfer_start "b$round" pv1 pvh1
		transfer_start "c$round" dom0 pvh1
		transfer_stop "b$round"
		transfer_stop "c$round"
	done
	[ "$(msgctl --json channels | json_values name)" = '"a"' ] || fail "channels: $(msgctl channels)"
	seen "$(transfer_stop a); back to $(tr '\n' ' ' <<<"$before")"
	eventually 5 resources_are "$before" pv1 pvh1
}

# A new domain under the old one's name and uuid.
case_reboot() {
	local domid uuid offset

	guests_have
	domid=$(guest_domid pv1)
	uuid=$(xenstore-read "/local/domain/$domid/vm")
	transfer_start r pv1 pvh1
	offset=$(guest_console_size pv1)
	xl reboot pv1
	end_seen r-source >/tmp/said
	guest_up pv1 "$offset"
	[ "$(guest_domid pv1)" != "$domid" ] || fail 'the same domid'
	[ "$(xenstore-read "/local/domain/$(guest_domid pv1)/vm")" = "$uuid" ] || fail 'another uuid'
	no_zombies || fail "zombies: $(zombies)"
	start echo pv1 'echo-server echo'
	on pvh1 'echo hello | echo-client pv1/echo' >/tmp/echo || fail "$(cat /tmp/echo)"
	on pvh1 "echo hello | echo-client uuid:${uuid#/vm/}/echo" >/tmp/echo || fail "by uuid: $(cat /tmp/echo)"
	stop echo
	seen "the peer says: $(cat /tmp/said); domid $domid became $(guest_domid pv1), echo by name and by uuid"
}

records_are_two() { [ "$(on pv1 'xenstore-list data/msgd | wc -l')" = 2 ]; }

# An application dies while msgd is down; the next one gets its port and its grants' numbers.
case_stale_record() {
	local before lines

	guests_have
	start old pv1 'peer listen old'
	await old '^listening'
	msgd_kill
	stop old
	before=$(on pv1 "xenstore-ls -f data/msgd")
	[ -n "$before" ] || fail 'no record is left over: nothing to test'
	start new pv1 'peer listen new'
	eventually 10 records_are_two
	lines=$(wc -l </run/lab/msgd.log)
	msgd_start
	await new '^listening'
	msgctl --json names | jq -e '[.names[].name] | index("new") and (index("old") | not)' >/dev/null ||
		fail "names: $(msgctl names)"
	seen "$(tail -n "+$((lines + 1))" /run/lab/msgd.log | grep -m1 'record .* is deleted')" || fail 'nothing was deleted'
	on pvh1 'peer try pv1/new' >/tmp/try || fail "try: $(cat /tmp/try)"
	stop new
}

# ---- a domain is saved and restored --------------------------------------------------------------------

# Under traffic; scenario quiesce has more.
case_quiesce() {
	local said file=/run/lab/saved

	guests_have
	start echo pvh1 'echo-server echo'
	transfer_start t pvh1 pv1
	msgctl --json quiesce pvh1 >/tmp/quiesce || fail "quiesce: $(cat /tmp/quiesce)"
	said=$(end_seen t-source)
	end_seen t-sink >/dev/null
	xl save pvh1 $file >/tmp/save 2>&1 || fail "xl save: $(tail -n 2 /tmp/save)"
	on pv1 "peer try pvh1/echo" >/tmp/try && fail 'connected to a domain that is saved'
	xl restore $file >/tmp/restore 2>&1 || fail "xl restore: $(tail -n 2 /tmp/restore)"
	rm $file
	guest_moved pvh1
	on pv1 "echo hello | timeout 20 echo-client pvh1/echo" >/tmp/echo 30 || fail "echo: $(cat /tmp/echo)"
	on pvh1 'dmesg | grep -E "BUG|Oops|Call Trace"' && fail 'its kernel complains'
	stop echo
	seen "the peer says: $said; after xl save and restore: $(cat /tmp/echo)"
}

# ---- gntalloc's pages --------------------------------------------------------------------------------------

# links_of GUEST N: N processes, a link each, to as many in pvh1: "LINKS links", and how others ended.
links_of() {
	in_each pvh1 "$2" "peer many-accept g\$i 1"
	in_each "$1" "$2" "peer many-connect pvh1/g\$i 1"
	each_said "$1" "$2" '^\(open\|error\)' 60
	on "$1" "cat /tmp/each.*.out | sed -n 's/^\(open\|error [A-Z]*\) .*/\1/p' | sort | uniq -c"
	on "$1" 'killall -9 peer; rm /tmp/each.*.out'
	finish "each-$1" >/dev/null || true
	on pvh1 'killall -9 peer 2>/dev/null; rm /tmp/each.*.out'
	finish each-pvh1 >/dev/null || true
}

# Debian's default: who comes when the kernel has no pages left is told so, the others go on.
case_gntalloc_limit() {
	local said

	guests_have
	said=$(links_of pv1 20 | tr -s ' \n' ' ')
	[[ $said =~ ^' '[0-9]+' error '(ENOBUFS|ENOSPC)' '1[0-9]' open' ]] || fail "$said"
	seen "of 20:$said"
	said=$(links_of pv1 10 | tr -s ' \n' ' ') # all came back
	[ "$said" = ' 10 open ' ] || fail "afterwards, of 10:$said"
}
# With the option that units/ ships.
case_gntalloc_raised() {
	local said

	guests_have
	guest_kernel_options=xen-gntalloc.$(sed -n 's/^options xen-gntalloc //p' /usr/lib/modprobe.d/msgd.conf)
	guest_have pv3 pv
	said=$(links_of pv3 20 | tr -s ' \n' ' ')
	[ "$said" = ' 20 open ' ] || fail "with $guest_kernel_options, of 20:$said"
	seen "with $guest_kernel_options:$said"
	guest_destroy pv3
}
