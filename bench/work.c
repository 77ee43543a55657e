/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work itself, the same over every peer. Each message carries its number. Words that follow
 * from the number are strewn over the message, one in every line of a short one. The receiver
 * checks all of them, and one more line that moves through the message. A message that is lost,
 * doubled, cut, mixed up with another or stale ends the benchmark.
 */
#include <err.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "bench/bench.h"

#define WORDS_MAX (BENCH_MESSAGE_MAX / 8)
#define LINE	  8 /* words */
#define MMSG	  32U

static uint64_t message[WORDS_MAX], received[WORDS_MAX];

uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t pattern(uint64_t number, size_t word)
{
	return (number + word) * 0x9e3779b97f4a7c15U;
}

/* Every word of 64 bytes, one a line up to 4 KiB, one in eight lines above. */
static size_t stride(size_t n_words)
{
	return n_words <= LINE ? 1 : n_words <= 512 ? LINE : 8 * LINE;
}

void message_init(void)
{
	for (size_t i = 0; i < WORDS_MAX; i++)
		message[i] = pattern(0, i);
}

uint64_t *message_fill(uint64_t number, size_t n_words)
{
	size_t step = stride(n_words);

	for (size_t i = 0; i < n_words; i += step)
		message[i] = pattern(number, i);
	return message;
}

void message_check(const uint64_t *got, uint64_t number, size_t n_words)
{
	size_t step = stride(n_words), line = number % (n_words / LINE) * LINE;
	uint64_t wrong = 0;

	for (size_t i = 0; i < n_words; i += step)
		wrong |= got[i] ^ pattern(number, i);
	if (step > 1) {
		for (size_t i = line + 1; i < line + LINE; i++)
			wrong |= got[i] ^ pattern(0, i);
	}
	if (wrong)
		errx(1, "message %" PRIu64 " arrived wrong", number);
}

/* Both sides are there, and warm. */
static void meet(const struct peer *peer, struct end *end)
{
	char hello[8] = "hello";

	message_init();
	if (end->role == 0)
		peer->send(end, hello, sizeof(hello), false);
	if (peer->recv(end, received, sizeof(received)) != sizeof(hello) &&
		!(peer->flags & PEER_BASELINE))
		errx(1, "no hello");
	if (end->role == 1)
		peer->send(end, hello, sizeof(hello), false);
}

/* A message of 8 bytes with the count marks the end; the receiver sends it back. */
static void one_way_end(const struct peer *peer, struct end *end, uint64_t start, uint64_t n,
	struct result *ret_result)
{
	peer->send(end, &n, sizeof(n), false);
	if (peer->recv(end, received, sizeof(received)) != 8 || received[0] != n)
		errx(1, "%" PRIu64 " messages sent, %" PRIu64 " received", n, received[0]);
	ret_result->n = n;
	ret_result->ns = now_ns() - start;
}

static void one_way_send(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	uint64_t start = now_ns(), n = 0;

	do {
		for (int i = 0; i < 32; i++) {
			message_fill(n++, work->len / 8);
			peer->send(end, message, work->len, (i + 1) % work->batch != 0);
		}
	} while (now_ns() - start < work->run_ns);
	one_way_end(peer, end, start, n, ret_result);
}

void work_one_way(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	uint64_t n = 0;
	size_t len;

	meet(peer, end);
	if (end->role == 0) {
		one_way_send(peer, end, work, ret_result);
		return;
	}
	while ((len = peer->recv(end, received, sizeof(received))) == work->len)
		message_check(received, n++, work->len / 8);
	if (len != 8 || received[0] != n)
		errx(1, "%" PRIu64 " messages received, then one of %zu bytes", n, len);
	peer->send(end, &n, sizeof(n), false);
}

/* ---- streams: the other end is to know a short message from a long one ----------------------- */

#define SHORT 8U
#define MARK  UINT64_MAX

const void *message_padded(const struct end *end, const void *data, size_t len)
{
	static uint64_t padded[WORDS_MAX];

	if (len == end->pair->len)
		return data;
	memcpy(padded, data, SHORT);
	padded[1] = MARK;
	return padded;
}

size_t message_padded_len(const struct end *end, const void *data)
{
	return ((const uint64_t *)data)[1] == MARK ? SHORT : end->pair->len;
}

/* ---- batches by one call -------------------------------------------------------------------- */

struct batch {
	struct mmsghdr messages[MMSG];
	struct iovec iov[MMSG];
	uint64_t *data;
};

static void batch_init(struct batch *batch, size_t len)
{
	*batch = (struct batch){.data = malloc(MMSG * len)};
	if (!batch->data)
		err(1, "memory");
	for (unsigned i = 0; i < MMSG; i++) {
		batch->iov[i] = (struct iovec){batch->data + i * (len / 8), len};
		batch->messages[i].msg_hdr.msg_iov = &batch->iov[i];
		batch->messages[i].msg_hdr.msg_iovlen = 1;
	}
}

static void mmsg_send(const struct peer *peer, struct end *end, const struct work *work,
	struct batch *batch, struct result *ret_result)
{
	uint64_t start = now_ns(), n = 0;

	do {
		for (unsigned i = 0; i < MMSG; i++)
			memcpy(batch->iov[i].iov_base, message_fill(n++, work->len / 8), work->len);
		if (peer->sendmmsg) {
			peer->sendmmsg(end, batch->messages, MMSG);
			continue;
		}
		for (unsigned i = 0; i < MMSG; i++)
			peer->send(end, batch->iov[i].iov_base, work->len, false);
	} while (now_ns() - start < work->run_ns);
	one_way_end(peer, end, start, n, ret_result);
}

static unsigned mmsg_recv(const struct peer *peer, struct end *end, struct batch *batch)
{
	if (peer->recvmmsg)
		return peer->recvmmsg(end, batch->messages, MMSG);
	batch->messages[0].msg_len =
		(unsigned)peer->recv(end, batch->iov[0].iov_base, batch->iov[0].iov_len);
	return 1;
}

/* A peer that knows no such calls takes one message a call. */
void work_mmsg(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	struct batch batch;
	uint64_t n = 0;
	bool more = true;

	meet(peer, end);
	batch_init(&batch, work->len);
	if (end->role == 0)
		mmsg_send(peer, end, work, &batch, ret_result);
	while (end->role == 1 && more) {
		unsigned got = mmsg_recv(peer, end, &batch);

		for (unsigned i = 0; i < got && more; i++) {
			const uint64_t *data = batch.iov[i].iov_base;

			more = batch.messages[i].msg_len == work->len;
			if (more)
				message_check(data, n++, work->len / 8);
			else if (batch.messages[i].msg_len != 8 || data[0] != n)
				errx(1, "%" PRIu64 " messages received, then another", n);
		}
	}
	if (end->role == 1)
		peer->send(end, &n, sizeof(n), false);
	free(batch.data);
}

/* ---- the limit of what is copied twice, into memory between two processes and out ----------- */

void work_memcpy(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	size_t slot = 0, n_slots = work->len < 65536 ? 131072 / work->len : 2;
	uint64_t start, n = 0;
	char *ring;

	if (end->role == 1)
		return;
	ring = malloc(n_slots * work->len);
	if (!ring)
		err(1, "memory");
	message_init();
	start = now_ns();
	while (n % 32 || now_ns() - start < work->run_ns) {
		memcpy(ring + slot * work->len, message_fill(n, work->len / 8), work->len);
		memcpy(received, ring + slot * work->len, work->len);
		message_check(received, n++, work->len / 8);
		slot = (slot + 1) % n_slots;
	}
	ret_result->n = n;
	ret_result->ns = now_ns() - start;
	free(ring);
}

void work_round_trip(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	bool data = !(peer->flags & PEER_BASELINE);
	uint64_t start, before, now, n = 0, stop = UINT64_MAX;
	size_t len;

	meet(peer, end);
	start = before = now_ns();
	while (end->role == 0 && (n % 16 || now_ns() - start < work->run_ns)) {
		if (data)
			message_fill(n, work->len / 8);
		peer->send(end, message, work->len, false);
		len = peer->recv(end, received, sizeof(received));
		if (data && len != work->len)
			errx(1, "answer %" PRIu64 " has %zu bytes", n, len);
		if (data)
			message_check(received, n, work->len / 8);
		n++;
		if (work->each) {
			now = now_ns();
			histogram_add(work->each, now - before);
			before = now;
		}
	}
	if (end->role == 0) {
		ret_result->n = n;
		ret_result->ns = now_ns() - start;
		peer->send(end, &stop, sizeof(stop), false);
		return;
	}
	for (;; n++) {
		len = peer->recv(end, received, sizeof(received));
		if (len != work->len)
			break;
		if (data)
			message_check(received, n, work->len / 8);
		peer->send(end, received, work->len, false);
	}
	if (len != sizeof(stop) || received[0] != stop)
		errx(1, "%" PRIu64 " messages received, then one of %zu bytes", n, len);
}

/* Connects, one byte there and back, closes; one at a time. */
void work_connect(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	uint64_t start = now_ns(), n = 0;
	char byte = 1;

	while (end->role == 1 && byte) {
		peer->accept(end);
		if (peer->recv(end, &byte, 1) != 1)
			errx(1, "connection %" PRIu64 " carries nothing", n);
		peer->send(end, &byte, 1, false);
		peer->disconnect(end);
		n++;
	}
	while (end->role == 0 && byte) {
		byte = now_ns() - start < work->run_ns;
		peer->connect(end);
		peer->send(end, &byte, 1, false);
		if (peer->recv(end, &byte, 1) != 1)
			errx(1, "connection %" PRIu64 " carries nothing", n);
		peer->disconnect(end);
		n++;
	}
	if (end->role == 0) {
		ret_result->n = n;
		ret_result->ns = now_ns() - start;
	}
}
