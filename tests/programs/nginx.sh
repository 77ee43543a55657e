# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# nginx at a Unix socket, and curl over TCP. msgio of the server's domain is killed.
needs nginx curl

fetch() { limited curl -q -sS --noproxy '*' "$@"; }

mkdir "$own/www"
for i in $(seq 1000); do echo "$i" >"$own/www/$i"; done
head -c $((64 * MIB)) /dev/urandom >"$own/www/big"
nginx_config "$own" >"$own/nginx.conf"
world
server nginx nginx -e stderr -p "$own" -c "$own/nginx.conf"
eventually test -S "$own/socket"
service web far forward listen:http "unix-connect:$own/socket"
service shop near forward tcp-listen:127.0.0.1:0 connect:web/http
url=http://127.0.0.1:$(port_of near)

# One connection for all, then one for each.
fetch "$url/[1-1000]" | cmp - <(seq 1000)
[ "$(sort "$own/access" | uniq -c | awk '{print $1, $3}')" = '1000 200' ] || fail "$(sort "$own/access" | uniq -c | head)"
fetch -H 'Connection: close' "$url/[1-200]" | cmp - <(seq 200)
[ "$(cut -d' ' -f1 "$own/access" | sort -u | wc -l)" = 201 ] || fail 'connections were kept'
[ "$(fetch "$url/big" | sha256sum)" = "$(sha256sum <"$own/www/big")" ] || fail 'another file came'

gate_new got
{ fetch "$url/big" 2>"$dir/curl.out" || echo $? >"$dir/status"; } | "$gate" "$dir/got" $MIB >/dev/null &
gate_reached got
kill -9 "$(peer_pid far)"
gate_open got
wait $! || true
# 56: the connection was reset. 18, a file that is too short, would be curl's own finding.
[ "$(cat "$dir/status")" = 56 ] || fail "curl: exit status $(cat "$dir/status")"
await "$dir/near.out" 'a connection: broken: '
