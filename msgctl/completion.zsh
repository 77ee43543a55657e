#compdef msgctl
# SPDX-License-Identifier: LGPL-2.1-or-later
# zsh completion for msgctl(8). Names of domains and things are those of the msgd that answers.

# Proposals out of an answer: a filter of jq, and a command.
_msgctl_ask() {
	local -a found

	(( $+commands[jq] )) || return 1
	found=(${(f)"$(msgctl ${(M)words:#--(hv|socket)=*} --json $2 2>/dev/null | jq -r $1 2>/dev/null)"})
	compadd -Q -a found
}

_msgctl_domains() { _msgctl_ask '.domains[].name' domains }
_msgctl_names() { _msgctl_ask '.names[] | .holder.domain + "/" + .name' names }
_msgctl_links() { _msgctl_ask '.links[].uid' links }
_msgctl_channels() { _msgctl_ask '.channels[] | "\(.link):\(.channel)"' channels }
_msgctl_applications() { _msgctl_ask '.applications[] | "\(.domain):\(.pid)"' applications }

_msgctl_argument() {
	case $#arguments:$arguments[1]:$arguments[2] in
	1:top:*) compadd domains applications names links channels ;;
	1:show:*) compadd domain name link application channel ;;
	1:kick:*) compadd domain name link application ;;
	1:capture:*) compadd domain name link channel ;;
	2:(show|kick|capture):(domain|name|link|application|channel)) _msgctl_${arguments[2]}s ;;
	1:quota:*) compadd show set ;;
	2:quota:*) _msgctl_domains ;;
	3:quota:set) compadd -S = processes names channels links requests ends announced watches memory backlog ring-pages argo-ring-pages ;;
	1:close:*) _msgctl_channels ;;
	1:(drain|undrain|wait):*) _msgctl_names ;;
	1:ping:*)
		compadd application
		_msgctl_names
		;;
	2:ping:application) _msgctl_applications ;;
	1:unblock:*) _msgctl_ask '.blocks[] | .domain + if .name == "" then "" else "/" + .name end' blocks ;;
	1:block:*)
		_msgctl_domains
		_msgctl_names
		;;
	1:(quiesce|resume):*) _msgctl_domains ;;
	1:policy:*) compadd check test list graph ;;
	1:check:*|2:policy:test) _msgctl_domains ;;
	2:check:*|3:policy:test) _msgctl_names ;;
	*:policy:check) _files ;;
	1:log-level:*) compadd error warning notice info debug ;;
	esac
}

_msgctl_state() {
	case $arguments[1] in
	domains) compadd running paused suspended quiesced crashed dying ;;
	applications|who) compadd new announcing ready quiescing ;;
	names) compadd open full drained blocked forbidden ;;
	links) compadd creating binding up announced ;;
	channels) compadd announced offered open closing ;;
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

# The words between the program and the current one that are no options.
local -a arguments=(${${words[2,CURRENT-1]}:#-*})
local command=$arguments[1] option
local -A about=(
	--domain= '--domain=[only what is of this domain]:domain:_msgctl_domains'
	--name= '--name=[only what is of names like this]:glob:'
	--transport= '--transport=[only links of this transport]:transport:(argo argo-strict grant)'
	--state= '--state=[only what is in this state]:state:_msgctl_state'
	--kind= '--kind=[only events of this kind]:kind:(attached detached dropped listening unlistened connected accepted refused failed link-made link-down channel-reset quiesced resumed reload admin)'
	-n '-n[the last events, or so many lists]:number:'
	--since= '--since=[the events after this one]:serial:'
	--timeout= '--timeout=[how long to wait]:seconds:'
	-c '-c[so many times, or frames]:number:'
	-i '-i[from one time to the next]:seconds:'
	--interval= '--interval=[from one time to the next]:seconds:'
	--sort= '--sort=[by this column]:column:'
	--batch '--batch[tables, one after the other]'
	--listen '--listen[whether the domain may listen]'
	--all '--all[the rules for other names as well]'
	--dry-run '--dry-run[change nothing]'
	--payload '--payload[capture payload as well]'
	--snaplen= '--snaplen=[how much of it]:bytes:'
	-w '-w[capture into a file]:file:_files'
	--seconds= '--seconds=[capture for so long]:seconds:'
	--fields= '--fields=[only these, for scripts]:names in JSON:'
)
local -a specs

[[ $command != policy ]] || command+=" $arguments[2]"
for option in $(_msgctl_takes $command); do
	specs+=($about[$option])
done

_arguments \
	'--socket=[the admin socket]:path:_files' \
	'--hv=[the msgd that serves this hypervisor]:hypervisor:' \
	'--json[the answer as JSON]' \
	'(- *)'{--help,--version}'[say so, and end]' \
	$specs \
	'1:command:(status domains applications who names links channels top history monitor capture stats show wait ping quota close kick drain undrain block unblock blocks log-level check policy reload quiesce resume)' \
	'*:argument:_msgctl_argument'
