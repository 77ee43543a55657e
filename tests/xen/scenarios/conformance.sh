# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The suite of hv.h (tests/conformance) over its Xen backend: dom0 commands actors in a PV and a PVH guest,
# over their consoles, which is slow. It stops at what fails: where a guest is lost, each further test would wait.
# boots: xenstored oxenstored argo smp-argo
# limit: 1500
# cases: evtchn grant notify parcel store domain death fd limits open
# cases-oxenstored: store domain
# cases-argo: argo argo-watch death fd limits
# cases-smp-argo: argo-stress

boot=''
. /lab/lab.sh
. /lab/boot
world=xen
[[ $boot != *argo ]] || world=xen-argo

case_any() {
	local log=/run/lab/conformance failed

	! msgd_runs || msgd_kill # it deletes records that are none of its applications'
	# shellcheck disable=SC2034 # guest_have reads it
	guest_kernel_options='-- conformance --guest /dev/hvc0'
	guest_have conf-pv pv
	guest_have conf-pvh pvh
	conformance --stop "--hv=$world:conf-pv,conf-pvh,/lab/life" "$1" | tee "$log" || true
	grep -q '^1\.\.[1-9]' "$log" || fail "it did not end: $(tail -n 1 "$log")"
	failed=$(grep -c '^not ok' "$log") || true
	seen "$(grep -c '^ok' "$log") ok, of which $(grep -c '# SKIP' "$log") skipped, $failed not ok"
	[ "$failed" -eq 0 ] || fail "$(grep '^not ok' "$log" | cut -d- -f2- | tr '\n' ' ')"
}
