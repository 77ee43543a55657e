/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See serve.h. */
#include "msgio/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/accept.h"
#include "base/event.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/stop.h"
#include "msgio/asker.h"
#include "msgio/loop.h"
#include "msgio/program.h"

/* Programs that wait at the door: a burst of them. */
#define BACKLOG 128

struct place {
	LIST_ENTRY(place) entry;
	struct serve *serve; /* borrowed: the owner */
	struct asker *asker; /* owned */
};

struct serve {
	const struct io_options *options; /* borrowed */
	struct loop loop;
	int fd;			   /* owned */
	struct acceptor *acceptor; /* owned; NULL: all places are taken */
	struct event *stop_event;  /* owned */
	LIST_HEAD(, place) places; /* owned */
	unsigned count;		   /* of these */
};

static void on_accept(void *arg, int fd);

/* Further programs wait while all places are taken. */
static void serve_look(struct serve *serve)
{
	bool open = serve->count < serve->options->max_connections;

	if (open == (serve->acceptor != NULL))
		return;
	acceptor_free(serve->acceptor);
	serve->acceptor = open ? acceptor_new(serve->loop.base, serve->fd, on_accept, serve) : NULL;
	if (open && !serve->acceptor)
		loop_log(&serve->loop, "nobody is served any more: out of memory");
}

static void place_free(struct place *place)
{
	LIST_REMOVE(place, entry);
	place->serve->count--;
	free(place);
}

static void on_gone(void *arg, struct asker *asker)
{
	struct place *place = arg;
	struct serve *serve = place->serve;

	place_free(place);
	serve_look(serve);
}

static void on_accept(void *arg, int fd)
{
	struct serve *serve = arg;
	struct place *place = fd < 0 ? NULL : calloc(1, sizeof(*place));

	if (place)
		place->asker = asker_new(&serve->loop, fd, on_gone, place);
	else if (fd >= 0)
		(void)close(fd);
	if (!place || !place->asker) {
		loop_log(&serve->loop, "a program is refused: %s",
			fd < 0 ? strerror(-fd) : "out of memory");
		free(place);
		return;
	}
	place->serve = serve;
	LIST_INSERT_HEAD(&serve->places, place, entry);
	serve->count++;
	serve_look(serve);
}

static void end_all(struct serve *serve)
{
	while (!LIST_EMPTY(&serve->places)) {
		asker_end(LIST_FIRST(&serve->places)->asker);
		place_free(LIST_FIRST(&serve->places));
	}
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct serve *serve = arg;

	loop_end(&serve->loop, STATUS_WHOLE);
}

static int serve_door(struct serve *serve)
{
	const char *path = address_path(&serve->options->from);
	int r = unix_listen(path, SOCK_STREAM, (mode_t)serve->options->mode, BACKLOG, &serve->fd);

	if (r < 0) {
		log_error("%s: %s", path, strerror(-r));
		return STATUS_FAILURE;
	}
	serve_look(serve);
	log_notice("listens on %s", path);
	return 0;
}

static int serve_start(struct serve *serve)
{
	int fd, r = loop_init(&serve->loop, false);

	if (r == 0)
		r = loop_open_ctx(&serve->loop, serve->options->hv, 0, serve->options->wait_ms);
	if (r)
		return r;
	r = stop_open(&fd);
	if (r < 0) {
		log_error("signals: %s", strerror(-r));
		return STATUS_FAILURE;
	}
	serve->stop_event = event_watch(serve->loop.base, fd, on_stop, serve);
	if (serve->stop_event)
		return serve_door(serve);
	log_error("out of memory");
	return STATUS_FAILURE;
}

int serve_run(const struct io_options *options)
{
	struct serve serve = {.options = options, .fd = -1};
	int r;

	LIST_INIT(&serve.places);
	descriptors_raise();
	r = serve_start(&serve);
	if (r == 0) {
		loop_run(&serve.loop);
		r = serve.loop.result;
	}
	end_all(&serve);
	loop_free_now(&serve.loop);
	acceptor_free(serve.acceptor);
	if (serve.fd >= 0) {
		(void)unlink(address_path(&options->from));
		(void)close(serve.fd);
	}
	event_drop(serve.stop_event);
	loop_fini(&serve.loop);
	stop_done();
	return r;
}
