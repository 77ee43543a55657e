# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The initial RAM file systems of dom0 and of the guests. For tests/xen/run to source.
# Programs come from the unpacked packages ($lab_debs) and from the product's build; libraries after them.
# To be called with set -e: nothing here looks at errors.

# Programs of the build that are not installed but run in the lab.
lab_programs='examples/echo-server examples/echo-client examples/file-send examples/file-receive
	tests/e2e/peer tests/e2e/hostile tests/hostile/hostile-records tests/hostile/hostile-foreign-pages
	tests/hostile/hostile-announce tests/hostile/hostile-cycles tests/hostile/hostile-unanswered tests/conformance/conformance bench/msgbench-xen tests/e2e/compat/vchan-many
	tests/listing/listing tests/listing/listing-guest tests/kmod/argo-selftest
	tests/programs/gate tests/xen/sandbox/sandbox-probe tests/xen/console/begin tests/xen/console/obey tests/xen/console/tell'

# image_libraries ROOT: what the programs in ROOT are linked with, into it.
image_libraries() {
	local root=$1 file wanted
	local search=$lab_debs/root/usr/lib/x86_64-linux-gnu:$lab_debs/root/lib/x86_64-linux-gnu
	search+=:$product/usr/lib/x86_64-linux-gnu:$product/usr/lib
	search+=:$lab_debs/root/usr/lib/x86_64-linux-gnu/systemd:$lab_debs/root/lib/x86_64-linux-gnu/systemd

	mkdir -p "$root/usr/lib/x86_64-linux-gnu" "$root/lib64"
	wanted=$(find "$root" -type f -perm -100 -print0 | LD_LIBRARY_PATH=$search xargs -0 -n1 ldd 2>/dev/null |
		sed -n -e 's/^.* => \(\/.*\) (0x.*/\1/p' -e '/=> not found/p' | sort -u)
	! grep 'not found' <<<"$wanted" >&2 || return 1
	for file in $wanted; do
		cp -L "$file" "$root/usr/lib/x86_64-linux-gnu/"
	done
	cp -L "$lab_debs/root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$root/lib64/"
	cp -L "$lab_debs/root/lib/x86_64-linux-gnu/libgcc_s.so.1" "$root/usr/lib/x86_64-linux-gnu/"
}

# image_programs ROOT PROGRAM...: from the packages, wherever they have them, into /usr/bin.
image_programs() {
	local root=$1 program place found

	shift
	for program in "$@"; do
		found=
		for place in bin sbin usr/bin usr/sbin "usr/lib/xen-$xen_release/bin"; do
			if [ -f "$lab_debs/root/$place/$program" ] && [ ! -L "$lab_debs/root/$place/$program" ]; then
				found=$lab_debs/root/$place/$program
			fi
		done
		cp -L "${found:?no $program in the packages}" "$root/usr/bin/$program"
	done
}

# image_base ROOT: what dom0 and guests have in common.
image_base() {
	local root=$1 module modules

	mkdir -p "$root"/{usr/bin,usr/sbin,usr/lib,proc,sys,dev,run,tmp,etc,root,var/lib,var/log,lab/bin,lab/modules}
	ln -s usr/bin "$root/bin"
	ln -s usr/sbin "$root/sbin"
	ln -s usr/lib "$root/lib"
	ln -s ../run "$root/var/run"
	echo 'root::0:0:root:/root:/bin/bash' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	for module in poweroff reboot; do # the kernel calls them when the toolstack asks it to
		printf '#!/bin/sh\nexec busybox %s -f\n' $module >"$root/usr/sbin/$module"
		chmod +x "$root/usr/sbin/$module"
	done
	image_programs "$root" busybox bash-static
	mv "$root/usr/bin/bash-static" "$root/usr/bin/bash"
	"$lab_debs/root/bin/busybox" --list | while read -r module; do
		[ -e "$root/usr/bin/$module" ] || ln -s busybox "$root/usr/bin/$module"
	done
	# GNU's own where busybox's lack what scripts use: tail that wakes up, sub-second waits, nice.
	image_gnu "$root" tail sleep timeout nice
	modules=$(echo "$lab_debs"/root/lib/modules/*)
	for module in xen-privcmd xen-evtchn xen-gntdev xen-gntalloc xenfs/xenfs; do
		cp "$modules/kernel/drivers/xen/$module.ko" "$root/lab/modules/"
	done
	strip --strip-debug "$root"/lab/modules/*.ko # takes the signature off, which costs more to verify than all the rest
	cp "$1/../kmod/xen-argo.ko" "$root/lab/modules/"
	cp -a "$product/usr" "$root/"
	cp "$product"/lab/* "$root/lab/bin/"
	ln -s obey "$root/lab/bin/await"
}

# image_gnu ROOT PROGRAM...: instead of busybox's.
image_gnu() {
	local root=$1 program

	shift
	for program in "$@"; do
		rm -f "$root/usr/bin/$program"
	done
	image_programs "$root" "$@"
}

# image_pack ROOT FILE: uncompressed; unpacking would take longer than loading. The guests' busybox is beside the file.
image_pack() {
	(cd "$1" && find . | LC_ALL=C sort | "${2%/*}/guest/usr/bin/busybox" cpio -o -H newc -R 0:0 2>/dev/null) >"$2.new"
	mv "$2.new" "$2"
}

# image_guest DIRECTORY: DIRECTORY/guest.img, for every guest.
image_guest() {
	local root=$1/guest

	rm -rf "$root"
	image_base "$root"
	image_gnu "$root" xenstore-read xenstore-write xenstore-list xenstore-ls xenstore-rm
	image_programs "$root" vchan-socket-proxy
	ln -s lab/bin/begin "$root/init"
	image_libraries "$root"
	image_pack "$root" "$1/guest.img"
}

# image_dom0 DIRECTORY: DIRECTORY/dom0.img; it has the guests' image and kernel inside.
image_dom0() {
	local root=$1/dom0

	rm -rf "$root"
	image_base "$root"
	image_gnu "$root" xenstore-read xenstore-write xenstore-list xenstore-ls xenstore-rm xenstore-watch \
		jq stat date flock
	image_programs "$root" xl xenstored oxenstored xenconsoled xenconsole xen-init-dom0 lsevtchn \
		xenperf
	mkdir -p "$root/usr/lib/xen-$xen_release/bin" "$root/etc/xen" "$root"/var/{lib,log}/xen \
		"$root/var/log/xen/console" "$root/var/lib/xenstored"
	cp "$lab_debs/root/usr/lib/xen-$xen_release/bin/libxl-save-helper" "$root/usr/lib/xen-$xen_release/bin/"
	cp "$lab_debs/root/etc/xen/oxenstored.conf" "$root/etc/xen/"
	: >"$root/etc/xen/xl.conf"
	cp -r "$lab_dir"/dom0/* "$lab_dir/scenarios" "$root/lab/"
	cp "$1/guest.img" "$lab_debs/vmlinux" "$root/lab/"
	ln -s lab/init "$root/init"
	image_libraries "$root"
	image_pack "$root" "$1/dom0.img"
}

# images_build DIRECTORY BUILD: the product is in the build directory BUILD.
images_build() {
	local program

	product=$1/product
	rm -rf "$product"
	mkdir -p "$product/lab"
	DESTDIR=$product meson install -C "$2" --no-rebuild --quiet --skip-subprojects >"$1/install.log" 2>&1
	rm -rf "$product/usr/share/man" "$product/usr/include" "$product/usr/src" "$product"/usr/lib/*/*.a
	for program in $lab_programs; do
		cp "$2/$program" "$product/lab/"
	done
	strip --strip-debug "$product"/lab/* 2>/dev/null || true
	find "$product/usr" -type f -perm -100 -exec strip --strip-debug {} + 2>/dev/null || true # scripts
	image_guest "$1"
	image_dom0 "$1"
}
