# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What attacks are written in, beside tests/e2e/lib.sh. For `run` and `all`; $attack is the attack's name.

# attacker LOG ARGUMENT...: the attack's program in the domain hostile, in the background; guest_pid is it.
attacker() {
	local log=$1

	shift
	guest hostile "$log" "$build/tests/hostile/hostile-$attack" "$@"
	attackers+=("$guest_pid")
}
attackers=()

# The attackers themselves, below timeout and xen-sim, at whatever they do.
attackers_kill() { innermost_kill "${attackers[@]}"; }

# innermost_kill PID...: with each the process that it waits for, or the one that that waits for.
innermost_kill() {
	local pid child

	for pid in "$@"; do
		while child=$(cat "/proc/$pid/task/$pid/children") && [ -n "$child" ]; do
			pid=${child%% *}
		done
		kill -9 "$pid"
	done
}

msgd_cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) * 1000 / hz}' "/proc/$msgd_pid/stat"; }

# used DOMAIN QUOTA: what msgctl says of it.
used() { msgctl --json domains | jq --arg name "$1" ".domains[] | select(.name == \$name) | .used.$2"; }
