# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Servers and clients of Debian's in guests, at Debian's own paths. For tests/xen/run to source, after images.sh, whose rules
# hold here too.
# shellcheck disable=SC2154 # lab_debs, tree

guest_programs='usr/sbin/nginx usr/bin/curl usr/sbin/sshd usr/bin/ssh usr/bin/scp usr/bin/ssh-keygen
	usr/bin/redis-check-rdb usr/bin/redis-server usr/bin/redis-cli usr/bin/redis-benchmark usr/bin/socat usr/bin/rsync
	usr/bin/git usr/bin/git-receive-pack usr/bin/git-upload-pack usr/lib/git-core/git-daemon
	usr/lib/postgresql/15/bin/initdb usr/lib/postgresql/15/bin/postgres usr/lib/postgresql/15/bin/psql
	usr/lib/postgresql/15/lib/plpgsql.so usr/lib/postgresql/15/lib/dict_snowball.so usr/share/postgresql/15
	usr/bin/systemd-socket-activate'

# image_guest_programs DIRECTORY: DIRECTORY/guest-programs.img, to be loaded behind DIRECTORY/guest.img.
image_guest_programs() {
	local root=$1/guest-programs from=$lab_debs/root file

	rm -rf "$root"
	mkdir -p "$root"/{etc,lab,srv,usr/bin,usr/lib/systemd}
	# shellcheck disable=SC2086 # a list
	(cd "$from" && cp -a --parents $guest_programs "$root/")
	rm -r "$root"/usr/share/postgresql/15/man
	cp "$from"/lib/systemd/systemd-journal-{remote,upload} "$root/usr/lib/systemd/"
	image_programs "$root" journalctl setpriv
	cp "$tree/tests/programs/inputs.sh" "$root/lab/"
	# Users: sshd's own, and one who logs in and whom servers run as.
	cat >"$root/etc/passwd" <<-END
		root::0:0:root:/root:/bin/bash
		sshd:*:100:100::/run/sshd:/bin/false
		tester:*:1000:1000::/srv:/bin/bash
	END
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id" # journals that are gone on with need one
	image_libraries "$root"
	(cd "$root" && find . -type f) | while read -r file; do
		! cmp -s "$root/$file" "$1/guest/$file" || rm "$root/$file"
	done
	image_pack "$root" "$1/guest-programs.img"
}
