# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Does the lab itself work?
# boots: xenstored oxenstored
# limit: 90
# cases: dom0 pv pvh command background destroy

. /lab/lab.sh

case_dom0() {
	xl info >/tmp/info
	grep -q '^xen_version *: 4\.' /tmp/info || fail "xl info: $(head -n 3 /tmp/info)"
	seen "Xen $(sed -n 's/^xen_version *: //p' /tmp/info), Linux $(uname -r)," \
		"$(sed -n 's/^free_memory *: //p' /tmp/info) MB free"
}
case_pv() {
	guest_have pv1 pv
	seen "domid $(guest_domid pv1): $(on pv1 'uname -r; cat /sys/hypervisor/guest_type' | tr '\n' ' ')"
}
case_pvh() {
	guest_have pvh1 pvh
	seen "domid $(guest_domid pvh1): $(on pvh1 'uname -r; cat /sys/hypervisor/guest_type' | tr '\n' ' ')"
}
case_command() { # output and status come back, together, from each kind of domain
	local domain said status

	guest_have pv1 pv
	guest_have pvh1 pvh
	for domain in dom0 pv1 pvh1; do
		status=0
		said=$(on "$domain" 'echo out; echo err >&2; exit 7') || status=$?
		[ "$status:$said" = $'7:out\nerr' ] || fail "$domain: status $status, \"$said\""
	done
	said=$(on pv1 'seq 5000' | sha256sum)
	[ "$said" = "$(seq 5000 | sha256sum)" ] || fail 'a long output'
}
case_background() {
	local status=0

	guest_have pv1 pv
	start sleeper pv1 'echo begun; exec sleep 1000'
	await sleeper begun
	signal sleeper KILL
	finish sleeper 10 || status=$?
	[ $status -eq 137 ] || fail "status $status"
}
case_destroy() {
	local began

	guest_have pv1 pv
	guest_have pvh1 pvh
	began=${EPOCHREALTIME/./}
	guest_destroy pv1
	guest_destroy pvh1
	eventually 5 no_zombies
	seen "gone after $(milliseconds_since "$began") ms"
}
