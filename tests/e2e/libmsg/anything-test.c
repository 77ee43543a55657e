/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Eight threads that share contexts and call anything at random, from a seed each: channels of
 * every type come, carry numbered messages and go, while other threads use the same sockets. Of
 * each direction of a channel all that was sent is received once, in order where one thread at a
 * time sends and receives; of datagrams, nothing twice. In the end nothing is left.
 */
#include "tests/support/cmocka-all.h"

#include <dirent.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/pattern.h"
#include "tests/support/testbed.h"

#define N_THREADS  8U
#define N_CHANNELS 12U
#define N_MESSAGES 300U		/* of one direction of a channel, at most */
#define N_BYTES	   (256U << 10) /* of a stream */
#define SIZE	   40000U
#define WAIT_MS	   3 /* how long a call may wait: what it waits for may never come */

/* ---- channels that threads share ----------------------------------------------------------- */

/* One direction. A channel in order has one sender and one receiver at a time. */
struct flow {
	pthread_mutex_t sender, receiver;
	_Atomic uint32_t n_begun;
	_Atomic uint8_t sent[N_MESSAGES], seen[N_MESSAGES];
	uint32_t last_seen; /* of a channel in order: the number after it */
	uint64_t bytes_sent, bytes_seen;
	_Atomic bool ended; /* a receive has seen the end */
};

enum state { FREE, MAKING, OPEN, RETIRED };

struct shared {
	pthread_mutex_t lock;
	enum state state;
	unsigned n_users;
	int type;
	bool in_order;
	uint32_t serial;
	struct msg_sock *ends[2]; /* [1] was accepted */
	struct flow flows[2];	  /* flows[i]: sent by ends[i] */
};

static struct shared channels[N_CHANNELS];
static struct msg_ctx *ctxs[2]; /* [0] connects to [1]; they may be the same */
static struct msg_sock *listeners[LIBMSG_DGRAM + 1], *watch;
static _Atomic uint32_t n_serial, n_made, n_sent, n_seen, n_closed;
static _Atomic bool stopping;

struct thread {
	struct worker worker;
	unsigned number;
	uint64_t seed;
	char *data;
};

static uint32_t choose(struct thread *thread, uint32_t n)
{
	thread->seed = thread->seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(thread->seed >> 33) % n;
}

static bool one_in(struct thread *thread, uint32_t n)
{
	return choose(thread, n) == 0;
}

/* Any channel that has both ends, with a user more; NULL: this one has not. */
static struct shared *use(struct thread *thread)
{
	struct shared *shared = &channels[choose(thread, N_CHANNELS)];
	bool there;

	must(pthread_mutex_lock(&shared->lock) == 0);
	there = shared->state >= OPEN;
	shared->n_users += there;
	must(pthread_mutex_unlock(&shared->lock) == 0);
	return there ? shared : NULL;
}

/* All that was sent has been seen once. */
static void flow_check(const struct shared *shared, const struct flow *flow)
{
	must(flow->bytes_sent == flow->bytes_seen);
	for (uint32_t i = 0; i < N_MESSAGES; i++)
		must(shared->type == LIBMSG_DGRAM ? flow->seen[i] <= flow->sent[i]
						  : flow->seen[i] == flow->sent[i]);
}

static void flow_clear(struct flow *flow)
{
	flow->n_begun = flow->last_seen = 0;
	flow->bytes_sent = flow->bytes_seen = 0;
	flow->ended = false;
	memset((void *)flow->sent, 0, sizeof(flow->sent));
	memset((void *)flow->seen, 0, sizeof(flow->seen));
}

/* Both ends are used by nobody, and have told all that there was. */
static void take_away(struct shared *shared)
{
	for (int i = 0; i < 2; i++) {
		flow_check(shared, &shared->flows[i]);
		must(msg_close(shared->ends[i]) == 0);
		flow_clear(&shared->flows[i]);
	}
	shared->state = FREE;
	n_closed++;
}

static void unuse(struct shared *shared)
{
	must(pthread_mutex_lock(&shared->lock) == 0);
	if (--shared->n_users == 0 && shared->state == RETIRED && shared->flows[0].ended &&
		shared->flows[1].ended)
		take_away(shared);
	must(pthread_mutex_unlock(&shared->lock) == 0);
}

/* ---- making -------------------------------------------------------------------------------- */

static void set_end(struct shared *shared, int end, struct msg_sock *sock)
{
	must(msg_setopt(sock, LIBMSG_SNDTIMEO, WAIT_MS) == 0);
	must(msg_setopt(sock, LIBMSG_RCVTIMEO, WAIT_MS) == 0);
	must(pthread_mutex_lock(&shared->lock) == 0);
	must(shared->state == MAKING);
	shared->ends[end] = sock;
	if (shared->ends[!end])
		shared->state = OPEN;
	must(pthread_mutex_unlock(&shared->lock) == 0);
}

/* NULL: it is there already. */
static struct shared *reserve(struct thread *thread)
{
	struct shared *shared = &channels[choose(thread, N_CHANNELS)];
	bool got;

	must(pthread_mutex_lock(&shared->lock) == 0);
	got = shared->state == FREE && !stopping;
	if (got) {
		shared->state = MAKING;
		shared->ends[0] = shared->ends[1] = NULL;
		shared->type = 1 + (int)choose(thread, LIBMSG_DGRAM);
		shared->in_order = shared->type == LIBMSG_STREAM || one_in(thread, 2);
		shared->serial = n_serial++;
	}
	must(pthread_mutex_unlock(&shared->lock) == 0);
	return got ? shared : NULL;
}

static struct msg_sock *connect_slowly(const char *address, int type)
{
	struct msg_sock *sock = msg_connect(ctxs[0], address, type, LIBMSG_NONBLOCK, 0);
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};
	int64_t error;

	must(sock && msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1);
	must(msg_getopt(sock, LIBMSG_ERROR, &error) == 0);
	if (error) {
		errno = (int)error;
		must(msg_close(sock) == 0);
		return NULL;
	}
	must(msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 0) == 0);
	return sock;
}

static void do_connect(struct thread *thread)
{
	struct shared *shared = reserve(thread);
	uint32_t place = (uint32_t)(shared - channels);
	struct msg_sock *sock;
	char address[32];

	if (!shared)
		return;
	(void)snprintf(address, sizeof(address), "hall/any.%d", shared->type);
	do {
		sock = one_in(thread, 2)
			       ? connect_slowly(address, shared->type)
			       : msg_connect(ctxs[0], address, shared->type, 0, TESTBED_WAIT_MS);
		must(sock || errno == ECONNREFUSED); /* its backlog is full */
	} while (!sock);
	/* The end that accepts learns which one it is. */
	must(msg_send(sock, &place, sizeof(place), 0) == sizeof(place));
	set_end(shared, 0, sock);
	n_made++;
}

static void do_accept(struct thread *thread)
{
	struct msg_sock *sock = msg_accept(listeners[1 + choose(thread, LIBMSG_DGRAM)], 0);
	uint32_t place;

	if (!sock) {
		must(errno == EAGAIN);
		return;
	}
	must(msg_recv(sock, &place, sizeof(place), MSG_WAITALL) == sizeof(place));
	must(place < N_CHANNELS);
	set_end(&channels[place], 1, sock);
}

/* ---- sending ------------------------------------------------------------------------------- */

static int some_flags(struct thread *thread)
{
	return (one_in(thread, 3) ? MSG_DONTWAIT : 0) | (one_in(thread, 4) ? MSG_MORE : 0);
}

static void may_fail_sending(void)
{
	must(errno == EAGAIN || errno == EPIPE);
}

static uint32_t some_length(struct thread *thread)
{
	uint32_t len = one_in(thread, 24) ? choose(thread, SIZE) : choose(thread, 600);

	return max_u32(len, sizeof(struct stamp));
}

/* Returns how many were sent. */
static int send_messages(
	struct thread *thread, struct msg_sock *sock, const struct iovec *iov, int n, int flags)
{
	struct mmsghdr messages[3] = {0};
	ssize_t r;

	for (int i = 0; i < n; i++)
		messages[i].msg_hdr = (struct msghdr){
			.msg_iov = (struct iovec *)(uintptr_t)&iov[i], .msg_iovlen = 1};
	if (n > 1)
		return msg_sendmmsg(sock, messages, (unsigned)n, flags);
	r = one_in(thread, 2) ? msg_send(sock, iov->iov_base, iov->iov_len, flags)
			      : msg_sendmsg(sock, &messages[0].msg_hdr, flags);
	must(r < 0 || r == (ssize_t)iov->iov_len);
	return r < 0 ? -1 : 1;
}

static void send_numbered(
	struct thread *thread, struct shared *shared, struct flow *flow, struct msg_sock *sock)
{
	int n = one_in(thread, 4) ? 3 : 1, sent;
	uint32_t first = atomic_fetch_add(&flow->n_begun, (uint32_t)n), len;
	struct iovec iov[3];

	if (first + (uint32_t)n > N_MESSAGES)
		return;
	for (int i = 0; i < n; i++) {
		len = some_length(thread);
		iov[i] =
			(struct iovec){.iov_base = thread->data + (size_t)i * SIZE, .iov_len = len};
		stamp_make(iov[i].iov_base, shared->serial, first + (uint32_t)i, len);
	}
	sent = send_messages(thread, sock, iov, n, some_flags(thread));
	if (sent < 0)
		may_fail_sending();
	for (int i = 0; i < sent; i++)
		flow->sent[first + (uint32_t)i] = 1;
	n_sent += (uint32_t)max_u32(0, sent < 0 ? 0 : (uint32_t)sent);
}

/* Byte i of a stream follows from i. */
static void stream_fill(const struct shared *shared, uint64_t at, char *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		data[i] = (char)pattern_word(shared->serial, (at + i) / 64);
}

static void send_bytes(
	struct thread *thread, struct shared *shared, struct flow *flow, struct msg_sock *sock)
{
	uint32_t len = 1 + choose(thread, one_in(thread, 8) ? SIZE : 500);
	ssize_t r;

	if (flow->bytes_sent + len > N_BYTES)
		return;
	stream_fill(shared, flow->bytes_sent, thread->data, len);
	r = msg_send(sock, thread->data, len, some_flags(thread));
	if (r < 0)
		may_fail_sending();
	else
		flow->bytes_sent += (uint64_t)r;
}

static void do_send(struct thread *thread)
{
	struct shared *shared = use(thread);
	int end = (int)choose(thread, 2);
	struct flow *flow = shared ? &shared->flows[end] : NULL;

	if (!shared)
		return;
	if (!shared->in_order || pthread_mutex_trylock(&flow->sender) == 0) {
		if (shared->type == LIBMSG_STREAM)
			send_bytes(thread, shared, flow, shared->ends[end]);
		else
			send_numbered(thread, shared, flow, shared->ends[end]);
		if (shared->in_order)
			must(pthread_mutex_unlock(&flow->sender) == 0);
	}
	unuse(shared);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void take_message(struct shared *shared, struct flow *flow, const void *data, ssize_t len)
{
	struct stamp stamp = stamp_check(data, len);

	must(stamp.stream == shared->serial && stamp.number < N_MESSAGES);
	must(atomic_fetch_add(&flow->seen[stamp.number], 1) == 0);
	n_seen++;
	if (!shared->in_order)
		return;
	must(stamp.number >= flow->last_seen);
	flow->last_seen = stamp.number + 1;
}

static void take_bytes(struct shared *shared, struct flow *flow, const char *data, ssize_t len)
{
	for (ssize_t i = 0; i < len; i++)
		must(data[i] ==
			(char)pattern_word(shared->serial, (flow->bytes_seen + (uint64_t)i) / 64));
	flow->bytes_seen += (uint64_t)len;
}

static void take(struct shared *shared, struct flow *flow, const void *data, ssize_t len)
{
	if (len == 0)
		flow->ended = true;
	else if (len < 0)
		must(errno == EAGAIN);
	else if (shared->type == LIBMSG_STREAM)
		take_bytes(shared, flow, data, len);
	else
		take_message(shared, flow, data, len);
}

static void receive_taken(struct shared *shared, struct flow *flow, struct msg_sock *sock)
{
	struct msg_buf *buf = NULL;
	const void *data = NULL;
	ssize_t len = msg_recv_take(sock, 0, &data, &buf);

	take(shared, flow, data, len);
	if (len > 0)
		msg_buf_free(buf);
}

static void receive_many(
	struct thread *thread, struct shared *shared, struct flow *flow, struct msg_sock *sock)
{
	struct mmsghdr messages[3] = {0};
	struct iovec iov[3];
	int n;

	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){
			.iov_base = thread->data + (size_t)i * SIZE, .iov_len = SIZE};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	n = msg_recvmmsg(sock, messages, 3, one_in(thread, 2) ? MSG_WAITFORONE : 0, WAIT_MS);
	if (n <= 0)
		take(shared, flow, NULL, n);
	for (int i = 0; i < n; i++)
		take(shared, flow, iov[i].iov_base, messages[i].msg_len);
}

static void receive(
	struct thread *thread, struct shared *shared, struct flow *flow, struct msg_sock *sock)
{
	struct iovec iov = {.iov_base = thread->data, .iov_len = SIZE};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t len;

	switch (choose(thread, 5)) {
	case 0:
		receive_taken(shared, flow, sock);
		break;
	case 1:
		receive_many(thread, shared, flow, sock);
		break;
	case 2:
		len = msg_recvmsg(sock, &message, 0);
		take(shared, flow, thread->data, len);
		break;
	case 3:
		len = msg_recv(sock, thread->data, SIZE, MSG_PEEK | MSG_DONTWAIT);
		must(len >= 0 || errno == EAGAIN);
		break;
	default:
		len = msg_recv(sock, thread->data, SIZE, one_in(thread, 2) ? MSG_DONTWAIT : 0);
		take(shared, flow, thread->data, len);
		break;
	}
}

static void do_receive(struct thread *thread)
{
	struct shared *shared = use(thread);
	int from = (int)choose(thread, 2);
	struct flow *flow = shared ? &shared->flows[from] : NULL;

	if (!shared)
		return;
	if (!shared->in_order || pthread_mutex_trylock(&flow->receiver) == 0) {
		receive(thread, shared, flow, shared->ends[!from]);
		if (shared->in_order)
			must(pthread_mutex_unlock(&flow->receiver) == 0);
	}
	unuse(shared);
}

/* ---- beside data --------------------------------------------------------------------------- */

/* Nothing is sent any more: what is there is received, and then the end. */
static void do_retire(struct thread *thread)
{
	struct shared *shared;

	if (!stopping && !one_in(thread, 6))
		return;
	shared = use(thread);
	if (!shared)
		return;
	must(pthread_mutex_lock(&shared->lock) == 0);
	shared->state = RETIRED;
	must(pthread_mutex_unlock(&shared->lock) == 0);
	for (int i = 0; i < 2; i++) {
		must(msg_setopt(shared->ends[i], LIBMSG_LINGER, WAIT_MS) == 0);
		must(msg_shutdown(shared->ends[i], SHUT_WR) == 0);
		must(msg_setopt(shared->ends[i], LIBMSG_LINGER, TESTBED_WAIT_MS) == 0);
	}
	unuse(shared);
}

static void do_options(struct thread *thread)
{
	static const int options[] = {LIBMSG_RCVTIMEO, LIBMSG_SNDTIMEO, LIBMSG_RCVBUF,
		LIBMSG_SNDBUF, LIBMSG_CORK, LIBMSG_EVENTS, LIBMSG_SPIN};
	struct shared *shared = use(thread);
	struct msg_peer peer = {.size = sizeof(peer)};
	struct msg_sock *sock;
	int64_t value;
	int option;

	if (!shared)
		return;
	sock = shared->ends[choose(thread, 2)];
	must(msg_getpeer(sock, &peer) == 0 && strncmp(peer.name, "any.", 4) == 0);
	must(msg_getopt(sock, LIBMSG_TYPE, &value) == 0 && value == shared->type);
	must(msg_getopt(sock, LIBMSG_DROPS, &value) == 0);
	option = options[choose(thread, ARRAY_SIZE(options))];
	must(msg_getopt(sock, option, &value) == 0 && msg_setopt(sock, option, value) == 0);
	must(msg_setopt(sock, LIBMSG_TYPE, 1) < 0 && errno == ENOPROTOOPT);
	must(strstr(msg_reason(), "read"));
	msg_set_userdata(sock, shared);
	must(msg_userdata(sock) == shared);
	unuse(shared);
}

static void do_flush(struct thread *thread)
{
	struct shared *shared = use(thread);

	if (!shared)
		return;
	must(msg_flush(shared->ends[choose(thread, 2)]) == 0);
	unuse(shared);
}

static void do_poll(struct thread *thread)
{
	struct shared *shared = use(thread), *other = use(thread);
	struct msg_pollfd fds[3] = {
		{.sock = listeners[1 + choose(thread, LIBMSG_DGRAM)], .events = POLLIN}};

	if (ctxs[0] != ctxs[1])
		fds[0].sock = NULL;
	if (shared)
		fds[1] = (struct msg_pollfd){.sock = shared->ends[0], .events = POLLIN};
	if (other)
		fds[2] = (struct msg_pollfd){.sock = other->ends[0], .events = POLLIN | POLLOUT};
	if (fds[0].sock || fds[1].sock || fds[2].sock)
		must(msg_poll(fds, 3, WAIT_MS) >= 0);
	if (shared)
		unuse(shared);
	if (other)
		unuse(other);
}

/* Of the sockets that are ready nothing is known: other threads may close them. */
static void do_dispatch(struct thread *thread)
{
	struct msg_ctx *ctx = ctxs[choose(thread, 2)];
	struct msg_event events[4];

	if (one_in(thread, 16))
		must(msg_ctx_fd(ctx) >= 0);
	must(msg_ctx_dispatch(ctx, events, 4) >= 0);
}

static void log_nothing(void *arg, int priority, const char *line)
{
	must(strlen(line) > 0);
}

/* Objects that no other thread knows: names, connects that are given up, watches. */
static void do_own(struct thread *thread)
{
	struct msg_ctx *ctx = ctxs[choose(thread, 2)];
	struct msg_sock *sock;
	char name[32], text[200];

	msg_ctx_set_log(ctx, log_nothing, NULL);
	must(msg_ctx_set_transport(ctx, LIBMSG_TRANSPORT_ANY) == 0);
	(void)snprintf(name, sizeof(name), "own.%u", thread->number);
	switch (choose(thread, 4)) {
	case 0:
		sock = msg_listen(ctx, name, LIBMSG_SEQPACKET, 4, 0);
		must(sock && msg_setopt(sock, LIBMSG_RCVTIMEO, 0) == 0);
		must_fail_null(msg_accept(sock, 0), EAGAIN);
		break;
	case 1:
		sock = msg_connect(
			ctx, "hall/nobody", LIBMSG_STREAM, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, 0);
		must(sock && msg_shutdown(sock, SHUT_RDWR) == 0);
		must_fail(msg_send(sock, "x", 1, 0), ENOTCONN);
		break;
	case 2:
		sock = msg_watch(ctx, "hall/any.*");
		must(sock && msg_recv(sock, text, sizeof(text), 0) > 0);
		break;
	default:
		sock = msg_listen(ctx, name, LIBMSG_STREAM, 1, LIBMSG_NONBLOCK);
		must(sock && (msg_shutdown(sock, SHUT_RD) == 0 || errno == ENOTCONN));
		break;
	}
	must(msg_close(sock) == 0);
}

static void do_watch(struct thread *thread)
{
	char text[200];
	ssize_t len = msg_recv(watch, text, sizeof(text), one_in(thread, 2) ? MSG_DONTWAIT : 0);

	must(len >= 0 || errno == EAGAIN);
	must(len <= 0 || ((text[0] == '+' || text[0] == '-') && memchr(text, '/', (size_t)len)));
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void (*const doings[])(struct thread *thread) = {do_connect, do_connect, do_accept,
	do_accept, do_send, do_send, do_send, do_send, do_send, do_send, do_receive, do_receive,
	do_receive, do_receive, do_receive, do_receive, do_receive, do_receive, do_retire,
	do_options, do_flush, do_poll, do_dispatch, do_own, do_watch};

static bool all_free(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_CHANNELS; i++) {
		must(pthread_mutex_lock(&channels[i].lock) == 0);
		n += channels[i].state == FREE;
		must(pthread_mutex_unlock(&channels[i].lock) == 0);
	}
	return n == N_CHANNELS;
}

static uint32_t n_doings(void)
{
	const char *text = getenv("ANYTHING_DOINGS");

	return text ? (uint32_t)strtoul(text, NULL, 0) : 3000;
}

static void thread_run(void *arg)
{
	static void (*const ending[])(struct thread * thread) = {
		do_accept, do_receive, do_receive, do_receive, do_retire};
	struct thread *thread = arg;

	for (uint32_t i = 0; i < n_doings(); i++)
		doings[choose(thread, ARRAY_SIZE(doings))](thread);
	stopping = true;
	while (!all_free())
		ending[choose(thread, ARRAY_SIZE(ending))](thread);
}

static void run_threads(uint64_t seed)
{
	static struct thread threads[N_THREADS];

	stopping = false;
	for (unsigned i = 0; i < N_THREADS; i++) {
		threads[i] = (struct thread){
			.number = i, .seed = seed + i, .data = malloc((size_t)3 * SIZE)};
		must(threads[i].data);
		worker_start(&threads[i].worker, thread_run, &threads[i]);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		worker_join(&threads[i].worker);
		free(threads[i].data);
	}
}

static unsigned count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	must(dir);
	while (readdir(dir))
		n++;
	must(closedir(dir) == 0);
	return n;
}

static void open_all(bool to_itself)
{
	char name[16];

	ctxs[1] = testbed_ctx("hall", 0);
	ctxs[0] = to_itself ? ctxs[1] : testbed_ctx("street", 0);
	for (int type = 1; type <= LIBMSG_DGRAM; type++) {
		(void)snprintf(name, sizeof(name), "any.%d", type);
		listeners[type] = msg_listen(ctxs[1], name, type, 4, 0);
		must(listeners[type]);
		must(msg_setopt(listeners[type], LIBMSG_RCVTIMEO, WAIT_MS) == 0);
	}
	watch = msg_watch(ctxs[0], "*");
	must(watch && msg_setopt(watch, LIBMSG_RCVTIMEO, WAIT_MS) == 0);
}

/* Nothing is left: no name at msgd, no descriptor here. */
static void close_all(unsigned n_descriptors)
{
	struct msg_ctx *ctx;
	char text[200];

	for (int type = 1; type <= LIBMSG_DGRAM; type++)
		must(msg_close(listeners[type]) == 0);
	must(msg_close(watch) == 0);
	msg_ctx_close(ctxs[0]);
	if (ctxs[1] != ctxs[0])
		msg_ctx_close(ctxs[1]);
	must(count_descriptors() == n_descriptors);
	ctx = testbed_ctx("hall", 0);
	watch = msg_watch(ctx, "*");
	must(watch && msg_recv(watch, text, sizeof(text), 0) == 0);
	msg_ctx_close(ctx);
}

static void run(bool to_itself)
{
	unsigned n_descriptors;

	testbed_watchdog(300);
	msg_ctx_close(testbed_ctx("hall", 0)); /* sets up all that a process sets up once */
	n_descriptors = count_descriptors();
	n_made = n_sent = n_seen = n_closed = 0;
	open_all(to_itself);
	run_threads(to_itself ? 1 : 1000);
	must(n_made == n_closed);
	(void)printf("%u channels, %u messages sent, %u received\n", n_made, n_sent, n_seen);
	must(n_made >= n_doings() / 100 && n_seen >= n_doings() / 4);
	close_all(n_descriptors);
	testbed_watchdog(0);
}

static void test_two_contexts(void **state)
{
	run(false);
}

static void test_one_context(void **state)
{
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_contexts),
		cmocka_unit_test(test_one_context),
	};

	for (unsigned i = 0; i < N_CHANNELS; i++) {
		must(pthread_mutex_init(&channels[i].lock, NULL) == 0);
		for (int j = 0; j < 2; j++) {
			must(pthread_mutex_init(&channels[i].flows[j].sender, NULL) == 0);
			must(pthread_mutex_init(&channels[i].flows[j].receiver, NULL) == 0);
		}
	}
	return cmocka_run_group_tests_name("anything", tests, testbed_setup, testbed_teardown);
}
