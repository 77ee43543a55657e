/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See service.h. */
#include "msgio/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/log.h"
#include "base/macro.h"
#include "base/notify.h"
#include "base/stop.h"
#include "msgio/activator.h"
#include "msgio/channel-end.h"
#include "msgio/child.h"
#include "msgio/dial.h"
#include "msgio/door.h"
#include "msgio/loop.h"
#include "msgio/program.h"
#include "msgio/relay/relay.h"

/*
 * So many connects are under way at once, and nothing is accepted meanwhile. msgd lets a domain,
 * with all its programs, have 1024 (DOMAIN_REQUESTS_MAX), and a listener's backlog is as small
 * as 64.
 */
#define DIALS_MAX 64U

struct service;

struct connection {
	LIST_ENTRY(connection) entry;
	struct leaving leaving;
	struct service *service; /* borrowed: the owner */
	struct end *end;	 /* owned until it is the relay's, then NULL */
	struct dial *dial;	 /* owned; NULL: none is under way */
	struct demand *demand;	 /* owned; likewise */
	struct relay relay;	 /* ends NULL: not yet */
	bool over;
	char from[160]; /* for the log: " from DOMAIN", or nothing */
};

struct service {
	const struct io_options *options; /* borrowed */
	struct loop loop;
	struct door *door;		     /* owned; NULL: it is to end */
	struct children *children;	     /* owned; NULL: not of exec */
	struct activator *activator;	     /* owned; NULL: not of activate */
	struct event *stop_event;	     /* owned */
	LIST_HEAD(, connection) connections; /* owned */
	unsigned count;			     /* of connections, those that leave included */
	unsigned dials;			     /* of these: not connected yet */
};

/* ---- places ------------------------------------------------------------------------------- */

/* A program may outlive its connection. */
static void service_look(struct service *service)
{
	unsigned programs = service->children ? children_count(service->children) : 0;
	unsigned count = service->count > programs ? service->count : programs;

	if (service->door)
		door_set_open(service->door,
			count < service->options->max_connections && service->dials < DIALS_MAX);
	else if (count == 0 && !(service->activator && activator_runs(service->activator)))
		loop_end(&service->loop, STATUS_WHOLE);
}

static void on_program_gone(void *arg)
{
	service_look(arg);
}

/* ---- connections -------------------------------------------------------------------------- */

static void connection_free(struct leaving *leaving)
{
	struct connection *connection = container_of(leaving, struct connection, leaving);
	struct service *service = connection->service;

	if (connection->relay.a)
		(void)relay_fini(&connection->relay);
	else if (connection->end)
		(void)connection->end->ops->close(connection->end, true);
	service->count--;
	service_look(service);
	free(connection);
}

static void dial_is_over(struct connection *connection)
{
	connection->dial = NULL;
	connection->demand = NULL;
	connection->service->dials--;
	service_look(connection->service);
}

static void connection_leave(struct connection *connection)
{
	connection->over = true;
	if (connection->dial || connection->demand) {
		dial_cancel(connection->dial);
		demand_cancel(connection->service->activator, connection->demand);
		dial_is_over(connection);
	}
	LIST_REMOVE(connection, entry);
	loop_free_later(&connection->service->loop, &connection->leaving);
}

static void connection_fail(struct connection *connection, const char *what, const char *reason)
{
	loop_log(&connection->service->loop, "a connection%s: %s%s%s", connection->from, what,
		*what ? ": " : "", reason);
	connection_leave(connection);
}

/* The reason of a channel's loss says more than the number. */
static void connection_over(struct connection *connection)
{
	const struct relay *relay = &connection->relay;
	int error = relay_error(relay);
	const char *reason = channel_end_reason(relay->a);

	if (!*reason)
		reason = channel_end_reason(relay->b);
	if (error)
		connection_fail(connection, "broken", *reason ? reason : strerror(error));
	else
		connection_leave(connection);
}

static void on_ready(void *arg)
{
	struct connection *connection = arg;

	if (connection->over)
		return;
	if (connection->relay.a) {
		if (relay_run(&connection->relay))
			connection_over(connection);
	} else if (connection->end->gone) {
		connection_fail(connection, "", "given up before the other side answered");
	}
}

static void connection_begin(struct connection *connection, struct end *end)
{
	relay_init(&connection->relay, connection->end, end);
	connection->end = NULL;
	end->ready = on_ready;
	end->arg = connection;
	on_ready(connection);
}

/* It cannot be reached. */
static void connection_refuse(struct connection *connection, const char *reason)
{
	const struct io_options *options = connection->service->options;
	char text[ADDRESS_TEXT_SIZE];

	address_describe(&options->to, text);
	connection_fail(connection, options->program ? options->program[0] : text, reason);
}

static void on_dialled(void *arg, struct end *end, const char *reason)
{
	struct connection *connection = arg;

	dial_is_over(connection);
	if (end)
		connection_begin(connection, end);
	else
		connection_refuse(connection, reason);
}

/* A sentence: it cannot. */
static const char *connection_start(struct connection *connection, const struct msg_peer *peer)
{
	struct service *service = connection->service;
	const char *reason = NULL;
	struct end *end;

	if (service->children) {
		end = children_start(service->children, peer, &reason);
		if (end)
			connection_begin(connection, end);
		return reason;
	}
	if (service->activator)
		connection->demand = activator_demand(service->activator, on_dialled, connection);
	else
		connection->dial = dial_start(
			&service->loop, service->options, on_dialled, connection, &reason);
	if (!connection->dial && !connection->demand)
		return reason ? reason : "out of memory";
	service->dials++;
	return NULL;
}

static void on_door(void *arg, struct end *end, const struct msg_peer *peer)
{
	struct service *service = arg;
	struct connection *connection = calloc(1, sizeof(*connection));
	const char *reason;

	if (!connection) {
		(void)end->ops->close(end, true);
		loop_log(&service->loop, "a connection: out of memory");
		return;
	}
	connection->leaving.free = connection_free;
	connection->service = service;
	connection->end = end;
	end->ready = on_ready;
	end->arg = connection;
	if (peer)
		(void)snprintf(
			connection->from, sizeof(connection->from), " from %s", peer->domain);
	LIST_INSERT_HEAD(&service->connections, connection, entry);
	service->count++;
	reason = connection_start(connection, peer);
	if (reason)
		connection_refuse(connection, reason);
	service_look(service);
}

/* ---- the service -------------------------------------------------------------------------- */

/* Connections break, programs are ended; the loop goes on until all are gone. */
static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct service *service = arg;

	(void)event_del(service->stop_event);
	(void)notify_send("STOPPING=1");
	door_free(service->door);
	service->door = NULL;
	while (!LIST_EMPTY(&service->connections))
		connection_leave(LIST_FIRST(&service->connections));
	if (service->children)
		children_stop(service->children);
	if (service->activator)
		activator_stop(service->activator);
	service_look(service);
}

static int out_of_memory(void)
{
	log_error("out of memory");
	return STATUS_FAILURE;
}

/* A connection has one descriptor or two. */
static int service_programs(struct service *service)
{
	const struct io_options *options = service->options;

	descriptors_raise();
	if (options->command == COMMAND_EXEC) {
		service->children = children_new(&service->loop, options, on_program_gone, service);
		return service->children ? 0 : out_of_memory();
	}
	if (options->command != COMMAND_ACTIVATE)
		return 0;
	service->activator = activator_new(&service->loop, options, on_program_gone, service);
	return service->activator ? 0 : STATUS_FAILURE;
}

static int service_parts(struct service *service)
{
	int fd, r = stop_open(&fd);

	if (r < 0) {
		log_error("signals: %s", strerror(-r));
		return STATUS_FAILURE;
	}
	service->stop_event = event_watch(service->loop.base, fd, on_stop, service);
	return service->stop_event ? service_programs(service) : out_of_memory();
}

static bool needs_ctx(const struct io_options *options)
{
	return options->from.kind == ADDRESS_CHANNEL ||
	       (options->command == COMMAND_FORWARD && options->to.kind == ADDRESS_CHANNEL);
}

/* Before anybody can connect. */
static int check_program(const struct io_options *options)
{
	int r = options->program ? program_check(options->program[0]) : 0;

	if (r == 0)
		return 0;
	log_error("%s: %s", options->program[0], strerror(-r));
	return STATUS_USAGE;
}

static int service_start(struct service *service)
{
	const struct io_options *options = service->options;
	int r = loop_init(&service->loop, false);

	if (r == 0)
		r = check_program(options);
	if (r == 0 && needs_ctx(options))
		r = loop_open_ctx(&service->loop, options->hv, LIBMSG_ONE_THREAD, options->wait_ms);
	if (r == 0 && service->loop.ctx)
		(void)msg_ctx_set_transport(service->loop.ctx, options->transport);
	if (r == 0)
		r = service_parts(service);
	if (r == 0)
		service->door = door_new(&service->loop, options, on_door, service, &r);
	return r;
}

int service_run(const struct io_options *options)
{
	struct service service = {.options = options};
	int r;

	LIST_INIT(&service.connections);
	r = service_start(&service);
	if (r == 0) {
		(void)notify_send("READY=1");
		loop_run(&service.loop);
		r = service.loop.result;
	}
	while (!LIST_EMPTY(&service.connections))
		connection_leave(LIST_FIRST(&service.connections));
	door_free(service.door);
	service.door = NULL;
	loop_free_now(&service.loop);
	children_free(service.children);
	activator_free(service.activator);
	event_drop(service.stop_event);
	loop_fini(&service.loop);
	stop_done();
	return r;
}
