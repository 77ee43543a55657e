# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# libmsg against libxenvchan in one boot: over grants between two PV guests; where there is Argo, over it as well,
# between a PV and a PVH guest, and there what is counted must be right. Under emulation only ratios say something,
# and only on a machine with nothing else to do: a slow libmsg fails no case. Awake: neither end ever sleeps. Bulk:
# rings of 4 MiB and 8 MiB of unread data, as two settings allow, so that a batch of 2 MiB is one message of Argo's.
# boots: smp smp-argo
# limit: 120
# cases: one-way-64 one-way-4096 one-way-65536 round-trip-64 round-trip-4096 round-trip-65536
# cases: sleeping-round-trip-64
# cases-smp-argo: one-way-64 one-way-4096 one-way-65536 batches-64 batches-4096 batches-65536
# cases-smp-argo: round-trip-64 round-trip-4096 round-trip-65536 awake-one-way-64 awake-batches-64 awake-round-trip-64
# cases-smp-argo: bulk-batches-65536

. /lab/lab.sh
. /lab/transport.sh

# measure ANSWERING STARTING OPTION...: leaves /tmp/begin and /tmp/answer.
measure() {
	local answering=$1 starting=$2

	shift 2
	start answer "$answering" "msgbench-xen $* answer $answering/bench $(guest_domid "$starting") data/msgbench"
	start begin "$starting" "msgbench-xen $* start $answering/bench $(guest_domid "$answering") \
		/local/domain/$(guest_domid "$answering")/data/msgbench"
	finish begin 100 >/tmp/begin || fail "the one that starts: $(cat /tmp/begin)"
	finish answer >/tmp/answer || fail "the one that answers: $(cat /tmp/answer)"
	cat /tmp/begin
}

# hypercalls NAME: Xen's own count, of all domains.
hypercalls() { xenperf -p | awk -v name="$1" '$1 == name {n += $2} END {print n + 0}'; }

# rings_have PAGES: each ring of a link over Argo, from here to the end of the case.
rings_have() {
	msgd_kill
	trap 'rm -f /etc/msgd/msgd.conf; msgd_kill' EXIT
	mkdir -p /etc/msgd
	printf '[limits]\nargo-ring-pages = %d\n' "$1" >/etc/msgd/msgd.conf
	msgd_start
}

# counted start|answer WHAT: over Argo.
counted() { sed -n "s/^COUNTS [^ ]* $1 .*\b$2=\([0-9]*\).*/\1/p" /tmp/begin /tmp/answer; }

over_grants() { # CASE
	local options=(--rounds=5 --ms=200 "--case=${1#sleeping-}")

	[ "$1" = "${1#sleeping-}" ] || options+=(--spin=0)
	guest_have_all pv1 pv pv2 pv
	measure pv1 pv2 "${options[@]}"
	seen "$(sed -n 's/^BENCH [^ ]* //p' /tmp/begin)"
}

# counts_right CASE ROUNDS N-ARGO N-EVENT: libmsg's, the driver's and Xen's.
counts_right() {
	local n n_sends n_answers n_driver

	n=$(counted start n)
	n_sends=$(($(counted start hypercalls) - $(counted start full)))
	n_answers=$(($(counted answer hypercalls) - $(counted answer full)))
	# Two short messages a round are not counted as this case's; in round trips, credit is sent back now and then.
	case $1 in
	*one-way-*)
		[ $n_sends -le $((n + 2 * $2)) ] || fail "$n_sends hypercalls for $n messages"
		# Credit.
		[ $n_answers -le $((n / 3 + 10 * $2)) ] || fail "$n_answers hypercalls to receive $n messages"
		;;
	*round-trip-65536) # credit more often
		[ $n_answers -le $((n + n / 3 + 4 * $2)) ] || fail "$n_answers hypercalls for $n answers"
		[ $n_sends -le $((n + n / 3 + 4 * $2)) ] || fail "$n_sends hypercalls for $n messages"
		;;
	*round-trip-*)
		[ $n_answers -le $((n + n / 5 + 4 * $2)) ] || fail "$n_answers hypercalls for $n answers"
		[ $n_sends -le $((n + n / 5 + 4 * $2)) ] || fail "$n_sends hypercalls for $n messages"
		;;
	batches-65536) # as many as half of a ring holds
		[ $(((n_sends - 2 * $2) * 2)) -le "$n" ] || fail "$n_sends hypercalls for $n messages in batches of 32"
		;;
	*batches-*) [ $((n_sends * 16)) -le "$n" ] || fail "$n_sends hypercalls for $n messages in batches of 32" ;;
	esac
	[ "$(counted start virqs) $(counted answer virqs)" = '0 0' ] || fail 'interrupts for Argo'
	case $1 in
	awake-*)
		[ "$(counted start events) $(counted answer events)" = '0 0' ] || fail 'events to who was awake'
		# Xen counts what consoles and the store take, too.
		[ "$4" -le 500 ] || fail "$4 calls for event channels, as Xen has counted"
		;;
	esac
	# Xen counts also how rings come and go, ours and those by which libmsg tries whether there is Argo, and what is sent
	# when all is over.
	n_driver=$(($(counted start all) + $(counted answer all)))
	[ "$3" -ge $n_driver ] && [ "$3" -le $((n_driver + 30 * $2)) ] ||
		fail "Xen has counted $3 hypercalls for Argo, the driver $n_driver"
}

over_argo() { # CASE
	local rounds=3 name=${1#awake-} options=(--ms=200) n_argo n_event n_sent

	case $1 in
	awake-*) rounds=2 options+=(--peers=argo --spin=1000000) ;;
	bulk-*)
		rounds=2 name=${1#bulk-} options=(--ms=1000 --peers=argo --rcvbuf=$((8 << 20)))
		rings_have 1025
		;;
	*) options+=('--peers=argo,grant,libxenvchan') ;;
	esac
	guest_have_all pv1 pv pvh1 pvh
	n_argo=$(hypercalls argo_op) n_event=$(hypercalls event_channel_op)
	measure pvh1 pv1 "${options[@]}" "--case=$name" --rounds=$rounds
	n_argo=$(($(hypercalls argo_op) - n_argo)) n_event=$(($(hypercalls event_channel_op) - n_event))
	cat /tmp/answer
	n_sent=$(counted start sent)
	seen "$(counted start n) messages by $n_sent sendv and $(counted start events) events; Xen's own counts: argo_op" \
		"$n_argo, event_channel_op $n_event. $(sed -n 's/^BENCH [^ ]* //p' /tmp/begin | grep ratio)"
	counts_right "$1" $rounds $n_argo $n_event
}

case_any() {
	msgd_have
	if [ "${transport:?}" = argo ]; then over_argo "$1"; else over_grants "$1"; fi
}
