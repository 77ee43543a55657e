# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# bash completion for msgctl(8). Names of domains and things are those of the msgd that answers.

_msgctl_commands='status domains applications who names links channels top history monitor capture stats show
	wait ping quota close kick drain undrain block unblock blocks log-level check policy reload quiesce resume'

# The words before the current one that are no options: command and its arguments. bash divides words at =
# and at colons: what belongs to an option, or goes on, is none.
_msgctl_arguments() {
	local i before=''

	arguments=()
	for ((i = 1; i < first; i++)); do
		case $before${COMP_WORDS[i]} in
		-* | [=:]* | *[!=:][=:]) ;;
		*) arguments+=("${COMP_WORDS[i]}") ;;
		esac
		before=${COMP_WORDS[i]}
		[[ $before = [=:] || $before = -* ]] || before=''
	done
}

# The options that say which msgd it is.
_msgctl_msgd() {
	local text=${COMP_LINE-} word

	msgd=()
	for word in ${text%"$cur"}; do
		case $word in --hv=* | --socket=*) msgd+=("$word") ;; esac
	done
}

_msgctl_ask() { # JQ-FILTER COMMAND
	command -v jq >/dev/null || return 0
	msgctl "${msgd[@]}" --json "$2" 2>/dev/null | jq -r "$1" 2>/dev/null
}

_msgctl_domains() { _msgctl_ask '.domains[].name' domains; }
_msgctl_names() { _msgctl_ask '.names[] | .holder.domain + "/" + .name' names; }
_msgctl_links() { _msgctl_ask '.links[].uid' links; }
_msgctl_channels() { _msgctl_ask '.channels[] | "\(.link):\(.channel)"' channels; }
_msgctl_applications() { _msgctl_ask '.applications[] | "\(.domain):\(.pid)"' applications; }

_msgctl_blocked() { _msgctl_ask '.blocks[] | .domain + if .name == "" then "" else "/" + .name end' blocks; }

_msgctl_things() {
	case $1 in
	domain) _msgctl_domains ;;
	name) _msgctl_names ;;
	link) _msgctl_links ;;
	channel) _msgctl_channels ;;
	application) _msgctl_applications ;;
	esac
}

# What the argument may be, by those before it.
_msgctl_argument() {
	case ${#arguments[@]}:${arguments[*]} in
	0:*) echo "$_msgctl_commands" ;;
	1:top) echo domains applications names links channels ;;
	1:show) echo domain name link application channel ;;
	1:kick) echo domain name link application ;;
	1:capture) echo domain name link channel ;;
	2:capture\ * | 2:show\ * | 2:kick\ *) _msgctl_things "${arguments[1]}" ;;
	1:quota) echo show set ;;
	2:quota\ *) _msgctl_domains ;;
	3:quota\ set*) printf '%s=\n' processes names channels links requests ends announced watches memory backlog ring-pages argo-ring-pages ;;
	1:close) _msgctl_channels ;;
	1:drain | 1:undrain | 1:wait) _msgctl_names ;;
	1:ping)
		echo application
		_msgctl_names
		;;
	2:ping\ application) _msgctl_applications ;;
	1:unblock) _msgctl_blocked ;;
	1:block)
		_msgctl_domains
		_msgctl_names
		;;
	1:quiesce | 1:resume) _msgctl_domains ;;
	1:policy) echo check test list graph ;;
	1:check | 2:policy\ test) _msgctl_domains ;;
	2:check\ * | 3:policy\ test\ *) _msgctl_names ;;
	*:policy\ check*) compgen -f -- "$word" ;;
	1:log-level) echo error warning notice info debug ;;
	esac
}

# The options of a command, beside those of all.
_msgctl_takes() { # COMMAND
	case $1 in
	domains | applications | who) echo --domain= --state= --fields= ;;
	names) echo --domain= --state= --fields= --name= ;;
	links) echo --domain= --state= --fields= --transport= ;;
	channels) echo --domain= --state= --fields= --name= --transport= ;;
	top) echo --domain= --sort= --batch --interval= -i -n ;;
	history) echo --domain= --name= --kind= --since= -n --fields= ;;
	monitor) echo --domain= --name= --kind= --since= -n ;;
	capture) echo --payload --snaplen= --seconds= -w -c ;;
	stats) echo --domain= ;;
	wait | quiesce) echo --timeout= ;;
	ping) echo --timeout= --interval= -i -c ;;
	blocks | quota | 'policy list') echo --fields= ;;
	check | 'policy test') echo --listen --all ;;
	reload) echo --dry-run ;;
	'') echo --domain= --state= --fields= --name= --transport= --sort= --batch --interval= -i -n --kind= --since= \
		--payload --snaplen= --seconds= -w -c --timeout= --listen --all --dry-run ;;
	esac
}

# What the option's value may be.
_msgctl_option() {
	case $1 in
	--domain) _msgctl_domains ;;
	--transport) echo argo argo-strict grant ;;
	--kind)
		echo attached detached dropped listening unlistened connected accepted refused failed link-made \
			link-down channel-reset quiesced resumed reload admin
		;;
	--state)
		case ${arguments[0]-} in
		domains) echo running paused suspended quiesced crashed dying ;;
		applications | who) echo new announcing ready quiescing ;;
		names) echo open full drained blocked forbidden ;;
		links) echo creating binding up announced ;;
		channels) echo announced offered open closing ;;
		esac
		;;
	esac
}

# The current word from its beginning, which is the word of this number: bash divides words at colons.
_msgctl_word() {
	word=$cur
	[[ ${COMP_WORDS[COMP_CWORD]} != : ]] || word=:
	for ((first = COMP_CWORD; first > 1; first--)); do
		[[ ${COMP_WORDS[first]} = : || ${COMP_WORDS[first - 1]} = : ]] || break
		word=${COMP_WORDS[first - 1]}$word
	done
}

_msgctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local word first arguments command msgd proposals text

	COMPREPLY=()
	case $cur in = | :) cur='' ;; esac
	_msgctl_word
	_msgctl_msgd
	_msgctl_arguments
	if [ "$before" = = ]; then
		word=$cur proposals=$(_msgctl_option "${COMP_WORDS[COMP_CWORD - 2]}")
	elif [[ ${COMP_WORDS[COMP_CWORD]} = = ]]; then
		word='' proposals=$(_msgctl_option "$before")
	elif [[ $cur = -* ]]; then
		command=${arguments[0]-}
		[ "$command" != policy ] || command+=" ${arguments[1]-}"
		word=$cur proposals="--socket= --hv= --json --help --version $(_msgctl_takes "$command")"
	else
		proposals=$(_msgctl_argument)
	fi
	while read -r text; do
		COMPREPLY+=("${text#"${word%"$cur"}"}")
	done < <(compgen -W "$proposals" -- "$word")
	[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}

complete -F _msgctl msgctl
