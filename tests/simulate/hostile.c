/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes of the hostile domain, each a task. One kind speaks to msgd on raw memory: it attaches
 * as any application does, and then draws attacks, one after the other. The other kind has libmsg
 * connect to the honest server, and then lies over the link. Each has several lives.
 *
 * Nothing here is held against anybody: honest applications, and msgd, are what is looked at.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmsg/api/ctx.h"
#include "libmsg/transport/argo.h"
#include "proto/control-ring.h"
#include "proto/record.h"
#include "tests/simulate/simulate.h"

#define LIVES_MAX   4U
#define ATTACKS_MAX 200U
#define KNOWN	    8U
#define BURST	    40U
#define RUDE_ONE_IN 60U
#define ATTACH_NS   50000000U
#define NAP_NS	    5000000U
#define CONNECT_MS  500

/* Numbers that msgd has told of, the last ones first. */
struct known {
	struct control_channel_id list[KNOWN];
	uint32_t n;
};

/* The raw application, in one life. */
struct raw {
	struct hv *hv; /* borrowed from the hostile */
	uint32_t port;
	struct doorbell_page *page;
	void *rings;
	struct control_ring ring;
	struct record record;
	char key[HV_STORE_KEY_MAX];
	uint32_t next_request;
	struct known creates, binds, ends, channels;
	struct control_announce_link links[KNOWN]; /* that it has part in */
	uint32_t n_links, last_announced, epoch;
	bool listens[4];
	bool announcing, over;
};

static uint32_t choose(struct hostile *hostile, const char *what, uint32_t n)
{
	return sim_choose(hostile->world->sim, what, n);
}

static void hostile_sleep(struct hostile *hostile, uint64_t ns)
{
	struct world *w = hostile->world;
	struct pollfd fds[2] = {{.fd = w->stop_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	uint64_t now = atomic_load(&sim_xen(w->sim)->seg->now_ns);

	if (hostile->hv)
		fds[1].fd = hostile->hv->ops->fd(hostile->hv);
	(void)sim_task_poll(w->sim, fds, 2, now + ns);
}

static bool is_time_over(const struct hostile *hostile)
{
	return hostile->world->n_running == 0;
}

/* ---- a raw application's life --------------------------------------------------------------- */

static void raw_events(struct raw *raw)
{
	struct hv_event event;

	while (raw->hv->ops->poll_events(raw->hv, &event, 1) == 1)
		if (event.type == HV_EVENT_PORT)
			(void)raw->hv->ops->evtchn_unmask(raw->hv, &event.port, 1);
}

static void raw_flush(struct raw *raw)
{
	control_ring_flush(&raw->ring);
	if (control_ring_publish(&raw->ring))
		(void)raw->hv->ops->evtchn_send(raw->hv, raw->port);
	raw->over |= raw->ring.broken != NULL;
}

static void raw_send(struct raw *raw, struct control_message *message)
{
	control_ring_send(&raw->ring, message);
	raw_flush(raw);
}

static void raw_ask(struct raw *raw, struct control_message *message)
{
	message->request = raw->next_request++;
	raw_send(raw, message);
}

/* False: the machine refused something. */
static bool raw_share(struct raw *raw)
{
	const struct hv_ops *ops = raw->hv->ops;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	struct hv_share *share;
	void *page, *rings;

	if (ops->evtchn_alloc_unbound(raw->hv, HV_BROKER_DOMID, &raw->port) < 0)
		return false;
	notify.port = raw->port;
	if (ops->grant_share(
		    raw->hv, HV_BROKER_DOMID, 1, &notify, raw->record.refs, &page, &share) < 0 ||
		ops->grant_share(raw->hv, HV_BROKER_DOMID, CONTROL_PAGES - 1, NULL,
			raw->record.refs + 1, &rings, &share) < 0)
		return false;
	raw->page = page;
	raw->rings = rings;
	control_ring_init(&raw->ring, raw->page, CONTROL_RING_APPLICATION, rings);
	return true;
}

static bool raw_publish(struct raw *raw)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(&raw->record, bytes);
	return raw->hv->ops->store_publish(raw->hv, raw->key, bytes, sizeof(bytes)) == 0;
}

static void raw_fill(struct hostile *hostile, struct raw *raw)
{
	struct doorbell_head *head = &raw->page->head;
	struct record *record = &raw->record;

	sim_random(hostile->world->sim, record->nonce, sizeof(record->nonce));
	record->version_min = record->version_max = CONTROL_VERSION;
	record->port = raw->port;
	*head = (struct doorbell_head){.magic = CONTROL_PAGE_MAGIC,
		.version_min = CONTROL_VERSION,
		.version_max = CONTROL_VERSION,
		.port = raw->port};
	memcpy(head->nonce, record->nonce, sizeof(head->nonce));
	control_rings_prove(raw->rings, head);
	atomic_store(&raw->page->end[0].alive, 1);
	(void)snprintf(raw->key, sizeof(raw->key), "h%u-%u", hostile->index, hostile->n_lives);
}

/* Waits for a msgd, and greets it. */
static bool raw_greet(struct hostile *hostile, struct raw *raw)
{
	struct control_message hello = {.type = CONTROL_HELLO};
	uint64_t until = raw->hv->ops->now_ns(raw->hv) + ATTACH_NS;

	while (atomic_load(&raw->page->epoch) == raw->epoch) {
		if (is_time_over(hostile) || raw->hv->ops->now_ns(raw->hv) > until)
			return false;
		hostile_sleep(hostile, NAP_NS);
		raw_events(raw);
	}
	raw->announcing = raw->epoch || choose(hostile, "reattach", 4) == 0;
	raw->epoch = atomic_load(&raw->page->epoch);
	hello.hello.epoch = raw->epoch;
	hello.hello.version_min = hello.hello.version_max = CONTROL_VERSION;
	hello.hello.features = choose(hostile, "features", 4);
	if (choose(hostile, "ahead", 2))
		hello.hello.features |= FEATURE_AHEAD | FEATURE_COUNTS;
	hello.hello.reattach = raw->announcing;
	(void)strcpy(hello.hello.comm, "hostile");
	raw->next_request = 1;
	control_ring_clear(&raw->ring);
	raw_ask(raw, &hello);
	return true;
}

static bool raw_attach(struct hostile *hostile, struct raw *raw)
{
	if (!raw_share(raw))
		return false;
	raw_fill(hostile, raw);
	return raw_publish(raw) && raw_greet(hostile, raw);
}

/* False: msgd has dropped it, or does not come back. */
static bool raw_is_served(struct hostile *hostile, struct raw *raw)
{
	if (raw->over)
		return false;
	if (atomic_load(&raw->page->end[1].alive) && atomic_load(&raw->page->epoch) == raw->epoch)
		return true;
	raw->last_announced = 0;
	memset(raw->listens, 0, sizeof(raw->listens));
	raw->creates.n = raw->binds.n = raw->ends.n = 0;
	return raw_greet(hostile, raw);
}

/* ---- numbers that msgd has told: lies about them come further ------------------------------- */

static void know(struct known *known, uint32_t end, uint32_t channel)
{
	uint32_t n = known->n < KNOWN ? known->n++ : KNOWN - 1;

	memmove(known->list + 1, known->list, n * sizeof(*known->list));
	known->list[0] = (struct control_channel_id){.end = end, .channel = channel};
}

static void forget(struct known *known, uint32_t end)
{
	for (uint32_t i = 0; i < known->n; i++)
		if (known->list[i].end == end)
			known->list[i--] = known->list[--known->n];
}

/*
 * One of those, which then is known no more where that is the rule. False: there is none. Now and
 * then numbers out of the air, of which most end in being dropped.
 */
static bool pick(
	struct hostile *hostile, struct known *known, bool once, struct control_channel_id *ret_id)
{
	uint32_t i;

	if (choose(hostile, "out of the air", RUDE_ONE_IN) == 0) {
		ret_id->end = 1 + choose(hostile, "end", 20);
		ret_id->channel = 1 + choose(hostile, "channel", 20);
		return true;
	}
	if (!known->n)
		return false;
	i = choose(hostile, "which", known->n);
	*ret_id = known->list[i];
	if (once)
		known->list[i] = known->list[--known->n];
	return true;
}

static void know_link(struct raw *raw, const struct control_link_create *link, uint32_t role)
{
	raw->links[raw->n_links++ % KNOWN] = (struct control_announce_link){.end = link->end,
		.uid = link->uid,
		.peer_domid = link->peer_domid,
		.transport = link->transport,
		.role = role};
}

static void raw_take(struct raw *raw, const struct control_message *message)
{
	/* LINK_BIND begins as LINK_CREATE does. */
	if (message->type == CONTROL_LINK_CREATE || message->type == CONTROL_LINK_BIND)
		know_link(raw, &message->link_create, message->type == CONTROL_LINK_BIND);
	switch (message->type) {
	case CONTROL_LINK_CREATE:
		know(&raw->creates, message->link_create.end, 0);
		know(&raw->ends, message->link_create.end, 0);
		break;
	case CONTROL_LINK_BIND:
		know(&raw->binds, message->link_bind.end, 0);
		know(&raw->ends, message->link_bind.end, 0);
		break;
	case CONTROL_LINK_DOWN:
		forget(&raw->creates, message->link_down.end);
		forget(&raw->binds, message->link_down.end);
		break;
	case CONTROL_CHANNEL:
		know(&raw->channels, message->channel.end, message->channel.channel);
		break;
	case CONTROL_CONNECTED:
		know(&raw->channels, message->connected.end, message->connected.channel);
		break;
	default:
		break;
	}
}

/* ---- attacks: one function each ------------------------------------------------------------- */

static void attack_read(struct hostile *hostile, struct raw *raw)
{
	struct control_message message;
	const char *reason;
	int decoded;

	raw_events(raw);
	memset(&message, 0, sizeof(message));
	while (control_ring_receive(&raw->ring, &message, &decoded, &reason) == 1)
		if (decoded == 0)
			raw_take(raw, &message);
	(void)control_ring_sleep(&raw->ring);
	raw_flush(raw);
}

static void connect_one(struct hostile *hostile, struct raw *raw)
{
	static const char *const addresses[] = {"web/echo", "echo", "hostile/echo", "hostile/later",
		"domid:0/echo", "nobody/echo", "web/later"};
	struct control_message message = {.type = CONTROL_CONNECT};

	message.connect.type = CHANNEL_SEQPACKET;
	message.connect.flags = choose(hostile, "wait", 2) ? CONNECT_WAIT_NAME : 0;
	message.connect.transport = choose(hostile, "transport", TRANSPORT_LIMIT);
	(void)strcpy(message.connect.address,
		addresses[choose(hostile, "address", sizeof(addresses) / sizeof(*addresses))]);
	raw_ask(raw, &message);
}

static void attack_connect(struct hostile *hostile, struct raw *raw)
{
	connect_one(hostile, raw);
}

/* And the answers lie unread. */
static void attack_burst(struct hostile *hostile, struct raw *raw)
{
	for (uint32_t i = 0; i < BURST && !raw->over; i++)
		connect_one(hostile, raw);
}

static void attack_listen(struct hostile *hostile, struct raw *raw)
{
	static const char *const names[] = {"echo", "later", "x", "y"};
	struct control_message message = {.type = CONTROL_LISTEN};
	uint32_t i = choose(hostile, "listener", 4);

	if (raw->listens[i] && choose(hostile, "out of the air", RUDE_ONE_IN))
		return;
	raw->listens[i] = true;
	message.listen.listener = 1 + i;
	message.listen.type = CHANNEL_SEQPACKET;
	message.listen.backlog = choose(hostile, "backlog", 2) ? 1 : BACKLOG_MAX;
	(void)strcpy(message.listen.name, names[i]);
	raw_ask(raw, &message);
}

static void attack_unlisten(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_UNLISTEN};
	uint32_t i = choose(hostile, "listener", 4);

	if (!raw->listens[i] && choose(hostile, "out of the air", RUDE_ONE_IN))
		return;
	raw->listens[i] = false;
	message.unlisten.listener = 1 + i;
	raw_ask(raw, &message);
}

static void attack_cancel(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_CANCEL};

	message.request = 1 + choose(hostile, "request", raw->next_request);
	raw_send(raw, &message);
}

static void attack_announce_link(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_LINK};
	struct control_announce_link *link = &message.announce_link;

	if (raw->n_links && choose(hostile, "a true link", 4)) {
		*link = raw->links[choose(
			hostile, "which", raw->n_links < KNOWN ? raw->n_links : KNOWN)];
	} else {
		link->uid = 1 + choose(hostile, "uid", 50);
		link->peer_domid = hostile->world->domains[choose(hostile, "domain", 3)].domid;
		link->transport = 1 + choose(hostile, "transport", TRANSPORT_LIMIT - 1);
		link->role = choose(hostile, "role", 2);
	}
	link->end = ++raw->last_announced;
	link->state = choose(hostile, "state", 2);
	know(&raw->ends, link->end, 1);
	raw_send(raw, &message);
}

static void attack_announce_channel(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_CHANNEL};
	struct control_announce_channel *channel = &message.announce_channel;
	struct control_channel_id id;

	if (!pick(hostile, &raw->ends, false, &id))
		return;
	channel->end = id.end;
	channel->channel = 1 + choose(hostile, "channel", 20);
	channel->type = CHANNEL_SEQPACKET;
	channel->listener = choose(hostile, "listener", 2);
	channel->accepted = channel->listener && choose(hostile, "accepted", 2);
	(void)strcpy(channel->name, "echo");
	raw_send(raw, &message);
}

static void attack_announce_done(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_DONE};

	raw->announcing = false;
	raw_send(raw, &message);
}

static void attack_channel(struct hostile *hostile, struct raw *raw)
{
	bool closed = choose(hostile, "closed", 2);
	struct control_message message = {
		.type = closed ? CONTROL_CHANNEL_CLOSED : CONTROL_ACCEPTED};

	if (pick(hostile, &raw->channels, closed, &message.accepted))
		raw_send(raw, &message);
}

/* Of numbers that are used, given back before, or never were ahead. */
static void attack_rest(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_AHEAD_REST};
	struct control_channel_id id;

	if (!pick(hostile, &raw->channels, false, &id))
		return;
	message.ahead_rest.end = id.end;
	message.ahead_rest.first = id.channel + choose(hostile, "offset", 3);
	message.ahead_rest.rest = choose(hostile, "rest", 16);
	raw_send(raw, &message);
}

/* Ports and references of nothing, or of its own control pages. */
static void attack_offer(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_LINK_OFFER};
	struct control_link_offer *offer = &message.link_offer;
	struct control_channel_id id;

	if (!pick(hostile, &raw->creates, true, &id))
		return;
	offer->end = id.end;
	offer->port = choose(hostile, "true port", 2) ? raw->port : 1 + choose(hostile, "port", 30);
	offer->aport = choose(hostile, "aport", 3);
	offer->doorbell_ref = raw->record.refs[choose(hostile, "reference", CONTROL_PAGES)];
	offer->refs_ref = raw->record.refs[choose(hostile, "reference", CONTROL_PAGES)];
	raw_send(raw, &message);
}

static void attack_ready(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_LINK_READY};
	struct control_channel_id id;

	if (!pick(hostile, &raw->binds, true, &id))
		return;
	message.link_ready.end = id.end;
	message.link_ready.aport = choose(hostile, "aport", 3);
	raw_send(raw, &message);
}

static void attack_failed(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_LINK_FAILED};
	struct control_channel_id id;

	if (!pick(hostile, &raw->ends, true, &id))
		return;
	forget(&raw->creates, id.end);
	forget(&raw->binds, id.end);
	message.link_failed.end = id.end;
	message.link_failed.error = 1 + choose(hostile, "error", ERROR_LIMIT - 1);
	(void)strcpy(message.link_failed.reason, "it is a lie");
	raw_send(raw, &message);
}

static void attack_sync(struct hostile *hostile, struct raw *raw)
{
	struct control_message message = {.type = CONTROL_SYNC};

	for (uint32_t i = 0; i < BURST && !raw->over; i++)
		raw_ask(raw, &message);
}

static void attack_events(struct hostile *hostile, struct raw *raw)
{
	for (uint32_t i = 0; i < BURST; i++)
		(void)raw->hv->ops->evtchn_send(raw->hv, raw->port);
}

/* By the dozen: of the right form with invented references, or of none. */
static void attack_records(struct hostile *hostile, struct raw *raw)
{
	uint8_t bytes[RECORD_SIZE];
	struct record record = raw->record;
	char key[HV_STORE_KEY_MAX];

	for (uint32_t i = 0; i < 12; i++) {
		record.port = 1 + choose(hostile, "port", 30);
		record.nonce[0]++;
		record_encode(&record, bytes);
		(void)snprintf(key, sizeof(key), "h%u-junk%u", hostile->index, i);
		(void)raw->hv->ops->store_publish(
			raw->hv, key, bytes, choose(hostile, "whole", 2) ? sizeof(bytes) : 7);
	}
}

/* Often no longer than it takes the others to have a turn: they live only as long as they work. */
static void attack_nap(struct hostile *hostile, struct raw *raw)
{
	static const uint32_t naps_ns[] = {0, 1, 20000, 1000000, NAP_NS};

	hostile_sleep(hostile, naps_ns[choose(hostile, "nap", 5)]);
}

/* ---- attacks that end in being dropped ------------------------------------------------------ */

/* Words anywhere in both halves of the control page. */
static void attack_counters(struct hostile *hostile, struct raw *raw)
{
	_Atomic uint32_t *words = (_Atomic uint32_t *)raw->page->end;
	uint32_t n = 2 * sizeof(struct doorbell_end) / sizeof(uint32_t), word;

	for (uint32_t i = 0; i < 20; i++) {
		sim_random(hostile->world->sim, &word, sizeof(word));
		atomic_store(&words[choose(hostile, "word", n)], word);
	}
	(void)raw->hv->ops->evtchn_send(raw->hv, raw->port);
}

static void attack_garbage(struct hostile *hostile, struct raw *raw)
{
	uint8_t bytes[64];

	sim_random(hostile->world->sim, bytes, sizeof(bytes));
	grant_ring_write(&raw->ring.tx, 0, bytes, sizeof(bytes));
	raw->ring.tx.own += sizeof(bytes);
	raw->ring.wrote = true;
	raw_flush(raw);
}

/* The record is another one, under the same key. */
static void attack_replace(struct hostile *hostile, struct raw *raw)
{
	raw->record.nonce[0]++;
	(void)raw_publish(raw);
}

typedef void attack_fn(struct hostile *hostile, struct raw *raw);

static attack_fn *const attacks[] = {attack_read, attack_read, attack_read, attack_connect,
	attack_connect, attack_connect, attack_burst, attack_listen, attack_listen, attack_unlisten,
	attack_cancel, attack_channel, attack_rest, attack_offer, attack_offer, attack_ready,
	attack_failed, attack_sync, attack_events, attack_records, attack_nap, attack_nap};
/* While it announces, as after msgd's return. */
static attack_fn *const announcements[] = {attack_announce_link, attack_announce_link,
	attack_announce_channel, attack_listen, attack_nap, attack_announce_done};
static attack_fn *const last_attacks[] = {attack_counters, attack_garbage, attack_replace,
	attack_announce_link, attack_announce_channel, attack_announce_done};

static void attack(
	struct hostile *hostile, struct raw *raw, attack_fn *const *table, size_t table_size)
{
	table[choose(hostile, "attack", (uint32_t)(table_size / sizeof(*table)))](hostile, raw);
	hostile->world->counts->attacks++;
}

static void raw_live(struct hostile *hostile)
{
	struct raw raw = {.hv = hostile->hv};
	uint32_t n = 1 + choose(hostile, "attacks", ATTACKS_MAX);

	if (!raw_attach(hostile, &raw))
		return;
	for (uint32_t i = 0; i < n && raw_is_served(hostile, &raw); i++) {
		if (raw.announcing)
			attack(hostile, &raw, announcements, sizeof(announcements));
		else
			attack(hostile, &raw, attacks, sizeof(attacks));
	}
	if (raw_is_served(hostile, &raw) && choose(hostile, "the last one", 2))
		attack(hostile, &raw, last_attacks, sizeof(last_attacks));
	attack_nap(hostile, &raw);
	control_ring_clear(&raw.ring);
}

static void raw_main(void *arg)
{
	struct hostile *hostile = arg;
	struct world *w = hostile->world;
	uint32_t n_lives = 1 + choose(hostile, "lives", LIVES_MAX);

	while (hostile->n_lives++ < n_lives && !is_time_over(hostile)) {
		if (sim_hv_open(w->sim, w->domains[HOSTILE_DOMAIN].domid, &hostile->hv) == 0) {
			raw_live(hostile);
			if (choose(hostile, "kill", 2))
				sim_hv_kill(w->sim, hostile->hv);
			else
				hv_close(hostile->hv);
		}
		hostile->hv = NULL;
		attack_nap(hostile, NULL);
	}
	hostile->state = HOSTILE_DONE;
}

/* ---- lies to libmsg ------------------------------------------------------------------------- */

static void ring_bell(struct transport *transport)
{
	(void)transport->ops->push(transport);
	if (transport->port)
		(void)transport->hv->ops->evtchn_send(transport->hv, transport->port);
}

static void lie_frame(struct hostile *hostile, const struct channel *channel)
{
	static uint8_t payload[64];
	struct transport *transport = channel->set->transport;
	struct frame frame = {.channel = channel->number + choose(hostile, "another channel", 2),
		.type = (uint8_t)choose(hostile, "type", 8),
		.flags = (uint8_t)choose(hostile, "flags", 4),
		.len = choose(hostile, "length", sizeof(payload) + 1),
		.arg = choose(hostile, "arg", 200)};
	struct iovec iov = {.iov_base = payload, .iov_len = frame.len};
	struct iov_cursor cursor;

	cursor_init(&cursor, &iov, 1);
	(void)transport->ops->put(transport, &frame, frame.len, &cursor, false);
	ring_bell(transport);
}

/* argo-strict shares no page. */
static void lie_page(struct hostile *hostile, const struct channel *channel)
{
	struct transport *transport = channel->set->transport;
	struct paged *paged = container_of(transport, struct paged, base);
	uint32_t n = 2 * sizeof(struct doorbell_end) / sizeof(uint32_t), word;

	if (channel->transport == TRANSPORT_ARGO_STRICT)
		return;
	for (uint32_t i = 0; i < 20; i++) {
		sim_random(hostile->world->sim, &word, sizeof(word));
		atomic_store(
			(_Atomic uint32_t *)paged->page->end + choose(hostile, "word", n), word);
	}
	ring_bell(transport);
}

/* It tells a returned msgd that it is the listener's end, or that the link is another. */
static void lie_claim(struct hostile *hostile, struct channel *channel)
{
	if (choose(hostile, "listener", 2))
		channel->listener_handle ^= 1;
	else
		channel_link(channel)->uid ^= choose(hostile, "uid", 4);
}

/* It uses numbers that it has given back, gives back those that it uses, or both. */
static void lie_ahead(struct hostile *hostile, struct msg_ctx *ctx, const struct channel *channel)
{
	struct link *link = channel_link(channel);
	struct link_ahead *ahead = link->given;
	struct control_message message = {.type = CONTROL_AHEAD_REST};

	if (!ahead)
		return;
	message.ahead_rest.end = link->end;
	message.ahead_rest.first = ahead->first;
	message.ahead_rest.rest = choose(hostile, "rest", 16);
	ahead->left |= choose(hostile, "left", 16);
	if (choose(hostile, "told", 2))
		control_send(&ctx->control, &message);
}

static void liar_nap(struct hostile *hostile, struct msg_ctx *ctx)
{
	struct msg_event events[4];

	attack_nap(hostile, NULL);
	(void)msg_ctx_dispatch(ctx, events, 4);
}

static void liar_talk(struct hostile *hostile, struct msg_sock *sock)
{
	static const uint8_t data[300];
	uint32_t n = choose(hostile, "lies", 30);

	for (uint32_t i = 0; i < n && !is_time_over(hostile); i++) {
		struct channel *channel = sock->channel;
		uint32_t lie = choose(hostile, "lie", 13);

		if (!channel || !channel->set)
			return;
		if (lie == 0)
			lie_page(hostile, channel);
		else if (lie == 1)
			lie_frame(hostile, channel);
		else if (lie == 2)
			lie_claim(hostile, channel);
		else if (lie == 3)
			lie_ahead(hostile, sock_ctx(sock), channel);
		else if (lie <= 8)
			(void)msg_send(
				sock, data, choose(hostile, "length", sizeof(data)), MSG_DONTWAIT);
		else
			liar_nap(hostile, sock_ctx(sock));
		hostile->world->counts->attacks++;
	}
}

static void liar_live(struct hostile *hostile)
{
	struct msg_sock *sock;
	struct msg_ctx *ctx;
	char spec[16];

	(void)snprintf(spec, sizeof(spec), "h%u", hostile->index);
	ctx = msg_ctx_open(spec, LIBMSG_ONE_THREAD, CONNECT_MS);
	if (!ctx)
		return;
	(void)msg_ctx_set_transport(
		ctx, choose(hostile, "grant", 2) ? LIBMSG_TRANSPORT_GRANT : LIBMSG_TRANSPORT_ANY);
	for (uint32_t i = choose(hostile, "channels", 12); i > 0 && !is_time_over(hostile); i--) {
		sock = msg_connect(ctx, "web/echo", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, CONNECT_MS);
		if (!sock)
			break;
		(void)msg_setopt(sock, LIBMSG_SPIN, 0);
		liar_talk(hostile, sock);
	}
	/* As kill -9 would: the memory of the dead stays as it is. */
	if (choose(hostile, "kill", 2)) {
		sim_hv_kill(hostile->world->sim, hostile->hv);
		hostile->world->counts->processes_killed++;
	} else {
		msg_ctx_close(ctx);
	}
}

static void liar_main(void *arg)
{
	struct hostile *hostile = arg;
	uint32_t n_lives = 1 + choose(hostile, "lives", LIVES_MAX);

	while (hostile->n_lives++ < n_lives && !is_time_over(hostile)) {
		liar_live(hostile);
		hostile->hv = NULL;
		hostile_sleep(hostile, NAP_NS);
	}
	hostile->state = HOSTILE_DONE;
}

/* ---- life ----------------------------------------------------------------------------------- */

void hostile_start(struct world *w, bool liar)
{
	struct hostile *hostile = calloc(1, sizeof(*hostile));

	if (!hostile || w->n_hostiles == HOSTILES_MAX)
		abort();
	hostile->world = w;
	hostile->index = w->n_hostiles;
	hostile->state = HOSTILE_RUNS;
	(void)snprintf(hostile->name, sizeof(hostile->name), "%s%u", liar ? "liar" : "hostile",
		hostile->index);
	w->hostiles[w->n_hostiles++] = hostile;
	if (sim_task_start(w->sim, w->domains[HOSTILE_DOMAIN].domid, hostile->name,
		    liar ? liar_main : raw_main, hostile, &hostile->task) < 0)
		abort();
}

void hostile_died(struct hostile *hostile)
{
	if (hostile->state == HOSTILE_RUNS && hostile->hv)
		sim_hv_kill(hostile->world->sim, hostile->hv);
	hostile->hv = NULL;
	hostile->state = HOSTILE_DONE;
}
