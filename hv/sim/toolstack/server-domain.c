/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen-sim as a toolstack. A process is a domain's if it attached to it, or if `xen-sim run` started
 * it there. A pidfd names a process here, never a number that may be reused.
 */
#include "hv/sim/toolstack/server.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xen/sched.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/macro.h"
#include "hv/sim/hypervisor/domain.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/memory/proc.h"
#include "hv/sim/memory/slot.h"

/* A killed process is gone in microseconds; one stuck in its kernel is left behind as a zombie. */
#define KILL_WAIT_MS 500
#define STOP_TRIES   2000

void adopted_end(struct adopted *p)
{
	event_drop(p->died);
	(void)close(p->pid_fd);
	LIST_REMOVE(p, entries);
	p->server->n_adopted--;
	free(p);
}

static void on_adopted_died(evutil_socket_t fd, short what, void *arg)
{
	adopted_end(arg);
}

static bool is_attached_to(const struct connection *c, uint32_t index)
{
	return c->slot && slot_domain(&c->server->authority.xen, c->slot) == index;
}

static bool is_of(struct sim_server *s, const struct adopted *p, uint32_t index)
{
	return p->domain == index &&
	       p->generation == domain_at(&s->authority.xen, index)->generation;
}

/* Calls fn(pidfd, arg) for every process of the domain but xen-sim's own. */
static void each_process(struct sim_server *s, uint32_t index, void (*fn)(int, int), int arg)
{
	struct connection *c;
	struct adopted *p;

	LIST_FOREACH (c, &s->connections, entries)
		if (is_attached_to(c, index) && c->pid != getpid())
			fn(c->pid_fd, arg);
	LIST_FOREACH (p, &s->adopted, entries)
		if (is_of(s, p, index))
			fn(p->pid_fd, arg);
}

static void send_signal(int pid_fd, int sig)
{
	(void)syscall(SYS_pidfd_send_signal, pid_fd, sig, NULL, 0);
}

static bool ends_within(int pid_fd, int ms)
{
	struct pollfd p = {.fd = pid_fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static void wait_for_end(int pid_fd, int ms)
{
	(void)ends_within(pid_fd, ms);
}

/* Slots of processes that are gone: their own events would come later. */
static void detach_ended(struct sim_server *s, uint32_t index)
{
	struct connection *c;

	LIST_FOREACH (c, &s->connections, entries)
		if (is_attached_to(c, index) && ends_within(c->pid_fd, 0))
			connection_detach(c);
}

/* The processes end first, as the vcpus of a destroyed domain stop before anything is torn down. */
void server_domain_destroy(struct sim_server *s, uint32_t index)
{
	struct sim_domain *d = domain_at(&s->authority.xen, index);

	if (d->state == SIM_DOMAIN_FREE || d->state == SIM_DOMAIN_DYING)
		return;
	each_process(s, index, send_signal, SIGKILL);
	each_process(s, index, wait_for_end, KILL_WAIT_MS);
	authority_domain_kill(&s->authority, index);
	detach_ended(s, index);
	authority_domains_reap(&s->authority);
}

static bool has_stopped(int pid_fd)
{
	int32_t pid = proc_pid_of(pid_fd);
	struct proc_stat stat;

	return !pid || !proc_look(pid, &stat) || strchr("TtZXx", stat.state);
}

static void wait_for_stop(int pid_fd, int tries)
{
	for (int i = 0; i < tries && !has_stopped(pid_fd); i++)
		(void)sched_yield();
}

/* With the locks held here, none of them can hold one when it stops. */
static void processes_stop(struct sim_server *s, uint32_t index)
{
	txn_begin(&s->authority.xen);
	each_process(s, index, send_signal, SIGSTOP);
	each_process(s, index, wait_for_stop, STOP_TRIES);
	txn_abort(&s->authority.xen);
}

static uint32_t pid_add(int32_t *pids, uint32_t n, int32_t pid)
{
	for (uint32_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return n;
	pids[n] = pid;
	return n + 1;
}

/* Each process once, however many handles it has. */
static uint32_t process_count(struct sim_server *s, uint32_t index)
{
	int32_t pids[SERVER_CONNECTIONS_MAX + SERVER_ADOPTED_MAX];
	const struct connection *c;
	const struct adopted *p;
	uint32_t n = 0;

	LIST_FOREACH (c, &s->connections, entries)
		if (is_attached_to(c, index))
			n = pid_add(pids, n, c->pid);
	LIST_FOREACH (p, &s->adopted, entries)
		if (is_of(s, p, index))
			n = pid_add(pids, n, p->pid);
	return n;
}

static void describe(struct sim_server *s, uint32_t index, struct sim_domain_info *ret)
{
	*ret = (struct sim_domain_info){0};
	domain_describe(&s->authority.xen, index, &ret->domain);
	ret->n_processes = process_count(s, index);
	ret->no_argo = !(domain_at(&s->authority.xen, index)->flags & SIM_DOMAIN_ARGO);
	ret->no_argo_driver = !!(domain_at(&s->authority.xen, index)->flags & SIM_DOMAIN_NO_DRIVER);
}

static int create(struct connection *c, struct sim_message *m, struct sim_message *reply)
{
	static const uint8_t no_uuid[HV_UUID_LEN];
	struct sim_server *s = c->server;
	struct domain_config config = {
		.name = m->create.name[0] ? m->create.name : NULL,
		.uuid = memcmp(m->create.uuid, no_uuid, HV_UUID_LEN) ? m->create.uuid : NULL,
		.domid = m->create.domid,
		.flags = (uint8_t)(SIM_DOMAIN_GUEST_KERNEL |
				   (m->create.no_argo ? 0U : SIM_DOMAIN_ARGO) |
				   (m->create.no_argo_driver ? SIM_DOMAIN_NO_DRIVER : 0U)),
	};
	uint32_t index = DOMAIN_NONE;
	bool created = false;
	int r = 0;

	if (!memchr(m->create.name, 0, sizeof(m->create.name)))
		return -EPROTO;
	if (c->ephemeral && m->create.ephemeral)
		return -EBUSY; /* one a connection */
	if (config.name && m->create.may_exist)
		index = authority_domain_find(&s->authority, config.name);
	if (index == DOMAIN_NONE) {
		r = authority_domain_create(&s->authority, &config, &index);
		created = true;
	}
	if (r < 0)
		return r;
	describe(s, index, &reply->domain);
	reply->domain.created = created;
	if (created && m->create.ephemeral) {
		c->ephemeral = index + 1;
		c->ephemeral_generation = reply->domain.domain.generation;
	}
	return 0;
}

static int adopt(struct connection *c, uint32_t index, int pid_fd)
{
	struct sim_server *s = c->server;
	struct adopted *p;

	/* Signal 0 also shows that it is a pidfd, and that the process is ours to end. */
	if (pid_fd < 0 || syscall(SYS_pidfd_send_signal, pid_fd, 0, NULL, 0) < 0)
		return pid_fd >= 0 && errno == EPERM ? -EACCES : -EINVAL;
	if (s->n_adopted >= SERVER_ADOPTED_MAX)
		return -EUSERS;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->server = s;
	p->domain = index;
	p->generation = domain_at(&s->authority.xen, index)->generation;
	p->pid = proc_pid_of(pid_fd);
	p->pid_fd = fcntl(pid_fd, F_DUPFD_CLOEXEC, 0);
	p->died = p->pid_fd < 0 ? NULL : event_watch(s->base, p->pid_fd, on_adopted_died, p);
	if (!p->died) {
		close_p(&p->pid_fd);
		free(p);
		return -EUSERS; /* our shortage */
	}
	LIST_INSERT_HEAD(&s->adopted, p, entries);
	s->n_adopted++;
	return 0;
}

static int list(struct sim_server *s, uint32_t nth, struct sim_message *reply)
{
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++) {
		if (domain_at(&s->authority.xen, i)->state == SIM_DOMAIN_FREE || nth-- > 0)
			continue;
		describe(s, i, &reply->domain);
		return 0;
	}
	return -ENOENT;
}

/*
 * A suspended domain goes on, under its domid or, restored, under another one. Stock Linux:
 * drivers/xen/evtchn.c runs into a BUG then when a port that was open is closed.
 */
static int go_on(struct sim_server *s, uint32_t index, bool restored)
{
	struct sim_domain *d = domain_at(&s->authority.xen, index);
	int r = 0;

	if (d->state != SIM_DOMAIN_SHUTDOWN || d->shutdown_reason != SHUTDOWN_suspend)
		return -EINVAL;
	if (restored)
		r = authority_domain_restore(&s->authority, index);
	else
		authority_domain_set_state(&s->authority, index, SIM_DOMAIN_RUNNING, 0);
	if (r == -EBUSY)
		authority_domain_set_state(
			&s->authority, index, SIM_DOMAIN_SHUTDOWN, SHUTDOWN_crash);
	else if (r == 0 && !d->paused)
		each_process(s, index, send_signal, SIGCONT);
	return r;
}

static int set_state(struct sim_server *s, uint32_t index, enum sim_message_type type)
{
	struct sim_domain *d = domain_at(&s->authority.xen, index);

	if (index == 0)
		return -EPERM;
	if (d->state == SIM_DOMAIN_DYING)
		return -ESRCH;
	switch (type) {
	case SIM_DESTROY:
		server_domain_destroy(s, index);
		return 0;
	case SIM_PAUSE:
		authority_domain_set_paused(&s->authority, index, true);
		processes_stop(s, index);
		return 0;
	case SIM_UNPAUSE:
		each_process(s, index, send_signal, SIGCONT);
		authority_domain_set_paused(&s->authority, index, false);
		return 0;
	case SIM_CRASH: /* its processes stay, as the memory of a crashed domain does: stopped */
	case SIM_SUSPEND:
		if (d->state != SIM_DOMAIN_RUNNING)
			return -EINVAL;
		processes_stop(s, index);
		authority_domain_set_state(&s->authority, index, SIM_DOMAIN_SHUTDOWN,
			type == SIM_CRASH ? SHUTDOWN_crash : SHUTDOWN_suspend);
		return 0;
	default: /* SIM_RESTORE, SIM_RESUME */
		return go_on(s, index, type == SIM_RESTORE);
	}
}

int tool_request(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply)
{
	struct sim_server *s = c->server;
	enum sim_message_type type = (enum sim_message_type)m->header.type;
	uint32_t index;

	if (type == SIM_SHUTDOWN)
		return event_base_loopbreak(s->base) == 0 ? 0 : -EIO;
	if (type == SIM_CREATE)
		return create(c, m, reply);
	if (type == SIM_LIST)
		return list(s, m->index, reply);
	m->name.domain[sizeof(m->name.domain) - 1] = 0;
	index = authority_domain_find(&s->authority, m->name.domain);
	if (index == DOMAIN_NONE)
		return -ESRCH;
	if (type == SIM_TAG)
		return authority_domain_tag(&s->authority, index, m->tags.tags, m->tags.by_guest);
	return type == SIM_ADOPT ? adopt(c, index, fd) : set_state(s, index, type);
}
