/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Executes hv operations on command; see agent.h. It must never judge what a backend answers. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/argo-ring.h"
#include "tests/conformance/agent-private.h"
#include "tests/conformance/agent-probe.h"

struct hv *agent_hv(struct agent *agent, uint32_t handle)
{
	if (handle < 1 || handle > AGENT_MAX_HANDLES || !agent->hv[handle - 1]) {
		fprintf(stderr, "agent: no handle %u\n", handle);
		abort();
	}
	return agent->hv[handle - 1];
}

struct object *agent_object(struct agent *agent, uint64_t id, enum object_kind kind)
{
	struct object *o = &agent->objects[(id - 1) % AGENT_MAX_OBJECTS];

	if (id < 1 || id > AGENT_MAX_OBJECTS || o->kind == OBJECT_FREE ||
		(kind != OBJECT_FREE && o->kind != kind)) {
		fprintf(stderr, "agent: no object %lu\n", (unsigned long)id);
		abort();
	}
	return o;
}

static struct object *object_new(struct agent *agent, uint32_t handle, uint64_t *ret_id)
{
	for (size_t i = 0; i < AGENT_MAX_OBJECTS; i++) {
		struct object *o = &agent->objects[i];

		if (o->kind == OBJECT_FREE) {
			memset(o, 0, sizeof(*o));
			o->handle = handle;
			*ret_id = i + 1;
			return o;
		}
	}
	fprintf(stderr, "agent: too many objects\n");
	abort();
}

static uint32_t ring_id(struct agent *agent, const struct hv_ring *ring)
{
	for (uint32_t i = 0; i < AGENT_MAX_OBJECTS; i++)
		if (agent->objects[i].kind == OBJECT_RING && agent->objects[i].ring == ring)
			return i + 1;
	return 0; /* an event for a ring that is gone: the case will see id 0 */
}

struct agent *agent_new(agent_open_fn open_fn, void *arg)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent)
		abort();
	agent->open_fn = open_fn;
	agent->arg = arg;
	return agent;
}

static void agent_close_handle(struct agent *agent, uint32_t handle)
{
	struct hv *hv = agent_hv(agent, handle);

	/* close gives everything back by itself: that is what is being tested */
	for (size_t i = 0; i < AGENT_MAX_OBJECTS; i++)
		if (agent->objects[i].handle == handle)
			agent->objects[i].kind = OBJECT_FREE;
	agent->hv[handle - 1] = NULL;
	hv_close(hv);
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	for (uint32_t i = 0; i < AGENT_MAX_HANDLES; i++)
		if (agent->hv[i])
			agent_close_handle(agent, i + 1);
	free(agent->arg);
	free(agent);
}

void agent_drop(struct agent *agent, void (*drop)(void *arg, struct hv *hv), void *arg)
{
	for (uint32_t i = 0; i < AGENT_MAX_HANDLES; i++) {
		if (agent->hv[i])
			drop(arg, agent->hv[i]);
		agent->hv[i] = NULL;
	}
	agent_free(agent);
}

/* ---- the handle ------------------------------------------------------------------------- */

static int64_t do_open(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	uint32_t i = 0;
	int r;

	while (i < AGENT_MAX_HANDLES && agent->hv[i])
		i++;
	if (i == AGENT_MAX_HANDLES)
		abort();
	r = agent->open_fn(agent->arg, &agent->hv[i]);
	re->val[0] = i + 1;
	return r;
}

static int64_t do_close(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	agent_close_handle(agent, rq->handle);
	return 0;
}

int agent_poll_fd(struct hv *hv, int timeout_ms)
{
	struct pollfd p = {.fd = hv->ops->fd(hv), .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r > 0 && (p.revents & POLLIN);
}

static int64_t do_handle(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);

	switch (rq->op) {
	case AGENT_DOMID:
		return hv->ops->domid(hv);
	case AGENT_NOW:
		re->val[0] = hv->ops->now_ns(hv);
		return 0;
	case AGENT_CPU:
		re->val[0] = (uint64_t)(int64_t)hv->ops->cpu(hv);
		return 0;
	default:
		return agent_poll_fd(hv, (int)rq->arg[0]);
	}
}

/*
 * arg: timeout_ms, room. Waits on the descriptor only, so that every wait of the suite checks that
 * the descriptor tells of events: -EPROTO is a descriptor that stayed silent though there were
 * some.
 */
static int64_t do_poll(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct hv_event events[256];
	struct agent_event *out = (struct agent_event *)re->data;
	size_t room = rq->arg[1] < 256 ? rq->arg[1] : 256;
	uint64_t end = hv->ops->now_ns(hv) + rq->arg[0] * 1000000U;
	int n = hv->ops->poll_events(hv, events, room);

	while (n == 0 && room > 0) {
		uint64_t now = hv->ops->now_ns(hv);
		int left_ms = now < end ? (int)((end - now) / 1000000U) + 1 : 0;
		int readable = agent_poll_fd(hv, rq->arg[0] ? left_ms : 0);

		n = hv->ops->poll_events(hv, events, room);
		if (n > 0 && !readable)
			return -EPROTO;
		/* readable and empty is legal while another process acts; virtual time stands */
		if (!readable || left_ms == 0 || !rq->arg[0])
			break;
	}
	for (int i = 0; i < n; i++) {
		out[i].type = events[i].type;
		out[i].id = events[i].type == HV_EVENT_PORT   ? events[i].port
			    : events[i].type == HV_EVENT_RING ? ring_id(agent, events[i].ring)
							      : 0;
	}
	re->len = n > 0 ? (uint32_t)n * sizeof(*out) : 0;
	return n;
}

/* ---- event channels ---------------------------------------------------------------------- */

static int64_t do_evtchn(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	uint32_t port = 0xdeadbeefU; /* stays: outputs are untouched on failure */
	int r;

	switch (rq->op) {
	case AGENT_ALLOC_UNBOUND:
		r = hv->ops->evtchn_alloc_unbound(hv, (uint16_t)rq->arg[0], &port);
		if (r == 0 && rq->times) {
			memcpy(re->data + agent->turn * sizeof(port), &port, sizeof(port));
			re->len = (agent->turn + 1) * sizeof(port);
		}
		break;
	case AGENT_BIND:
		r = hv->ops->evtchn_bind_interdomain(
			hv, (uint16_t)rq->arg[0], (uint32_t)rq->arg[1], &port);
		break;
	case AGENT_PORT_CLOSE:
		memcpy(&port, rq->data + agent->turn * sizeof(port), sizeof(port));
		return hv->ops->evtchn_close(hv, port);
	case AGENT_SEND:
		return hv->ops->evtchn_send(hv, (uint32_t)rq->arg[0]);
	default:
		return hv->ops->evtchn_unmask(hv, (const uint32_t *)rq->data, rq->len / 4);
	}
	re->val[0] = port;
	return r;
}

/* ---- Argo -------------------------------------------------------------------------------- */

static int64_t do_register(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o = object_new(agent, rq->handle, &re->val[0]);
	struct hv_ring *ring = (struct hv_ring *)o; /* anything but what a backend would return */
	int r = hv->ops->argo_register(
		hv, (uint32_t)rq->arg[0], (uint16_t)rq->arg[1], (uint32_t)rq->arg[2], &ring);

	re->val[1] = r < 0 && ring != (struct hv_ring *)o;
	if (r < 0)
		return r;
	o->kind = OBJECT_RING;
	o->ring = ring;
	o->rx = atomic_load(argo_ring_rx(ring));
	return r;
}

/* data: n segment lengths; arg: ring, seed, type. */
static int64_t do_sendv(struct agent *agent, const struct agent_request *rq)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o = agent_object(agent, rq->arg[0], OBJECT_RING);
	struct iovec iov[16];
	size_t n = rq->len / 4, total = 0;
	uint32_t len;
	uint8_t *buf;
	int r;

	if (n > 16)
		abort();
	for (size_t i = 0; i < n; i++) {
		memcpy(&len, rq->data + 4 * i, 4);
		iov[i].iov_len = len;
		total += len;
	}
	buf = malloc(total + 1);
	if (!buf)
		abort();
	/* a message that is too long to be sent needs no content */
	pattern_fill(rq->arg[1], buf, total <= ARGO_RING_LEN_MAX ? total : 0);
	total = 0;
	for (size_t i = 0; i < n; i++) {
		iov[i].iov_base = buf + total;
		total += iov[i].iov_len;
	}
	r = hv->ops->argo_sendv(hv, o->ring, iov, n, (uint32_t)rq->arg[2]);
	memset(buf, 0xee, total); /* "copied before it returns" */
	free(buf);
	return r;
}

int agent_ring_take(struct object *o, struct argo_message *ret_message, void *payload, size_t max)
{
	int r = argo_ring_peek(o->ring, o->rx, ret_message);

	if (r <= 0)
		return r;
	if (ret_message->len > max)
		return -EMSGSIZE;
	argo_ring_copy(o->ring, ret_message->data_off, payload, ret_message->len);
	o->rx = argo_ring_advance(
		o->ring, o->rx, round_up16(ret_message->len + ARGO_MESSAGE_HEADER_LEN));
	argo_ring_release(o->ring, o->rx);
	return 1;
}

static int64_t do_recv(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct object *o = agent_object(agent, rq->arg[0], OBJECT_RING);
	struct argo_message m;
	uint8_t *buf;
	int r = argo_ring_peek(o->ring, o->rx, &m);

	if (r <= 0)
		return r;
	buf = malloc((size_t)m.len + 1);
	if (!buf)
		abort();
	r = agent_ring_take(o, &m, buf, m.len);
	if (r == 1) {
		re->val[0] = m.len;
		re->val[1] = m.aport;
		re->val[2] = m.domid;
		re->val[3] = m.type;
		re->val[4] = pattern_sum(buf, m.len);
	}
	free(buf);
	return r;
}

static int64_t do_state(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	const struct hv_ring *ring = agent_object(agent, rq->arg[0], OBJECT_RING)->ring;
	const uint8_t *mem = ring->mem;

	re->val[0] = atomic_load(argo_ring_rx(ring));
	re->val[1] = atomic_load(argo_ring_tx(ring));
	re->val[2] = ring->ring_len;
	re->val[3] = ring->aport;
	re->val[4] = ring->partner;
	re->val[5] = 1;
	for (size_t i = 8; i < (size_t)ARGO_RING_HEADER_LEN + ring->ring_len; i++)
		re->val[5] &= mem[i] == 0;
	return 0;
}

static int64_t do_argo(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o;

	switch (rq->op) {
	case AGENT_RING_REGISTER:
		return do_register(agent, rq, re);
	case AGENT_RING_SENDV:
		return do_sendv(agent, rq);
	case AGENT_RING_RECV:
		return do_recv(agent, rq, re);
	case AGENT_RING_STATE:
		return do_state(agent, rq, re);
	case AGENT_RING_CONSUMED:
		return hv->ops->argo_consumed(hv);
	default:
		break;
	}
	o = agent_object(agent, rq->arg[0], OBJECT_RING);
	if (rq->op == AGENT_RING_PEER)
		return hv->ops->argo_peer(hv, o->ring, (uint32_t)rq->arg[1]);
	if (rq->op == AGENT_RING_WATCH)
		return hv->ops->argo_watch(hv, o->ring, rq->arg[1] != 0);
	o->kind = OBJECT_FREE;
	return hv->ops->argo_unregister(hv, o->ring);
}

/* ---- grants ------------------------------------------------------------------------------ */

/* arg: remote, n, offset, port, has notify[, writable]; refs in data */
static int64_t do_share(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o = object_new(agent, rq->handle, &re->val[0]);
	struct hv_unmap_notify notify = {(uint32_t)rq->arg[2], (uint32_t)rq->arg[3]};
	size_t n = rq->arg[1];
	int r;

	if (n * 4 > AGENT_DATA_MAX)
		abort();
	r = hv->ops->grant_share(hv, (uint16_t)rq->arg[0], n, rq->arg[4] ? &notify : NULL,
		(uint32_t *)re->data, &o->addr, &o->share);
	if (r < 0)
		return r;
	o->kind = OBJECT_SHARE;
	o->len = n * HV_PAGE_SIZE;
	re->len = (uint32_t)n * 4;
	return r;
}

static int64_t do_map(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o = object_new(agent, rq->handle, &re->val[0]);
	struct hv_unmap_notify notify = {(uint32_t)rq->arg[2], (uint32_t)rq->arg[3]};
	size_t n = rq->len / 4;
	int r = hv->ops->grant_map(hv, (uint16_t)rq->arg[0], (const uint32_t *)rq->data, n,
		rq->arg[5] != 0, rq->arg[4] ? &notify : NULL, &o->addr, &o->map);

	if (r < 0)
		return r;
	o->kind = OBJECT_MAP;
	o->len = n * HV_PAGE_SIZE;
	return r;
}

/* arg: share, unused, offset, port, has notify */
static int64_t do_notify(struct agent *agent, const struct agent_request *rq)
{
	struct hv_unmap_notify notify = {(uint32_t)rq->arg[2], (uint32_t)rq->arg[3]};
	struct hv *hv = agent_hv(agent, rq->handle);

	return hv->ops->grant_notify(hv, agent_object(agent, rq->arg[0], OBJECT_SHARE)->share,
		rq->arg[4] ? &notify : NULL);
}

static int64_t do_grant(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o;

	switch (rq->op) {
	case AGENT_SHARE:
		return do_share(agent, rq, re);
	case AGENT_MAP:
		return do_map(agent, rq, re);
	case AGENT_NOTIFY:
		return do_notify(agent, rq);
	case AGENT_UNSHARE:
		o = agent_object(agent, rq->arg[0], OBJECT_SHARE);
		o->kind = OBJECT_FREE;
		hv->ops->grant_unshare(hv, o->share);
		return 0;
	default:
		o = agent_object(agent, rq->arg[0], OBJECT_MAP);
		o->kind = OBJECT_FREE;
		hv->ops->grant_unmap(hv, o->map);
		return 0;
	}
}

/* ---- parcels ----------------------------------------------------------------------------- */

static int64_t parcel_make(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	int r = hv->ops->parcel_make(hv, &agent->parcel);

	if (r < 0)
		return r;
	re->val[0] = agent->parcel.port;
	memcpy(re->data, agent->parcel.refs, sizeof(agent->parcel.refs));
	re->len = sizeof(agent->parcel.refs);
	return r;
}

/* arg: offset. The descriptors go over: they are not the maker's any more. */
static int64_t parcel_adopt(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct hv_parcel parcel = agent->parcel;
	struct hv_adopted adopted;
	struct object *o;
	int r;

	agent->parcel.fds[0] = agent->parcel.fds[1] = -1;
	r = hv->ops->parcel_adopt(hv, &parcel, (uint32_t)rq->arg[0], &adopted);
	if (r < 0)
		return r;
	o = object_new(agent, rq->handle, &re->val[0]);
	o->kind = OBJECT_SHARE;
	o->share = adopted.page_share;
	o->addr = adopted.page;
	o->len = HV_PAGE_SIZE;
	o = object_new(agent, rq->handle, &re->val[1]);
	o->kind = OBJECT_SHARE;
	o->share = adopted.others_share;
	o->addr = adopted.others;
	o->len = (HV_PARCEL_PAGES - 1) * HV_PAGE_SIZE;
	return r;
}

static int64_t do_parcel(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);

	if (rq->op == AGENT_PARCEL_MAKE)
		return parcel_make(agent, rq, re);
	if (rq->op == AGENT_PARCEL_ADOPT)
		return parcel_adopt(agent, rq, re);
	hv->ops->parcel_drop(hv, &agent->parcel);
	return 0;
}

static int64_t do_memory(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct object *o = agent_object(agent, rq->arg[0], OBJECT_FREE);
	size_t off = rq->arg[1];
	size_t len = rq->op == AGENT_MEM_WRITE ? rq->len : rq->arg[2];
	uint8_t *at = (uint8_t *)o->addr + off;

	if (rq->op == AGENT_MEM_WRITABLE)
		return probe_writable(o->addr);
	if (off > o->len || len > o->len - off || len > AGENT_DATA_MAX)
		abort();
	switch (rq->op) {
	case AGENT_MEM_READ:
		memcpy(re->data, at, len);
		re->len = (uint32_t)len;
		break;
	case AGENT_MEM_WRITE:
		memcpy(at, rq->data, len);
		break;
	case AGENT_MEM_FILL:
		pattern_fill(rq->arg[3], at, len);
		break;
	default:
		re->val[0] = pattern_sum(at, len);
		break;
	}
	return 0;
}

/* ---- store and domains ------------------------------------------------------------------- */

static int64_t do_store(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	const char *key = (const char *)rq->data; /* with its NUL, then the value */
	size_t key_len = rq->op <= AGENT_STORE_REMOVE ? strlen(key) + 1 : 0;
	struct hv_record record;
	char numbered[16];
	int r;

	if (rq->times) {
		(void)snprintf(numbered, sizeof(numbered), "%.5s%04u", key,
			(uint32_t)rq->arg[1] + agent->turn);
		key = numbered;
	}
	switch (rq->op) {
	case AGENT_STORE_PUBLISH:
		return hv->ops->store_publish(hv, key, rq->data + key_len, rq->arg[0]);
	case AGENT_STORE_REMOVE:
		return hv->ops->store_remove(hv, (uint16_t)rq->arg[0], key);
	case AGENT_STORE_WATCH:
		return hv->ops->store_watch(hv);
	case AGENT_STORE_WATCH_OWN:
		return hv->ops->store_watch_own(hv);
	default:
		memset(&record, 0, sizeof(record));
		r = hv->ops->store_next(hv, &record);
		memcpy(re->data, &record, sizeof(record));
		re->len = sizeof(record);
		return r;
	}
}

static int64_t do_domain(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct hv_domain *domains = (struct hv_domain *)re->data;
	size_t room = rq->arg[0];
	int r;

	if (rq->op == AGENT_DOMAIN_WATCH)
		return hv->ops->domain_watch(hv);
	if (rq->op == AGENT_DOMAIN_TAGS) {
		re->len = HV_TAGS_MAX;
		memset(re->data, 0xa5, HV_TAGS_MAX);
		return hv->ops->domain_tags(hv, (uint16_t)rq->arg[0], (char *)re->data);
	}
	if (room > AGENT_DATA_MAX / sizeof(*domains))
		abort();
	memset(domains, 0xa5, room * sizeof(*domains)); /* shows what was not written */
	r = hv->ops->domain_list(hv, domains, room);
	re->len = (uint32_t)(room * sizeof(*domains));
	return r;
}

static void execute_once(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	switch (rq->op) {
	case AGENT_OPEN:
		re->rc = do_open(agent, rq, re);
		break;
	case AGENT_CLOSE:
		re->rc = do_close(agent, rq, re);
		break;
	case AGENT_DOMID ... AGENT_READABLE:
		re->rc = do_handle(agent, rq, re);
		break;
	case AGENT_POLL:
		re->rc = do_poll(agent, rq, re);
		break;
	case AGENT_ALLOC_UNBOUND ... AGENT_UNMASK:
		re->rc = do_evtchn(agent, rq, re);
		break;
	case AGENT_RING_REGISTER ... AGENT_RING_STATE:
		re->rc = do_argo(agent, rq, re);
		break;
	case AGENT_SHARE ... AGENT_UNMAP:
		re->rc = do_grant(agent, rq, re);
		break;
	case AGENT_PARCEL_MAKE ... AGENT_PARCEL_ADOPT:
		re->rc = do_parcel(agent, rq, re);
		break;
	case AGENT_MEM_READ ... AGENT_MEM_WRITABLE:
		re->rc = do_memory(agent, rq, re);
		break;
	case AGENT_STORE_PUBLISH ... AGENT_STORE_NEXT:
		re->rc = do_store(agent, rq, re);
		break;
	case AGENT_DOMAIN_WATCH ... AGENT_DOMAIN_TAGS:
		re->rc = do_domain(agent, rq, re);
		break;
	case AGENT_COUNT_FDS:
		re->rc = probe_count_fds(false);
		break;
	case AGENT_COUNT_INHERITED:
		re->rc = probe_count_fds(true) - probe_base_inherited;
		break;
	case AGENT_COUNT_MAPPINGS:
		re->rc = probe_count_mappings();
		break;
	case AGENT_FORK_TOUCH:
		re->rc = probe_fork_touch(agent_object(agent, rq->arg[0], OBJECT_FREE));
		break;
	case AGENT_HV_OPEN:
		re->rc = probe_hv_open((const char *)rq->data,
			(const char *)rq->data + strlen((const char *)rq->data) + 1, &re->val[0]);
		break;
	default:
		re->rc = agent_role(agent, rq, re);
		break;
	}
}

void agent_execute(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	int64_t first;

	memset(re, 0, AGENT_REPLY_HEADER);
	agent->turn = 0;
	execute_once(agent, rq, re);
	first = re->rc;
	while (re->rc == first && ++agent->turn < rq->times)
		execute_once(agent, rq, re);
	if (rq->times)
		re->val[AGENT_VAL_TIMES] = agent->turn;
}

int agent_serve(struct agent *agent, int fd)
{
	static struct agent_request rq; /* one agent a process */
	static struct agent_reply re;

	while (agent_read_all(fd, &rq, AGENT_REQUEST_HEADER) == 0) {
		if (rq.len > AGENT_DATA_MAX || agent_read_all(fd, rq.data, rq.len) < 0)
			return 1;
		agent_execute(agent, &rq, &re);
		if (agent_write_all(fd, &re, AGENT_REPLY_HEADER + re.len) < 0)
			return 1;
	}
	agent_free(agent);
	return 0;
}
