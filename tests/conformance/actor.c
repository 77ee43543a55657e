/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commanding end of an agent; see actor.h. Holds no struct hv and must never need one. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/conformance/actor.h"
#include "tests/conformance/case.h"

static struct agent_request request;
static struct agent_reply reply;
static struct actor *actors; /* every one that is open */

#define BROKEN(what) case_fail(__FILE__, __LINE__, "the agent is gone (%s)", what)

static void request_send(struct actor *actor)
{
	request.handle = actor->handle;
	if (agent_write_all(actor->link->fd, &request, AGENT_REQUEST_HEADER + request.len) < 0)
		BROKEN("request");
}

static int64_t reply_get(struct actor *actor)
{
	if (agent_read_all(actor->link->fd, &reply, AGENT_REPLY_HEADER) < 0 ||
		reply.len > AGENT_DATA_MAX ||
		agent_read_all(actor->link->fd, reply.data, reply.len) < 0)
		BROKEN("reply");
	return reply.rc;
}

/* Sends the request that was made by request_new, and the data behind it. */
static int64_t call(struct actor *actor)
{
	if (actor->link->busy)
		case_fail(__FILE__, __LINE__, "the case commands an actor that has a role");
	if (actor->link->direct) {
		request.handle = actor->handle;
		agent_execute(actor->link->direct, &request, &reply);
		return reply.rc;
	}
	request_send(actor);
	return reply_get(actor);
}

static void request_new(enum agent_op op, uint64_t a0, uint64_t a1, uint64_t a2)
{
	memset(&request, 0, AGENT_REQUEST_HEADER);
	request.op = op;
	request.arg[0] = a0;
	request.arg[1] = a1;
	request.arg[2] = a2;
}

static void request_data(const void *data, size_t len)
{
	if (len > AGENT_DATA_MAX - request.len)
		case_fail(__FILE__, __LINE__, "too much data for a request");
	if (len)
		memcpy(request.data + request.len, data, len);
	request.len += (uint32_t)len;
}

/* The value of output i, kept back on failure: what a backend must do as well. */
static int64_t call_u32(struct actor *actor, size_t i, uint32_t *ret)
{
	int64_t r = call(actor);

	if (r >= 0)
		*ret = (uint32_t)reply.val[i];
	return r;
}

/* ---- life --------------------------------------------------------------------------------- */

static int actor_add(struct agent_link *link, struct actor **ret_actor)
{
	struct actor *actor = calloc(1, sizeof(*actor));
	int64_t r;

	if (!actor)
		abort();
	actor->link = link;
	request_new(AGENT_OPEN, 0, 0, 0);
	r = call_u32(actor, 0, &actor->handle);
	if (r < 0) {
		free(actor);
		return (int)r;
	}
	actor->next = actors;
	actors = actor;
	request_new(AGENT_DOMID, 0, 0, 0);
	actor->domid = (uint16_t)call(actor);
	*ret_actor = actor;
	return 0;
}

struct actor *world_actor_in(const char *domain)
{
	struct agent_link *link = calloc(1, sizeof(*link));
	struct actor *actor = NULL;

	if (!link)
		abort();
	CHECK_OK(the_world->ops->join(the_world, domain, link));
	CHECK_OK(actor_add(link, &actor));
	return actor;
}

struct actor *world_actor(enum world_who who)
{
	return world_actor_in(the_world->names[who]);
}

struct actor *actor_sibling(struct actor *actor)
{
	struct actor *sibling = NULL;

	CHECK_OK(actor_add(actor->link, &sibling));
	return sibling;
}

int actor_sibling_try(struct actor *actor, struct actor **ret_sibling)
{
	return actor_add(actor->link, ret_sibling);
}

static bool link_used(const struct agent_link *link)
{
	for (struct actor *a = actors; a; a = a->next)
		if (a->link == link)
			return true;
	return false;
}

static void actor_forget(struct actor *actor)
{
	struct actor **at = &actors;

	while (*at != actor)
		at = &(*at)->next;
	*at = actor->next;
	free(actor);
}

static int link_end(struct agent_link *link)
{
	int status = 0;

	if (link->direct) {
		agent_free(link->direct);
	} else if (!link->pid) {
		status = the_world->ops->end(the_world, link);
		(void)close(link->fd);
	} else {
		(void)close(link->fd);
		while (waitpid(link->pid, &status, 0) < 0)
			if (errno != EINTR)
				break;
	}
	free(link);
	return status;
}

void actor_close(struct actor *actor)
{
	struct agent_link *link = actor->link;

	request_new(AGENT_CLOSE, 0, 0, 0);
	CHECK_OK(call(actor));
	actor_forget(actor);
	if (!link_used(link)) /* the agent ends by itself, and well: a sanitiser would say */
		CHECK_INT(link_end(link), 0);
}

static void actor_end(struct actor *actor, bool ended)
{
	struct agent_link *link = actor->link;
	struct actor *next;

	the_world->ops->kill(the_world, link, ended);
	for (struct actor *a = actors; a; a = next) {
		next = a->next;
		if (a->link == link)
			actor_forget(a);
	}
	free(link);
}

void actor_kill(struct actor *actor)
{
	actor_end(actor, false);
}

void actor_lost(struct actor *actor)
{
	actor_end(actor, true);
}

void actor_signal(struct actor *actor, int sig)
{
	if (the_world->ops->signal)
		CHECK_OK(the_world->ops->signal(the_world, actor->link, sig));
	else
		CHECK_OK(kill(actor->link->pid, sig));
}

void actor_close_all(void)
{
	while (actors)
		actor_close(actors);
}

uint64_t actor_now(struct actor *actor)
{
	request_new(AGENT_NOW, 0, 0, 0);
	(void)call(actor);
	return reply.val[0];
}

int actor_cpu(struct actor *actor)
{
	request_new(AGENT_CPU, 0, 0, 0);
	(void)call(actor);
	return (int)reply.val[0];
}

int actor_domid(struct actor *actor)
{
	request_new(AGENT_DOMID, 0, 0, 0);
	return (int)call(actor);
}

/* ---- events ------------------------------------------------------------------------------- */

int actor_readable(struct actor *actor, int timeout_ms)
{
	request_new(AGENT_READABLE, (uint64_t)timeout_ms, 0, 0);
	return (int)call(actor);
}

int actor_poll(struct actor *actor, int timeout_ms, size_t n, struct agent_event *ret_events)
{
	int64_t r;

	request_new(AGENT_POLL, (uint64_t)timeout_ms, n, 0);
	r = call(actor);
	if (r > 0)
		memcpy(ret_events, reply.data, (size_t)r * sizeof(*ret_events));
	return (int)r;
}

static bool pending_take(struct actor *actor, uint32_t type, uint32_t id)
{
	for (size_t i = 0; i < actor->n_pending; i++) {
		struct agent_event *e = &actor->pending[i];

		if (e->type == type && e->id == id) {
			*e = actor->pending[--actor->n_pending];
			return true;
		}
	}
	return false;
}

int actor_take(struct actor *actor, uint32_t type, uint32_t id, int timeout_ms)
{
	for (;;) {
		size_t room = ACTOR_MAX_PENDING - actor->n_pending;
		int r;

		if (pending_take(actor, type, id))
			return 1;
		r = actor_poll(actor, timeout_ms, room, actor->pending + actor->n_pending);
		if (r <= 0)
			return r;
		actor->n_pending += (size_t)r;
	}
}

/* ---- event channels ------------------------------------------------------------------------ */

int actor_alloc_unbound(struct actor *actor, uint16_t remote, uint32_t *ret_port)
{
	request_new(AGENT_ALLOC_UNBOUND, remote, 0, 0);
	return (int)call_u32(actor, 0, ret_port);
}

int actor_bind(struct actor *actor, uint16_t remote, uint32_t port, uint32_t *ret_port)
{
	int64_t r;

	request_new(AGENT_BIND, remote, port, 0);
	r = call_u32(actor, 0, ret_port);
	if (r < 0) /* hv.h: outputs are untouched on failure */
		CHECK_INT(reply.val[0], 0xdeadbeefU);
	return (int)r;
}

int actor_port_close(struct actor *actor, uint32_t port)
{
	request_new(AGENT_PORT_CLOSE, 0, 0, 0);
	request_data(&port, sizeof(port));
	return (int)call(actor);
}

/* The request that was made, many times. */
static int call_n(struct actor *actor, size_t times, size_t *ret_n)
{
	int64_t r;

	request.times = (uint32_t)times;
	r = call(actor);
	*ret_n = reply.val[AGENT_VAL_TIMES];
	return (int)r;
}

int actor_alloc_unbound_n(
	struct actor *actor, uint16_t remote, size_t times, uint32_t *ret_ports, size_t *ret_n)
{
	int r;

	request_new(AGENT_ALLOC_UNBOUND, remote, 0, 0);
	r = call_n(actor, times, ret_n);
	memcpy(ret_ports, reply.data, reply.len);
	return r;
}

int actor_bind_n(struct actor *actor, uint16_t remote, uint32_t port, size_t times, size_t *ret_n)
{
	request_new(AGENT_BIND, remote, port, 0);
	return call_n(actor, times, ret_n);
}

int actor_port_close_n(struct actor *actor, const uint32_t *ports, size_t times, size_t *ret_n)
{
	request_new(AGENT_PORT_CLOSE, 0, 0, 0);
	request_data(ports, times * sizeof(*ports));
	return call_n(actor, times, ret_n);
}

int actor_send(struct actor *actor, uint32_t port)
{
	request_new(AGENT_SEND, port, 0, 0);
	return (int)call(actor);
}

int actor_unmask_n(struct actor *actor, const uint32_t *ports, size_t n)
{
	request_new(AGENT_UNMASK, 0, 0, 0);
	request_data(ports, n * sizeof(*ports));
	return (int)call(actor);
}

int actor_unmask(struct actor *actor, uint32_t port)
{
	return actor_unmask_n(actor, &port, 1);
}

void actor_connect(struct actor *a, struct actor *b, uint32_t *ret_a, uint32_t *ret_b)
{
	CHECK_OK(actor_alloc_unbound(a, b->domid, ret_a));
	CHECK_OK(actor_bind(b, a->domid, *ret_a, ret_b));
	CHECK_PORT(b, *ret_b);
	CHECK_OK(actor_unmask(b, *ret_b));
}

/* ---- Argo --------------------------------------------------------------------------------- */

int actor_ring_register(struct actor *actor, uint32_t aport, uint16_t partner, uint32_t ring_len,
	uint32_t *ret_ring)
{
	int64_t r;

	request_new(AGENT_RING_REGISTER, aport, partner, ring_len);
	r = call_u32(actor, 0, ret_ring);
	if (r < 0)
		CHECK_INT(reply.val[1], 0); /* outputs are untouched on failure */
	return (int)r;
}

int actor_ring_state(struct actor *actor, uint32_t ring, struct actor_ring_state *ret_state)
{
	int64_t r;

	request_new(AGENT_RING_STATE, ring, 0, 0);
	r = call(actor);
	*ret_state = (struct actor_ring_state){(uint32_t)reply.val[0], (uint32_t)reply.val[1],
		(uint32_t)reply.val[2], (uint32_t)reply.val[3], (uint32_t)reply.val[4],
		reply.val[5] != 0};
	return (int)r;
}

int actor_ring_peer(struct actor *actor, uint32_t ring, uint32_t aport)
{
	request_new(AGENT_RING_PEER, ring, aport, 0);
	return (int)call(actor);
}

int actor_ring_sendv(struct actor *actor, uint32_t ring, uint64_t seed, const uint32_t *lens,
	size_t n, uint32_t type)
{
	request_new(AGENT_RING_SENDV, ring, seed, type);
	request_data(lens, n * sizeof(*lens));
	return (int)call(actor);
}

int actor_ring_send(struct actor *actor, uint32_t ring, uint64_t seed, uint32_t len, uint32_t type)
{
	return actor_ring_sendv(actor, ring, seed, &len, 1, type);
}

int actor_ring_consumed(struct actor *actor)
{
	request_new(AGENT_RING_CONSUMED, 0, 0, 0);
	return (int)call(actor);
}

int actor_ring_watch(struct actor *actor, uint32_t ring, bool on)
{
	request_new(AGENT_RING_WATCH, ring, on, 0);
	return (int)call(actor);
}

int actor_ring_unregister(struct actor *actor, uint32_t ring)
{
	request_new(AGENT_RING_UNREGISTER, ring, 0, 0);
	return (int)call(actor);
}

int actor_ring_recv(struct actor *actor, uint32_t ring, struct actor_message *ret_message)
{
	int64_t r;

	request_new(AGENT_RING_RECV, ring, 0, 0);
	r = call(actor);
	if (r == 1)
		*ret_message =
			(struct actor_message){(uint32_t)reply.val[0], (uint32_t)reply.val[1],
				(uint32_t)reply.val[2], (uint32_t)reply.val[3], reply.val[4]};
	return (int)r;
}

/* ---- grants -------------------------------------------------------------------------------- */

static void request_notify(const struct hv_unmap_notify *notify)
{
	request.arg[2] = notify ? notify->offset : 0;
	request.arg[3] = notify ? notify->port : 0;
	request.arg[4] = notify != NULL;
}

int actor_share(struct actor *actor, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, uint32_t *ret_share)
{
	int64_t r;

	request_new(AGENT_SHARE, remote, n, 0);
	request_notify(notify);
	r = call_u32(actor, 0, ret_share);
	if (r >= 0)
		memcpy(ret_refs, reply.data, n * sizeof(*ret_refs));
	return (int)r;
}

void actor_unshare(struct actor *actor, uint32_t share)
{
	request_new(AGENT_UNSHARE, share, 0, 0);
	(void)call(actor);
}

int actor_parcel_make(struct actor *actor, uint32_t *ret_port, uint32_t ret_refs[HV_PARCEL_PAGES])
{
	int64_t r;

	request_new(AGENT_PARCEL_MAKE, 0, 0, 0);
	r = call_u32(actor, 0, ret_port);
	if (r >= 0)
		memcpy(ret_refs, reply.data, HV_PARCEL_PAGES * sizeof(*ret_refs));
	return (int)r;
}

void actor_parcel_drop(struct actor *actor)
{
	request_new(AGENT_PARCEL_DROP, 0, 0, 0);
	(void)call(actor);
}

int actor_parcel_adopt(
	struct actor *actor, uint32_t notify_offset, uint32_t *ret_page, uint32_t *ret_others)
{
	int64_t r;

	request_new(AGENT_PARCEL_ADOPT, notify_offset, 0, 0);
	r = call_u32(actor, 0, ret_page);
	if (r >= 0)
		*ret_others = (uint32_t)reply.val[1];
	return (int)r;
}

int actor_notify(struct actor *actor, uint32_t share, const struct hv_unmap_notify *notify)
{
	request_new(AGENT_NOTIFY, share, 0, 0);
	request_notify(notify);
	return (int)call(actor);
}

int actor_map(struct actor *actor, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, uint32_t *ret_map)
{
	request_new(AGENT_MAP, remote, n, 0);
	request_notify(notify);
	request.arg[5] = writable;
	request_data(refs, n * sizeof(*refs));
	return (int)call_u32(actor, 0, ret_map);
}

void actor_unmap(struct actor *actor, uint32_t map)
{
	request_new(AGENT_UNMAP, map, 0, 0);
	(void)call(actor);
}

void actor_mem_read(struct actor *actor, uint32_t object, size_t off, void *buf, size_t len)
{
	request_new(AGENT_MEM_READ, object, off, len);
	CHECK_OK(call(actor));
	memcpy(buf, reply.data, len);
}

void actor_mem_write(struct actor *actor, uint32_t object, size_t off, const void *buf, size_t len)
{
	request_new(AGENT_MEM_WRITE, object, off, 0);
	request_data(buf, len);
	CHECK_OK(call(actor));
}

uint8_t actor_mem_get(struct actor *actor, uint32_t object, size_t off)
{
	uint8_t byte;

	actor_mem_read(actor, object, off, &byte, 1);
	return byte;
}

void actor_mem_set(struct actor *actor, uint32_t object, size_t off, uint8_t byte)
{
	actor_mem_write(actor, object, off, &byte, 1);
}

void actor_mem_fill(struct actor *actor, uint32_t object, size_t off, size_t len, uint64_t seed)
{
	request_new(AGENT_MEM_FILL, object, off, len);
	request.arg[3] = seed;
	CHECK_OK(call(actor));
}

uint64_t actor_mem_sum(struct actor *actor, uint32_t object, size_t off, size_t len)
{
	request_new(AGENT_MEM_SUM, object, off, len);
	CHECK_OK(call(actor));
	return reply.val[0];
}

bool actor_mem_writable(struct actor *actor, uint32_t object)
{
	request_new(AGENT_MEM_WRITABLE, object, 0, 0);
	return call(actor) == 1;
}

/* ---- store and domains ---------------------------------------------------------------------- */

int actor_publish(struct actor *actor, const char *key, const void *value, size_t len)
{
	request_new(AGENT_STORE_PUBLISH, len, 0, 0);
	request_data(key, strlen(key) + 1);
	request_data(value, len);
	return (int)call(actor);
}

int actor_publish_n(struct actor *actor, const char *key, unsigned first, const void *value,
	size_t len, size_t times, size_t *ret_n)
{
	request_new(AGENT_STORE_PUBLISH, len, first, 0);
	request_data(key, strlen(key) + 1);
	request_data(value, len);
	return call_n(actor, times, ret_n);
}

int actor_remove_n(struct actor *actor, uint16_t domid, const char *key, unsigned first,
	size_t times, size_t *ret_n)
{
	request_new(AGENT_STORE_REMOVE, domid, first, 0);
	request_data(key, strlen(key) + 1);
	return call_n(actor, times, ret_n);
}

int actor_remove(struct actor *actor, uint16_t domid, const char *key)
{
	request_new(AGENT_STORE_REMOVE, domid, 0, 0);
	request_data(key, strlen(key) + 1);
	return (int)call(actor);
}

int actor_store_watch(struct actor *actor)
{
	request_new(AGENT_STORE_WATCH, 0, 0, 0);
	return (int)call(actor);
}

int actor_store_watch_own(struct actor *actor)
{
	request_new(AGENT_STORE_WATCH_OWN, 0, 0, 0);
	return (int)call(actor);
}

int actor_store_next(struct actor *actor, struct hv_record *ret_record)
{
	int64_t r;

	request_new(AGENT_STORE_NEXT, 0, 0, 0);
	r = call(actor);
	memcpy(ret_record, reply.data, sizeof(*ret_record));
	return (int)r;
}

int actor_domain_watch(struct actor *actor)
{
	request_new(AGENT_DOMAIN_WATCH, 0, 0, 0);
	return (int)call(actor);
}

int actor_domain_list(struct actor *actor, struct hv_domain *ret_domains, size_t n)
{
	int64_t r;

	request_new(AGENT_DOMAIN_LIST, n, 0, 0);
	r = call(actor);
	if (n)
		memcpy(ret_domains, reply.data, n * sizeof(*ret_domains));
	return (int)r;
}

int actor_domain_tags(struct actor *actor, uint16_t domid, char ret_tags[HV_TAGS_MAX])
{
	int64_t r;

	request_new(AGENT_DOMAIN_TAGS, domid, 0, 0);
	r = call(actor);
	memcpy(ret_tags, reply.data, HV_TAGS_MAX);
	return (int)r;
}

/* ---- probes and roles ----------------------------------------------------------------------- */

static int probe(struct actor *actor, enum agent_op op, uint64_t arg)
{
	request_new(op, arg, 0, 0);
	return (int)call(actor);
}

int actor_count_fds(struct actor *actor)
{
	return probe(actor, AGENT_COUNT_FDS, 0);
}

int actor_count_mappings(struct actor *actor)
{
	return probe(actor, AGENT_COUNT_MAPPINGS, 0);
}

int actor_count_inherited(struct actor *actor)
{
	return probe(actor, AGENT_COUNT_INHERITED, 0);
}

int actor_fork_touch(struct actor *actor, uint32_t object)
{
	return probe(actor, AGENT_FORK_TOUCH, object);
}

int actor_hv_open(struct actor *actor, const char *spec, const char *env, bool *ret_reason)
{
	int64_t r;

	request_new(AGENT_HV_OPEN, 0, 0, 0);
	request_data(spec, strlen(spec) + 1);
	request_data(env, strlen(env) + 1);
	r = call(actor);
	*ret_reason = reply.val[0] != 0;
	return (int)r;
}

/* A role of an actor that has no process of its own runs in a thread. */
struct role {
	pthread_t thread;
	struct agent *agent;
	struct agent_request request;
	struct agent_reply reply;
};

static void *role_main(void *arg)
{
	struct role *role = arg;

	agent_execute(role->agent, &role->request, &role->reply);
	return NULL;
}

void actor_start(struct actor *actor, enum agent_op op, const uint64_t *args, size_t n_args)
{
	struct role *role;

	actor->link->busy = true;
	request_new(op, 0, 0, 0);
	memcpy(request.arg, args, n_args * sizeof(*args));
	if (!actor->link->direct) {
		request_send(actor);
		return;
	}
	role = calloc(1, sizeof(*role));
	if (!role)
		abort();
	role->agent = actor->link->direct;
	request.handle = actor->handle;
	memcpy(&role->request, &request, AGENT_REQUEST_HEADER);
	CHECK_OK(pthread_create(&role->thread, NULL, role_main, role));
	actor->link->role = role;
}

int64_t actor_finish(struct actor *actor, uint64_t *ret_vals, size_t n_vals)
{
	struct role *role = actor->link->role;
	int64_t r;

	actor->link->busy = false;
	if (role) {
		CHECK_OK(pthread_join(role->thread, NULL));
		memcpy(&reply, &role->reply, AGENT_REPLY_HEADER);
		free(role);
		actor->link->role = NULL;
		r = reply.rc;
	} else {
		r = reply_get(actor);
	}
	if (n_vals)
		memcpy(ret_vals, reply.val, n_vals * sizeof(*ret_vals));
	return r;
}
