# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Debian packages, unpacked into a cache and never installed: the hypervisor, its tools, the kernel.
# For tests/xen/run to source. Names in the cache carry the versions; a part is made again only when
# Debian has other versions.

lab_cache=${XDG_CACHE_HOME:-$HOME/.cache}/msgd-lab

# Xen's own tools carry its release in their names.
xen_release=4.17
lab_packages="xen-hypervisor-$xen_release-amd64 xen-utils-$xen_release xen-utils-common xenstore-utils libxenmisc$xen_release
	libyajl2 libxenevtchn1 libxengnttab1 libxenstore4 libxencall1 libxenforeignmemory1
	libxendevicemodel1 libxenhypfs1 libxentoolcore1 libxentoollog1
	libc6 libgcc-s1 libtinfo6 libuuid1 libzstd1 liblzma5 zlib1g busybox-static bash-static coreutils
	libacl1 libattr1 libselinux1 libpcre2-8-0 libgmp10 kmod libssl3 jq libjq1 libonig5 util-linux
	systemd libsystemd0 libsystemd-shared udev libudev1 mount libmount1 libblkid1 libcap2 libcap-ng0
	libcrypt1 libkmod2 libseccomp2 libapparmor1 libaudit1 libpam0g libip4tc2 libcryptsetup12 libfdisk1
	libdevmapper1.02.1 libjson-c5 libargon2-1 libgcrypt20 libgpg-error0 liblz4-1 libevent-2.1-7
	libevent-core-2.1-7 libjansson4 libinih1 libsodium23 uuid-runtime rsync libpopt0 libxxhash0"
# For HVM guests: their device model and its libraries.
lab_packages+=" qemu-system-xen qemu-system-data seabios libpixman-1-0 libspice-server1 libjpeg62-turbo libusb-1.0-0 libfdt1
	libglib2.0-0 libopus0 libgstreamer1.0-0 libgstreamer-plugins-base1.0-0 liborc-0.4-0 libsasl2-2 libstdc++6
	libunwind8 libdw1 libelf1 libffi8 libbz2-1.0"
# The programs that run between guests, and their libraries.
lab_packages+=" nginx curl openssh-server openssh-client redis-server redis-tools postgresql-15 postgresql-client-15 git socat
	systemd-journal-remote libatomic1 libbrotli1 libcom-err2 libcurl4 libgnutls30 libgssapi-krb5-2 libhogweed6 libicu72
	libidn2-0 libjemalloc2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libldap-2.5-0 liblzf1 libmicrohttpd12
	libnettle8 libnghttp2-14 libnsl2 libp11-kit0 libpq5 libpsl5 libreadline8 librtmp1 libssh2-1 libtasn1-6 libtirpc3
	libunistring2 libwrap0 libxml2"

# debs_kernel: the package behind linux-image-amd64.
debs_kernel() {
	LC_ALL=C apt-cache depends --important linux-image-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1
}

# debs_versions PACKAGE...: "PACKAGE VERSION" of what apt would take; nothing for what it does not know.
debs_versions() {
	LC_ALL=C apt-cache show --no-all-versions "$@" 2>/dev/null |
		awk '/^Package: / {p = $2} /^Version: / {print p, $2}' | sort
}

# debs_known: are the lists there, and complete?
debs_known() {
	local kernel packages

	kernel=$(debs_kernel)
	[ -n "$kernel" ] || return 1
	# shellcheck disable=SC2086 # a list
	packages=$(debs_versions $lab_packages "$kernel")
	# shellcheck disable=SC2086
	[ "$(wc -l <<<"$packages")" -eq $(($(wc -w <<<"$lab_packages") + 1)) ] || return 1
	echo "$packages"
}

# debs_unpack VERSIONS DIRECTORY: into a new directory; published last.
debs_unpack() {
	local new file

	new=$(mktemp -d "$lab_cache/new.XXXXXX") || return 1
	mkdir "$new/debs" "$new/root"
	echo "Fetching into $lab_cache (not installing): $(cut -d' ' -f1 <<<"$1" | tr '\n' ' ')"
	if ! (cd "$new/debs" && awk '{print $1 "=" $2}' <<<"$1" |
		xargs apt-get -q -o APT::Sandbox::User=root download) >"$new/log" 2>&1 </dev/null; then
		tail -5 "$new/log" >&2
		rm -rf "$new"
		return 1
	fi
	for file in "$new"/debs/*.deb; do
		dpkg-deb -x "$file" "$new/root" || return 1
	done
	rm -r "$new/debs"
	"$lab_dir/host/vmlinux.py" "$new"/root/boot/vmlinuz-* "$new/vmlinux" || return 1
	gunzip -c "$new/root/boot/xen-$xen_release-amd64.gz" >"$new/xen" || return 1
	# Debug data of hundreds of drivers' worth that no image takes.
	find "$new/root/lib/modules" -name '*.ko*' ! -path '*/drivers/xen/*' -delete
	echo "$1" >"$new/versions"
	mv "$new" "$2"
}

# debs_root: sets lab_debs to the directory with root/, vmlinux, xen. Call it with the lock held.
debs_root() {
	local versions key old

	if ! versions=$(debs_known); then
		if [ "$(id -u)" -eq 0 ]; then
			echo "apt's lists are not there, or too old: apt-get update"
			apt-get -q update >/dev/null 2>&1 </dev/null
		fi
		versions=$(debs_known) || versions=
	fi
	if [ -n "$versions" ]; then
		key=$(sha256sum <<<"$versions" | cut -c1-12)
		lab_debs=$lab_cache/debs-$key
		[ ! -d "$lab_debs" ] || return 0
		debs_unpack "$versions" "$lab_debs" ||
			{ [ "$(id -u)" -eq 0 ] && apt-get -q update >/dev/null 2>&1 </dev/null &&
				versions=$(debs_known) && key=$(sha256sum <<<"$versions" | cut -c1-12) &&
				lab_debs=$lab_cache/debs-$key && debs_unpack "$versions" "$lab_debs"; } ||
			lab_debs=
	else
		lab_debs=
	fi
	if [ -n "$lab_debs" ]; then
		for old in "$lab_cache"/debs-*; do
			[ "$old" = "$lab_debs" ] || rm -rf "$old"
		done
		return 0
	fi
	# shellcheck disable=SC2012 # names of our own making
	lab_debs=$(ls -td "$lab_cache"/debs-* 2>/dev/null | head -1)
	if [ -n "$lab_debs" ]; then
		echo "Debian's packages cannot be got now; going on with those in $lab_debs"
		return 0
	fi
	cat >&2 <<-END
		The lab needs Debian 12's packages of Xen $xen_release and a kernel (unpacked into $lab_cache,
		not installed), and apt cannot get them: is there a network? As root:  apt-get update
	END
	return 1
}
