# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# rsync's daemon for each connection, and rsync with msgio as its connection. The client is killed.
needs rsync

rsyncd_config "$own/files" >"$own/config"
"${unprivileged[@]}" mkdir "$own/files"
mkdir "$dir/files"
for i in $(seq 1000); do echo "$i" >"$dir/files/$i"; done
head -c $((16 * MIB)) /dev/urandom >"$dir/files/big"
copy() { client "$1" env RSYNC_CONNECT_PROG="${connect:-msgio connect %H/rsync}" rsync -rt "${@:2}"; }

world
service web rsync exec rsync -- "${unprivileged[@]}" rsync --server --daemon --config="$own/config" .

copy up "$dir/files/" web::files/
whole up
diff -r "$dir/files" "$own/files"
copy down web::files/ "$dir/back"
whole down
diff -r "$dir/files" "$dir/back"
# A file that is there already is not sent again.
echo more >>"$dir/back/7"
copy again --out-format=%n "$dir/back/" web::files/
whole again
[ "$(cat "$dir/again.got")" = 7 ] || fail "sent again: $(cat "$dir/again.got")"
idle rsync

gate_new sent
head -c $((16 * MIB)) /dev/urandom >"$dir/files/new"
connect="'$gate' '$dir/sent' $((4 * MIB)) | msgio connect %H/rsync" copy killed "$dir/files/" web::files/
gate_reached sent
eventually eval 'size_past "$own"/files/.new.* 1000000'
kill_under "$guest_pid" rsync
gate_open sent
await "$dir/rsync.out" 'the program for shop: exit status 1[02]'
idle rsync
[ ! -e "$own/files/new" ] || fail 'a part was kept'
