/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The differences that are meant, one row each, which libmsg(3) shows as a table. A row with a rule
 * makes of a socketpair's outcome the one that libmsg must have: nothing else is let through. The
 * rows without a rule are about what the sequences leave out, or what full.c looks at.
 */
#include "tests/differential/differential.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/must.h"

#define CHARGE	     32U    /* of each message, in credit */
#define DATAGRAM_MAX 65536U /* libmsg.h, msg_send */

/* ---- knowledge of the ends ------------------------------------------------------------------- */

uint32_t call_cost(const struct call *call)
{
	return call_messages(call) * (call->size + CHARGE);
}

static void unread_add(struct end_state *end, uint32_t len)
{
	must(end->n_unread < UNREAD_MAX);
	end->unread[end->n_unread++] = len;
	end->cost += len + CHARGE;
}

static void unread_drop_first(struct end_state *end)
{
	end->cost -= end->unread[0] + CHARGE;
	memmove(end->unread, end->unread + 1, --end->n_unread * sizeof(end->unread[0]));
}

static void unread_take_bytes(struct end_state *end, size_t n)
{
	while (n) {
		uint32_t part;

		must(end->n_unread);
		part = (uint32_t)min_u64(n, end->unread[0]);
		end->unread[0] -= part;
		end->cost -= part;
		n -= part;
		if (!end->unread[0])
			unread_drop_first(end);
	}
}

/* How many of the messages that a receive has returned were there: the end is none. */
static long n_real(const struct ends *ends, const struct call *call, const struct outcome *outcome)
{
	uint32_t n_unread = ends->end[call->end].n_unread;
	long n = 0;

	if (ends->type == LIBMSG_STREAM) {
		while (n < outcome->r && outcome->messages[n].len)
			n++;
		return n;
	}
	return !n_unread || call->flags & MSG_PEEK ? (n_unread ? outcome->r : 0)
						   : (long)min_u64((uint64_t)outcome->r, n_unread);
}

static void note_send(struct ends *ends, const struct call *call, const struct outcome *outcome)
{
	struct end_state *to = &ends->end[!call->end];

	for (long i = 0; i < (call->kind == CALL_SENDMMSG ? outcome->r : 1); i++) {
		if (ends->type != LIBMSG_STREAM || call->size)
			unread_add(to, call->size);
	}
}

static void note_receive(struct ends *ends, const struct call *call, const struct outcome *outcome)
{
	struct end_state *end = &ends->end[call->end];
	bool many = call->kind == CALL_RECVMMSG;

	if (call->flags & MSG_PEEK)
		return;
	if (ends->type != LIBMSG_STREAM) {
		for (long n = many ? n_real(ends, call, outcome) : 1; n && end->n_unread; n--)
			unread_drop_first(end);
		return;
	}
	for (long i = 0; many && i < outcome->r; i++)
		unread_take_bytes(end, outcome->messages[i].len);
	if (!many)
		unread_take_bytes(end, (size_t)outcome->r);
}

static void note_close(struct ends *ends, int end)
{
	ends->end[end].closed = true;
	if (ends->type != LIBMSG_DGRAM && ends->end[end].n_unread && !ends->end[!end].closed)
		ends->end[!end].reset = true;
}

void ends_note(struct ends *ends, const struct call *call, const struct outcome *outcome)
{
	struct end_state *end = &ends->end[call->end];

	if (outcome->r < 0)
		return;
	if (call_sends(call))
		note_send(ends, call, outcome);
	else if (call_receives(call))
		note_receive(ends, call, outcome);
	else if (call->kind == CALL_CLOSE)
		note_close(ends, call->end);
	else if (call->kind == CALL_SHUTDOWN) {
		end->shut_read |= call->how != SHUT_WR;
		end->shut_write |= call->how != SHUT_RD;
	}
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool now_fails(struct outcome *outcome, int error)
{
	if (outcome->r == -1 && outcome->error == error)
		return false;
	outcome->r = -1;
	outcome->error = error;
	return true;
}

static bool now_polls(struct outcome *outcome, short revents)
{
	if (outcome->revents == revents)
		return false;
	outcome->revents = revents;
	outcome->r = revents != 0;
	return true;
}

static bool rule_eor(const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	long n;

	if (ends->type == LIBMSG_STREAM || outcome->r < 0)
		return false;
	if (call->kind != CALL_RECVMSG && call->kind != CALL_RECVMMSG)
		return false;
	n = call->kind == CALL_RECVMMSG ? n_real(ends, call, outcome)
					: ends->end[call->end].n_unread > 0;
	for (long i = 0; i < n; i++)
		outcome->messages[i].flags |= MSG_EOR;
	return n > 0;
}

static bool rule_count(const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	long n;

	if (call->kind != CALL_RECVMMSG || outcome->r <= 0)
		return false;
	n = n_real(ends, call, outcome);
	if (n == outcome->r)
		return false;
	outcome->r = n;
	return true;
}

static bool rule_reset(const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	const struct end_state *end = &ends->end[call->end];

	if (!end->reset)
		return false;
	if (call->kind == CALL_POLL)
		return now_polls(outcome, (short)(outcome->revents | POLLERR));
	if (call->kind == CALL_SHUTDOWN)
		return now_fails(outcome, ENOTCONN);
	if (call_sends(call) && outcome->error != EMSGSIZE)
		return now_fails(outcome, ECONNRESET);
	return call_receives(call) && !end->n_unread && now_fails(outcome, ECONNRESET);
}

static bool rule_shut_read(
	const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	const struct end_state *end = &ends->end[call->end], *other = &ends->end[!call->end];

	if (!call_sends(call) || outcome->r >= 0 || outcome->error != EPIPE)
		return false;
	if (!other->shut_read || other->closed || end->shut_write)
		return false;
	outcome->r = call->kind == CALL_SENDMMSG ? call->n : (long)call->size;
	outcome->error = 0;
	for (unsigned i = 0; i < call->n && call->kind == CALL_SENDMMSG; i++)
		outcome->messages[i].len = call->size;
	return true;
}

static bool rule_own_end(const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	const struct end_state *other = &ends->end[!call->end];
	short told = POLLIN | POLLOUT | POLLERR;

	if (call->kind != CALL_POLL)
		return false;
	if (other->closed)
		told |= POLLHUP;
	if (other->closed || other->shut_write)
		told |= POLLRDHUP;
	return now_polls(outcome, outcome->revents & told);
}

static bool rule_datagram_end(
	const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	const struct end_state *end = &ends->end[call->end], *other = &ends->end[!call->end];
	bool told = other->closed || other->shut_write;
	short events = outcome->revents;

	if (ends->type != LIBMSG_DGRAM || !(told || end->shut_read))
		return false;
	if (call_receives(call) && outcome->r < 0 && outcome->error == EAGAIN) {
		outcome->r = outcome->error = 0;
		return true;
	}
	if (call->kind != CALL_POLL)
		return false;
	if (call->events & POLLIN)
		events |= told ? POLLIN | POLLRDHUP : POLLIN;
	return now_polls(outcome, other->closed ? events | POLLHUP : events);
}

static bool alone_datagram_end(
	const struct ends *ends, const struct call *call, struct outcome *ret)
{
	return ends->type == LIBMSG_DGRAM && ends->end[!call->end].closed && call_sends(call) &&
	       now_fails(ret, EPIPE);
}

static bool alone_length(const struct ends *ends, const struct call *call, struct outcome *ret)
{
	return ends->type == LIBMSG_DGRAM && call_sends(call) && call->size > DATAGRAM_MAX &&
	       now_fails(ret, EMSGSIZE);
}

static bool alone_flag(const struct ends *ends, const struct call *call, struct outcome *ret)
{
	return call->flags & MSG_DONTROUTE && now_fails(ret, EINVAL);
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef bool rule_fn(const struct ends *ends, const struct call *call, struct outcome *outcome);

struct difference {
	const char *subject, *of_unix, *of_msg; /* as in libmsg(3) */
	rule_fn *rule;				/* changes an outcome; or NULL */
	rule_fn *alone;				/* makes one without a socketpair; or NULL */
	uint64_t n;				/* outcomes that it changed or made */
};

/* Rules are applied from the first to the last. */
static struct difference differences[] = {
	{"unknown flags", "are ignored.",
		"EINVAL: a flag that has no effect would be taken for one that has.", NULL,
		alone_flag, 0},
	{"longest message", "SO_SNDBUF bounds it.",
		"LIBMSG_SNDBUF and the peer's LIBMSG_MAXMSG do, and a DGRAM has 65,536 bytes at "
		"most, since it is one frame on the wire.",
		NULL, alone_length, 0},
	{"end of a DGRAM",
		"A peer's shutdown or close is not told: receives go on waiting, and "
		"sends fail with ECONNREFUSED, then ENOTCONN.",
		"As of the other types: receives return 0, sends fail with EPIPE, and poll tells, "
		"since a channel of any type is a connection.",
		rule_datagram_end, alone_datagram_end, 0},
	{"recvmmsg at the end", "It counts the end as empty messages.",
		"It returns the messages before the end, or 0: the count is one of messages.",
		rule_count, NULL, 0},
	{"MSG_EOR in msg_flags", "is never set.",
		"is set with each message of SEQPACKET and DGRAM: it tells an empty message from "
		"the end.",
		rule_eor, NULL, 0},
	{"SHUT_RD", "Sends of the peer fail with EPIPE.",
		"The peer is not told, and its messages are thrown away: the protocol tells only "
		"of the end of sending.",
		rule_shut_read, NULL, 0},
	{"POLLHUP, POLLRDHUP", "also tell of this end's own shutdowns.",
		"POLLRDHUP tells that the peer has ended its sending, POLLHUP that it has closed "
		"or "
		"is lost: an end knows what it did itself.",
		rule_own_end, NULL, 0},
	{"ECONNRESET",
		"One call fails with it, of SEQPACKET before what had arrived is read; "
		"then receives return 0, and sends fail with EPIPE.",
		"What had arrived is read, and then every call fails with it (shutdown with "
		"ENOTCONN), and POLLERR stays: what was cut never looks complete, to any thread.",
		rule_reset, NULL, 0},
	{"room", "SO_SNDBUF bounds what lies unread.",
		"LIBMSG_RCVBUF of the receiver does, and less as long as the application has read "
		"little: EAGAIN and partial sends come at other lengths, and POLLOUT at another "
		"time.",
		NULL, NULL, 0},
	{"DGRAM without room", "A send waits, or fails with EAGAIN.",
		"The message is dropped and counted (LIBMSG_DROPS): a sender of datagrams never "
		"waits for a reader.",
		NULL, NULL, 0},
	{"MSG_MORE", "has no effect.",
		"Messages are kept back until a send without it, msg_flush, or a shutdown or "
		"close: one notification does for many.",
		NULL, NULL, 0},
	{"SIGPIPE", "is raised, without MSG_NOSIGNAL.",
		"is never raised: signals belong to the application.", NULL, NULL, 0},
	{"SA_RESTART", "restarts a call that has no time limit.",
		"A signal handler ends a call that sleeps, with EINTR or a part done: a library "
		"cannot tell how the handler was installed.",
		NULL, NULL, 0},
	{"close", "returns at once.",
		"It waits until the ring has taken what was sent, LIBMSG_LINGER at most, and says "
		"if data was lost.",
		NULL, NULL, 0},
	{"pieces past IOV_MAX", "EMSGSIZE.", "EINVAL: EMSGSIZE says that fewer bytes would do.",
		NULL, NULL, 0},
	{"addresses, descriptors", "msg_name and msg_control carry them.",
		"EINVAL: domains share no descriptors.", NULL, NULL, 0},
};

static bool is_too_long(const struct call *call)
{
	return call_sends(call) && call->size >= 1U << 20;
}

bool difference_alone(const struct ends *ends, const struct call *call, struct outcome *ret)
{
	*ret = (struct outcome){0};
	if (is_too_long(call) && !(call->flags & MSG_DONTROUTE))
		return false; /* too long on both sides */
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if (!differences[i].alone || !differences[i].alone(ends, call, ret))
			continue;
		differences[i].n++;
		return true;
	}
	return false;
}

void differences_apply(const struct ends *ends, const struct call *call, struct outcome *outcome)
{
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if (differences[i].rule && differences[i].rule(ends, call, outcome))
			differences[i].n++;
	}
}

bool differences_print_counts(FILE *file)
{
	bool needed = true;

	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		const struct difference *row = &differences[i];

		if (!row->rule && !row->alone)
			continue;
		(void)fprintf(file, "%10llu  %s\n", (unsigned long long)row->n, row->subject);
		needed = needed && row->n;
	}
	return needed;
}

/* ---- the manual page ------------------------------------------------------------------------- */

/* The page's words with one blank between them. */
static char *words_of(const char *path)
{
	static char text[1U << 17];
	FILE *file = fopen(path, "r");
	size_t n = 0;
	int c, last = ' ';

	must(file);
	while ((c = getc(file)) != EOF && n < sizeof(text) - 1) {
		c = c == '\n' || c == '\t' ? ' ' : c;
		if (c != ' ' || last != ' ')
			text[n++] = (char)c;
		last = c;
	}
	text[n] = '\0';
	must(fclose(file) == 0);
	return text;
}

/* A row of the page: T{ subject T} T{ AF_UNIX T} T{ libmsg T} */
static char *row_find(char *at, const struct difference *row)
{
	char want[1024];

	(void)snprintf(want, sizeof(want), "T{ %s T} T{ %s T} T{ %s T}", row->subject, row->of_unix,
		row->of_msg);
	return strstr(at, want);
}

static size_t cells(const char *text)
{
	size_t n = 0;

	while ((text = strstr(text, "T{ "))) {
		text++;
		n++;
	}
	return n;
}

bool differences_check_manual(const char *path)
{
	char *text = words_of(path);

	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if (row_find(text, &differences[i]))
			continue;
		(void)fprintf(
			stderr, "%s has no row \"%s\" as here\n", path, differences[i].subject);
		return false;
	}
	if (cells(text) == 3 * ARRAY_SIZE(differences))
		return true;
	(void)fprintf(stderr, "%s has rows that are not here\n", path);
	return false;
}
