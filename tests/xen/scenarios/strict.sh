# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Links of argo-strict, which policy demands of all: between each two, and what dies, stops or comes back.
# boots: argo
# limit: 300
# cases: pairs kill-source kill-sink destroy-source destroy-sink destroy-unread destroy-mid-message destroy-ten
# cases: pause msgd-restart quiesce reboot no-driver

. /lab/scenarios/faults.sh
# shellcheck disable=SC2034 # links_right and msgd_have read them
transport=argo-strict msgd_demands=transport=argo-strict

case_pairs() {
	local sink source

	guests_have
	for sink in dom0 pv1 pvh1; do
		for source in dom0 pv1 pvh1; do
			[ "$sink" != "$source" ] || continue
			transfer_start t "$sink" "$source"
			transfer_stop t >>/tmp/pairs
		done
	done
	seen "$(wc -l </tmp/pairs) pairs, $(awk '{n += $1} END {print n}' /tmp/pairs) messages, all right"
}

# It is refused, and nothing else is taken instead.
case_no_driver() {
	local said

	guests_have
	start listener pv1 'peer listen l'
	await listener '^listening'
	on pvh1 'rmmod xen_argo' || fail 'the driver cannot be unloaded'
	said=$(on pvh1 'peer try pv1/l') && fail 'it has connected'
	on pvh1 'insmod /lab/modules/xen-argo.ko'
	stop listener
	[[ $said = *'error EOPNOTSUPP after 0: connect: '*'no driver in pvh1'* ]] || fail "$said"
	seen "$(grep '^error' <<<"$said")"
}
