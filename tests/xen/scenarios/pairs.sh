# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Every kind of domain talks to every kind: VERB-LISTENER-CONNECTOR. Over Argo where the hypervisor has it.
# boots: xenstored argo
# limit: 240
# cases: echo-dom0-dom0 echo-dom0-pv echo-dom0-pvh echo-pv-dom0 echo-pv-pv echo-pv-pvh echo-pvh-dom0
# cases: echo-pvh-pv echo-pvh-pvh echo-self-self
# cases: file-dom0-dom0 file-dom0-pv file-dom0-pvh file-pv-dom0 file-pv-pv file-pv-pvh file-pvh-dom0
# cases: file-pvh-pv file-pvh-pvh file-self-self
# cases: many-dom0-dom0 many-dom0-pv many-dom0-pvh many-pv-dom0 many-pv-pv many-pv-pvh many-pvh-dom0
# cases: many-pvh-pv many-pvh-pvh many-self-self pvh-itself

. /lab/lab.sh
. /lab/transport.sh

# domain_of KIND NUMBER: a running one.
domain_of() {
	case $1 in
	dom0) domain=dom0 ;;
	self) domain=pv1 ;;
	*) domain=$1$2 ;;
	esac
	[ "$domain" = dom0 ] || guest_have "$domain" "${domain%[0-9]}"
}

# Xen would take the pages that a PVH domain maps of its own from its kernel: it is refused, in words, and harmless.
case_pvh_itself() {
	local said

	msgd_have
	guest_have pvh1 pvh
	start server pvh1 'echo-server echo'
	await server '^listening'
	said=$(on pvh1 'for i in 1 2 3; do peer try pvh1/echo; done') && fail 'it has connected'
	stop server
	[ "$(grep -c 'error EOPNOTSUPP after 0: connect: .*to itself' <<<"$said")" = 3 ] || fail "$said"
	on pvh1 '! dmesg | grep -qE "BUG|Oops|Call Trace"' || fail "$(on pvh1 'dmesg | tail -n 20')"
	seen "$(grep -m1 -o 'connect: .*' <<<"$said")"
}

case_any() { # VERB-LISTENER-CONNECTOR
	local verb listener connector domain address

	IFS=- read -r verb listener connector <<<"$1"
	msgd_have
	domain_of "$listener" 1
	listener=$domain
	domain_of "$connector" 2
	connector=$domain
	address=$(domain_name "$listener")
	"pair_$verb" "$listener" "$connector" "$address"
}

pair_echo() { # by DOMAIN/NAME and by NAME alone
	local address said

	start server "$1" 'echo-server echo'
	for address in "$3/echo" echo; do
		said=$(on "$2" "printf 'one\ntwo words\n' | echo-client $address") || fail "$address: $said"
		grep -q 'sent 9 bytes, got back: two words' <<<"$said" || fail "$address: $said"
	done
	stop server
}

pair_file() {
	local sum said

	start receiver "$1" 'file-receive files /tmp/copy'
	sum=$(on "$2" 'head -c 8388608 /dev/urandom >/tmp/file; sha256sum </tmp/file')
	said=$(on "$2" "file-send $3/files </tmp/file") || fail "sender: $said"
	finish receiver >/tmp/received || fail "receiver: $(cat /tmp/received)"
	[ "$(on "$1" 'sha256sum </tmp/copy; rm /tmp/copy')" = "$sum" ] || fail 'the sums differ'
	grep -q "sha256 ${sum%% *}" /tmp/received || fail "the receiver's own sum: $(cat /tmp/received)"
	on "$2" 'rm /tmp/file'
	seen "$(tail -n 1 <<<"$said")"
}

# 200 channels at once, on one link.
pair_many() {
	local links

	start accept "$1" 'peer many-accept many 200'
	start connect "$2" "peer many-connect $3/many 200"
	await accept '^open 200'
	await connect '^open 200'
	links=$(msgctl --json links)
	[ "$(json_values channels <<<"$links")" = 200 ] || fail "links: $links"
	[ "$(msgctl --json channels | json_values name | wc -l)" = 200 ] || fail 'channels'
	links_right
	stop connect
	stop accept
	seen "$(json_values transport <<<"$links"): $(json_values reason <<<"$links")"
}
