# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# libmsg over grants against libxenvchan, in one boot, between two PV guests. Under emulation only the
# ratio says something, and only on a machine with nothing else to do: a slow libmsg fails no case.
# boots: xenstored
# limit: 120
# cases: one-way-64 one-way-4096 one-way-65536 round-trip-64 round-trip-4096 round-trip-65536
# cases: sleeping-round-trip-64

. /lab/lab.sh

case_any() {
	local common=(--rounds=5 --ms=500 "--case=${1#sleeping-}")

	[ "$1" = "${1#sleeping-}" ] || common+=(--spin=0)
	msgd_have
	guest_have pv1 pv
	guest_have pv2 pv
	start answer pv1 "msgbench-xen ${common[*]} answer pv1/bench $(guest_domid pv2) data/msgbench"
	start begin pv2 "msgbench-xen ${common[*]} start pv1/bench $(guest_domid pv1) \
		/local/domain/$(guest_domid pv1)/data/msgbench"
	finish begin 100 >/tmp/begin || fail "the one that starts: $(cat /tmp/begin)"
	finish answer >/tmp/answer || fail "the one that answers: $(cat /tmp/answer)"
	cat /tmp/begin
	seen "$(sed -n 's/^BENCH [^ ]* //p' /tmp/begin)"
}
