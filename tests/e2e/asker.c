/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connects over and over, and gives up after a millisecond each time; then says how often, and how
 * often with which error.
 *
 *	asker ADDRESS TIMES
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmsg/libmsg.h"

int main(int argc, char **argv)
{
	static unsigned long counts[4096];
	struct msg_ctx *ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, 20000);
	unsigned long times = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

	if (!ctx) {
		printf("error %s: %s\n", strerrorname_np(errno), msg_reason());
		return 1;
	}
	for (unsigned long i = 0; i < times; i++) {
		struct msg_sock *sock = msg_connect(ctx, argv[1], LIBMSG_SEQPACKET, 0, 1);

		if (sock)
			msg_close(sock);
		counts[sock ? 0 : errno]++;
	}
	for (int i = 0; i < 4096; i++) {
		if (counts[i])
			printf("%s %lu\n", i ? strerrorname_np(i) : "connected", counts[i]);
	}
	printf("done\n");
	msg_ctx_close(ctx);
	return 0;
}
