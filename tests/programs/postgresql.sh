# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# PostgreSQL and psql, with Unix sockets at both ends. The client is killed.
needs initdb postgres psql

sql() { limited psql -X -q -A -t -v ON_ERROR_STOP=1 -U tester -d postgres -h "$@"; }
here() { sql "$own" -c "$1"; }
there() { sql "$dir/near" -c "$1"; }
yes_here() { [ "$(here "$1")" = t ]; }

server initdb initdb -D "$own/data" -A trust -U tester -E UTF8 --locale=C --no-sync --no-instructions
wait "$server_pid" || fail initdb
world
server postgres postgres -D "$own/data" -k "$own" -c listen_addresses= -c fsync=off -c jit=off
eventually eval 'here "select 1" >/dev/null 2>&1'
mkdir "$dir/near"
service web far forward listen:pgsql "unix-connect:$own/.s.PGSQL.5432"
service shop near forward "unix-listen:$dir/near/.s.PGSQL.5432" connect:web/pgsql

there 'create table kept (id int primary key, words text); create table lost (like kept)'
rows 100000 | there 'copy kept from stdin'
there 'copy (select * from kept order by id) to stdout' | cmp - <(rows 100000)

# A query is cancelled over a connection of its own.
there 'select pg_sleep(1000)' >"$dir/cancelled.out" 2>&1 &
eventually yes_here "select count(*) = 1 from pg_stat_activity where query = 'select pg_sleep(1000)'"
kill -INT "$(under $! psql)"
broken $! 'the query that was cancelled'
await "$dir/cancelled.out" 'canceling statement due to user request'

gate_new rows
mkfifo "$dir/rows"
rows 200000 | "$gate" "$dir/rows" $((4 * MIB)) >"$dir/rows" &
there 'copy lost from stdin' <"$dir/rows" >"$dir/killed.out" 2>&1 &
eventually yes_here 'select tuples_processed > 1000 from pg_stat_progress_copy'
gate_reached rows
kill_under $! psql
wait $! || true
await "$dir/postgres.out" 'unexpected EOF on client connection with an open transaction'
eventually yes_here 'select count(*) = 0 from pg_stat_progress_copy'
yes_here 'select count(*) = 0 from lost' || fail 'a part was kept'
gate_open rows
