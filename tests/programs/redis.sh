# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# redis-server at a Unix socket, and redis-benchmark over TCP with 50 connections. The server is killed.
needs redis-server redis-cli redis-benchmark

here() { limited redis-cli -s "$own/socket" "$@"; }
there() { limited redis-cli -h 127.0.0.1 -p "$port" "$@"; }
calls() { here info commandstats | sed -n "s/^cmdstat_$1:calls=\([0-9]*\),.*/\1/p"; }
calls_past() { [ "$(calls "$1")" -gt "$2" ]; }

world
server redis redis-server --port 0 --unixsocket "$own/socket" --dir "$own" --save '' --daemonize no
eventually eval '[ "$(here ping 2>/dev/null)" = PONG ]'
service web far forward listen:redis "unix-connect:$own/socket"
service shop near forward tcp-listen:127.0.0.1:0 connect:web/redis
port=$(port_of near)

head -c 5000000 /dev/urandom >"$dir/value"
[ "$(there -x set key <"$dir/value")" = OK ] || fail set
[ "$(there get key | head -c 5000000 | sha256sum)" = "$(sha256sum <"$dir/value")" ] || fail get
# Answers to questions that were sent together come together.
limited redis-benchmark -h 127.0.0.1 -p "$port" -q -n 10000 -t set,incr >"$dir/benchmark.out"
limited redis-benchmark -h 127.0.0.1 -p "$port" -q -n 30000 -P 16 -d 500 -t lpush >>"$dir/benchmark.out"
[ "$(calls set) $(calls incr) $(calls lpush)" = '10001 10000 30000' ] || fail "$(here info commandstats)"

[ "$transport" = any ] || msgctl --json links | jq -e --arg transport "$transport" '.links[0].transport == $transport' \
	>/dev/null || fail "links: $(msgctl links)"

limited redis-benchmark -h 127.0.0.1 -p "$port" -q -n 100000000 -t get >"$dir/long.txt" 2>&1 &
eventually calls_past get 1000
server_kill
broken $! redis-benchmark
