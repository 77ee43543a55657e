/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Work with many channels, by one event loop in each process. */
#include <err.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bench/bench.h"

static uint64_t received[8192];

struct channel *loop_channels_open(const struct loop *loop, struct end *end, unsigned n)
{
	struct channel *channels = calloc(n, sizeof(*channels));
	struct loop_ready ready[LOOP_READY_MAX];

	if (!channels)
		err(1, "memory");
	for (unsigned n_asked = 0, n_done = 0; n_done < n;) {
		while (end->role == 0 && n_asked < n && n_asked - n_done < loop->connects_max)
			loop->connect(end, &channels[n_asked++]);
		for (unsigned i = 0, n_ready = loop->wait(end, ready); i < n_ready; i++) {
			if (ready[i].event == LOOP_CONNECTED)
				n_done++;
			while (ready[i].event == LOOP_ACCEPT && n_done < n &&
				loop->accept(end, &channels[n_done]))
				n_done++;
		}
	}
	return channels;
}

/* Receives a word over n channels, one each; the last one is returned. */
static uint64_t words_take(const struct loop *loop, struct end *end, unsigned n)
{
	struct loop_ready ready[LOOP_READY_MAX];
	uint64_t word = 0;

	while (n > 0) {
		for (unsigned i = 0, n_ready = loop->wait(end, ready); i < n_ready; i++) {
			if (ready[i].event == LOOP_READABLE &&
				loop->recv(ready[i].channel, &word, sizeof(word)) == sizeof(word))
				n--;
		}
	}
	return word;
}

/* A message to each channel in turn; one of 8 bytes with the count marks the end. */
static void channels_send(const struct loop *loop, struct end *end, const struct work *work,
	struct channel *channels, struct result *ret_result)
{
	uint64_t start, n = 0, answer;

	(void)words_take(loop, end, work->n_channels);
	start = now_ns();
	while (n % 64 || now_ns() - start < work->run_ns) {
		struct channel *channel = &channels[n++ % work->n_channels];

		loop->send(channel, message_fill(channel->n++, work->len / 8), work->len);
	}
	loop->send(&channels[0], &n, sizeof(n));
	answer = words_take(loop, end, 1);
	if (answer != n)
		errx(1, "%" PRIu64 " messages sent, %" PRIu64 " received", n, answer);
	ret_result->n = n;
	ret_result->ns = now_ns() - start;
}

static void channels_take(const struct loop *loop, struct end *end, const struct work *work)
{
	struct loop_ready ready[LOOP_READY_MAX];
	uint64_t n = 0, sent = UINT64_MAX;
	struct channel *first = NULL;

	while (n < sent) {
		for (unsigned i = 0, n_ready = loop->wait(end, ready); i < n_ready; i++) {
			struct channel *channel = ready[i].channel;
			size_t len;

			do {
				len = loop->recv(channel, received, sizeof(received));
				if (len == work->len) {
					message_check(received, channel->n++, len / 8);
					n++;
				} else if (len == sizeof(sent)) {
					sent = received[0];
					first = channel;
				}
			} while (len && loop->drains);
		}
	}
	loop->send(first, &n, sizeof(n));
}

void work_channels(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	const struct loop *loop = peer->loop;
	struct channel *channels;
	uint64_t hello = 0;

	message_init();
	loop->open(end);
	channels = loop_channels_open(loop, end, work->n_channels);
	/* All have been accepted, so that the sender measures nothing but sending. */
	if (end->role == 1) {
		for (unsigned i = 0; i < work->n_channels; i++)
			loop->send(&channels[i], &hello, sizeof(hello));
		channels_take(loop, end, work);
	} else {
		channels_send(loop, end, work, channels, ret_result);
	}
	loop->close(end);
	free(channels);
}

/* ---- connects in flight --------------------------------------------------------------------- */

static void connects_answer(const struct loop *loop, struct end *end, unsigned n_channels)
{
	/* Some that role 0 has already closed may not be closed here yet. */
	unsigned n_free = 4 * n_channels;
	struct channel *channels = calloc(n_free, sizeof(*channels)), **unused;
	struct loop_ready ready[LOOP_READY_MAX];
	char byte = 1;

	unused = calloc(n_free, sizeof(struct channel *));
	if (!channels || !unused)
		err(1, "memory");
	for (unsigned i = 0; i < n_free; i++)
		unused[i] = &channels[i];
	while (byte) {
		for (unsigned i = 0, n = loop->wait(end, ready); i < n; i++) {
			struct channel *channel = ready[i].channel;

			while (ready[i].event == LOOP_ACCEPT && n_free > 0 &&
				loop->accept(end, unused[n_free - 1]))
				n_free--;
			if (ready[i].event != LOOP_READABLE || !loop->recv(channel, &byte, 1))
				continue;
			loop->send(channel, &byte, 1);
			loop->close_channel(end, channel);
			unused[n_free++] = channel;
		}
	}
	free(unused);
	free(channels);
}

/* A byte 1 goes over each, and a 0 over the very last, which is alone. */
static void connects_begin(const struct loop *loop, struct end *end, const struct work *work,
	struct result *ret_result)
{
	struct channel *channels = calloc(work->n_channels, sizeof(*channels));
	struct loop_ready ready[LOOP_READY_MAX];
	uint64_t start = now_ns(), n = 0;
	unsigned n_open = work->n_channels;
	char byte = 1, answer;

	if (!channels)
		err(1, "memory");
	for (unsigned i = 0; i < n_open; i++)
		loop->connect(end, &channels[i]);
	while (n_open > 0) {
		for (unsigned i = 0, n_ready = loop->wait(end, ready); i < n_ready; i++) {
			struct channel *channel = ready[i].channel;

			if (ready[i].event == LOOP_CONNECTED)
				loop->send(channel, &byte, 1);
			if (ready[i].event != LOOP_READABLE || !loop->recv(channel, &answer, 1))
				continue;
			loop->close_channel(end, channel);
			n++;
			if (now_ns() - start < work->run_ns)
				loop->connect(end, channel);
			else if (--n_open == 0 && byte)
				byte = 0, n_open = 1, loop->connect(end, channel);
		}
	}
	ret_result->n = n;
	ret_result->ns = now_ns() - start;
	free(channels);
}

void work_connects(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	peer->loop->open(end);
	if (end->role == 1)
		connects_answer(peer->loop, end, work->n_channels);
	else
		connects_begin(peer->loop, end, work, ret_result);
	peer->loop->close(end);
}
