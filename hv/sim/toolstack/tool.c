/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by xen-sim's commands: their options, the connection to the emulator, and the words for
 * failures.
 */
#include "hv/sim/toolstack/tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/number.h"
#include "base/uuid.h"

#define RETRY_FIRST_MS 5
#define RETRY_MOST_MS  100

#define WAIT_MAX_S	     9999U
#define STOPPED_LIMIT_MAX_MS 86400000U /* a day */

int tool_usage(const char *what)
{
	(void)fprintf(stderr, "xen-sim: %s; see xen-sim --help\n", what);
	return 2;
}

/* Takes one option. Returns NULL, or how it is wrong. */
static const char *option_take(int letter, const char *value, struct tool_options *options)
{
	uint32_t domid;

	switch (letter) {
	case 'a':
		options->create.no_argo = 1;
		return NULL;
	case 'r':
		options->create.no_argo_driver = 1;
		return NULL;
	case 'g':
		options->by_guest = true;
		return NULL;
	case 'b':
		options->background = true;
		return NULL;
	case 'j':
		options->json = true;
		return NULL;
	case 'k':
		options->keep = true;
		return NULL;
	case 'n':
		options->name = value;
		return strlen(value) < sizeof(options->create.name)
			       ? NULL
			       : "a domain's name has 127 bytes at most";
	case 'u':
		return uuid_from_text(value, options->create.uuid)
			       ? NULL
			       : "--uuid= wants 32 hexadecimal digits";
	case 'i':
		if (!number_from_text(value, HV_DOMID_FIRST_RESERVED - 1, &domid) || domid == 0)
			return "--domid wants a number from 1 to 32751";
		options->create.domid = (uint16_t)domid;
		return NULL;
	case 'w':
		return number_from_text(value, WAIT_MAX_S, &options->wait_s)
			       ? NULL
			       : "--wait= wants seconds, up to 9999";
	default: /* 'l' */
		return number_from_text(value, STOPPED_LIMIT_MAX_MS, &options->stopped_limit_ms)
			       ? NULL
			       : "--stopped-limit= wants milliseconds, up to a day";
	}
}

int tool_options(int argc, char **argv, const char *allowed, struct tool_options *options)
{
	static const struct option table[] = {
		{"by-guest", no_argument, NULL, 'g'},
		{"daemonize", no_argument, NULL, 'b'},
		{"domid", required_argument, NULL, 'i'},
		{"json", no_argument, NULL, 'j'},
		{"keep", no_argument, NULL, 'k'},
		{"name", required_argument, NULL, 'n'},
		{"no-argo", no_argument, NULL, 'a'},
		{"no-argo-driver", no_argument, NULL, 'r'},
		{"stopped-limit", required_argument, NULL, 'l'},
		{"uuid", required_argument, NULL, 'u'},
		{"wait", required_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	const char *wrong = NULL;

	opterr = 0;
	while (!wrong) {
		const char *word = argv[optind];
		int c = getopt_long(argc, argv, "-d", table, NULL);

		if (c == 1 && options->name) /* a word that is no option: the command to run */
			return optind - 1;
		if (c < 0)
			return optind;
		c = c == 1 ? 'n' : c == 'd' ? 'b' : c;
		if (!strchr(allowed, c)) {
			(void)fprintf(stderr, "xen-sim: no option %s; see xen-sim --help\n", word);
			return -1;
		}
		wrong = option_take(c, optarg, options);
	}
	(void)tool_usage(wrong);
	return -1;
}

/* Whether an emulator may still appear there: nothing is at the path, or a socket without one. */
static bool may_come(const char *path, int r)
{
	struct stat st;

	return r == -ENOENT && (lstat(path, &st) < 0 || S_ISSOCK(st.st_mode));
}

int tool_connect(const char *path, unsigned int wait_s)
{
	unsigned int left_ms = wait_s * 1000, retry_ms = RETRY_FIRST_MS;
	const char *reason = NULL;
	int fd, r = sim_connect(path, &fd, &reason);

	/* When its socket can be connected to, no change of a file tells. */
	while (left_ms > 0 && may_come(path, r)) {
		struct timespec pause = {.tv_nsec = retry_ms * 1000000L};

		(void)nanosleep(&pause, NULL);
		left_ms -= retry_ms < left_ms ? retry_ms : left_ms;
		retry_ms = retry_ms * 2 < RETRY_MOST_MS ? retry_ms * 2 : RETRY_MOST_MS;
		r = sim_connect(path, &fd, &reason);
	}
	if (r == 0)
		return fd;
	(void)fprintf(stderr, "xen-sim: %s: %s", path, reason);
	if (wait_s > 0 && left_ms == 0)
		(void)fprintf(stderr, "; none came within %u s", wait_s);
	(void)fputc('\n', stderr);
	return -1;
}

int tool_wrong_name(void)
{
	return tool_usage(
		"a domain's name has neither '/' nor control characters, and is not empty");
}

int tool_fail(const char *subject, int r)
{
	const char *what = r == -ESRCH	      ? "no such domain"
			   : r == -EEXIST     ? "a domain of that name exists"
			   : r == -EADDRINUSE ? "its domid is another domain's"
			   : r == -ENOSPC     ? "the emulator has no room for another domain"
			   : r == -EPERM      ? "not with Domain-0"
			   : r == -EINVAL     ? "not in this state"
			   : r == -EUSERS     ? "the emulator has no room for one more process"
			   : r == -EBUSY      ? "it crashed: a process of it held an event channel"
			   : r == -EACCES     ? "the emulator is another user's"
			   : r == -ENODEV     ? "the emulator has gone away"
					      : strerror(-r);

	(void)fprintf(stderr, "xen-sim: %s: %s\n", subject, what);
	return 1;
}
