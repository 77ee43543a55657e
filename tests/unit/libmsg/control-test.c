/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control link from attaching to its end, against a msgd that the test plays over the same
 * pages: HELLO, announcements, rings that are full or broken, quiescing and attaching again.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"
#include "libmsg/control/request.h"
#include "tests/support/aborts.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"

#define PORT 1U

/* A hypervisor that has pages, one port and one record. */
static struct {
	struct hv hv; /* first */
	void *pages[2];
	unsigned n_shared;
	unsigned n_events;
	unsigned n_links_closed;
	unsigned n_link_shares;
	bool port;
	char key[HV_STORE_KEY_MAX]; /* "": no record */
	uint8_t record[HV_STORE_VALUE_MAX];
	size_t record_len;
	bool watched, told_removed, told_written;
	unsigned share_fails_at; /* with so many shared */
	int alloc_error, share_error, publish_error, watch_error, register_error;
	bool registered; /* a ring of its own */
	/* For msg_ctx_open: */
	int open_error;
	const char *open_reason;
	bool is_open;
	bool event;   /* of the control link's port */
	int event_fd; /* readable: no sleep lasts */
	void (*on_sleep)(void);
	unsigned n_sleeps;
	unsigned agents; /* 0: no agent in the way; else those that there will have been */
	uint64_t now_ns;
	unsigned n_published;
} fake;

static uint16_t fake_domid(struct hv *hv)
{
	return 5;
}

static uint64_t fake_now_ns(struct hv *hv)
{
	return fake.now_ns;
}

static int fake_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	if (!fake.event)
		return 0;
	fake.event = false;
	*ret_events = (struct hv_event){.type = HV_EVENT_PORT, .port = PORT};
	return 1;
}

static int fake_unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	must(n == 1 && ports[0] == PORT);
	return 0;
}

static int fake_fd(struct hv *hv)
{
	must(++fake.n_sleeps < 100000);
	fake.on_sleep();
	return fake.event_fd;
}

static void fake_hv_close(struct hv *hv)
{
	must(fake.is_open);
	fake.is_open = false;
}

static int fake_alloc(struct hv *hv, uint16_t remote, uint32_t *ret_port)
{
	if (remote != HV_BROKER_DOMID) { /* a link's */
		*ret_port = PORT + 1;
		return 0;
	}
	must(!fake.port);
	if (fake.alloc_error)
		return fake.alloc_error;
	fake.port = true;
	*ret_port = PORT;
	return 0;
}

static int fake_close(struct hv *hv, uint32_t port)
{
	errno = E2BIG;	    /* as a call that succeeds may */
	if (port != PORT) { /* a link's, which the test has made up */
		fake.n_links_closed++;
		return 0;
	}
	must(fake.port && fake.n_shared == 0);
	fake.port = false;
	return 0;
}

static int fake_send(struct hv *hv, uint32_t port)
{
	if (port != PORT)
		return 0;
	must(fake.port);
	fake.n_events++;
	return 0;
}

static int fake_register(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
	struct hv_ring **ret_ring)
{
	must(aport == 0 && partner == 5 && ring_len == HV_PAGE_SIZE && !fake.registered);
	if (fake.register_error)
		return fake.register_error;
	fake.registered = true;
	*ret_ring = (struct hv_ring *)&fake.registered;
	return 0;
}

static int fake_unregister(struct hv *hv, struct hv_ring *ring)
{
	must(fake.registered && (void *)ring == &fake.registered);
	fake.registered = false;
	return 0;
}

static int share_for_link(
	size_t n, uint32_t *ret_refs, void **ret_addr, struct hv_share **ret_share)
{
	void *pages = aligned_alloc(HV_PAGE_SIZE, n * HV_PAGE_SIZE);

	must(pages);
	memset(pages, 0, n * HV_PAGE_SIZE);
	memset(ret_refs, 0, n * sizeof(*ret_refs));
	*ret_addr = pages;
	*ret_share = pages;
	fake.n_link_shares++;
	return 0;
}

static int fake_notify(struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	return 0;
}

static int fake_share(struct hv *hv, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, void **ret_addr,
	struct hv_share **ret_share)
{
	void *pages;

	if (remote != HV_BROKER_DOMID)
		return share_for_link(n, ret_refs, ret_addr, ret_share);
	if (fake.share_error && fake.n_shared == fake.share_fails_at)
		return fake.share_error;
	pages = aligned_alloc(HV_PAGE_SIZE, n * HV_PAGE_SIZE);
	must(pages && remote == HV_BROKER_DOMID && fake.n_shared < 2);
	must(n == (fake.n_shared == 0 ? 1 : CONTROL_PAGES - 1) && (notify != NULL) == (n == 1));
	must(!notify || (notify->port == PORT && notify->offset == DOORBELL_ALIVE_OFFSET(0)));
	memset(pages, 0, n * HV_PAGE_SIZE);
	for (size_t i = 0; i < n; i++)
		ret_refs[i] = 100 + (uint32_t)(fake.n_shared + i);
	fake.pages[fake.n_shared++] = pages;
	*ret_addr = pages;
	*ret_share = pages;
	return 0;
}

static void fake_unshare(struct hv *hv, struct hv_share *share)
{
	if ((void *)share != fake.pages[0] && (void *)share != fake.pages[1]) {
		must(fake.n_link_shares > 0);
		fake.n_link_shares--;
		free(share);
		return;
	}
	must(fake.n_shared > 0 && fake.pages[fake.n_shared - 1] == (void *)share);
	free(fake.pages[--fake.n_shared]);
	fake.pages[fake.n_shared] = NULL;
}

static int fake_ask(struct hv *hv, struct hv_parcel *ret_parcel)
{
	struct hv_parcel parcel = {.port = PORT, .refs = {100, 101, 102, 103, 104}};

	if (fake.agents == 0)
		return 0;
	*ret_parcel = parcel;
	return 1;
}

static int fake_adopt(struct hv *hv, struct hv_parcel *parcel, uint32_t notify_offset,
	struct hv_adopted *ret_adopted)
{
	struct hv_unmap_notify notify = {.offset = notify_offset, .port = parcel->port};
	uint32_t refs[CONTROL_PAGES];
	int r;

	must(notify_offset == DOORBELL_ALIVE_OFFSET(0) && parcel->port == PORT && !fake.port);
	if (fake.share_error)
		return fake.share_error;
	fake.port = true;
	r = fake_share(hv, HV_BROKER_DOMID, 1, &notify, refs, &ret_adopted->page,
		&ret_adopted->page_share);
	must(r == 0);
	return fake_share(hv, HV_BROKER_DOMID, CONTROL_PAGES - 1, NULL, refs, &ret_adopted->others,
		&ret_adopted->others_share);
}

static int fake_publish(struct hv *hv, const char *key, const void *value, size_t len)
{
	if (fake.publish_error)
		return fake.publish_error;
	/* An agent that was started again since it made the parcel. */
	if (fake.agents > 1) {
		fake.agents--;
		return -EPERM;
	}
	(void)snprintf(fake.key, sizeof(fake.key), "%s", key);
	memcpy(fake.record, value, len);
	fake.record_len = len;
	fake.n_published++;
	return 0;
}

static int fake_remove(struct hv *hv, uint16_t domid, const char *key)
{
	must(key[0]);
	if (!fake.key[0])
		return -ENOENT;
	must(domid == 5 && strcmp(key, fake.key) == 0 && fake.n_shared <= 2);
	fake.key[0] = '\0';
	return 0;
}

static int fake_watch_own(struct hv *hv)
{
	if (fake.watch_error)
		return fake.watch_error;
	/* Else the removal of the parked record might not be told of. */
	must(fake.record_len != RECORD_PARKED_SIZE);
	fake.watched = true;
	return 0;
}

static int fake_store_next(struct hv *hv, struct hv_record *ret_record)
{
	*ret_record = (struct hv_record){.domid = 5};
	if (fake.told_written) {
		fake.told_written = false;
		memcpy(ret_record->key, fake.key, sizeof(fake.key));
		ret_record->len = 1;
		return 1;
	}
	if (!fake.told_removed)
		return 0;
	fake.told_removed = false;
	memcpy(ret_record->key, fake.key, sizeof(fake.key));
	fake.key[0] = '\0';
	return 1;
}

static const struct hv_ops fake_ops = {
	.name = "fake",
	.domid = fake_domid,
	.now_ns = fake_now_ns,
	.close = fake_hv_close,
	.fd = fake_fd,
	.poll_events = fake_poll_events,
	.evtchn_unmask = fake_unmask,
	.evtchn_alloc_unbound = fake_alloc,
	.evtchn_close = fake_close,
	.evtchn_send = fake_send,
	.argo_register = fake_register,
	.argo_unregister = fake_unregister,
	.grant_share = fake_share,
	.grant_unshare = fake_unshare,
	.grant_notify = fake_notify,
	.parcel_ask = fake_ask,
	.parcel_adopt = fake_adopt,
	.store_publish = fake_publish,
	.store_remove = fake_remove,
	.store_watch_own = fake_watch_own,
	.store_next = fake_store_next,
};

/* In the place of hv/open.c, for msg_ctx_open. */
int hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason)
{
	if (fake.open_error) {
		*ret_reason = fake.open_reason;
		return fake.open_error;
	}
	fake.is_open = true;
	*ret_hv = &fake.hv;
	return 0;
}

/* ---- both sides ------------------------------------------------------------------------- */

static struct msg_ctx ctx;
static struct control_ring msgd;
static char logged[256], logged_before[256]; /* the last line, and the one before it */

static void keep_line(void *arg, int priority, const char *line)
{
	memcpy(logged_before, logged, sizeof(logged));
	(void)snprintf(logged, sizeof(logged), "%s", line);
}

/* A msgd comes, on the pages that are there, and starts the next epoch. */
static void msgd_comes(void)
{
	struct doorbell_page *page = ctx.control.page;
	const char *reason;

	control_ring_clear(&msgd);
	must(control_ring_adopt(&msgd, page, CONTROL_RING_MSGD, fake.pages[1], &reason) == 0);
	atomic_store(&msgd.me->alive, 1);
	atomic_fetch_add(&page->epoch, 1);
	control_take(&ctx.control);
	driver_pass(&ctx.driver);
}

static void msgd_goes(void)
{
	atomic_store(&msgd.me->alive, 0);
}

static void say(const struct control_message *message)
{
	control_ring_send(&msgd, message);
	(void)control_ring_publish(&msgd);
	control_take(&ctx.control);
	driver_pass(&ctx.driver);
}

static void welcome(void)
{
	say(&(struct control_message){.type = CONTROL_WELCOME,
		.request = REQUEST_HELLO,
		.welcome = {.epoch = ctx.control.epoch, .version = CONTROL_VERSION}});
}

/* The type of the next message that msgd reads; 0: none. */
static uint8_t hear(struct control_message *ret_message)
{
	const char *reason;
	int decoded, r = control_ring_receive(&msgd, ret_message, &decoded, &reason);

	must(r == 0 || (r == 1 && decoded == 0));
	(void)control_ring_publish(&msgd);
	return r == 1 ? ret_message->type : 0;
}

static struct msg_sock *listener_new(const char *name)
{
	struct msg_sock *listener =
		sock_new(&ctx.socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);

	must(listener && sock_set_name(listener, name, 3) == 0);
	return listener;
}

static int setup(void **state)
{
	static uint8_t same_process = 1;

	memset(&fake, 0, sizeof(fake));
	memset(&ctx, 0, sizeof(ctx));
	logged[0] = logged_before[0] = '\0';
	fake.share_fails_at = 1;
	fake.hv.ops = &fake_ops;
	fake.register_error = -ENOSYS;
	fake.now_ns = 1000;
	ctx.same_process = &same_process;
	must(ctx_init(&ctx, &fake.hv, LIBMSG_ONE_THREAD) == 0);
	ctx.control.log = keep_line;
	ctx.control.features = control_argo_features(&fake.hv);
	must(control_open(&ctx.control) == 0);
	control_ring_init(&msgd, ctx.control.page, CONTROL_RING_MSGD, fake.pages[1]);
	return 0;
}

static int setup_attached(void **state)
{
	struct control_message message;

	(void)setup(state);
	msgd_comes();
	must(hear(&message) == CONTROL_HELLO);
	welcome();
	must(ctx.control.state == CONTROL_ATTACHED);
	return 0;
}

static int teardown(void **state)
{
	control_ring_clear(&msgd);
	ctx_clear(&ctx);
	control_close(&ctx.control);
	driver_fini(&ctx.driver);
	/* All came back. */
	must(fake.n_link_shares == 0);
	must(fake.n_shared == 0 && !fake.port && !fake.key[0]);
	return 0;
}

/* ---- states ----------------------------------------------------------------------------- */

static void move_control(void *arg)
{
	enum control_state *move = arg;
	struct control control = {.state = move[0], .pool = &ctx.pool};

	ctx.pool.wake = ctx.pool.marked = false;
	control_set_state(&control, move[1]);
	must(control.state == move[1]);
	must(ctx.pool.wake && ctx.pool.marked); /* a call may wait for it; the pass acts on it */
}

static void test_moves(void **state)
{
	static const char legal[CONTROL_BROKEN][CONTROL_BROKEN + 1] = {
		/* to: ATTACHING ATTACHED QUIESCING PARKED DROPPED WAITING BROKEN */
		[CONTROL_ATTACHING - 1] = ".aq.d.b",
		[CONTROL_ATTACHED - 1] = "a.q.d.b",
		[CONTROL_QUIESCING - 1] = "...p..b",
		[CONTROL_PARKED - 1] = "a.....b",
		[CONTROL_DROPPED - 1] = ".....wb",
		[CONTROL_WAITING - 1] = "a.....b",
		[CONTROL_BROKEN - 1] = ".......",
	};

	for (int from = CONTROL_ATTACHING; from <= CONTROL_BROKEN; from++) {
		for (int to = CONTROL_ATTACHING; to <= CONTROL_BROKEN; to++) {
			enum control_state move[2] = {
				(enum control_state)from, (enum control_state)to};

			if (legal[from - 1][to - 1] != '.')
				move_control(move);
			else
				assert_true(aborts(move_control, move));
		}
	}
}

/* ---- attaching -------------------------------------------------------------------------- */

static void test_record(void **state)
{
	struct doorbell_page *page = ctx.control.page;
	struct record record;

	assert_int_equal(strlen(fake.key), NONCE_SIZE);
	assert_int_equal(fake.record_len, RECORD_SIZE);
	assert_int_equal(record_decode(fake.record, fake.record_len, &record), 0);
	assert_int_equal(record.port, PORT);
	for (uint32_t i = 0; i < CONTROL_PAGES; i++)
		assert_int_equal(record.refs[i], 100 + i);
	assert_memory_equal(record.nonce, page->head.nonce, NONCE_SIZE);
	assert_int_equal(page->head.magic, CONTROL_PAGE_MAGIC);
	assert_int_equal(page->head.port, PORT);
	assert_true(control_rings_are_proven(fake.pages[1], &page->head));
	assert_int_equal(atomic_load(&page->end[0].alive), 1);
	assert_true(ctx.control.armed);
}

/* Each way in which attaching can fail leaves nothing behind. */
static void test_cannot_open(void **state)
{
	control_close(&ctx.control);
	ctx.control.key[0] = '\0';
	fake.alloc_error = -ENOSPC;
	assert_int_equal(control_open(&ctx.control), -ENOSPC);
	fake.alloc_error = 0;
	fake.share_error = -EDQUOT;
	for (fake.share_fails_at = 0; fake.share_fails_at < 2; fake.share_fails_at++) {
		assert_int_equal(control_open(&ctx.control), -EDQUOT);
		assert_int_equal(fake.n_shared, fake.share_fails_at);
		control_release(&ctx.control);
		assert_int_equal(fake.n_shared, 0);
		assert_false(fake.port);
	}
	fake.share_error = 0;
	fake.publish_error = -EACCES;
	assert_int_equal(control_open(&ctx.control), -EACCES);
	assert_int_equal(fake.n_shared, 2);
	ctx.control.key[0] = '\0';
}

/* Argo is tried out; a shortage is none of what it lacks. */
static void test_features(void **state)
{
	static const struct {
		int error;
		uint64_t features;
	} answers[] = {
		{0, FEATURE_ARGO | FEATURE_ARGO_STRICT},
		{-ENOSPC, FEATURE_ARGO | FEATURE_ARGO_STRICT},
		{-EDQUOT, FEATURE_ARGO | FEATURE_ARGO_STRICT},
		{-ENOMEM, FEATURE_ARGO | FEATURE_ARGO_STRICT},
		{-EAGAIN, FEATURE_ARGO | FEATURE_ARGO_STRICT},
		{-ENOSYS, FEATURE_NO_HYPERVISOR_ARGO},
		{-EOPNOTSUPP, FEATURE_NO_HYPERVISOR_ARGO},
		{-ENXIO, FEATURE_NO_ARGO_DRIVER},
		{-EPERM, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		fake.register_error = answers[i].error;
		assert_true(control_argo_features(&fake.hv) == answers[i].features);
		assert_false(fake.registered);
	}
}

static void test_parcel(void **state)
{
	struct record record;

	control_release(&ctx.control);
	fake.agents = 1;
	assert_int_equal(control_open(&ctx.control), 0);
	assert_int_equal(record_decode(fake.record, fake.record_len, &record), 0);
	assert_int_equal(record.port, PORT);
	assert_int_equal(record.refs[0], 100);
	assert_int_equal(record.refs[4], 104);
	assert_ptr_equal(ctx.control.page, fake.pages[0]);
	msgd_comes();
	welcome();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
}

/* Its maker has ended: another one makes another. */
static void test_parcel_unknown(void **state)
{
	control_release(&ctx.control);
	fake.agents = 2;
	assert_int_equal(control_open(&ctx.control), 0);
	control_release(&ctx.control);
	fake.agents = 3;
	assert_int_equal(control_open(&ctx.control), -EPERM);
	control_release(&ctx.control);
	assert_false(fake.port);
	fake.share_error = -ENOSPC;
	fake.agents = 1;
	assert_int_equal(control_open(&ctx.control), -ENOSPC);
	assert_null(ctx.control.page);
	strcpy(fake.key, ctx.control.key);
}

static void test_hello_once_an_epoch(void **state)
{
	struct control_message message;

	control_take(&ctx.control); /* no msgd yet */
	driver_pass(&ctx.driver);
	assert_int_equal(hear(&message), 0);
	msgd_comes();
	assert_int_equal(fake.n_events, 1);
	assert_int_equal(hear(&message), CONTROL_HELLO);
	assert_int_equal(message.request, REQUEST_HELLO);
	assert_int_equal(message.hello.epoch, 1);
	assert_int_equal(message.hello.version_min, CONTROL_VERSION_MIN);
	assert_int_equal(message.hello.version_max, CONTROL_VERSION);
	assert_int_equal(message.hello.features,
		FEATURE_NO_HYPERVISOR_ARGO | FEATURE_TYPES | FEATURE_WATCH | FEATURE_TERMS |
			FEATURE_COUNTS | FEATURE_CAPTURE | FEATURE_AHEAD);
	assert_int_equal(message.hello.pid, getpid());
	assert_int_equal(strncmp(message.hello.comm, program_invocation_short_name,
				 sizeof(message.hello.comm) - 1),
		0);
	assert_int_equal(message.hello.reattach, 0);
	for (int i = 0; i < 3; i++) {
		control_take(&ctx.control);
		driver_pass(&ctx.driver);
	}
	assert_int_equal(hear(&message), 0);
	msgd_comes();
	assert_int_equal(hear(&message), CONTROL_HELLO);
	assert_int_equal(message.hello.epoch, 2);
	assert_int_equal(message.hello.reattach, 1);
	assert_int_equal(hear(&message), 0);
	welcome();
	assert_int_equal(hear(&message), CONTROL_ANNOUNCE_DONE);
	assert_int_equal(hear(&message), 0);
}

/* The page has a new epoch, but the msgd of that epoch has died since: no HELLO is sent. */
static void test_no_hello_to_the_dead(void **state)
{
	struct control_message message;

	atomic_store(&ctx.control.page->epoch, 1);
	control_take(&ctx.control);
	assert_int_equal(ctx.control.epoch, 0);
	assert_false(control_broker_there(&ctx.control));
	driver_pass(&ctx.driver);
	assert_int_equal(hear(&message), 0);
}

static void test_welcome(void **state)
{
	struct control_message message;

	msgd_comes();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	welcome();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
	welcome();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
	msgd_goes();
	control_take(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED); /* it may come back soon */
	msgd_comes();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	while (hear(&message))
		;
	welcome();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
}

/* All that lies in the ring is read in one turn, whatever comes before WELCOME. */
static void test_welcome_behind_another_word(void **state)
{
	msgd_comes();
	control_ring_send(&msgd, &(struct control_message){.type = CONTROL_STATUS, .request = 1});
	welcome();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
}

static void test_hello_refused(void **state)
{
	static const struct {
		uint32_t error;
		int expected;
	} answers[] = {{EDQUOT, EDQUOT}, {0, EPROTO}};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct control_message status = {.type = CONTROL_STATUS,
			.request = REQUEST_HELLO,
			.status = {.error = answers[i].error, .reason = "as many as it may have"}};

		if (i)
			(void)setup(state);
		msgd_comes();
		say(&status);
		assert_int_equal(ctx.control.state, CONTROL_BROKEN);
		assert_int_equal(ctx.control.error, answers[i].expected);
		assert_string_equal(ctx.control.reason, "as many as it may have");
		if (i == 0)
			(void)teardown(state);
	}
}

/* A msgd that returns is told of every link, channel and name that this end still has. */
static void test_announcements(void **state)
{
	struct msg_sock *open = listener_new("open");
	struct msg_sock *lost = listener_new("lost");
	struct msg_sock *waiting =
		sock_new(&ctx.socks, SOCK_LISTENER, SOCK_PENDING, CHANNEL_SEQPACKET);
	struct transport *transport = transport_new(&transport_grant, &fake.hv, 7, 1, 4096);
	struct control_message message;
	struct channel *channel;
	struct link *link;

	sock_fail(lost, EACCES, "policy");
	assert_int_equal(sock_set_name(waiting, "waiting", 1), 0);
	link = link_new(&ctx.links, transport, 70, 0x123456789, 1, LINK_UP);
	transport = transport_new(&transport_grant, &fake.hv, 7, 0, 4096);
	transport->port = transport->event = 8;
	(void)link_new(&ctx.links, transport, 71, 2, 1, LINK_MAKING);
	transport = transport_new(&transport_grant, &fake.hv, 7, 0, 4096);
	transport->port = transport->event = 9;
	link_end(link_new(&ctx.links, transport, 72, 3, 1, LINK_UP), LINK_LEFT, "test");
	channel = channel_new(&link->channels, 11, CHANNEL_SEQPACKET, true);
	channel->listener_handle = open->handle;
	strcpy(channel->name, "open");
	backlog_add(open, channel);
	channel = channel_new(&link->channels, 12, CHANNEL_SEQPACKET, true);
	channel->listener_handle = open->handle;
	strcpy(channel->name, "open");
	channel_close(channel, CLOSE_NORMAL);
	control_ring_clear(&msgd);
	atomic_fetch_add(&ctx.control.page->epoch, 1);
	control_take(&ctx.control);
	control_publish(&ctx.control);
	assert_int_equal(hear(&message), CONTROL_HELLO);
	assert_int_equal(hear(&message), 0); /* before WELCOME nobody knows what this msgd knows */
	control_handle(&ctx.control, &(struct control_message){.type = CONTROL_WELCOME});
	control_publish(&ctx.control);
	assert_int_equal(hear(&message), CONTROL_ANNOUNCE_LINK);
	assert_int_equal(message.announce_link.end, 70);
	assert_true(message.announce_link.uid == 0x123456789);
	assert_int_equal(message.announce_link.peer_domid, 7);
	assert_int_equal(message.announce_link.transport, TRANSPORT_GRANT);
	assert_int_equal(message.announce_link.role, 1);
	assert_int_equal(message.announce_link.state, 1);
	for (uint32_t number = 11; number <= 12; number++) {
		assert_int_equal(hear(&message), CONTROL_ANNOUNCE_CHANNEL);
		assert_int_equal(message.announce_channel.end, 70);
		assert_int_equal(message.announce_channel.channel, number);
		assert_int_equal(message.announce_channel.listener, open->handle);
		assert_int_equal(message.announce_channel.accepted, number == 12);
		assert_string_equal(message.announce_channel.name, "open");
	}
	assert_int_equal(hear(&message), CONTROL_ANNOUNCE_LINK);
	assert_int_equal(message.announce_link.end, 71);
	assert_int_equal(message.announce_link.role, 0);
	assert_int_equal(message.announce_link.state, 0);
	assert_int_equal(hear(&message), CONTROL_LISTEN);
	assert_int_equal(message.listen.listener, open->handle);
	assert_int_equal(message.listen.backlog, 3);
	assert_string_equal(message.listen.name, "open");
	assert_int_equal(hear(&message), CONTROL_ANNOUNCE_DONE);
	assert_int_equal(hear(&message), 0);
	for (link = ctx.links.by_end; link; link = link->hh.next)
		link_end(link, LINK_LEFT, "the test is over");
	driver_pass(&ctx.driver);
}

/* ---- rings ------------------------------------------------------------------------------ */

static struct control_message sync_number(uint32_t number)
{
	return (struct control_message){.type = CONTROL_SYNC, .request = number};
}

/* Messages that find no room wait, keep their order, and go when msgd has read. */
static void test_outbox(void **state)
{
	struct control_message message;
	uint32_t sent = 0, heard = 0;

	while (STAILQ_EMPTY(&ctx.control.ring.outbox)) {
		message = sync_number(++sent);
		control_send(&ctx.control, &message);
	}
	for (int i = 0; i < 3; i++) {
		message = sync_number(++sent);
		control_send(&ctx.control, &message);
	}
	control_publish(&ctx.control);
	while (hear(&message) == CONTROL_SYNC)
		assert_int_equal(message.request, ++heard);
	assert_int_equal(heard, sent - 4);
	assert_false(STAILQ_EMPTY(&ctx.control.ring.outbox));
	/* msgd's event for the room that it made, or any other look. */
	control_publish(&ctx.control);
	assert_true(STAILQ_EMPTY(&ctx.control.ring.outbox));
	while (hear(&message) == CONTROL_SYNC)
		assert_int_equal(message.request, ++heard);
	assert_int_equal(heard, sent);
}

/* One event for all that was sent since msgd fell asleep. */
static void test_one_event(void **state)
{
	struct control_message message = sync_number(1);
	unsigned before = fake.n_events;

	assert_false(control_ring_sleep(&msgd));
	control_send(&ctx.control, &message);
	control_send(&ctx.control, &message);
	assert_int_equal(fake.n_events, before);
	assert_true(ctx.pool.marked);
	driver_pass(&ctx.driver);
	driver_pass(&ctx.driver);
	assert_int_equal(fake.n_events, before + 1);
}

/* The room of a message that was read goes back before the lock is dropped. */
static void test_room_goes_back(void **state)
{
	uint32_t before = atomic_load(&ctx.control.ring.me->consumed);

	control_ring_send(&msgd, &(struct control_message){.type = CONTROL_STATUS, .request = 1});
	(void)control_ring_publish(&msgd);
	control_take(&ctx.control);
	driver_unlock(&ctx.driver);
	assert_int_equal(atomic_load(&ctx.control.ring.me->consumed) - before,
		ctx.control.ring.rx.own - before);
	assert_int_not_equal(atomic_load(&ctx.control.ring.me->consumed), before);
}

/* Messages that were meant for the former msgd are not sent to the next one. */
static void test_outbox_of_a_former_msgd(void **state)
{
	struct control_message message = sync_number(1);

	while (STAILQ_EMPTY(&ctx.control.ring.outbox))
		control_send(&ctx.control, &message);
	control_publish(&ctx.control);
	msgd_goes();
	msgd_comes();
	assert_int_equal(hear(&message), CONTROL_HELLO);
	assert_int_equal(hear(&message), 0);
	welcome();
	assert_int_equal(hear(&message), CONTROL_ANNOUNCE_DONE);
	assert_int_equal(hear(&message), 0);
}

static void test_arm(void **state)
{
	control_disarmed(&ctx.control);
	assert_true(ctx.pool.rearm);
	control_ring_send(&msgd, &(struct control_message){.type = CONTROL_STATUS, .request = 1});
	(void)control_ring_publish(&msgd);
	assert_true(control_arm(&ctx.control));
	assert_false(ctx.control.armed);
	control_take(&ctx.control);
	assert_false(control_arm(&ctx.control));
	assert_true(ctx.control.armed);
	assert_int_equal(atomic_load(&ctx.control.ring.me->sleeping), 1);
}

/* No event comes to a control link that is not armed: the driver looks at it each time. */
static void test_unarmed_is_looked_at(void **state)
{
	control_disarmed(&ctx.control);
	control_ring_send(&msgd,
		&(struct control_message){.type = CONTROL_QUIESCE, .quiesce = {.reason = "saved"}});
	(void)control_ring_publish(&msgd);
	driver_drive(&ctx.driver, &(struct focus){0});
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
}

/* Messages of an unknown type, and messages that only msgd takes, change nothing. */
static void test_unknown_messages(void **state)
{
	struct frame frame = {.type = 200};
	uint8_t head[FRAME_HEADER_SIZE];

	frame_encode(&frame, head);
	grant_ring_write(&msgd.tx, 0, head, sizeof(head));
	msgd.tx.own += sizeof(head);
	say(&(struct control_message){.type = CONTROL_ANNOUNCE_DONE});
	say(&(struct control_message){.type = CONTROL_QUIESCE, .quiesce = {.reason = "saved"}});
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
}

/* ---- the end ---------------------------------------------------------------------------- */

static void assert_all_fail(int error, const char *reason)
{
	assert_null(msg_connect(&ctx, "a/b", LIBMSG_SEQPACKET, 0, -1));
	assert_int_equal(errno, error);
	assert_non_null(strstr(msg_reason(), reason));
	assert_null(msg_listen(&ctx, "c", LIBMSG_SEQPACKET, 1, 0));
	assert_int_equal(errno, error);
	assert_non_null(strstr(msg_reason(), reason));
}

static void broken(const char *reason)
{
	struct msg_sock *listener = listener_new("name");
	struct control_message message = sync_number(1);
	int64_t value;

	control_take(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_BROKEN);
	assert_int_equal(ctx.control.error, EPROTO);
	assert_non_null(strstr(logged, reason));
	assert_all_fail(EPROTO, reason);
	assert_int_equal(msg_getopt(listener, LIBMSG_ERROR, &value), 0);
	/* Nothing is sent or taken in any more. */
	control_send(&ctx.control, &message);
	assert_true(control_ring_is_idle(&ctx.control.ring));
	control_take(&ctx.control);
	assert_false(control_arm(&ctx.control));
}

static void test_counter_that_makes_no_sense(void **state)
{
	atomic_fetch_add(&ctx.control.ring.them->produced, 0x80000000U);
	broken("a counter that moved where it cannot");
}

static void test_message_that_makes_no_sense(void **state)
{
	struct frame frame = {.type = CONTROL_WELCOME, .len = 16};
	uint8_t bytes[2 * FRAME_HEADER_SIZE] = {0};

	frame_encode(&frame, bytes); /* shorter than a WELCOME is */
	grant_ring_write(&msgd.tx, 0, bytes, sizeof(bytes));
	msgd.tx.own += sizeof(bytes);
	grant_ring_publish(&msgd.tx);
	broken("msgd wrote no control message");
}

/* A ring that breaks when a message is sent breaks the control link: no call waits for ever. */
static void test_broken_in_sending(void **state)
{
	struct control_message message = sync_number(1);

	atomic_fetch_add(&ctx.control.ring.them->consumed, 8);
	ctx.control.ring.tx.peer = ctx.control.ring.tx.own - CONTROL_RING_LEN; /* it must look */
	control_send(&ctx.control, &message);
	driver_unlock(&ctx.driver);
	assert_int_equal(ctx.control.state, CONTROL_BROKEN);
	assert_int_equal(ctx.control.error, EPROTO);
	assert_string_equal(ctx.control.reason, "a counter that moved where it cannot");
	control_ring_init(&msgd, ctx.control.page, CONTROL_RING_MSGD, fake.pages[1]);
}

/* The ring is full, and there is no memory for the outbox: the message is lost for good. */
static void test_no_memory_to_send(void **state)
{
	struct control_message message = sync_number(1);

	while (STAILQ_EMPTY(&ctx.control.ring.outbox))
		control_send(&ctx.control, &message);
	control_ring_clear(&ctx.control.ring);
	control_publish(&ctx.control); /* the ring is full, and all of it is published */
	failing_malloc_set(1);
	control_send(&ctx.control, &message);
	assert_true(failing_malloc_end());
	driver_unlock(&ctx.driver);
	assert_int_equal(ctx.control.state, CONTROL_BROKEN);
	assert_int_equal(ctx.control.error, ENOMEM);
	assert_string_equal(ctx.control.reason, "out of memory for a control message");
}

/* Open listeners fail with the reason; a listener that failed before keeps its own reason. */
static void test_break_tells_listeners(void **state)
{
	struct msg_sock *open = listener_new("open"), *lost = listener_new("lost");

	sock_fail(lost, EACCES, "policy");
	control_break(&ctx.control, ENOBUFS, "the reason");
	control_break(&ctx.control, EIO, "a later one");
	assert_int_equal(ctx.control.error, ENOBUFS);
	assert_string_equal(logged, "the reason: No buffer space available");
	assert_null(msg_accept(open, 0));
	assert_int_equal(errno, ENOBUFS);
	assert_string_equal(msg_reason(), "the name is lost: the reason");
	assert_null(msg_accept(lost, 0));
	assert_int_equal(errno, EACCES);
	assert_string_equal(msg_reason(), "the name is lost: policy");
	assert_all_fail(ENOBUFS, "the reason");
}

/* A connect that does not block is told, too, whether it waits already or comes later. */
static void test_break_tells_connects(void **state)
{
	struct msg_sock *sock = msg_connect(&ctx, "a/b", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0);
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};
	int64_t error;

	assert_non_null(sock);
	control_break(&ctx.control, ENOBUFS, "the reason");
	assert_int_equal(msg_poll(&fd, 1, 0), 1);
	assert_int_equal(fd.revents, POLLOUT | POLLERR | POLLHUP);
	assert_int_equal(msg_getopt(sock, LIBMSG_ERROR, &error), 0);
	assert_int_equal(error, ENOBUFS);
	assert_string_equal(msg_reason(), "the reason");
	assert_int_equal(msg_close(sock), 0);
	assert_null(msg_connect(&ctx, "a/b", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0));
	assert_int_equal(errno, ENOBUFS);
	assert_null(ctx.control.requests);
}

/* ---- quiescing -------------------------------------------------------------------------- */

static void quiesce(void)
{
	say(&(struct control_message){
		.type = CONTROL_QUIESCE, .quiesce = {.reason = "the domain is to be saved"}});
}

/* It has attached anew: it names its listener, no link, and asks again. */
static void said_again(const struct msg_sock *asking)
{
	struct control_message message;

	assert_int_equal(hear(&message), 0);
	welcome();
	assert_int_equal(hear(&message), CONTROL_LISTEN);
	assert_string_equal(message.listen.name, "name");
	assert_int_equal(hear(&message), CONTROL_ANNOUNCE_DONE);
	assert_int_equal(hear(&message), CONTROL_CONNECT);
	assert_int_equal(message.request, asking->request->id);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
}

static void test_quiesce_and_attach_again(void **state)
{
	struct control_message connect = {.type = CONTROL_CONNECT}, message;
	struct msg_sock *listener = listener_new("name");
	struct msg_sock *asking =
		sock_new(&ctx.socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);
	struct transport *transport = transport_new(&transport_grant, &fake.hv, 7, 1, 4096);
	uint32_t epoch = ctx.control.epoch;
	char key[HV_STORE_KEY_MAX];
	struct record record;

	connect.connect.type = CHANNEL_SEQPACKET;
	strcpy(connect.connect.address, "a/b");
	assert_non_null(request_new(&ctx.control, asking, &connect));
	(void)link_new(&ctx.links, transport, 70, 1, 1, LINK_UP);
	memcpy(key, fake.key, sizeof(key));
	control_ring_clear(&msgd);
	quiesce();
	/* All went back: links, pages, port. The record stays, and says so. */
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	assert_null(ctx.links.by_end);
	assert_int_equal(fake.n_shared, 0);
	assert_false(fake.port);
	assert_true(fake.watched);
	assert_string_equal(fake.key, key);
	assert_int_equal(record_parked_decode(fake.record, fake.record_len, &record), 0);
	assert_memory_equal(record.nonce, ctx.control.nonce, NONCE_SIZE);
	assert_string_equal(logged, "the domain is to be saved");
	assert_int_equal(listener->state, SOCK_OPEN);
	assert_int_equal(asking->state, SOCK_PENDING);
	/* Meanwhile nothing is done. */
	control_take(&ctx.control);
	control_publish(&ctx.control);
	assert_false(control_arm(&ctx.control));
	assert_false(control_broker_there(&ctx.control));
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	/* The record is removed: another one, with other pages, on another hypervisor perhaps. */
	fake.register_error = -ENXIO;
	fake.told_removed = true;
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	assert_string_equal(logged, "the domain goes on: attaching to msgd again");
	assert_string_not_equal(fake.key, key);
	assert_int_equal(fake.record_len, RECORD_SIZE);
	assert_int_equal(fake.n_shared, 2);
	assert_int_equal(atomic_load(&ctx.control.page->epoch), epoch);
	control_ring_init(&msgd, ctx.control.page, CONTROL_RING_MSGD, fake.pages[1]);
	msgd_comes();
	assert_int_equal(hear(&message), CONTROL_HELLO);
	assert_int_equal(message.hello.epoch, epoch + 1);
	assert_int_equal(message.hello.features,
		FEATURE_NO_ARGO_DRIVER | FEATURE_TYPES | FEATURE_WATCH | FEATURE_TERMS |
			FEATURE_COUNTS | FEATURE_CAPTURE | FEATURE_AHEAD);
	assert_int_equal(message.hello.reattach, 1);
	said_again(asking);
	/* And again. */
	fake.watched = false;
	while (hear(&message))
		;
	quiesce();
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	assert_false(fake.watched); /* one watch is enough */
	request_abandon(&ctx.control, asking->request);
}

/* QUIESCE may come before WELCOME. While the process quiesces, it sends no HELLO. */
static void test_quiesce_while_attaching(void **state)
{
	struct control_message message;

	msgd_comes();
	assert_int_equal(hear(&message), CONTROL_HELLO);
	control_quiesce(&ctx.control, "the first");
	control_quiesce(&ctx.control, "the second");
	assert_string_equal(ctx.control.reason, "the first");
	atomic_fetch_add(&ctx.control.page->epoch, 1);
	control_take(&ctx.control);
	assert_int_equal(ctx.control.epoch, 1);
	assert_int_equal(ctx.control.state, CONTROL_QUIESCING);
	driver_pass(&ctx.driver);
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
}

/* While a thread spins on a link's memory, the link's pages stay; parking waits for it. */
static void test_quiesce_waits_for_the_dead(void **state)
{
	struct transport *transport = transport_new(&transport_grant, &fake.hv, 7, 1, 4096);

	(void)link_new(&ctx.links, transport, 70, 1, 1, LINK_UP);
	ctx.driver.spinning = true;
	quiesce();
	assert_int_equal(ctx.control.state, CONTROL_QUIESCING);
	assert_int_equal(fake.n_shared, 2);
	ctx.driver.spinning = false;
	driver_pass(&ctx.driver);
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
}

/* The memory of links goes back, too, before the domain is saved; and when the process detaches. */
static void test_quiesce_gives_links_memory_back(void **state)
{
	const struct control_message create = {.type = CONTROL_LINK_CREATE,
		.link_create = {.end = 70,
			.uid = 1,
			.peer_domid = 7,
			.transport = TRANSPORT_GRANT,
			.ring_pages = 4}};
	struct control_message message;

	say(&create);
	assert_int_equal(hear(&message), CONTROL_LINK_OFFER);
	assert_true(fake.n_link_shares > 0);
	quiesce();
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	assert_int_equal(fake.n_link_shares, 0);
	fake.told_removed = true;
	control_store_changed(&ctx.control);
	control_ring_init(&msgd, ctx.control.page, CONTROL_RING_MSGD, fake.pages[1]);
	msgd_comes();
	say(&create);
	assert_true(fake.n_link_shares > 0); /* teardown looks */
}

/* A link ends for a reason of which msgd, whose word lies unread, knows more. */
static void test_quiesce_is_the_reason(void **state)
{
	struct transport *transport = transport_new(&transport_grant, &fake.hv, 7, 1, 4096);
	struct link *link = link_new(&ctx.links, transport, 70, 1, 1, LINK_UP);

	control_ring_send(&msgd, &(struct control_message){.type = CONTROL_QUIESCE,
					 .quiesce = {.reason = "it is saved"}});
	(void)control_ring_publish(&msgd);
	link_end(link, LINK_PEER_GONE, "the other process is gone");
	link->drain = 0; /* it has no ring */
	driver_pass(&ctx.driver);
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	assert_string_equal(logged_before, "link 70 to domain 7 ends: it is saved");
	assert_string_equal(logged, "it is saved");
}

static void test_quiesce_that_cannot_end(void **state)
{
	static const int errors[][2] = {{-EACCES, EACCES}, {-ENOSPC, ENOBUFS}};

	/* The watch cannot be had, or the record not be written. */
	for (size_t i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
		const int *error = errors[i / 2];

		if (i)
			must(teardown(state) == 0 && setup_attached(state) == 0);
		*(i % 2 ? &fake.watch_error : &fake.publish_error) = error[0];
		quiesce();
		assert_int_equal(ctx.control.state, CONTROL_BROKEN);
		assert_int_equal(ctx.control.error, error[1]);
		assert_all_fail(error[1], "will not learn of the end of it");
	}
}

/* Messages to msgd that found no room are about what is given back. */
static void test_quiesce_drops_the_outbox(void **state)
{
	struct control_message message = sync_number(1);

	while (STAILQ_EMPTY(&ctx.control.ring.outbox))
		control_send(&ctx.control, &message);
	control_publish(&ctx.control);
	quiesce();
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	assert_true(STAILQ_EMPTY(&ctx.control.ring.outbox));
}

static void attaching_again_fails(int share_error, int error)
{
	struct msg_sock *listener = listener_new("name");

	quiesce();
	assert_null(msg_accept(sock_find_listener(&ctx.socks, listener->handle), 0x1000));
	fake.share_error = share_error;
	fake.told_removed = true;
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_BROKEN);
	assert_int_equal(fake.n_shared, 0);
	assert_false(fake.port);
	assert_null(msg_accept(listener, 0));
	assert_int_equal(errno, error);
	assert_all_fail(error, "cannot publish this process to msgd again");
	strcpy(fake.key, ctx.control.key);
}

static void test_attaching_again_fails(void **state)
{
	attaching_again_fails(-ENOSPC, ENOBUFS);
}

static void test_attaching_again_is_refused(void **state)
{
	attaching_again_fails(-EACCES, EACCES);
}

/* The removal of another process's record changes nothing. */
static void test_other_records(void **state)
{
	fake.told_removed = true;
	control_store_changed(&ctx.control); /* not watched yet: nothing is read */
	assert_true(fake.told_removed);
	quiesce();
	fake.told_removed = true;
	fake.key[0] ^= 1;
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	strcpy(fake.key, ctx.control.key);
	fake.told_written = true; /* its own, which is there */
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_PARKED);
	/* The word behind it is read in the same turn. */
	fake.told_written = fake.told_removed = true;
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
}

/* A connect says for what it waited in vain. */
static void assert_connect_in_vain(const char *reason)
{
	errno = 0;
	assert_null(msg_connect(&ctx, "a/b", LIBMSG_SEQPACKET, 0, 0));
	assert_int_equal(errno, EHOSTDOWN);
	assert_string_equal(msg_reason(), reason);
}

static void test_connect_while_quiesced(void **state)
{
	quiesce();
	assert_connect_in_vain("connect to a/b: this domain is quiesced");
}

/* ---- declared dead ---------------------------------------------------------------------- */

/* msgd lets go of this process for good: says so in the page, unmaps, deletes the record. */
static void msgd_says_dropped(const char *reason)
{
	struct doorbell_page *page = ctx.control.page;

	(void)snprintf(page->drop_reason, sizeof(page->drop_reason), "%s", reason);
	atomic_store(&page->dropped, atomic_load(&page->epoch));
	control_ring_clear(&msgd);
	msgd_goes();
}

static void msgd_drops(const char *reason)
{
	msgd_says_dropped(reason);
	fake.key[0] = '\0';
	control_take(&ctx.control);
	driver_pass(&ctx.driver);
}

/* This process has published itself again, and a msgd takes it. */
static void msgd_finds(void)
{
	struct control_message message;
	uint32_t epoch = ctx.control.epoch;

	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	assert_int_equal(fake.n_shared, 2);
	assert_int_equal(fake.record_len, RECORD_SIZE);
	assert_int_equal(strlen(fake.key), NONCE_SIZE);
	control_ring_init(&msgd, ctx.control.page, CONTROL_RING_MSGD, fake.pages[1]);
	msgd_comes();
	assert_int_equal(hear(&message), CONTROL_HELLO);
	assert_int_equal(message.hello.epoch, epoch + 1);
	assert_int_equal(message.hello.reattach, 1);
}

static void test_dropped(void **state)
{
	struct control_message connect = {.type = CONTROL_CONNECT};
	struct msg_sock *listener = listener_new("name");
	struct msg_sock *asking =
		sock_new(&ctx.socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);
	struct transport *transport = transport_new(&transport_grant, &fake.hv, 7, 1, 4096);
	char key[HV_STORE_KEY_MAX];

	connect.connect.type = CHANNEL_SEQPACKET;
	strcpy(connect.connect.address, "a/b");
	assert_non_null(request_new(&ctx.control, asking, &connect));
	(void)link_new(&ctx.links, transport, 70, 1, 1, LINK_UP);
	memcpy(key, fake.key, sizeof(key));
	msgd_drops("its record is gone");
	assert_string_equal(logged_before, "msgd let go of this process: its record is gone");
	assert_string_equal(logged, "attaching to msgd again");
	assert_string_not_equal(fake.key, key);
	assert_null(ctx.links.by_end);
	assert_int_equal(listener->state, SOCK_OPEN);
	/* It announces no link: msgd has told the other end that it is dead. */
	msgd_finds();
	said_again(asking);
	request_abandon(&ctx.control, asking->request);
}

/* A msgd that ends has let go of nobody: its next one finds the record and the pages. */
static void test_not_dropped(void **state)
{
	struct doorbell_page *page = ctx.control.page;

	msgd_goes();
	control_take(&ctx.control);
	driver_pass(&ctx.driver);
	assert_ptr_equal(ctx.control.page, page);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
	/* It was dropped before the last attach, as after quiescing under the same page. */
	atomic_store(&page->epoch, 7);
	for (uint32_t dropped = 0; dropped < 7; dropped++) {
		atomic_store(&page->dropped, dropped);
		control_take(&ctx.control);
		assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
	}
	atomic_store(&page->epoch, 0); /* no msgd has come yet */
	atomic_store(&page->dropped, 0);
	control_take(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
}

/* While a thread spins on a link's memory, the link's pages stay. */
static void test_dropped_waits_for_the_dead(void **state)
{
	struct transport *transport = transport_new(&transport_grant, &fake.hv, 7, 1, 4096);
	struct doorbell_page *page = ctx.control.page;

	(void)link_new(&ctx.links, transport, 70, 1, 1, LINK_UP);
	ctx.driver.spinning = true;
	msgd_drops("x");
	assert_int_equal(ctx.control.state, CONTROL_DROPPED);
	assert_ptr_equal(ctx.control.page, page);
	control_take(&ctx.control);
	ctx.driver.spinning = false;
	driver_pass(&ctx.driver);
	msgd_finds();
}

static void tick(uint64_t ns)
{
	fake.now_ns += ns;
	driver_drive(&ctx.driver, &(struct focus){0});
}

/* Once at once; then later each time; then never again. */
static void test_dropped_again_and_again(void **state)
{
	struct msg_sock *listener = listener_new("name");
	uint64_t waited_ns = 0, wait_ns;
	unsigned n_drops = 0;

	for (;;) {
		msgd_drops("a rule that it breaks");
		n_drops++;
		if (ctx.control.state == CONTROL_BROKEN)
			break;
		if (ctx.control.state == CONTROL_WAITING) {
			wait_ns = ctx.control.again_ns - fake.now_ns;
			/* So long a thread may sleep. */
			assert_int_equal(driver_retry_time(&ctx.driver), fake.now_ns + wait_ns);
			assert_in_range(wait_ns, 100000000, 10000000000);
			assert_int_equal(fake.n_shared, 0);
			tick(wait_ns - 1);
			assert_int_equal(ctx.control.state, CONTROL_WAITING);
			tick(1);
			waited_ns += wait_ns;
		} else {
			assert_int_equal(n_drops, 1);
		}
		msgd_finds();
		welcome();
	}
	assert_int_equal(n_drops, 11);
	assert_true(driver_retry_time(&ctx.driver) == UINT64_MAX);
	assert_in_range(waited_ns, 30000000000, 40000000000);
	assert_null(msg_accept(listener, 0));
	assert_int_equal(errno, ECONNABORTED);
	assert_non_null(strstr(msg_reason(), "a rule that it breaks"));
	assert_all_fail(ECONNABORTED, "a rule that it breaks");
	assert_int_equal(fake.n_shared, 0);
}

/* msgd has not attached, and somebody deletes the record. */
static void record_deleted(void)
{
	fake.told_removed = true;
	control_store_changed(&ctx.control);
	driver_pass(&ctx.driver);
}

/* A record that msgd refuses is deleted: the process asks the store in a while, and tries again. */
static void test_refused(void **state)
{
	char key[HV_STORE_KEY_MAX];
	struct msg_sock *listener = listener_new("name");

	msgd_drops("x");
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	memcpy(key, fake.key, sizeof(key));
	/* It was deleted before anybody watched. */
	fake.key[0] = '\0';
	tick(499999999);
	assert_false(fake.watched);
	tick(1);
	assert_true(fake.watched);
	assert_string_equal(fake.key, key);
	assert_int_equal(fake.record_len, RECORD_SIZE);
	assert_int_equal(ctx.control.again_ns, UINT64_MAX);
	record_deleted();
	assert_int_equal(ctx.control.state, CONTROL_WAITING);
	assert_non_null(strstr(logged, "refused"));
	/* The next time it is told at once. */
	tick(100000000);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	assert_int_equal(ctx.control.again_ns, UINT64_MAX);
	record_deleted();
	assert_int_equal(ctx.control.state, CONTROL_WAITING);
	tick(200000000);
	msgd_finds();
	welcome();
	/* It is msgd's to say, as long as it is there. */
	fake.told_removed = true;
	control_store_changed(&ctx.control);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
	assert_int_equal(listener->state, SOCK_OPEN);
}

/* The record of one that has lost its msgd: the next msgd refuses it. */
static void test_refused_by_the_next(void **state)
{
	unsigned n = fake.n_published;

	msgd_goes();
	control_take(&ctx.control);
	tick(500000000);
	assert_true(fake.watched);
	assert_int_equal(fake.n_published, n); /* the store may need that msgd */
	record_deleted();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
	assert_int_equal(fake.n_published, n + 1);
	/* And at last it gives up, and says why. */
	for (unsigned i = 0; ctx.control.state != CONTROL_BROKEN; i++) {
		assert_true(i < 30);
		if (ctx.control.state == CONTROL_WAITING)
			tick(10000000000);
		else
			record_deleted();
	}
	assert_int_equal(fake.n_published, n + 10);
	assert_all_fail(ECONNABORTED, "refused");
}

/* Where the store cannot be watched, all is as if nobody answered. */
static void test_refused_unseen(void **state)
{
	msgd_drops("x");
	fake.watch_error = -EACCES;
	tick(500000000);
	fake.told_removed = true;
	control_store_changed(&ctx.control);
	assert_true(fake.told_removed);
	assert_int_equal(ctx.control.state, CONTROL_ATTACHING);
}

/* An attach that lasts is none of those. */
static void test_dropped_now_and_then(void **state)
{
	for (int i = 0; i < 30; i++) {
		fake.now_ns += 60000000000;
		msgd_drops("x");
		msgd_finds();
		welcome();
	}
}

/* The record that msgd did not delete goes, before the process may wait for its next one. */
static void test_dropped_with_its_record(void **state)
{
	fake.share_error = -ENOSPC;
	msgd_says_dropped("x");
	control_take(&ctx.control);
	driver_pass(&ctx.driver);
	assert_int_equal(ctx.control.state, CONTROL_WAITING);
	assert_string_equal(fake.key, "");
	assert_string_equal(ctx.control.key, "");
	assert_connect_in_vain("connect to a/b: msgd let go of this process: x");
}

/* The text in the page may have no end. */
static void test_dropped_for_a_long_reason(void **state)
{
	char reason[REASON_SIZE], expected[REASON_SIZE];

	memset(reason, 'x', sizeof(reason));
	(void)snprintf(expected, sizeof(expected), "msgd let go of this process: %.90s", reason);
	msgd_says_dropped("");
	memcpy(ctx.control.page->drop_reason, reason, sizeof(reason));
	fake.key[0] = '\0';
	control_take(&ctx.control);
	driver_pass(&ctx.driver);
	assert_string_equal(logged_before, expected);
}

/* Shortages pass: it tries for as long as it takes. */
static void test_dropped_without_pages(void **state)
{
	fake.share_error = -ENOSPC;
	msgd_drops("x");
	assert_int_equal(ctx.control.state, CONTROL_WAITING);
	assert_string_equal(logged,
		"cannot publish this process to msgd again: no page is left that this "
		"domain may share (the limit of xen-gntalloc)");
	assert_string_equal(ctx.control.key, "");
	for (int i = 0; i < 50; i++) {
		if (i == 10) {
			fake.share_error = 0;
			fake.publish_error = -EDQUOT;
		}
		assert_string_equal(ctx.control.key, "");
		assert_int_equal(fake.n_shared, 0);
		assert_false(fake.port);
		assert_in_range(ctx.control.again_ns - fake.now_ns, 100000000, 10000000000);
		tick(10000000000);
		assert_int_equal(ctx.control.state, CONTROL_WAITING);
	}
	fake.publish_error = 0;
	tick(10000000000);
	msgd_finds();
}

/* Before the first WELCOME. */
static void test_dropped_while_attaching(void **state)
{
	struct control_message message;

	msgd_comes();
	assert_int_equal(hear(&message), CONTROL_HELLO);
	msgd_drops("x");
	msgd_finds();
	welcome();
	assert_int_equal(ctx.control.state, CONTROL_ATTACHED);
}

/* ---- the whole context ------------------------------------------------------------------ */

static void pass_time(void)
{
	fake.now_ns += 1000000;
}

static int setup_alone(void **state)
{
	memset(&fake, 0, sizeof(fake));
	fake.hv.ops = &fake_ops;
	fake.now_ns = 1000;
	fake.event_fd = eventfd(1, EFD_CLOEXEC);
	fake.on_sleep = pass_time;
	must(fake.event_fd >= 0);
	return 0;
}

static int teardown_alone(void **state)
{
	control_ring_clear(&msgd);
	must(close(fake.event_fd) == 0);
	must(fake.n_shared == 0 && !fake.port && !fake.key[0] && !fake.is_open && !fake.registered);
	return 0;
}

/* No context comes of it: the error is told, and all that was taken is given back. */
static void assert_not_opened(const char *hv, int timeout_ms, int error, const char *reason)
{
	errno = 0;
	assert_null(msg_ctx_open(hv, LIBMSG_ONE_THREAD, timeout_ms));
	assert_int_equal(errno, error);
	assert_string_equal(msg_reason(), reason);
	assert_false(fake.is_open || fake.port || fake.n_shared || fake.key[0]);
}

static void test_no_hypervisor(void **state)
{
	fake.open_error = -ENOENT;
	assert_not_opened("some", 0, ENODEV, "hypervisor some: No such file or directory");
	fake.open_error = -EACCES;
	fake.open_reason = "it says why";
	must(setenv("MSG_HV", "sim:/there", 1) == 0);
	assert_not_opened(NULL, 0, EACCES, "hypervisor sim:/there (of MSG_HV): it says why");
	assert_not_opened("", 0, EACCES, "hypervisor sim:/there (of MSG_HV): it says why");
	assert_not_opened("some", 0, EACCES, "hypervisor some: it says why");
	must(setenv("MSG_HV", "", 1) == 0);
	assert_not_opened(NULL, 0, EACCES,
		"hypervisor xen (the default, for MSG_HV is not set): it says why");
	must(unsetenv("MSG_HV") == 0);
	assert_not_opened(NULL, 0, EACCES,
		"hypervisor xen (the default, for MSG_HV is not set): it says why");
}

static void test_no_means_for_a_context(void **state)
{
	struct rlimit limit, none;

	failing_malloc_set(1);
	assert_not_opened("", 0, ENOMEM, "no page for a context: Cannot allocate memory");
	assert_true(failing_malloc_end());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	errno = 0;
	assert_null(msg_ctx_open("", 0, 0));
	assert_int_equal(errno, EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(msg_reason(), "no descriptor for a context: Too many open files");
}

static void test_cannot_publish(void **state)
{
	fake.publish_error = -ENOSPC;
	assert_not_opened("", 0, ENOBUFS,
		"cannot publish this process to msgd: this domain's quota in the store is used up");
	fake.publish_error = 0;
	fake.share_error = -ENOSPC;
	assert_not_opened("", 0, ENOBUFS,
		"cannot publish this process to msgd: no page is left that this domain may share "
		"(the limit of xen-gntalloc)");
	fake.share_error = 0;
	fake.alloc_error = -ENOSPC;
	assert_not_opened("", 0, ENOBUFS,
		"cannot publish this process to msgd: no event channel is left in this domain");
	fake.alloc_error = 0;
	fake.publish_error = -EDQUOT;
	assert_not_opened("", 0, EDQUOT,
		"cannot publish this process to msgd: this user has its share of the domain's "
		"places: three in four of [limits] processes (msg-agent(8))");
	fake.publish_error = -EACCES;
	assert_not_opened("", 0, EACCES, "cannot publish this process to msgd: Permission denied");
}

static void control_says(const struct control_message *message)
{
	control_ring_send(&msgd, message);
	(void)control_ring_publish(&msgd);
	fake.event = true;
}

/* msgd attaches to this process before it sleeps for the first time, and answers HELLO then. */
static void msgd_attaches(void)
{
	struct doorbell_page *page = fake.pages[0];
	struct control_message message = {0};
	const char *reason;

	if (fake.n_sleeps == 1) {
		must(control_ring_adopt(&msgd, page, CONTROL_RING_MSGD, fake.pages[1], &reason) ==
			0);
		atomic_store(&msgd.me->alive, 1);
		atomic_fetch_add(&page->epoch, 1);
		fake.event = true;
	} else if (fake.n_sleeps == 2) {
		must(hear(&message) == CONTROL_HELLO);
		must(message.hello.features ==
			(FEATURE_ARGO | FEATURE_ARGO_STRICT | FEATURE_TYPES | FEATURE_WATCH |
				FEATURE_TERMS | FEATURE_COUNTS | FEATURE_CAPTURE | FEATURE_AHEAD));
	}
}

static void msgd_welcomes(void)
{
	msgd_attaches();
	if (fake.n_sleeps == 2)
		control_says(&(struct control_message){.type = CONTROL_WELCOME,
			.request = REQUEST_HELLO,
			.welcome = {.epoch = 1, .version = CONTROL_VERSION}});
}

static void msgd_refuses(void)
{
	msgd_attaches();
	if (fake.n_sleeps == 2)
		control_says(&(struct control_message){.type = CONTROL_STATUS,
			.request = REQUEST_HELLO,
			.status = {.error = EUSERS, .reason = "as many as it may have"}});
}

static void msgd_quiesces(void)
{
	msgd_attaches();
	if (fake.n_sleeps == 2)
		control_says(&(struct control_message){
			.type = CONTROL_QUIESCE, .quiesce = {.reason = "saved"}});
	pass_time();
}

static void msgd_drops_at_once(void)
{
	struct doorbell_page *page = fake.pages[0];

	msgd_attaches();
	if (fake.n_sleeps == 2) {
		strcpy(page->drop_reason, "it said so");
		atomic_store(&page->dropped, 1);
		atomic_store(&msgd.me->alive, 0);
		fake.event = true;
	}
	pass_time();
}

static void test_open(void **state)
{
	struct transport *transport;
	struct msg_ctx *opened;

	fake.on_sleep = msgd_welcomes;
	for (unsigned flags = 0; flags <= LIBMSG_ONE_THREAD; flags += LIBMSG_ONE_THREAD) {
		fake.n_sleeps = 0;
		errno = 4711;
		opened = msg_ctx_open("", flags, -1);
		assert_non_null(opened);
		assert_int_equal(errno, 4711);
		assert_int_equal(opened->control.state, CONTROL_ATTACHED);
		assert_int_equal(opened->driver.one_thread, flags != 0);
		assert_int_equal(fake.n_sleeps, 2);
		transport = transport_new(&transport_grant, &fake.hv, 7, 0, 4096);
		transport->port = transport->event = 8;
		(void)link_new(&opened->links, transport, 70, 1, 1, LINK_MAKING);
		fake.n_links_closed = 0;
		msg_ctx_close(opened);
		assert_int_equal(errno, 4711);
		assert_int_equal(fake.n_links_closed, 1);
		assert_false(fake.is_open || fake.port || fake.n_shared || fake.key[0]);
	}
	msg_ctx_close(NULL);
}

/* The time limit says what was waited for. */
static void test_open_in_time(void **state)
{
	static const struct {
		void (*on_sleep)(void);
		const char *reason;
	} cases[] = {
		{pass_time, "no msgd answered within 7 ms"},
		{msgd_quiesces, "this domain is quiesced; it did not go on within 7 ms"},
		{msgd_drops_at_once, "msgd let go of this process: it said so within 7 ms"},
	};

	assert_not_opened("", 0, EHOSTDOWN, "no msgd answered within 0 ms");
	assert_int_equal(fake.n_sleeps, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.n_sleeps = 0;
		fake.on_sleep = cases[i].on_sleep;
		assert_not_opened("", 7, EHOSTDOWN, cases[i].reason);
		control_ring_clear(&msgd);
	}
	fake.n_sleeps = 0;
	fake.on_sleep = msgd_refuses;
	assert_not_opened("", 7, EUSERS, "attaching to msgd: as many as it may have");
}

static void no_action(int signal)
{
}

/* The timer strikes again until it strikes a sleep. */
static void test_open_interrupted(void **state)
{
	const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	const struct sigaction action = {.sa_handler = no_action};
	eventfd_t count;

	assert_int_equal(eventfd_read(fake.event_fd, &count), 0);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_not_opened("", -1, EINTR, "attaching to msgd: Interrupted system call");
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
}

/* How many calls do not refuse, with EBADFD, what belongs to the parent. */
static int child_may_call(struct msg_ctx *parents, struct msg_sock *sock, struct msg_sock *listener)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN};
	struct msg_peer peer = {.size = sizeof(peer)};
	struct msghdr message = {0};
	struct msg_event event;
	struct msg_buf *buf;
	const void *data;
	int64_t value;
	char byte;
	int n = 0;

#define MAY(call)      (errno = 0, n += (intptr_t)(call) != -1 || errno != EBADFD)
#define MAY_FIND(call) MAY((call) ? 0 : -1)
	MAY(msg_ctx_fd(parents));
	MAY(msg_ctx_dispatch(parents, &event, 1));
	MAY(msg_ctx_set_transport(parents, LIBMSG_TRANSPORT_ANY));
	MAY_FIND(msg_listen(parents, "name", LIBMSG_SEQPACKET, 1, 0));
	MAY_FIND(msg_connect(parents, "a/b", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0));
	MAY_FIND(msg_accept(listener, 0));
	MAY(msg_shutdown(sock, SHUT_RDWR));
	MAY(msg_close(sock));
	MAY(msg_send(sock, "x", 1, 0));
	MAY(msg_sendmsg(sock, &message, 0));
	MAY(msg_flush(sock));
	MAY(msg_recv(sock, &byte, 1, 0));
	MAY(msg_recvmsg(sock, &message, 0));
	MAY(msg_recv_take(sock, 0, &data, &buf));
	MAY(msg_poll(&fd, 1, 0));
	MAY(msg_setopt(sock, LIBMSG_LINGER, 0));
	MAY(msg_getopt(sock, LIBMSG_LINGER, &value));
	MAY(msg_getpeer(sock, &peer));
	MAY_FIND(msg_userdata(sock));
	return n;
}

/* A child has the parent's context in its memory, and may neither use it nor give it back. */
static void test_forked_child(void **state)
{
	struct msg_sock *sock, *listener;
	struct msg_ctx *opened;
	int status;
	pid_t pid;

	fake.on_sleep = msgd_welcomes;
	opened = msg_ctx_open("", 0, -1);
	assert_non_null(opened);
	sock = sock_new(&opened->socks, SOCK_CHANNEL, SOCK_OPEN, CHANNEL_SEQPACKET);
	listener = sock_new(&opened->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);
	msg_set_userdata(sock, opened);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int n = child_may_call(opened, sock, listener);

		msg_ctx_close(opened);
		_exit(fake.is_open && fake.n_shared == 2 && fake.key[0] ? n : 100);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	msg_ctx_close(opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dropped, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_not_dropped, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_dropped_waits_for_the_dead, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_dropped_again_and_again, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_dropped_now_and_then, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_dropped_without_pages, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_dropped_with_its_record, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_dropped_for_a_long_reason, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_dropped_while_attaching, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parcel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parcel_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hello_once_an_epoch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_hello_to_the_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_welcome, setup, teardown),
		cmocka_unit_test_setup_teardown(test_welcome_behind_another_word, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hello_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_announcements, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_outbox, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_room_goes_back, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_one_event, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_outbox_of_a_former_msgd, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_arm, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_unarmed_is_looked_at, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_messages, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_counter_that_makes_no_sense, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_message_that_makes_no_sense, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_broken_in_sending, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_send, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_break_tells_connects, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_break_tells_listeners, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_quiesce_and_attach_again, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_quiesce_while_attaching, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_quiesce_waits_for_the_dead, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_quiesce_gives_links_memory_back, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_quiesce_is_the_reason, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_quiesce_that_cannot_end, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_quiesce_drops_the_outbox, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_attaching_again_is_refused, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_attaching_again_fails, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_other_records, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(
			test_connect_while_quiesced, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_no_hypervisor, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(
			test_no_means_for_a_context, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_cannot_publish, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_open, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_open_in_time, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_open_interrupted, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_forked_child, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_refused, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_refused_by_the_next, setup_attached, teardown),
		cmocka_unit_test_setup_teardown(test_refused_unseen, setup_attached, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
