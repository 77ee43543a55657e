/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams of bytes: a SOCK_STREAM pair and a pair of pipes. */
#include <err.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"

static void stream_prepare(struct pair *pair)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair->socks) < 0)
		err(1, "socketpair");
}

/* socks[] are the reading ends: each role's own. */
static void pipe_prepare(struct pair *pair)
{
	for (int role = 0; role < 2; role++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			err(1, "pipe");
		pair->socks[role] = ends[0];
		pair->writers[role] = ends[1]; /* to that role */
	}
}

static void stream_open(struct end *end)
{
	end->sock = end->writer = end->pair->socks[end->role];
	(void)close(end->pair->socks[!end->role]);
}

static void pipe_open(struct end *end)
{
	end->sock = end->pair->socks[end->role];
	end->writer = end->pair->writers[!end->role];
	(void)close(end->pair->socks[!end->role]);
	(void)close(end->pair->writers[end->role]);
}

static void all_write(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			err(1, "write");
		data += n;
		len -= (size_t)n;
	}
}

static void stream_send(struct end *end, const void *data, size_t len, bool more)
{
	all_write(end->writer, message_padded(end, data, len), end->pair->len);
}

static size_t stream_recv(struct end *end, void *data, size_t size)
{
	size_t len = end->pair->len;

	for (size_t done = 0; done < len;) {
		ssize_t n = read(end->sock, (char *)data + done, len - done);

		if (n <= 0)
			err(1, "read");
		done += (size_t)n;
	}
	return message_padded_len(end, data);
}

static void stream_close(struct end *end)
{
	(void)close(end->sock);
	if (end->writer != end->sock)
		(void)close(end->writer);
}

const struct peer peer_stream = {
	.name = "SOCK_STREAM",
	.prepare = stream_prepare,
	.open = stream_open,
	.send = stream_send,
	.recv = stream_recv,
	.close = stream_close,
};

const struct peer peer_pipe = {
	.name = "pipe",
	.prepare = pipe_prepare,
	.open = pipe_open,
	.send = stream_send,
	.recv = stream_recv,
	.close = stream_close,
};
