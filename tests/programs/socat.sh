# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# socat at both ends: its server has a Unix socket, its client has msgio as a program. The client is killed; socat itself
# takes a reset for an end.
needs socat

head -c $((16 * MIB)) /dev/urandom >"$dir/big"
world
# A socket that sends everything back; -t: how long the one direction may last when the other has ended.
server socat socat -t "$patience" "UNIX-LISTEN:$own/socket,fork" EXEC:cat
eventually test -S "$own/socket"
service web far forward listen:back "unix-connect:$own/socket"
guest_stdin=$dir/big client echo socat -t "$patience" STDIO EXEC:'msgio connect web/back'
whole echo
cmp "$dir/big" "$dir/echo.got"

# And as a program of msgio's.
service web program exec program -- "${unprivileged[@]}" socat -t "$patience" STDIO "UNIX-CONNECT:$own/socket"
guest_stdin=$dir/big client again socat -t "$patience" STDIO EXEC:'msgio connect web/program'
whole again
cmp "$dir/big" "$dir/again.got"
idle program

service web endless exec endless -- "${unprivileged[@]}" socat -u FILE:/dev/zero STDIO
client killed socat -u 'EXEC:msgio connect web/endless' STDIO
eventually size_past "$dir/killed.got" 1000000
kill_under "$guest_pid" socat
await "$dir/killed.out" '^msgio: standard output: '
await "$dir/endless.out" 'the program for shop: \(exit status 143\|killed by signal 13\)'
idle endless
