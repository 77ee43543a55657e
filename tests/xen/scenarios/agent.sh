# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Applications that are not root and have no access to the store: through msg-agent in a guest, through
# msgd in dom0. A guest with an agent is saved and restored, too.
# boots: xenstored oxenstored argo
# limit: 180
# cases: pv pvh dom0 save-pv

# shellcheck source=quiesce.sh
. /lab/scenarios/quiesce.sh

# Gives a guest the groups and devices that units/ gives by udev and sysusers.
user_have() { # DOMAIN SOCKET
	on "$1" "grep -q ^app: /etc/passwd || {
		echo app:x:1000:1000::/tmp:/bin/bash >>/etc/passwd
		echo app:x:1000: >>/etc/group
	}
	chgrp app /dev/xen/evtchn /dev/xen/gntalloc /dev/xen/gntdev /dev/xen/argo $2
	chmod 660 /dev/xen/evtchn /dev/xen/gntalloc /dev/xen/gntdev /dev/xen/argo" || fail "no user in $1"
}

# as_app COMMAND ARGUMENT...: a command line for `on` and `start`.
as_app() { echo "exec start-stop-daemon -S -c app:app -x /lab/bin/$1 -- ${*:2}"; }

agent_have() { # GUEST
	start agent "$1" 'exec msg-agent'
	on "$1" 'for _ in $(seq 200); do [ -S /run/msg-agent.sock ] && exit 0; sleep 0.05; done; exit 1' ||
		fail "no socket: $(output agent)"
	user_have "$1" /run/msg-agent.sock
}

records() { xenstore-list "/local/domain/$(guest_domid "$1")/data/msgd" 2>/dev/null | wc -l; }
records_are() { [ "$(records "$1")" = "$2" ]; }

in_guest() { # KIND
	local name=${1}1 said

	msgd_have
	guest_have "$name" "$1"
	# Not without an agent.
	on "$name" 'rm -f /run/msg-agent.sock'
	user_have "$name" ''
	said=$(on "$name" "$(as_app peer context 1000)") && fail "attached without an agent: $said"
	agent_have "$name"
	start server "$name" "$(as_app echo-server echo)"
	echoes "$name/echo"
	records_are "$name" 1 || fail "$(records "$name") records"
}

case_pv() {
	in_guest pv
	stop server
	eventually 10 records_are pv1 0
	stop agent
}
case_pvh() {
	in_guest pvh
	# The agent ends first: its application goes on, and msgd deletes the record when that ends.
	stop agent
	echoes pvh1/echo
	records_are pvh1 1 || fail "$(records pvh1) records"
	stop server
	eventually 10 records_are pvh1 0
}
case_save_pv() {
	in_guest pv
	quiesced pv1 1
	guest_saved_restored pv1
	echoes pv1/echo
	healthy pv1
	eventually 10 records_are pv1 0
	stop agent
	seen "domid now $(guest_domid pv1)"
}
case_dom0() {
	msgd_have
	guest_have pv1 pv
	start server pv1 'echo-server echo'
	user_have dom0 /run/msgd/attach
	answered "$(as_app echo-client pv1/echo)"
	[ -z "$(xenstore-list /local/domain/0/data/msgd 2>/dev/null)" ] || fail 'a record stayed'
	on dom0 'chmod 600 /dev/xen/evtchn /dev/xen/gntalloc /dev/xen/gntdev /dev/xen/argo'
	stop server
}
