/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See http.h. */
#include "exporter/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/event.h"
#include "exporter/address.h"
#include "exporter/body.h"
#include "exporter/clients.h"
#include "exporter/fault.h"
#include "exporter/limits.h"
#include "exporter/page.h"
#include "exporter/question.h"
#include "exporter/store.h"

#define API "/api/"
#define CONTENT_POLICY                                                                             \
	"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct listening {
	LIST_ENTRY(listening) entry;
	struct http *http;		 /* borrowed: the owner */
	struct evhttp *evhttp;		 /* owned */
	struct evconnlistener *listener; /* borrowed: evhttp's */
	bool tcp;
};

struct http {
	struct event_base *base;	  /* borrowed */
	struct store *store;		  /* borrowed */
	const struct body_sums *sums;	  /* borrowed */
	LIST_HEAD(, listening) listening; /* owned */
	struct clients clients;
	struct event *sweep; /* owned: while there are clients */
	bool full;	     /* nobody is accepted */
	struct http_counts counts;
};

/* A request that waits for its answer. */
struct exchange {
	struct http *http;		/* borrowed: the owner of the connection */
	struct evhttp_request *request; /* borrowed: evhttp's, until it is answered */
};

/* ---- connections ---------------------------------------------------------------------------- */

static void http_accept(struct http *http, bool accept)
{
	struct listening *listening;

	http->full = !accept;
	LIST_FOREACH (listening, &http->listening, entry)
		(void)(accept ? evconnlistener_enable : evconnlistener_disable)(
			listening->listener);
}

static void http_sweep_later(struct http *http)
{
	uint32_t ms = http->full ? SWEEP_CROWDED_MS : SWEEP_MS;
	const struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)evtimer_add(http->sweep, &delay);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct http *http = arg;

	clients_sweep(&http->clients);
	if (http->full && !clients_are_full(&http->clients))
		http_accept(http, true);
	if (http->clients.n)
		http_sweep_later(http);
}

/* NULL: out of memory; evhttp then makes one, which is told so. */
static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
	struct listening *listening = arg;
	struct http *http = listening->http;
	struct bufferevent *stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (!stream || !clients_add(&http->clients, stream))
		return stream;
	/* Not more is read of one that is gone, and that is not swept yet; a byte too many is. */
	bufferevent_setwatermark(stream, EV_READ, 0, 2 * REQUEST_BYTES);
	if (clients_are_full(&http->clients)) {
		http_accept(http, false);
		http_sweep_later(http);
	} else if (!evtimer_pending(http->sweep, NULL)) {
		http_sweep_later(http);
	}
	return stream;
}

/* NULL: the connection is gone or ended, or there was no memory to note it. */
static struct client *client_of(struct http *http, struct evhttp_request *request)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(request);

	return connection
		       ? clients_find(&http->clients, evhttp_connection_get_bufferevent(connection))
		       : NULL;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void set_header(struct evhttp_request *request, const char *name, const char *value)
{
	(void)evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

/* NULL: evhttp knows the words. */
static const char *reason_of(int status)
{
	switch (status) {
	case 414:
		return "URI Too Long";
	case 421:
		return "Misdirected Request";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return NULL;
	}
}

/* The answer was read. */
static void on_complete(struct evhttp_request *request, void *arg)
{
	struct http *http = arg;
	struct client *client = client_of(http, request);

	if (client)
		client_set_state(&http->clients, client, CLIENT_ASKS);
}

/* type: NULL: there is no content. HEAD has the same headers; Debian 12's evhttp would send the
 * rest, too. */
static void reply(struct exchange *exchange, int status, const char *type, struct evbuffer *content,
	size_t len)
{
	struct evhttp_request *request = exchange->request;
	struct client *client = client_of(exchange->http, request);
	char text[24];

	if (client) {
		client_set_state(&exchange->http->clients, client, CLIENT_READS);
		evhttp_request_set_on_complete_cb(request, on_complete, exchange->http);
	}
	if (status == HTTP_SERVUNAVAIL) {
		exchange->http->counts.busy++;
		set_header(request, "Retry-After", "1");
	}
	(void)snprintf(text, sizeof(text), "%zu", len);
	if (type) {
		set_header(request, "Content-Type", type);
		set_header(request, "Content-Length", text);
	}
	set_header(request, "X-Content-Type-Options", "nosniff");
	set_header(request, "Content-Security-Policy", CONTENT_POLICY);
	set_header(request, "Referrer-Policy", "no-referrer");
	evhttp_send_reply(request, status, reason_of(status),
		evhttp_request_get_command(request) == EVHTTP_REQ_HEAD ? NULL : content);
}

static void reply_text(struct exchange *exchange, int status, const char *text)
{
	struct evbuffer *content = evbuffer_new();

	if (content)
		(void)evbuffer_add_printf(content, "%s\n", text);
	set_header(exchange->request, "Cache-Control", "no-store");
	reply(exchange, status, "text/plain; charset=utf-8", content,
		content ? evbuffer_get_length(content) : 0);
	if (content)
		evbuffer_free(content);
}

/* The client may be gone meanwhile: evhttp then only frees the request. */
static void reply_body(struct exchange *exchange, struct body *body)
{
	struct evhttp_request *request = exchange->request;
	struct evbuffer *content = evbuffer_new();
	char made[24];

	if (body && content && body_add_to(body, content) == 0) {
		(void)snprintf(made, sizeof(made), "%" PRIu64, body->made_ms);
		set_header(request, "Msgd-Made-Ms", made);
		set_header(request, "Cache-Control", "no-store");
		reply(exchange, body->status, body->type, content, body->len);
	} else {
		reply_text(exchange, HTTP_INTERNAL, "out of memory, or about to end");
	}
	if (content)
		evbuffer_free(content);
}

/* As store_answer_fn. */
static void on_answer(void *arg, struct body *body)
{
	reply_body(arg, body);
	free(arg);
}

static void ask_store(struct exchange *exchange, struct question *question)
{
	struct exchange *waiting = malloc(sizeof(*waiting));

	if (!waiting) {
		question_fini(question);
		reply_body(exchange, NULL);
		return;
	}
	*waiting = *exchange;
	store_get(exchange->http->store, question, on_answer, waiting);
}

static const char *header_of(struct evhttp_request *request, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(request), name);
}

static void reply_file(struct exchange *exchange, const struct page_file *file)
{
	struct evhttp_request *request = exchange->request;
	const char *known = header_of(request, "If-None-Match");
	struct evbuffer *content = evbuffer_new();

	set_header(request, "ETag", file->etag);
	set_header(request, "Cache-Control", "no-cache");
	if (known && strstr(known, file->etag)) {
		reply(exchange, HTTP_NOTMODIFIED, NULL, NULL, 0);
	} else {
		if (content)
			(void)evbuffer_add_reference(content, file->bytes, file->len, NULL, NULL);
		reply(exchange, HTTP_OK, file->type, content, file->len);
	}
	if (content)
		evbuffer_free(content);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void on_api(struct exchange *exchange, struct client *client, const char *name)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(exchange->request));
	char error[QUESTION_ERROR_SIZE];
	struct question question;
	struct body *body;
	int status;

	if (clients_of_lists(&exchange->http->clients) >= CLIENTS_OF_LISTS) {
		reply_text(exchange, HTTP_SERVUNAVAIL, "too many connections wait for lists");
		return;
	}
	client->wish = WISH_LIST;
	status = question_of_list(name, query, &question, error);
	if (!status) {
		ask_store(exchange, &question);
		return;
	}
	body = body_new_error(status, error);
	reply_body(exchange, body);
	body_unref(body);
}

static void on_metrics(struct exchange *exchange, struct client *client)
{
	struct http *http = exchange->http;
	struct question question = question_of_metrics(header_of(exchange->request, "Accept"));

	/* Not all of it is for those that do not read. One format is twice as long as the other. */
	if (http->sums->metrics >= METRICS_BYTES / 4)
		clients_end_metrics(&http->clients);
	client->wish = WISH_METRICS;
	question.http = http->counts;
	question.http.late = http->clients.late;
	question.http.crowded = http->clients.crowded;
	question.http.clients = http->clients.n;
	ask_store(exchange, &question);
}

/* It was looked at whether the client may ask, and how. */
static void dispatch(struct exchange *exchange, struct client *client)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(exchange->request));
	/* A target with a host may lack it: RFC 9112 3.2.1. */
	const struct page_file *file = page_find(*path ? path : "/");

	if (strcmp(path, "/metrics") == 0)
		on_metrics(exchange, client);
	else if (strncmp(path, API, strlen(API)) == 0)
		on_api(exchange, client, path + strlen(API));
	else if (file)
		reply_file(exchange, file);
	else
		reply_text(exchange, HTTP_NOTFOUND,
			"there is /, /metrics and /api/LIST: see msg-exporter(8)");
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct listening *listening = arg;
	struct exchange exchange = {.http = listening->http, .request = request};
	struct client *client = client_of(exchange.http, request);
	enum evhttp_cmd_type method = evhttp_request_get_command(request);
	const char *text;
	int status = request_fault(request, &text);

	exchange.http->counts.requests++;
	if (!client) {
		set_header(request, "Connection", "close");
		reply_text(&exchange, HTTP_SERVUNAVAIL, "out of memory");
		return;
	}
	client_set_state(&exchange.http->clients, client, CLIENT_WAITS);
	client->wish = WISH_OTHER;
	if (client->head.status) {
		status = client->head.status;
		text = client->head.text;
	}
	if (status) {
		/* It is not known where the next request would begin. */
		set_header(request, "Connection", "close");
		reply_text(&exchange, status, text);
	} else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		set_header(request, "Allow", "GET, HEAD");
		reply_text(&exchange, HTTP_BADMETHOD, "only GET and HEAD: nothing is changed here");
	} else if (listening->tcp && !host_is_loopback(evhttp_request_get_host(request))) {
		exchange.http->counts.refused_host++;
		reply_text(&exchange, 421, "Host is not localhost, 127.0.0.1 or [::1]");
	} else {
		dispatch(&exchange, client);
	}
}

/* ---- the server ----------------------------------------------------------------------------- */

int http_new(struct event_base *base, struct store *store, const struct body_sums *sums,
	uint32_t exchange_s, struct http **ret_http)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	http->base = base;
	http->store = store;
	http->sums = sums;
	http->clients.exchange_s = exchange_s;
	http->sweep = evtimer_new(base, on_sweep, http);
	if (!http->sweep) {
		http_free(http);
		return -ENOMEM;
	}
	*ret_http = http;
	return 0;
}

int http_serve(struct http *http, int fd, bool tcp)
{
	/* All that evhttp knows: it would refuse others with a page of its own. */
	static const ev_uint16_t methods = EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
					   EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
					   EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH;
	struct listening *listening = calloc(1, sizeof(*listening));
	struct evhttp_bound_socket *bound = NULL;

	if (!listening)
		return -ENOMEM;
	listening->http = http;
	listening->tcp = tcp;
	listening->evhttp = evhttp_new(http->base);
	if (listening->evhttp) {
		evhttp_set_max_headers_size(listening->evhttp, REQUEST_BYTES);
		evhttp_set_max_body_size(listening->evhttp, 0);
		/* Of a single read or write: never before ours. */
		evhttp_set_timeout(
			listening->evhttp, (int)(http->clients.exchange_s + 2 * SWEEP_MS / 1000));
		evhttp_set_allowed_methods(listening->evhttp, methods);
		evhttp_set_bevcb(listening->evhttp, on_connection, listening);
		evhttp_set_gencb(listening->evhttp, on_request, listening);
		bound = evhttp_accept_socket_with_handle(listening->evhttp, fd);
	}
	if (!bound) {
		if (listening->evhttp)
			evhttp_free(listening->evhttp);
		free(listening);
		return -ENOMEM;
	}
	listening->listener = evhttp_bound_socket_get_listener(bound);
	LIST_INSERT_HEAD(&http->listening, listening, entry);
	return 0;
}

void http_free(struct http *http)
{
	struct listening *listening;

	if (!http)
		return;
	while ((listening = LIST_FIRST(&http->listening))) {
		LIST_REMOVE(listening, entry);
		evhttp_free(listening->evhttp);
		free(listening);
	}
	clients_fini(&http->clients);
	event_drop(http->sweep);
	free(http);
}
