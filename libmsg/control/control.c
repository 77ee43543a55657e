/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control link: its pages and rings, attaching, and attaching again after msgd's return
 * (PROTOCOL.md, sections 2 and 5.1). The meaning of messages is in handle.c.
 */
#include "libmsg/control/control.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include "libmsg/control/request.h"

void control_init(struct control *control, struct hv *hv, struct pool *pool, struct links *links,
	struct socks *socks)
{
	*control = (struct control){.hv = hv,
		.pool = pool,
		.links = links,
		.socks = socks,
		.state = CONTROL_ATTACHING,
		.again_ns = UINT64_MAX};
}

void control_log(struct control *control, int priority, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!control->log)
		return;
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	control->log(control->log_arg, priority, line);
}

/* The one place where the state changes. */
void control_set_state(struct control *control, enum control_state state)
{
	static const uint8_t legal[] = {
		[CONTROL_ATTACHING] = 1U << CONTROL_ATTACHED | 1U << CONTROL_QUIESCING |
				      1U << CONTROL_DROPPED | 1U << CONTROL_BROKEN,
		[CONTROL_ATTACHED] = 1U << CONTROL_ATTACHING | 1U << CONTROL_QUIESCING |
				     1U << CONTROL_DROPPED | 1U << CONTROL_BROKEN,
		[CONTROL_QUIESCING] = 1U << CONTROL_PARKED | 1U << CONTROL_BROKEN,
		[CONTROL_PARKED] = 1U << CONTROL_ATTACHING | 1U << CONTROL_BROKEN,
		[CONTROL_DROPPED] = 1U << CONTROL_WAITING | 1U << CONTROL_BROKEN,
		[CONTROL_WAITING] = 1U << CONTROL_ATTACHING | 1U << CONTROL_BROKEN,
		[CONTROL_BROKEN] = 0,
	};

	assert(legal[control->state] & 1U << state);
	control->state = state;
	control->pool->wake = control->pool->marked = true;
}

void control_break(struct control *control, int error, const char *reason)
{
	struct msg_sock *sock;
	struct link *link;

	if (control->state == CONTROL_BROKEN)
		return;
	control_log(control, LOG_ERR, "%s: %s", reason, strerrordesc_np(error));
	control->error = error;
	(void)snprintf(control->reason, sizeof(control->reason), "%s", reason);
	control_set_state(control, CONTROL_BROKEN);
	TAILQ_FOREACH (sock, &control->socks->all, entry) {
		if (sock->request)
			request_done(control, sock->request, (uint32_t)error, reason);
		else if (sock->kind != SOCK_CHANNEL)
			sock_fail(sock, error, reason);
	}
	/* Links that wait for msgd's word would wait for ever. */
	for (link = control->links->by_end; link; link = link->hh.next) {
		if (link->state == LINK_MAKING || link->state == LINK_SYNCING)
			link_end(link, LINK_LOST, reason);
	}
}

/* Registers a ring with its own domain and drops it. */
uint64_t control_argo_features(struct hv *hv)
{
	struct hv_ring *ring;
	int r = hv->ops->argo_register(hv, 0, hv->ops->domid(hv), 4096, &ring);

	switch (r) {
	case 0:
		(void)hv->ops->argo_unregister(hv, ring);
		return FEATURE_ARGO | FEATURE_ARGO_STRICT;
	case -ENOSPC: /* all rings are in use now; who makes a link says so, if they still are */
	case -EDQUOT:
	case -ENOMEM:
	case -EAGAIN: /* a frame that is being migrated */
		return FEATURE_ARGO | FEATURE_ARGO_STRICT;
	case -ENOSYS:
	case -EOPNOTSUPP:
		return FEATURE_NO_HYPERVISOR_ARGO;
	case -ENXIO:
		return FEATURE_NO_ARGO_DRIVER;
	default:
		return 0;
	}
}

/* ---- pages and record ------------------------------------------------------------------- */

_Static_assert(CONTROL_PAGES == HV_PARCEL_PAGES, "a parcel is what a record names");

/* By an agent, which publishes no record that names anything else. */
static int control_adopt(
	struct control *control, struct hv_parcel *parcel, uint32_t refs[CONTROL_PAGES])
{
	struct hv *hv = control->hv;
	struct hv_adopted adopted;
	int r = hv->ops->parcel_adopt(hv, parcel, DOORBELL_ALIVE_OFFSET(0), &adopted);

	if (r < 0)
		return r;
	control->port = parcel->port;
	control->page_share = adopted.page_share;
	control->ring_share = adopted.others_share;
	control->page = adopted.page;
	control->rings = adopted.others;
	memcpy(refs, parcel->refs, sizeof(parcel->refs));
	return 0;
}

static int control_make(struct control *control, uint32_t refs[CONTROL_PAGES])
{
	struct hv *hv = control->hv;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	void *page, *rings;
	int r;

	control->lacking = "no event channel is left in this domain";
	r = hv->ops->evtchn_alloc_unbound(hv, HV_BROKER_DOMID, &control->port);
	if (r < 0)
		return r;
	control->lacking = "no page is left that this domain may share (the limit of xen-gntalloc)";
	notify.port = control->port;
	r = hv->ops->grant_share(
		hv, HV_BROKER_DOMID, 1, &notify, refs, &page, &control->page_share);
	if (r < 0)
		return r;
	r = hv->ops->grant_share(hv, HV_BROKER_DOMID, 2 * CONTROL_RING_PAGES, NULL, refs + 1,
		&rings, &control->ring_share);
	if (r < 0)
		return r;
	control->page = page;
	control->rings = rings;
	return 0;
}

static int control_share(struct control *control, uint32_t refs[CONTROL_PAGES])
{
	struct hv_parcel parcel;
	int r = control->hv->ops->parcel_ask(control->hv, &parcel);

	control->lacking = "the agent of this domain lacks event channels or pages to share";
	if (r < 0)
		return r;
	r = r > 0 ? control_adopt(control, &parcel, refs) : control_make(control, refs);
	if (r == 0)
		control_ring_init(
			&control->ring, control->page, CONTROL_RING_APPLICATION, control->rings);
	return r;
}

static int control_publish_record(struct control *control, const uint32_t refs[CONTROL_PAGES])
{
	struct record record = {.version_min = CONTROL_VERSION_MIN,
		.version_max = CONTROL_VERSION,
		.port = control->port};

	if (getrandom(control->nonce, NONCE_SIZE, 0) != NONCE_SIZE)
		return -EIO;
	memcpy(record.nonce, control->nonce, NONCE_SIZE);
	memcpy(record.refs, refs, sizeof(record.refs));
	control->page->head = (struct doorbell_head){.magic = CONTROL_PAGE_MAGIC,
		.version_min = CONTROL_VERSION_MIN,
		.version_max = CONTROL_VERSION,
		.port = control->port};
	memcpy(control->page->head.nonce, control->nonce, NONCE_SIZE);
	control_rings_prove(control->rings, &control->page->head);
	/* After quiescing: the next epoch must be one that requests were not sent under. */
	atomic_store(&control->page->epoch, control->epoch);
	atomic_store(&control->ring.me->alive, 1);
	control->armed = true; /* control_ring_init did so */
	/* Half of it is as unique, and all keys of a domain fit a directory of xenstored's. */
	for (size_t i = 0; i < NONCE_SIZE / 2; i++)
		(void)snprintf(control->key + 2 * i, 3, "%02x", control->nonce[i]);
	record_encode(&record, control->record);
	control->lacking = "this domain's quota in the store is used up";
	return control->hv->ops->store_publish(
		control->hv, control->key, control->record, sizeof(control->record));
}

void control_release(struct control *control)
{
	const struct hv_ops *ops = control->hv->ops;

	control_capture_forget(control);
	if (control->page)
		control_ring_clear(&control->ring);
	if (control->ring_share)
		ops->grant_unshare(control->hv, control->ring_share);
	/* Its notification needs the port. */
	if (control->page_share)
		ops->grant_unshare(control->hv, control->page_share);
	if (control->port)
		(void)ops->evtchn_close(control->hv, control->port);
	control->ring_share = control->page_share = NULL;
	control->page = NULL;
	control->port = 0;
	control->again_ns = UINT64_MAX;
}

static int control_try_open(struct control *control)
{
	uint32_t refs[CONTROL_PAGES];
	int r = control_share(control, refs);

	return r < 0 ? r : control_publish_record(control, refs);
}

int control_open(struct control *control)
{
	int r = control_try_open(control);

	/* An agent that was started again in between does not know the parcel. */
	if (r == -EPERM) {
		control_release(control);
		r = control_try_open(control);
	}
	if (r == 0)
		control_look_later(control);
	return r;
}

const char *control_open_error(const struct control *control, int r)
{
	return r == -ENOSPC   ? control->lacking
	       : r == -EDQUOT ? "this user has its share of the domain's places: three in "
				"four of [limits] processes (msg-agent(8))"
			      : strerrordesc_np(-r);
}

void control_close(struct control *control)
{
	const struct hv_ops *ops = control->hv->ops;

	requests_free(control);
	/* By this msgd knows, when it finds the record gone, that the process has left. */
	if (control->page)
		atomic_store_explicit(&control->ring.me->alive, 0, memory_order_release);
	/* First the record: a msgd that starts now must not find pages that go away. */
	if (control->key[0])
		(void)ops->store_remove(control->hv, ops->domid(control->hv), control->key);
	control_release(control);
}

bool control_broker_there(const struct control *control)
{
	return control->page &&
	       atomic_load_explicit(&control->ring.them->alive, memory_order_acquire) != 0;
}

/* ---- sending ---------------------------------------------------------------------------- */

void control_send(struct control *control, const struct control_message *message)
{
	/*
	 * While it is parked, and until WELCOME: requests are sent again later, and the rest is
	 * about what is gone, or is announced as it is then.
	 */
	if (!control->page || control->state == CONTROL_BROKEN ||
		control->state == CONTROL_ATTACHING)
		return;
	control_ring_send(&control->ring, message);
	control->pool->marked = true;
	control->urgent = true;
}

void control_send_quietly(struct control *control, const struct control_message *message)
{
	bool urgent = control->urgent;

	control_send(control, message);
	control->urgent = urgent;
}

/*
 * No wake-up is lost by it. msgd looks at the rings of both ends as long as it has not heard of
 * each number that it gave ahead, and this end wakes it for what it has not heard when it has none
 * left: it knows so later than this end.
 */
static bool may_be_quiet(struct control *control)
{
	return !control->urgent && control->links->n_ahead &&
	       grant_ring_space(&control->ring.tx, CONTROL_RING_LEN / 2) >= CONTROL_RING_LEN / 2;
}

void control_publish(struct control *control)
{
	bool unheard = control->unheard && !control->links->n_ahead, event;

	if (!control->page ||
		(control_ring_is_idle(&control->ring) && !control->pool->capture && !unheard))
		return;
	control_ring_flush(&control->ring);
	control_capture_publish(control);
	/* msgd is trusted by all: a ring that makes no sense is a bug, and nothing can be saved. */
	if (control->ring.broken)
		control_break(control, control->ring.error == ENOMEM ? ENOMEM : EPROTO,
			control->ring.broken);
	if (may_be_quiet(control)) {
		control->unheard |= control->ring.wrote;
		event = control_ring_publish_quietly(&control->ring);
	} else {
		control->ring.wrote |= control->unheard;
		control->urgent = control->unheard = false;
		event = control_ring_publish(&control->ring);
	}
	if (event)
		(void)control->hv->ops->evtchn_send(control->hv, control->port);
}

/* ---- attaching -------------------------------------------------------------------------- */

/*
 * A channel that stands needs no msgd, and one that does not know its type counts and judges it all
 * the same, as one of the type that every msgd knows. Its other end says so as well.
 */
static uint32_t announced_type(const struct control *control, const struct channel *channel)
{
	return control_knows_type(control, channel->type) ? channel->type : CHANNEL_SEQPACKET;
}

/* A msgd that does not know terms need not: the ends keep them. */
static void announce_terms(
	struct control *control, const struct link *link, const struct channel *channel)
{
	struct control_message message = {
		.type = CONTROL_ANNOUNCE_TERMS, .announce_terms = channel->terms->said};

	message.announce_terms.end = link->end;
	if (control->broker_features & FEATURE_TERMS)
		control_send(control, &message);
}

static void announce_link(struct control *control, const struct link *link)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_LINK,
		.announce_link = {.end = link->end,
			.uid = link->uid,
			.peer_domid = link->transport->peer_domid,
			.transport = link->transport->ops->kind,
			.role = link->transport->role,
			.state = link->state != LINK_MAKING}};

	control_send(control, &message);
	/* LINK_CHANNELS_MAX at most, and those alone for which this process has kept memory. */
	for (struct channel *c = link->channels.by_number; c; c = c->hh.next) {
		struct control_message m = {.type = CONTROL_ANNOUNCE_CHANNEL,
			.announce_channel = {.end = link->end,
				.channel = c->number,
				.type = announced_type(control, c),
				.listener = c->listener_handle,
				.accepted = c->listener_handle && !c->listener}};

		memcpy(m.announce_channel.name, c->name, NAME_SIZE);
		/* The next msgd that knows arguments has it whole again. */
		if (!control_knows_name(control, c->name))
			m.announce_channel.name[name_base_len(c->name)] = '\0';
		control_send(control, &m);
		if (c->terms)
			announce_terms(control, link, c);
	}
}

static void announce_listener(struct control *control, struct msg_sock *sock)
{
	struct control_message message = {.type = CONTROL_LISTEN};
	const char *too_old;

	/* One that waits for its first answer is sent again as the request that it is. */
	if (sock->state != SOCK_OPEN)
		return;
	too_old = control_too_old(control, sock->type, sock->name);
	if (too_old) {
		control_log(control, LOG_ERR, "listener %s is lost: %s", sock->name, too_old);
		sock_fail(sock, EPROTONOSUPPORT, too_old);
		return;
	}
	message.listen = (struct control_listen){
		.listener = sock->handle, .type = sock->type, .backlog = (uint32_t)sock->backlog};
	memcpy(message.listen.name, sock->name, NAME_SIZE);
	if (!request_new(control, NULL, &message))
		sock_fail(sock, ENOMEM, "out of memory while msgd was told of the name again");
}

static void control_hello(struct control *control, uint32_t epoch)
{
	struct control_message hello = {.type = CONTROL_HELLO,
		.request = REQUEST_HELLO,
		.hello = {.epoch = epoch,
			.version_min = CONTROL_VERSION_MIN,
			.version_max = CONTROL_VERSION,
			.features = control->features | FEATURE_TYPES | FEATURE_WATCH |
				    FEATURE_TERMS | FEATURE_COUNTS | FEATURE_CAPTURE |
				    FEATURE_AHEAD,
			.pid = (uint32_t)getpid(),
			.reattach = control->epoch != 0}};

	(void)snprintf(
		hello.hello.comm, sizeof(hello.hello.comm), "%s", program_invocation_short_name);
	/* Messages that wait were for the msgd that is gone. */
	control_ring_clear(&control->ring);
	control_capture_forget(control);
	control_ahead_forget(control);
	control->urgent = true;
	control->epoch = epoch;
	control->announces = hello.hello.reattach;
	control->again_ns = UINT64_MAX;
	if (control->state == CONTROL_ATTACHED)
		control_set_state(control, CONTROL_ATTACHING);
	control_ring_send(&control->ring, &hello);
	control->pool->marked = true;
}

void control_announce(struct control *control)
{
	struct control_message done = {.type = CONTROL_ANNOUNCE_DONE};

	if (!control->announces)
		return;
	for (struct link *link = control->links->by_end; link; link = link->hh.next) {
		if (link->state != LINK_ENDING)
			announce_link(control, link);
	}
	for (struct msg_sock *sock = control->socks->listeners; sock; sock = sock->hh.next)
		announce_listener(control, sock);
	control_send(control, &done);
	requests_send_again(control);
}

/* ---- receiving -------------------------------------------------------------------------- */

void control_take(struct control *control)
{
	struct control_message message;
	const char *reason = NULL;
	uint32_t epoch;
	int r, decoded;

	if (!control->page || control->state == CONTROL_BROKEN)
		return;
	/*
	 * The epoch is read before the ring: all that a former msgd wrote is in the ring by then,
	 * so it is taken in before HELLO, after which only the new msgd writes.
	 */
	epoch = atomic_load_explicit(&control->page->epoch, memory_order_acquire);
	/* As much as msgd writes: all trust it, and it bounds what a guest can make it say. */
	while ((r = control_ring_receive(&control->ring, &message, &decoded, &reason)) > 0) {
		if (decoded == 0)
			control_handle(control, &message);
		else if (decoded != -EOPNOTSUPP) /* a newer msgd's: it does not need us to know */
			break;
		if (control->state == CONTROL_BROKEN)
			return;
	}
	if (r != 0) {
		control_break(control, EPROTO, r < 0 ? reason : "msgd wrote no control message");
		return;
	}
	control->pool->marked |= !control_ring_is_idle(&control->ring) || control->pool->capture;
	if (control->state != CONTROL_ATTACHING && control->state != CONTROL_ATTACHED)
		return;
	if (!control_broker_there(control))
		control_look_dropped(control);
	else if (epoch != control->epoch)
		control_hello(control, epoch);
}

bool control_arm(struct control *control)
{
	if (control->armed || !control->page || control->state == CONTROL_BROKEN)
		return false;
	if (control_ring_sleep(&control->ring))
		return true;
	control->armed = true;
	return false;
}

void control_disarmed(struct control *control)
{
	control->armed = false;
	pool_rearm(control->pool);
}
