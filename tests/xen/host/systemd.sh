# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Images whose init is Debian's systemd: a dom0, and guests. For tests/xen/run to source, after
# images.sh, whose rules hold here too.
# shellcheck disable=SC2154 # lab_debs, lab_dir, product

# image_add_systemd ROOT: systemd, udev and the kernel's modules where modprobe looks, onto image_base.
image_add_systemd() {
	local root=$1 from=$lab_debs/root version file

	for file in lib/systemd usr/lib/systemd lib/udev/rules.d usr/lib/udev/rules.d usr/lib/tmpfiles.d \
		usr/lib/sysusers.d etc/systemd usr/lib/x86_64-linux-gnu/systemd lib/x86_64-linux-gnu/systemd; do
		[ -d "$from/$file" ] || continue
		mkdir -p "$root/$file"
		cp -a "$from/$file/." "$root/$file/"
	done
	image_gnu "$root" systemctl journalctl systemd-sysusers systemd-tmpfiles systemd-run udevadm setpriv \
		mount umount kmod id stat uuidd rsync
	# A program of Debian's that is socket-activated, with its units: uuidd.
	ln -s ../bin/uuidd "$root/usr/sbin/uuidd"
	mkdir -p "$root/var/lib/libuuid"
	[ ! -f "$root/usr/bin/xl" ] || ln -s ../bin/xl "$root/usr/sbin/xl"
	ln -sf kmod "$root/usr/bin/modprobe"
	ln -sf ../bin/kmod "$root/usr/sbin/modprobe" # the kernel calls it
	ln -sf ../../bin/udevadm "$root/usr/lib/systemd/systemd-udevd"
	# Units that would ask for D-Bus, a seat or a network have nothing to do here.
	rm -f "$root"/usr/lib/systemd/system/*.wants/{systemd-logind,systemd-networkd,systemd-resolved,systemd-timesyncd,systemd-ask-password*,getty*,systemd-update-utmp*,systemd-machine-id-commit,systemd-hwdb-update}*
	rm -f "$root"/usr/lib/systemd/systemd-journal-{gatewayd,remote,upload} # with the libraries that they need
	# Nor have units for disks, encrypted or not, and for hardware that no domain here has; emulated, they take half a minute.
	rm -rf "$root"/usr/lib/systemd/system-generators
	rm -f "$root"/usr/lib/systemd/system/sysinit.target.wants/{{crypt,integrity,verity}setup.target,*.mount,*.automount,systemd-binfmt*,systemd-firstboot*,systemd-random-seed*,systemd-repart*,systemd-pcrphase*}
	find "$root/usr/lib/udev/rules.d" -type f ! -name 50-udev-default.rules ! -name 60-msgd.rules ! -name 80-drivers.rules \
		! -name 99-systemd.rules -delete
	cp -a "$product/etc/." "$root/etc/"
	[ ! -d "$product/lib" ] || cp -a "$product/lib/." "$root/usr/lib/"
	version=$(basename "$from"/lib/modules/*)
	mkdir -p "$root/usr/lib/modules"
	cp -a "$from/lib/modules/$version" "$root/usr/lib/modules/"
	# The driver, where DKMS puts it, and the line by which docs/INSTALL.md has it loaded.
	mkdir -p "$root/usr/lib/modules/$version/updates/dkms" "$root/etc/modules-load.d"
	mv "$root/lab/modules/xen-argo.ko" "$root/usr/lib/modules/$version/updates/dkms/"
	echo xen-argo >"$root/etc/modules-load.d/xen-argo.conf"
	(exec -a depmod "$from/bin/kmod" -b "$root" "$version")
	cp "$lab_dir"/systemd/*.{service,target} "$root/usr/lib/systemd/system/"
	echo 'ID=lab' >"$root/etc/os-release"
	: >"$root/etc/machine-id"
	: >"$root/etc/fstab"
	mkdir -p "$root"/{etc/msgd/policy.d,usr/lib/sysusers.d,var/log,var/tmp,home}
	# An application's user: in the groups of the devices, and of the socket for records.
	cat >"$root/usr/lib/sysusers.d/lab-application.conf" <<-END
		u application - "An unprivileged application" /tmp
		m application xen-evtchn
		m application xen-gntalloc
		m application xen-gntdev
		m application xen-argo
		m application msg-attach
		u uuidd - "As Debian's package makes it" /run/uuidd
	END
	ln -sf usr/lib/systemd/systemd "$root/init"
}

# images_systemd DIRECTORY: DIRECTORY/dom0-systemd.img; its guests are made the same way.
images_systemd() {
	local guest=$1/guest-systemd dom0=$1/dom0-systemd

	rm -rf "$guest" "$dom0"
	cp -a "$1/guest" "$guest"
	rm "$guest/init"
	image_add_systemd "$guest"
	ln -s lab-guest.target "$guest/etc/systemd/system/default.target"
	image_libraries "$guest"
	image_pack "$guest" "$1/guest-systemd.img"

	cp -a "$1/dom0" "$dom0"
	rm "$dom0/init" "$dom0/lab/guest.img"
	image_add_systemd "$dom0"
	ln -s lab-dom0.target "$dom0/etc/systemd/system/default.target"
	printf '%s\n' 'allow listen * on any' 'allow connect * from any to any' >"$dom0/etc/msgd/policy.d/lab.policy"
	image_libraries "$dom0"
	mv "$1/guest-systemd.img" "$dom0/lab/guest.img"
	image_pack "$dom0" "$1/dom0-systemd.img"
}
