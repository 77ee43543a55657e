# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Where Argo is not to be had, links go over granted pages and say why; so they do in the boot noargo, whose
# hypervisor has Argo but was started without argo=1.
# boots: argo noargo
# limit: 120
# cases: no-driver-pv no-driver-pvh rings-in-use policy
# cases-noargo: off dom0 demanded

. /lab/lab.sh
. /lab/transfer.sh

# carried TRANSPORT SINK SOURCE: messages, over that; sets why.
carried() {
	# shellcheck disable=SC2034 # links_right reads it
	local transport=$1

	transfer_start t "$2" "$3"
	why=$(msgctl --json links | json_values reason)
	transfer_stop t
}

# It works again as soon as the driver is there.
no_driver() { # GUEST OTHER
	local why

	msgd_have
	guest_have_all pv1 pv pvh1 pvh
	on "$1" 'rmmod xen_argo' || fail 'the driver cannot be unloaded'
	carried grant "$1" "$2"
	[ "$why" = "\"no driver in $1\"" ] || fail "the reason: $why"
	seen "$why"
	carried grant "$2" "$1"
	on "$1" 'insmod /lab/modules/xen-argo.ko'
	carried argo "$1" "$2"
}
case_no_driver_pv() { no_driver pv1 pvh1; }
case_no_driver_pvh() { no_driver pvh1 pv1; }

# Xen lets a domain have no more; when they are gone, there is Argo again.
case_rings_in_use() {
	local why

	msgd_have
	guest_have_all pv1 pv pvh1 pvh
	start rings pv1 "argo-selftest $(guest_domid pv1) rings_held"
	await rings '^held'
	carried grant pv1 pvh1
	[[ "$why" = '"128 rings in use in '*'"' ]] || fail "the reason: $why"
	seen "$why"
	stop rings
	carried argo pv1 pvh1
}
case_policy() {
	# shellcheck disable=SC2034 # msgd_have reads it
	local why msgd_demands=transport=grant

	msgd_have
	guest_have_all pv1 pv pvh1 pvh
	carried grant pv1 pvh1
	[ "$why" = '"policy says grant"' ] || fail "the reason: $why"
	seen "$why"
}

# Nothing else is taken instead.
case_demanded() {
	local said transport msgd_demands

	guest_have_all pv1 pv pvh1 pvh
	for transport in argo argo-strict; do
		# shellcheck disable=SC2034 # msgd_have reads it
		msgd_demands=transport=$transport
		msgd_have
		start listener pv1 'peer listen l'
		await listener '^listening'
		said=$(on pvh1 'peer try pv1/l') && fail 'it has connected'
		stop listener
		[[ $said = *'error EOPNOTSUPP after 0: connect: '*'no Argo in the hypervisor'* ]] || fail "$said"
	done
	seen "$(grep '^error' <<<"$said")"
}

case_off() {
	local why

	msgd_have
	guest_have_all pv1 pv pvh1 pvh
	[ -c /dev/xen/argo ] || fail 'the driver is not there'
	carried grant pvh1 pv1
	[ "$why" = '"no Argo in the hypervisor"' ] || fail "the reason: $why"
	seen "$why"
}
case_dom0() {
	local why

	msgd_have
	guest_have pv1 pv
	carried grant dom0 pv1
	carried grant pv1 dom0
	seen "$why"
}
