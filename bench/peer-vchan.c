/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libxenvchan, which carries a stream: the other end is another domain. */
#include <err.h>
#include <libxenvchan.h>
#include <stdio.h>
#include <time.h>

#include "bench/bench.h"

/* As much as a libmsg ring has, a direction. */
#define RING_SIZE 131072U
/* The server appears in the store within this time, looked for that often. */
#define WAIT_TRIES 1000
#define WAIT_NS	   10000000

static void vchan_open(struct end *end)
{
	const struct timespec pause = {.tv_nsec = WAIT_NS};
	struct libxenvchan *vchan = NULL;

	if (end->role == 1)
		vchan = libxenvchan_server_init(
			NULL, end->pair->peer_domid, end->pair->path, RING_SIZE, RING_SIZE);
	for (int i = 0; end->role == 0 && !vchan && i < WAIT_TRIES; i++) {
		vchan = libxenvchan_client_init(NULL, end->pair->peer_domid, end->pair->path);
		if (!vchan)
			(void)nanosleep(&pause, NULL);
	}
	if (!vchan)
		err(1, "libxenvchan, %s", end->pair->path);
	vchan->blocking = 1;
	end->channel = vchan;
}

static void vchan_send(struct end *end, const void *data, size_t len, bool more)
{
	const void *padded = message_padded(end, data, len);

	if (libxenvchan_write(end->channel, padded, end->pair->len) != (int)end->pair->len)
		errx(1, "libxenvchan_write failed");
}

static size_t vchan_recv(struct end *end, void *data, size_t size)
{
	size_t len = end->pair->len;

	if (size < len)
		errx(1, "room for %zu bytes of %zu", size, len);
	for (size_t done = 0; done < len;) {
		int n = libxenvchan_read(end->channel, (char *)data + done, len - done);

		if (n <= 0)
			errx(1, "libxenvchan_read failed");
		done += (size_t)n;
	}
	return message_padded_len(end, data);
}

static void vchan_close(struct end *end)
{
	libxenvchan_close(end->channel);
}

const struct peer peer_vchan = {.name = "libxenvchan",
	.open = vchan_open,
	.send = vchan_send,
	.recv = vchan_recv,
	.close = vchan_close};
