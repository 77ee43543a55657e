/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The context, the lock and the thread of process.h. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "compat/xenvchan/process.h"

/* msgd answers in no time; while it is being started again, a vchan waits for it so long. */
#define OPEN_MS 5000
/* Events of one round, between which other threads may take the lock. */
#define ROUND 32

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on CLOCK_MONOTONIC */
	pthread_mutex_t opening;
	int cancel_state; /* of the thread that holds the lock, before it took it */
	struct msg_ctx *ctx;
	void (*on_fork)(void);
} process = {.lock = PTHREAD_MUTEX_INITIALIZER, .opening = PTHREAD_MUTEX_INITIALIZER};
static pthread_once_t once = PTHREAD_ONCE_INIT;

void process_lock(void)
{
	int state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	(void)pthread_mutex_lock(&process.lock);
	process.cancel_state = state;
}

bool process_lock_within(int ms)
{
	struct timespec until;
	int state;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	if (pthread_mutex_timedlock(&process.lock, &until) != 0) {
		(void)pthread_setcancelstate(state, NULL);
		return false;
	}
	process.cancel_state = state;
	return true;
}

void process_unlock(void)
{
	int state = process.cancel_state;

	(void)pthread_mutex_unlock(&process.lock);
	(void)pthread_setcancelstate(state, NULL);
}

void process_changed(void)
{
	(void)pthread_cond_broadcast(&process.changed);
}

int64_t process_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void process_wait(int64_t until_ms)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
	int state = process.cancel_state; /* of this thread; others take the lock meanwhile */

	(void)pthread_cond_timedwait(&process.changed, &process.lock, &until);
	process.cancel_state = state;
}

/* ---- fork ------------------------------------------------------------------------------- */

static void cond_init(void)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&process.changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static void before_fork(void)
{
	(void)pthread_mutex_lock(&process.opening);
	process_lock();
}

static void after_fork_parent(void)
{
	process_unlock();
	(void)pthread_mutex_unlock(&process.opening);
}

/* The thread is the parent's, and so is the context: libmsg frees nothing of it in a child. */
static void after_fork_child(void)
{
	process.ctx = NULL;
	cond_init(); /* threads that do not exist here may have waited */
	if (process.on_fork)
		process.on_fork();
	after_fork_parent();
}

void process_on_fork(void (*fn)(void))
{
	process.on_fork = fn;
}

static void prepare(void)
{
	cond_init();
	(void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* ---- the thread ------------------------------------------------------------------------- */

static void round_locked(struct msg_ctx *ctx)
{
	struct msg_event event;

	/* One at a time: what is done for one may close the sockets of others. */
	for (int i = 0; i < ROUND && msg_ctx_dispatch(ctx, &event, 1) == 1; i++) {
		struct watcher *watcher = msg_userdata(event.sock);

		if (watcher)
			watcher->fn(watcher, event.sock, event.revents);
	}
}

static void *serve(void *arg)
{
	struct msg_ctx *ctx = arg;
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};

	for (;;) {
		if (poll(&fd, 1, -1) < 0)
			continue; /* lack of the kernel's memory, for signals are blocked */
		process_lock();
		round_locked(ctx);
		process_unlock();
	}
	return NULL;
}

static int thread_start(struct msg_ctx *ctx)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int r;

	if (msg_ctx_fd(ctx) < 0)
		return -1;
	(void)sigfillset(&all);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, &attr, serve, ctx);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	errno = r;
	return r ? -1 : 0;
}

static struct msg_ctx *ctx_open(void)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, OPEN_MS);
	int error;

	if (!ctx || thread_start(ctx) == 0)
		return ctx;
	error = errno;
	msg_ctx_close(ctx);
	errno = error;
	return NULL;
}

struct msg_ctx *process_ctx(void)
{
	struct msg_ctx *ctx;
	int state;

	(void)pthread_once(&once, prepare);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	(void)pthread_mutex_lock(&process.opening);
	if (!process.ctx)
		process.ctx = ctx_open();
	ctx = process.ctx;
	(void)pthread_mutex_unlock(&process.opening);
	(void)pthread_setcancelstate(state, NULL);
	return ctx;
}
