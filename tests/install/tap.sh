# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Cases in the form that meson counts (TAP): each is one command.

tap_count=0 tap_failed=0

# tap NAME COMMAND...: a case; its output only where it fails.
tap() {
	local name=$1 said status

	shift
	tap_count=$((tap_count + 1))
	set +e # in a list with || the command itself would not stop at an error
	said=$(
		set -e
		"$@" 2>&1
	)
	status=$?
	set -e
	if [ $status -eq 0 ]; then
		echo "ok $tap_count $name"
		return
	fi
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_count $name"
	tail -n 60 <<<"$said" | sed 's/^/# /'
}

tap_skip() { # NAME REASON
	tap_count=$((tap_count + 1))
	echo "ok $tap_count $1 # skip $2"
}

tap_end() {
	echo "1..$tap_count"
	[ $tap_failed -eq 0 ]
}
