/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One event loop that owns several contexts, each in a domain of its own choice: an echo server on
 * all of them. A message "end" has its context closed, while the others go on; the last one ends
 * the program.
 *
 *	contexts NAME HV...     listens as NAME0, NAME1 and so on
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libmsg/libmsg.h"

#define CONTEXTS_MAX 8

struct context {
	struct msg_ctx *ctx; /* NULL: closed */
	struct msg_sock *listener;
	unsigned long n_served;
};

static struct context contexts[CONTEXTS_MAX];
static int epoll_fd, n_open;

static _Noreturn void fail(const char *what)
{
	printf("error %s: %s: %s\n", strerrorname_np(errno), what, msg_reason());
	exit(3);
}

static void context_open(int i, const char *name, const char *hv)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = i};
	struct context *context = &contexts[i];
	char numbered[64];

	(void)snprintf(numbered, sizeof(numbered), "%s%d", name, i);
	context->ctx = msg_ctx_open(hv, LIBMSG_ONE_THREAD, 20000);
	if (!context->ctx)
		fail(hv);
	context->listener =
		msg_listen(context->ctx, numbered, LIBMSG_SEQPACKET, 64, LIBMSG_NONBLOCK);
	if (!context->listener)
		fail(numbered);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, msg_ctx_fd(context->ctx), &event) < 0)
		fail("epoll");
	n_open++;
}

static void context_close(struct context *context)
{
	if (epoll_ctl(epoll_fd, EPOLL_CTL_DEL, msg_ctx_fd(context->ctx), NULL) < 0)
		fail("epoll");
	msg_ctx_close(context->ctx);
	context->ctx = NULL;
	n_open--;
	printf("context %d served %lu\n", (int)(context - contexts), context->n_served);
}

/* One message. 1: it ends the context. */
static int serve(struct context *context, struct msg_sock *sock)
{
	static char text[8192];
	ssize_t n = msg_recv(sock, text, sizeof(text), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		fail("readable, with nothing to read");
	if (n <= 0) {
		(void)msg_close(sock);
		return 0;
	}
	if (n == 3 && memcmp(text, "end", 3) == 0)
		return 1;
	if (msg_send(sock, text, (size_t)n, MSG_DONTWAIT) != n) /* its client waits for it */
		fail("send");
	context->n_served++;
	return 0;
}

static void dispatch(struct context *context)
{
	struct msg_event events[4];
	int n = msg_ctx_dispatch(context->ctx, events, 4);

	if (n < 0)
		fail("dispatch");
	for (int i = 0; i < n; i++) {
		if (events[i].sock == context->listener) {
			while (msg_accept(context->listener, LIBMSG_NONBLOCK))
				;
		} else if (serve(context, events[i].sock)) {
			context_close(context);
			return;
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event event;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("pid %d\n", (int)getpid());
	if (argc < 3 || argc - 2 > CONTEXTS_MAX)
		return 2;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < argc - 2; i++)
		context_open(i, argv[1], argv[i + 2]);
	printf("listening\n");
	while (n_open) {
		if (epoll_wait(epoll_fd, &event, 1, -1) == 1)
			dispatch(&contexts[event.data.fd]);
		else if (errno != EINTR)
			fail("epoll");
	}
	return 0;
}
