/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nng: a pair0 socket at each end, over a Unix socket (ipc), with its defaults. */
#include <err.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"

/* The listener is there within this time, looked for that often. */
#define WAIT_TRIES 1000
#define WAIT_MS	   10

static void check(int r, const char *what)
{
	if (r != 0)
		errx(1, "nng, %s: %s", what, nng_strerror(r));
}

static void end_open(struct end *end)
{
	nng_socket *sock = malloc(sizeof(*sock));
	char url[256];
	int r;

	if (!sock)
		err(1, "memory");
	(void)snprintf(url, sizeof(url), "ipc://%s/nng", end->pair->dir);
	check(nng_pair0_open(sock), "socket");
	check(nng_socket_set_size(*sock, NNG_OPT_RECVMAXSZ, 0), "limit");
	r = end->role ? nng_listen(*sock, url, NULL, 0) : nng_dial(*sock, url, NULL, 0);
	for (int i = 0; (r == NNG_ECONNREFUSED || r == NNG_ENOENT) && i < WAIT_TRIES; i++) {
		nng_msleep(WAIT_MS);
		r = nng_dial(*sock, url, NULL, 0);
	}
	check(r, url);
	end->channel = sock;
}

static void end_send(struct end *end, const void *data, size_t len, bool more)
{
	/* nng does not write to it. */
	check(nng_send(*(nng_socket *)end->channel, (void *)(uintptr_t)data, len, 0), "send");
}

static size_t end_recv(struct end *end, void *data, size_t size)
{
	check(nng_recv(*(nng_socket *)end->channel, data, &size, 0), "recv");
	return size;
}

/* nng_close throws away what has not gone: role 1, whose last message counts, waits for a word. */
static void end_close(struct end *end)
{
	char byte = 0;

	if (end->role == 0)
		end_send(end, &byte, 1, false);
	else
		(void)end_recv(end, &byte, 1);
	if (end->role == 0)
		nng_msleep(WAIT_MS);
	nng_close(*(nng_socket *)end->channel);
	free(end->channel);
}

const struct peer peer_nng = {
	.name = "nng",
	.open = end_open,
	.send = end_send,
	.recv = end_recv,
	.close = end_close,
};
