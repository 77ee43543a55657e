/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See asker.h. */
#include "exporter/asker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "exporter/body.h"

struct asker {
	asker_make_fn *make;
	void *make_arg; /* borrowed */
	asker_done_fn *done;
	void *done_arg; /* borrowed */
	pthread_t thread;
	bool runs;
	int done_fd;	     /* owned: readable when there is an answer */
	struct event *event; /* owned */
	pthread_mutex_t lock;
	pthread_cond_t asked;
	/* Under the lock: */
	const struct question *question; /* borrowed; NULL: there is none */
	struct body *body;		 /* owned */
	bool ends;
};

static void *asker_run(void *arg)
{
	struct asker *asker = arg;
	const uint64_t one = 1;
	struct body *body;

	(void)pthread_mutex_lock(&asker->lock);
	while (!asker->ends) {
		if (!asker->question) {
			(void)pthread_cond_wait(&asker->asked, &asker->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&asker->lock);
		body = asker->make(asker->make_arg, asker->question);
		(void)pthread_mutex_lock(&asker->lock);
		asker->question = NULL;
		asker->body = body;
		/* The counter cannot be full: an answer is taken before the next question. */
		if (write(asker->done_fd, &one, sizeof(one)) < 0)
			break;
	}
	(void)pthread_mutex_unlock(&asker->lock);
	return NULL;
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct asker *asker = arg;
	struct body *body;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return;
	(void)pthread_mutex_lock(&asker->lock);
	body = steal_ptr(asker->body);
	(void)pthread_mutex_unlock(&asker->lock);
	asker->done(asker->done_arg, body);
}

/* Signals are the event loop's. */
static int asker_start(struct asker *asker)
{
	sigset_t all, former;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &former);
	r = pthread_create(&asker->thread, NULL, asker_run, asker);
	(void)pthread_sigmask(SIG_SETMASK, &former, NULL);
	asker->runs = r == 0;
	return -r;
}

int asker_new(struct event_base *base, asker_make_fn *make, void *make_arg, asker_done_fn *done,
	void *done_arg, struct asker **ret_asker)
{
	struct asker *asker = calloc(1, sizeof(*asker));
	int r;

	if (!asker)
		return -ENOMEM;
	*asker = (struct asker){
		.make = make, .make_arg = make_arg, .done = done, .done_arg = done_arg};
	(void)pthread_mutex_init(&asker->lock, NULL);
	(void)pthread_cond_init(&asker->asked, NULL);
	asker->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = asker->done_fd < 0 ? -errno : 0;
	if (r == 0) {
		asker->event = event_watch(base, asker->done_fd, on_done, asker);
		r = asker->event ? asker_start(asker) : -ENOMEM;
	}
	if (r < 0) {
		asker_free(asker);
		return r;
	}
	*ret_asker = asker;
	return 0;
}

void asker_ask(struct asker *asker, const struct question *question)
{
	(void)pthread_mutex_lock(&asker->lock);
	asker->question = question;
	(void)pthread_cond_signal(&asker->asked);
	(void)pthread_mutex_unlock(&asker->lock);
}

void asker_free(struct asker *asker)
{
	if (!asker)
		return;
	if (asker->runs) {
		(void)pthread_mutex_lock(&asker->lock);
		asker->ends = true;
		(void)pthread_cond_signal(&asker->asked);
		(void)pthread_mutex_unlock(&asker->lock);
		(void)pthread_join(asker->thread, NULL);
	}
	event_drop(asker->event);
	if (asker->done_fd >= 0)
		(void)close(asker->done_fd);
	body_unref(asker->body);
	(void)pthread_cond_destroy(&asker->asked);
	(void)pthread_mutex_destroy(&asker->lock);
	free(asker);
}
