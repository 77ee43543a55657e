/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections, and the processes' requests. See server.h; the tools' are in server-domain.c. */
#include "hv/sim/toolstack/server.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/accept.h"
#include "base/cleanup.h"
#include "base/event.h"
#include "base/macro.h"
#include "hv/sim/hypervisor/machine.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/memory/slot.h"
#include "hv/sim/wire/packet.h"

static struct connection *server_connection_of(struct sim_server *s, uint32_t slot)
{
	struct connection *c;

	LIST_FOREACH (c, &s->connections, entries)
		if (slot && c->slot == slot)
			return c;
	return NULL;
}

void connection_detach(struct connection *c)
{
	if (c->slot)
		authority_detach(&c->server->authority, c->slot);
	c->slot = 0;
}

/* The process is dead, or has closed its handle, or talks nonsense: all the same here. */
static void connection_end(struct connection *c)
{
	struct sim_server *s = c->server;
	uint32_t domain = c->ephemeral - 1;

	connection_detach(c);
	if (c->ephemeral &&
		s->authority.xen.seg->domains[domain].generation == c->ephemeral_generation)
		server_domain_destroy(s, domain);
	event_drop(c->readable);
	event_drop(c->died);
	close_p(&c->pid_fd);
	(void)close(c->fd);
	LIST_REMOVE(c, entries);
	s->n_connections--;
	free(c);
}

/* After all that looks at processes' lists. The emulator cannot go on, and nobody waits for it. */
static void look_for_corruption(struct sim_server *s)
{
	if (!server_is_corrupt(s))
		return;
	(void)fprintf(stderr,
		"xen-sim: a process has overwritten the emulator's memory; the emulator ends\n");
	(void)event_base_loopbreak(s->base);
}

static void on_died(evutil_socket_t fd, short what, void *arg)
{
	struct sim_server *s = ((struct connection *)arg)->server;

	connection_end(arg);
	look_for_corruption(s);
}

/* ---- requests of processes ------------------------------------------------------------------ */

/* A request's status where no reply is to be sent, or has been. */
#define NO_REPLY INT_MAX

/*
 * Introductions that a process has not read take so much of its socket at most (its default is 208
 * KiB): a process that sleeps reads none, and the answer to its next request must find room.
 */
#define INTRODUCTIONS_MAX (64 * 1024)

/* Sends the eventfd of a slot to c, or drops it: then c asks again by SIM_KICK. */
static void connection_introduce(struct connection *c, uint32_t slot)
{
	struct authority *a = &c->server->authority;
	int unread = 0;
	struct sim_message m = {
		.header = {.type = SIM_PEER},
		.slot = {.slot = slot,
			.generation = atomic_load(&slot_at(&a->xen, slot)->generation)},
	};

	if (ioctl(c->fd, SIOCOUTQ, &unread) == 0 && unread < INTRODUCTIONS_MAX)
		(void)packet_send(
			c->fd, &m, SIM_MESSAGE_LEN(slot), &a->event_fds[slot], 1, MSG_DONTWAIT);
}

static bool slot_is_current(struct sim_server *s, const struct sim_slot_name *name)
{
	return name->slot < SIM_MAX_SLOTS &&
	       atomic_load(&slot_at(&s->authority.xen, name->slot)->state) == SIM_SLOT_LIVE &&
	       atomic_load(&slot_at(&s->authority.xen, name->slot)->generation) == name->generation;
}

static int introduce(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	struct connection *other;

	if (!c->slot)
		return -EPROTO;
	if (!slot_is_current(c->server, &m->slot))
		return -ESRCH;
	other = server_connection_of(c->server, m->slot.slot);
	connection_introduce(c, m->slot.slot);
	if (other)
		connection_introduce(other, c->slot);
	return 0;
}

static int kick(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	if (slot_is_current(c->server, &m->slot)) {
		authority_kick(&c->server->authority.xen, m->slot.slot, m->slot.generation);
		if (m->slot.slot)
			(void)introduce(c, m, fd, reply);
	}
	return NO_REPLY;
}

/* Somebody waits for long: waits, too, which is where the owner is reported and ended. */
static int stuck(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	txn_begin(&c->server->authority.xen);
	txn_abort(&c->server->authority.xen);
	return NO_REPLY;
}

static int process_watch(struct connection *c, int32_t pid)
{
	if (c->pid_fd < 0) /* else an earlier attach failed behind here */
		c->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (c->pid_fd < 0)
		return -errno;
	if (!c->died)
		c->died = event_watch(c->server->base, c->pid_fd, on_died, c);
	return c->died ? 0 : -ENOMEM;
}

/* xen-sim's own shortage, which must not look like the process's. */
static int shortage(int r)
{
	bool ours =
		r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS || r == -ETOOMANYREFS;

	return ours ? -EUSERS : r;
}

/* The reply carries the memory, the process' eventfd and ours. */
static int attach(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	struct authority *a = &c->server->authority;
	uint32_t domain;
	int fds[SIM_FDS_MAX], r;

	m->attach.domain[sizeof(m->attach.domain) - 1] = 0;
	if (c->slot)
		return -EPROTO;
	if (c->pid <= 0)
		return -EXDEV;
	domain = authority_domain_find(a, m->attach.domain);
	if (domain == DOMAIN_NONE)
		return -EHOSTUNREACH;
	r = process_watch(c, c->pid);
	if (r == 0)
		r = authority_attach(a, domain, c->pid, &c->slot);
	if (r < 0)
		return shortage(r);
	reply->slot.slot = c->slot;
	reply->slot.generation = atomic_load(&slot_at(&a->xen, c->slot)->generation);
	fds[0] = a->memfd;
	fds[1] = a->event_fds[c->slot];
	fds[2] = a->event_fds[0];
	r = packet_send(c->fd, reply, SIM_MESSAGE_LEN(slot), fds, 3, MSG_DONTWAIT);
	if (r == 0)
		return NO_REPLY;
	connection_detach(c);
	return shortage(r) == -EUSERS ? -EUSERS : -EPROTO;
}

static int bye(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	connection_detach(c);
	return 0;
}

static int hello(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	reply->hello.layout = SIM_LAYOUT;
	reply->hello.pid_namespace = segment_pid_namespace();
	c->greeted = true;
	return 0;
}

static int store(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	enum sim_message_type type = (enum sim_message_type)m->header.type;
	bool has_record = type == SIM_PUBLISH || type == SIM_REMOVE || type == SIM_READ_TAGS;

	if (!c->slot || (has_record && (!memchr(m->record.key, 0, sizeof(m->record.key)) ||
					       m->record.len > HV_STORE_VALUE_MAX)))
		return -EPROTO;
	if (has_record)
		reply->record = m->record;
	return authority_store(&c->server->authority, c->slot, type, &reply->record);
}

#define HEADER_LEN sizeof(struct sim_header)

static const struct {
	int (*fn)(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply);
	size_t len;	  /* that the request must have */
	size_t reply_len; /* where it did not fail */
} requests[SIM_TYPES] = {
	[SIM_HELLO] = {hello, SIM_MESSAGE_LEN(hello), SIM_MESSAGE_LEN(hello)},
	[SIM_ATTACH] = {attach, SIM_MESSAGE_LEN(attach), HEADER_LEN},
	[SIM_BYE] = {bye, HEADER_LEN, HEADER_LEN},
	[SIM_INTRODUCE] = {introduce, SIM_MESSAGE_LEN(slot), HEADER_LEN},
	[SIM_KICK] = {kick, SIM_MESSAGE_LEN(slot), HEADER_LEN},
	[SIM_STUCK] = {stuck, SIM_MESSAGE_LEN(slot), HEADER_LEN},
	[SIM_PUBLISH] = {store, SIM_MESSAGE_LEN(record), HEADER_LEN},
	[SIM_REMOVE] = {store, SIM_MESSAGE_LEN(record), HEADER_LEN},
	[SIM_WATCH] = {store, HEADER_LEN, HEADER_LEN},
	[SIM_WATCH_OWN] = {store, HEADER_LEN, HEADER_LEN},
	[SIM_NEXT] = {store, HEADER_LEN, SIM_MESSAGE_LEN(record)},
	[SIM_READ_TAGS] = {store, SIM_MESSAGE_LEN(record), SIM_MESSAGE_LEN(record)},
	[SIM_CREATE] = {tool_request, SIM_MESSAGE_LEN(create), SIM_MESSAGE_LEN(domain)},
	[SIM_DESTROY] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_PAUSE] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_UNPAUSE] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_SUSPEND] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_RESUME] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_RESTORE] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_CRASH] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_TAG] = {tool_request, SIM_MESSAGE_LEN(tags), HEADER_LEN},
	[SIM_LIST] = {tool_request, SIM_MESSAGE_LEN(index), SIM_MESSAGE_LEN(domain)},
	[SIM_ADOPT] = {tool_request, SIM_MESSAGE_LEN(name), HEADER_LEN},
	[SIM_SHUTDOWN] = {tool_request, HEADER_LEN, HEADER_LEN},
};

static bool answer(struct connection *c, struct sim_message *reply, size_t len)
{
	return packet_send(c->fd, reply, len, NULL, 0, MSG_DONTWAIT) == 0;
}

/* A request came without its descriptors: there is no room for them here. */
static bool handle_lost(struct connection *c, const struct sim_message *m)
{
	struct sim_message reply = {
		.header = {
			.type = m->header.type, .sequence = m->header.sequence, .status = -EUSERS}};

	return answer(c, &reply, HEADER_LEN);
}

/* False: the connection is to be ended. */
static bool handle(struct connection *c, struct sim_message *m, size_t len, int fd)
{
	uint16_t type = m->header.type;
	struct sim_message reply = {.header = {.type = type, .sequence = m->header.sequence}};
	int r;

	if (type >= SIM_TYPES || !requests[type].fn || (!c->greeted && type != SIM_HELLO))
		return false;
	/* Another version's hello is answered with ours, so that it can say what is wrong. */
	if (type != SIM_HELLO &&
		(m->header.version != SIM_PROTOCOL_VERSION || len != requests[type].len))
		return false;
	r = requests[type].fn(c, m, fd, &reply);
	if (r == -EPROTO || r == NO_REPLY)
		return r == NO_REPLY;
	reply.header.status = r;
	return answer(c, &reply, r < 0 ? HEADER_LEN : requests[type].reply_len);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct sim_server *s = c->server;
	struct sim_message m;
	int fds[SIM_FDS_MAX];
	ssize_t n = packet_recv(c->fd, &m, fds, MSG_DONTWAIT);
	bool ok;

	if (n == -EAGAIN || n == -ENOMEM || n == -ENOBUFS)
		return;
	ok = n == -EMFILE ? handle_lost(c, &m) : n > 0 && handle(c, &m, (size_t)n, fds[0]);
	packet_close_fds(fds);
	if (!ok)
		connection_end(c);
	look_for_corruption(s);
}

/* ---- life -------------------------------------------------------------------------------- */

static int connection_new(struct sim_server *s, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	if (!c)
		return -ENOMEM;
	/* Of another PID namespace: pid is 0. */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	c->server = s;
	c->fd = fd;
	c->pid_fd = -1;
	c->pid = cred.pid;
	c->readable = event_watch(s->base, fd, on_readable, c);
	if (!c->readable) {
		free(c);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&s->connections, c, entries);
	s->n_connections++;
	return 0;
}

static void on_accepted(void *arg, int fd)
{
	struct sim_server *s = arg;

	if (fd < 0)
		(void)fprintf(
			stderr, "xen-sim: processes and tools are refused: %s\n", strerror(-fd));
	else if (s->n_connections >= SERVER_CONNECTIONS_MAX || connection_new(s, fd) < 0)
		(void)close(fd);
}

/* Timers of vcpus: those that are due, then the wait for the next one. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sim_server *s = arg;
	uint64_t left_us = (timers_expire(&s->authority.xen) + 999U) / 1000U;
	struct timeval tv = {.tv_sec = (time_t)(left_us / 1000000U),
		.tv_usec = (suseconds_t)(left_us % 1000000U)};

	if (left_us)
		(void)evtimer_add(s->timer, &tv);
}

/* A dying domain lost its last mapping, or a timer was set. */
static void on_kicked(evutil_socket_t fd, short what, void *arg)
{
	struct sim_server *s = arg;
	uint32_t flags = atomic_exchange(&slot_at(&s->authority.xen, 0)->flags, 0);

	slot_quiesce(&s->authority.xen, fd);
	authority_domains_reap(&s->authority);
	look_for_corruption(s);
	if (flags & SIM_SLOT_TIMERS)
		on_timer(-1, 0, s);
}

int sim_server_new(struct event_base *base, int listen_fd, uint32_t stopped_limit_ms,
	struct sim_server **ret_server)
{
	struct sim_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = authority_init(&s->authority);
	if (r < 0) {
		free(s);
		return r;
	}
	s->authority.stopped_limit_ms = stopped_limit_ms;
	s->base = base;
	s->listen_fd = listen_fd;
	LIST_INIT(&s->connections);
	LIST_INIT(&s->adopted);
	s->acceptor = acceptor_new(base, listen_fd, on_accepted, s);
	s->kicked = event_watch(base, s->authority.event_fds[0], on_kicked, s);
	s->timer = evtimer_new(base, on_timer, s);
	s->authority.xen.seg->has_timers = 1;
	if (!s->acceptor || !s->kicked || !s->timer) {
		s->listen_fd = -1;
		sim_server_free(s);
		return -ENOMEM;
	}
	*ret_server = s;
	return 0;
}

bool server_is_corrupt(const struct sim_server *s)
{
	return atomic_load(&s->authority.xen.seg->corrupt);
}

/* Every guest domain ends, with its processes; Domain-0's lose their sockets. */
void sim_server_free(struct sim_server *s)
{
	struct connection *c;
	struct adopted *p;

	if (!s)
		return;
	for (uint32_t i = 1; i < SIM_MAX_DOMAINS; i++)
		if (s->authority.xen.seg->domains[i].state != SIM_DOMAIN_FREE)
			server_domain_destroy(s, i);
	while ((c = LIST_FIRST(&s->connections)))
		connection_end(c);
	while ((p = LIST_FIRST(&s->adopted)))
		adopted_end(p);
	acceptor_free(s->acceptor);
	event_drop(s->kicked);
	event_drop(s->timer);
	close_p(&s->listen_fd);
	authority_fini(&s->authority);
	free(s);
}
