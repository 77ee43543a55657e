/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See stop.h. The handler calls nothing but what signal-safety(7) permits. */
#include "base/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int stop_fd = -1;
static volatile sig_atomic_t stop_number;

static void on_stop_signal(int number)
{
	int saved = errno;
	uint64_t one = 1;

	if (!stop_number)
		(void)alarm(STOP_LIMIT_S);
	stop_number = number;
	if (write(stop_fd, &one, sizeof(one)) < 0)
		stop_number = number; /* EAGAIN: it is readable already */
	errno = saved;
}

int stop_open(int *ret_fd)
{
	struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0)
		return -errno;
	(void)signal(SIGALRM, SIG_DFL);
	if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
		return -errno;
	*ret_fd = stop_fd;
	return 0;
}

void stop_done(void)
{
	(void)alarm(0);
}

int stop_signal(void)
{
	return stop_number;
}
