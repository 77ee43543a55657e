# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Guests whose applications were quiesced are saved and restored, and live; so do their applications.
# boots: xenstored oxenstored argo
# limit: 180
# cases: save-pv save-pvh twice-pv checkpoint-pv

. /lab/lab.sh
. /lab/transport.sh

# answered CLIENT: this command line, in dom0, gets its words back, over what it should.
answered() {
	local words

	rm -f /tmp/words
	mkfifo /tmp/words
	start asker dom0 "$1 </tmp/words"
	exec {words}>/tmp/words # as soon as it reads
	echo 'some words' >&"$words"
	await asker 'got back: some words'
	links_right
	exec {words}>&-
	finish asker >/tmp/asker || fail "$1: $(cat /tmp/asker)"
}
echoes() { answered "exec echo-client $1"; } # ADDRESS: it waits for the name

# quiesced NAME N: all of its N applications have let go.
quiesced() {
	msgctl --json quiesce "$1" >/tmp/quiesce.json || fail "quiesce: $(cat /tmp/quiesce.json)"
	jq -e --argjson n "$2" '.quiesced and (.applications | length == $n and all(.confirmed))' \
		/tmp/quiesce.json >/dev/null || fail "quiesce: $(cat /tmp/quiesce.json)"
}

# Its kernel is well, also when the files are closed that were open meanwhile: that is where it would die.
healthy() {
	stop server
	on "$1" '! dmesg | grep -qE "BUG|Oops|Call Trace"' || fail "$1: $(on "$1" 'dmesg | tail -n 20')"
}

case_any() {
	local verb=${1%-*} name=${1#*-}1 round

	msgd_have
	guest_have "$name" "${1#*-}"
	start server "$name" 'echo-server echo'
	echoes "$name/echo"
	for round in 1 2; do
		quiesced "$name" 1
		if [ "$verb" = checkpoint ]; then
			xl save -c "$name" /tmp/saved >/tmp/save.out 2>&1 || fail "xl save -c: $(cat /tmp/save.out)"
			rm /tmp/saved
		else
			guest_saved_restored "$name"
		fi
		echoes "$name/echo"
		[ "$verb" = twice ] || break
	done
	msgctl domains | grep -q " $name .* running" || fail "$(msgctl domains)"
	healthy "$name"
	seen "$round time(s), domid now $(guest_domid "$name")"
}
