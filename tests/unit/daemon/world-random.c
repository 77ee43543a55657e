/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The applications here keep what a real one would keep (their links and channels), so that what
 * they say is mostly right, now and then wrong, and what they announce after a restart is what they
 * had.
 */
#include "tests/unit/daemon/world-random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"

#define APPS	 10
#define HONEST	 5 /* of these, in domains of their own too: they say nothing but what is so */
#define LINKS	 24
#define CHANNELS 64
#define AHEADS	 8 /* of each kind */

#define LAST_TYPE CONTROL_EXPIRED /* that applications send */

struct known_link {
	bool used;
	uint32_t end, transport, role, state;
	uint64_t uid;
	uint16_t peer;
};

struct known_channel {
	bool used, accepted, closed;
	uint32_t end, channel, listener;
	char name[NAME_SIZE];
};

/* Numbers ahead: of the connecting end, or, with a listener, of the listening one. */
struct known_ahead {
	bool used;
	uint32_t end, first, listener;
	uint64_t left;
	char name[NAME_SIZE];
};

struct memory {
	uint16_t domid;
	struct known_link links[LINKS];
	struct known_channel channels[CHANNELS];
	struct known_ahead given[AHEADS], taken[AHEADS];
	struct control_ahead said;
	uint32_t next_request;
	bool listens[4], watches[3];
	bool greeted;
	unsigned announced; /* step of the announcements after a restart; 0: none under way */
	unsigned returned;  /* it was there before the last restart, and greets this msgd */
};

struct chaos {
	struct world *world;
	uint32_t (*next)(void *arg);
	void *arg;
	struct memory memory[APPS];
	struct chaos_counts counts;
};

/* Applications below HONEST keep to the protocol, whatever the others and the domains do. */
static bool is_honest(const struct chaos *c, const struct app *app)
{
	return app - c->world->apps < HONEST;
}

static const char *const policies[] = {
	"allow listen * on any\nallow connect * from any to any\n",
	"deny connect n1 from web to any\nallow listen * on any\n"
	"allow connect n2 from any to any max-channels=2 transport=grant\n"
	"allow connect * from any to any\n",
	"allow listen n0 on any\nallow connect n0 from any to same log=yes\n",
	"allow listen * on any\n"
	"allow connect n3 from any to any transport=argo-strict\n"
	"allow connect * from any to any\n",
	"allow listen * on any while db\n"
	"allow connect n0 from any to default target=app\n"
	"allow connect n1 from any to nowhere target=db direction=out\n"
	"deny connect n2 from tag:t1 to any while tag:t0\n"
	"allow connect n2 from tag:t0 to any target=domid:3 max-connects=3/m:8\n"
	"allow connect * from any to any max-connects=100/s\n",
	"allow listen * on any\n"
	"allow connect n1 from any to any ask=/judge\n"
	"allow connect n2 from any to any ask=/judge start=yes\n"
	"allow connect * from any to any start=yes start-timeout=1\n",
};

static const char *const names[] = {"n0", "n1", "n2", "n3"};
static const char *const addresses[] = {"n0", "n1", "db/n2", "domid:3/n3", "web/n0", "nowhere/n0",
	"uuid:11111111-1111-1111-1111-111111111111/n1", "app/n2"};

static const char *const patterns[] = {"*", "n?", "db/*", "*/n1", "domid:?/n0", "nothing"};

static uint32_t pick(struct chaos *c, uint32_t n)
{
	return c->next(c->arg) % n;
}

static const struct broker_limits *small_limits(void)
{
	static struct broker_limits limits;

	broker_limits_default(&limits);
	limits.quota[QUOTA_PROCESSES] = 3;
	limits.quota[QUOTA_NAMES] = 3;
	limits.quota[QUOTA_CHANNELS] = 12;
	limits.quota[QUOTA_LINKS] = 5;
	limits.quota[QUOTA_REQUESTS] = 6;
	limits.quota[QUOTA_ENDS] = 12;
	limits.quota[QUOTA_ANNOUNCED] = 8;
	limits.quota[QUOTA_WATCHES] = 3;
	limits.backlog = 16;
	return &limits;
}

struct chaos *chaos_new(uint32_t (*next)(void *arg), void *arg)
{
	struct chaos *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->next = next;
	c->arg = arg;
	c->world = world_new(policies[0], small_limits());
	return c;
}

void chaos_free(struct chaos *c)
{
	world_free(c->world);
	free(c);
}

const struct chaos_counts *chaos_counts(const struct chaos *c)
{
	return &c->counts;
}

static void link_remember(struct memory *m, const struct known_link *link)
{
	for (unsigned i = 0; i < LINKS; i++) {
		if (m->links[i].used)
			continue;
		m->links[i] = *link;
		m->links[i].used = true;
		return;
	}
}

static struct known_link *link_of(struct memory *m, uint32_t end)
{
	for (unsigned i = 0; i < LINKS; i++) {
		if (m->links[i].used && m->links[i].end == end)
			return &m->links[i];
	}
	return NULL;
}

static void channel_remember(
	struct memory *m, uint32_t end, uint32_t channel, uint32_t listener, const char *name)
{
	/* The application may have reset the link meanwhile. */
	for (unsigned i = 0; i < CHANNELS && link_of(m, end); i++) {
		struct known_channel *k = &m->channels[i];

		if (k->used)
			continue;
		*k = (struct known_channel){
			.used = true, .end = end, .channel = channel, .listener = listener};
		strcpy(k->name, name);
		return;
	}
}

static void aheads_forget(struct memory *m, uint32_t end)
{
	for (unsigned i = 0; i < AHEADS; i++) {
		if (m->given[i].end == end)
			m->given[i].used = false;
		if (m->taken[i].end == end)
			m->taken[i].used = false;
	}
}

static void channels_forget(struct memory *m, uint32_t end, uint32_t channel)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct known_channel *k = &m->channels[i];

		if (k->used && k->end == end && (channel == 0 || k->channel == channel))
			k->used = false;
	}
	if (channel == 0)
		aheads_forget(m, end);
}

/* ---- numbers ahead ------------------------------------------------------------------------- */

static struct known_ahead *ahead_find(struct known_ahead *aheads, uint32_t end, uint32_t number)
{
	for (unsigned i = 0; i < AHEADS; i++) {
		uint32_t bit = number - aheads[i].first;

		if (aheads[i].used && aheads[i].end == end && bit < AHEAD_MAX &&
			aheads[i].left >> bit & 1)
			return &aheads[i];
	}
	return NULL;
}

static void ahead_take(struct known_ahead *ahead, uint32_t number)
{
	ahead->left &= ~(UINT64_C(1) << (number - ahead->first));
	ahead->used = ahead->left;
}

/* AHEAD has said these before this channel. A former one of the link is over. */
static void ahead_remember(struct memory *m, struct known_ahead *aheads, uint32_t end,
	uint32_t channel, uint32_t listener, const char *name)
{
	struct known_ahead *free_one = NULL;

	for (unsigned i = 0; i < AHEADS; i++) {
		if (!aheads[i].used || aheads[i].end == end)
			free_one = &aheads[i];
		if (aheads[i].used && aheads[i].end == end)
			break;
	}
	if (m->said.channel == channel && m->said.end == end && free_one) {
		*free_one = (struct known_ahead){.used = true,
			.end = end,
			.first = m->said.first,
			.listener = listener,
			.left = UINT64_MAX >> (AHEAD_MAX - m->said.n)};
		strcpy(free_one->name, name);
	}
	m->said.channel = 0;
}

static void give_back(
	struct chaos *c, struct app *app, struct memory *m, uint32_t end, uint32_t first)
{
	struct control_message message = {.type = CONTROL_AHEAD_REST};
	struct known_ahead *ahead = m->given;

	message.ahead_rest.end = end;
	message.ahead_rest.first = first;
	for (unsigned i = 0; i < AHEADS; i++, ahead++) {
		if (!ahead->used || ahead->end != end || ahead->first != first)
			continue;
		message.ahead_rest.rest = ahead->left;
		/* A liar uses them all the same. */
		ahead->used = !is_honest(c, app) && pick(c, 2);
	}
	if (!is_honest(c, app) && pick(c, 4) == 0)
		message.ahead_rest.rest = pick(c, 65536);
	(void)app_send(app, &message);
}

static void number_gone(struct memory *m, uint32_t end, uint32_t number)
{
	struct known_ahead *given = ahead_find(m->given, end, number);
	struct known_ahead *taken = ahead_find(m->taken, end, number);

	if (given)
		ahead_take(given, number);
	if (taken)
		ahead_take(taken, number);
}

/* The other end has given these back: if it has used them, it has lied. */
static void ahead_gone(struct memory *m, const struct control_ahead_rest *gone)
{
	for (uint32_t i = 0; i < AHEAD_MAX; i++) {
		struct known_ahead *ahead;

		if (!(gone->rest >> i & 1))
			continue;
		channels_forget(m, gone->end, gone->first + i);
		ahead = ahead_find(m->taken, gone->end, gone->first + i);
		if (ahead)
			ahead_take(ahead, gone->first + i);
	}
}

/* The first frame comes to the other end of a link, if that has the number. */
static void first_frame(struct chaos *c, const struct memory *m, uint32_t end, uint32_t number)
{
	const struct known_link *link = link_of((struct memory *)m, end);

	for (unsigned slot = 0; slot < APPS && link; slot++) {
		struct memory *other = &c->memory[slot];

		for (unsigned i = 0; i < LINKS; i++) {
			const struct known_link *l = &other->links[i];
			struct known_ahead *ahead;

			if (!l->used || l->uid != link->uid || l->role == link->role)
				continue;
			ahead = ahead_find(other->taken, l->end, number);
			if (!ahead)
				continue;
			channel_remember(other, l->end, number, ahead->listener, ahead->name);
			ahead_take(ahead, number);
			c->counts.ahead++;
			return;
		}
	}
}

/* A connect without the broker. The ring is read before it, and a liar does not. */
static void connect_ahead(struct chaos *c, struct app *app, struct memory *m)
{
	struct known_ahead *ahead = &m->given[pick(c, AHEADS)];
	uint32_t number;

	for (unsigned i = 0; i < AHEADS && !ahead->used; i++)
		ahead = &m->given[i];
	if (!ahead->used || !link_of(m, ahead->end))
		return;
	if (is_honest(c, app) && (app->full || app->head != app->tail))
		return;
	number = ahead->first + (uint32_t)__builtin_ctzll(ahead->left);
	channel_remember(m, ahead->end, number, 0, ahead->name);
	ahead_take(ahead, number);
	first_frame(c, m, ahead->end, number);
}

static void forget(struct memory *m)
{
	uint32_t next_request = m->next_request;
	uint16_t domid = m->domid;

	memset(m, 0, sizeof(*m));
	m->domid = domid;
	m->next_request = next_request;
}

/* The application takes what has come and answers as it should, or says that it cannot. */
static void react(struct chaos *c, struct app *app, struct memory *m)
{
	const struct control_message *got = app_take(app);
	struct known_link *link;

	if (!got)
		return;
	switch (got->type) {
	case CONTROL_STATUS:
		c->counts.refused += got->status.error == EACCES;
		c->counts.cancelled +=
			got->status.error == ECANCELED || got->status.error == ETIMEDOUT;
		c->counts.quota += got->status.error == EDQUOT;
		return;
	case CONTROL_AHEAD:
		m->said = got->ahead;
		return;
	case CONTROL_AHEAD_END:
		give_back(c, app, m, got->ahead_end.end, got->ahead_end.first);
		return;
	case CONTROL_AHEAD_GONE:
		ahead_gone(m, &got->ahead_gone);
		return;
	case CONTROL_CONNECTED:
		c->counts.connected++;
		channel_remember(
			m, got->connected.end, got->connected.channel, 0, got->connected.name);
		ahead_remember(m, m->given, got->connected.end, got->connected.channel, 0,
			got->connected.name);
		return;
	case CONTROL_CHANNEL:
		channel_remember(m, got->channel.end, got->channel.channel, got->channel.listener,
			got->channel.name);
		ahead_remember(m, m->taken, got->channel.end, got->channel.channel,
			got->channel.listener, got->channel.name);
		return;
	case CONTROL_LINK_CREATE: {
		uint32_t end = got->link_create.end;
		bool argo = got->link_create.transport != TRANSPORT_GRANT;

		if (pick(c, 8) == 0) {
			app_failed(app, end, ENOSPC, "");
			return;
		}
		channels_forget(m, end, 0);
		link_remember(m, &(struct known_link){.end = end,
					 .uid = got->link_create.uid,
					 .transport = got->link_create.transport,
					 .peer = got->link_create.peer_domid});
		/* Now and then as if it were of another kind: then it is dropped. */
		if ((got->link_create.transport == TRANSPORT_ARGO_STRICT) !=
			(!is_honest(c, app) && pick(c, 40) == 0))
			app_offer_strict(app, end, 5);
		else
			app_offer(app, end, argo ? 5 : 0);
		return;
	}
	case CONTROL_LINK_BIND: {
		uint32_t end = got->link_bind.end;
		bool argo = got->link_bind.transport != TRANSPORT_GRANT;

		if (pick(c, 6) == 0) {
			c->counts.fallbacks += argo;
			app_failed(app, end, EINVAL, "cannot map");
			return;
		}
		channels_forget(m, end, 0);
		link_remember(m, &(struct known_link){.end = end,
					 .uid = got->link_bind.uid,
					 .transport = got->link_bind.transport,
					 .peer = got->link_bind.peer_domid,
					 .role = 1,
					 .state = 1});
		app_ready(app, end, argo ? 6 : 0);
		return;
	}
	case CONTROL_LINK_UP:
		c->counts.links_up++;
		link = link_of(m, got->link_up.end);
		if (link)
			link->state = 1;
		return;
	case CONTROL_LINK_DOWN:
		c->counts.down++;
		link = link_of(m, got->link_down.end);
		if (link)
			link->used = false;
		channels_forget(m, got->link_down.end, 0);
		return;
	case CONTROL_CHANNEL_GONE:
		c->counts.gone++;
		channels_forget(m, got->channel_gone.end, got->channel_gone.channel);
		number_gone(m, got->channel_gone.end, got->channel_gone.channel);
		return;
	case CONTROL_NAME:
		c->counts.names++;
		return;
	case CONTROL_QUIESCE:
		/* It confirms, goes on talking, or dies: later steps. */
		if (pick(c, 4) == 0)
			return;
		c->counts.parked++;
		forget(m);
		app_park(app);
		return;
	default:
		return;
	}
}

static void use_channel(struct chaos *c, struct app *app, struct memory *m)
{
	unsigned first = pick(c, CHANNELS);
	struct known_channel *k = &m->channels[first];

	/* One that waits is accepted rather sooner than others are closed. */
	for (unsigned i = 0; i < CHANNELS && !(k->used && k->listener && !k->accepted); i++)
		k = &m->channels[(first + i) % CHANNELS];
	if (!k->used)
		k = &m->channels[first];
	if (!k->used)
		return;
	if (k->listener && !k->accepted && pick(c, 4)) {
		k->accepted = true;
		app_accepted(app, k->end, k->channel);
		return;
	}
	k->used = false;
	app_closed(app, k->end, k->channel);
}

static void reset_link(struct chaos *c, struct app *app, struct memory *m)
{
	struct known_link *link = &m->links[pick(c, LINKS)];

	if (!link->used || pick(c, 4))
		return;
	link->used = false;
	channels_forget(m, link->end, 0);
	app_failed(app, link->end, EPROTO, "reset");
}

/* Numbers near those that are in use, in messages of every type. */
static void misbehave(struct chaos *c, struct app *app)
{
	struct control_message message;
	uint32_t *words = (uint32_t *)&message.hello;

	memset(&message, 0, sizeof(message));
	message.type = (uint8_t)(1 + pick(c, LAST_TYPE + 1));
	message.request = pick(c, 3) ? 1 + pick(c, 50) : 0;
	for (unsigned i = 0; i < 8; i++)
		words[i] = pick(c, 6);
	if (message.type == CONTROL_CONNECT)
		strcpy(message.connect.address, addresses[pick(c, 8)]);
	if (message.type == CONTROL_LISTEN) {
		/* The guarantees of the codec. */
		strcpy(message.listen.name, names[pick(c, 4)]);
		message.listen.type = 1 + pick(c, 3);
		message.listen.listener = 1 + pick(c, 5);
		message.listen.backlog = 1 + pick(c, 5);
	}
	if (message.type == CONTROL_ANNOUNCE_LINK) {
		message.announce_link.role &= 1;
		message.announce_link.transport = TRANSPORT_ARGO + pick(c, 3);
	}
	if (message.type == CONTROL_WATCH)
		strcpy(message.watch.pattern, patterns[pick(c, ARRAY_SIZE(patterns))]);
	if (message.type == CONTROL_ANNOUNCE_CHANNEL) {
		message.announce_channel.type = 1 + pick(c, 3);
		strcpy(message.announce_channel.name, names[pick(c, 4)]);
	}
	(void)broker_message(app->process, &message,
		message.type > LAST_TYPE ? -EOPNOTSUPP
		: pick(c, 10)		 ? 0
					 : -EBADMSG);
}

/* The other end's channels as they are, or on the side of the connection that they are not. */
static void claim_channels(struct chaos *c, struct app *app, uint32_t end,
	const struct memory *other, uint32_t others_end)
{
	for (unsigned i = 0; i < CHANNELS && app->process; i++) {
		const struct known_channel *k = &other->channels[i];
		uint32_t listener = pick(c, 2);

		if (k->used && k->end == others_end)
			app_announce_channel(app, end, k->channel, listener, listener && pick(c, 2),
				names[pick(c, 4)]);
	}
}

/* While it announces, a liar claims the other ends of links of somebody else's. */
static void claim(struct chaos *c, struct app *app)
{
	const struct memory *other = &c->memory[pick(c, HONEST)];
	uint32_t end = 100 + pick(c, 40);

	for (unsigned i = 0; i < LINKS && app->process; i++) {
		const struct known_link *link = &other->links[i];

		if (!link->used || link->peer != app->domid)
			continue;
		c->counts.claims++;
		if (app_announce_link(app, ++end, link->uid, other->domid, link->transport,
			    !link->role, 1) == 0)
			claim_channels(c, app, end, other, link->end);
	}
}

/* The next of the announcements, in the order of PROTOCOL.md 5.1. */
static void announce(struct chaos *c, struct app *app, struct memory *m)
{
	unsigned i = m->announced - 1;

	if (i == 0 && !is_honest(c, app))
		claim(c, app);
	if (!app->process)
		return;
	if (i < LINKS) {
		const struct known_link *link = &m->links[i];

		if (link->used)
			app_announce_link(app, link->end, link->uid, link->peer, link->transport,
				link->role, link->state);
	} else if (i < LINKS + CHANNELS) {
		const struct known_channel *k = &m->channels[i - LINKS];

		if (!k->used || !link_of(m, k->end))
			;
		else if (is_honest(c, app) || pick(c, 2))
			app_announce_channel(
				app, k->end, k->channel, k->listener, k->accepted, k->name);
		else /* of the other side of the connection */
			app_announce_channel(
				app, k->end, k->channel, !k->listener, !k->listener, k->name);
	} else if (i < LINKS + CHANNELS + 4) {
		uint32_t handle = i - LINKS - CHANNELS;

		if (m->listens[handle]) {
			struct control_message message = {
				.type = CONTROL_LISTEN, .request = ++m->next_request + 1000};

			message.listen.listener = handle + 1;
			message.listen.type = CHANNEL_SEQPACKET;
			message.listen.backlog = 16;
			strcpy(message.listen.name, names[handle]);
			app_send(app, &message);
		}
	} else {
		app_announce_done(app);
		m->announced = 0;
		return;
	}
	m->announced++;
}

/* Each watch is begun, and ended. */
static void watch(struct chaos *c, struct app *app, struct memory *m)
{
	uint32_t i = pick(c, ARRAY_SIZE(m->watches));
	struct control_message message;

	memset(&message, 0, sizeof(message));
	if (m->watches[i]) {
		message.type = CONTROL_UNWATCH;
		message.unwatch.watch = i + 1;
	} else {
		message.type = CONTROL_WATCH;
		message.request = ++m->next_request + 1000;
		message.watch.watch = i + 1;
		strcpy(message.watch.pattern, patterns[pick(c, ARRAY_SIZE(patterns))]);
	}
	m->watches[i] = !m->watches[i];
	app_send(app, &message);
}

static void talk(struct chaos *c, struct app *app, struct memory *m)
{
	struct control_message message;

	if (m->announced) {
		for (int i = 0; i < 32 && m->announced && app->process; i++)
			announce(c, app, m);
		return;
	}
	memset(&message, 0, sizeof(message));
	switch (pick(c, 31)) {
	case 0:
	case 1: {
		uint32_t handle = pick(c, 4);

		message.type = CONTROL_LISTEN;
		message.request = ++m->next_request + 1000;
		message.listen.listener = handle + 1;
		message.listen.type = CHANNEL_SEQPACKET;
		message.listen.backlog = 16;
		strcpy(message.listen.name, names[handle]);
		m->listens[handle] = true;
		app_send(app, &message);
		return;
	}
	case 2:
		message.type = CONTROL_UNLISTEN;
		message.request = ++m->next_request + 1000;
		message.unlisten.listener = 1 + pick(c, 4);
		m->listens[message.unlisten.listener - 1] = false;
		app_send(app, &message);
		return;
	case 3:
	case 4:
	case 5:
	case 6:
		app_connect(app, ++m->next_request + 1000, addresses[pick(c, 8)],
			pick(c, 3) == 0 ? CONNECT_WAIT_NAME : 0,
			pick(c, 4) == 0 ? pick(c, TRANSPORT_LIMIT) : TRANSPORT_ANY);
		return;
	case 7:
		(pick(c, 2) ? app_cancel : app_expire)(app, m->next_request + 1000 - pick(c, 6));
		return;
	case 8:
	case 9:
	case 10:
	case 13:
	case 14:
		use_channel(c, app, m);
		return;
	case 11:
		reset_link(c, app, m);
		return;
	case 12:
		app->full = pick(c, 3) == 0;
		if (!app->full)
			app_read(app);
		return;
	case 15:
		watch(c, app, m);
		return;
	case 16:
	case 17:
	case 18:
		connect_ahead(c, app, m);
		return;
	default:
		react(c, app, m);
	}
}

/* Everybody reads what has come, and accepts and closes a channel. */
static void serve(struct chaos *c)
{
	for (unsigned i = 0; i < APPS; i++) {
		struct app *app = &c->world->apps[i];

		if (app->full || c->memory[i].announced)
			continue;
		for (unsigned n = 0; n < 20 && app->process && app->head != app->tail; n++)
			react(c, app, &c->memory[i]);
		for (unsigned n = 0; n < 3 && app->process; n++)
			use_channel(c, app, &c->memory[i]);
	}
}

/* One connects to a name again and again, which is how it comes by numbers ahead. */
static void rush(struct chaos *c, struct app *app, struct memory *m)
{
	const char *address = addresses[pick(c, ARRAY_SIZE(addresses))];

	for (unsigned i = 0; i < 12 && app->process && !m->announced; i++) {
		app_connect(app, ++m->next_request + 1000, address, 0, TRANSPORT_ANY);
		serve(c);
		serve(c);
	}
}

static uint64_t some_features(struct chaos *c)
{
	uint64_t features = pick(c, 3) ? FEATURE_ARGO | FEATURE_ARGO_STRICT : 0;

	return pick(c, 4) ? features | FEATURE_COUNTS | FEATURE_AHEAD : features;
}

static void come(struct chaos *c, struct app *app, struct memory *m)
{
	forget(m);
	m->domid = (uint16_t)pick(c, 6);
	if (app_attach(app, m->domid, false) < 0) {
		app->process = NULL;
		return;
	}
	if (pick(c, 20))
		(void)app_hello_with(app, some_features(c), false);
}

/* They announce side by side; those that have done go on with what they have. */
static void return_together(struct chaos *c)
{
	for (unsigned n = 0; n < 300; n++) {
		unsigned slot = pick(c, APPS);
		struct app *app = &c->world->apps[slot];
		struct memory *m = &c->memory[slot];

		if (app->process && m->announced == 0 && m->returned)
			use_channel(c, app, m);
		for (unsigned i = 0; i < 12 && app->process && m->announced; i++)
			announce(c, app, m);
	}
}

static void restart(struct chaos *c)
{
	bool had[APPS];
	uint32_t n = 0;

	c->counts.restarts++;
	for (unsigned i = 0; i < APPS; i++) {
		had[i] = c->world->apps[i].process != NULL;
		c->memory[i].returned = 0;
		memset(c->memory[i].watches, 0, sizeof(c->memory[i].watches));
		memset(c->memory[i].given, 0, sizeof(c->memory[i].given));
		memset(c->memory[i].taken, 0, sizeof(c->memory[i].taken));
		n += had[i];
		/* Messages that msgd had still sent are drained first. */
		while (had[i] && c->world->apps[i].head != c->world->apps[i].tail) {
			const struct control_message *got = app_take(&c->world->apps[i]);

			if (got->type == CONTROL_LINK_UP) {
				struct known_link *link = link_of(&c->memory[i], got->link_up.end);

				if (link)
					link->state = 1;
			} else if (got->type == CONTROL_CHANNEL) {
				channel_remember(&c->memory[i], got->channel.end,
					got->channel.channel, got->channel.listener,
					got->channel.name);
			}
		}
	}
	world_restart(
		c->world, policies[pick(c, 4) ? 0 : pick(c, ARRAY_SIZE(policies))], small_limits());
	broker_recover(c->world->broker, n);
	for (unsigned i = 0; i < APPS; i++) {
		struct app *app = &c->world->apps[i];

		if (!had[i])
			continue;
		if (app_attach(app, app->domid, true) < 0) {
			app->process = NULL;
			broker_record_lost(c->world->broker);
			continue;
		}
		if (pick(c, 12) == 0)
			continue; /* busy elsewhere, for ever */
		if (app_hello_with(app, some_features(c), true) == 0)
			c->memory[i].announced = c->memory[i].returned = 1;
	}
	if (pick(c, 2))
		return_together(c);
}

static void change_tags(struct chaos *c)
{
	static const char *const tags[] = {"", "t0", "t1 t0", "-no tag t1"};
	struct world *w = c->world;
	struct broker_domain_info *info = &w->domains[pick(c, (uint32_t)w->n_domains)];

	info->tags_unknown = pick(c, 5) == 0;
	(void)snprintf(info->tags, sizeof(info->tags), "%s",
		info->tags_unknown ? "" : tags[pick(c, ARRAY_SIZE(tags))]);
	world_domains(w);
}

static void change_world(struct chaos *c)
{
	struct world *w = c->world;

	switch (pick(c, 9)) {
	case 0:
		world_policy(w, policies[pick(c, 2) ? 0 : pick(c, ARRAY_SIZE(policies))]);
		return;
	case 1: /* the same domid, another domain */
		w->domains[pick(c, (uint32_t)w->n_domains)].generation++;
		world_domains(w);
		return;
	case 2:
		w->domains[pick(c, (uint32_t)w->n_domains)].state =
			pick(c, 2) ? BROKER_DOMAIN_SUSPENDED : BROKER_DOMAIN_CRASHED;
		world_domains(w);
		return;
	case 3:
		for (size_t i = 0; i < w->n_domains; i++)
			w->domains[i].state = BROKER_DOMAIN_RUNNING;
		world_domains(w);
		return;
	case 4:
		if (w->timer_ns) {
			w->now_ns = w->timer_ns;
			broker_set_now(w->broker, w->now_ns);
			broker_tick(w->broker);
		}
		return;
	case 5:
		(void)broker_quiesce(w->broker, (uint16_t)pick(c, 6));
		return;
	case 6:
		(void)broker_resume(w->broker, (uint16_t)pick(c, 6));
		return;
	case 7:
		change_tags(c);
		return;
	default:
		if (pick(c, 3) == 0)
			restart(c);
	}
}

/* A program of policy's says something, or ends. */
static void run_program(struct chaos *c)
{
	struct world_program *program = &c->world->programs[pick(c, WORLD_PROGRAMS)];

	/* The next one that runs. */
	for (unsigned i = 0; i < WORLD_PROGRAMS && !program->runs; i++)
		program = program == c->world->programs + WORLD_PROGRAMS - 1 ? c->world->programs
									     : program + 1;
	if (!program->runs)
		return;
	c->counts.programs++;
	if (pick(c, 8) == 0)
		program_ends(c->world, program);
	else
		program_answers(c->world, program, pick(c, 3), pick(c, 3), "because");
}

/* An honest application loses its domain, and nothing else. */
static void check_drop(const struct chaos *c, const struct app *app)
{
	if (!is_honest(c, app) || strncmp(app->reason, "its domain ", 11) == 0)
		return;
	fprintf(stderr, "an honest application is dropped: %s\n", app->reason);
	abort();
}

void chaos_step(struct chaos *c)
{
	unsigned slot = pick(c, APPS);
	struct app *app = &c->world->apps[slot];
	struct memory *m = &c->memory[slot];
	uint32_t what = pick(c, 1000);

	world_pass(c->world, 100000);
	if (!app->process)
		come(c, app, m);
	else if (what < 3)
		change_world(c);
	else if (what >= 975)
		run_program(c);
	else if (what < 5) {
		c->counts.deaths++;
		app_die(app);
	} else if (what < 9 && !is_honest(c, app))
		misbehave(c, app);
	else if (what < 12)
		rush(c, app, m);
	else
		talk(c, app, m);
	for (unsigned i = 0; i < APPS; i++) {
		if (c->world->apps[i].dropped) {
			check_drop(c, &c->world->apps[i]);
			c->counts.dropped++;
			c->world->apps[i].dropped = false;
		}
	}
	world_check(c->world);
}
