# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# Which Debian packages the tree needs, for quickstart and check to source; and how they are got.

# To build and to try.
packages_build='gcc libc6-dev meson ninja-build pkg-config libevent-dev libsystemd-dev libjansson-dev libncurses-dev
	libinih-dev libsodium-dev libssl-dev uthash-dev libxen-dev libcmocka-dev python3'
# To test as well.
packages_check='clang g++ clang-format libclang-rt-dev gcovr mandoc groff-base shellcheck spin jq perl git curl
	chromium chromium-driver python3-selenium
	make linux-headers-amd64 sparse liburing-dev libglib2.0-dev libuv1-dev xz-utils gcc-aarch64-linux-gnu
	python3-dev python3-jsonschema python3-prometheus-client python3-pyte socat openssl abigail-tools dpkg-dev tshark
	systemtap-sdt-dev bpftrace gdb'
# For bench/run: without them, it measures less and makes no plots.
packages_bench='libzmq3-dev libnng-dev gnuplot-nox'
# For tests/programs, which unpacks what is missing and installs nothing; of prometheus tests/e2e uses promtool.
packages_programs='nginx curl openssh-server openssh-client libnss-wrapper redis-server redis-tools postgresql
	postgresql-client git rsync socat systemd systemd-journal-remote prometheus'
# For the lab with a real Xen; what runs in it is fetched, not installed (tests/xen). All but QEMU is for building
# its hypervisor with Argo.
packages_lab='qemu-system-x86 dpkg-dev make flex bison'

# For tests/packages. Packages are built with those of debian/control.
packages_packaging='debootstrap dpkg-dev git nix-bin piuparts rpm systemd-container'

# packages_missing PACKAGE...: prints those that are not installed.
packages_missing() {
	local package status missing=

	for package in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
		[ "$status" = installed ] || missing="$missing $package"
	done
	echo "${missing# }"
}

# packages_need PACKAGE...: installs what is missing, or says how and returns 1.
packages_need() {
	local missing log

	if ! command -v dpkg-query >/dev/null; then
		echo "This is not Debian: have these, or what they are called here: $*" >&2
		return 0
	fi
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "These packages are missing. As root:  apt-get install $missing" >&2
		return 1
	fi
	echo "Installing: $missing"
	log=$(mktemp)
	# shellcheck disable=SC2086 # a list
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
		-o DPkg::Lock::Timeout=300 --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
		tail -20 "$log" >&2
		rm -f "$log"
		echo "apt-get failed; wanted: $missing" >&2
		return 1
	fi
	rm -f "$log"
}
