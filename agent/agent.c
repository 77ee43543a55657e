/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See agent.h. A turn of the loop takes one packet of one client and answers it. An answer that
 * cannot be written at once is not kept, and its client is closed: a client that follows the
 * protocol has one request under way and room for the answer.
 */
#include "agent/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "agent/ledger.h"
#include "base/accept.h"
#include "base/cleanup.h"
#include "base/event.h"
#include "base/log-limit.h"

struct agent_client {
	LIST_ENTRY(agent_client) entry;
	TAILQ_ENTRY(agent_client) turn_entry; /* agent->waiting */
	bool waits;			      /* for its turn: its event is not added */
	struct agent *agent;		      /* borrowed: the owner */
	struct holder *holder;		      /* owned */
	uid_t uid;
	int fd;		     /* owned */
	struct event *event; /* owned */
};

struct agent {
	struct event_base *base;	   /* borrowed */
	struct hv *hv;			   /* borrowed */
	const struct agent_ops *ops;	   /* borrowed */
	void *arg;			   /* borrowed */
	struct ledger *ledger;		   /* owned */
	int fd;				   /* owned */
	struct acceptor *acceptor;	   /* owned */
	LIST_HEAD(, agent_client) clients; /* owned */
	/* They have said something. In msgd the applications wait for one of them, not for all. */
	TAILQ_HEAD(, agent_client) waiting; /* borrowed */
	struct event *turn;		    /* owned: there are such clients */
	struct log_limiter log;
	struct log_source log_users[LEDGER_LOG_SOURCES]; /* by uid, modulo their number */
	uid_t serving; /* the user of the client whose request is under way */
};

static void agent_put_line(
	void *arg, int priority, const void *about, bool about_lines, const char *text)
{
	const struct agent *agent = arg;

	agent->ops->log(agent->arg, priority, text);
}

/* All lines: there is none that no client can cause. */
__attribute__((format(printf, 4, 5))) static void agent_log(
	struct agent *agent, uid_t uid, int priority, const char *format, ...)
{
	char subject[24];
	va_list args;

	(void)snprintf(subject, sizeof(subject), "user %u", uid);
	va_start(args, format);
	log_limited(&agent->log, &agent->log_users[uid % LEDGER_LOG_SOURCES],
		agent->hv->ops->now_ns(agent->hv), subject, priority, NULL, format, args);
	va_end(args);
}

/* ---- the store --------------------------------------------------------------------------- */

/* A client gets the errors that it can do something about. Every other error goes to the log. */
static int store_result(struct agent *agent, const char *what, const char *key, int r)
{
	if (r == 0 || r == -ENOENT || r == -EINVAL)
		return r;
	agent_log(agent, agent->serving, LOG_ERR, "record %s: %s: %s", key, what, strerror(-r));
	return r == -ENOSPC ? r : -EHOSTDOWN;
}

static int store_publish(void *arg, const char *key, const void *value, size_t len)
{
	struct agent *agent = arg;

	return store_result(agent, "cannot be written", key,
		agent->hv->ops->store_publish(agent->hv, key, value, len));
}

static int store_remove(void *arg, const char *key)
{
	struct agent *agent = arg;
	struct hv *hv = agent->hv;

	return store_result(agent, "cannot be removed", key,
		hv->ops->store_remove(hv, hv->ops->domid(hv), key));
}

static uint16_t store_domid(void *arg)
{
	const struct agent *agent = arg;

	return agent->hv->ops->domid(agent->hv);
}

static int store_make(void *arg, struct hv_parcel *ret_parcel)
{
	struct agent *agent = arg;
	int r = agent->hv->ops->parcel_make(agent->hv, ret_parcel);

	if (r < 0)
		agent_log(agent, agent->serving, LOG_ERR,
			"no port and pages for an application: %s", strerror(-r));
	return r == 0 || r == -ENOSPC || r == -ENOMEM || r == -ENODEV ? r : -EHOSTDOWN;
}

static void store_drop(void *arg, struct hv_parcel *parcel)
{
	struct agent *agent = arg;

	agent->hv->ops->parcel_drop(agent->hv, parcel);
}

static const struct ledger_store agent_store = {
	.publish = store_publish,
	.remove = store_remove,
	.domid = store_domid,
	.make = store_make,
	.drop = store_drop,
};

/* ---- clients ----------------------------------------------------------------------------- */

static void agent_client_free(struct agent_client *client)
{
	LIST_REMOVE(client, entry);
	if (client->waits)
		TAILQ_REMOVE(&client->agent->waiting, client, turn_entry);
	event_drop(client->event);
	(void)close(client->fd);
	free(client);
}

static void agent_client_leave(struct agent_client *client)
{
	struct agent *agent = client->agent;

	agent->serving = client->uid;
	ledger_leave(client->holder);
	agent_client_free(client);
	if (agent->ops->idle && LIST_EMPTY(&agent->clients))
		agent->ops->idle(agent->arg, true);
}

/* Descriptors, all or none of them, go along. */
static void message_attach(struct msghdr *message, void *control, size_t size, const int *fds)
{
	struct cmsghdr *header;

	if (fds[0] < 0)
		return;
	message->msg_control = memset(control, 0, size);
	message->msg_controllen = size;
	header = CMSG_FIRSTHDR(message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(HV_PARCEL_FDS * sizeof(int));
	memcpy(CMSG_DATA(header), fds, HV_PARCEL_FDS * sizeof(int));
}

/* False: it does not read. */
static bool agent_client_send(const struct agent_client *client, const struct agent_reply *reply,
	const int fds[HV_PARCEL_FDS])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HV_PARCEL_FDS * sizeof(int))];
	struct iovec iov = {(void *)reply, sizeof(*reply)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	message_attach(&message, control, sizeof(control), fds);
	return sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
	       (ssize_t)sizeof(*reply);
}

static void agent_client_serve(struct agent_client *client)
{
	/* One byte more than the longest packet: so a longer packet is recognised. */
	uint8_t packet[AGENT_PACKET_MAX + 1];
	struct agent_reply reply;
	ssize_t n = recv(client->fd, packet, sizeof(packet), MSG_DONTWAIT);
	int fds[HV_PARCEL_FDS];
	bool stays;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		agent_client_leave(client);
		return;
	}
	client->agent->serving = client->uid;
	stays = ledger_request(client->holder, packet, (size_t)n, &reply, fds);
	stays = agent_client_send(client, &reply, fds) && stays;
	for (unsigned i = 0; i < HV_PARCEL_FDS; i++)
		close_p(&fds[i]); /* now they are the client's alone */
	if (!stays)
		agent_client_leave(client);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct agent_client *client = arg;
	struct agent *agent = client->agent;

	(void)event_del(client->event);
	if (TAILQ_EMPTY(&agent->waiting))
		event_turn_later(agent->turn);
	client->waits = true;
	TAILQ_INSERT_TAIL(&agent->waiting, client, turn_entry);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct agent *agent = arg;
	struct agent_client *client = TAILQ_FIRST(&agent->waiting);

	if (!client) /* it has gone */
		return;
	TAILQ_REMOVE(&agent->waiting, client, turn_entry);
	client->waits = false;
	if (!TAILQ_EMPTY(&agent->waiting))
		event_turn_later(agent->turn);
	if (event_add(client->event, NULL) < 0)
		agent_client_leave(client);
	else
		agent_client_serve(client);
}

static int agent_client_new(struct agent *agent, int fd)
{
	struct agent_client *client = calloc(1, sizeof(*client));
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);
	int r;

	if (!client)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
		free(client);
		return -errno;
	}
	r = ledger_admit(agent->ledger, cred.uid, client, &client->holder);
	if (r < 0) {
		agent_log(agent, cred.uid, LOG_NOTICE, "user %u: %s", cred.uid,
			r == -EUSERS ? "too many connections" : strerror(-r));
		free(client);
		return r;
	}
	client->agent = agent;
	client->uid = cred.uid;
	client->fd = fd;
	LIST_INSERT_HEAD(&agent->clients, client, entry);
	client->event = event_watch(agent->base, fd, on_readable, client);
	if (!client->event) {
		ledger_leave(client->holder);
		client->fd = -1; /* stays the caller's */
		agent_client_free(client);
		return -ENOMEM;
	}
	return 0;
}

/* The answer to a connection over the limit, before it is closed. */
static void say_too_many(int fd)
{
	const struct agent_reply reply = {
		.magic = AGENT_MAGIC, .version = AGENT_VERSION, .error = EDQUOT};

	(void)send(fd, &reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_accepted(void *arg, int fd)
{
	struct agent *agent = arg;
	int r;

	if (fd < 0) {
		agent_log(agent, geteuid(), LOG_WARNING, "connections are refused: %s",
			strerror(-fd));
		return;
	}
	r = agent_client_new(agent, fd);
	if (r < 0) {
		if (r == -EUSERS)
			say_too_many(fd);
		(void)close(fd);
		return;
	}
	if (agent->ops->idle)
		agent->ops->idle(agent->arg, false);
}

/* ---- life -------------------------------------------------------------------------------- */

int agent_new(struct event_base *base, int fd, struct hv *hv, const struct agent_ops *ops,
	void *arg, struct agent **ret_agent)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent)
		return -ENOMEM;
	agent->base = base;
	agent->hv = hv;
	agent->ops = ops;
	agent->arg = arg;
	agent->fd = -1;
	agent->log = (struct log_limiter){
		.all = {.each_ns = LEDGER_LOG_LINE_NS, .burst = LEDGER_LOG_BURST},
		.each = {.each_ns = LEDGER_LOG_USER_LINE_NS, .burst = LEDGER_LOG_USER_BURST},
		.put_line = agent_put_line,
		.arg = agent,
	};
	LIST_INIT(&agent->clients);
	TAILQ_INIT(&agent->waiting);
	agent->turn = evtimer_new(base, on_turn, agent);
	agent->acceptor = acceptor_new(base, fd, on_accepted, agent);
	if (!agent->turn || !agent->acceptor ||
		ledger_new(&agent_store, agent, &agent->ledger) < 0) {
		agent_free(agent);
		return -ENOMEM;
	}
	agent->fd = fd;
	*ret_agent = agent;
	return 0;
}

void agent_set_places(struct agent *agent, unsigned places)
{
	ledger_set_places(agent->ledger, places);
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	ledger_free(agent->ledger);
	while (!LIST_EMPTY(&agent->clients))
		agent_client_free(LIST_FIRST(&agent->clients));
	acceptor_free(agent->acceptor);
	event_drop(agent->turn);
	close_p(&agent->fd);
	free(agent);
}

void agent_record_gone(struct agent *agent, const char *key)
{
	struct agent_reply gone;
	struct agent_client *client = ledger_gone(agent->ledger, key, &gone);
	static const int none[HV_PARCEL_FDS] = {-1, -1};

	if (client && !agent_client_send(client, &gone, none))
		agent_client_leave(client);
}
