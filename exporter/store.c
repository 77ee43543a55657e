/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See store.h. */
#include "exporter/store.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/event.h"
#include "exporter/body.h"
#include "exporter/limits.h"
#include "exporter/question.h"

struct waiter {
	STAILQ_ENTRY(waiter) entry;
	store_answer_fn *fn;
	void *arg; /* borrowed */
};

struct document {
	TAILQ_ENTRY(document) entry;   /* store->documents */
	struct question question;      /* owned */
	char *key;		       /* owned */
	STAILQ_HEAD(, waiter) waiting; /* owned: it is to be made, or being made, while there are */
	struct body *body;	       /* owned; or NULL */
};

struct store {
	struct body_sums *sums;			   /* borrowed */
	struct asker *asker;			   /* owned */
	struct event *stale;			   /* owned: while there are documents */
	TAILQ_HEAD(documents, document) documents; /* owned: as they were asked for */
	struct document *making; /* borrowed: the one that is being made; or NULL */
	unsigned n_lists;	 /* of the documents */
	bool made_metrics;	 /* at last */
	size_t kept;		 /* bytes of all documents' bodies */
};

static bool document_is_list(const struct document *document)
{
	return document->question.list;
}

static bool document_is_fresh(const struct document *document)
{
	return document->body && body_age_ms(document->body) < FRESH_MS;
}

static void document_set_body(struct store *store, struct document *document, struct body *body)
{
	store->kept -= document->body ? document->body->len : 0;
	body_unref(document->body);
	document->body = body;
	store->kept += body ? body->len : 0;
}

static void document_free(struct store *store, struct document *document)
{
	document_set_body(store, document, NULL);
	TAILQ_REMOVE(&store->documents, document, entry);
	store->n_lists -= document_is_list(document);
	question_fini(&document->question);
	free(document->key);
	free(document);
}

static struct document *document_find(struct store *store, const char *key)
{
	struct document *document;

	TAILQ_FOREACH (document, &store->documents, entry) {
		if (strcmp(document->key, key) == 0)
			break;
	}
	return document;
}

/* Takes key and question over. NULL: out of memory. */
static struct document *document_new(struct store *store, char *key, struct question *question)
{
	struct document *document = key ? calloc(1, sizeof(*document)) : NULL;

	if (!document) {
		free(key);
		question_fini(question);
		return NULL;
	}
	document->key = key;
	document->question = *question;
	STAILQ_INIT(&document->waiting);
	TAILQ_INSERT_TAIL(&store->documents, document, entry);
	store->n_lists += document_is_list(document);
	return document;
}

/* Frees documents that nobody waits for: the stale ones, and of the lists as many as are over. */
static void store_tidy(struct store *store, unsigned n_lists_max)
{
	static const struct timeval delay = {.tv_sec = FRESH_MS / 1000};
	struct document *document, *next;

	for (document = TAILQ_FIRST(&store->documents); document; document = next) {
		next = TAILQ_NEXT(document, entry);
		if (!STAILQ_EMPTY(&document->waiting))
			continue;
		if (!document_is_fresh(document) || store->kept > KEPT_BYTES ||
			(document_is_list(document) && store->n_lists > n_lists_max))
			document_free(store, document);
	}
	if (!TAILQ_EMPTY(&store->documents) && !evtimer_pending(store->stale, NULL))
		(void)evtimer_add(store->stale, &delay);
}

static void on_stale(evutil_socket_t fd, short what, void *arg)
{
	store_tidy(arg, LISTS_MAX);
}

/* The one that waits longest, of lists or of metrics; NULL: there is none. */
static struct document *document_next(struct store *store, bool list)
{
	struct document *document;

	TAILQ_FOREACH (document, &store->documents, entry) {
		if (document_is_list(document) == list && !STAILQ_EMPTY(&document->waiting))
			break;
	}
	return document;
}

static void store_make_next(struct store *store)
{
	bool list = store->made_metrics;

	if (store->making)
		return;
	store->making = document_next(store, list);
	if (!store->making)
		store->making = document_next(store, !list);
	if (store->making)
		asker_ask(store->asker, &store->making->question);
}

static void document_answer(struct document *document)
{
	struct waiter *waiter;

	while ((waiter = STAILQ_FIRST(&document->waiting))) {
		STAILQ_REMOVE_HEAD(&document->waiting, entry);
		waiter->fn(waiter->arg, document->body);
		free(waiter);
	}
}

/* Bytes of the metrics that are kept for others that ask. */
static size_t store_metrics(const struct store *store)
{
	const struct document *document;
	size_t sum = 0;

	TAILQ_FOREACH (document, &store->documents, entry)
		sum += document->body && !document_is_list(document) ? document->body->len : 0;
	return sum;
}

/* Beside the answers that live. Metrics always fit beside those in the other format. */
static bool body_fits(const struct store *store, const struct body *body, bool list)
{
	const struct body_sums *sums = store->sums;

	return list ? sums->lists + body->len <= LISTS_BYTES
		    : sums->metrics + body->len <= METRICS_BYTES ||
			       sums->metrics <= store_metrics(store);
}

static struct body *new_full_error(bool list)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "answers that others still read have %u MiB already",
		(list ? LISTS_BYTES : METRICS_BYTES) >> 20);
	return body_new_error(503, text);
}

static void on_made(void *arg, struct body *body)
{
	struct store *store = arg;
	struct document *document = store->making;
	bool list = document_is_list(document);

	store->making = NULL;
	store->made_metrics = !list;
	document_set_body(store, document, NULL);
	if (body && !body_fits(store, body, list)) {
		body_unref(body);
		body = new_full_error(list);
	}
	if (body)
		body_count(body, list ? &store->sums->lists : &store->sums->metrics);
	document_set_body(store, document, body);
	/* The next one that is made is the one that waits longest. */
	TAILQ_REMOVE(&store->documents, document, entry);
	TAILQ_INSERT_TAIL(&store->documents, document, entry);
	document_answer(document);
	store_tidy(store, LISTS_MAX);
	store_make_next(store);
}

static void answer_error(int status, const char *text, store_answer_fn *fn, void *arg)
{
	struct body *body = body_new_error(status, text);

	fn(arg, body);
	body_unref(body);
}

void store_get(struct store *store, struct question *question, store_answer_fn *fn, void *arg)
{
	char *key = question_key(question);
	struct document *document = key ? document_find(store, key) : NULL;
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (document) {
		free(key);
		question_fini(question);
	} else {
		store_tidy(store, LISTS_MAX - 1);
		if (question->list && store->n_lists >= LISTS_MAX) {
			free(key);
			free(waiter);
			question_fini(question);
			answer_error(503, "too many different lists at a time", fn, arg);
			return;
		}
		document = document_new(store, key, question);
	}
	if (!document || !waiter || document_is_fresh(document)) {
		free(waiter);
		fn(arg, document && waiter ? document->body : NULL);
		return;
	}
	*waiter = (struct waiter){.fn = fn, .arg = arg};
	STAILQ_INSERT_TAIL(&document->waiting, waiter, entry);
	store_make_next(store);
}

int store_new(struct event_base *base, asker_make_fn *make, void *make_arg, struct body_sums *sums,
	struct store **ret_store)
{
	struct store *store = calloc(1, sizeof(*store));
	int r = -ENOMEM;

	if (!store)
		return r;
	TAILQ_INIT(&store->documents);
	store->sums = sums;
	store->stale = evtimer_new(base, on_stale, store);
	if (store->stale)
		r = asker_new(base, make, make_arg, on_made, store, &store->asker);
	if (r < 0) {
		store_free(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void store_free(struct store *store)
{
	struct document *document;

	if (!store)
		return;
	asker_free(store->asker);
	while ((document = TAILQ_FIRST(&store->documents))) {
		document_set_body(store, document, NULL);
		document_answer(document);
		document_free(store, document);
	}
	event_drop(store->stale);
	free(store);
}
