# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What scenarios are written in. A domain is "dom0" or a guest's name; a command in a domain has a tag.
#
#   guest_have NAME pv|pvh [LINE...]  such a guest runs (lines for its configuration); hvm in the boot driver-argo
#   guest_have_all NAME TYPE...       several, started together
#   guest_saved_restored NAME         and goes on, under another domid
#   on DOMAIN COMMAND                 its output and status
#   start TAG DOMAIN COMMAND          in the background
#   await TAG PATTERN [SECONDS]       until it has said so
#   output TAG                        what it has said so far
#   finish TAG [SECONDS]              until it ends: its output and status
#   signal TAG SIGNAL; stop TAG       the latter whatever became of it
#   msgd_have                         msgd runs in dom0, and allows everything (over $msgd_demands, if set)
#   seen TEXT                         what the result line will say
#   fail TEXT, skip TEXT              ends the case
#
# Waiting always has a limit; nothing sleeps and hopes.
state=/run/lab
mkdir -p $state/guests $state/tags

seen() { echo "$*" >$state/seen; }
fail() {
	echo "FAIL: $*" >&2 # also from within $(...)
	exit 1
}
skip() {
	seen "$*"
	exit 77
}

# nap: a tenth of a second, without a process: starting one would keep the guests from running half as long.
[ -p $state/never ] || mkfifo $state/never
exec {never}<>$state/never
nap() { read -rt 0.1 -u "$never" || true; }

# eventually SECONDS COMMAND...: tries until it succeeds.
eventually() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000)) limit=$1

	shift
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt $end ] || fail "not within $limit s: $*"
		nap
	done
}

milliseconds_since() { echo $(((${EPOCHREALTIME/./} - $1) / 1000)); }

# ---- guests -----------------------------------------------------------------------------------

guest_console() { echo "/var/log/xen/console/guest-$1.log"; }
guest_console_size() { stat -c %s "$(guest_console "$1")" 2>/dev/null || echo 0; }
guest_domid() { tell domid "$1"; }

# console_line NAME OFFSET PATTERN SECONDS: the first such line of its console from there on.
console_line() { tell line "$(guest_console "$1")" "$2" "$4" "$3"; }

# Options that make an emulated kernel start sooner: the kernel patches no code, against processors' mistakes or for one
# processor alone; cryptography does not test itself; nothing looks for pages that are writable and executable, or for devices
# on 256 buses, twice (another process answers each look); parts that no test uses are left out.
guest_kernel_quick='mitigations=off rodata=off cryptomgr.notests
	noreplace-smp pci=noearly init_on_alloc=0 lsm= audit=0 ipv6.disable=1
	initcall_blacklist=crypto_kdf108_init,init_kprobe_trace,load_system_certificate_list,cubictcp_register'

guest_config() { # NAME TYPE LINE...
	local name=$1 type=$2 on_reboot=restart kernel=$'kernel = "/lab/vmlinux"\nramdisk = "/lab/guest.img"'

	shift 2
	# A guest that the emulated CPU loses ("Triple fault") counts as rebooted: it must not come back by itself.
	[ "$type" = pv ] || on_reboot=destroy
	[ "$type" != hvm ] || kernel=$(</lab/hvm.cfg)
	printf '%s\n' "name = \"$name\"" "type = \"$type\"" "$kernel" \
		"extra = \"console=hvc0 loglevel=2 panic=1 ${guest_kernel_quick//[[:space:]]/ } ${guest_kernel_options:-}\"" \
		"memory = ${guest_memory:-160}" 'vcpus = 1' 'tsc_mode = "native"' \
		"on_crash = \"${guest_on_crash:-destroy}\"" "on_reboot = \"$on_reboot\"" "$@"
}

# guest_up NAME OFFSET: it has answered, since then, within 120 s.
guest_up() {
	for _ in {1..24}; do
		if console_line "$1" "$2" '^@lab up' 5 >/dev/null; then
			guest_moved "$1"
			return
		fi
		guest_domid "$1" >/dev/null || fail "$1 died: $(tail -n 3 "$(guest_console "$1")")"
	done
	fail "$1 did not come up: $(tail -n 3 "$(guest_console "$1")")"
}

# guest_moved NAME: it has a new domid, and a new console, where commands go.
guest_moved() {
	local pty

	pty=$(xenstore-read "/local/domain/$(guest_domid "$1")/console/tty")
	echo "$pty" >"$state/guests/$1.pty"
}

guest_runs() { [ -f "$state/guests/$1.pty" ] && guest_domid "$1" >/dev/null; }

# guest_create FILE NAME TYPE [LINE...]: its configuration, and the guest.
guest_create() {
	guest_config "${@:2}" >"$1"
	if [ "$3" = pvh ]; then
		xl create -q -p "$1" && tell go "$2"
	else
		xl create -q "$1"
	fi
}

# guest_begin NAME TYPE [LINE...]: sets offset, for guest_up.
guest_begin() {
	offset=$(guest_console_size "$1")
	guest_create "$state/guests/$1.cfg" "$@" || fail "xl create $1"
}

guest_have() {
	local offset

	guest_runs "$1" && return
	guest_begin "$@"
	guest_up "$1" "$offset"
}

guest_have_all() {
	local name offset
	local -A begun=()

	while [ $# -ge 2 ]; do
		guest_runs "$1" || {
			guest_begin "$1" "$2"
			begun["$1"]=$offset
		}
		shift 2
	done
	for name in "${!begun[@]}"; do
		guest_up "$name" "${begun["$name"]}"
	done
}

# Of the restored domain: it is another one than before.
console_known() {
	xenstore-read "/local/domain/$(guest_domid "$1")/console/tty" >"$state/guests/$1.pty" 2>/dev/null
}

# guest_saved_restored NAME: it goes on under another domid.
guest_saved_restored() {
	local domid

	domid=$(guest_domid "$1")
	xl save "$1" /tmp/saved >/tmp/save.out 2>&1 || fail "xl save: $(cat /tmp/save.out)"
	xl restore /tmp/saved >/tmp/restore.out 2>&1 || fail "xl restore: $(cat /tmp/restore.out)"
	rm /tmp/saved
	[ "$(guest_domid "$1")" != "$domid" ] || fail 'the same domid'
	eventually 20 console_known "$1"
	on "$1" true
}

guest_destroy() {
	rm -f "$state/guests/$1.pty"
	xl destroy "$1"
}

# Domains that are being destroyed and cannot end: somebody still maps their pages.
zombies() { xl list | awk '$1 == "(null)" || $5 ~ /d/' | grep -v '^Name'; }
no_zombies() { [ -z "$(zombies)" ]; }

# ---- commands ----------------------------------------------------------------------------------

# lost STATUS: where there is no answer, the case ends: tell has said why.
lost() {
	[ "$1" -ne 255 ] || exit 1
	return "$1"
}
start() { tell start "$@" || exit 1; } # a tag may be used again
finish() { tell finish "$1" "${2:-60}" || lost $?; }
on() { tell on "$1" "${3:-60}" "$2" || lost $?; }
await() { tell await "$1" "$2" "${3:-60}" || fail "$1 does not say \"$2\""; }
output() { tell output "$1" || lost $?; }
signal() { tell signal "$1" "$2" || lost $?; }
stop() { tell stop "$1" || exit 1; }

# in_tag TAG: sets domain and id: /run/lab/ID.pid there is its process, ID.out what it says.
# shellcheck disable=SC2034 # its callers'
in_tag() { read -r domain id _ <"$state/tags/$1" || fail "no command with the tag $1"; }

# ---- msgd ---------------------------------------------------------------------------------------

# json_values KEY: of what msgctl --json says, a line each, as JSON. (jq, emulated, needs 0.4 s to start.)
json_values() { sed -n "s/^ *\"$1\": \(.*[^,]\),*\$/\1/p"; }

# The name that msgd knows a domain of the lab by.
domain_name() { [ "$1" = dom0 ] && echo Domain-0 || echo "$1"; }

msgd_runs() { [ -f $state/msgd.pid ] && kill -0 "$(cat $state/msgd.pid)" 2>/dev/null; }

# msgd_policy: everything is allowed; a scenario may have set what links must be.
msgd_policy() { printf '%s\n' 'allow listen * on any' "allow connect * from any to any ${msgd_demands:-}"; }

msgd_start() {
	local lines

	mkdir -p /run/msgd
	msgd_policy >$state/test.policy
	lines=$(grep -c 'serves xen' $state/msgd.log 2>/dev/null) || lines=0
	setsid msgd --policy=$state/test.policy >>$state/msgd.log 2>&1 </dev/null &
	echo $! >$state/msgd.pid
	for _ in {1..200}; do
		[ "$(grep -c 'serves xen' $state/msgd.log)" -le "$lines" ] || return 0
		msgd_runs || break
		nap
	done
	fail "msgd does not come up: $(tail -n 3 $state/msgd.log)"
}

msgd_have() {
	msgd_runs && [ "$(msgd_policy)" = "$(<$state/test.policy)" ] && return
	! msgd_runs || msgd_kill
	msgd_start
}

# msgd_kill: at once; returns when it is gone.
msgd_kill() {
	kill -9 "$(cat $state/msgd.pid)"
	while msgd_runs; do nap; done
}

# ---- after a failure ------------------------------------------------------------------------------

# The state of each guest and how much of two seconds it ran, as Xen says, and whether it answers.
guests_now() {
	local file name before answers

	before=$(xl list)
	sleep 2 # the time that is measured
	for file in "$state"/guests/*.pty; do
		[ -f "$file" ] || break
		name=$(basename "$file" .pty)
		guest_domid "$name" >/dev/null || {
			echo "$name is gone"
			continue
		}
		answers=''
		grep -q -- ' -- ' "$state/guests/$name.cfg" || # its console is another's
			answers=$( (on "$name" true 10) >/dev/null 2>&1 && echo ', answers' || echo ', does not answer')
		{ echo "$before" && xl list "$name"; } | awk -v name="$name" -v answers="$answers" '
			$1 == name {state = $5; time = $6 - before; before = $6}
			END {printf "%s %s ran %.1f s%s\n", name, state, time, answers}'
	done
}

# The first things that a person would look at. They go to dom0's console, which is the lab's log.
autopsy() {
	local file

	xl list
	dmesg | tail -n 20
	for file in "$state"/msgd.log "$state"/*.out /var/log/xen/console/guest-*.log; do
		[ -s "$file" ] && echo "--- $file" && tail -c 2000 "$file" | cut -c 1-300
	done
}

# Guests and processes of a case that failed are of no use to the next.
lab_reset() {
	local domid

	for domid in $(xl list | awk 'NR > 1 && $2 != 0 {print $2}'); do
		xl destroy "$domid"
	done
	tell reset dom0
	! msgd_runs || msgd_kill
	rm -rf "$state"/guests/*.pty "$state"/tags/*
}
