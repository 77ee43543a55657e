# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A transfer: content-checked, endless; by whom $transfer_as says, a command's beginning. It does not keep the domains from
# doing what they are told. For scenarios to source, after lab.sh.
. /lab/transport.sh

# transfer_start NAME SINK SOURCE
transfer_start() {
	start "$1-sink" "$2" "nice ${transfer_as:-} peer sink $1 /tmp/$1.count"
	await "$1-sink" '^listening'
	start "$1-source" "$3" "nice ${transfer_as:-} peer source $(domain_name "$2")/$1"
	counter_moves "$1" "$2"
	links_right
}

# counter NAME SINK [N|+N]: how many have arrived, once N have, or N more.
counter() { # prints it
	local said

	said=$(on "$2" "peer counted /tmp/$1.count ${3:-0}" 90) || fail "$1: $said"
	echo "${said##*$'\n'}"
}
counter_moves() { counter "$1" "$2" +500 >/dev/null; }

# transfer_stop NAME: ends it in order; every message was right.
transfer_stop() {
	local sent received

	signal "$1-source" TERM
	finish "$1-source" >/tmp/source || fail "source: $(tail -n 1 /tmp/source)"
	finish "$1-sink" >/tmp/sink || fail "sink: $(tail -n 1 /tmp/sink)"
	sent=$(sed -n 's/^sent //p' /tmp/source)
	received=$(sed -n 's/^received //p' /tmp/sink)
	[ "$sent" = "$received" ] || fail "$sent sent, $received received"
	echo "$received messages, all right"
}
