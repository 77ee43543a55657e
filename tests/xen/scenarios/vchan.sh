# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Programs of Xen's libxenvchan between two guests with the limits that they have by default: over the original, and
# over ours. The same program tries to have a thousand vchans at once, and Debian's own vchan-socket-proxy runs.
# boots: xenstored argo
# limit: 300
# cases-by-hand: thousand proxy

. /lab/lab.sh

# The loader's words for our library.
ours="LD_LIBRARY_PATH=$(echo /usr/lib/*/msgd-compat)"

two_guests() {
	msgd_have
	guest_have web pv
	guest_have shop pv
	web=$(guest_domid web) shop=$(guest_domid shop)
}

# opened TAG: so many, of a program that has said it.
opened() { output "$1" | sed -n 's/^opened \([0-9]*\).*/\1/p'; }

# thousand WORDS: how many each end opened, and why no more, in $said.
thousand() {
	start server web "$1 vchan-many serve $shop data/vchan/many 1000"
	await server '^opened' 200
	start client shop "$1 vchan-many connect $web /local/domain/$web/data/vchan/many $(opened server)"
	await client '^opened' 200
	said="$(output server | head -n 1); $(output client | head -n 1)"
}

case_thousand() {
	local original more

	two_guests
	thousand ''
	# The program gets no reason: three entries for each vchan, of the thousand that a domain may have.
	more=$(on web 'n=0
		while [ $n -lt 50 ] && xenstore-write data/more/$n 1 2>/tmp/why; do n=$((n + 1)); done
		echo "$n more: $(cat /tmp/why)"
		xenstore-rm data/more')
	original="$said; the server has $(on web 'xenstore-ls data/vchan | wc -l') entries in the store, and gets $more"
	stop client
	stop server
	on web 'xenstore-rm data/vchan' || true
	thousand "$ours"
	[ "$(opened server)$(opened client)" = 10001000 ] || fail "ours: $said; original: $original"
	await server '^all at once 1000' 200
	await client '^all at once 1000' 200
	[ "$(msgctl --json links | json_values channels)" = 1000 ] || fail "links: $(msgctl links)"
	! on web 'xenstore-list data/vchan' || fail 'entries in the store'
	stop client
	stop server
	seen "the original: $original; ours: $said"
}

# A line each way, while both ends wait for more.
case_proxy() {
	two_guests
	on shop 'mkfifo /tmp/in'
	start server web "while :; do echo from-the-web; sleep 1; done |
		$ours vchan-socket-proxy --mode=server $shop data/vchan/proxy -"
	start client shop "{ echo from-the-shop; cat /tmp/in; } |
		$ours vchan-socket-proxy $web /local/domain/$web/data/vchan/proxy -"
	await server '^from-the-shop'
	await client '^from-the-web'
	seen "$(msgctl --json links | json_values transport)"
	on shop ': >/tmp/in'
	finish client >/dev/null || fail "the client: $(output client)"
	stop server
}
