# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Servers and clients of Debian's between two guests, as tests/programs has them on the emulator, with its configurations:
# work that is checked, and an end in mid-work by SIGKILL, of which the other side must hear. Emulated, it is less work: 120
# requests for 1,200, files of 4 MiB for 16 to 64, 10,000 rows for 100,000, 500 entries of a journal for 5,000, 1,000 and 2,000
# commands of redis for 20,000 and 30,000.
# boots: programs programs-argo
# limit: 300
# cases: nginx openssh redis postgresql git rsync socat journal

. /lab/lab.sh
. /lab/transport.sh

MIB=1048576
as_tester='setpriv --reuid=tester --regid=1000 --clear-groups --inh-caps=-all --reset-env'
psql='/usr/lib/postgresql/15/bin/psql -X -q -A -t -v ON_ERROR_STOP=1 -U tester -d postgres -h /srv'
curl='curl -q -sS http://127.0.0.1:8000'

# Servers are in web, clients in shop; each has its files in /srv, empty.
guests_have() {
	local domain

	# shellcheck disable=SC2034 # guest_have's
	guest_memory=640
	msgd_have
	rm -f "$state"/tags/*
	guest_have_all web pv shop pvh
	for domain in web shop; do
		in_domain $domain 'rm -rf /srv && mkdir /srv && chown tester /srv && mkdir -p /run/sshd && ip link set lo up'
	done
}

# The autopsy lacks the commands that still run.
said_by_all() {
	local tag

	for tag in "$state"/tags/*; do
		[ -f "$tag" ] || continue
		echo "--- ${tag##*/}"
		(output "${tag##*/}") || true
	done
}
trap '[ $? -eq 0 ] || said_by_all' EXIT

# ---- the programs ----------------------------------------------------------------------------

in_domain() { # DOMAIN COMMAND [SECONDS]; ssh's 255 is not that of tell
	on "$1" "set -euo pipefail; trap '[ \$? -eq 0 ] || exit 1' EXIT; . /lab/inputs.sh; cd /srv; $2" "${3:-60}" || fail "in $1: $2"
}
web() { in_domain web "$@"; }
shop() { in_domain shop "$@"; }

# server TAG COMMAND: unprivileged.
server() { start "$1" web "exec $as_tester $2"; }

# service TAG ARGUMENTS: of msgio, in web, until it listens.
service() {
	start "$1" web "cd /srv; exec msgio $2"
	await "$1" 'listens on'
}

# forward NAME FROM [SOCKET]: from that in shop to the socket in web.
forward() {
	service far "forward listen:$1 unix-connect:${3:-/srv/socket}"
	start near shop "exec msgio forward $2 connect:web/$1"
	await near 'listens on'
}

# client TAG COMMAND: in shop, in the background; it says how it ended.
client() {
	start "$1" shop "set -uo pipefail; . /lab/inputs.sh; cd /srv; status=0; { $2; } || status=\$?; echo \"status \$status\""
}

# broken TAG [STATUS]: it ends with an error, this one, and does not hang.
broken() {
	local status

	await "$1" '^status '
	status=$(output "$1" | sed -n 's/^status //p')
	[ "$status" = "${2:-$status}" ] && [ "$status" != 0 ] || fail "$1: exit status $status: $(output "$1")"
}

# same WHAT IN-WEB [IN-SHOP]: what these print.
same() {
	local web shop

	web=$(web "$2")
	shop=$(shop "${3:-$2}")
	[ -n "$web" ] && [ "$web" = "$shop" ] || fail "$1: $web in web, $shop in shop"
}

until_true() { in_domain "$1" "until $2; do sleep 0.1; done"; } # DOMAIN CONDITION

gate_new() { in_domain "$1" "mkfifo $2.open"; } # DOMAIN GATE
gate_reached() {
	until_true "$1" "[ -e $2.reached ]"
	links_right
}
gate_open() { in_domain "$1" "timeout 60 sh -c ': >$2.open'"; }

# kill_all DOMAIN NAME...: these run, and are killed; one may see another's end first.
kill_all() { in_domain "$1" "pidof ${*:2} >/dev/null; killall -9 ${*:2} || true"; }

# idle TAG: this service of exec runs no program any more.
idle() {
	local domain id

	in_tag "$1"
	# shellcheck disable=SC2154 # in_tag's
	until_true "$domain" "pid=\$(</run/lab/$id.pid) && [ -z \"\$(</proc/\$pid/task/\$pid/children)\" ]"
}

ended() { # TAG...
	local tag

	for tag in "$@"; do stop "$tag"; done
}

# ---- the cases -------------------------------------------------------------------------------

# At a Unix socket; curl over TCP. msgio of the server's domain is killed.
case_nginx() {
	guests_have
	web "mkdir www
		for i in \$(seq 100); do echo \$i >www/\$i; done
		head -c $((4 * MIB)) /dev/urandom >www/big
		truncate -s 1G www/endless
		nginx_config /srv >nginx.conf"
	server nginx '/usr/sbin/nginx -e stderr -p /srv -c /srv/nginx.conf'
	until_true web '[ -S socket ]'
	forward http tcp-listen:127.0.0.1:8000
	shop "[ \"\$($curl/[1-100])\" = \"\$(seq 100)\" ]"
	[ "$(web 'sort access | uniq -c' | awk '{print $1, $3}')" = '100 200' ] || fail "$(web 'cat access')"
	shop "[ \"\$($curl/[1-20] -H 'Connection: close')\" = \"\$(seq 20)\" ]"
	[ "$(web "cut -d ' ' -f 1 access | sort -u | wc -l")" = 21 ] || fail 'connections were kept'
	same big 'sha256sum <www/big' "$curl/big | sha256sum"

	gate_new shop got
	client curl "{ $curl/endless; echo \"curl \$?\" >&2; } | gate got $MIB >/dev/null"
	gate_reached shop got
	signal far KILL
	gate_open shop got
	# 56: the connection was reset. 18, a file that is too short, would be curl's own finding.
	await curl '^curl '
	[ "$(output curl | sed -n 's/^curl \([0-9]\)/\1/p')" = 56 ] || fail "$(output curl)"
	await near 'a connection: broken: '
	seen "120 requests, 4 MiB; $(output curl | head -n 1)"
	signal nginx TERM
	ended near nginx
}

# sshd for each connection, by root; and ssh and scp. The client's msgio is killed, and the server.
case_openssh() {
	local port

	guests_have
	shop "ssh_config /srv >config
		ssh-keygen -q -t ed25519 -N '' -f key
		head -c $((4 * MIB)) /dev/urandom >big
		truncate -s 1G endless"
	web "sshd_config /srv >config; ssh-keygen -q -t ed25519 -N '' -f key; echo '$(shop 'cat key.pub')' >authorized"
	service sshd 'exec ssh -- /usr/sbin/sshd -i -e -f /srv/config'
	# shellcheck disable=SC2016 # by the login's shell
	client login 'ssh -F config web '\''echo "$USER"; exit 7'\'
	broken login 7
	output login | grep -qx tester || fail "$(output login)"
	shop 'scp -q -F config big web:up; scp -q -F config web:up down; cmp big down'
	same 'the file there' 'sha256sum <up' 'sha256sum <big'

	# A port of web that ends in shop, and one in shop that ends at it: twice through ssh, back and forth.
	start echo shop 'exec socat -t 60 UNIX-LISTEN:/srv/echo,fork EXEC:cat'
	until_true shop '[ -S echo ]'
	client back 'ssh -N -F config -R 0:/srv/echo web'
	await back '^Allocated port'
	port=$(output back | sed -n 's/^Allocated port \([0-9]*\) .*/\1/p')
	client forth "ssh -N -F config -L /srv/forth:127.0.0.1:$port web"
	until_true shop '[ -S forth ]'
	shop "head -c $MIB big >sent; socat -t 60 - UNIX-CONNECT:forth <sent | cmp sent"
	shop 'killall ssh'
	idle sshd

	gate_new web slow
	service slow "exec slow -- sh -c 'gate slow $MIB | /usr/sbin/sshd -i -e -f config'"
	client scp 'scp -q -F config endless slow:part'
	gate_reached web slow
	kill_all shop msgio
	broken scp
	gate_open web slow
	await slow 'the program for shop: '
	idle slow
	client ssh 'ssh -F config web "echo started; exec sleep 1000"'
	await ssh '^started'
	kill_all web sshd
	broken ssh 255
	seen "4 MiB up and down, a port back and forth; $(output scp | head -n 1)"
	ended echo sshd slow
}

# At a Unix socket; redis-benchmark over TCP with 50 connections. The server is killed.
case_redis() {
	local redis='redis-cli -h 127.0.0.1 -p 8000' benchmark='redis-benchmark -h 127.0.0.1 -p 8000 -q'
	local calls="redis-cli -s socket info commandstats | sed -n 's/^cmdstat_\\([a-z]*\\):calls=\\([0-9]*\\),.*/\\1 \\2/p' | sort"

	guests_have
	server redis "redis-server --port 0 --unixsocket /srv/socket --dir /srv --save '' --daemonize no"
	await redis 'eady to accept connections'
	forward redis tcp-listen:127.0.0.1:8000
	shop "head -c $MIB /dev/urandom >value; $redis -x set key <value; $redis get key | head -c $MIB | cmp value"
	# Answers to questions that were sent together come together.
	shop "$benchmark -n 500 -t set,incr; $benchmark -n 2000 -P 16 -d 500 -t lpush"
	[[ $(web "$calls") = *$'get 1\n'*$'incr 500\n'*$'lpush 2000\n'*'set 501' ]] || fail "$(web "$calls")"
	client benchmark "$benchmark -n 100000000 -t get >/dev/null"
	until_true web "[ \"\$($calls | sed -n 's/^get //p')\" -gt 200 ]"
	links_right
	signal redis KILL
	broken benchmark
	seen "1 MiB, 3000 commands; $(output benchmark | head -n 1)"
	ended far near
}

# Unix sockets at both ends. The client is killed.
case_postgresql() {
	guests_have
	web "mkdir data && chown tester data && $as_tester /usr/lib/postgresql/15/bin/initdb -D data -A trust -U tester -E UTF8 \
		--locale=C --no-sync --no-instructions" 240
	server postgres '/usr/lib/postgresql/15/bin/postgres -D /srv/data -k /srv -c listen_addresses= -c fsync=off -c jit=off'
	await postgres 'ready to accept connections'
	forward pgsql unix-listen:/srv/.s.PGSQL.5432 /srv/.s.PGSQL.5432
	shop "$psql -c 'create table kept (id int primary key, words text); create table lost (like kept)'
		rows 10000 >rows
		$psql -c 'copy kept from stdin' <rows
		$psql -c 'copy (select * from kept order by id) to stdout' | cmp rows"
	# A query is cancelled over a connection of its own.
	client sleep "$psql -c 'select pg_sleep(1000)'"
	until_true web "[ \$($psql -c \"select count(*) from pg_stat_activity where query = 'select pg_sleep(1000)'\") = 1 ]"
	shop 'killall -INT psql'
	broken sleep
	await sleep 'canceling statement due to user request'

	gate_new shop rows
	client copy "rows 40000 | gate rows $MIB | $psql -c 'copy lost from stdin'"
	until_true web "[ \"\$($psql -c 'select tuples_processed > 1000 from pg_stat_progress_copy')\" = t ]"
	gate_reached shop rows
	kill_all shop psql
	await postgres 'unexpected EOF on client connection with an open transaction'
	until_true web "[ \"\$($psql -c 'select count(*) from pg_stat_progress_copy')\" = 0 ]"
	[ "$(web "$psql -c 'select count(*) from lost'")" = 0 ] || fail 'a part was kept'
	gate_open shop rows
	seen "10000 rows; $(output postgres | grep -m 1 'unexpected EOF')"
	signal postgres INT
	ended near far
	finish postgres >/dev/null
}

# Its daemon for each connection, and git with msgio as its proxy. The server's programs are killed.
case_git() {
	local setup="git_setup /srv gate $MIB"

	guests_have
	shop "$setup
		git init -q tree && cd tree
		for i in \$(seq 200); do echo \$i >\$i; done
		head -c $((4 * MIB)) /dev/urandom >big
		git add . && git commit -q -m words"
	web "$as_tester git init -q --bare words.git"
	service git "exec git -- $as_tester /usr/lib/git-core/git-daemon --inetd --log-destination=stderr --export-all \
		--enable=receive-pack --base-path=/srv"
	shop "$setup; git -c core.gitProxy=/srv/proxy -C tree push -q git://web/words.git HEAD:refs/heads/main"
	web "$as_tester git -C words.git symbolic-ref HEAD refs/heads/main"
	shop "$setup
		git -c core.gitProxy=/srv/proxy clone -q git://web/words.git copy
		git -C copy fsck --no-progress
		cat copy/* | cmp - <(cat tree/*)"
	idle git
	gate_new shop got
	client clone "$setup; git -c core.gitProxy=/srv/slow-proxy clone -q git://web/words.git part"
	gate_reached shop got
	kill_all web git-daemon git
	gate_open shop got
	broken clone
	shop '[ ! -e part ]'
	await git 'the program for shop: killed by signal 9'
	seen "201 files; $(output clone | grep -m 1 '^fatal')"
	ended git
}

# Its daemon for each connection, and rsync with msgio as its connection. The client is killed.
case_rsync() {
	local connect="RSYNC_CONNECT_PROG='msgio connect %H/rsync' rsync -rt"
	local slow="RSYNC_CONNECT_PROG='gate sent $MIB | msgio connect %H/rsync'"

	guests_have
	web "$as_tester mkdir files; rsyncd_config /srv/files >config"
	shop "mkdir files; for i in \$(seq 200); do echo \$i >files/\$i; done; head -c $((4 * MIB)) /dev/urandom >files/big"
	service rsync "exec rsync -- $as_tester rsync --server --daemon --config=config ."
	shop "$connect files/ web::files/; $connect web::files/ back; diff -r files back"
	same 'the files there' 'cat files/* | sha256sum'
	# A file that is there already is not sent again.
	[ "$(shop "echo more >>back/7; $connect --out-format=%n back/ web::files/")" = 7 ] || fail 'other files were sent'
	idle rsync
	gate_new shop sent
	client killed "truncate -s 1G files/new; $slow rsync -rt files/ web::files/"
	gate_reached shop sent
	kill_all shop rsync
	broken killed
	gate_open shop sent
	await rsync 'the program for shop: exit status 1[02]'
	idle rsync
	web '[ ! -e files/new ]'
	seen "201 files; $(output rsync | tail -n 1)"
	ended rsync
}

# At both ends: its server has a Unix socket, its client has msgio as a program. The client is killed; socat itself takes a
# reset for an end.
case_socat() {
	guests_have
	shop "head -c $((4 * MIB)) /dev/urandom >big"
	server echo 'socat -t 60 UNIX-LISTEN:/srv/socket,fork EXEC:cat'
	until_true web '[ -S socket ]'
	service far 'forward listen:back unix-connect:/srv/socket'
	shop "socat -t 60 STDIO EXEC:'msgio connect web/back' <big | cmp big"
	# And as a program of msgio's.
	service program "exec program -- $as_tester socat -t 60 STDIO UNIX-CONNECT:/srv/socket"
	shop "socat -t 60 STDIO EXEC:'msgio connect web/program' <big | cmp big"
	idle program
	service endless "exec endless -- $as_tester socat -u FILE:/dev/zero STDIO"
	gate_new shop got
	client killed "socat -u 'EXEC:msgio connect web/endless' STDIO | gate got $MIB >/dev/null"
	gate_reached shop got
	kill_all shop socat
	await killed '^msgio: standard output: '
	gate_open shop got
	broken killed
	await endless 'the program for shop: \(exit status 143\|killed by signal 13\)'
	idle endless
	seen "4 MiB twice; $(output endless | tail -n 1)"
	ended echo far program endless
}

# systemd-journal-upload speaks HTTP to systemd-journal-remote at a Unix socket; and journalctl's export, piped. The server is
# killed.
case_journal() {
	local remote=/usr/lib/systemd/systemd-journal-remote upload='/usr/lib/systemd/systemd-journal-upload -u http://127.0.0.1:8000'

	guests_have
	shop "entries 1 500 | $remote -o source.journal -; [ \$(messages source.journal | wc -l) = 500 ]"
	web "$as_tester mkdir in piped"
	server remote "systemd-socket-activate -l /srv/socket $remote --listen-http=-3 -o /srv/in/"
	until_true web '[ -S socket ]'
	forward journal tcp-listen:127.0.0.1:8000
	shop "$upload --follow=no --file=source.journal"
	until_true web 'came in 500'
	same 'the journal' 'messages in/*.journal | sha256sum' 'messages source.journal | sha256sum'

	# As through ssh: an export on the one side, the program that takes it on the other.
	service piped "exec piped -- $as_tester $remote -o piped/all.journal -"
	shop 'journalctl -q -o export --file source.journal | msgio connect web/piped'
	same 'the piped journal' 'messages piped/all.journal | sha256sum' 'messages source.journal | sha256sum'
	idle piped

	gate_new shop sent
	client killed "entries 501 20000 | gate sent $MIB | $upload -"
	gate_reached shop sent
	until_true web 'came in 600'
	signal remote KILL
	gate_open shop sent
	broken killed 1
	seen "500 entries twice; $(output killed | head -n 1)"
	ended far near piped
}
