/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake hypervisor's few operations, and the two sides' construction. */
#include "tests/support/link-pair.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "hv/sim/sim.h"

#define CONTROL_LEN 65536U

static void *must(void *p)
{
	if (!p) {
		perror("link-pair");
		abort();
	}
	return p;
}

static struct pair_side *side_of(struct hv *hv)
{
	return container_of(hv, struct pair_side, hv);
}

static uint64_t fake_now_ns(struct hv *hv)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int fake_cpu(struct hv *hv)
{
	return -1;
}

static int fake_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	return 0;
}

static int fake_send(struct hv *hv, uint32_t port)
{
	side_of(hv)->n_events++;
	return 0;
}

static int fake_close(struct hv *hv, uint32_t port)
{
	return 0;
}

static const struct hv_ops fake_ops = {
	.name = "fake",
	.now_ns = fake_now_ns,
	.cpu = fake_cpu,
	.poll_events = fake_poll_events,
	.evtchn_send = fake_send,
	.evtchn_close = fake_close,
};

static void control_init(struct pair_side *side)
{
	struct control *control = &side->ctx->control;

	side->control_page = must(aligned_alloc(HV_PAGE_SIZE, HV_PAGE_SIZE));
	memset(side->control_page, 0, HV_PAGE_SIZE);
	side->control_ring = must(calloc(2, CONTROL_LEN));
	control->page = side->control_page;
	control->me = &control->page->end[0];
	control->them = &control->page->end[1];
	control->tx = (struct grant_ring){.data = side->control_ring,
		.len = CONTROL_LEN,
		.produced = &control->me->produced,
		.consumed = &control->them->consumed};
	control->rx = (struct grant_ring){.data = side->control_ring + CONTROL_LEN,
		.len = CONTROL_LEN,
		.produced = &control->them->produced,
		.consumed = &control->me->consumed};
	control->welcome = true;
	control->port = 1;
}

static void context_init(struct pair_side *side, struct hv *hv)
{
	struct msg_ctx *ctx = must(calloc(1, sizeof(*ctx)));
	static uint8_t same_process = 1;

	side->ctx = ctx;
	ctx->hv = hv;
	ctx->one_thread = true;
	ctx->same_process = &same_process;
	ctx->epoll_fd = ctx->ready_fd = ctx->timer_fd = ctx->kick_fd = -1;
	TAILQ_INIT(&ctx->unarmed);
	TAILQ_INIT(&ctx->graveyard);
	TAILQ_INIT(&ctx->socks);
	TAILQ_INIT(&ctx->ready);
	STAILQ_INIT(&ctx->control.out);
	control_init(side);
}

static void channel_init(struct pair_side *side, unsigned role)
{
	side->channel = must(channel_new(side->link, PAIR_CHANNEL, role == 1));
	side->sock = must(sock_new(side->ctx, SOCK_CHANNEL, LIBMSG_NONBLOCK));
	sock_set_channel(side->sock, side->channel);
}

static void side_init(struct pair *pair, unsigned role)
{
	struct pair_side *side = &pair->sides[role];
	struct link *link = must(calloc(1, sizeof(*link)));
	struct msg_ctx *ctx;

	side->hv.ops = &fake_ops;
	side->link = link;
	context_init(side, &side->hv);
	ctx = side->ctx;
	*link = (struct link){.ctx = ctx,
		.end = PAIR_END,
		.role = (uint8_t)role,
		.transport = TRANSPORT_GRANT,
		.state = LINK_UP,
		.ops = &ring_grant_ops,
		.port = 2,
		.page = pair->page,
		.me = &pair->page->end[role],
		.them = &pair->page->end[1 - role],
		.ring_len = pair->ring_len};
	TAILQ_INIT(&link->blocked);
	link->grant.tx = (struct grant_ring){.data = pair->rings[role],
		.len = pair->ring_len,
		.produced = &link->me->produced,
		.consumed = &link->them->consumed};
	link->grant.rx = (struct grant_ring){.data = pair->rings[1 - role],
		.len = pair->ring_len,
		.produced = &link->them->produced,
		.consumed = &link->me->consumed};
	HASH_ADD(hh, ctx->links, end, sizeof(link->end), link);
	HASH_ADD(hh_port, ctx->links_by_port, port, sizeof(link->port), link);
	TAILQ_INSERT_TAIL(&ctx->unarmed, link, unarmed);
	channel_init(side, role);
}

struct pair *pair_new(uint32_t ring_pages)
{
	struct pair *pair = must(calloc(1, sizeof(*pair)));

	pair->page = must(aligned_alloc(HV_PAGE_SIZE, HV_PAGE_SIZE));
	memset(pair->page, 0, HV_PAGE_SIZE);
	pair->ring_len = ring_pages * HV_PAGE_SIZE;
	for (unsigned i = 0; i < 2; i++)
		pair->rings[i] = must(calloc(1, pair->ring_len));
	for (unsigned i = 0; i < 2; i++)
		side_init(pair, i);
	/* What request.c does when CONNECTED comes. */
	(void)channel_flush(pair->sides[0].channel);
	return pair;
}

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* What msgd does between the two. */
static void strict_link(struct pair *pair)
{
	struct pair_side *creator = &pair->sides[0], *binder = &pair->sides[1];
	struct control_message m = {.type = CONTROL_LINK_CREATE,
		.link_create = {.end = PAIR_END,
			.uid = 1,
			.peer_domid = binder->domid,
			.transport = TRANSPORT_ARGO_STRICT,
			.ring_len = pair->ring_len}};
	struct control_link_offer offer;

	pair_say(creator, &m);
	require(pair_control(creator, &m) && m.type == CONTROL_LINK_OFFER);
	offer = m.link_offer;
	m = (struct control_message){.type = CONTROL_LINK_BIND,
		.link_bind = {.end = PAIR_END,
			.uid = 1,
			.peer_domid = creator->domid,
			.transport = TRANSPORT_ARGO_STRICT,
			.ring_len = pair->ring_len,
			.port = offer.port,
			.aport = offer.aport,
			.doorbell_ref = offer.doorbell_ref,
			.refs_ref = offer.refs_ref}};
	pair_say(binder, &m);
	require(pair_control(binder, &m) && m.type == CONTROL_LINK_READY);
	m = (struct control_message){
		.type = CONTROL_LINK_UP, .link_up = {.end = PAIR_END, .aport = m.link_ready.aport}};
	pair_say(creator, &m);
	for (unsigned i = 0; i < 2; i++)
		pair->sides[i].link = must(link_find(pair->sides[i].ctx, PAIR_END));
}

struct pair *pair_new_strict(uint32_t ring_len)
{
	struct pair *pair = must(calloc(1, sizeof(*pair)));

	pair->ring_len = ring_len;
	require(sim_create(&pair->sim) == 0);
	for (unsigned i = 0; i < 2; i++) {
		struct pair_side *side = &pair->sides[i];
		struct sim_domain_config config = {.name = i ? "binder" : "creator"};

		require(sim_domain_create(pair->sim, &config, &side->domid) == 0 &&
			sim_hv_open(pair->sim, side->domid, &side->sim_hv) == 0);
		context_init(side, side->sim_hv);
	}
	strict_link(pair);
	for (unsigned i = 0; i < 2; i++)
		channel_init(&pair->sides[i], i);
	(void)channel_flush(pair->sides[0].channel);
	return pair;
}

void pair_kill(struct pair *pair, unsigned side)
{
	sim_hv_kill(pair->sim, pair->sides[side].sim_hv);
	pair->sides[side].sim_hv = NULL;
	pair->sides[side].ctx->hv = NULL;
}

/* What is left of a dead process: nothing but memory. */
static void dead_link_free(struct link *link)
{
	free(link->argo.stage);
	link->ops = NULL;
}

static void side_free(struct pair_side *side)
{
	struct msg_ctx *ctx = side->ctx;
	struct request *request, *next_request;
	struct control_out *out;
	struct link *link, *next;
	struct msg_sock *sock;

	HASH_ITER (hh, ctx->links, link, next) {
		if (!ctx->hv) {
			link->state = LINK_MAKING;
			dead_link_free(link);
		}
	}
	if (!ctx->hv) {
		side->hv.ops = &fake_ops;
		ctx->hv = &side->hv;
	}
	while ((sock = TAILQ_FIRST(&ctx->socks))) {
		if (sock->channel)
			channel_close(sock->channel, CLOSE_NORMAL);
		sock_free(sock);
	}
	HASH_ITER (hh, ctx->links, link, next) {
		link_kill(link, false, "the end of the test");
	}
	link_bury(ctx);
	HASH_ITER (hh, ctx->requests, request, next_request) {
		request_free(ctx, request);
	}
	while ((out = STAILQ_FIRST(&ctx->control.out))) {
		STAILQ_REMOVE_HEAD(&ctx->control.out, entry);
		free(out);
	}
	free(side->control_ring);
	free(side->control_page);
	free(ctx);
}

void pair_free(struct pair *pair)
{
	for (unsigned i = 0; i < 2; i++)
		side_free(&pair->sides[i]);
	for (unsigned i = 0; i < 2; i++)
		hv_close(pair->sides[i].sim_hv);
	sim_free(pair->sim);
	for (unsigned i = 0; i < 2; i++)
		free(pair->rings[i]);
	free(pair->page);
	free(pair);
}

bool pair_control(struct pair_side *side, struct control_message *ret_message)
{
	struct control *control = &side->ctx->control;
	struct grant_ring ring = {.data = control->tx.data,
		.len = control->tx.len,
		.produced = control->tx.produced,
		.consumed = control->tx.consumed,
		.own = atomic_load(control->tx.consumed),
		.peer = atomic_load(control->tx.consumed)};
	uint8_t head[FRAME_HEADER_SIZE], body[CONTROL_MESSAGE_MAX];
	struct frame frame;

	if (grant_ring_avail(&ring, FRAME_HEADER_SIZE) == 0)
		return false;
	grant_ring_read(&ring, 0, head, sizeof(head));
	if (control_frame_decode(head, &frame) < 0)
		abort();
	grant_ring_read(&ring, FRAME_HEADER_SIZE, body, frame.len);
	ring.own += FRAME_HEADER_SIZE + round_up16(frame.len);
	grant_ring_release(&ring);
	if (control_decode(frame.type, frame.arg, body, frame.len, ret_message) < 0)
		abort();
	return true;
}

void pair_say(struct pair_side *side, const struct control_message *message)
{
	control_handle(side->ctx, message);
}

bool pair_inject(struct pair *pair, unsigned from, const void *bytes, uint32_t len)
{
	struct pair_side *side = &pair->sides[from];
	struct grant_ring *tx = &side->link->grant.tx;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

	if (pair->sim)
		return side->sim_hv &&
		       side->sim_hv->ops->argo_sendv(side->sim_hv, side->link->argo.ring, &iov, 1,
			       FRAME_MESSAGE_TYPE) >= 0;
	grant_ring_write(tx, 0, bytes, len);
	tx->own += len;
	grant_ring_publish(tx);
	return true;
}
