# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# socat at both ends: its server has a Unix socket, its client has msgio as a program. The client's msgio is killed.
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
# shellcheck disable=SC2016
client killed sh -c 'socat -u "EXEC:msgio connect web/endless" STDIO; echo "status $?" >&2'
eventually eval '[ "$(stat -c %s "$dir/killed.got")" -gt 1000000 ]'
kill -9 "$(under "$guest_pid" msgio)"
await "$dir/endless.out" 'the program for shop: \(exit status 143\|killed by signal 13\)'
await "$dir/killed.out" '^status [1-9]'
idle endless
