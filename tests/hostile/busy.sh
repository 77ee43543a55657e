# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Administrators and signals have their turn while there is always more to do.

stops() { ! kill -0 "$msgd_pid" 2>/dev/null; }

attack() {
	for n in 1 2 3; do
		attacker "busy$n"
		await "$dir/busy$n.out" '^attached'
	done
	timeout "$patience" "$build/msgctl/msgctl" "--hv=$hv" status >/dev/null || fail 'msgctl has no answer'
	kill -TERM "$msgd_pid"
	eventually stops
	wait "$msgd_pid" || fail 'msgd failed'
	msgd_start
}
