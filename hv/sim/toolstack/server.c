/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections, and the processes' requests. See server.h; the tools' are in server-domain.c. */
#include "hv/sim/toolstack/server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* The process is dead, or has closed its handle, or talks nonsense: all the same here. */
static void connection_end(struct connection *c)
{
	struct sim_server *s = c->server;
	uint32_t domain = c->ephemeral - 1;

	if (c->slot)
		authority_detach(&s->authority, c->slot);
	c->slot = 0;
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

static void header_init(struct sim_header *header, enum sim_message_type type, uint32_t sequence)
{
	*header = (struct sim_header){.magic = SIM_PROTOCOL_MAGIC,
		.version = SIM_PROTOCOL_VERSION,
		.type = (uint16_t)type,
		.sequence = sequence};
}

/* Sends the eventfd of a slot to c. Dropped if c's socket is full: it asks again by SIM_KICK. */
static void connection_introduce(struct connection *c, uint32_t slot)
{
	struct authority *a = &c->server->authority;
	struct sim_message m;

	header_init(&m.header, SIM_PEER, 0);
	m.slot.slot = slot;
	m.slot.generation = atomic_load(&slot_at(&a->xen, slot)->generation);
	(void)packet_send(c->fd, &m, SIM_MESSAGE_LEN(slot), &a->event_fds[slot], 1, MSG_DONTWAIT);
}

static bool slot_is_current(struct sim_server *s, const struct sim_slot_name *name)
{
	return name->slot < SIM_MAX_SLOTS &&
	       atomic_load(&slot_at(&s->authority.xen, name->slot)->state) == SIM_SLOT_LIVE &&
	       atomic_load(&slot_at(&s->authority.xen, name->slot)->generation) == name->generation;
}

static int introduce(struct connection *c, const struct sim_slot_name *name)
{
	struct connection *other;

	if (!c->slot)
		return -EPROTO;
	if (!slot_is_current(c->server, name))
		return -ESRCH;
	other = server_connection_of(c->server, name->slot);
	connection_introduce(c, name->slot);
	if (other)
		connection_introduce(other, c->slot);
	return 0;
}

static void forward_kick(struct connection *c, const struct sim_slot_name *name)
{
	struct xen *xen = &c->server->authority.xen;

	if (!slot_is_current(c->server, name))
		return;
	authority_kick(xen, name->slot, name->generation);
	if (name->slot)
		(void)introduce(c, name);
}

/* Somebody waits for long: waits, too, which is where the owner is reported and ended. */
static void look_at_lock(struct sim_server *s)
{
	txn_begin(&s->authority.xen);
	txn_abort(&s->authority.xen);
}

static int process_watch(struct connection *c, int32_t pid)
{
	if (c->pid_fd < 0) /* else an earlier attach failed behind here */
		c->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (c->pid_fd < 0)
		return -errno;
	if (!c->died)
		c->died = event_new(c->server->base, c->pid_fd, EV_READ, on_died, c);
	return c->died && event_add(c->died, NULL) == 0 ? 0 : -ENOMEM;
}

/* The reply carries the memory, the process' eventfd and ours. */
static int attach(struct connection *c, struct sim_message *m, struct sim_message *reply)
{
	struct authority *a = &c->server->authority;
	uint32_t domain;
	int fds[SIM_FDS_MAX], r;

	m->attach.domain[sizeof(m->attach.domain) - 1] = 0;
	if (c->slot || !c->greeted)
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
		return r;
	reply->attached.slot = c->slot;
	reply->attached.generation = atomic_load(&slot_at(&a->xen, c->slot)->generation);
	fds[0] = a->memfd;
	fds[1] = a->event_fds[c->slot];
	fds[2] = a->event_fds[0];
	r = packet_send(c->fd, reply, SIM_MESSAGE_LEN(attached), fds, 3, MSG_DONTWAIT);
	return r < 0 ? -EPROTO : 1;
}

static int hello(struct connection *c, struct sim_message *reply)
{
	reply->hello.layout = SIM_LAYOUT;
	reply->hello.pid_namespace = segment_pid_namespace();
	c->greeted = true;
	return 0;
}

static bool is_key(const char key[HV_STORE_KEY_MAX])
{
	return memchr(key, 0, HV_STORE_KEY_MAX) != NULL;
}

static int store_request(
	struct connection *c, struct sim_message *m, struct sim_message *reply, size_t *ret_len)
{
	struct authority *a = &c->server->authority;
	int r;

	if (!c->slot)
		return -EPROTO;
	switch (m->header.type) {
	case SIM_PUBLISH:
		if (!is_key(m->record.key) || m->record.len > HV_STORE_VALUE_MAX)
			return -EPROTO;
		return authority_publish(a, c->slot, m->record.key, m->record.value, m->record.len);
	case SIM_REMOVE:
		if (!is_key(m->record.key))
			return -EPROTO;
		return authority_remove(a, c->slot, m->record.domid, m->record.key);
	case SIM_WATCH:
		return authority_watch(a, c->slot);
	case SIM_WATCH_OWN:
		return authority_watch_own(a, c->slot);
	default:
		r = authority_next(a, c->slot, &reply->record);
		if (r == 1)
			*ret_len = SIM_MESSAGE_LEN(record);
		return r;
	}
}

/* The length that a request of the type must have; 0: there is no such request. */
static size_t request_len(uint16_t type)
{
	static const size_t lengths[SIM_TYPES] = {
		[SIM_HELLO] = SIM_MESSAGE_LEN(hello),
		[SIM_ATTACH] = SIM_MESSAGE_LEN(attach),
		[SIM_BYE] = sizeof(struct sim_header),
		[SIM_INTRODUCE] = SIM_MESSAGE_LEN(slot),
		[SIM_KICK] = SIM_MESSAGE_LEN(slot),
		[SIM_STUCK] = SIM_MESSAGE_LEN(slot),
		[SIM_PUBLISH] = SIM_MESSAGE_LEN(record),
		[SIM_REMOVE] = SIM_MESSAGE_LEN(record),
		[SIM_WATCH] = sizeof(struct sim_header),
		[SIM_WATCH_OWN] = sizeof(struct sim_header),
		[SIM_NEXT] = sizeof(struct sim_header),
		[SIM_CREATE] = SIM_MESSAGE_LEN(create),
		[SIM_DESTROY] = SIM_MESSAGE_LEN(name),
		[SIM_PAUSE] = SIM_MESSAGE_LEN(name),
		[SIM_UNPAUSE] = SIM_MESSAGE_LEN(name),
		[SIM_SUSPEND] = SIM_MESSAGE_LEN(name),
		[SIM_RESUME] = SIM_MESSAGE_LEN(name),
		[SIM_RESTORE] = SIM_MESSAGE_LEN(name),
		[SIM_CRASH] = SIM_MESSAGE_LEN(name),
		[SIM_LIST] = SIM_MESSAGE_LEN(index),
		[SIM_ADOPT] = SIM_MESSAGE_LEN(name),
		[SIM_SHUTDOWN] = sizeof(struct sim_header),
	};

	return type < SIM_TYPES ? lengths[type] : 0;
}

/* False: the connection is to be ended. */
static bool handle(struct connection *c, struct sim_message *m, size_t len, int fd)
{
	struct sim_message reply;
	size_t reply_len = sizeof(reply.header);
	int r;

	if (!c->greeted && m->header.type != SIM_HELLO)
		return false;
	/* Another version's hello is answered with ours, so that it can say what is wrong. */
	if (m->header.type != SIM_HELLO &&
		(m->header.version != SIM_PROTOCOL_VERSION || len != request_len(m->header.type)))
		return false;
	header_init(&reply.header, (enum sim_message_type)m->header.type, m->header.sequence);
	switch ((enum sim_message_type)m->header.type) {
	case SIM_HELLO:
		r = hello(c, &reply);
		reply_len = SIM_MESSAGE_LEN(hello);
		break;
	case SIM_ATTACH:
		r = attach(c, m, &reply);
		if (r > 0)
			return true; /* it has sent its reply, with descriptors */
		break;
	case SIM_BYE:
		if (c->slot)
			authority_detach(&c->server->authority, c->slot);
		c->slot = 0;
		r = 0;
		break;
	case SIM_INTRODUCE:
		r = introduce(c, &m->slot);
		break;
	case SIM_KICK:
		forward_kick(c, &m->slot);
		return true;
	case SIM_STUCK:
		look_at_lock(c->server);
		return true;
	case SIM_PUBLISH:
	case SIM_REMOVE:
	case SIM_WATCH:
	case SIM_WATCH_OWN:
	case SIM_NEXT:
		r = store_request(c, m, &reply, &reply_len);
		break;
	case SIM_PEER:
	case SIM_TYPES:
		return false;
	default:
		r = server_domain_request(c, m, len, fd, &reply, &reply_len);
	}
	reply.header.status = r;
	if (r == -EPROTO)
		return false;
	return packet_send(c->fd, &reply, reply_len, NULL, 0, MSG_DONTWAIT) == 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct sim_server *s = c->server;
	struct sim_message m;
	int fds[SIM_FDS_MAX];
	ssize_t n = packet_recv(c->fd, &m, fds, MSG_DONTWAIT);
	bool ok;

	if (n == -EAGAIN)
		return;
	ok = n > 0 && handle(c, &m, (size_t)n, fds[0]);
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

static void on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
	struct sim_server *s = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (s->n_connections >= SERVER_CONNECTIONS_MAX || connection_new(s, fd) < 0)
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
	s->acceptable = event_watch(base, listen_fd, on_acceptable, s);
	s->kicked = event_watch(base, s->authority.event_fds[0], on_kicked, s);
	s->timer = evtimer_new(base, on_timer, s);
	s->authority.xen.seg->has_timers = 1;
	if (!s->acceptable || !s->kicked || !s->timer) {
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
	event_drop(s->acceptable);
	event_drop(s->kicked);
	event_drop(s->timer);
	close_p(&s->listen_fd);
	authority_fini(&s->authority);
	free(s);
}
