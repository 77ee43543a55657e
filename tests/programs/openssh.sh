# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# sshd for each connection, and ssh and scp. The client's msgio is killed, and the server.
needs sshd ssh scp ssh-keygen
wrapper=$(find "$unpacked"/usr/lib /usr/lib -maxdepth 2 -name libnss_wrapper.so 2>/dev/null | head -n 1)
[ -n "$wrapper" ] || skip 'no libnss_wrapper.so (tests/programs/fetch gets it)'

# Only a user with a shell may log in: of this user's number, whose home and shell are ours.
id=$("${unprivileged[@]}" id -u)
echo "tester:x:$id:$id::$own:/bin/sh" >"$own/passwd"
echo "tester:x:$id:" >"$own/group"
sshd_config "$own" >"$own/sshd_config"
ssh_config "$dir" >"$dir/ssh_config"
"${unprivileged[@]}" ssh-keygen -q -t ed25519 -N '' -f "$own/key"
ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
cp "$dir/key.pub" "$own/authorized"
chmod a+r "$own/authorized"

world
sshd=("${unprivileged[@]}" env LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD="$own/passwd" NSS_WRAPPER_GROUP="$own/group"
	"$(command -v sshd)" -i -e -f "$own/sshd_config")
service web sshd exec ssh -- "${sshd[@]}"
head -c $((32 * MIB)) /dev/urandom >"$dir/big"

client login ssh -F "$dir/ssh_config" web 'echo "$USER"; exit 7'
broken "$guest_pid" 'a command that exits so'
[ "$broken_status $(cat "$dir/login.got")" = '7 tester' ] || fail "ssh: $broken_status, $(cat "$dir/login.got")"
client up scp -q -F "$dir/ssh_config" "$dir/big" "web:$own/up"
whole up
client down scp -q -F "$dir/ssh_config" "web:$own/up" "$dir/down"
whole down
cmp "$dir/big" "$own/up"
cmp "$dir/big" "$dir/down"

# A port of domain web that ends in shop, and a socket in shop that ends at this port: twice through ssh, back and forth.
"$peer" digest "unix:$dir/digest" >"$dir/digest.out" 2>&1 &
await "$dir/digest.out" '^listening'
client back ssh -N -F "$dir/ssh_config" -R "0:$dir/digest" web
await "$dir/back.out" '^Allocated port'
port=$(sed -n 's/^Allocated port \([0-9]*\) .*/\1/p' "$dir/back.out")
client forth ssh -N -F "$dir/ssh_config" -L "$dir/forth:127.0.0.1:$port" web
eventually test -S "$dir/forth"
limited "$peer" send "unix:$dir/forth" $((8 * MIB)) || fail 'the forwarded port'
kill "$(peer_pid back)" "$(peer_pid forth)"
idle sshd

gate_new sent
# shellcheck disable=SC2016
service web slow exec slow -- sh -c '"$0" "$1" "$2" | { shift 2; exec "$@"; }' \
	"$gate" "$dir/sent" $((8 * MIB)) "${sshd[@]}"
client killed scp -q -F "$dir/ssh_config" "$dir/big" "slow:$own/part"
gate_reached sent
kill_under "$(peer_pid killed)" msgio
broken "$guest_pid" scp
gate_open sent
await "$dir/slow.out" 'the program for shop: killed by signal 15'
idle slow
[ "$(stat -c %s "$own/part")" -lt $((32 * MIB)) ] || fail 'everything came'

client cut ssh -F "$dir/ssh_config" web 'echo started; exec sleep 1000'
eventually grep -qs started "$dir/cut.got"
kill_under "$(peer_pid sshd)" sshd
broken "$guest_pid" ssh
[ "$broken_status" = 255 ] || fail "ssh: exit status $broken_status"
