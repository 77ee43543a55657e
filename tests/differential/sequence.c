/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sequences of calls: made from a seed, and written as a person reads them. */
#include "tests/differential/differential.h"

#include <poll.h>
#include <string.h>

#include "base/macro.h"

static uint64_t draw(uint64_t *rng)
{
	uint64_t x = (*rng += 0x9e3779b97f4a7c15U);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
	x = (x ^ x >> 27) * 0x94d049bb133111ebU;
	return x ^ x >> 31;
}

static uint32_t pick(uint64_t *rng, uint32_t n)
{
	return (uint32_t)(draw(rng) % n);
}

static bool one_in(uint64_t *rng, uint32_t n)
{
	return pick(rng, n) == 0;
}

static int some_flag(uint64_t *rng, int flag, uint32_t one_of)
{
	return one_in(rng, one_of) ? flag : 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

static uint32_t send_size(uint64_t *rng, int type)
{
	switch (pick(rng, 16)) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return 500 + pick(rng, 1000);
	case 3:
		/* Longer than a frame may be, or than any message may. */
		if (type == LIBMSG_STREAM || !one_in(rng, 4))
			return pick(rng, 20);
		return one_in(rng, 4) ? 3U << 20 : 4000 + pick(rng, 66000);
	default:
		return 1 + pick(rng, 200);
	}
}

static uint32_t recv_size(uint64_t *rng)
{
	switch (pick(rng, 8)) {
	case 0:
		return pick(rng, 3);
	case 1:
		return 2000 + pick(rng, 2000);
	case 2:
		return one_in(rng, 4) ? 70000 : 300;
	default:
		return 1 + pick(rng, 250);
	}
}

static void make_send(struct call *call, uint64_t *rng, int type)
{
	call->kind = (enum call_kind)pick(rng, 3);
	call->n = (uint8_t)(1 + pick(rng, MESSAGES_MAX));
	call->size = send_size(rng, type);
	call->flags = some_flag(rng, MSG_DONTWAIT, 2) | some_flag(rng, MSG_MORE, 5) |
		      some_flag(rng, MSG_EOR, 5) | some_flag(rng, MSG_NOSIGNAL, 5);
	call->flags |= some_flag(rng, MSG_DONTROUTE, 100);
	if (call->size > 2000) {
		call->flags |= MSG_DONTWAIT;
		call->n = 1;
	}
}

static void make_recv(struct call *call, uint64_t *rng)
{
	call->kind = (enum call_kind)(CALL_RECV + pick(rng, 3));
	call->n = (uint8_t)(1 + pick(rng, MESSAGES_MAX));
	call->size = recv_size(rng);
	call->flags = some_flag(rng, MSG_PEEK, 6) | some_flag(rng, MSG_TRUNC, 5) |
		      some_flag(rng, MSG_WAITALL, 4) | some_flag(rng, MSG_NOSIGNAL, 8);
	call->blocks = one_in(rng, 6);
	if (!call->blocks)
		call->flags |= MSG_DONTWAIT | some_flag(rng, MSG_DONTROUTE, 100);
	if (call->kind == CALL_RECVMMSG) {
		call->flags |= some_flag(rng, MSG_WAITFORONE, 2);
		call->size = 1 + call->size % 3000;
	}
	if (call->blocks)
		call->size = call->size % 1200;
}

static void make_poll(struct call *call, uint64_t *rng)
{
	static const short some[] = {0, POLLIN, POLLOUT, POLLIN | POLLOUT};

	call->kind = CALL_POLL;
	call->blocks = one_in(rng, 4);
	call->events = call->blocks ? POLLIN : some[pick(rng, ARRAY_SIZE(some))];
}

static void make_end(struct call *call, uint64_t *rng)
{
	static const int some[] = {SHUT_WR, SHUT_WR, SHUT_RD, SHUT_RDWR};

	call->kind = one_in(rng, 3) ? CALL_CLOSE : CALL_SHUTDOWN;
	call->how = some[pick(rng, ARRAY_SIZE(some))];
}

/* one_end: how rarely a call ends something. */
static void make_call(struct call *call, uint64_t *rng, int type, uint32_t one_end)
{
	call->end = (uint8_t)pick(rng, 2);
	call->n_pieces = (uint8_t)(1 + pick(rng, PIECES_MAX));
	if (one_in(rng, one_end))
		make_end(call, rng);
	else if (one_in(rng, 8))
		make_poll(call, rng);
	else if (one_in(rng, 2))
		make_send(call, rng, type);
	else
		make_recv(call, rng);
}

/* Sizes and flags for calls that fill up what there is. */
static void make_full_call(struct call *call, uint64_t *rng)
{
	static const uint32_t most[] = {50, 3000, 20000, 60000};

	call->end = (uint8_t)pick(rng, 2);
	call->n_pieces = 1;
	call->kind = one_in(rng, 2) ? CALL_SEND : one_in(rng, 3) ? CALL_POLL : CALL_RECV;
	call->blocks = call->kind == CALL_SEND && one_in(rng, 6);
	call->flags = call->blocks ? 0 : MSG_DONTWAIT;
	call->size = 1 + pick(rng, most[pick(rng, ARRAY_SIZE(most))]);
	call->n = (uint8_t)(1 + pick(rng, 20)); /* so many times */
	call->events = POLLIN | POLLOUT;
}

struct sequence sequence_make(uint64_t seed, int type)
{
	struct sequence sequence = {.seed = seed, .type = type};
	uint64_t rng = seed * 4 + (uint64_t)type;
	uint32_t one_end = one_in(&rng, 2) ? 8 : 40;

	sequence.full = one_in(&rng, 50);
	sequence.n_calls = 2 + pick(&rng, CALLS_MAX - 1);
	for (uint32_t i = 0; i < sequence.n_calls; i++) {
		struct call *call = &sequence.calls[i];

		call->id = i + 1;
		if (sequence.full)
			make_full_call(call, &rng);
		else
			make_call(call, &rng, type, one_end);
	}
	return sequence;
}

/* ---- writing --------------------------------------------------------------------------------- */

const char *type_name(int type)
{
	return type == LIBMSG_STREAM ? "stream" : type == LIBMSG_SEQPACKET ? "seqpacket" : "dgram";
}

struct bit {
	int value;
	const char *name;
};

static void print_bits(FILE *file, int value, const struct bit *bits, size_t n)
{
	const char *between = "";

	for (size_t i = 0; i < n; i++) {
		if (!(value & bits[i].value))
			continue;
		(void)fprintf(file, "%s%s", between, bits[i].name);
		between = "|";
	}
	if (!*between)
		(void)fprintf(file, "0");
}

static void print_flags(FILE *file, int flags)
{
	static const struct bit bits[] = {{MSG_DONTWAIT, "MSG_DONTWAIT"}, {MSG_PEEK, "MSG_PEEK"},
		{MSG_TRUNC, "MSG_TRUNC"}, {MSG_WAITALL, "MSG_WAITALL"}, {MSG_MORE, "MSG_MORE"},
		{MSG_EOR, "MSG_EOR"}, {MSG_NOSIGNAL, "MSG_NOSIGNAL"},
		{MSG_WAITFORONE, "MSG_WAITFORONE"}, {MSG_DONTROUTE, "MSG_DONTROUTE"}};

	print_bits(file, flags, bits, ARRAY_SIZE(bits));
}

static void print_events(FILE *file, short events)
{
	static const struct bit bits[] = {{POLLIN, "POLLIN"}, {POLLOUT, "POLLOUT"},
		{POLLHUP, "POLLHUP"}, {POLLERR, "POLLERR"}, {POLLRDHUP, "POLLRDHUP"}};

	print_bits(file, events, bits, ARRAY_SIZE(bits));
}

static const char *call_name(enum call_kind kind)
{
	static const char *const names[N_CALL_KINDS] = {"send", "sendmsg", "sendmmsg", "recv",
		"recvmsg", "recvmmsg", "poll", "shutdown", "close"};

	return names[kind];
}

static const char *how_name(int how)
{
	return how == SHUT_RD ? "SHUT_RD" : how == SHUT_WR ? "SHUT_WR" : "SHUT_RDWR";
}

void call_print(FILE *file, const struct call *call)
{
	(void)fprintf(file, "%s%s(%c", call->blocks ? "in a thread: " : "", call_name(call->kind),
		'A' + call->end);
	if (call_sends(call) || call_receives(call)) {
		if (call->kind == CALL_SENDMMSG || call->kind == CALL_RECVMMSG)
			(void)fprintf(file, ", %u messages of", call->n);
		(void)fprintf(file, ", %u bytes", call->size);
		if (call->kind != CALL_SEND && call->kind != CALL_RECV)
			(void)fprintf(file, " in %u pieces", call->n_pieces);
		(void)fprintf(file, ", ");
		print_flags(file, call->flags);
	} else if (call->kind == CALL_POLL) {
		(void)fprintf(file, ", ");
		print_events(file, call->events);
	} else if (call->kind == CALL_SHUTDOWN) {
		(void)fprintf(file, ", %s", how_name(call->how));
	}
	(void)fprintf(file, ")");
}

void outcome_print(FILE *file, const struct call *call, const struct outcome *outcome)
{
	(void)fprintf(file, "%ld", outcome->r);
	if (outcome->r < 0)
		(void)fprintf(file, " %s", strerrorname_np(outcome->error));
	if (call->kind == CALL_POLL) {
		(void)fprintf(file, " ");
		print_events(file, outcome->revents);
	}
	if (call->kind == CALL_RECVMSG && outcome->r >= 0) {
		(void)fprintf(file, " msg_flags ");
		print_flags(file, outcome->messages[0].flags);
	}
	if (call->kind != CALL_SENDMMSG && call->kind != CALL_RECVMMSG)
		return;
	for (long i = 0; i < outcome->r; i++) {
		(void)fprintf(file, " [%u", outcome->messages[i].len);
		if (outcome->messages[i].flags) {
			(void)fprintf(file, " ");
			print_flags(file, outcome->messages[i].flags);
		}
		(void)fprintf(file, "]");
	}
}

void sequence_print(FILE *file, const struct sequence *sequence)
{
	for (uint32_t i = 0; i < sequence->n_calls; i++) {
		(void)fprintf(file, "\t");
		call_print(file, &sequence->calls[i]);
		if (sequence->full && sequence->calls[i].n > 1 && !sequence->calls[i].blocks)
			(void)fprintf(file, " %u times", sequence->calls[i].n);
		(void)fprintf(file, "\n");
	}
}
