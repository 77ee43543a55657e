# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What links go over in this boot, and whether they do. For scenarios to source, after lab.sh.
boot=''
. /lab/boot
transport=grant
[[ $boot != *argo || $boot = noargo ]] || transport=argo

# links_right: some process has a link, and whoever has one has it over that.
links_right() {
	local links

	links=$(msgctl --json links)
	[ "$(json_values transport <<<"$links" | sort -u)" = "\"$transport\"" ] ||
		fail "not $transport: $links"
}
