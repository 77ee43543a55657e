# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034,SC2154
# A former commit's library and programs, built from git, once for a build directory. Sourced behind ../e2e/lib.sh.

# The first that later ones promise to work with. It knows neither streams nor datagrams.
oldest=a314b1c939e710dffee2abd127597f3218306713
oldest_targets='libmsg/libmsg.so.0 daemon/msgd examples/echo-server examples/echo-client'

# Without optimisation: compiling is most of these tests' time. abidiff reads the types from what the debugger gets.
former_build() { # COMMIT TARGET...
	rm -rf "${former:?}"/{source,build,done}
	mkdir "$former/source" &&
		git -C "$source" archive "$1" | tar -x -C "$former/source" &&
		meson setup -Dxen=disabled -Doptimization=0 -Ddebug=true "$old" "$former/source" &&
		ninja -C "$old" "${@:2}" &&
		rm -rf "$former/source" &&
		touch "$former/done"
}

# former_have COMMIT TARGET...: in $old. A commit has the same targets each time.
former_have() {
	git -C "$source" cat-file -e "$1^{commit}" 2>/dev/null ||
		skip "no commit ${1:0:10} here: the tree is no git checkout, or a shallow one"
	former=$(realpath "$build")/tests/install/former-${1:0:10}
	old=$former/build
	mkdir -p "$former"
	exec 7>"$former/lock"
	flock 7
	[ -f "$former/done" ] || (former_build "$@") >"$former/log" 2>&1 || {
		tail -n 40 "$former/log" >&2
		fail 'the former commit does not build'
	}
	exec 7>&-
}
