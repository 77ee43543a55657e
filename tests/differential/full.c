/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sequences that fill up what there is. How much fits is each side's own affair; what is looked at
 * on each holds on both: nothing is lost or changes its place, partial sends add up, EAGAIN and
 * POLLOUT agree with each other, a call that blocks sends all.
 */
#include "tests/differential/differential.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/must.h"
#include "tests/support/pattern.h"
#include "tests/support/testbed.h"

#define MANY	       (CALLS_MAX * 20U)
#define SIZE_MAX_BYTES 60000U

/* One direction: messages by their numbers, or a stream's bytes. */
struct flow {
	uint64_t sent, received;
	uint64_t n_came;     /* messages that were received */
	uint32_t lens[MANY]; /* of the messages that were sent */
};

struct full {
	const struct side *side;
	int type;
	struct flow flows[2]; /* by the end that sends */
	FILE *trace;
	char *why;
};

static uint8_t data[SIZE_MAX_BYTES], expected[SIZE_MAX_BYTES];

static bool wrong(struct full *full, const char *what, int end)
{
	(void)snprintf(full->why, 256, "%s, %c: %s", full->side->name, 'A' + end, what);
	return false;
}

static bool is_stream(const struct full *full)
{
	return full->type == LIBMSG_STREAM;
}

/* Messages find no room and are dropped. */
static bool drops(const struct full *full)
{
	return full->type == LIBMSG_DGRAM && full->side == &msg_side;
}

/* POLLOUT may come too early (libmsg.h, LIBMSG_TRANSPORT_ARGO_STRICT). */
static bool poll_is_exact(const struct full *full)
{
	return full->side != &msg_side || strcmp(testbed_transport(), "argo-strict") != 0;
}

static void settle(const struct full *full)
{
	static const bool open[2];

	if (full->side == &msg_side)
		sides_settle(open);
}

static void fill(const struct full *full, uint8_t *to, uint64_t at, uint32_t len)
{
	if (!is_stream(full)) {
		pattern_fill(to, len, at);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		to[i] = (uint8_t)((at + i) ^ (at + i) >> 8 ^ (at + i) >> 16);
}

static short events_of(const struct full *full, int end)
{
	short revents = 0;

	(void)full->side->poll(end, POLLIN | POLLOUT, 0, &revents);
	return revents;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void note_sent(struct full *full, int end, uint32_t n)
{
	struct flow *flow = &full->flows[end];

	if (is_stream(full)) {
		flow->sent += n;
		return;
	}
	must(flow->sent < MANY);
	flow->lens[flow->sent++] = n;
}

/* 1: it was sent, wholly or in part; 0: no room; -1: wrong. */
static int send_one(struct full *full, int end, uint32_t size)
{
	bool writable = events_of(full, end) & POLLOUT;
	ssize_t n;

	fill(full, data, full->flows[end].sent, size);
	n = full->side->send(end, data, size, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return (void)wrong(full, "a send fails", end), -1;
	if (n < 0 && writable && poll_is_exact(full) && (is_stream(full) || size <= 4096))
		return (void)wrong(full, "POLLOUT and then EAGAIN", end), -1;
	if (n < 0 && events_of(full, end) & POLLOUT && poll_is_exact(full))
		return (void)wrong(full, "EAGAIN and then POLLOUT", end), -1;
	if (n < 0)
		return 0;
	if (n == 0 || n > size || (n < size && !is_stream(full)))
		return (void)wrong(full, "a send of another length", end), -1;
	note_sent(full, end, (uint32_t)n);
	return 1;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static bool is_next_message(const struct flow *flow, ssize_t n)
{
	return flow->lens[flow->received] == n && pattern_is(data, (size_t)n, flow->received);
}

static bool note_received(struct full *full, int end, ssize_t n)
{
	struct flow *flow = &full->flows[!end];

	if (is_stream(full)) {
		fill(full, expected, flow->received, (uint32_t)n);
		if (flow->received + (uint64_t)n > flow->sent ||
			memcmp(data, expected, (size_t)n) != 0)
			return wrong(full, "other bytes than were sent", end);
		flow->received += (uint64_t)n;
		return true;
	}
	while (drops(full) && flow->received < flow->sent && !is_next_message(flow, n))
		flow->received++;
	if (flow->received == flow->sent || !is_next_message(flow, n))
		return wrong(full, "another message than was sent", end);
	flow->received++;
	flow->n_came++;
	return true;
}

/* 1: something came; 0: nothing is there; -1: wrong. */
static int recv_one(struct full *full, int end, uint32_t size)
{
	ssize_t n =
		full->side->recv(end, data, is_stream(full) ? size : sizeof(data), MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		return (void)wrong(full, "a receive fails", end), -1;
	if (n == 0)
		return (void)wrong(full, "an end that nobody made", end), -1;
	return n < 0 ? 0 : note_received(full, end, n) ? 1 : -1;
}

static bool drain(struct full *full, int end)
{
	int r;

	do {
		settle(full);
		r = recv_one(full, end, sizeof(data));
	} while (r > 0);
	return r == 0;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool repeat(struct full *full, const struct call *call)
{
	int r = 1;

	settle(full);
	for (unsigned i = 0; i < call->n && r > 0; i++)
		r = call->kind == CALL_SEND ? send_one(full, call->end, call->size)
					    : recv_one(full, call->end, call->size);
	return r >= 0;
}

static bool look(struct full *full, int end)
{
	const struct flow *flow = &full->flows[!end];
	bool unread = flow->sent > flow->received, readable;

	settle(full);
	readable = events_of(full, end) & POLLIN;
	if (readable && !unread)
		return wrong(full, "POLLIN for nothing", end);
	if (unread && !readable && !drops(full))
		return wrong(full, "no POLLIN", end);
	return true;
}

/* A call that blocks, while the other end reads. */
static bool send_blocking(struct full *full, const struct call *call)
{
	struct blocked *blocked = blocked_new(full->side);
	struct call whole = *call;
	struct outcome outcome;
	bool good = true;

	/* Only its length is compared: the bytes that call_make sends are its own. */
	good = drain(full, !call->end);
	blocked_start(blocked, &whole);
	for (size_t n = 0; good && n < whole.size;) {
		ssize_t r = full->side->recv(!call->end, data, sizeof(data), 0);

		good = r > 0 && n + (size_t)r <= whole.size;
		if (good) {
			pattern_fill(expected, whole.size, whole.id);
			good = memcmp(data, expected + n, (size_t)r) == 0;
			n += (size_t)r;
		}
	}
	if (!good)
		(void)full->side->shutdown(call->end, SHUT_RDWR);
	outcome = blocked_end(blocked);
	good = good && outcome.r == (long)whole.size;
	outcome_free(&outcome);
	blocked_free(blocked);
	return good || wrong(full, "a blocking send does not bring all", call->end);
}

static bool step(struct full *full, const struct call *call)
{
	if (full->trace) {
		(void)fprintf(full->trace, "\t%-8s", full->side->name);
		call_print(full->trace, call);
		(void)fprintf(full->trace, "\n");
	}
	if (call->kind == CALL_POLL)
		return look(full, call->end);
	return call->blocks ? send_blocking(full, call) : repeat(full, call);
}

/* The number of drops is known at both ends, when they have talked. */
static bool drops_add_up(struct full *full)
{
	uint64_t n_lost = full->flows[0].sent + full->flows[1].sent - full->flows[0].n_came -
			  full->flows[1].n_came;

	for (unsigned i = 0; i < 1000; i++) {
		settle(full);
		if ((uint64_t)msg_drops(0) == n_lost && msg_drops(1) == msg_drops(0))
			return true;
		(void)full->side->recv(0, data, 1, MSG_DONTWAIT);
		(void)full->side->recv(1, data, 1, MSG_DONTWAIT);
	}
	return wrong(full, "drops that do not add up", 0);
}

/* Everything came; there is room again; both directions end. */
static bool finish(struct full *full)
{
	if (!drain(full, 0) || !drain(full, 1))
		return false;
	settle(full);
	if (drops(full) && !drops_add_up(full))
		return false;
	for (int end = 0; end < 2; end++) {
		if (full->flows[end].received != full->flows[end].sent && !drops(full))
			return wrong(full, "something is lost", end);
		if (!(events_of(full, end) & POLLOUT))
			return wrong(full, "no POLLOUT", end);
		must(full->side->shutdown(end, SHUT_WR) == 0);
	}
	settle(full);
	for (int end = 0; end < 2 && full->type != LIBMSG_DGRAM; end++) {
		if (full->side->recv(end, data, 1, MSG_DONTWAIT) != 0)
			return wrong(full, "no end", end);
	}
	return true;
}

static bool side_run(
	const struct side *side, const struct sequence *sequence, FILE *trace, char *why)
{
	struct full *full = calloc(1, sizeof(*full));
	bool good = true;

	must(full);
	*full = (struct full){.side = side, .type = sequence->type, .trace = trace, .why = why};
	for (uint32_t i = 0; good && i < sequence->n_calls; i++)
		good = step(full, &sequence->calls[i]);
	good = good && finish(full);
	free(full);
	return good;
}

bool full_run(const struct sequence *sequence, FILE *trace, char why[256])
{
	static const bool closed[2] = {true, true};
	bool good;

	why[0] = '\0';
	sides_open(sequence->type);
	good = side_run(&unix_side, sequence, trace, why) &&
	       side_run(&msg_side, sequence, trace, why);
	for (int end = 0; end < 2; end++) {
		(void)unix_side.close(end);
		(void)msg_side.close(end);
	}
	sides_settle(closed);
	return good;
}
