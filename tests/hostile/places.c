/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes as many places at msgd as there are, and more: N processes attach at the same time, and
 * those that were let in stay. Each prints "attached", or "refused ERRNO: REASON".
 *
 *	places N
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libmsg/libmsg.h"
#include "tests/support/must.h"

static _Noreturn void attach(void)
{
	struct msg_ctx *ctx;

	must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	ctx = msg_ctx_open(NULL, 0, 60000);
	if (!ctx) {
		printf("refused %s: %s\n", strerrorname_np(errno), msg_reason());
		exit(1);
	}
	printf("attached\n");
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int n = argc == 2 ? atoi(argv[1]) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("pid %d\n", (int)getpid());
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		must(pid >= 0);
		if (pid == 0)
			attach();
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
