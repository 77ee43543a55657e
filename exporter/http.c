/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See http.h. evhttp tells nobody of the end of a connection that has made no request. So each
 * connection's bufferevent has a reference of ours, and is known to have ended by its callbacks,
 * which evhttp takes away when it lets go of it.
 */
#include "exporter/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "base/event.h"
#include "exporter/address.h"
#include "exporter/body.h"
#include "exporter/limits.h"
#include "exporter/page.h"
#include "exporter/question.h"
#include "exporter/store.h"

#define API "/api/"
#define CONTENT_POLICY                                                                             \
	"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct client {
	LIST_ENTRY(client) entry;
	struct bufferevent *stream; /* ref */
	time_t until_s;
	bool served; /* else it is told that there are too many */
};

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
	LIST_HEAD(, listening) listening; /* owned */
	LIST_HEAD(, client) clients;	  /* owned */
	struct event *sweep;		  /* owned: while there are clients */
	uint32_t exchange_s;
	bool full; /* nobody is accepted */
	struct http_counts counts;
};

static time_t now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* ---- connections ---------------------------------------------------------------------------- */

static bool client_is_gone(const struct client *client)
{
	bufferevent_event_cb on_event;

	bufferevent_getcb(client->stream, NULL, NULL, &on_event, NULL);
	return !on_event;
}

static void client_free(struct http *http, struct client *client)
{
	LIST_REMOVE(client, entry);
	http->counts.clients--;
	(void)bufferevent_decref(client->stream);
	free(client);
}

/* evhttp learns of a late one's end as of any other: by the end of the connection. */
static void clients_sweep(struct http *http)
{
	struct client *client, *next;

	for (client = LIST_FIRST(&http->clients); client; client = next) {
		next = LIST_NEXT(client, entry);
		if (client_is_gone(client)) {
			client_free(http, client);
		} else if (client->until_s && now_s() >= client->until_s) {
			client->until_s = 0;
			http->counts.late++;
			(void)shutdown(bufferevent_getfd(client->stream), SHUT_RDWR);
		}
	}
}

static void http_accept(struct http *http, bool accept)
{
	struct listening *listening;

	http->full = !accept;
	LIST_FOREACH (listening, &http->listening, entry)
		(void)(accept ? evconnlistener_enable : evconnlistener_disable)(
			listening->listener);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval delay = {.tv_sec = SWEEP_S};
	struct http *http = arg;

	clients_sweep(http);
	if (http->full && http->counts.clients < CLIENTS_MAX)
		http_accept(http, true);
	if (http->counts.clients)
		(void)evtimer_add(http->sweep, &delay);
}

/* NULL: out of memory; evhttp then makes one, which is told that there are too many. */
static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
	static const struct timeval delay = {.tv_sec = SWEEP_S};
	struct listening *listening = arg;
	struct http *http = listening->http;
	struct client *client = calloc(1, sizeof(*client));
	struct bufferevent *stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (!client || !stream) {
		free(client);
		return stream;
	}
	if (http->counts.clients >= CLIENTS_SERVED)
		clients_sweep(http);
	/* Not more is read of one that is gone, and that is not swept yet. */
	bufferevent_setwatermark(stream, EV_READ, 0, REQUEST_BYTES);
	bufferevent_incref(stream);
	client->stream = stream;
	client->until_s = now_s() + http->exchange_s;
	client->served = http->counts.clients < CLIENTS_SERVED;
	LIST_INSERT_HEAD(&http->clients, client, entry);
	if (++http->counts.clients >= CLIENTS_MAX)
		http_accept(http, false);
	if (!evtimer_pending(http->sweep, NULL))
		(void)evtimer_add(http->sweep, &delay);
	return stream;
}

/* NULL: there was no memory to note it. */
static struct client *client_of(struct http *http, struct evhttp_request *request)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(request);
	struct bufferevent *stream =
		connection ? evhttp_connection_get_bufferevent(connection) : NULL;
	struct client *client;

	LIST_FOREACH (client, &http->clients, entry) {
		if (client->stream == stream)
			break;
	}
	return client;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void set_header(struct evhttp_request *request, const char *name, const char *value)
{
	(void)evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

/* type: NULL: there is no content. HEAD has the same headers; Debian 12's evhttp would send the
 * rest, too. */
static void reply(struct evhttp_request *request, int status, const char *type,
	struct evbuffer *content, size_t len)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%zu", len);
	if (type) {
		set_header(request, "Content-Type", type);
		set_header(request, "Content-Length", text);
	}
	set_header(request, "X-Content-Type-Options", "nosniff");
	set_header(request, "Content-Security-Policy", CONTENT_POLICY);
	set_header(request, "Referrer-Policy", "no-referrer");
	/* evhttp knows the words of most. */
	evhttp_send_reply(request, status, status == 421 ? "Misdirected Request" : NULL,
		evhttp_request_get_command(request) == EVHTTP_REQ_HEAD ? NULL : content);
}

static void reply_text(struct evhttp_request *request, int status, const char *text)
{
	struct evbuffer *content = evbuffer_new();

	if (content)
		(void)evbuffer_add_printf(content, "%s\n", text);
	set_header(request, "Cache-Control", "no-store");
	reply(request, status, "text/plain; charset=utf-8", content,
		content ? evbuffer_get_length(content) : 0);
	if (content)
		evbuffer_free(content);
}

/* As store_answer_fn. The client may be gone meanwhile: evhttp then only frees the request. */
static void reply_body(void *arg, struct body *body)
{
	struct evhttp_request *request = arg;
	struct evbuffer *content = evbuffer_new();
	char made[24];

	if (body && content && body_add_to(body, content) == 0) {
		(void)snprintf(made, sizeof(made), "%" PRIu64, body->made_ms);
		set_header(request, "Msgd-Made-Ms", made);
		set_header(request, "Cache-Control", "no-store");
		reply(request, body->status, body->type, content, body->len);
	} else {
		reply_text(request, HTTP_INTERNAL, "out of memory, or about to end");
	}
	if (content)
		evbuffer_free(content);
}

static const char *header_of(struct evhttp_request *request, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(request), name);
}

static void reply_file(struct evhttp_request *request, const struct page_file *file)
{
	const char *known = header_of(request, "If-None-Match");
	struct evbuffer *content = evbuffer_new();

	set_header(request, "ETag", file->etag);
	set_header(request, "Cache-Control", "no-cache");
	if (known && strstr(known, file->etag)) {
		reply(request, HTTP_NOTMODIFIED, NULL, NULL, 0);
	} else {
		if (content)
			(void)evbuffer_add_reference(content, file->bytes, file->len, NULL, NULL);
		reply(request, HTTP_OK, file->type, content, file->len);
	}
	if (content)
		evbuffer_free(content);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void on_api(struct http *http, struct evhttp_request *request, const char *name)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
	char error[QUESTION_ERROR_SIZE];
	struct question question;
	struct body *body;
	int status = question_of_list(name, query, &question, error);

	if (!status) {
		store_get(http->store, &question, reply_body, request);
		return;
	}
	body = body_new_error(status, error);
	reply_body(request, body);
	body_unref(body);
}

static void on_metrics(struct http *http, struct evhttp_request *request)
{
	struct question question = question_of_metrics(header_of(request, "Accept"));

	question.http = http->counts;
	store_get(http->store, &question, reply_body, request);
}

/* It was looked at whether the client may ask, and how. */
static void dispatch(struct http *http, struct evhttp_request *request)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
	const struct page_file *file = page_find(path);

	if (strcmp(path, "/metrics") == 0)
		on_metrics(http, request);
	else if (strncmp(path, API, strlen(API)) == 0)
		on_api(http, request, path + strlen(API));
	else if (file)
		reply_file(request, file);
	else
		reply_text(request, HTTP_NOTFOUND,
			"there is /, /metrics and /api/LIST: see msg-exporter(8)");
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct listening *listening = arg;
	struct http *http = listening->http;
	struct client *client = client_of(http, request);
	enum evhttp_cmd_type method = evhttp_request_get_command(request);

	http->counts.requests++;
	if (client)
		client->until_s = now_s() + http->exchange_s;
	if (!client || !client->served) {
		http->counts.busy++;
		set_header(request, "Connection", "close");
		set_header(request, "Retry-After", "1");
		reply_text(request, HTTP_SERVUNAVAIL, "too many connections");
	} else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		set_header(request, "Allow", "GET, HEAD");
		reply_text(request, HTTP_BADMETHOD, "only GET and HEAD: nothing is changed here");
	} else if (listening->tcp && !host_is_loopback(evhttp_request_get_host(request))) {
		http->counts.refused_host++;
		reply_text(request, 421, "Host is not localhost, 127.0.0.1 or [::1]");
	} else {
		dispatch(http, request);
	}
}

/* ---- the server ----------------------------------------------------------------------------- */

int http_new(
	struct event_base *base, struct store *store, uint32_t exchange_s, struct http **ret_http)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	http->base = base;
	http->store = store;
	http->exchange_s = exchange_s;
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
		evhttp_set_timeout(listening->evhttp, (int)http->exchange_s + 2 * SWEEP_S);
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
	struct client *client;

	if (!http)
		return;
	while ((listening = LIST_FIRST(&http->listening))) {
		LIST_REMOVE(listening, entry);
		evhttp_free(listening->evhttp);
		free(listening);
	}
	while ((client = LIST_FIRST(&http->clients)))
		client_free(http, client);
	event_drop(http->sweep);
	free(http);
}
