/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The longer work of agents, beside each other: the concurrent halves of cases. Each role checks
 * what only it can see and returns a negative errno for the first thing that is wrong; the case
 * judges the counts.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hv/argo-ring.h"
#include "tests/conformance/agent-private.h"

#define ROLE_WAIT_MS	 8000
#define ROLE_MAX_SENDERS 16
#define ROLE_MESSAGE_MAX 262144

/* How each message of the role starts; the rest is pattern(seq ^ aport). */
struct role_header {
	uint32_t sender; /* whom the case calls so: aports are reused after a death */
	uint32_t aport;	 /* of the sender's own ring */
	uint32_t seq;
	uint32_t len; /* of the whole message */
	uint32_t last;
	uint32_t pad;
	uint64_t sum; /* of what follows */
};

static uint64_t role_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Waits on the descriptor for one event of this kind; unmasks ports. 0 or -ETIMEDOUT, -EPROTO. */
static int role_wait(struct hv *hv, enum hv_event_type type, uint32_t port)
{
	for (;;) {
		int readable = agent_poll_fd(hv, ROLE_WAIT_MS);
		struct hv_event events[8];
		int n = hv->ops->poll_events(hv, events, 8);
		bool seen = false;

		if (n < 0)
			return n;
		if (!readable) /* a lost wake-up, if there was something after all */
			return n > 0 ? -EPROTO : -ETIMEDOUT;
		for (int i = 0; i < n; i++) {
			seen |= events[i].type == type &&
				(type != HV_EVENT_PORT || events[i].port == port);
			if (events[i].type == HV_EVENT_PORT)
				(void)hv->ops->evtchn_unmask(hv, &events[i].port, 1);
		}
		if (seen)
			return 0;
	}
}

/* ---- Argo: many senders, one receiver ------------------------------------------------------ */

static size_t role_cut(uint64_t *rng, uint8_t *buf, size_t len, struct iovec iov[ARGO_MAX_IOV])
{
	size_t n = 1 + role_random(rng) % ARGO_MAX_IOV, off = 0;

	for (size_t i = 0; i < n; i++) {
		size_t part = i == n - 1 ? len - off : role_random(rng) % (len - off + 1);

		iov[i] = (struct iovec){buf + off, part};
		off += part;
	}
	return n;
}

/* Sends until it went; counts refusals and wake-ups. */
static int role_send_one(struct hv *hv, struct object *o, const struct iovec *iov, size_t n,
	uint32_t type, uint64_t *vals)
{
	bool armed = false;
	int r;

	for (;;) {
		r = hv->ops->argo_sendv(hv, o->ring, iov, n, type);
		if (r >= 0)
			return r;
		if (r == -EBUSY || r == -ENOMEM) { /* no wake-up will come: a timer */
			(void)poll(NULL, 0, 1);
			continue;
		}
		if (r != -EAGAIN)
			return r;
		vals[1]++;
		if (!armed) { /* and try again: room may have come before the watch was on */
			r = hv->ops->argo_watch(hv, o->ring, true);
			armed = true;
		} else {
			r = role_wait(hv, HV_EVENT_RING, 0);
			armed = false;
			vals[2]++;
		}
		if (r < 0)
			return r;
	}
}

/* arg: ring, count, max_len, the sender's number. val: sent, refused, woken. */
static int64_t role_argo_send(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o = agent_object(agent, rq->arg[0], OBJECT_RING);
	uint64_t rng = rq->arg[3] * 0x9e3779b97f4a7c15U + 1;
	uint8_t *buf = malloc(ROLE_MESSAGE_MAX);
	struct iovec iov[ARGO_MAX_IOV];
	int r = 0;

	if (!buf || rq->arg[2] > ROLE_MESSAGE_MAX || rq->arg[2] < sizeof(struct role_header))
		abort();
	for (uint32_t seq = 0; seq < rq->arg[1] && r >= 0; seq++) {
		uint32_t room = (uint32_t)rq->arg[2] - sizeof(struct role_header) + 1;
		uint32_t body = (uint32_t)(role_random(&rng) % room);
		struct role_header h = {.sender = (uint32_t)rq->arg[3],
			.aport = o->ring->aport,
			.seq = seq,
			.len = body + sizeof(h),
			.last = seq + 1 == rq->arg[1]};
		size_t n;

		pattern_fill(seq ^ h.aport, buf + sizeof(h), body);
		h.sum = pattern_sum(buf + sizeof(h), body);
		memcpy(buf, &h, sizeof(h));
		n = role_cut(&rng, buf, h.len, iov);
		r = role_send_one(hv, o, iov, n, seq, re->val);
		if (r >= 0 && (uint32_t)r != h.len)
			r = -EIO;
		re->val[0] += r >= 0;
	}
	free(buf);
	return r < 0 ? r : 0;
}

struct role_sender {
	uint32_t sender, next;
};

/* Whether the message is whole, from whom it says, and the next one of its sender. */
static int role_check(const struct hv_ring *ring, const struct argo_message *m, const uint8_t *buf,
	struct role_sender *senders, uint32_t *ret_last)
{
	struct role_header h;
	size_t i = 0;

	if (m->len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (h.len != m->len || h.aport != m->aport || m->domid != ring->partner ||
		m->type != h.seq || h.sum != pattern_sum(buf + sizeof(h), m->len - sizeof(h)))
		return -EBADMSG;
	while (i < ROLE_MAX_SENDERS && senders[i].next != 0 && senders[i].sender != h.sender)
		i++;
	if (i == ROLE_MAX_SENDERS)
		return -EOVERFLOW;
	if (senders[i].next != h.seq)
		return -EILSEQ;
	senders[i] = (struct role_sender){h.sender, h.seq + 1};
	*ret_last = h.last;
	return 0;
}

/* Takes what is there, up to a burst that leaves senders short of room. */
static int role_drain(struct object *o, uint8_t *buf, struct role_sender *senders, uint64_t *vals)
{
	struct argo_message m;
	uint32_t last = 0;
	int n = 0, r;

	while (n < 64 && (r = agent_ring_take(o, &m, buf, ROLE_MESSAGE_MAX)) != 0) {
		if (r > 0)
			r = role_check(o->ring, &m, buf, senders, &last);
		if (r < 0)
			return r;
		vals[0]++;
		vals[1] += last;
		n++;
	}
	return n;
}

/* arg: ring, second ring or 0, senders to see the last message of. val: messages, lasts, waits. */
static int64_t role_argo_recv(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct role_sender senders[ROLE_MAX_SENDERS] = {0};
	uint8_t *buf = malloc(ROLE_MESSAGE_MAX);
	struct object *o[2];
	size_t n_rings = rq->arg[1] ? 2 : 1;
	int r = 0;

	if (!buf)
		abort();
	for (size_t i = 0; i < n_rings; i++)
		o[i] = agent_object(agent, rq->arg[i], OBJECT_RING);
	while (re->val[1] < rq->arg[2] && r >= 0) {
		int taken = 0;

		for (size_t i = 0; i < n_rings && r >= 0; i++) {
			r = role_drain(o[i], buf, senders, re->val);
			taken += r;
		}
		if (r < 0)
			break;
		if (taken > 0) {
			r = hv->ops->argo_consumed(hv);
			continue;
		}
		for (size_t i = 0; i < n_rings && r >= 0; i++)
			r = hv->ops->argo_watch(hv, o[i]->ring, true);
		if (r >= 0)
			r = role_wait(hv, HV_EVENT_RING, 0);
		re->val[2]++;
	}
	free(buf);
	return r < 0 ? r : 0;
}

/* ---- ping-pong: a lost wake-up ends it ------------------------------------------------------- */

/* arg: port, rounds, whether to begin. val: rounds done. */
static int64_t role_port_ping(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	uint32_t port = (uint32_t)rq->arg[0];
	int r = 0;

	for (uint64_t i = 0; i < rq->arg[1] && r >= 0; i++) {
		if (rq->arg[2])
			r = hv->ops->evtchn_send(hv, port);
		if (r >= 0)
			r = role_wait(hv, HV_EVENT_PORT, port);
		if (r >= 0 && !rq->arg[2])
			r = hv->ops->evtchn_send(hv, port);
		re->val[0] += r >= 0;
	}
	return r;
}

/* arg: how many events to send back, each on its port. val: sent back. */
static int64_t role_port_echo(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct hv_event events[4];
	int r = 0;

	while (re->val[0] < rq->arg[0] && r >= 0) {
		int readable = agent_poll_fd(hv, ROLE_WAIT_MS);
		int n = hv->ops->poll_events(hv, events, 4);

		if (n < 0 || !readable)
			return n < 0 ? n : n > 0 ? -EPROTO : -ETIMEDOUT;
		for (int i = 0; i < n && r >= 0; i++) {
			r = hv->ops->evtchn_unmask(hv, &events[i].port, 1);
			if (r >= 0)
				r = hv->ops->evtchn_send(hv, events[i].port);
			re->val[0] += r >= 0;
		}
	}
	return r;
}

static int role_ring_get(struct hv *hv, struct object *o, uint64_t want)
{
	struct argo_message m;
	uint64_t got = ~want;
	int r = 0;

	for (;;) {
		r = hv->ops->argo_watch(hv, o->ring, true);
		if (r >= 0)
			r = role_wait(hv, HV_EVENT_RING, 0);
		if (r < 0)
			return r;
		r = agent_ring_take(o, &m, &got, sizeof(got));
		if (r != 0) /* 0: the event was a spurious one */
			return r < 0 ? r : got == want ? 0 : -EBADMSG;
	}
}

/* arg: ring, rounds, whether to begin. Waits by argo_watch and poll(2) alone. */
static int64_t role_ring_ping(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct object *o = agent_object(agent, rq->arg[0], OBJECT_RING);
	int r = 0;

	for (uint64_t i = 0; i < rq->arg[1] && r >= 0; i++) {
		struct iovec iov = {&i, sizeof(i)};

		if (rq->arg[2])
			r = hv->ops->argo_sendv(hv, o->ring, &iov, 1, 0);
		if (r >= 0)
			r = role_ring_get(hv, o, i);
		if (r >= 0)
			r = hv->ops->argo_consumed(hv);
		if (r >= 0 && !rq->arg[2])
			r = hv->ops->argo_sendv(hv, o->ring, &iov, 1, 0);
		re->val[0] += r >= 0;
	}
	return r < 0 ? r : 0;
}

/* ---- a storm of everything, to be killed in the middle of ------------------------------------ */

static int storm_ports(struct hv *hv)
{
	uint32_t a = 0, b = 0;
	int r = hv->ops->evtchn_alloc_unbound(hv, HV_DOMID_SELF, &a);

	if (r >= 0)
		r = hv->ops->evtchn_bind_interdomain(hv, HV_DOMID_SELF, a, &b);
	if (r >= 0)
		r = hv->ops->evtchn_send(hv, b);
	if (r >= 0)
		r = hv->ops->evtchn_close(hv, a);
	if (r >= 0)
		r = hv->ops->evtchn_close(hv, b);
	return r;
}

static int storm_ring(struct hv *hv, uint32_t seed)
{
	struct hv_ring *ring = NULL;
	uint8_t bytes[200];
	struct iovec iov = {bytes, sizeof(bytes)};
	int r = hv->ops->argo_register(hv, 0, hv->ops->domid(hv), 4096, &ring);

	if (r < 0)
		return r;
	memset(bytes, (int)seed, sizeof(bytes));
	r = hv->ops->argo_peer(hv, ring, ring->aport);
	for (int i = 0; i < 3 && r >= 0; i++)
		r = hv->ops->argo_sendv(hv, ring, &iov, 1, seed);
	if (r >= 0)
		r = hv->ops->argo_consumed(hv);
	(void)hv->ops->argo_unregister(hv, ring);
	return r < 0 ? r : 0;
}

static int storm_grant(struct hv *hv)
{
	struct hv_share *share;
	struct hv_map *map;
	uint32_t ref;
	void *addr;
	int r = hv->ops->grant_share(hv, hv->ops->domid(hv), 1, NULL, &ref, &addr, &share);

	if (r < 0)
		return r;
	r = hv->ops->grant_map(hv, HV_DOMID_SELF, &ref, 1, true, NULL, &addr, &map);
	if (r >= 0)
		hv->ops->grant_unmap(hv, map);
	hv->ops->grant_unshare(hv, share);
	if (r == -EOPNOTSUPP) /* own pages cannot be mapped here */
		r = 0;
	return r;
}

/* arg: rounds, bits of what to do (1 ports, 2 rings, 4 grants). */
static int64_t role_storm(
	struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	struct hv *hv = agent_hv(agent, rq->handle);
	struct hv_event events[64];
	int r = 0;

	for (uint64_t i = 0; i < rq->arg[0] && r >= 0; i++) {
		if (rq->arg[1] & 1)
			r = storm_ports(hv);
		if (r >= 0 && rq->arg[1] & 2)
			r = storm_ring(hv, (uint32_t)i);
		if (r >= 0 && rq->arg[1] & 4)
			r = storm_grant(hv);
		if (r >= 0)
			r = hv->ops->poll_events(hv, events, 64);
		re->val[0] += r >= 0;
	}
	return r < 0 ? r : 0;
}

int64_t agent_role(struct agent *agent, const struct agent_request *rq, struct agent_reply *re)
{
	switch (rq->op) {
	case AGENT_ROLE_ARGO_SEND:
		return role_argo_send(agent, rq, re);
	case AGENT_ROLE_ARGO_RECV:
		return role_argo_recv(agent, rq, re);
	case AGENT_ROLE_PORT_PING:
		return role_port_ping(agent, rq, re);
	case AGENT_ROLE_PORT_ECHO:
		return role_port_echo(agent, rq, re);
	case AGENT_ROLE_RING_PING:
		return role_ring_ping(agent, rq, re);
	case AGENT_ROLE_STORM:
		return role_storm(agent, rq, re);
	default:
		fprintf(stderr, "agent: no operation %u\n", rq->op);
		abort();
	}
}
