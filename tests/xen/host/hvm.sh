# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What dom0 needs for HVM guests: QEMU as their device model, hvmloader, SeaBIOS, and a kernel that such a guest can start.
# For tests/xen/run to source, after images.sh, whose rules hold here too.
# shellcheck disable=SC2154 # lab_debs, lab_dir, xen_release

# QEMU hands a kernel out byte by byte: emulated twice, kernel and file system would take more than a minute, and unpacking
# the kernel ten seconds more. So both are put into the guest's memory before it starts, where these say: the kernel, unpacked,
# at its own address; QEMU's -kernel is a stub that goes there.
hvm_kernel=0x1000000
hvm_ramdisk=0x6000000

# hvm_stub GUEST-IMAGE OUTPUT: the real-mode part of Debian's kernel, and ours in the place of its decompressor.
hvm_stub() {
	local vmlinuz sectors

	vmlinuz=$(echo "$lab_debs"/root/boot/vmlinuz-*)
	sectors=$(od -An -t u1 -j $((0x1f1)) -N 1 "$vmlinuz") # setup_sects
	gcc -m32 -nostdlib -static -Wl,--build-id=none,-Ttext=0x100000,--oformat=binary \
		-DKERNEL=$hvm_kernel -DRAMDISK=$hvm_ramdisk -DRAMDISK_LEN="$(stat -c %s "$1")" \
		-o "$2.code" "$lab_dir/host/hvm-boot.S"
	head -c $(((sectors + 1) * 512)) "$vmlinuz" | cat - "$2.code" >"$2"
	rm "$2.code"
}

# hvm_config: what such a guest's configuration has that others have not. No disks, no network, no display.
hvm_config() {
	cat <<-END
		kernel = "/lab/hvm-stub"
		device_model_args_hvm = [ "-device", "loader,file=/lab/vmlinux",
			"-device", "loader,file=/lab/guest.img,addr=$hvm_ramdisk,force-raw=on" ]
		vga = "none"
		vnc = 0
		usb = 0
	END
}

# images_hvm DIRECTORY: DIRECTORY/hvm.img, to be loaded behind DIRECTORY/dom0.img.
images_hvm() {
	local root=$1/hvm from=$lab_debs/root file

	rm -rf "$root"
	mkdir -p "$root"/{lab,usr/libexec,usr/share/qemu/keymaps,usr/share/seabios,"usr/lib/xen-$xen_release/boot"}
	cp "$from/usr/libexec/xen-qemu-system-i386" "$root/usr/libexec/"
	cp "$from/usr/share/qemu/linuxboot.bin" "$root/usr/share/qemu/"
	cp "$from/usr/share/qemu/keymaps/en-us" "$root/usr/share/qemu/keymaps/" # it will not start without one
	cp "$from/usr/share/seabios/bios-256k.bin" "$root/usr/share/seabios/"
	cp "$from/usr/lib/xen-$xen_release/boot/hvmloader" "$root/usr/lib/xen-$xen_release/boot/"
	hvm_stub "$1/guest.img" "$root/lab/hvm-stub"
	hvm_config >"$root/lab/hvm.cfg"
	image_libraries "$root"
	(cd "$root" && find . -type f) | while read -r file; do
		[ ! -e "$1/dom0/$file" ] || rm "$root/$file"
	done
	image_pack "$root" "$1/hvm.img"
}
