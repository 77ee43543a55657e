# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The driver (kmod/, tests/kmod): every request and every error, in each kind of domain, guests' kernels with what debug
# options they have; a domain that is saved, or migrates, or ends, while it has rings. Where the hypervisor has no Argo,
# or has it off, the driver says so.
# boots: xenstored driver-argo smp-argo noargo
# limit: 300
# cases: dom0 pv pvh hvm suspend-hvm hvm-messages granted unload suspend-pv suspend-pvh checkpoint-pv migrate-pvh
# cases: smp-suspend-pv smp-suspend-pv-written smp-checkpoint-pv smp-checkpoint-pv-written smp-unload
# cases: smp-pv smp-suspend-pvh smp-suspend-pvh-written smp-migrate-pvh smp-migrate-pvh-written smp-unload-written
# cases: ends-pv ends-pvh-kexec errors
# cases-xenstored: no-argo
# cases-noargo: off
# cases-smp-argo: interrupts

. /lab/lab.sh
. /lab/kernel.sh
. /lab/transfer.sh

# The answers that requests had, in all cases; and the cases that added to them.
# shellcheck disable=SC2154 # state
answers=$state/driver-answers

# answered CASE FILE
answered() {
	grep '^answered ' "$2" >>"$answers"
	echo "case $1" >>"$answers"
}

# Guests of its own, with debug options: debug-pv, debug-pvh and debug-hvm; smp-pv and smp-pvh with two processors.
driver_guest() { # NAME pv|pvh|hvm [LINE...]
	# shellcheck disable=SC2034 # guest_have reads it
	guest_kernel_options=$(kernel_debug_options "$2")
	guest_have "$@"
	[ "$(on "$1" 'cd /sys/kernel/slab/kmalloc-64 && cat red_zone poison sanity_checks store_user | tr -d "\n"')" = 1111 ] ||
		fail 'no slub_debug'
}

# The domain's event channels, those that the selftest does not have among them.
driver_ports() { lsevtchn "$1" | grep -c .; }

# driver_test CASE DOMAIN DOMID KILLS FUZZ-SECONDS
driver_test() {
	local said=/tmp/driver-test complaints status=0 ports

	ports=$(driver_ports "$3")
	on "$2" "SELFTEST_KILLS=$4 SELFTEST_SECONDS=$5 argo-selftest $3" 280 >$said || status=$?
	cat $said
	seen "$(tail -n 1 $said); $(sed -n 's/^ *killed: //p' $said)"
	[ $status -eq 0 ] || fail "$(grep -vE '^(ok|answered)' $said | head -n 3 | tr '\n' ' ')"
	complaints=$(kernel_complaints "$2")
	[ -z "$complaints" ] || fail "$complaints"
	[ "$(driver_ports "$3")" = "$ports" ] || fail "$ports event channels before, $(driver_ports "$3") after"
	answered "$1" $said
}
case_dom0() { driver_test dom0 dom0 0 300 4; }
case_pv() {
	driver_guest debug-pv pv
	driver_test pv debug-pv "$(guest_domid debug-pv)" 1000 1
}
case_pvh() {
	driver_guest debug-pvh pvh
	driver_test pvh debug-pvh "$(guest_domid debug-pvh)" 300 4
}
case_hvm() {
	driver_guest debug-hvm hvm
	[ "$(on debug-hvm 'cat /sys/hypervisor/guest_type')" = HVM ] || fail 'no HVM guest'
	driver_test hvm debug-hvm "$(guest_domid debug-hvm)" 100 1
}
case_hvm_messages() { # over Argo and, without the driver, over granted pages
	msgd_have
	driver_guest debug-hvm hvm
	driver_guest debug-pv pv
	transfer_start to debug-hvm debug-pv
	transfer_stop to >/tmp/to
	transfer_start from debug-pv debug-hvm
	transfer_stop from >/tmp/from
	on debug-hvm 'rmmod xen_argo' || fail 'the driver cannot be unloaded'
	# shellcheck disable=SC2034 # links_right reads it
	transport=grant
	transfer_start granted debug-hvm debug-pv
	seen "to it: $(cat /tmp/to); from it: $(cat /tmp/from); over granted pages: $(transfer_stop granted)"
	guest_destroy debug-hvm
}

driver_suspend() { # CASE NAME
	start rings "$2" "argo-selftest $(guest_domid "$2") suspended"
	await rings ready
	guest_saved_restored "$2"
	finish rings 60 >/tmp/rings || fail "$(cat /tmp/rings)"
	answered "$1" /tmp/rings
	driver_test "$1-after" "$2" "$(guest_domid "$2")" 50 1
}
case_suspend_pv() {
	driver_guest debug-pv pv
	driver_suspend suspend-pv debug-pv
}
case_suspend_pvh() {
	driver_guest debug-pvh pvh
	driver_suspend suspend-pvh debug-pvh
}
driver_checkpoint() { # CASE NAME: goes on where it is, under its domid
	start rings "$2" "argo-selftest $(guest_domid "$2") checkpointed"
	await rings ready
	xl save -c "$2" /tmp/saved >/tmp/save.out 2>&1 || fail "xl save -c: $(cat /tmp/save.out)"
	rm /tmp/saved
	finish rings 60 >/tmp/rings || fail "$(cat /tmp/rings)"
	answered "$1" /tmp/rings
}
case_checkpoint_pv() {
	driver_guest debug-pv pv
	driver_checkpoint checkpoint-pv debug-pv
}

case_suspend_hvm() { # QEMU's state goes along
	driver_guest debug-hvm hvm
	driver_suspend suspend-hvm debug-hvm
}

# driver_migrate NAME: to this same host, while messages arrive.
driver_migrate() {
	local domid

	domid=$(guest_domid "$1")
	start rings "$1" "argo-selftest $domid migrated"
	await rings ready
	[ -z "${2:-}" ] || "$2" "$domid"
	# The console's output goes on in the same file, whatever the domain's name is meanwhile.
	ln -sf "$(guest_console "$1")" "$(guest_console "$1--incoming")"
	xl migrate -s '' "$1" 'exec xl migrate-receive' >/tmp/migrate.out 2>&1 || fail "$(tail -n 5 /tmp/migrate.out)"
	[ "$(guest_domid "$1")" != "$domid" ] || fail 'the same domid'
	eventually 20 console_known "$1"
	finish rings 60 >/tmp/rings || fail "$(cat /tmp/rings)"
}
# Xen refuses some of its rings meanwhile.
case_migrate_pvh() {
	driver_guest debug-pvh pvh
	driver_migrate debug-pvh refused_start
	finish refused 60 >/tmp/refused || fail "$(cat /tmp/refused)"
	answered migrate-pvh /tmp/refused
	seen "$(sed -n 's/^  *//p' /tmp/rings); $(sed -n 's/^  *//p' /tmp/refused)"
}
refused_start() { # DOMID
	start refused debug-pvh "argo-selftest $1 register_migrating"
	await refused ready
}

# Memory that another domain has granted is sent as well.
case_granted() {
	local name gref

	for name in debug-pv debug-pvh; do
		driver_guest "$name" "${name#debug-}"
		start granter dom0 "TO=$(guest_domid "$name") argo-selftest 0 grant_page"
		await granter '^gref'
		gref=$(output granter | sed -n 's/^gref //p')
		on "$name" "FROM=0 GREF=$gref argo-selftest $(guest_domid "$name") send_granted_memory" >/tmp/said ||
			fail "$name: $(cat /tmp/said)"
		stop granter
		answered "granted-$name" /tmp/said
	done
}

# The module goes where nobody uses it, gives its event channel back, and comes again; not where another has it.
case_unload() {
	driver_guest debug-pv pv
	driver_unload debug-pv
}
driver_unload() { # NAME
	local ports domid

	domid=$(guest_domid "$1")
	ports=$(driver_ports "$domid")
	on "$1" 'rmmod xen_argo' || fail 'not unloaded'
	[ "$(driver_ports "$domid")" -eq $((ports - 1)) ] || fail "$ports event channels before, $(driver_ports "$domid") after"
	[ "$(on "$1" '[ -e /dev/xen/argo ] || echo none')" = none ] || fail 'the device is still there'
	start other "$1" "argo-selftest $domid virq_take"
	await other taken
	! on "$1" 'insmod /lab/modules/xen-argo.ko' || fail 'loaded, though the interrupt is taken'
	on "$1" 'dmesg | grep "somebody else has bound"' || fail 'it does not say why it was not loaded'
	stop other
	on "$1" 'insmod /lab/modules/xen-argo.ko' || fail 'not loaded again'
	[ "$(driver_ports "$domid")" -eq "$ports" ] || fail "$ports event channels before, $(driver_ports "$domid") after"
	on "$1" "argo-selftest $domid poll_wakes_for_data poll_wakes_for_room unload_refused" || fail 'not as before'
}

# ---- two processors: Xen lets Argo's interrupt be bound at the first one only --------------------------------------

smp_guest() { driver_guest "smp-$1" "$1" 'vcpus = 2'; } # pv|pvh

# smp_polls NAME [written]: the interrupt comes, and to the first processor, also if it was sent elsewhere ("written").
smp_polls() {
	local counts

	if [ "${2:-}" = written ]; then
		on "$1" 'cd /proc/irq/*/xen_argo/.. && for mask in 2 3 1 2; do echo $mask >smp_affinity; done; true' || fail 'no interrupt'
	fi
	on "$1" "argo-selftest $(guest_domid "$1") poll_wakes_for_data poll_wakes_for_room epoll_tells_edges" >/tmp/polls ||
		fail "$(cat /tmp/polls)"
	counts=$(on "$1" 'grep xen_argo /proc/interrupts' | awk '{print ($2 > 0) " " $3}')
	[ "$counts" = '1 0' ] || fail "interrupts at the first processor, and number at the second: $counts"
}

# smp_around written|as-it-is pv|pvh COMMAND...: what is done to the guest; the interrupt works before and after.
smp_around() {
	local written=$1 name=smp-$2 complaints

	smp_guest "$2"
	smp_polls "$name" "$written"
	"${@:3}"
	smp_polls "$name" "$written"
	complaints=$(kernel_complaints "$name")
	[ -z "$complaints" ] || fail "$complaints"
}
smp_saved_restored() { # NAME
	start rings "$1" "argo-selftest $(guest_domid "$1") suspended"
	await rings ready
	guest_saved_restored "$1"
	finish rings 60 >/tmp/rings || fail "$(cat /tmp/rings)"
}
case_interrupts() { # with two real processors
	smp_guest pv
	on smp-pv "argo-selftest $(guest_domid smp-pv) virqs_bounded epoll_edge_at_once" 200 >/tmp/said ||
		fail "$(grep -v '^answered' /tmp/said | tr '\n' ' ')"
	seen "$(sed -n 's/^  *//p' /tmp/said | tr '\n' ';')"
}
case_smp_pv() {
	smp_guest pv
	driver_test smp-pv smp-pv "$(guest_domid smp-pv)" 100 4
}
case_smp_suspend_pv() { smp_around as-it-is pv smp_saved_restored smp-pv; }
case_smp_suspend_pv_written() { smp_around written pv smp_saved_restored smp-pv; }
case_smp_suspend_pvh() { smp_around as-it-is pvh smp_saved_restored smp-pvh; }
case_smp_suspend_pvh_written() { smp_around written pvh smp_saved_restored smp-pvh; }
case_smp_checkpoint_pv() { smp_around as-it-is pv driver_checkpoint smp-checkpoint-pv smp-pv; }
case_smp_checkpoint_pv_written() { smp_around written pv driver_checkpoint smp-checkpoint-pv-written smp-pv; }
case_smp_migrate_pvh() { smp_around as-it-is pvh driver_migrate smp-pvh; }
case_smp_migrate_pvh_written() { smp_around written pvh driver_migrate smp-pvh; }
case_smp_unload() { smp_around as-it-is pv driver_unload smp-pv; }
case_smp_unload_written() {
	smp_around written pv driver_unload smp-pv
	for name in smp-pv smp-pvh; do
		! guest_runs $name || guest_destroy $name
	done
}

# driver_ends CASE TYPE LINE COMMAND: the guest's kernel ends by it, and Xen keeps the domain. Its rings must be gone: that
# is the driver's doing, not that of Xen, which has them until the domain is destroyed.
driver_ends() {
	local domid gref

	# shellcheck disable=SC2034 # guest_have reads it
	guest_kernel_options=$(kernel_debug_options "$2")
	guest_have ending "$2" 'vcpus = 2' "$3"
	domid=$(guest_domid ending)
	start ending ending "TO=0 argo-selftest $domid domain_ends"
	await ending '^gref'
	gref=$(output ending | sed -n 's/^gref //p')
	start partner dom0 "FROM=$domid GREF=$gref argo-selftest 0 partner_dies"
	await partner '^full'
	start end ending "$4"
	await partner '^unregistered'
	[ "$(guest_domid ending)" = "$domid" ] || fail 'the domain is gone'
	eventually 30 ending_down "$domid"
	guest_destroy ending
	finish partner 60 >/tmp/partner || fail "$(cat /tmp/partner)"
	answered "$1" /tmp/partner
	eventually 20 no_zombies
	seen "$(tail -n 1 /tmp/partner)"
}
ending_down() { xl list "$1" | grep -qE ' ---s..? '; }
case_ends_pv() { driver_ends ends-pv pv 'on_reboot = "preserve"' 'busybox reboot -f'; }
case_ends_pvh_kexec() {
	driver_ends ends-pvh-kexec pvh 'on_soft_reset = "preserve"' 'argo-selftest 0 kexec_begin'
}

# Every error that the manual names was provoked, by one case or another.
case_errors() {
	local case request error missing=''

	for case in debug-pv debug-pvh; do
		! guest_runs $case || guest_destroy $case
	done
	for case in dom0 pv pvh granted-debug-pvh suspend-pv suspend-pvh migrate-pvh ends-pv ends-pvh-kexec; do
		grep -qx "case $case" "$answers" || skip "says something only after all other cases; not run: $case"
	done
	# Not here: ENOSYS and EOPNOTSUPP (other boots; case_no_argo, case_off). Nowhere: EINTR, as nobody is left to
	# see it; REGISTER's ENODEV: the hypervisor has Argo off for one domain only by a security module (FLASK), which
	# Debian's is built without; SENDV's EBUSY: 32 other domains must wait for room in a ring that takes from any,
	# which the driver does not register, and Xen does not allow unless told (mac-permissive).
	while read -r request errors; do
		for error in $errors; do
			# shellcheck disable=SC2030,SC2031
			grep -qE "^answered $request .*\<$error\>" "$answers" || missing+=" $request:$error"
		done
	done <<-END
		REGISTER EFAULT EINVAL EPERM EBUSY ESRCH ECONNREFUSED ENOSPC EEXIST ENOMEM EAGAIN
		PEER EFAULT EINVAL EISCONN ENOTCONN ESTALE
		SENDV EFAULT EINVAL ENOTCONN EMSGSIZE EAGAIN ECONNREFUSED ESRCH ESTALE
		INFO EFAULT
	END
	[ -z "$missing" ] || fail "not provoked:$missing"
	# Between the end of the rings and that of the processors there is a moment for it, or not.
	grep -q '^answered REGISTER.* ESHUTDOWN' "$answers" || missing=', REGISTER ESHUTDOWN (no time for it, this time)'
	# Memory fails at random, and not always where SENDV takes some.
	grep -q '^answered SENDV.* ENOMEM' "$answers" || missing+=', SENDV ENOMEM (no memory failed there, this time)'
	seen "not provoked: REGISTER ENODEV (needs FLASK), SENDV EBUSY (32 domains, wildcard ring), EINTR (nobody is left to see it)$missing"
}

case_no_argo() {
	local domain said

	guest_have pv1 pv
	guest_have pvh1 pvh
	for domain in dom0 pv1 pvh1; do
		said=$(on "$domain" 'ERRNO=ENOSYS argo-selftest 0 no_argo') || fail "$domain: $said"
	done
}

# Xen was built with Argo, and not told argo=1.
case_off() { on dom0 'ERRNO=EOPNOTSUPP argo-selftest 0 no_argo' >/tmp/said || fail "$(cat /tmp/said)"; }
