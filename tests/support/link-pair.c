/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake hypervisor's few operations, and the two sides' construction. */
#include "tests/support/link-pair.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "hv/sim/testing/sim.h"
#include "tests/support/must.h"

static void *zeroed(size_t n, size_t size)
{
	void *memory = calloc(n, size);

	must(memory);
	return memory;
}

static void *zeroed_page(void)
{
	void *page = aligned_alloc(HV_PAGE_SIZE, HV_PAGE_SIZE);

	must(page);
	return memset(page, 0, HV_PAGE_SIZE);
}

static struct pair_side *side_of(struct hv *hv)
{
	return container_of(hv, struct pair_side, hv);
}

static uint64_t fake_now_ns(struct hv *hv)
{
	struct pair_side *side = side_of(hv);
	struct timespec ts;

	if (side->clock_step_ns)
		return side->clock_ns += side->clock_step_ns;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int fake_cpu(struct hv *hv)
{
	return -1;
}

static int fake_fd(struct hv *hv)
{
	struct pair_side *side = side_of(hv);

	side->n_sleeps++;
	if (side->on_sleep)
		side->on_sleep(side);
	return side->event_fd;
}

static int fake_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	struct pair_side *side = side_of(hv);
	eventfd_t count;
	uint32_t ports;
	int found = 0;

	if (side->event_fd < 0)
		return 0;
	(void)eventfd_read(side->event_fd, &count);
	ports = atomic_exchange(&side->pending, 0);
	for (uint32_t port = 0; port < 32; port++) {
		if (ports & 1U << port)
			ret_events[found++] =
				(struct hv_event){.type = HV_EVENT_PORT, .port = port};
	}
	return found;
}

static int fake_unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	return 0;
}

static int fake_send(struct hv *hv, uint32_t port)
{
	struct pair_side *side = side_of(hv);

	side->n_events++;
	if (port == PAIR_PORT_LINK)
		pair_raise(&side->pair->sides[side == &side->pair->sides[0]], port);
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
	.fd = fake_fd,
	.poll_events = fake_poll_events,
	.evtchn_unmask = fake_unmask,
	.evtchn_send = fake_send,
	.evtchn_close = fake_close,
};

static void control_pages(struct pair_side *side)
{
	struct control *control = &side->ctx->control;

	side->control_page = zeroed_page();
	side->control_ring = zeroed(CONTROL_PAGES - 1, HV_PAGE_SIZE);
	control_ring_init(
		&control->ring, side->control_page, CONTROL_RING_APPLICATION, side->control_ring);
	control_ring_init(&side->msgd, side->control_page, CONTROL_RING_MSGD, side->control_ring);
	control->watching = true; /* there is no store that it could ask about its record */
	control->page = side->control_page;
	control->state = CONTROL_ATTACHED;
	control->port = PAIR_PORT_CONTROL;
}

static void context_init(struct pair_side *side, struct hv *hv)
{
	struct msg_ctx *ctx = zeroed(1, sizeof(*ctx));
	static uint8_t same_process = 1;

	side->ctx = ctx;
	side->event_fd = -1;
	ctx->same_process = &same_process;
	must(ctx_init(ctx, hv, LIBMSG_ONE_THREAD) == 0);
	control_pages(side);
}

struct msg_sock *pair_channel_of(
	struct pair_side *side, uint32_t number, enum channel_type type, bool connected)
{
	struct channel *channel = channel_new(&side->link->channels, number, type, !connected);
	struct msg_sock *sock = sock_new(&side->ctx->socks, SOCK_CHANNEL, SOCK_OPEN, type);

	must(channel && sock);
	sock->nonblock = true;
	sock_set_channel(sock, channel);
	return sock;
}

struct msg_sock *pair_channel(struct pair_side *side, uint32_t number, bool connected)
{
	return pair_channel_of(side, number, CHANNEL_SEQPACKET, connected);
}

void pair_channels(struct pair *pair, uint32_t number, enum channel_type type,
	struct msg_sock **ret_near, struct msg_sock **ret_far)
{
	struct pair_side *a = &pair->sides[0], *b = &pair->sides[1];

	*ret_near = pair_channel_of(a, number, type, true);
	*ret_far = pair_channel_of(b, number, type, false);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	pair_take(a);
}

static void channel_init(struct pair_side *side, unsigned role)
{
	side->sock = pair_channel(side, PAIR_CHANNEL, role == 0);
	side->channel = side->sock->channel;
}

/* A grant link without a hypervisor. */
static struct transport *grant_pair_end(struct pair *pair, unsigned role)
{
	struct transport *transport = transport_new(
		&transport_grant, &pair->sides[role].hv, 0, (uint8_t)role, pair->ring_len);
	struct grant_end *end = container_of(transport, struct grant_end, paged.base);

	must(transport);
	end->paged.page = pair->page;
	end->paged.me = &pair->page->end[role];
	end->paged.them = &pair->page->end[1 - role];
	transport->port = transport->event = PAIR_PORT_LINK;
	grant_rings_init(end, pair->rings[0], pair->rings[1]);
	return &end->paged.base;
}

static void side_init(struct pair *pair, unsigned role)
{
	struct pair_side *side = &pair->sides[role];

	side->hv.ops = &fake_ops;
	side->pair = pair;
	context_init(side, &side->hv);
	side->link =
		link_new(&side->ctx->links, grant_pair_end(pair, role), PAIR_END, 0, 0, LINK_UP);
	must(side->link);
	channel_init(side, role);
}

struct pair *pair_new(uint32_t ring_pages)
{
	struct pair *pair = zeroed(1, sizeof(*pair));

	pair->page = zeroed_page();
	pair->ring_len = ring_pages * HV_PAGE_SIZE;
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&pair->page->end[i].alive, 1);
	for (unsigned i = 0; i < 2; i++)
		pair->rings[i] = zeroed(1, pair->ring_len);
	for (unsigned i = 0; i < 2; i++)
		side_init(pair, i);
	driver_pass(&pair->sides[0].ctx->driver); /* the first credit */
	return pair;
}

/* Does msgd's part between the two. */
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
	must(pair_control(creator, &m) && m.type == CONTROL_LINK_OFFER);
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
	must(pair_control(binder, &m) && m.type == CONTROL_LINK_READY);
	m = (struct control_message){
		.type = CONTROL_LINK_UP, .link_up = {.end = PAIR_END, .aport = m.link_ready.aport}};
	pair_say(creator, &m);
	for (unsigned i = 0; i < 2; i++) {
		pair->sides[i].link = link_find(&pair->sides[i].ctx->links, PAIR_END);
		must(pair->sides[i].link);
	}
}

struct pair *pair_new_strict(uint32_t ring_len)
{
	struct pair *pair = zeroed(1, sizeof(*pair));

	pair->ring_len = ring_len;
	must(sim_create(&pair->sim) == 0);
	for (unsigned i = 0; i < 2; i++) {
		struct pair_side *side = &pair->sides[i];
		struct sim_domain_config config = {.name = i ? "binder" : "creator"};

		must(sim_domain_create(pair->sim, &config, &side->domid) == 0 &&
			sim_hv_open(pair->sim, side->domid, &side->sim_hv) == 0);
		context_init(side, side->sim_hv);
	}
	strict_link(pair);
	for (unsigned i = 0; i < 2; i++)
		channel_init(&pair->sides[i], i);
	driver_pass(&pair->sides[0].ctx->driver); /* the first credit */
	return pair;
}

/* Leaves of a dead process's link nothing but memory. */
static void forget_resources(struct transport *transport)
{
	struct argo_end *end = argo_of(transport);

	end->ring = NULL;
	transport->hv = NULL;
}

void pair_kill(struct pair *pair, unsigned side_index)
{
	struct pair_side *side = &pair->sides[side_index];

	sim_hv_kill(pair->sim, side->sim_hv);
	side->sim_hv = NULL;
	side->ctx->hv = NULL;
}

static void side_free(struct pair_side *side)
{
	struct msg_ctx *ctx = side->ctx;

	if (!ctx->hv) {
		struct link *link = ctx->links.by_end;

		side->hv.ops = &fake_ops;
		ctx->driver.hv = ctx->control.hv = ctx->links.hv = &side->hv;
		if (link) {
			forget_resources(link->transport);
			link->transport->port = 1;
			link->channels.up = false;
			link->state = LINK_MAKING;
			link->transport->hv = &side->hv;
		}
	}
	ctx_clear(ctx);
	control_ring_clear(&ctx->control.ring);
	control_ring_clear(&side->msgd);
	driver_fini(&ctx->driver);
	free(side->control_ring);
	free(side->control_page);
	if (side->event_fd >= 0)
		(void)close(side->event_fd);
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

int pair_setup(void **state)
{
	struct pair *pair = pair_new(4);

	pair_take(&pair->sides[1]);
	pair_take(&pair->sides[0]);
	*state = pair;
	return 0;
}

int pair_teardown(void **state)
{
	pair_free(*state);
	return 0;
}

void pair_events(struct pair *pair)
{
	for (unsigned i = 0; i < 2; i++) {
		pair->sides[i].event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		must(pair->sides[i].event_fd >= 0);
	}
}

void pair_raise(struct pair_side *side, uint32_t port)
{
	if (side->event_fd < 0)
		return;
	atomic_fetch_or(&side->pending, 1U << port);
	(void)eventfd_write(side->event_fd, 1);
}

void pair_take(struct pair_side *side)
{
	driver_take(&side->ctx->driver, side->link, NULL);
	driver_pass(&side->ctx->driver);
}

void pair_drive(struct pair_side *side)
{
	driver_take(&side->ctx->driver, side->link, NULL);
	link_room(side->link);
	driver_pass(&side->ctx->driver);
}

void pair_end(struct pair_side *side, enum link_cause cause, const char *reason)
{
	link_end(side->link, cause, reason);
	driver_pass(&side->ctx->driver);
}

bool pair_control(struct pair_side *side, struct control_message *ret_message)
{
	const char *reason;
	int decoded, r;

	control_publish(&side->ctx->control);
	r = control_ring_receive(&side->msgd, ret_message, &decoded, &reason);
	must(r == 0 || (r == 1 && decoded == 0));
	(void)control_ring_publish(&side->msgd);
	return r == 1;
}

struct control_message pair_next(struct pair_side *side)
{
	struct control_message message = {0};

	must(pair_control(side, &message));
	return message;
}

void pair_attached(struct pair_side *side)
{
	struct control_message message;

	side->ctx->control.epoch = 1;
	side->link->epoch = 1;
	strcpy(side->channel->name, "name");
	atomic_store(&side->control_page->epoch, 1);
	atomic_store(&side->msgd.me->alive, 1);
	while (pair_control(side, &message))
		;
}

void pair_next_msgd(struct pair_side *side, uint64_t features)
{
	struct control_message message,
		welcome = {.type = CONTROL_WELCOME, .request = REQUEST_HELLO};

	atomic_store(&side->msgd.me->alive, 1);
	welcome.welcome.epoch = atomic_fetch_add(&side->control_page->epoch, 1) + 1;
	welcome.welcome.version = CONTROL_VERSION;
	welcome.welcome.features = features;
	control_take(&side->ctx->control);
	do {
		message = pair_next(side);
	} while (message.type != CONTROL_HELLO);
	must(!pair_control(side, &message));
	control_handle(&side->ctx->control, &welcome);
}

void pair_next_msgd_told(struct pair_side *side, uint64_t features)
{
	pair_next_msgd(side, features);
	while (pair_next(side).type != CONTROL_ANNOUNCE_DONE)
		;
}

void pair_say(struct pair_side *side, const struct control_message *message)
{
	struct link *link;

	control_handle(&side->ctx->control, message);
	/* As the driver, which looks at all links that are not armed. */
	for (link = side->ctx->links.by_end; link; link = link->hh.next)
		driver_take(&side->ctx->driver, link, NULL);
	driver_pass(&side->ctx->driver);
}

void pair_write(struct pair_side *side, const struct control_message *message)
{
	control_ring_send(&side->msgd, message);
	(void)control_ring_publish(&side->msgd);
	pair_raise(side, PAIR_PORT_CONTROL);
}

bool pair_inject(struct pair *pair, unsigned from, const void *bytes, uint32_t len)
{
	struct pair_side *side = &pair->sides[from];
	struct transport *transport = side->link->transport;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct grant_ring *tx;

	if (pair->sim)
		return side->sim_hv &&
		       side->sim_hv->ops->argo_sendv(side->sim_hv, argo_of(transport)->ring, &iov,
			       1, FRAME_MESSAGE_TYPE) >= 0;
	tx = &container_of(transport, struct grant_end, paged.base)->tx;
	grant_ring_write(tx, 0, bytes, len);
	tx->own += len;
	grant_ring_publish(tx);
	return true;
}

bool pair_inject_frame(struct pair *pair, unsigned from, const struct frame *frame)
{
	static uint8_t bytes[FRAME_HEADER_SIZE + 65536];

	frame_encode(frame, bytes);
	return pair_inject(pair, from, bytes, FRAME_HEADER_SIZE + round_up16(frame->len));
}

bool pair_inject_message(struct pair *pair, unsigned from, uint32_t len)
{
	return pair_inject_frame(pair, from,
		&(struct frame){.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST | FRAME_LAST,
			.len = len,
			.arg = len});
}
