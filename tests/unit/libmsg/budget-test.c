/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that peers make an application hold is summed up by their domain: memory, windows, channels
 * that they do not close. A domain that takes much pays for it, and no other does.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0
#define B 1

#define HOSTILE	  7U /* domains; the pair's is 0 */
#define HOSTILE_2 8U

/*
 * A link to a process of that domain, with one channel that nobody reads. It has no rings: nothing
 * may look at them.
 */
static struct channel *link_to(struct pair_side *side, uint32_t end, uint16_t domid)
{
	struct transport *transport =
		transport_new(&transport_grant, &side->hv, domid, 0, HV_PAGE_SIZE);
	struct link *link;

	assert_non_null(transport);
	transport->port = transport->event = end;
	link = link_new(&side->ctx->links, transport, end, 0, 0, LINK_UP);
	assert_non_null(link);
	link_set_armed(link, true);
	return channel_new(&link->channels, 1, CHANNEL_SEQPACKET, true);
}

/* One more unread message of len bytes, of which no byte is looked at. */
static void hold(struct channel *channel, uint32_t len)
{
	struct msg_buf *buf = malloc(sizeof(*buf) + len);

	assert_non_null(buf);
	*buf = (struct msg_buf){.size = len, .len = len};
	STAILQ_INSERT_TAIL(&channel->in, buf, entry);
	channel_charge(channel, msg_buf_charge(len));
}

static struct channel *forgotten(struct pair_side *side)
{
	struct account *account;
	struct channel *channel;

	TAILQ_FOREACH (account, &side->ctx->pool.accounts, entry) {
		TAILQ_FOREACH (channel, &account->dead, entry_dead) {
			if (!channel->sock)
				return channel;
		}
	}
	return NULL;
}

/* Channels that have no socket are freed as if the application had closed them. */
static void forget(struct pair_side *side)
{
	struct channel *channel;

	while ((channel = forgotten(side)))
		channel_free(channel);
}

static void end_all(struct pair_side *side)
{
	driver_end_links(&side->ctx->driver, "test");
	forget(side);
}

/* The victim reads a message from its honest peer. */
static void honest_message(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	char bytes[64];

	assert_int_equal(msg_send(a->sock, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (int i = 0; i < 10; i++)
		pair_take(b);
	assert_int_equal(msg_recv(b->sock, bytes, sizeof(bytes), 0), sizeof(bytes));
	pair_take(a);
}

/* ---- memory ----------------------------------------------------------------------------- */

static void test_charge_covers_malloc(void **state)
{
	for (uint32_t len = 0; len < 3000; len++) {
		struct msg_buf *buf = malloc(sizeof(*buf) + len);

		assert_non_null(buf);
		/*
		 * glibc's head has 8 bytes, and a chunk keeps 16 more where they would be too few
		 * for a chunk of their own. Other allocators have larger classes.
		 */
#if !defined(__SANITIZE_ADDRESS__)
		assert_in_range(malloc_usable_size(buf) + 8, 1, msg_buf_charge(len) + 16);
#endif
		assert_in_range(msg_buf_charge(len), len + 1, len + 64);
		free(buf);
	}
	assert_true(msg_buf_charge(1) >= 48);
}

/* Fifty links of one domain, each below the one honest link, are one domain's. */
static void test_many_links_are_one_domain(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	uint32_t each = ACCOUNT_BUDGET / 51, n = 0;

	for (uint32_t i = 0; i < 50; i++)
		hold(link_to(b, 100 + i, HOSTILE), each);
	for (uint32_t i = 0; i < 49; i++)
		hold(link_to(b, 200 + i, HOSTILE_2), each);
	hold(b->channel, 2 * each); /* more than any hostile link */
	hold(b->channel, (uint32_t)(CHANNEL_BUDGET - b->ctx->pool.held - 65536));
	for (int i = 0; i < 30; i++) {
		pair_inject_message(*state, A, 4096);
		b->channel->rx_window = CREDIT_INITIAL;
		for (int n_turns = 0; n_turns < 3; n_turns++)
			pair_take(b);
	}
	assert_int_equal(b->link->state, LINK_UP);
	for (uint32_t i = 0; i < 50; i++)
		n += !link_find(&b->ctx->links, 100 + i);
	assert_in_range(n, 1, 2);
	assert_in_range(b->ctx->pool.held, CHANNEL_BUDGET / 2, CHANNEL_BUDGET);
	end_all(b);
}

/* The honest peer sends so much while the application holds all that it may. */
static void inject_past_budget(void **state, uint32_t len)
{
	struct pair_side *b = pair_side_of(state, B);

	b->channel->rx_window = CREDIT_INITIAL;
	pair_inject_message(*state, A, len);
	pair_take(b);
}

/* Of several links of the domain that holds most, the one ends that holds most, wherever it is. */
static void test_largest_link_pays(void **state)
{
	static const uint32_t mib[][3] = {{60, 20, 40}, {20, 60, 40}, {20, 40, 60}, {40, 40, 40}};

	for (size_t i = 0; i < ARRAY_SIZE(mib); i++) {
		struct pair_side *b = pair_side_of(state, B);
		uint32_t largest = 0;

		channel_charge(link_to(b, 200, HOSTILE_2), 70U << 20);
		for (uint32_t k = 0; k < 3; k++) {
			channel_charge(link_to(b, 100 + k, HOSTILE), mib[i][k] << 20);
			largest = mib[i][k] > mib[i][largest] ? k : largest;
		}
		channel_charge(b->channel, (uint32_t)(CHANNEL_BUDGET - b->ctx->pool.held - 1000));
		inject_past_budget(state, 4096);
		for (uint32_t k = 0; k < 3; k++)
			assert_int_equal(link_find(&b->ctx->links, 100 + k) == NULL, k == largest);
		assert_int_equal(b->link->state, LINK_UP);
		assert_non_null(link_find(&b->ctx->links, 200));
		end_all(b);
		must(pair_teardown(state) == 0 && pair_setup(state) == 0);
	}
}

/* A message with which its own domain would just keep to its share is another domain's to pay. */
static void test_share_that_is_just_kept(void **state)
{
	for (uint32_t over = 0; over < 2; over++) {
		struct pair_side *b = pair_side_of(state, B);
		struct channel *channel = link_to(b, 100, HOSTILE);
		uint32_t held = msg_buf_charge(4096) - over;

		channel_charge(channel, (uint32_t)(ACCOUNT_BUDGET - 1 - channel->account->held));
		channel_charge(link_to(b, 200, HOSTILE_2), 10000);
		channel_charge(
			b->channel, (uint32_t)(ACCOUNT_BUDGET - b->channel->account->held - held));
		inject_past_budget(state, 4096);
		assert_int_equal(link_find(&b->ctx->links, 100) == NULL, !over);
		assert_int_equal(link_find(&b->ctx->links, PAIR_END) == NULL, over);
		end_all(b);
		must(pair_teardown(state) == 0 && pair_setup(state) == 0);
	}
}

/* A domain has its share and no more, however much room there is. */
static void test_share(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	char byte;

	hold(b->channel, ACCOUNT_BUDGET - 8192);
	pair_inject_message(*state, A, 8000);
	pair_take(b);
	for (int i = 0; i < 5; i++)
		driver_pass(&b->ctx->driver);
	assert_null(link_find(&b->ctx->links, PAIR_END));
	/* All that it held is free. */
	assert_in_range(b->ctx->pool.held, 0, 65536);
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), "more unread data than this application holds");
}

/* Unread messages of a dead link count on, and go first when room is needed. */
static void test_dead_data_counts(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct channel *dead[2] = {link_to(b, 100, HOSTILE), link_to(b, 101, HOSTILE_2)};
	uint64_t held;

	for (int i = 0; i < 2; i++) {
		hold(dead[i], ACCOUNT_BUDGET - 65536);
		link_end(link_find(&b->ctx->links, 100 + (uint32_t)i), LINK_LEFT, "killed");
	}
	driver_pass(&b->ctx->driver);
	assert_null(link_find(&b->ctx->links, 100));
	held = b->ctx->pool.held;
	assert_in_range(held, 2 * (uint64_t)(ACCOUNT_BUDGET - 65536), CHANNEL_BUDGET);
	hold(b->channel, (uint32_t)(CHANNEL_BUDGET - held - 100));
	free(channel_take_first(b->channel));
	honest_message(state); /* there is room */
	hold(b->channel, (uint32_t)(CHANNEL_BUDGET - b->ctx->pool.held - 100));
	STAILQ_FIRST(&b->channel->in)->cost = 0;
	pair_inject_message(*state, A, 1000);
	for (int i = 0; i < 5; i++)
		pair_take(b);
	assert_int_equal(b->link->state, LINK_UP);
	assert_true(STAILQ_EMPTY(&dead[0]->in) != STAILQ_EMPTY(&dead[1]->in));
	assert_in_range(b->ctx->pool.held, 0, ACCOUNT_BUDGET + 1000000);
	end_all(b);
}

/* An end that both have closed has no error; once its unread messages are lost, it has one. */
static void test_dead_data_is_missed(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct channel *dead = link_to(b, 100, HOSTILE);
	struct msg_sock *sock =
		sock_new(&b->ctx->socks, SOCK_CHANNEL, SOCK_OPEN, CHANNEL_SEQPACKET);
	char byte;

	sock_set_channel(sock, dead);
	dead->rx_closed = true;
	hold(dead, 100);
	link_end(link_find(&b->ctx->links, 100), LINK_LEFT, "test");
	driver_pass(&b->ctx->driver);
	assert_int_equal(msg_recv(sock, &byte, 1, MSG_PEEK), 1);
	channel_charge(dead, (uint32_t)(ACCOUNT_BUDGET - dead->account->held));
	channel_charge(link_to(b, 200, HOSTILE_2), 1U << 20);
	channel_charge(b->channel, (uint32_t)(CHANNEL_BUDGET - b->ctx->pool.held - 1000));
	inject_past_budget(state, 4096);
	assert_int_equal(b->link->state, LINK_UP);
	assert_int_equal(msg_recv(sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), "more unread data than this application holds");
	assert_int_equal(msg_close(sock), 0);
	end_all(b);
}

/* A link that holds as much as the domain's dead channels pays before them. */
static void test_link_pays_before_the_dead(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct channel *dead = link_to(b, 100, HOSTILE), *live = link_to(b, 101, HOSTILE);
	struct msg_sock *sock =
		sock_new(&b->ctx->socks, SOCK_CHANNEL, SOCK_OPEN, CHANNEL_SEQPACKET);

	sock_set_channel(sock, dead);
	hold(dead, 100);
	hold(live, 100);
	link_end(link_find(&b->ctx->links, 100), LINK_LEFT, "test");
	driver_pass(&b->ctx->driver);
	channel_charge(dead, ACCOUNT_BUDGET / 2 - 1000);
	channel_charge(live, ACCOUNT_BUDGET / 2 - 1000);
	assert_int_equal(dead->held, live->held);
	channel_charge(link_to(b, 200, HOSTILE_2), 1U << 20);
	channel_charge(b->channel, (uint32_t)(CHANNEL_BUDGET - b->ctx->pool.held - 1000));
	inject_past_budget(state, 4096);
	assert_null(link_find(&b->ctx->links, 101));
	assert_false(STAILQ_EMPTY(&dead->in));
	assert_int_equal(msg_close(sock), 0);
	end_all(b);
}

/* A link that ends for another reason keeps what had arrived; the pass makes the room. */
static void test_ending_link_is_left_alone(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct channel *channel = link_to(b, 100, HOSTILE);
	struct link *link = channel_link(channel);

	channel_charge(channel, ACCOUNT_BUDGET - 1000);
	channel_charge(link_to(b, 200, HOSTILE_2), 1U << 20);
	channel_charge(b->channel, (uint32_t)(CHANNEL_BUDGET - b->ctx->pool.held - 1000));
	link_end(link, LINK_LEFT, "test");
	pair_inject_message(*state, A, 4096);
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_false(link->discard);
	assert_int_equal(b->link->state, LINK_UP);
	end_all(b);
}

/* ---- windows ---------------------------------------------------------------------------- */

/* The most that a window grows to, of a reader that keeps up. */
static uint32_t grown(struct channel *channel)
{
	for (int i = 0; i < 20; i++) {
		channel->rx_window = 0;
		channel_give_back(channel, 64);
		channel->credit_due = false;
		channel_unqueue(channel);
	}
	return channel->rx_limit;
}

static void test_idle_channels_of_others(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct channel *first = link_to(b, 100, HOSTILE), *own;
	uint32_t last = 0;

	/* Channels of one domain grow as long as they may, and fall idle. */
	for (uint32_t n = 2; n < 1000; n++)
		last = grown(channel_new(first->set, n, CHANNEL_SEQPACKET, true));
	assert_int_equal(last, 128 * 1024); /* and a little, whatever there is */
	own = channel_new(&b->link->channels, 99, CHANNEL_SEQPACKET, true);
	assert_int_equal(grown(own), MESSAGE_MAX_DEFAULT);
	end_all(b);
}

/* ---- closes that are not answered ------------------------------------------------------- */

/* msgd grants a connect of this application's over that link. */
static struct msg_sock *connect_over(struct pair_side *side, uint32_t end, uint32_t number)
{
	struct control_message connect = {.type = CONTROL_CONNECT};
	struct control_message connected = {
		.type = CONTROL_CONNECTED, .connected = {.end = end, .channel = number}};
	struct msg_sock *sock =
		sock_new(&side->ctx->socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);
	struct control_message message;

	sock->nonblock = true;
	connect.connect.type = CHANNEL_SEQPACKET;
	strcpy(connect.connect.address, "a/b");
	connected.request = request_new(&side->ctx->control, sock, &connect)->id;
	pair_say(side, &connected);
	while (pair_control(side, &message))
		;
	return sock;
}

static void close_many(struct pair_side *a, struct pair_side *b, uint32_t first, bool answered)
{
	for (uint32_t n = 0; n <= CLOSES_UNANSWERED; n++) {
		struct msg_sock *sock = connect_over(a, PAIR_END, first + n);

		assert_int_equal(sock->state, SOCK_OPEN);
		if (answered) { /* the other end's application does not even accept it */
			assert_non_null(channel_new(
				&b->link->channels, first + n, CHANNEL_SEQPACKET, true));
			pair_take(b);
		}
		assert_int_equal(msg_close(sock), 0);
		if (answered) {
			pair_take(b);
			pair_take(a);
		}
	}
}

static void test_closes_are_answered(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_sock *sock;

	close_many(a, b, 100, true);
	assert_int_equal(a->channel->account->n_closing, 0);
	a->channel->account->unanswered_ns = 5; /* they were too many, long ago */
	sock = connect_over(a, PAIR_END, 99);
	assert_int_equal(a->channel->account->unanswered_ns, 0);
	assert_int_equal(sock->state, SOCK_OPEN);
	assert_int_equal(msg_close(sock), 0);
	end_all(b);
}

static void test_closes_are_never_answered(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_sock *sock, *other;
	char byte;

	/* The other end takes frames in, and says nothing. */
	for (uint32_t n = 0; n <= CLOSES_UNANSWERED; n++) {
		assert_int_equal(msg_close(connect_over(a, PAIR_END, 100 + n)), 0);
		while (b->link->transport->ops->peek(b->link->transport) > 0)
			b->link->transport->ops->next(b->link->transport);
		transport_give_back(b->link->transport, true);
		pair_drive(a);
	}
	assert_int_equal(a->channel->account->n_closing, CLOSES_UNANSWERED + 1);
	/* It may be busy, for a while. */
	a->clock_ns = 1000000000;
	a->clock_step_ns = 1;
	other = connect_over(a, PAIR_END, 98);
	assert_int_equal(other->state, SOCK_OPEN);
	/* The clock moves by one each time that it is read. */
	a->clock_ns = a->channel->account->unanswered_ns + CLOSES_UNANSWERED_NS - 1;
	assert_int_equal(msg_close(connect_over(a, PAIR_END, 97)), 0);
	assert_non_null(link_find(&a->ctx->links, PAIR_END));
	a->clock_ns = a->channel->account->unanswered_ns + CLOSES_UNANSWERED_NS;
	sock = connect_over(a, PAIR_END, 99);
	assert_int_equal(sock->state, SOCK_FAILED);
	assert_int_equal(sock->error, ECONNRESET);
	assert_string_equal(sock->reason, "channels that were closed are never closed there");
	assert_null(link_find(&a->ctx->links, PAIR_END));
	assert_int_equal(msg_recv(other, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "channels that were closed are never closed there");
	assert_int_equal(a->channel->account->n_closing, 0);
	assert_int_equal(msg_close(sock) | msg_close(other), 0);
}

/* So many at once are too many, however busy the other end may be. */
static void test_closes_are_far_too_many(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_sock *sock;

	a->clock_ns = 1000000000;
	a->clock_step_ns = 1;
	for (uint32_t n = 0; n <= CLOSES_UNANSWERED_MAX; n++) {
		sock = connect_over(a, PAIR_END, 100 + n);
		assert_int_equal(sock->state, SOCK_OPEN);
		assert_int_equal(msg_close(sock), 0);
		while (b->link->transport->ops->peek(b->link->transport) > 0)
			b->link->transport->ops->next(b->link->transport);
		transport_give_back(b->link->transport, true);
		pair_drive(a);
	}
	sock = connect_over(a, PAIR_END, 99);
	assert_int_equal(sock->state, SOCK_FAILED);
	assert_int_equal(msg_close(sock), 0);
}

/* The link of the domain that has the most of them ends, not the one that is connected over. */
static void test_closes_are_summed_by_domain(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *mute = link_to(a, 100, 0), *channel;
	struct msg_sock *sock;

	link_sync(channel_link(mute), 5); /* nothing is taken in from it */
	for (uint32_t n = 0; n <= CLOSES_UNANSWERED; n++) {
		channel = channel_new(mute->set, 100 + n, CHANNEL_SEQPACKET, false);
		channel_close(channel, CLOSE_NORMAL);
		channel_unqueue(channel);
	}
	a->clock_ns = 1000000000;
	a->clock_step_ns = 1;
	assert_int_equal(msg_close(connect_over(a, PAIR_END, 98)), 0);
	a->clock_ns += CLOSES_UNANSWERED_NS + 1000;
	sock = connect_over(a, PAIR_END, 99);
	assert_int_equal(sock->state, SOCK_OPEN);
	assert_null(link_find(&a->ctx->links, 100));
	assert_int_equal(a->link->state, LINK_UP);
	assert_int_equal(msg_close(sock), 0);
	forget(a);
}

static void close_unheard(struct channel *channel, uint32_t n)
{
	struct channel_set *set = channel->set;

	for (uint32_t i = 0; i < n; i++) {
		channel = channel_new(set, 100 + i, CHANNEL_SEQPACKET, false);
		channel_close(channel, CLOSE_NORMAL);
		channel_unqueue(channel);
	}
}

/* Of several links the one that has the most of them, wherever it is. */
static void test_most_closes_pay(void **state)
{
	static const uint32_t counts[][3] = {{300, 10, 20}, {10, 300, 20}, {10, 20, 300}};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct pair_side *a = pair_side_of(state, A);
		struct msg_sock *sock;

		for (uint32_t k = 0; k < 3; k++) {
			struct channel *channel = link_to(a, 100 + k, 0);

			link_sync(channel_link(channel), 5); /* nothing is taken in from it */
			close_unheard(channel, CLOSES_UNANSWERED_MAX * counts[i][k] / 300 + 1);
		}
		a->clock_step_ns = 1;
		sock = connect_over(a, PAIR_END, 99);
		assert_int_equal(sock->state, SOCK_OPEN);
		for (uint32_t k = 0; k < 3; k++) {
			const struct link *link = link_find(&a->ctx->links, 100 + k);

			/* Its many channels may take more than one pass. */
			assert_int_equal(!link || link->state == LINK_ENDING, counts[i][k] == 300);
		}
		assert_int_equal(msg_close(sock), 0);
		end_all(a);
		must(pair_teardown(state) == 0 && pair_setup(state) == 0);
	}
}

/* A channel that waits in a backlog answers at once, too; msgd keeps its place until it leaves. */
static void test_backlog_answers(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_sock *listener = sock_new(
				&b->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET),
			*sock;
	struct control_message m = {.type = CONTROL_CHANNEL};
	struct msg_sock *caller = connect_over(a, PAIR_END, 9);
	char byte;

	listener->nonblock = true;
	assert_int_equal(sock_set_name(listener, "name", 5), 0);
	m.channel = (struct control_channel){
		.listener = listener->handle, .end = PAIR_END, .channel = 9};
	pair_say(b, &m);
	assert_int_equal(msg_send(caller, "x", 1, 0), 1);
	assert_int_equal(msg_close(caller), 0);
	pair_take(b);
	pair_take(a);
	assert_null(channel_find(&a->link->channels, 9));
	assert_non_null(channel_find(&b->link->channels, 9));
	assert_false(pair_control(b, &m));
	sock = msg_accept(listener, LIBMSG_NONBLOCK);
	assert_non_null(sock);
	assert_true(pair_control(b, &m));
	assert_int_equal(m.type, CONTROL_ACCEPTED);
	assert_true(pair_control(b, &m));
	assert_int_equal(m.type, CONTROL_CHANNEL_CLOSED);
	assert_null(channel_find(&b->link->channels, 9));
	assert_int_equal(msg_recv(sock, &byte, 1, 0), 1);
	assert_int_equal(msg_recv(sock, &byte, 1, 0), 0);
	assert_int_equal(msg_close(sock), 0);
	assert_int_equal(msg_close(listener), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_charge_covers_malloc),
		TEST(test_many_links_are_one_domain),
		TEST(test_largest_link_pays),
		TEST(test_share_that_is_just_kept),
		TEST(test_share),
		TEST(test_dead_data_counts),
		TEST(test_dead_data_is_missed),
		TEST(test_ending_link_is_left_alone),
		TEST(test_link_pays_before_the_dead),
		TEST(test_idle_channels_of_others),
		TEST(test_closes_are_answered),
		TEST(test_closes_are_never_answered),
		TEST(test_closes_are_far_too_many),
		TEST(test_closes_are_summed_by_domain),
		TEST(test_most_closes_pay),
		TEST(test_backlog_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
