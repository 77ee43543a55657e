# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# git's daemon for each connection, and git with msgio as its proxy. The server's programs are killed.
needs git git-daemon

git_setup "$dir" "$gate" $((4 * MIB))
"${unprivileged[@]}" git init -q --bare "$own/words.git"
git init -q "$dir/tree"
for i in $(seq 1000); do echo "$i" >"$dir/tree/$i"; done
head -c $((16 * MIB)) /dev/urandom >"$dir/tree/big"
git -C "$dir/tree" add .
git -C "$dir/tree" commit -q -m words
world
service web git exec git -- "${unprivileged[@]}" "$(command -v git-daemon)" --inetd --log-destination=stderr \
	--export-all --enable=receive-pack --base-path="$own"

client push git -c core.gitProxy="$dir/proxy" -C "$dir/tree" push -q git://web/words.git HEAD:refs/heads/main
whole push
"${unprivileged[@]}" git -C "$own/words.git" symbolic-ref HEAD refs/heads/main
client clone git -c core.gitProxy="$dir/proxy" clone -q git://web/words.git "$dir/copy"
whole clone
git -C "$dir/copy" fsck --no-progress
diff -r -x .git "$dir/tree" "$dir/copy"
idle git

gate_new got
client killed git -c core.gitProxy="$dir/slow-proxy" clone -q git://web/words.git "$dir/part"
gate_reached got
kill_under "$(peer_pid git)" 'git.*'
gate_open got
broken "$guest_pid" 'git clone'
[ ! -e "$dir/part" ] || fail 'a part was kept'
await "$dir/git.out" 'the program for shop: killed by signal 9'
