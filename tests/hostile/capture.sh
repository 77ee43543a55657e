# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2034 # run has, and uses, them
# An application under capture lies about its frames. Of an honest pair, which is captured too, each
# frame is there and none is missed; and what msgd does, keeps and tells is bounded.

no_transfer=yes # the honest pair is the one that is captured
captured=$build/tests/e2e/captured

# captures LOG ARGUMENT...: in the background; capture_pid is it.
captures() {
	"$build/msgctl/msgctl" "--hv=$hv" capture "${@:2}" >"$dir/$1.log" 2>"$dir/$1.err" 9>&- &
	capture_pid=$!
}

# The frames of a length: at both ends, there and back.
frames_of() { grep -c "\"len\":$1[,}]" "$dir/pair.log"; }
all_frames_of() { [ "$(frames_of "$1")" = 4 ]; }
any_frames_of() { [ "$(frames_of "$1")" -ge 4 ]; }

says() { # TEXT: the caller has sent it, and has it back
	echo "send $1" >&9
	eventually grep -qx "send $1" "$dir/caller.out"
}
warm() {
	says "$(printf '%09d' $((++n_warm)))"
	any_frames_of 9
}
n_warm=0

lies() { # of each kind
	local kind

	for kind in unannounced never-had cut short surplus; do
		await "$dir/liar.out" "^dropped $kind" 60
	done
	for kind in frames strange payload lost agrees; do
		await "$dir/liar.out" "^did $kind" 60
	done
}

floods() { grep -c '^did' "$dir/liar.out"; }
more_floods_than() { [ "$(floods)" -gt "$1" ]; }

pair_start() {
	local link

	guest capture-web server "$captured" serve echo 0
	await "$dir/server.out" listens
	stdin_hold
	guest capture-shop caller "$captured" call capture-web/echo 0
	guest_stdin=''
	await "$dir/caller.out" connected
	link=$(msgctl --json channels | jq -r '.channels[] | select(.name == "echo").link')
	captures pair --json link "$link"
	pair_pid=$capture_pid
	eventually warm
}

attack() {
	local n size start=$SECONDS liar_pid

	pair_start
	guest capture-trap trap "$captured" serve trap 0
	await "$dir/trap.out" listens
	size=$(msgd_kib RssAnon)
	captures liar --json domain hostile
	liar_pid=$capture_pid
	attacker liar capture-trap/trap
	for n in $(seq 100 119); do
		says "$(printf "%0${n}d" 0)"
		eventually all_frames_of "$n"
	done
	lies
	# Its own reader has twice what CAPTURE_BURST and CAPTURE_FRAME_NS give.
	eventually more_floods_than 20
	n=$(grep -c '"frame":' "$dir/liar.log")
	[ "$n" -lt $((1024 + 4000 * (SECONDS - start + 1))) ] || fail "$n frames of it"
	grep -q '"missed"' "$dir/liar.log" || fail 'its reader does not know that frames are missed'
	! grep -q '"data":"' "$dir/liar.log" || fail 'payload that nobody has agreed to'
	# A reader that stands still, and then none, change nothing for the pair.
	kill -STOP "$liar_pid"
	for n in $(seq 120 129); do
		says "$(printf "%0${n}d" 0)"
		eventually all_frames_of "$n"
	done
	sanitized || [ "$(msgd_kib RssAnon)" -lt $((size + 16384)) ] ||
		fail "msgd: $size KiB before, $(msgd_kib RssAnon) KiB afterwards"
	kill -9 "$liar_pid"
	wait "$liar_pid" 2>/dev/null
	n=$(floods)
	eventually more_floods_than $((n + 5)) # to a msgd that asks for nothing
	for n in $(seq 130 139); do
		says "$(printf "%0${n}d" 0)"
		eventually all_frames_of "$n"
	done
	kill -INT "$pair_pid"
	wait "$pair_pid" || fail "the pair's capture: $(cat "$dir/pair.err")"
	grep -q ' frames, 0 not captured$' "$dir/pair.err" || fail "$(cat "$dir/pair.err")"
	n=$(msgctl --json status | jq .turns.longest_cpu_us)
	sanitized || [ "$n" -lt 20000 ] || fail "a turn of msgd's loop took $n us of the processor"
	[ "$(wc -l <"$dir/msgd.1.log")" -lt 400 ] || fail 'lines without end'
}

attack_among_others() {
	guest capture-trap trap "$captured" serve trap 0
	await "$dir/trap.out" listens
	captures liar --json domain hostile
	attacker liar capture-trap/trap
	lies
	kill -9 "$capture_pid"
}
