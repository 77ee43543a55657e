# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154 # state
# The driver, fuzzed for five minutes in a guest of its own, behind whatever else runs in the boot. For scenarios to
# source, after lab.sh: begun in one, judged in a later one.
fuzz_seconds=300

# What a kernel says that has met with something that must not be, also with the options below.
kernel_complaints() {
	on "$1" 'dmesg | grep -iE "warn|bug[: ]|rcu.*stall|lockup|call trace|oops|protection fault|corruption|poison over|redzone over|already free|exposure attempt|overwrite attempt|blocked for more|are lost"' || true
}

# kernel_debug_options pv|pvh: what Debian's kernel can be told to look at: every object of the slab allocator, with red
# zones, poison and who had it (slub_debug), freed pages as well (page_poison, or else cleared). Lists, copies from and to
# user space and ends of stacks it always looks at. It is built without KASAN, KFENCE, lockdep and fault injection.
kernel_debug_options() {
	echo -n 'rodata=on slub_debug=FZPU '
	[ "$1" = pv ] && echo page_poison=1 || echo init_on_free=1
}

fuzz_runs() { [ -f $state/guests/fuzz.pty ] && guest_domid fuzz >/dev/null; }

# Two processors; what others want comes first, and half a processor's time is enough for it.
fuzz_begin() {
	# shellcheck disable=SC2034 # guest_have reads it
	guest_kernel_options=$(kernel_debug_options pv)
	guest_have fuzz pv 'vcpus = 2'
	xl sched-credit2 -d fuzz -w 32 -c 50
	start fuzz fuzz "SELFTEST_SECONDS=$fuzz_seconds argo-selftest $(guest_domid fuzz) fuzz"
}

# fuzz_end: waits for its end; its last words.
fuzz_end() {
	local complaints

	fuzz_runs || fuzz_begin # a case that failed took all guests along
	finish fuzz $((fuzz_seconds + 60)) >/tmp/fuzz || fail "$(tail -n 3 /tmp/fuzz)"
	complaints=$(kernel_complaints fuzz)
	[ -z "$complaints" ] || fail "$complaints"
	[ "$(on fuzz 'nproc')" = 2 ] || fail 'not two processors'
	grep -E 'rounds|^ok' /tmp/fuzz | tr '\n' ' '
	guest_destroy fuzz
}
