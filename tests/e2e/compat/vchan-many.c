/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * As many vchans at once as there can be, one a path, with whichever libxenvchan the loader finds.
 *
 *   vchan-many serve|connect DOMID PATH N
 *
 * Says how many it has opened, and why no more; then, that a number went over each and back while
 * all were open. Then it keeps them until it is killed.
 */
#include <err.h>
#include <errno.h>
#include <libxenvchan.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct libxenvchan *open_one(bool serve, int domid, const char *path, int i)
{
	struct libxenvchan *ctrl;
	char whole[256];

	(void)snprintf(whole, sizeof(whole), "%s/%d", path, i);
	errno = 0;
	ctrl = serve ? libxenvchan_server_init(NULL, domid, whole, 0, 0)
		     : libxenvchan_client_init(NULL, domid, whole);
	if (ctrl)
		ctrl->blocking = 1;
	return ctrl;
}

static void answer(struct libxenvchan *ctrl, uint32_t i)
{
	uint32_t n = 0;

	if (libxenvchan_recv(ctrl, &n, sizeof(n)) != sizeof(n) || n != i)
		errx(1, "%u: asked %u", i, n);
	n += 1000000;
	if (libxenvchan_send(ctrl, &n, sizeof(n)) != sizeof(n))
		err(1, "%u: answering", i);
}

static void ask(struct libxenvchan *ctrl, uint32_t i)
{
	if (libxenvchan_send(ctrl, &i, sizeof(i)) != sizeof(i))
		err(1, "%u: asking", i);
}

static void hear(struct libxenvchan *ctrl, uint32_t i)
{
	uint32_t n = 0;

	if (libxenvchan_recv(ctrl, &n, sizeof(n)) != sizeof(n) || n != i + 1000000)
		errx(1, "%u: answered %u", i, n);
}

int main(int argc, char **argv)
{
	bool serve = argc == 5 && strcmp(argv[1], "serve") == 0;
	int n = argc == 5 ? atoi(argv[4]) : 0, i;
	struct libxenvchan **ctrls = calloc((size_t)n + 1, sizeof(struct libxenvchan *));

	if (!ctrls || n < 1)
		errx(2, "usage: vchan-many serve|connect DOMID PATH N");
	for (i = 0; i < n; i++) {
		ctrls[i] = open_one(serve, atoi(argv[2]), argv[3], i);
		if (!ctrls[i])
			break;
	}
	printf("opened %d%s%s\n", i, i < n ? ": " : "", i < n ? strerror(errno) : "");
	(void)fflush(stdout);
	n = i;
	for (i = 0; i < n && !serve; i++)
		ask(ctrls[i], (uint32_t)i);
	for (i = 0; i < n; i++)
		serve ? answer(ctrls[i], (uint32_t)i) : hear(ctrls[i], (uint32_t)i);
	for (i = 0; i < n; i++) {
		if (libxenvchan_is_open(ctrls[i]) != 1)
			errx(1, "%d is not open any more", i);
	}
	printf("all at once %d\n", n);
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}
