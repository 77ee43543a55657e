# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Five guests at once, and dom0: each sends to each, and PV ones to themselves (pairs.sh, pvh-itself, says why), all at
# the same time; every message is checked. All links stand until all have been seen.
# boots: argo
# limit: 420
# cases: each-to-each

. /lab/lab.sh
. /lab/transport.sh

domains='dom0 pv1 pv2 pv3 pvh1 pvh2'
n_messages=200 # from each to each

# partners DOMAIN: whom it sends to, and hears from.
partners() { sed "/^pvh/s/$1//" <<<"${domains// /$'\n'}" | tr '\n' ' '; }

# traffic DOMAIN: the command for its sinks and, when there is a file "go", its sources, until there is one "stop". A
# stream is TO-FROM; each end says how many messages it had.
traffic() {
	local to

	echo "mkdir -p /tmp/five; cd /tmp/five; rm -f *
		for from in $(partners "$1"); do peer sink $1-\$from $1-\$from.count >$1-\$from.sink & done
		until [ -e go ]; do sleep 0.2; done"
	for to in $(partners "$1"); do
		echo "peer source $(domain_name "$to")/$to-$1 $n_messages hold >$to-$1.source & pids=\"\$pids \$!\""
	done
	echo 'until [ -e stop ]; do sleep 0.2; done
		kill -TERM $pids; wait
		for f in *.sink *.source; do
			echo $f $(sed -n "s/^sent //p; s/^received //p; /^error/p; /^wrong/p" $f)
		done'
}
all_there() { # DOMAIN
	on "$1" "for f in /tmp/five/*.count; do [ \$(od -An -t u8 -N8 \$f) -eq $n_messages ] || exit 1; done"
}
names_are() { [ "$(msgctl --json names | json_values name | wc -l)" -eq "$1" ]; }
links_are() { [ "$(msgctl --json links | json_values transport | wc -l)" -eq "$1" ]; }
said_by() { sed -n "s/\.$1 / /p" /tmp/said | sort; } # sink|source

case_each_to_each() {
	local n domain

	msgd_have
	guest_have_all pv1 pv pv2 pv pv3 pv pvh1 pvh pvh2 pvh
	n=$(for domain in $domains; do partners "$domain"; done | wc -w)
	for domain in $domains; do
		start "$domain" "$domain" "$(traffic "$domain")"
	done
	eventually 100 names_are "$n"
	for domain in $domains; do
		on "$domain" 'touch /tmp/five/go'
	done
	eventually 100 links_are "$n"
	links_right
	for domain in $domains; do
		eventually 100 all_there "$domain"
	done
	links_are "$n" || fail "some have ended: $(msgctl links)"
	for domain in $domains; do
		on "$domain" 'touch /tmp/five/stop'
	done
	for domain in $domains; do
		finish "$domain"
	done >/tmp/said
	said_by source >/tmp/sent
	said_by sink >/tmp/received
	diff /tmp/sent /tmp/received >/tmp/differ || fail "sent and received: $(head -n 4 /tmp/differ | tr '\n' ' ')"
	[ "$(grep -cE '^[a-z0-9]+-[a-z0-9]+ [0-9]+$' /tmp/received)" -eq "$n" ] || fail "$(cat /tmp/received)"
	seen "$n links at once, $(awk '{n += $2} END {print n}' /tmp/received) messages"
}
