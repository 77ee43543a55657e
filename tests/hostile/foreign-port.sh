# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154 # run has them
# A record names a port and pages of the guest's kernel. The agent refuses it, and msgd never sees it.
attack() {
	guest hostile agent "$build/agent/msg-agent" "--socket=$dir/agent"
	attackers+=("$guest_pid")
	eventually [ -S "$dir/agent" ]
	attacker attack "$dir/agent" "$hv#Domain-0"
	await "$dir/attack.out" '^refused 24$'
}
