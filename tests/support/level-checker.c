/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See level-checker.h. One lock guards all that is known; no call that may block is made under it.
 */
#include "tests/support/level-checker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/hash.h"

/* Sockets that one call looks at. */
#define LOOKS 8
/* So often room may come, and go again before it is told of. */
#define TRIES 20
/* And so many milliseconds an event may take: the peer may have lost its CPU before it sends it. */
#define EVENT_MS 10000
/* Bytes for which POLLOUT promises room: a quarter of the smallest ring, and something less. */
#define ROOM 800U
/* Bytes of the ring that a call may use, beside what it sends: a frame or two without payload. */
#define CALL_COST 64U

enum kind { KIND_CHANNEL, KIND_LISTENER, KIND_WATCH };

struct known_ctx {
	struct msg_ctx *ctx; /* key */
	int fd;		     /* msg_ctx_fd; -1: not asked for */
	unsigned n_inside;   /* threads in a call that may use a ring */
	uint64_t used;	     /* bytes of rings, by all calls so far */
	uint64_t taken;	     /* when the last call for a socket of it began or ended */
	unsigned n_idle; /* dispatches in a row without an event, though the descriptor said so */
	TAILQ_HEAD(known_list, known) socks; /* a socket that is looked at becomes the last */
	UT_hash_handle hh;
};

struct known {
	struct msg_sock *sock; /* key */
	struct known_ctx *of;
	enum kind kind;
	unsigned n_taking; /* threads in a call that may take what there is */
	uint64_t taken;	   /* when the last such call began or ended, by the clock */
	bool owed;	   /* POLLOUT, by msg_ctx_dispatch: a send has failed with EAGAIN */
	bool promised;	   /* of a listener: a channel waits; else: there is room ... */
	uint64_t promise;  /* ... as long as the clock, or of->used, stands there */
	TAILQ_ENTRY(known) entry;
	UT_hash_handle hh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known *socks;
static struct known_ctx *ctxs;
static uint64_t clock_now; /* begins and ends of calls that take something */

/* ---- the lock ------------------------------------------------------------------------ */

static void lock_take(void)
{
	(void)pthread_mutex_lock(&lock);
}

static void lock_drop(void)
{
	(void)pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void keep_over_fork(void)
{
	(void)pthread_atfork(lock_take, lock_drop, lock_drop);
}

struct locked {
	int error, cancel; /* as they were */
};

static struct locked locked_begin(void)
{
	struct locked locked = {.error = errno, .cancel = cancel_off()};

	lock_take();
	return locked;
}

static void locked_end(const struct locked *locked)
{
	lock_drop();
	cancel_restore(&locked->cancel);
	errno = locked->error;
}

/* Until the scope ends: the lock is held, the thread is not cancelled; errno is kept. */
#define LOCKED                                                                                     \
	__attribute__((cleanup(locked_end), unused)) const struct locked locked_ = locked_begin()

static _Noreturn void untrue(const char *call, const void *object, const char *what)
{
	(void)fprintf(stderr, "level-checker: %s: %p: %s\n", call, object, what);
	abort();
}

/* ---- contexts and sockets ------------------------------------------------------------ */

static struct known *find(struct msg_sock *sock)
{
	struct known *known;

	HASH_FIND_PTR(socks, &sock, known);
	return known;
}

/* NULL: out of memory. */
static struct known_ctx *ctx_find(struct msg_ctx *ctx)
{
	struct known_ctx *of;

	HASH_FIND_PTR(ctxs, &ctx, of);
	if (of)
		return of;
	of = calloc(1, sizeof(*of));
	if (!of)
		return NULL;
	of->ctx = ctx;
	of->fd = -1;
	TAILQ_INIT(&of->socks);
	HASH_ADD_PTR(ctxs, ctx, of);
	if (hash_added(&of->hh))
		return of;
	free(of);
	return NULL;
}

static void forget(struct known *known)
{
	TAILQ_REMOVE(&known->of->socks, known, entry);
	HASH_DEL(socks, known);
	free(known);
}

static struct msg_sock *learn(struct msg_sock *sock, struct known_ctx *of, enum kind kind)
{
	struct known *known = sock && of ? calloc(1, sizeof(*known)) : NULL;

	if (!known)
		return sock;
	*known = (struct known){.sock = sock, .of = of, .kind = kind, .taken = ++clock_now};
	HASH_ADD_PTR(socks, sock, known);
	if (hash_added(&known->hh))
		TAILQ_INSERT_TAIL(&of->socks, known, entry);
	else
		free(known);
	return sock;
}

/* ---- calls that take something, or use room ------------------------------------------ */

static void enter(struct known_ctx *of, size_t n_bytes)
{
	of->n_inside++;
	of->used += n_bytes + n_bytes / 16 + CALL_COST;
}

/* The room for so many bytes was promised, and nobody can have used it. */
static bool room_is_promised(const struct known *known, size_t n_bytes)
{
	return !known->of->n_inside &&
	       known->of->used - known->promise + n_bytes + CALL_COST <= ROOM;
}

static bool is_promised(const struct known *known, size_t n_bytes)
{
	if (!known->promised)
		return false;
	if (known->kind == KIND_LISTENER)
		return !known->n_taking && known->promise == known->taken;
	return known->kind == KIND_CHANNEL && room_is_promised(known, n_bytes);
}

/* A call for one socket. */
struct taking {
	const char *call;
	struct msg_sock *sock;
	bool promised;	      /* it must not fail with EAGAIN ... */
	uint64_t began, used; /* ... unless the clock, or the context's sum, moves on */
};

static struct taking take_begin(const char *call, struct msg_sock *sock, size_t n_bytes)
{
	LOCKED;
	struct known *known = find(sock);
	struct taking taking = {.call = call, .sock = sock};

	if (!known)
		return taking;
	taking.promised = is_promised(known, n_bytes);
	known->n_taking++;
	taking.began = known->taken = known->of->taken = ++clock_now;
	enter(known->of, n_bytes);
	taking.used = known->of->used;
	return taking;
}

/* It failed with EAGAIN. Another thread's call may have been quicker. */
static void promise_check(const struct taking *taking, const struct known *known)
{
	if (!taking->promised || known->n_taking > 1 || known->taken != taking->began)
		return;
	if (known->kind == KIND_LISTENER)
		untrue(taking->call, taking->sock, "EAGAIN, after POLLIN");
	if (known->of->n_inside == 1 && known->of->used == taking->used)
		untrue(taking->call, taking->sock, "EAGAIN, after POLLOUT");
}

static void take_end(const struct taking *taking, bool failed)
{
	bool again = failed && errno == EAGAIN;
	LOCKED;
	struct known *known = find(taking->sock);

	if (!known)
		return;
	if (again)
		promise_check(taking, known);
	known->owed |= again && known->kind == KIND_CHANNEL;
	known->n_taking--;
	known->taken = known->of->taken = ++clock_now;
	known->of->n_inside--;
}

/* A call for several sockets, or for none yet. NULL: of nothing that is known. */
static struct known_ctx *enter_ctx(struct msg_ctx *ctx, const struct msg_sock *sock)
{
	LOCKED;
	const struct known *known = find((struct msg_sock *)(uintptr_t)sock);
	struct known_ctx *of = ctx ? ctx_find(ctx) : known ? known->of : NULL;

	if (of)
		enter(of, 0);
	return of;
}

static void leave_ctx(struct known_ctx *of)
{
	if (of)
		of->n_inside--;
}

/* ---- the truth ----------------------------------------------------------------------- */

enum truth { UNKNOWN, NOTHING, MESSAGE, END, ERROR };

static bool is_taken(const struct known *known, uint64_t since)
{
	return known->n_taking || known->taken > since;
}

/* A listener cannot be peeked at; nor a socket without a channel: that would take its error. */
static enum truth look(const struct known *known)
{
	struct msg_peer peer = {.size = sizeof(peer.size)};
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (known->kind == KIND_LISTENER)
		return UNKNOWN;
	if (known->kind == KIND_CHANNEL && msg_getpeer(known->sock, &peer) < 0)
		return UNKNOWN;
	r = __real_msg_recvmsg(known->sock, &message, MSG_PEEK | MSG_DONTWAIT);
	if (r >= 0)
		return r > 0 || (message.msg_flags & MSG_EOR) ? MESSAGE : END;
	return errno == EAGAIN ? NOTHING : errno == EBADFD ? UNKNOWN : ERROR;
}

static bool is_strict(struct msg_sock *sock)
{
	int64_t transport;

	return msg_getopt(sock, LIBMSG_TRANSPORT, &transport) < 0 ||
	       transport == LIBMSG_TRANSPORT_ARGO_STRICT;
}

/*
 * An event of a call that began at `since` promises something, unless another thread was quicker.
 * Over argo-strict POLLOUT may come too early.
 */
static void promise(struct known *known, short revents, uint64_t since)
{
	known->promised = false;
	if (revents & (POLLERR | POLLHUP))
		return;
	if (known->kind == KIND_LISTENER && (revents & POLLIN)) {
		known->promised = !is_taken(known, since);
		known->promise = known->taken;
	} else if (known->kind == KIND_CHANNEL && (revents & POLLOUT) && !is_strict(known->sock)) {
		known->promised = !known->of->n_inside && known->of->taken <= since;
		known->promise = known->of->used;
	}
}

/* POLLIN was reported by a call that began at `since`. A name may have come and gone meanwhile. */
static void readable_check(const char *call, const struct known *known, uint64_t since)
{
	if (known->kind != KIND_WATCH && !is_taken(known, since) && look(known) == NOTHING &&
		!is_taken(known, since))
		untrue(call, known->sock, "readable, with nothing to read");
}

/* ---- msg_poll ------------------------------------------------------------------------ */

/* POLLIN was not reported: something that came after that is reported now. */
static void silent_check(const struct known *known, uint64_t since)
{
	struct msg_pollfd again = {.sock = known->sock, .events = POLLIN};
	enum truth truth = is_taken(known, since) ? UNKNOWN : look(known);

	if (truth == UNKNOWN || truth == NOTHING || __real_msg_poll(&again, 1, 0) < 0)
		return;
	if (!(again.revents & POLLIN) && !is_taken(known, since))
		untrue("msg_poll", known->sock, "silent, with something to read");
}

static void poll_check(const struct msg_pollfd *fd, uint64_t since)
{
	struct known *known = fd->sock ? find(fd->sock) : NULL;

	if (!known)
		return;
	promise(known, fd->revents, since);
	if (!(fd->events & POLLIN) || (fd->revents & POLLERR))
		return;
	if (fd->revents & POLLIN)
		readable_check("msg_poll", known, since);
	else
		silent_check(known, since);
}

static uint64_t call_begin(void)
{
	LOCKED;

	return clock_now;
}

int __wrap_msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	struct known_ctx *of = enter_ctx(NULL, n ? fds[0].sock : NULL);
	uint64_t since = call_begin();
	int r = __real_msg_poll(fds, n, timeout_ms);
	LOCKED;

	leave_ctx(of);
	/* A part of a long array, from anywhere. */
	for (size_t i = 0; r >= 0 && i < n && i < LOOKS; i++)
		poll_check(&fds[(since + i) % n], since);
	return r;
}

/* ---- msg_ctx_dispatch ---------------------------------------------------------------- */

struct dispatch {
	struct known_ctx *of;
	struct msg_event *events;
	int n, count; /* places, events */
	uint64_t since;
};

static bool is_readable(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	return poll(&pollfd, 1, 0) == 1;
}

static bool is_reported(const struct dispatch *d, const struct msg_sock *sock)
{
	for (int i = 0; i < d->count; i++) {
		if (d->events[i].sock == sock)
			return true;
	}
	return false;
}

static bool wants_input(struct msg_sock *sock)
{
	int64_t events;

	return msg_getopt(sock, LIBMSG_EVENTS, &events) == 0 && (events & POLLIN);
}

static void note_paid(const struct dispatch *d)
{
	for (int i = 0; i < d->count; i++) {
		struct known *known = find(d->events[i].sock);

		if (known && (d->events[i].revents & POLLOUT))
			known->owed = false;
	}
}

/*
 * Events of one more call are the program's, too; each socket has one. True: that call had room for
 * all that there are.
 */
static bool dispatch_more(struct dispatch *d)
{
	struct msg_event *more = d->events + d->count;
	int room = d->n - d->count, n = __real_msg_ctx_dispatch(d->of->ctx, more, room);

	for (int i = 0; i < n; i++) {
		struct msg_event event = more[i];
		int at = 0;

		while (at < d->count && d->events[at].sock != event.sock)
			at++;
		if (at < d->count)
			d->events[at].revents |= event.revents;
		else
			d->events[d->count++] = event;
	}
	note_paid(d);
	return n < room;
}

/* A socket that was not reported has no message; what came after that is reported now. */
static void unreported_check(struct dispatch *d, const struct known *known)
{
	if (is_taken(known, d->since) || is_reported(d, known->sock) || d->count == d->n ||
		!wants_input(known->sock) || look(known) != MESSAGE)
		return;
	if (d->of->fd >= 0 && !is_readable(d->of->fd) && !is_taken(known, d->since))
		untrue("msg_ctx_fd", known->sock, "silent, with a socket that has a message");
	if (dispatch_more(d) && !is_reported(d, known->sock) && !is_taken(known, d->since))
		untrue("msg_ctx_dispatch", known->sock, "silent, with something to read");
}

static bool has_room(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};

	return __real_msg_poll(&fd, 1, 0) == 1 && fd.revents == POLLOUT;
}

/*
 * A socket to which POLLOUT is owed has no room. Messages that were kept back may take room that
 * came, but hardly as often as it is looked at here.
 */
static void owed_check(struct dispatch *d, const struct known *known)
{
	for (int i = 0; i < TRIES + EVENT_MS; i++) {
		if (i >= TRIES)
			(void)usleep(1000);
		if (!known->owed || is_taken(known, d->since) || d->of->n_inside ||
			d->count == d->n || !has_room(known->sock) || !dispatch_more(d))
			return;
	}
	if (known->owed)
		untrue("msg_ctx_dispatch", known->sock,
			"silent, with room for a send that has failed");
}

static void reported_check(const struct dispatch *d, const struct msg_event *event)
{
	struct known *known = find(event->sock);

	if (!known)
		return;
	promise(known, event->revents, d->since);
	if (!(event->revents & POLLIN) || (event->revents & POLLERR))
		return;
	readable_check("msg_ctx_dispatch", known, d->since);
	/* An end may be told once; a message is told until it is read. */
	if (d->of->fd >= 0 && !(event->revents & (POLLHUP | POLLRDHUP)) &&
		!is_readable(d->of->fd) && !is_taken(known, d->since))
		untrue("msg_ctx_fd", known->sock, "silent, with a socket that was reported");
}

static void idle_check(struct dispatch *d)
{
	if (d->count || d->of->fd < 0 || !is_readable(d->of->fd))
		d->of->n_idle = 0;
	else if (++d->of->n_idle > LEVEL_CHECKER_PATIENCE)
		untrue("msg_ctx_fd", d->of->ctx, "readable for ever, with nothing to report");
}

static void dispatch_check(struct dispatch *d)
{
	int n = d->count;

	note_paid(d);
	for (int i = 0; i < n && i < LOOKS; i++)
		reported_check(d, &d->events[(d->since + (uint64_t)i) % (uint64_t)n]);
	for (int i = 0; i < LOOKS && d->count < d->n; i++) {
		struct known *known = TAILQ_FIRST(&d->of->socks);

		if (!known)
			break;
		TAILQ_REMOVE(&d->of->socks, known, entry);
		TAILQ_INSERT_TAIL(&d->of->socks, known, entry);
		unreported_check(d, known);
		owed_check(d, known);
	}
	idle_check(d);
}

int __wrap_msg_ctx_dispatch(struct msg_ctx *ctx, struct msg_event *events, int n)
{
	struct known_ctx *of = enter_ctx(ctx, NULL);
	uint64_t since = call_begin();
	int r = __real_msg_ctx_dispatch(ctx, events, n);
	LOCKED;
	struct dispatch d = {.of = of, .events = events, .n = n, .count = r, .since = since};

	leave_ctx(of);
	if (r < 0 || !of)
		return r;
	dispatch_check(&d);
	return d.count;
}

/* ---- the other calls ----------------------------------------------------------------- */

int __wrap_msg_ctx_fd(struct msg_ctx *ctx)
{
	int fd = __real_msg_ctx_fd(ctx);
	LOCKED;
	struct known_ctx *of = ctx_find(ctx);

	if (of)
		of->fd = fd;
	return fd;
}

void __wrap_msg_ctx_close(struct msg_ctx *ctx)
{
	if (ctx) {
		LOCKED;
		struct known_ctx *of = ctx_find(ctx);

		while (of && !TAILQ_EMPTY(&of->socks))
			forget(TAILQ_FIRST(&of->socks));
		if (of)
			HASH_DEL(ctxs, of);
		free(of);
	}
	__real_msg_ctx_close(ctx);
}

/* A call that makes a socket. */
static struct msg_sock *made(struct known_ctx *of, struct msg_sock *sock, enum kind kind)
{
	LOCKED;

	leave_ctx(of);
	return learn(sock, of, kind);
}

struct msg_sock *__wrap_msg_listen(
	struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags)
{
	struct known_ctx *of = enter_ctx(ctx, NULL);

	return made(of, __real_msg_listen(ctx, name, type, backlog, flags), KIND_LISTENER);
}

struct msg_sock *__wrap_msg_connect(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags, int timeout_ms)
{
	struct known_ctx *of = enter_ctx(ctx, NULL);

	return made(of, __real_msg_connect(ctx, address, type, flags, timeout_ms), KIND_CHANNEL);
}

struct msg_sock *__wrap_msg_watch(struct msg_ctx *ctx, const char *glob)
{
	struct known_ctx *of = enter_ctx(ctx, NULL);

	return made(of, __real_msg_watch(ctx, glob), KIND_WATCH);
}

struct msg_sock *__wrap_msg_accept(struct msg_sock *sock, unsigned flags)
{
	struct known_ctx *of = enter_ctx(NULL, sock);
	struct taking taking = take_begin("msg_accept", sock, 0);
	struct msg_sock *accepted = __real_msg_accept(sock, flags);

	take_end(&taking, !accepted);
	return made(of, accepted, KIND_CHANNEL);
}

static void leave(struct msg_sock *sock)
{
	if (sock) {
		LOCKED;
		struct known *known = find(sock);

		if (known) {
			known->of->used += CALL_COST;
			forget(known);
		}
	}
}

int __wrap_msg_close(struct msg_sock *sock)
{
	leave(sock);
	return __real_msg_close(sock);
}

/* The socket is libmsg's own, and its events are not for the application. */
int __wrap_msg_sock_fd(struct msg_sock *sock)
{
	leave(sock);
	return __real_msg_sock_fd(sock);
}

int __wrap_msg_sock_serve(struct msg_sock *sock, int fd)
{
	leave(sock);
	return __real_msg_sock_serve(sock, fd);
}

/* The bytes that a send may put into a ring. */
static size_t length(const struct msghdr *message)
{
	size_t len = 0;

	if (message->msg_iovlen > 8)
		return ROOM; /* perhaps more than there are */
	for (size_t i = 0; i < message->msg_iovlen; i++)
		len += message->msg_iov[i].iov_len;
	return len;
}

/* The call, between its begin and its end; may_fail: EAGAIN breaks no promise. */
#define TAKING(name, n_bytes, may_fail, ...)                                                       \
	struct taking taking = take_begin(#name, sock, n_bytes);                                   \
	__typeof__(__real_##name(__VA_ARGS__)) r = __real_##name(__VA_ARGS__);                     \
                                                                                                   \
	take_end(&taking, !(may_fail) && r < 0);                                                   \
	return r

int __wrap_msg_shutdown(struct msg_sock *sock, int how)
{
	TAKING(msg_shutdown, 0, true, sock, how);
}

ssize_t __wrap_msg_send(struct msg_sock *sock, const void *data, size_t len, int flags)
{
	TAKING(msg_send, len, false, sock, data, len, flags);
}

ssize_t __wrap_msg_sendmsg(struct msg_sock *sock, const struct msghdr *message, int flags)
{
	TAKING(msg_sendmsg, length(message), false, sock, message, flags);
}

int __wrap_msg_sendmmsg(struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags)
{
	TAKING(msg_sendmmsg, ROOM, true, sock, messages, n, flags);
}

ssize_t __wrap_msg_recv(struct msg_sock *sock, void *data, size_t len, int flags)
{
	TAKING(msg_recv, 0, true, sock, data, len, flags);
}

ssize_t __wrap_msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags)
{
	TAKING(msg_recvmsg, 0, true, sock, message, flags);
}

int __wrap_msg_recvmmsg(
	struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags, int timeout_ms)
{
	TAKING(msg_recvmmsg, 0, true, sock, messages, n, flags, timeout_ms);
}

ssize_t __wrap_msg_recv_take(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf)
{
	TAKING(msg_recv_take, 0, true, sock, flags, ret_data, ret_buf);
}
