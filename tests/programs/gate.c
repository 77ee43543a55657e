/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * So that work is certainly not done: passes BYTES of its input on, as they come, makes
 * PLACE.reached, and passes the rest once somebody has opened and closed the pipe PLACE.open.
 *
 *	gate PLACE BYTES
 */
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "tests/support/must.h"
#include "tests/support/number.h"

static char buf[65536];

/* True: the limit is reached; false: the input has ended. */
static bool pass_on(uint64_t limit)
{
	while (limit) {
		size_t len = limit < sizeof(buf) ? limit : sizeof(buf);
		ssize_t n = read(0, buf, len);

		must(n >= 0);
		if (n == 0)
			return false;
		limit -= (uint64_t)n;
		for (ssize_t at = 0, written; at < n; at += written) {
			written = write(1, buf + at, (size_t)(n - at));
			must(written > 0);
		}
	}
	return true;
}

static int open_place(const char *place, const char *suffix, int flags)
{
	char path[4096];
	int fd;

	must((size_t)snprintf(path, sizeof(path), "%s%s", place, suffix) < sizeof(path));
	fd = open(path, flags | O_CLOEXEC, 0666);
	must(fd >= 0);
	return fd;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: gate PLACE BYTES\n");
		return 2;
	}
	if (!pass_on(number(argv[2])))
		return 0;
	(void)close(open_place(argv[1], ".reached", O_WRONLY | O_CREAT));
	fd = open_place(argv[1], ".open", O_RDONLY);
	must(read(fd, buf, sizeof(buf)) == 0);
	(void)close(fd);
	(void)pass_on(UINT64_MAX);
	return 0;
}
