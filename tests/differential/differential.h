/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmsg against AF_UNIX: the same calls are made on a socketpair and on a channel, in lockstep,
 * and their outcomes compared. A sequence of calls follows from its seed alone. Where libmsg is
 * meant to differ, differences.c says so: it turns what the socketpair answered into what libmsg
 * must answer.
 */
#ifndef TESTS_DIFFERENTIAL_DIFFERENTIAL_H
#define TESTS_DIFFERENTIAL_DIFFERENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "libmsg/libmsg.h"

/* ---- a sequence (sequence.c) ----------------------------------------------------------------- */

enum call_kind {
	CALL_SEND,
	CALL_SENDMSG,
	CALL_SENDMMSG,
	CALL_RECV,
	CALL_RECVMSG,
	CALL_RECVMMSG,
	CALL_POLL,
	CALL_SHUTDOWN,
	CALL_CLOSE,
	N_CALL_KINDS,
};

#define MESSAGES_MAX 4U
#define PIECES_MAX   4U

struct call {
	uint32_t id; /* the bytes that it sends follow from it; it stays when others are dropped */
	enum call_kind kind;
	uint8_t end;	     /* 0 has connected, 1 has accepted */
	bool blocks;	     /* a receive or a poll in a thread of its own, until it is released */
	uint8_t n, n_pieces; /* messages of *mmsg; pieces of each message */
	int flags;
	int how;       /* of shutdown */
	short events;  /* of poll */
	uint32_t size; /* bytes of each message */
};

#define CALLS_MAX 24U

struct sequence {
	uint64_t seed;
	int type;  /* LIBMSG_STREAM and so on */
	bool full; /* without regard for room: see full.c */
	uint32_t n_calls;
	struct call calls[CALLS_MAX];
};

struct sequence sequence_make(uint64_t seed, int type);
void sequence_print(FILE *file, const struct sequence *sequence);
void call_print(FILE *file, const struct call *call);
const char *type_name(int type);

static inline bool call_sends(const struct call *call)
{
	return call->kind <= CALL_SENDMMSG;
}

static inline bool call_receives(const struct call *call)
{
	return call->kind >= CALL_RECV && call->kind <= CALL_RECVMMSG;
}

static inline unsigned call_messages(const struct call *call)
{
	return call->kind == CALL_SENDMMSG || call->kind == CALL_RECVMMSG ? call->n : 1;
}

/* ---- the outcome of a call (sides.c) --------------------------------------------------------- */

struct outcome {
	long r;
	int error; /* if r is -1 */
	short revents;
	struct {
		uint32_t len;
		int flags;
	} messages[MESSAGES_MAX]; /* as far as the call says that they are there */
	uint8_t *data;		  /* owned: all that the call may have written to */
	size_t size;
};

void outcome_free(struct outcome *outcome);
void outcome_print(FILE *file, const struct call *call, const struct outcome *outcome);

/* The two ends of a socketpair or of a channel. */
struct side {
	const char *name;
	ssize_t (*send)(int end, const void *data, size_t len, int flags);
	ssize_t (*recv)(int end, void *data, size_t len, int flags);
	ssize_t (*sendmsg)(int end, const struct msghdr *message, int flags);
	ssize_t (*recvmsg)(int end, struct msghdr *message, int flags);
	int (*sendmmsg)(int end, struct mmsghdr *messages, unsigned n, int flags);
	int (*recvmmsg)(int end, struct mmsghdr *messages, unsigned n, int flags);
	/* ms < 0: for ever */
	int (*poll)(int end, short events, int ms, short *ret_revents);
	int (*shutdown)(int end, int how);
	int (*close)(int end);
};

extern const struct side unix_side, msg_side;

void sides_start(void);
void sides_stop(void);
/* A socketpair and a channel of this type. */
void sides_open(int type);
/* A call that should end does, within so many ms. */
void sides_set_patience(int ms);
/* Lets out all that MSG_MORE kept back. */
void sides_push(const bool closed[2]);
/*
 * Nothing is on its way between the two ends: no frame that an end was told of lies in a ring or
 * waits to be put into one, and no question to msgd is unanswered. Only calls change anything now,
 * as long as all threads sleep.
 */
bool sides_are_quiet(void);
/* Each end does what it was told of. */
void sides_look(void);
/* Until all is quiet; no thread is in a call. */
void sides_settle(const bool closed[2]);
/* Whether a thread in this system call, with this first argument, waits in libmsg. */
bool msg_waits(int end, long number, uintptr_t arg);
/* Takes the error that waits at an end of the socketpair: it is told once only there. */
int unix_take_error(int end);
int64_t msg_drops(int end);

struct outcome call_make(const struct side *side, const struct call *call);

/* ---- calls in other threads (threads.c) ------------------------------------------------------ */

struct blocked; /* a thread for calls at one end of one side */

struct blocked *blocked_new(const struct side *side);
void blocked_free(struct blocked *blocked);
/* Returns when the thread sleeps in the call, or the call is done. */
void blocked_start(struct blocked *blocked, const struct call *call);
/* Whether the call has ended, or is about to; if not, the thread sleeps in it. */
bool blocked_is_done(struct blocked *blocked);
/* Waits for the end of the call. */
struct outcome blocked_end(struct blocked *blocked);

/* ---- knowledge of the two ends (differences.c) ----------------------------------------------- */

#define UNREAD_MAX 512U

/* Of each end, by what the socketpair answered. */
struct end_state {
	bool shut_read, shut_write, closed;
	bool reset;		     /* the other end closed and had not read all */
	uint32_t unread[UNREAD_MAX]; /* lengths of messages, or of pieces of a stream */
	uint32_t n_unread;
	uint32_t cost; /* of these, in credit */
};

struct ends {
	int type;
	struct end_state end[2];
};

/* Takes the outcome of a call on the socketpair into account. */
void ends_note(struct ends *ends, const struct call *call, const struct outcome *outcome);
/* Credit that a call may need, so as not to find room missing. */
uint32_t call_cost(const struct call *call);

/*
 * Of an outcome on the socketpair makes that which libmsg must have, by the table of differences.
 * `ends` as they were before the call was made.
 */
void differences_apply(const struct ends *ends, const struct call *call, struct outcome *outcome);
/* The socketpair cannot be asked: the difference's rule alone says what libmsg answers. */
bool difference_alone(const struct ends *ends, const struct call *call, struct outcome *ret);
/* True: each rule was needed. */
bool differences_print_counts(FILE *file);
/* Whether the table stands in the manual page. Says what is missing. */
bool differences_check_manual(const char *path);

/* ---- running (run.c, full.c) ----------------------------------------------------------------- */

/* True: both sides agree. Else `why` gets the reason. trace: gets each call and its outcomes. */
bool sequence_run(const struct sequence *sequence, FILE *trace, char why[256]);
bool full_run(const struct sequence *sequence, FILE *trace, char why[256]);
void run_start(void);
void run_stop(void);

/* ---- making a failing sequence smaller (minimise.c) ------------------------------------------ */

/* The smallest sequence found that fails, too. */
struct sequence sequence_minimise(const struct sequence *failing);

#endif
