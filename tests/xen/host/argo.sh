# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The hypervisor with Argo, which Debian's own is built without: from Debian's source package, of the same version as
# the packages in the cache. For tests/xen/run to source, after debs.sh. It takes minutes, once for each version.
# shellcheck disable=SC2154 # lab_cache, xen_release

# Its configuration must have Argo, and counters of hypercalls, for xenperf.
argo_config='EXPERT UNSUPPORTED ARGO PERF_COUNTERS'

# argo_apt DIRECTORY PROGRAM ARGUMENT...: apt-get or apt-cache that knows of sources, wherever the machine has Debian's
# packages from. Its lists are in DIRECTORY; the machine's are not touched.
argo_apt() {
	local dir=$1 program=$2

	shift 2
	"$program" -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$dir/sources" \
		-o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root "$@" </dev/null
}

# argo_sources DIRECTORY: the machine's entries for Debian, as entries for sources.
argo_sources() {
	local entry

	mkdir -p "$1/sources" "$1/lists/partial" "$1/cache/archives/partial"
	apt-get indextargets 'Created-By: Packages' 'Origin: Debian' --format '$(SOURCESENTRY)' | sed 's/:[0-9]*$//' |
		sort -u | while read -r entry; do
		sed -e 's/^Types:.*/Types: deb-src/' -e 's/^deb[[:space:]]/deb-src /' "$entry" \
			>"$1/sources/$(basename "$entry")"
	done
}

# argo_source DIRECTORY VERSION: unpacked there, from Debian's source package of that version or, where the mirror has
# no such source, the newest of the same release: within a release the hypervisor's interfaces do not change.
argo_source() {
	local version

	# Other entries than Debian's in the same files may have no sources; it is enough that ours is found.
	argo_apt "$1" apt-get update || true
	for version in "$2" $(argo_apt "$1" apt-cache --only-source showsrc xen | sed -n "s/^Version: \($xen_release\.\)/\1/p" |
		sort -rVu); do
		! (cd "$1" && argo_apt "$1" apt-get --only-source source "xen=$version") || break
	done
	echo "Debian's source of Xen $version, wanted: $2"
	[ -d "$(echo "$1"/xen-*/xen)" ]
}

# argo_build DIRECTORY VERSION: DIRECTORY/xen. To be called with set -e.
argo_build() {
	local tree option

	argo_sources "$1"
	argo_source "$1" "$2"
	tree=$(echo "$1"/xen-*/xen)
	make -C "$tree" defconfig
	for option in $argo_config; do
		echo "CONFIG_$option=y" >>"$tree/.config"
	done
	make -C "$tree" olddefconfig
	for option in $argo_config; do
		grep "^CONFIG_$option=y" "$tree/.config"
	done
	make -C "$tree" -j "$(nproc)"
	cp "$tree/xen" "$1/xen"
}

# argo_xen VERSIONS: sets lab_xen_argo to the hypervisor of the version in that list, and of this configuration. Call it
# with the lock held and with set -e.
argo_xen() {
	local version new old

	version=$(sed -n "s/^xen-hypervisor-$xen_release-amd64 //p" "$1" | sed 's/+b[0-9]*$//')
	lab_xen_argo=$lab_cache/argo-xen-$version-$(sha256sum <<<"$argo_config" | cut -c1-12)
	[ ! -f "$lab_xen_argo" ] || return 0
	new=$(mktemp -d "$lab_cache/new.XXXXXX")
	argo_build "$new" "$version"
	for old in "$lab_cache"/argo-xen-*; do
		rm -f "$old"
	done
	mv "$new/xen" "$lab_xen_argo"
	rm -rf "$new"
}
