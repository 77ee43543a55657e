/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel's birth and end (PROTOCOL.md, section 4). */
#include "libmsg/channel/capture.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/probe.h"

/* ---- accounts --------------------------------------------------------------------------- */

/* As many as domains have a link to this application: the host's domains at most. */
static struct account *account_find(struct pool *pool, uint16_t domid)
{
	struct account *account;

	TAILQ_FOREACH (account, &pool->accounts, entry) {
		if (account->domid == domid)
			return account;
	}
	return NULL;
}

static struct account *account_ref(struct pool *pool, uint16_t domid)
{
	struct account *account = account_find(pool, domid);

	if (!account) {
		account = calloc(1, sizeof(*account));
		if (!account)
			return NULL;
		account->domid = domid;
		TAILQ_INIT(&account->dead);
		TAILQ_INSERT_TAIL(&pool->accounts, account, entry);
	}
	account->n_refs++;
	return account;
}

static void account_unref(struct pool *pool, struct account *account)
{
	if (--account->n_refs)
		return;
	assert(!account->held && !account->promised && !account->n_closing);
	TAILQ_REMOVE(&pool->accounts, account, entry);
	free(account);
}

/* ---- channels --------------------------------------------------------------------------- */

int channel_set_init(
	struct channel_set *set, struct transport *transport, struct pool *pool, bool up)
{
	struct account *account = account_ref(pool, transport->peer_domid);

	if (!account)
		return -ENOMEM;
	*set = (struct channel_set){
		.transport = transport, .pool = pool, .account = account, .up = up};
	/* A waiting sender is woken when two fifths of the ring are free, or all. */
	set->fragment_min = min_u32(FRAGMENT_MIN, transport->ring_len / 4 - 2 * FRAME_HEADER_SIZE);
	TAILQ_INIT(&set->due);
	TAILQ_INIT(&set->blocked);
	TAILQ_INIT(&set->waiting);
	return 0;
}

void channel_set_fini(struct channel_set *set)
{
	channel_set_forget_gone(set);
	account_unref(set->pool, set->account);
}

struct channel *channel_find(const struct channel_set *set, uint32_t number)
{
	struct channel *channel;

	HASH_FIND(hh, set->by_number, &number, sizeof(number), channel);
	return channel;
}

/* The one place where the state changes. */
static void channel_set_state(struct channel *channel, enum channel_state state)
{
	static const uint8_t legal[] = {
		[CHANNEL_OPEN] = 1U << CHANNEL_CLOSING | 1U << CHANNEL_DEAD,
		[CHANNEL_CLOSING] = 1U << CHANNEL_FINISHED,
		[CHANNEL_FINISHED] = 0,
		[CHANNEL_DEAD] = 0,
	};

	assert(legal[channel->state] & 1U << state);
	channel->state = state;
}

/* The application of the end that connected has left, and the other end does not say CLOSE. */
static bool channel_is_closing(const struct channel *channel)
{
	return channel->state == CHANNEL_CLOSING && !channel->listener_handle;
}

static void count_closing(struct channel *channel, int by)
{
	channel->account->n_closing += (uint32_t)by;
	channel->set->n_closing += (uint32_t)by;
}

static uint32_t initial_credit(enum channel_type type)
{
	return type == CHANNEL_DGRAM ? CREDIT_INITIAL_DGRAM : CREDIT_INITIAL;
}

struct channel *channel_new(
	struct channel_set *set, uint32_t number, enum channel_type type, bool listener_end)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->set = set;
	channel->pool = set->pool;
	channel->account = set->account;
	channel->number = number;
	channel->type = type;
	channel->state = CHANNEL_OPEN;
	STAILQ_INIT(&channel->in);
	STAILQ_INIT(&channel->out);
	channel->transport = set->transport->ops->kind;
	channel->rx_max = MESSAGE_MAX_DEFAULT;
	channel->maxmsg = channel->maxmsg_told = channel->tx_maxmsg = MESSAGE_MAX_DEFAULT;
	channel->tx_credit = channel->rx_window = initial_credit(type);
	channel->rx_limit = listener_end ? initial_credit(type) : 2 * initial_credit(type);
	channel->rx_free = FREE_FRAMES;
	channel->tx_free = LIMIT_FRAMES;
	HASH_ADD(hh, set->by_number, number, sizeof(channel->number), channel);
	if (!hash_added(&channel->hh)) {
		free(channel);
		return NULL;
	}
	set->account->n_refs++;
	set->account->promised += channel->rx_limit;
	set->pool->promised += channel->rx_limit;
	channel_charge(channel, sizeof(*channel) + MALLOC_COST);
	/*
	 * The end that connected doubles the credit at once, and so says something. The other end
	 * keeps silent until it has heard that: only then is the number certain to be known at the
	 * end that connected.
	 */
	if (!listener_end) {
		channel->tx_open = channel->credit_due = channel->credit_late = true;
		channel_mark_due(channel);
	}
	return channel;
}

uint64_t channel_set_held(const struct channel_set *set)
{
	uint64_t held = 0;

	/* LINK_CHANNELS_MAX at most. */
	for (const struct channel *channel = set->by_number; channel; channel = channel->hh.next)
		held += channel->held;
	return held;
}

bool channel_set_is_closing(const struct channel_set *set)
{
	/* LINK_CHANNELS_MAX at most. */
	for (const struct channel *channel = set->by_number; channel; channel = channel->hh.next) {
		if (channel->state == CHANNEL_CLOSING && !channel->tx_closed)
			return true;
	}
	return false;
}

bool channel_discard(struct channel *channel, uint32_t most, uint32_t *ret_n)
{
	uint32_t n = 0;

	while (n < most && !STAILQ_EMPTY(&channel->in)) {
		free(channel_take_first(channel));
		n++;
	}
	*ret_n = n;
	return STAILQ_EMPTY(&channel->in);
}

/*
 * Takes a channel out of its set. Its received messages stay readable, and charged: a domain gets
 * no further memory by having its links reset.
 */
static void channel_unlink(struct channel *channel)
{
	struct channel_set *set = channel->set;

	if (!set)
		return;
	if (channel_is_closing(channel))
		count_closing(channel, -1);
	channel->account->promised -= channel->rx_limit;
	channel->pool->promised -= channel->rx_limit;
	channel_unqueue(channel);
	channel_free_terms(channel);
	channel_capture_end(channel);
	channel_add_counts(channel, &channel->pool->carried);
	PROBE(libmsg, channel_close, channel, channel->number, channel->error);
	if (set->last == channel)
		set->last = NULL;
	HASH_DEL(set->by_number, channel);
	channel->set = NULL;
	TAILQ_INSERT_TAIL(&channel->account->dead, channel, entry_dead);
}

void channel_drop_partial(struct channel *channel)
{
	if (channel->partial)
		channel_uncharge(channel, msg_buf_charge(channel->partial->size));
	free(channel->partial);
	channel->partial = NULL;
	channel->direct = false;
}

void channel_free(struct channel *channel)
{
	uint32_t n;

	assert(!channel->sock && !channel->listener);
	channel_unlink(channel);
	if (channel->changed)
		TAILQ_REMOVE(&channel->pool->changed, channel, entry_changed);
	channel_drop_partial(channel);
	(void)channel_discard(channel, UINT32_MAX, &n); /* a window of messages at most */
	channel_drop_out(channel);
	channel_uncharge(channel, channel->held);
	TAILQ_REMOVE(&channel->account->dead, channel, entry_dead);
	account_unref(channel->pool, channel->account);
	free(channel->why);
	free(channel);
}

void channel_changed(struct channel *channel)
{
	struct pool *pool = channel->pool;

	pool->marked = true;
	if (channel->changed)
		return;
	channel->changed = true;
	TAILQ_INSERT_TAIL(&pool->changed, channel, entry_changed);
}

void channel_close(struct channel *channel, enum close_reason reason)
{
	channel->sock = NULL;
	if (channel->state == CHANNEL_DEAD) {
		channel_free(channel);
		return;
	}
	channel_set_state(channel, CHANNEL_CLOSING);
	if (channel_is_closing(channel))
		count_closing(channel, 1);
	channel->close_reason = reason;
	if (channel->rx_closed && channel->tx_closed) {
		channel_finish(channel);
		return;
	}
	if (reason == CLOSE_RESET)
		channel_drop_out(channel);
	channel_mark_due(channel);
}

void channel_finish(struct channel *channel)
{
	assert(channel->rx_closed && channel->tx_closed);
	if (channel_is_closing(channel))
		count_closing(channel, -1);
	if (channel->state != CHANNEL_OPEN)
		channel_set_state(channel, CHANNEL_FINISHED);
	channel_changed(channel);
}

void channel_reset(struct channel *channel, int error, const char *why)
{
	channel_unlink(channel);
	channel_drop_partial(channel);
	channel_drop_out(channel);
	if (channel->state != CHANNEL_OPEN) {
		channel_free(channel);
		return;
	}
	channel_set_state(channel, CHANNEL_DEAD);
	if (!channel->rx_closed && !channel->error) {
		channel->error = error;
		channel->why = strdup(why);
	}
	channel_changed(channel);
}

void channel_fail(struct channel *channel, int error, const char *why)
{
	channel->error = error;
	channel->why = strdup(why);
	channel_ignore(channel);
	channel_changed(channel);
}

void channel_counts(const struct channel *channel, struct control_counts *ret_counts)
{
	*ret_counts = (struct control_counts){
		.tx_messages = channel->tx_messages,
		.tx_bytes = channel->tx_bytes,
		.rx_messages = channel->rx_messages,
		.rx_bytes = channel->rx_bytes,
		.drops = channel->n_drops,
		.no_credit = channel->no_credit,
		.no_room = channel->no_room,
		.unread = channel->rx_held,
		.unsent = channel->out_cost,
	};
}

void channel_add_counts(const struct channel *channel, struct control_answer *sums)
{
	sums->tx_messages += channel->tx_messages;
	sums->tx_bytes += channel->tx_bytes;
	sums->rx_messages += channel->rx_messages;
	sums->rx_bytes += channel->rx_bytes;
	sums->drops += channel->n_drops;
	sums->no_credit += channel->no_credit;
	sums->no_room += channel->no_room;
}

short channel_events(const struct channel *channel, short asked)
{
	short events = 0;
	uint32_t want;

	if (!STAILQ_EMPTY(&channel->in) || channel_at_end(channel) || channel->error)
		events |= POLLIN;
	if ((asked & POLLOUT) && (channel->error || channel->rx_closed || channel->tx_shut ||
					 channel->type == CHANNEL_DGRAM ||
					 channel_can_send(channel, FRAGMENT_MIN, &want)))
		events |= POLLOUT;
	if (channel->rx_closed || channel->rx_shut || channel->error)
		events |= POLLRDHUP;
	if (channel->rx_closed || channel->error)
		events |= POLLHUP;
	if (channel->error)
		events |= POLLERR;
	return events;
}
