/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See loop.h. */
#include "msgio/loop.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/event.h"
#include "base/log.h"
#include "msgio/options/options.h"

#define EVENTS_A_TURN 16
/* Lines about connections: at once, and after that one in a second. */
#define LOG_LINES 300U
#define SECOND_NS UINT64_C(1000000000)

void loop_free_now(struct loop *loop)
{
	struct leaving *leaving;

	while ((leaving = SLIST_FIRST(&loop->leaving))) {
		SLIST_REMOVE_HEAD(&loop->leaving, entry);
		leaving->free(leaving);
	}
}

static void on_free(evutil_socket_t fd, short what, void *arg)
{
	loop_free_now(arg);
}

void loop_free_later(struct loop *loop, struct leaving *leaving)
{
	if (SLIST_EMPTY(&loop->leaving))
		event_turn_later(loop->free_event);
	SLIST_INSERT_HEAD(&loop->leaving, leaving, entry);
}

static void put_line(void *arg, int priority, const void *about, bool about_lines, const char *text)
{
	log_write(priority, "%s", text);
}

/* epoll refuses files; poll takes them, and is slow where there are many descriptors. */
static struct event_base *base_new(bool any_fd)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && (!any_fd || event_config_avoid_method(config, "epoll") == 0))
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

int loop_init(struct loop *loop, bool any_fd)
{
	static const struct rate rate = {.each_ns = SECOND_NS, .burst = LOG_LINES};

	*loop = (struct loop){
		.base = base_new(any_fd),
		.log = {.all = rate, .each = rate, .put_line = put_line},
	};
	SLIST_INIT(&loop->leaving);
	if (loop->base)
		loop->free_event = evtimer_new(loop->base, on_free, loop);
	if (loop->free_event)
		return 0;
	log_error("out of memory");
	return STATUS_FAILURE;
}

static void on_ctx(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	struct msg_event events[EVENTS_A_TURN];
	int n = msg_ctx_dispatch(loop->ctx, events, EVENTS_A_TURN);

	for (int i = 0; i < n; i++) {
		struct sock_handler *handler = msg_userdata(events[i].sock);

		if (handler)
			handler->fn(handler, events[i].revents);
	}
}

int loop_open_ctx(struct loop *loop, const char *hv, unsigned flags, int timeout_ms)
{
	int fd;

	loop->ctx = msg_ctx_open(hv, flags, timeout_ms);
	if (!loop->ctx) {
		log_error("%s (%s)", msg_reason(), strerror(errno));
		return STATUS_NO_CONNECTION;
	}
	fd = msg_ctx_fd(loop->ctx);
	if (fd >= 0)
		loop->ctx_event = event_watch(loop->base, fd, on_ctx, loop);
	if (loop->ctx_event)
		return 0;
	log_error("%s", fd < 0 ? msg_reason() : "out of memory");
	return STATUS_FAILURE;
}

void loop_fini(struct loop *loop)
{
	event_drop(loop->ctx_event);
	msg_ctx_close(loop->ctx);
	event_drop(loop->free_event);
	if (loop->base)
		event_base_free(loop->base);
}

void loop_run(struct loop *loop)
{
	/* libevent forgets a break that came before. */
	if (!loop->ends)
		(void)event_base_dispatch(loop->base);
}

void loop_end(struct loop *loop, int result)
{
	if (!loop->ends)
		loop->result = result;
	loop->ends = true;
	(void)event_base_loopbreak(loop->base);
}

uint64_t loop_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void loop_log(struct loop *loop, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_limited(&loop->log, &loop->log_source, loop_now_ns(), "connections", LOG_NOTICE, NULL,
		format, args);
	va_end(args);
}
