# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# bash completion for msgio(1).

# The words before the current one that are no options: command and its arguments.
_msgio_arguments() {
	local i before=''

	arguments=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case $before${COMP_WORDS[i]} in
		-* | [=:]*) ;;
		*) arguments+=("${COMP_WORDS[i]}") ;;
		esac
		before=${COMP_WORDS[i]}
		[[ $before = [=:] ]] || before=''
	done
}

# The current word from its beginning: bash divides words at = and at colons.
_msgio_word() {
	local i

	word=${COMP_WORDS[COMP_CWORD]}
	for ((i = COMP_CWORD - 1; i > 0; i--)); do
		case ${COMP_WORDS[i]}${COMP_WORDS[i + 1]} in
		*[!=:]:* | *[!=:]=* | :* | =*) word=${COMP_WORDS[i]}$word ;;
		*) break ;;
		esac
	done
}

# Each of the words that begins as the current one does.
_msgio_reply() {
	local text

	while read -r text; do
		COMPREPLY+=("${text#"${word%"$cur"}"}")
	done < <(compgen -W "$1" -- "$word")
	# The address goes on behind its colon.
	[[ ${COMPREPLY[0]-} != *[:=] ]] || compopt -o nospace
}

_msgio_files() { # ACTION-OF-COMPGEN BEGINNING
	local path

	compopt -o filenames
	while read -r path; do
		COMPREPLY+=("$path")
	done < <(compgen "$1" -- "$2" | sort -u)
}

# Of exec and activate; its options are its own.
_msgio_program() {
	case ${#arguments[@]} in
	2) _msgio_files -c "$cur" ;;
	*) _msgio_files -f "$cur" ;;
	esac
}

_msgio() {
	local cur=${COMP_WORDS[COMP_CWORD]} word arguments
	local from='listen: unix-listen: tcp-listen: vsock-listen:'
	local to='connect: unix-connect: tcp-connect: vsock-connect:'

	COMPREPLY=()
	case $cur in
	= | :) cur='' ;;
	esac
	_msgio_word
	_msgio_arguments
	if [[ ${arguments[0]-} = @(exec|activate) && ${#arguments[@]} -gt 1 ]]; then
		_msgio_program
		return
	fi
	case $word in
	--type=*) _msgio_reply '--type=stream --type=seqpacket --type=dgram' ;;
	--transport=*) _msgio_reply '--transport=any --transport=argo --transport=argo-strict --transport=grant' ;;
	-*) _msgio_reply '--hv= --type= --wait --transport= --max-connections= --time-limit= --start-limit= --idle= --mode= --help --version' ;;
	unix-*:*) _msgio_files -f "${word#*:}" ;;
	*)
		case ${arguments[0]-} in
		'') _msgio_reply 'connect listen exec activate forward serve' ;;
		serve) _msgio_files -f "$word" ;;
		forward)
			if [ ${#arguments[@]} = 1 ]; then _msgio_reply "$from"; else _msgio_reply "$to"; fi
			;;
		esac
		;;
	esac
}

complete -F _msgio msgio
