# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# systemd's journal: systemd-journal-upload speaks HTTP to systemd-journal-remote at a Unix socket; and journalctl's export,
# piped. The server is killed.
needs systemd-journal-remote systemd-journal-upload systemd-socket-activate journalctl

remote=$(command -v systemd-journal-remote)
upload() { limited systemd-journal-upload -u "http://127.0.0.1:$port" "$@"; }

entries 1 5000 | "$remote" -o "$dir/source.journal" - >"$dir/source.out" 2>&1
[ "$(messages "$dir/source.journal" | wc -l)" = 5000 ] || fail 'no journal'
world
"${unprivileged[@]}" mkdir "$own/in" "$own/piped"
server remote systemd-socket-activate -E LD_LIBRARY_PATH -l "$own/socket" "$remote" --listen-http=-3 -o "$own/in/"
eventually test -S "$own/socket"
service web far forward listen:journal "unix-connect:$own/socket"
service shop near forward tcp-listen:127.0.0.1:0 connect:web/journal
port=$(port_of near)

upload --follow=no --file="$dir/source.journal" >"$dir/upload.out" 2>&1 || fail "$(cat "$dir/upload.out")"
eventually came "$own/in" 5000
messages "$own"/in/*.journal | cmp - <(messages "$dir/source.journal")

# As through ssh: an export on the one side, the program that takes it on the other.
service web piped exec piped -- "${unprivileged[@]}" "$remote" -o "$own/piped/all.journal" -
# shellcheck disable=SC2016
client export sh -c 'journalctl -q -o export --file "$0" | msgio connect web/piped' "$dir/source.journal"
whole export
messages "$own/piped/all.journal" | cmp - <(messages "$dir/source.journal")
idle piped

gate_new sent
entries 5001 100000 | "$gate" "$dir/sent" $((4 * MIB)) | { upload - >"$dir/killed.out" 2>&1 || echo "status $?" >"$dir/status"; } &
gate_reached sent
eventually came "$own/in" 6000
server_kill
gate_open sent
wait $! || true
[ "$(cat "$dir/status")" = 'status 1' ] || fail "systemd-journal-upload: $(cat "$dir/status")"
await "$dir/killed.out" 'failed'
