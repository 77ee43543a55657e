/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgio: channels for programs that know nothing of libmsg. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "msgio/options/options.h"
#include "msgio/serve.h"
#include "msgio/service.h"
#include "msgio/talk.h"

/*
 * A standard descriptor that is closed would be that of the next file that is opened. To read from
 * it, or to write to it, fails still.
 */
static void open_standard(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", modes[fd]);
	}
}

int main(int argc, char **argv)
{
	struct io_options options;

	open_standard();
	io_options_parse(argc, argv, &options);
	log_open("msgio", LOG_INFO);
	(void)signal(SIGPIPE, SIG_IGN);
	if (options.command == COMMAND_SERVE)
		return serve_run(&options);
	return options.command == COMMAND_CONNECT || options.command == COMMAND_LISTEN
		       ? talk_run(&options)
		       : service_run(&options);
}
