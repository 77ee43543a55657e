# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The checks of guests' kernels while the driver is tried, and their complaints. For scenarios to source, after lab.sh.

# The messages of a kernel that has met a mistake, also with the options below.
kernel_complaints() {
	on "$1" 'dmesg | grep -iE "warn|bug[: ]|rcu.*stall|lockup|call trace|oops: |protection fault|corruption|poison over|redzone over|already free|exposure attempt|overwrite attempt|blocked for more|are lost"' || true
}

# kernel_debug_options pv|pvh: all checks that Debian's kernel has: every object of the slab allocator, with red
# zones, poison and who had it (slub_debug), freed pages as well (page_poison, or else cleared). Lists, copies from and to
# user space and ends of stacks it always looks at. It is built without KASAN, KFENCE, lockdep and fault injection.
kernel_debug_options() {
	echo -n 'rodata=on slub_debug=FZPU '
	[ "$1" = pv ] && echo page_poison=1 || echo init_on_free=1
}
