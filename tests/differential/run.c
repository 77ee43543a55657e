/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One sequence, step by step on both sides. So little is left unread that neither side runs
 * out of room, but for one long message at a time; a call that would need more is left out.
 */
#include "tests/differential/differential.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/must.h"

/* A new channel has 8 KiB of credit; POLLOUT needs 4 KiB, and 2 KiB are not given back at once. */
#define COST_MAX 2000U

enum { SIDE_UNIX, SIDE_MSG, N_SIDES };

static struct blocked *threads[N_SIDES][2];

struct run {
	struct ends ends;
	bool pending[2];	/* a call blocks at this end */
	struct call blocked[2]; /* it */
	bool held;		/* MSG_MORE keeps something back ... */
	int held_by;		/* ... of this end */
	uint32_t n_made;	/* calls that the test made by itself */
	FILE *trace;		/* borrowed; or NULL */
	char *why;		/* borrowed: 256 bytes */
};

void run_start(void)
{
	for (int end = 0; end < 2; end++) {
		threads[SIDE_UNIX][end] = blocked_new(&unix_side);
		threads[SIDE_MSG][end] = blocked_new(&msg_side);
	}
}

void run_stop(void)
{
	for (int end = 0; end < 2; end++) {
		blocked_free(threads[SIDE_UNIX][end]);
		blocked_free(threads[SIDE_MSG][end]);
	}
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool same_messages(const struct call *call, const struct outcome *a, const struct outcome *b)
{
	bool many = call->kind == CALL_SENDMMSG || call->kind == CALL_RECVMMSG;

	for (long i = 0; i < (many ? a->r : call->kind == CALL_RECVMSG && a->r >= 0); i++) {
		if (a->messages[i].len != b->messages[i].len ||
			a->messages[i].flags != b->messages[i].flags)
			return false;
	}
	return true;
}

static const char *difference_of(
	const struct call *call, const struct outcome *a, const struct outcome *b)
{
	if (a->r != b->r || (a->r < 0 && a->error != b->error))
		return "result";
	if (a->revents != b->revents)
		return "events";
	if (!same_messages(call, a, b))
		return "messages";
	if (call_receives(call) && a->data && memcmp(a->data, b->data, a->size) != 0)
		return "data";
	return NULL;
}

static void trace(const struct run *run, const struct call *call, const struct outcome *of_unix,
	const struct outcome *expected, const struct outcome *of_msg)
{
	if (!run->trace)
		return;
	(void)fprintf(run->trace, "\t");
	call_print(run->trace, call);
	if (of_unix) {
		(void)fprintf(run->trace, "\n\t\tAF_UNIX   ");
		outcome_print(run->trace, call, of_unix);
	}
	(void)fprintf(run->trace, "\n\t\texpected  ");
	outcome_print(run->trace, call, expected);
	(void)fprintf(run->trace, "\n\t\tlibmsg    ");
	outcome_print(run->trace, call, of_msg);
	(void)fprintf(run->trace, "\n");
}

/* Takes both outcomes. of_unix NULL: `expected` is by a rule alone. */
static bool compare(struct run *run, const struct call *call, struct outcome *of_unix,
	struct outcome *expected, struct outcome *of_msg)
{
	const char *what;

	if (of_unix) {
		*expected = *of_unix;
		differences_apply(&run->ends, call, expected);
	}
	what = difference_of(call, expected, of_msg);
	trace(run, call, of_unix, expected, of_msg);
	if (what) {
		FILE *file = fmemopen(run->why, 256, "w");

		must(file);
		(void)fprintf(file, "%s of ", what);
		call_print(file, call);
		(void)fclose(file);
	}
	if (of_unix) {
		ends_note(&run->ends, call, of_unix);
		outcome_free(of_unix);
	}
	outcome_free(of_msg);
	return !what;
}

/* ---- polling both ends after each call ------------------------------------------------------- */

/*
 * Until all is quiet, which no number of looks makes certain, for others have to get the CPU first:
 *
 * - msgd, which shows each application in turn what it has said. If it shows it to the end that
 *   connected first, the other end's link may meet a frame for a channel that it does not know. It
 *   takes in nothing then until msgd has answered its SYNC, though it knows the channel before.
 * - The process in whose hands an event is.
 * - A thread that an event, or a look here, has woken: it takes frames in itself, and answers them.
 *
 * Once both ends are quiet while all threads sleep none of these changes anything: a thread that
 * was woken does not sleep, and an event that is under way has its frame in the ring still, or
 * finds nothing. Each look brings that nearer, since a frame has an end of answers to it.
 */
static void settle(struct run *run)
{
	const bool closed[2] = {run->ends.end[0].closed, run->ends.end[1].closed};

	sides_push(closed);
	run->held = false;
	for (;;) {
		for (int end = 0; end < 2; end++) {
			if (run->pending[end])
				(void)blocked_is_done(threads[SIDE_MSG][end]);
		}
		if (sides_are_quiet())
			return;
		sides_look();
	}
}

/* Where a long message lies, the two sides may see room at different times. */
static bool room_is_sure(const struct run *run, int end)
{
	return run->ends.end[!end].cost <= COST_MAX;
}

static bool poll_both(struct run *run)
{
	for (int end = 0; end < 2; end++) {
		struct call call = {
			.kind = CALL_POLL, .end = (uint8_t)end, .events = POLLIN | POLLOUT};
		struct outcome of_unix, of_msg, expected;

		if (run->ends.end[end].closed || run->pending[end])
			continue;
		if (!room_is_sure(run, end))
			call.events = POLLIN;
		of_unix = call_make(&unix_side, &call);
		of_msg = call_make(&msg_side, &call);
		if (!compare(run, &call, &of_unix, &expected, &of_msg))
			return false;
	}
	return true;
}

/* ---- calls that block ------------------------------------------------------------------------ */

static bool datagram_end_is_untold(const struct run *run, int end)
{
	const struct end_state *other = &run->ends.end[!end];

	return run->ends.type == LIBMSG_DGRAM && (other->closed || other->shut_write);
}

static bool not_released(struct run *run, int end)
{
	(void)snprintf(run->why, 256, "the call that blocks at %c is not released", 'A' + end);
	return false;
}

/* The calls that were released have ended on both sides. */
static bool take_released(struct run *run)
{
	for (int end = 0; end < 2; end++) {
		struct outcome of_unix, of_msg, expected;

		if (!run->pending[end])
			continue;
		/* Of a datagram socket the difference releases it, which no socketpair does. */
		if (datagram_end_is_untold(run, end))
			must(unix_side.shutdown(end, SHUT_RD) == 0);
		if (!blocked_is_done(threads[SIDE_UNIX][end])) {
			/* It may have got a part: the next one is not to come too early. */
			settle(run);
			(void)blocked_is_done(threads[SIDE_MSG][end]);
			continue;
		}
		settle(run);
		/* It has been woken by now, and sleeps no more. */
		if (!blocked_is_done(threads[SIDE_MSG][end]))
			return not_released(run, end);
		run->pending[end] = false;
		of_unix = blocked_end(threads[SIDE_UNIX][end]);
		of_msg = blocked_end(threads[SIDE_MSG][end]);
		if (!compare(run, &run->blocked[end], &of_unix, &expected, &of_msg))
			return false;
	}
	return true;
}

/* The error that the socketpair tells once is known: libmsg's stays. */
static void take_error(struct run *run)
{
	for (int end = 0; end < 2; end++) {
		int error;

		if (!run->ends.end[end].reset || run->ends.end[end].closed)
			continue;
		error = unix_take_error(end);
		must(error == 0 || error == ECONNRESET); /* 0: a call that blocked has taken it */
	}
}

static bool start_blocked(struct run *run, const struct call *call)
{
	if (run->held)
		settle(run);
	if (run->trace) {
		(void)fprintf(run->trace, "\t");
		call_print(run->trace, call);
		(void)fprintf(run->trace, " ...\n");
	}
	run->pending[call->end] = true;
	run->blocked[call->end] = *call;
	blocked_start(threads[SIDE_UNIX][call->end], call);
	blocked_start(threads[SIDE_MSG][call->end], call);
	return take_released(run);
}

/* ---- a call ---------------------------------------------------------------------------------- */

static bool is_held_on(const struct run *run, const struct call *call)
{
	return run->held && call->end == run->held_by && !call_receives(call) &&
	       call->kind != CALL_POLL;
}

/* Messages that MSG_MORE keeps back stay there until somebody looks. */
static bool holds_back(const struct run *run, const struct call *call)
{
	return call_sends(call) && call->flags & MSG_MORE && call->size <= COST_MAX &&
	       !run->pending[!call->end];
}

static bool make(struct run *run, const struct call *call)
{
	struct outcome of_unix, of_msg, expected;
	bool alone;

	if (run->held && !is_held_on(run, call))
		settle(run);
	alone = difference_alone(&run->ends, call, &expected);
	if (!alone)
		of_unix = call_make(&unix_side, call);
	of_msg = call_make(&msg_side, call);
	if (!compare(run, call, alone ? NULL : &of_unix, &expected, &of_msg))
		return false;
	if (!take_released(run))
		return false;
	take_error(run);
	if (holds_back(run, call)) {
		run->held = true;
		run->held_by = call->end;
		return true;
	}
	settle(run);
	return poll_both(run);
}

static bool lacks_room(const struct run *run, const struct call *call)
{
	uint32_t unread = run->ends.end[!call->end].cost;

	if (!call_sends(call) || call->size >= 1U << 20)
		return false;
	return call->size > COST_MAX ? unread > 0 : unread + call_cost(call) > COST_MAX;
}

static bool may_release(const struct run *run, int end)
{
	return run->pending[end] && !run->ends.end[!end].closed;
}

/* Has the other end send until the call that blocks at this one is released. */
static bool release(struct run *run, int end)
{
	for (unsigned i = 0; may_release(run, end) && i < 2 * MESSAGES_MAX; i++) {
		const struct call *blocked = &run->blocked[end];
		struct call call = {.id = 1000 + run->n_made++,
			.kind = CALL_SEND,
			.end = (uint8_t)!end,
			.flags = MSG_DONTWAIT,
			.size = 1};

		if (run->ends.type == LIBMSG_STREAM && blocked->flags & MSG_WAITALL)
			call.size = blocked->size ? blocked->size : 1;
		if (!make(run, &call))
			return false;
	}
	return run->pending[end] ? not_released(run, end) : true;
}

static bool ends_the_wait(const struct call *call)
{
	return call_receives(call) || call->kind == CALL_POLL || call->kind == CALL_CLOSE;
}

static bool step(struct run *run, const struct call *call)
{
	struct call other = *call;

	/* A thread that is released by the first of several messages may see the others, or not. */
	if (run->pending[!call->end] && call->kind == CALL_SENDMMSG)
		other.n = 1;
	if (run->ends.end[call->end].closed || lacks_room(run, call))
		return true;
	if (run->pending[call->end] && ends_the_wait(call) && !release(run, call->end))
		return false;
	if (call->blocks)
		return start_blocked(run, call);
	if (call->kind == CALL_POLL && !room_is_sure(run, call->end))
		other.events &= ~POLLOUT;
	return make(run, &other);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Nothing is lost, and nothing comes twice: all that lies unread is read. */
static bool drain(struct run *run, int end)
{
	uint32_t left;

	do {
		struct call call = {.id = 1000 + run->n_made++,
			.kind = CALL_RECVMSG,
			.end = (uint8_t)end,
			.n_pieces = 1,
			.flags = MSG_DONTWAIT,
			.size = 1000};

		if (run->ends.end[end].closed)
			return true;
		left = run->ends.end[end].n_unread;
		if (!make(run, &call))
			return false;
	} while (left);
	return true;
}

static bool finish(struct run *run, uint64_t seed)
{
	for (int end = 0; end < 2; end++) {
		if (run->pending[end] && !release(run, end))
			return false;
	}
	if (!drain(run, 0) || !drain(run, 1))
		return false;
	for (int i = 0; i < 2; i++) {
		struct call call = {
			.kind = CALL_CLOSE, .end = (uint8_t)((uint64_t)i ^ (seed >> 3 & 1))};

		if (!step(run, &call))
			return false;
	}
	return true;
}

/* After a failure: whatever blocks is ended, whatever is open is closed. */
static void abandon(struct run *run)
{
	for (int end = 0; end < 2; end++) {
		if (run->ends.end[end].closed)
			continue;
		if (run->pending[end]) {
			struct outcome outcome;

			(void)unix_side.shutdown(end, SHUT_RDWR);
			(void)msg_side.shutdown(end, SHUT_RDWR);
			outcome = blocked_end(threads[SIDE_UNIX][end]);
			outcome_free(&outcome);
			outcome = blocked_end(threads[SIDE_MSG][end]);
			outcome_free(&outcome);
		}
		(void)unix_side.close(end);
		(void)msg_side.close(end);
	}
}

bool sequence_run(const struct sequence *sequence, FILE *file, char why[256])
{
	struct run run = {.ends = {.type = sequence->type}, .trace = file, .why = why};
	const bool closed[2] = {true, true};
	bool agree = true;

	if (sequence->full)
		return full_run(sequence, file, why);
	why[0] = '\0';
	sides_open(sequence->type);
	for (uint32_t i = 0; agree && i < sequence->n_calls; i++)
		agree = step(&run, &sequence->calls[i]);
	agree = agree && finish(&run, sequence->seed);
	if (!agree)
		abandon(&run);
	sides_settle(closed);
	return agree;
}
