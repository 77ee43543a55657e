# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# Fresh systems of Debian with systemd, below $work, and programs in them. $release is which one.

proxies=()
for name in http_proxy https_proxy no_proxy; do
	[ -z "${!name:-}" ] || proxies+=("$name=${!name}")
done

# root_make ROOT: with this machine's mirror, and all of its lines that are Debian's where they are for $release.
root_make() {
	local sources mirror

	sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' \
		'Origin: Debian' | sort -u)
	mirror=$(awk '$3 !~ /-/ {print $2; exit}' <<<"$sources")
	[ -n "$mirror" ] || { echo "apt has no mirror of Debian here"; return 1; }
	debootstrap --variant=minbase --include=ca-certificates,systemd "$release" "$1" "$mirror"
	awk -v "release=$release" '$3 == release || index($3, release "-") == 1' <<<"$sources" >"$1/etc/apt/sources.list"
	[ -s "$1/etc/apt/sources.list" ] || echo "deb $mirror $release main" >"$1/etc/apt/sources.list"
	apt-config dump Acquire | grep -iE '^Acquire::https?::proxy' >"$1/etc/apt/apt.conf.d/90proxy" || true
	in_root "$1" apt-get -q update
}

# in_root ROOT COMMAND...: with processes of its own, of which none is left. Where $alone is set there is no network.
in_root() {
	unshare --mount --pid ${alone:+--net} --fork --kill-child sh -euc \
		'mount -t proc proc "$1/proc"; mount -t tmpfs shm "$1/dev/shm"
		root=$1; shift; exec chroot "$root" "$@"' sh "$1" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		"${proxies[@]}" "${@:2}"
}
get() { in_root "$1" apt-get -q -y --no-install-recommends "${@:2}" </dev/null; } # ROOT ARGUMENT...
