# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Dom0 and guests whose init is Debian's systemd, with the units, rules and groups that are installed, and the driver as an
# administrator has it loaded. Over Argo, what has to do with it.
# boots: systemd systemd-argo
# limit: 300
# cases: start status journal sandbox sandbox-lines reload ask start-domain kept devices limit agent refused unprivileged dom0-unprivileged exec activate socket idle http rsync restart crash stop
# cases-systemd-argo: devices unprivileged ungrouped dom0-unprivileged exec activate socket idle http rsync restart crash

. /lab/lab.sh
. /lab/transfer.sh

# Runs a command as the unprivileged user, in that user's groups and no others.
as_application='setpriv --reuid application --regid application --init-groups --inh-caps=-all'
# shellcheck disable=SC2034 # transfer_start reads it
transfer_as=$as_application

guests_have() {
	# shellcheck disable=SC2034 # guest_have's
	guest_memory=256
	guest_have_all sys1 pv sys2 pvh
}
msgd_started() { systemctl start msgd || fail "$(journal | tail -n 4 | tr '\n' ' ')"; }
msgd_property() { systemctl show --value -p "$1" msgd.service; }
msgd_active() { [ "$(systemctl is-active msgd.service)" = active ]; }
journal() { journalctl -q -o cat -u msgd.service; }
# journal_has_record MATCHES CONDITION: a record of msgd of which jq says so.
journal_has_record() {
	# shellcheck disable=SC2086 # several matches
	journalctl -q -o json _SYSTEMD_UNIT=msgd.service $1 | jq -es "map(select($2)) | length > 0" >/dev/null
}
journal_has() { journal | grep -q -- "$1"; }

case_start() { # its answer is that the service is ready, not that it was started
	local began=${EPOCHREALTIME/./}

	msgd_started
	seen "ready after $(milliseconds_since "$began") ms"
	msgd_active || fail "$(systemctl is-active msgd.service)"
	msgctl status >/tmp/status || fail "$(cat /tmp/status)"
}
case_status() {
	msgd_started
	systemctl status msgd.service >/tmp/status || fail "$(cat /tmp/status)"
	grep -q 'Active: active (running)' /tmp/status || fail "$(head -n 3 /tmp/status)"
	[ "$(msgd_property StatusText)" ] || fail 'no status text'
	seen "$(msgd_property StatusText)"
}
case_journal() { # the journal names who came and went, with systemd's additions
	guests_have
	msgd_started
	start server sys1 'echo-server journal'
	on sys2 'echo hello | echo-client sys1/journal' >/dev/null
	signal server KILL
	finish server >/dev/null || true
	eventually 10 journal_has 'sys1.*is gone'
	journalctl -q -o json -u msgd.service | jq -es 'map(select(.PRIORITY)) | length > 0' >/dev/null ||
		fail 'no priorities'
	# daemon/broker/message-id.h: GONE, and ADMIN
	eventually 10 journal_has_record 'MESSAGE_ID=37ec418178024334a4cadc8dde0bd71d MSG_DOMAIN=sys1' '.MSG_PID and .MSG_REASON and .MSG_DOMID'
	msgctl reload >/dev/null
	eventually 10 journal_has_record 'MESSAGE_ID=d74ccb1a7dbf4e7dad8864598baaa3c2 MSG_CLIENT_UID=0' '.MSG_ACTION == "reload"'
	seen "$(journal | grep 'sys1' | tail -n 1)"
}

# ---- the sandbox -------------------------------------------------------------------------------

case_sandbox() { # in msgd's own unit nothing is done that root outside of it does
	local outside inside

	msgd_started
	sandbox-probe --prepare || fail 'cannot be prepared'
	outside=$(sandbox-probe) || true
	! grep refused <<<"$outside" || fail 'refused outside of the sandbox'
	mkdir -p /run/systemd/system/msgd.service.d
	printf '[Service]\nExecStartPre=/bin/sh -c "sandbox-probe >/run/msgd/probe"\nEnvironment=PATH=/lab/bin:/usr/bin\n' \
		>/run/systemd/system/msgd.service.d/probe.conf
	systemctl daemon-reload
	systemctl restart msgd || true
	inside=$(cat /run/msgd/probe)
	rm -r /run/systemd/system/msgd.service.d /run/msgd/probe
	systemctl daemon-reload
	systemctl restart msgd || fail "$(journal | tail -n 3)"
	paste -d' ' <(echo "$outside") <(sed 's/^[^:]*://' <<<"$inside")
	[ "$(wc -l <<<"$inside")" -eq "$(wc -l <<<"$outside")" ] || fail "attempts: $inside"
	! grep ': done' <<<"$inside" || fail 'done in the sandbox'
	[ "$(stat -c %U "/proc/$(msgd_property MainPID)")" = msgd ] || fail 'msgd runs as another user'
	[ "$(sed -n 's/^Cap\(Prm\|Eff\|Bnd\|Amb\):\t//p' "/proc/$(msgd_property MainPID)/status" | sort -u)" = 0000000000000000 ] ||
		fail 'msgd has capabilities'
	seen "$(wc -l <<<"$inside") attempts refused"
}
# probe_unit NAME ATTEMPT LINE...: runs it with these lines.
probe_unit() {
	printf '%s\n' '[Service]' Type=oneshot "StandardOutput=truncate:/run/lab/$1.said" StandardError=inherit \
		"ExecStart=/lab/bin/sandbox-probe $2" "${@:3}" >"/run/systemd/system/$1.service"
}
case_sandbox_lines() { # each line by itself forbids what it is there for
	local attempt line user n=0

	sandbox-probe --prepare || fail 'cannot be prepared'
	sandbox-probe --list >/run/lab/attempts
	while read -r attempt line; do
		grep -qxF -- "$line" /usr/lib/systemd/system/msgd.service || fail "msgd.service has no $line"
		case $line in
		# From root with its capabilities these keep nothing.
		ProtectProc=* | LimitNOFILE=*) user=nobody ;;
		*) user=root ;;
		esac
		probe_unit "probe-$attempt" "$attempt" "User=$user" "$line"
		probe_unit "probe-$attempt-without" "$attempt" "User=$user"
	done </run/lab/attempts
	systemctl daemon-reload
	while read -r attempt line; do
		! systemctl start "probe-$attempt-without" 2>/dev/null ||
			fail "not done without $line: $(cat "/run/lab/probe-$attempt-without.said")"
		grep -qx "$attempt: done" "/run/lab/probe-$attempt-without.said" || fail "$(cat "/run/lab/probe-$attempt-without.said")"
		systemctl start "probe-$attempt" || fail "$line does not forbid it: $(cat "/run/lab/probe-$attempt.said")"
		grep "^$attempt: refused" "/run/lab/probe-$attempt.said" || fail "$(cat "/run/lab/probe-$attempt.said")"
		n=$((n + 1))
	done </run/lab/attempts
	rm -f /run/systemd/system/probe-*
	systemctl daemon-reload
	seen "$n attempts, by $(cut -d' ' -f2- /run/lab/attempts | sort -u | wc -l) lines"
}
case_reload() { # its answer is the outcome, and a bad one fails
	msgd_started
	systemctl reload msgd || fail "$(journal | tail -n 3)"
	journal_has 'reloaded: 2 policy rules' || fail "$(journal | tail -n 3)"
	echo 'allow everything' >/etc/msgd/policy.d/zz.policy
	! systemctl reload msgd || fail 'a broken policy is taken'
	msgd_active || fail "$(systemctl is-active msgd.service)"
	grep -q 'Reload failed: .*zz.policy:1' <<<"$(msgd_property StatusText)" || fail "$(msgd_property StatusText)"
	rm /etc/msgd/policy.d/zz.policy
	systemctl reload msgd || fail "$(journal | tail -n 3)"
	seen "$(msgd_property StatusText)"
}
case_ask() { # a program of policy runs in the sandbox
	local said

	guests_have
	msgd_started
	printf '%s\n' '#!/bin/sh' 'echo "$(id -un) says" >&2' '[ "$MSG_FROM_DOMAIN" = sys2 ] && echo allow || echo deny not you' >/etc/msgd/judge
	chmod 755 /etc/msgd/judge
	echo 'allow connect asked from any to any ask=/etc/msgd/judge' >/etc/msgd/policy.d/aa.policy
	systemctl reload msgd || fail "$(journal | tail -n 3)"
	start server sys1 'echo-server asked'
	said=$(on sys2 'echo hello | echo-client sys1/asked') || fail "$said: $(journal | tail -n 3)"
	! on sys1 'echo hello | echo-client sys1/asked' >/tmp/said 2>&1 || fail "allowed: $(cat /tmp/said)"
	grep -q 'not you' /tmp/said || fail "$(cat /tmp/said)"
	journal_has 'msgd says' || fail 'another user'
	stop server
	rm /etc/msgd/policy.d/aa.policy
	systemctl reload msgd
	seen "$said"
}
case_start_domain() { # the start-helper: what msgd's user may not do, its service does, for domains with a file alone
	local said offset name

	guests_have
	msgd_started
	mkdir -p /etc/msgd/domains
	guest_config sys3 pv >/etc/msgd/domains/sys3.cfg
	sed -i 's/^name = .*/name = "another"/' /etc/msgd/domains/sys3.cfg
	printf '%s\n' 'allow connect late from any to sys3 start=yes start-timeout=200' \
		'allow connect late from any to sys4 start=yes start-timeout=200' >/etc/msgd/policy.d/aa.policy
	printf '[broker]\nstart-helper = /usr/libexec/msgd/start-domain\n' >/etc/msgd/msgd.conf
	systemctl start msgd-start.socket || fail "$(systemctl status msgd-start.socket)"
	systemctl reload msgd || fail "$(journal | tail -n 3)"
	said=$(on sys1 'msgio --wait=100 connect sys4/late </dev/null 2>&1' 110 || true)
	grep -q 'not among those' <<<"$said" || fail "$said"
	offset=$(guest_console_size sys3)
	start client sys2 'echo hello | msgio --wait=170 connect sys3/late'
	eventually 60 is_there sys3 # a busy machine takes longer to make it than guest_up takes it to have died
	guest_up sys3 "$offset"
	start server sys3 'msgio exec late cat'
	said=$(finish client 120) || fail "$said: $(journal | tail -n 5)"
	[ "$said" = hello ] || fail "$said"
	[ "$(systemctl is-active msgd-domain@sys3.service)" = active ] || fail "$(systemctl status msgd-domain@sys3.service)"
	# Only msgd's user reaches the service, and a name has no other signs.
	[ "$(stat -c '%a %U' /run/msgd-start)" = '600 msgd' ] || fail "$(stat -c '%a %U' /run/msgd-start)"
	for name in ../sys3 'a b' -x .x; do
		[ "$(printf '%s\n' "$name" | /usr/libexec/msgd/start-domain --serve)" = "that is no domain's name" ] || fail "served: $name"
	done
	guest_destroy sys3
	eventually 20 unit_is inactive msgd-domain@sys3.service
	printf '' >/etc/msgd/msgd.conf
	rm /etc/msgd/policy.d/aa.policy
	systemctl reload msgd
	seen "$said"
}
is_there() { guest_domid "$1" >/dev/null; }
unit_is() { [ "$(systemctl is-active "$2" || true)" = "$1" ]; }
case_kept() { # clients of the admin socket over a restart, and over a crash
	local how restarts

	guests_have
	msgd_started
	start monitor dom0 'exec msgctl monitor'
	start waiting dom0 'exec msgctl wait sys1/later --timeout=170'
	eventually 20 stored 4
	for how in restart crash; do
		if [ $how = restart ]; then
			systemctl restart msgd || fail "$(journal | tail -n 3)"
		else
			restarts=$(msgd_property NRestarts)
			systemctl kill -s KILL msgd.service
			eventually 20 msgd_restarted "$restarts"
		fi
		msgctl reload >/dev/null || fail 'msgctl reload'
		eventually 20 stored 4
	done
	eventually 20 eval '[ "$(output monitor | grep -c "msgd was restarted")" = 2 ]'
	output monitor | tail -n 1 | grep -q reload || fail "$(output monitor)"
	start server sys1 'echo-server later'
	finish waiting 60 || fail 'wait failed'
	eventually 20 stored 2
	stop monitor
	eventually 20 stored 0
	stop server
	systemctl show -p FileDescriptorStoreMax msgd.service | grep -qx FileDescriptorStoreMax=288 || fail 'no bound'
	seen 'monitor and wait went on'
}
stored() { [ "$(msgd_property NFileDescriptorStore)" = "$1" ]; }

# devices_are DOMAIN EXPECTED: where udev is behind, later.
devices_are() {
	[ "$(on "$1" 'cd /dev/xen && stat -c "0%a %U %G" argo evtchn gntalloc gntdev xenbus 2>&1')" = "$2" ]
}
case_devices() { # the devices' owners and modes, by the udev rules
	local said expected

	guests_have
	expected='0660 root xen-argo
0660 root xen-evtchn
0660 root xen-gntalloc
0660 root xen-gntdev
0660 root xen-xenbus'
	for domain in sys1 sys2 dom0; do
		eventually 60 devices_are "$domain" "$expected"
	done
	said=$(cd /dev/xen && stat -c "0%a %U %G" privcmd hypercall) || fail "$said"
	[ "$said" = $'0660 root xen-privcmd\n0660 root xen-privcmd' ] || fail "privcmd, hypercall: $said"
	for domain in sys1 dom0; do
		said=$(on "$domain" "grep -E '^xen-(xenbus|privcmd):' /etc/group")
		! grep -v ':$' <<<"$said" || fail "$domain: the groups have members"
	done
	seen 'argo, evtchn, gntalloc, gntdev, xenbus, privcmd: a group each'
}
case_limit() { # of gntalloc, by our modprobe.d file
	local limit

	guests_have
	limit=$(on sys1 'cat /sys/module/xen_gntalloc/parameters/limit')
	[ "$limit" = 16384 ] || fail "$limit pages"
	seen "$limit pages"
}
case_agent() { # is started by its first client
	guests_have
	[ "$(on sys1 'systemctl is-active msg-agent.socket')" = active ] || fail 'the socket'
	seen "$(on sys1 'stat -c "%a %U %G" /run/msg-agent.sock')"
}
case_refused() { # the user has what it needs and no more
	local said

	guests_have
	said=$(on sys1 "$as_application cat /dev/xen/xenbus 2>&1" || true)
	grep -q 'Permission denied' <<<"$said" || fail "xenbus: $said"
	said=$(on sys1 "setpriv --reuid nobody --regid nogroup --clear-groups echo-server refused 2>&1" || true)
	grep -qi 'permission denied' <<<"$said" || fail "nobody: $said"
	seen "$said"
}
case_unprivileged() { # listens in one guest, connects from the other
	local said

	guests_have
	msgd_started
	start server sys1 "$as_application echo-server user"
	said=$(on sys2 "printf 'one\ntwo words\n' | $as_application echo-client sys1/user") || fail "$said"
	grep -q 'got back: two words' <<<"$said" || fail "$said"
	[ "$(on sys1 'systemctl is-active msg-agent.service')" = active ] || fail 'msg-agent does not run'
	on sys1 'systemctl stop msg-agent.socket msg-agent.service; systemctl start msg-agent.socket'
	said=$(on sys2 "echo again | $as_application echo-client sys1/user") || fail "without the agent: $said"
	signal server KILL
	finish server >/dev/null || true
	seen "$said"
}
case_dom0_unprivileged() { # in dom0 it is msgd's own socket
	guests_have
	msgd_started
	transfer_start user dom0 sys2
	seen "$(transfer_stop user)"
}
# ---- msgio's units -----------------------------------------------------------------------------

# conf NAME LINE...: of a service of sys1.
conf() {
	on sys1 "mkdir -p /etc/msgio && cat >/etc/msgio/$1.conf <<'END'
$(printf '%s\n' "${@:2}")
END"
}
active_in_sys1() { [ "$(on sys1 "systemctl is-active $1 || true")" = "$2" ]; }
started_in_sys1() { on sys1 "systemctl start $*" || fail "$(on sys1 "journalctl -q -o cat -n 5 -u ${*: -1}")"; }
# uuid_by NAME: from sys2 over a channel: Debian's program at both ends.
uuid_by() {
	local said

	start near sys2 "msgio forward unix-listen:/run/uuids connect:sys1/$1"
	await near 'listens on'
	said=$(on sys2 'uuidd --socket /run/uuids --random 2>&1') || fail "$said: $(output near)"
	[[ $said =~ ^[0-9a-f]{8}-[0-9a-f-]{27}$ ]] || fail "$said: $(output near)"
	stop near
	echo "$said"
}

case_exec() { # a program for each connection, unprivileged; and one that is not there
	local said

	guests_have
	msgd_started
	conf lab-sort "MSGIO_PROGRAM=sh -c 'id -u; sort -r'"
	started_in_sys1 msg-exec@lab-sort
	said=$(on sys2 "printf 'a\nb\n' | msgio connect sys1/lab-sort") || fail "$said"
	[[ $said =~ ^[1-9][0-9]*$'\nb\na'$ ]] || fail "$said"
	conf absent MSGIO_PROGRAM=/nonexistent/program
	! on sys1 'systemctl start msg-exec@absent' || fail 'a service without a program'
	[ "$(on sys1 'systemctl show -p ExecMainStatus -p NRestarts msg-exec@absent' | sort)" = \
		$'ExecMainStatus=2\nNRestarts=0' ] || fail "$(on sys1 'systemctl status msg-exec@absent')"
	on sys1 'systemctl stop msg-exec@lab-sort'
	[ "$(on sys1 'systemctl show --value -p Result msg-exec@lab-sort')" = success ] ||
		fail "$(on sys1 'systemctl status msg-exec@lab-sort')"
	seen "${said//$'\n'/ }"
}
case_activate() { # uuidd.service, by the socket of uuidd.socket, as Debian has them
	local uuid

	guests_have
	msgd_started
	conf uuidd MSGIO_SOCKET=/run/uuidd/request
	started_in_sys1 msg-activate@uuidd
	active_in_sys1 uuidd.socket active || fail 'the socket is not there'
	active_in_sys1 uuidd.service inactive || fail 'it runs before anybody has connected'
	uuid=$(uuid_by uuidd)
	active_in_sys1 uuidd.service active || fail "it does not run, and answers $uuid"
	on sys1 'systemctl stop uuidd.service'
	seen "$uuid $(uuid_by uuidd)"
	on sys1 'systemctl stop msg-activate@uuidd uuidd.socket uuidd.service'
}
case_socket() { # systemd's proxy, which has no socket unit, and ends when it is idle; behind it uuidd, as above
	local uuid

	guests_have
	msgd_started
	on sys1 "printf '[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd --exit-idle-time=2s /run/uuidd/request\n' \
		>/run/systemd/system/proxy.service && systemctl daemon-reload"
	started_in_sys1 uuidd.socket msg-activate@proxy.socket msg-activate@proxy
	active_in_sys1 proxy inactive || fail 'it runs before anybody has connected'
	uuid=$(uuid_by proxy)
	eventually 60 active_in_sys1 proxy inactive
	seen "$uuid $(uuid_by proxy)"
	on sys1 'systemctl stop msg-activate@proxy msg-activate@proxy.socket proxy uuidd.socket uuidd.service'
}
case_idle() { # msgio itself starts uuidd, without a unit of its own, and ends it
	local uuid

	guests_have
	msgd_started
	conf uuids MSGIO_COMMAND=activate MSGIO_OPTIONS=--idle=2 "MSGIO_PROGRAM=/usr/sbin/uuidd --socket-activation"
	started_in_sys1 msg-exec@uuids
	no_uuidd || fail 'it runs before anybody has connected'
	uuid=$(uuid_by uuids)
	eventually 60 no_uuidd
	seen "$uuid $(uuid_by uuids)"
	on sys1 'systemctl stop msg-exec@uuids'
	no_uuidd || fail 'it is left'
}
no_uuidd() { [ "$(on sys1 'pidof uuidd || echo none')" = none ]; }

# ---- programs of Debian's -----------------------------------------------------------------------

case_http() { # busybox's web server and client, by TCP on the loopback of either guest
	local sum

	guests_have
	msgd_started
	on sys1 'mkdir -p /srv/www && head -c 3000000 /dev/urandom >/srv/www/file'
	start httpd sys1 'busybox httpd -f -p 127.0.0.1:80 -h /srv/www'
	start far sys1 'msgio forward listen:http tcp-connect:localhost:80'
	start near sys2 'msgio forward tcp-listen:localhost:8080 connect:sys1/http'
	await far 'listens on'
	await near 'listens on'
	eventually 30 fetched
	sum=$(on sys1 'sha256sum </srv/www/file')
	[ "$sum" = "$(on sys2 'sha256sum </tmp/file')" ] || fail 'another file'
	for tag in near far httpd; do stop $tag; done
	seen "3 MB, $sum"
}
fetched() { on sys2 'busybox wget -q -O /tmp/file http://127.0.0.1:8080/file' >/dev/null; }
case_rsync() { # its server for each connection, by msg-exec@, and its client, which speaks to msgio alone
	local said

	guests_have
	msgd_started
	on sys1 'mkdir -p /srv/tree && cp -r /usr/lib/systemd/system /srv/tree/ && chmod -R a+rX /srv'
	on sys1 "printf '[tree]\npath = /srv/tree\nuse chroot = no\n' >/etc/rsyncd.conf"
	conf rsync 'MSGIO_PROGRAM=rsync --server --daemon --config=/etc/rsyncd.conf .'
	started_in_sys1 msg-exec@rsync
	for _ in 1 2; do # at first all, then nothing
		said=$(on sys2 "RSYNC_CONNECT_PROG='msgio connect sys1/rsync' rsync -a --stats rsync://sys1/tree/ /tmp/tree/ 2>&1") ||
			fail "$said"
	done
	grep -q 'regular files transferred: 0$' <<<"$said" || fail "$said"
	[ "$(on sys1 'cd /srv/tree && find . -type f | sort | xargs cat | sha256sum')" = \
		"$(on sys2 'cd /tmp/tree && find . -type f | sort | xargs cat | sha256sum')" ] || fail 'another tree'
	on sys1 'systemctl stop msg-exec@rsync'
	seen "$(grep 'Number of files' <<<"$said")"
}

# ---- msgd again ---------------------------------------------------------------------------------

case_ungrouped() { # a user who is in the other groups, and not in Argo's, gets granted pages
	# shellcheck disable=SC2034 # links_right and transfer_start read them
	local transport=grant why transfer_as="setpriv --reuid application --regid application --inh-caps=-all \
		--groups msg-attach,xen-evtchn,xen-gntalloc,xen-gntdev"

	guests_have
	msgd_started
	transfer_start ungrouped sys1 sys2
	why=$(msgctl --json links | json_values reason)
	[[ $why =~ ^'"no Argo in sys'[12]'"'$ ]] || fail "the reason: $why"
	seen "$why; $(transfer_stop ungrouped)"
}
case_restart() { # the transfer does not notice
	local before after

	guests_have
	msgd_started
	transfer_start restart sys1 sys2
	before=$(msgd_property MainPID)
	systemctl restart msgd || fail "$(journal | tail -n 3)"
	after=$(msgd_property MainPID)
	[ "$before" != "$after" ] || fail 'the same process'
	counter_moves restart sys1
	systemctl restart msgd
	counter_moves restart sys1
	seen "$(transfer_stop restart)"
}
case_crash() { # systemd starts it again
	local before

	guests_have
	msgd_started
	transfer_start crash sys1 sys2
	before=$(msgd_property NRestarts)
	systemctl kill -s KILL msgd.service
	eventually 20 msgd_restarted "$before"
	counter_moves crash sys1
	seen "$(transfer_stop crash)"
}
msgd_restarted() { [ "$(msgd_property NRestarts)" -gt "$1" ] && msgd_active; }
case_stop() {
	msgd_started
	systemctl stop msgd || fail "$(systemctl status msgd.service | tail -n 3)"
	[ "$(msgd_property Result)" = success ] || fail "$(msgd_property Result)"
	seen "$(journal | tail -n 1)"
}
