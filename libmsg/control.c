/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control link to msgd: its pages and rings, attaching, and attaching again after msgd's return
 * (PROTOCOL.md, sections 2 and 5.1). What messages mean is in request.c and link.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "libmsg/private.h"

#define CONTROL_RING_LEN (CONTROL_RING_PAGES * HV_PAGE_SIZE)

_Static_assert((CONTROL_RING_LEN & (CONTROL_RING_LEN - 1)) == 0, "a grant ring's length");

static int control_share(struct msg_ctx *ctx, uint32_t refs[CONTROL_PAGES])
{
	struct control *control = &ctx->control;
	const struct hv_ops *ops = ctx->hv->ops;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	void *page, *rings;
	int r;

	r = ops->evtchn_alloc_unbound(ctx->hv, HV_BROKER_DOMID, &control->port);
	if (r < 0)
		return r;
	notify.port = control->port;
	r = ops->grant_share(
		ctx->hv, HV_BROKER_DOMID, 1, &notify, refs, &page, &control->page_share);
	if (r < 0)
		return r;
	control->page = page;
	r = ops->grant_share(ctx->hv, HV_BROKER_DOMID, 2 * CONTROL_RING_PAGES, NULL, refs + 1,
		&rings, &control->ring_share);
	if (r < 0)
		return r;
	control->me = &control->page->end[0];
	control->them = &control->page->end[1];
	control->tx = (struct grant_ring){.data = rings,
		.len = CONTROL_RING_LEN,
		.produced = &control->me->produced,
		.consumed = &control->them->consumed};
	control->rx = (struct grant_ring){.data = (uint8_t *)rings + CONTROL_RING_LEN,
		.len = CONTROL_RING_LEN,
		.produced = &control->them->produced,
		.consumed = &control->me->consumed};
	return 0;
}

static int control_publish(struct msg_ctx *ctx, const uint32_t refs[CONTROL_PAGES])
{
	struct control *control = &ctx->control;
	struct record record = {.version_min = CONTROL_VERSION_MIN,
		.version_max = CONTROL_VERSION,
		.port = control->port};
	uint8_t bytes[RECORD_SIZE];

	if (getrandom(control->nonce, NONCE_SIZE, 0) != NONCE_SIZE)
		return -EIO;
	memcpy(record.nonce, control->nonce, NONCE_SIZE);
	memcpy(record.refs, refs, sizeof(record.refs));
	control->page->head = (struct doorbell_head){.magic = CONTROL_PAGE_MAGIC,
		.version_min = CONTROL_VERSION_MIN,
		.version_max = CONTROL_VERSION,
		.port = control->port};
	memcpy(control->page->head.nonce, control->nonce, NONCE_SIZE);
	/* After quiescing: the next epoch must be one that requests were not sent under. */
	atomic_store(&control->page->epoch, control->epoch);
	atomic_store(&control->me->alive, 1);
	doorbell_arm(&control->me->sleeping);
	control->armed = true;
	/* Half of it is as unique, and all keys of a domain fit a directory of xenstored's. */
	for (size_t i = 0; i < NONCE_SIZE / 2; i++)
		(void)snprintf(control->key + 2 * i, 3, "%02x", control->nonce[i]);
	record_encode(&record, bytes);
	return ctx->hv->ops->store_publish(ctx->hv, control->key, bytes, sizeof(bytes));
}

int control_open(struct msg_ctx *ctx)
{
	uint32_t refs[CONTROL_PAGES];
	int r;

	r = control_share(ctx, refs);
	if (r < 0)
		return r;
	return control_publish(ctx, refs);
}

void control_release(struct msg_ctx *ctx)
{
	struct control *control = &ctx->control;
	const struct hv_ops *ops = ctx->hv->ops;
	struct control_out *out;

	while ((out = STAILQ_FIRST(&control->out))) {
		STAILQ_REMOVE_HEAD(&control->out, entry);
		free(out);
	}
	if (control->ring_share)
		ops->grant_unshare(ctx->hv, control->ring_share);
	/* Its notification needs the port. */
	if (control->page_share)
		ops->grant_unshare(ctx->hv, control->page_share);
	if (control->port)
		(void)ops->evtchn_close(ctx->hv, control->port);
	control->ring_share = control->page_share = NULL;
	control->page = NULL;
	control->me = control->them = NULL;
	control->port = 0;
}

void control_close(struct msg_ctx *ctx)
{
	const struct hv_ops *ops = ctx->hv->ops;

	/* First the record: a msgd that starts now must not find pages that go away. */
	if (ctx->control.key[0])
		(void)ops->store_remove(ctx->hv, ops->domid(ctx->hv), ctx->control.key);
	control_release(ctx);
}

bool control_broker_there(struct msg_ctx *ctx)
{
	const struct doorbell_end *them = ctx->control.them;

	return them && atomic_load_explicit(&them->alive, memory_order_acquire) != 0;
}

void control_disarmed(struct msg_ctx *ctx)
{
	ctx->control.armed = false;
	if (ctx->driver_asleep)
		ctx->kick = true; /* it sleeps on an armed doorbell, or not at all */
}

/* msgd is trusted by all: garbage from it means a bug or a version; nothing can be saved. */
static void control_broken(struct msg_ctx *ctx, const char *reason)
{
	struct control *control = &ctx->control;

	ctx_log(ctx, 3, "control link: %s", reason);
	control->error = EPROTO;
	(void)snprintf(control->reason, sizeof(control->reason), "%s", reason);
	ctx->kick = true;
}

static void control_ring_bell(struct msg_ctx *ctx, _Atomic uint32_t *flag)
{
	if (doorbell_take(flag))
		(void)ctx->hv->ops->evtchn_send(ctx->hv, ctx->control.port);
}

static bool control_put(struct msg_ctx *ctx, const uint8_t *bytes, uint32_t len)
{
	struct grant_ring *tx = &ctx->control.tx;

	if (grant_ring_space(tx, len) < (int64_t)len)
		return false;
	grant_ring_write(tx, 0, bytes, len);
	tx->own += len;
	grant_ring_publish(tx);
	return true;
}

/* Moves what waits into the ring, as far as there is room. */
static void control_flush(struct msg_ctx *ctx)
{
	struct control *control = &ctx->control;
	struct control_out *out;
	bool sent = false;

	while ((out = STAILQ_FIRST(&control->out))) {
		if (!control_put(ctx, out->bytes, out->len)) {
			doorbell_arm(&control->me->want_space);
			if (!control_put(ctx, out->bytes, out->len))
				break;
			doorbell_disarm(&control->me->want_space);
		}
		STAILQ_REMOVE_HEAD(&control->out, entry);
		free(out);
		sent = true;
	}
	if (sent)
		control_ring_bell(ctx, &control->them->sleeping);
}

void control_send(struct msg_ctx *ctx, const struct control_message *message)
{
	uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_MESSAGE_MAX] = {0};
	struct control *control = &ctx->control;
	struct frame frame = {.type = message->type, .arg = message->request};
	struct control_out *out;
	uint32_t len;

	if (!control->page)
		return; /* quiesced: requests are sent again, the rest was about links that are gone
			 */
	frame.len = (uint32_t)control_encode(message, bytes + FRAME_HEADER_SIZE);
	frame_encode(&frame, bytes);
	len = FRAME_HEADER_SIZE + round_up16(frame.len);
	if (STAILQ_EMPTY(&control->out) && control_put(ctx, bytes, len)) {
		control_ring_bell(ctx, &control->them->sleeping);
		return;
	}
	out = malloc(sizeof(*out) + len);
	if (!out) {
		control_broken(ctx, "out of memory for a control message");
		return;
	}
	out->len = len;
	memcpy(out->bytes, bytes, len);
	STAILQ_INSERT_TAIL(&control->out, out, entry);
	control_flush(ctx);
}

static void announce_link(struct msg_ctx *ctx, const struct link *link)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_LINK,
		.announce_link = {.end = link->end,
			.uid = link->uid,
			.peer_domid = link->peer_domid,
			.transport = link->transport,
			.role = link->role,
			.state = link->state == LINK_UP}};

	control_send(ctx, &message);
	for (struct channel *c = link->channels; c; c = c->hh.next) {
		struct control_message m = {.type = CONTROL_ANNOUNCE_CHANNEL,
			.announce_channel = {.end = link->end,
				.channel = c->number,
				.type = CHANNEL_SEQPACKET,
				.listener = c->listener_handle,
				.accepted = c->listener_handle && !c->listener}};

		memcpy(m.announce_channel.name, c->name, NAME_SIZE);
		control_send(ctx, &m);
	}
}

static void announce_listener(struct msg_ctx *ctx, const struct msg_sock *sock)
{
	struct control_message message = {.type = CONTROL_LISTEN,
		.listen = {.listener = sock->handle,
			.type = CHANNEL_SEQPACKET,
			.backlog = (uint32_t)sock->backlog}};

	/*
	 * One that was never answered is sent again as the request that it is; one that was, by the
	 * msgd that is gone, may not have been looked at yet by whoever waits for it.
	 */
	if (sock->request && (!sock->request->done || sock->request->error))
		return;
	memcpy(message.listen.name, sock->name, NAME_SIZE);
	(void)request_new(ctx, NULL, &message);
}

static void control_hello(struct msg_ctx *ctx, uint32_t epoch)
{
	bool again = ctx->control.epoch != 0;
	struct control_message hello = {.type = CONTROL_HELLO,
		.request = UINT32_MAX,
		.hello = {.epoch = epoch,
			.version_min = CONTROL_VERSION_MIN,
			.version_max = CONTROL_VERSION,
			.features = ctx->features,
			.pid = (uint32_t)getpid(),
			.reattach = again}};
	struct control_message done = {.type = CONTROL_ANNOUNCE_DONE};
	struct control_out *out;

	(void)snprintf(
		hello.hello.comm, sizeof(hello.hello.comm), "%s", program_invocation_short_name);
	/* What waits was meant for the msgd that is gone; requests are sent again below. */
	while ((out = STAILQ_FIRST(&ctx->control.out))) {
		STAILQ_REMOVE_HEAD(&ctx->control.out, entry);
		free(out);
	}
	ctx->control.epoch = epoch;
	ctx->control.welcome = false;
	control_send(ctx, &hello);
	if (!again)
		return;
	for (struct link *link = ctx->links; link; link = link->hh.next) {
		if (link->state != LINK_DEAD)
			announce_link(ctx, link);
	}
	for (struct msg_sock *sock = ctx->listeners; sock; sock = sock->hh.next)
		announce_listener(ctx, sock);
	control_send(ctx, &done);
	request_send_again(ctx);
}

/* Reads one message. 1; 0: the ring is empty. */
static int control_take_one(struct msg_ctx *ctx)
{
	struct grant_ring *rx = &ctx->control.rx;
	uint8_t head[FRAME_HEADER_SIZE], body[CONTROL_MESSAGE_MAX];
	struct control_message message;
	struct frame frame;
	int64_t avail;
	int r;

	avail = grant_ring_avail(rx, FRAME_HEADER_SIZE);
	if (avail == 0)
		return 0;
	if (avail < (int64_t)FRAME_HEADER_SIZE)
		return -EBADMSG;
	grant_ring_read(rx, 0, head, sizeof(head));
	r = control_frame_decode(head, &frame);
	if (r < 0)
		return r;
	if (grant_ring_avail(rx, FRAME_HEADER_SIZE + round_up16(frame.len)) <
		(int64_t)(FRAME_HEADER_SIZE + round_up16(frame.len)))
		return -EBADMSG;
	grant_ring_read(rx, FRAME_HEADER_SIZE, body, frame.len);
	rx->own += FRAME_HEADER_SIZE + round_up16(frame.len);
	grant_ring_release(rx);
	r = control_decode(frame.type, frame.arg, body, frame.len, &message);
	if (r == -EOPNOTSUPP)
		return 1; /* a newer msgd's; it does not need us to know */
	if (r < 0)
		return r;
	control_handle(ctx, &message);
	return 1;
}

void control_take(struct msg_ctx *ctx)
{
	struct control *control = &ctx->control;
	bool taken = false;
	uint32_t epoch;
	int r;

	if (control->error || !control->page)
		return;
	/*
	 * The epoch is read before the ring: what a former msgd wrote is in the ring by then, so it
	 * is taken in before HELLO, after which only the new msgd writes.
	 */
	epoch = atomic_load_explicit(&control->page->epoch, memory_order_acquire);
	while ((r = control_take_one(ctx)) > 0)
		taken = true;
	if (r < 0) {
		control_broken(ctx, "msgd wrote a control message that makes no sense");
		return;
	}
	if (taken)
		control_ring_bell(ctx, &control->them->want_space);
	if (epoch != control->epoch && control_broker_there(ctx))
		control_hello(ctx, epoch);
	if (!STAILQ_EMPTY(&control->out))
		control_flush(ctx);
}

bool control_arm(struct msg_ctx *ctx)
{
	struct control *control = &ctx->control;

	if (control->armed || control->error || !control->page)
		return false;
	doorbell_arm(&control->me->sleeping);
	if (grant_ring_avail(&control->rx, FRAME_HEADER_SIZE) != 0) {
		doorbell_disarm(&control->me->sleeping);
		return true;
	}
	control->armed = true;
	return false;
}
