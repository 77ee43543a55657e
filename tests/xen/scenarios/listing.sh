# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The listing of hypercalls (tests/listing): what the emulator answers, in dom0, against what this Xen answers
# a PV guest that is nothing but the listing. Sections that one of the two lacks are named. Of the hypervisor with
# Argo, which may be older (host/argo.sh), Argo's sections count; Debian's own has all the others.
# boots: xenstored argo
# limit: 120
# cases: hypercalls

boot=''
. /lab/lab.sh
. /lab/boot

# The calls that one of the two may lack, the sections that count, and the least number of calls.
case $boot in
argo) listing_may_lack='' listing_sections='^argo-' listing_least=80 ;;
*) listing_may_lack='argo-unknown argo-register argo-sendv' listing_sections=. listing_least=300 ;;
esac

listing_config() {
	cat <<-END
		name = "listing"
		type = "pv"
		kernel = "/lab/bin/listing-guest"
		memory = 32
		vcpus = 1
		max_grant_frames = 8
		max_grant_version = 2
		on_crash = "destroy"
	END
}

listing_gone() { ! guest_domid listing >/dev/null; }

# listing_lacking FILE...: the sections that are not in all of them.
listing_lacking() { sed -n 's/^section \([^ ]*\) lacking.*/\1/p' "$@" | sort -u; }

# listing_common FILE: its calls, without the sections in /tmp/lacking.
listing_common() {
	awk -v sections="$listing_sections" '{name = $1; sub(/\.[0-9]+$/, "", name)}
		FILENAME == ARGV[1] {lacking[$1]; next}
		/^[^ ]+\.[0-9]+ / && name ~ sections && !(name in lacking)' /tmp/lacking "$1"
}

case_hypercalls() {
	local offset name n_differ

	listing >/tmp/emulated || fail "the emulator: $(tail -n 1 /tmp/emulated)"
	listing_config >/tmp/listing.cfg
	offset=$(guest_console_size listing)
	xl create -q /tmp/listing.cfg || fail 'xl create'
	console_line listing "$offset" '^end lines' 90 >/dev/null ||
		fail "it does not end: $(tail -n 1 "$(guest_console listing)")"
	tail -c "+$((offset + 1))" "$(guest_console listing)" | tr -d '\r' >/tmp/real
	eventually 20 listing_gone

	listing_lacking /tmp/emulated /tmp/real >/tmp/lacking
	grep -H '^section .* lacking' /tmp/emulated /tmp/real || true
	echo 'what only this Xen has answered:'
	while read -r name; do
		grep "^$name\.[0-9]" /tmp/real || true
	done </tmp/lacking
	listing_common /tmp/emulated >/tmp/emulated.common
	listing_common /tmp/real >/tmp/real.common
	# "-" is the emulator, "+" is this Xen
	diff -U 0 /tmp/emulated.common /tmp/real.common | grep '^[-+]' >/tmp/differ || true
	n_differ=$(grep -c '^-[^-]' /tmp/differ) || true
	cat /tmp/differ
	seen "$(grep -c . /tmp/real.common) calls; left out: $(tr '\n' ' ' </tmp/lacking)"
	[ ! -s /tmp/differ ] || fail "$n_differ of $(grep -c . /tmp/real.common) calls differ: $(grep -m1 '^+[^+]' /tmp/differ)"
	for name in $(cat /tmp/lacking); do
		[[ " $listing_may_lack " = *" $name "* ]] || fail "$name is lacking"
	done
	[ "$(grep -c . /tmp/real.common)" -ge $listing_least ] || fail 'hardly anything was compared'
}
