# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Configurations and data of the programs, for the emulator's tests (lib.sh) and for the guests of the lab.

nginx_config() { # DIRECTORY: with its socket, its log and www/
	cat <<-END
		daemon off;
		worker_processes 1;
		pid $1/pid;
		error_log stderr;
		events {}
		http {
			log_format connections '\$connection \$status';
			access_log $1/access connections;
			client_body_temp_path $1/1;
			proxy_temp_path $1/2;
			fastcgi_temp_path $1/3;
			uwsgi_temp_path $1/4;
			scgi_temp_path $1/5;
			keepalive_requests 10000;
			server {
				listen unix:$1/socket;
				root $1/www;
			}
		}
	END
}

sshd_config() { # DIRECTORY: with key and authorized
	cat <<-END
		HostKey $1/key
		AuthorizedKeysFile $1/authorized
		StrictModes no
		UsePAM no
		PidFile none
		Subsystem sftp internal-sftp
	END
}

# Host web is the channel web/ssh, every other that name in web.
ssh_config() { # DIRECTORY: with key
	cat <<-END
		User tester
		IdentityFile $1/key
		IdentitiesOnly yes
		StrictHostKeyChecking accept-new
		UserKnownHostsFile $1/known
		GlobalKnownHostsFile /dev/null
		BatchMode yes
		ExitOnForwardFailure yes
		Host web
			ProxyCommand msgio connect %h/ssh
		Host slow
			ProxyCommand msgio connect web/%h
	END
}

rsyncd_config() { # DIRECTORY
	cat <<-END
		[files]
			path = $1
			read only = no
			use chroot = no
			reverse lookup = no
	END
}

# git_setup DIRECTORY GATE BYTES: an author, and proxies, which are given the host and a port; one has the gate.
git_setup() {
	export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$1/gitconfig GIT_TERMINAL_PROMPT=0
	git config --file "$1/gitconfig" user.name tester
	git config --file "$1/gitconfig" user.email tester@localhost
	chmod a+r "$1/gitconfig"
	cat >"$1/proxy" <<-'END'
		#!/bin/sh
		exec msgio connect "$1/git"
	END
	cat >"$1/slow-proxy" <<-END
		#!/bin/sh
		msgio connect "\$1/git" | "$2" "$1/got" $3
	END
	chmod +x "$1/proxy" "$1/slow-proxy"
}

# rows N: of a table.
rows() { awk -v n="$1" 'BEGIN {for (i = 1; i <= n; i++) printf "%d\trow %d, which is not short\n", i, i * i}'; }

# entries FIRST LAST: as journalctl exports them.
entries() {
	awk -v first="$1" -v last="$2" 'BEGIN {
		for (i = first; i <= last; i++)
			printf "__CURSOR=s=%032x;i=%x;b=%032x;m=%x;t=%x;x=%x\n__REALTIME_TIMESTAMP=1700000000%06d\n" \
				"__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032x\nPRIORITY=6\nMESSAGE=entry %d\n\n",
				1, i, 1, i, i, i, i, i, 1, i
	}'
}

messages() { journalctl -q -o cat --file "$1"; }
# came DIRECTORY N: so many entries are there at least.
came() { [ "$(messages "$1"/*.journal 2>/dev/null | wc -l)" -ge "$2" ]; }
