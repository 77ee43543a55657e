# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The driver (kmod/, tests/kmod): every request and every error, in each kind of domain; and a domain that is
# saved while it has rings. Where the hypervisor has no Argo, the driver says so.
# boots: xenstored argo
# limit: 300
# cases: dom0 pv pvh granted suspend-pv suspend-pvh
# cases-xenstored: no-argo

. /lab/lab.sh

# driver_test DOMAIN DOMID
driver_test() {
	local said status=0

	said=$(on "$1" "argo-selftest $2" 280) || status=$?
	echo "$said"
	seen "$(tail -n 1 <<<"$said")"
	[ $status -eq 0 ] || fail "$(grep -v '^ok' <<<"$said" | head -n 3 | tr '\n' ' ')"
	[[ $(on "$1" 'dmesg | grep -icE "warn|bug:|rcu.*stall|call trace|are lost"') = 0 ]] ||
		fail "$(on "$1" 'dmesg | tail -n 20')"
}
case_dom0() { driver_test dom0 0; }
case_pv() {
	guest_have pv1 pv
	driver_test pv1 "$(guest_domid pv1)"
}
case_pvh() {
	guest_have pvh1 pvh
	driver_test pvh1 "$(guest_domid pvh1)"
}

driver_suspend() { # NAME
	start rings "$1" "argo-selftest $(guest_domid "$1") suspended"
	await rings ready
	guest_saved_restored "$1"
	finish rings 60 >/tmp/rings || fail "$(cat /tmp/rings)"
	driver_test "$1" "$(guest_domid "$1")"
}
case_suspend_pv() {
	guest_have pv1 pv
	driver_suspend pv1
}
case_suspend_pvh() {
	guest_have pvh1 pvh
	driver_suspend pvh1
}

# Memory that another domain has granted is sent as well.
case_granted() {
	local name gref

	for name in pv1 pvh1; do
		guest_have "$name" "${name%1}"
		start granter dom0 "TO=$(guest_domid "$name") argo-selftest 0 grant_page"
		await granter '^gref'
		gref=$(output granter | sed -n 's/^gref //p')
		on "$name" "FROM=0 GREF=$gref argo-selftest $(guest_domid "$name") send_granted_memory" >/tmp/said ||
			fail "$name: $(cat /tmp/said)"
		stop granter
	done
}

case_no_argo() {
	local domain said

	guest_have pv1 pv
	guest_have pvh1 pvh
	for domain in dom0 pv1 pvh1; do
		said=$(on "$domain" 'argo-selftest 0 no_argo') || fail "$domain: $said"
	done
}
