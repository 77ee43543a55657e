# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The driver, fuzzed for five minutes on two processors. Half a processor's time is enough for it: the boot runs beside
# others, and on a busy machine it takes minutes until its last round has ended.
# boots: soak-argo
# limit: 1000
# cases: driver-fuzz

. /lab/lab.sh
. /lab/kernel.sh

case_driver_fuzz() {
	local seconds=300 complaints

	# shellcheck disable=SC2034 # guest_have reads it
	guest_kernel_options=$(kernel_debug_options pv)
	guest_have fuzz pv 'vcpus = 2'
	[ "$(on fuzz 'nproc')" = 2 ] || fail 'not two processors'
	xl sched-credit2 -d fuzz -c 50
	start fuzz fuzz "SELFTEST_SECONDS=$seconds argo-selftest $(guest_domid fuzz) fuzz"
	finish fuzz $((seconds + 600)) >/tmp/fuzz || fail "$(tail -n 3 /tmp/fuzz)"
	complaints=$(kernel_complaints fuzz)
	[ -z "$complaints" ] || fail "$complaints"
	seen "$(grep -E 'rounds|^ok' /tmp/fuzz | tr '\n' ' ')"
}
