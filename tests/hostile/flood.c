/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Peers that publish without end. The attacker connects as any other, and then writes frames
 * through libmsg's insides, as fast as it can; when its link is reset it connects again.
 *
 *	flood victim NAME COUNTER    takes channels in; reads all, and measures each call's CPU time
 *	flood attack ADDRESS KIND    one of `kinds`
 *
 * The victim counts in COUNTER the messages that come from other domains than "hostile". After
 * SIGTERM it prints how much CPU time its dearest call took.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"
#include "libmsg/transport/argo.h"

static _Noreturn void fail(const char *what)
{
	printf("error: %s: %s (%s)\n", what, msg_reason(), strerrordesc_np(errno));
	exit(1);
}

/* ---- the victim ------------------------------------------------------------------------- */

#define SOCKS_MAX 1024
/* CPU time of a call that does not block; instrumented code takes several times as long. */
#if defined(__SANITIZE_ADDRESS__)
#define CALL_CPU_NS 50000000U
#else
#define CALL_CPU_NS 5000000U
#endif
/* A call that may block for so long: it may use the CPU meanwhile. */
#define LIMIT_MS 1U

static volatile sig_atomic_t stopped;
static struct msg_sock *socks[SOCKS_MAX];
static bool honest[SOCKS_MAX];
static struct msg_pollfd fds[SOCKS_MAX + 1]; /* the last is the listener */
static uint64_t n_honest, n_calls, dearest_ns;
static const char *dearest = "none";
static int counter = -1;

static void on_term(int sig)
{
	stopped = 1;
}

static void on_log(void *arg, int priority, const char *line)
{
	printf("log %d: %s\n", priority, line);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* The call since began_ns, which had a limit. */
static void measured(const char *call, uint64_t began_ns, unsigned limit_ms)
{
	uint64_t ns = cpu_ns() - began_ns;

	ns = ns > limit_ms * 1000000U ? ns - limit_ms * 1000000U : 0;
	n_calls++;
	if (ns <= dearest_ns)
		return;
	dearest_ns = ns;
	dearest = call;
}

static void take_new(struct msg_sock *listener)
{
	uint64_t began = cpu_ns();
	struct msg_sock *sock = msg_accept(listener, LIBMSG_NONBLOCK);
	struct msg_peer peer = {.size = sizeof(peer)};
	size_t i = 0;

	measured("accept", began, 0);
	if (!sock)
		return;
	while (i < SOCKS_MAX && socks[i])
		i++;
	if (i == SOCKS_MAX || msg_getpeer(sock, &peer) < 0) {
		(void)msg_close(sock);
		return;
	}
	socks[i] = fds[i].sock = sock;
	fds[i].events = POLLIN;
	honest[i] = strcmp(peer.domain, "hostile") != 0;
}

/* A message, or nothing. False: the channel is over. */
static bool take_message(size_t i, unsigned limit_ms)
{
	static char bytes[65536];
	uint64_t began;
	ssize_t n;

	if (limit_ms) {
		(void)msg_setopt(socks[i], LIBMSG_NONBLOCK_OPT, 0);
		(void)msg_setopt(socks[i], LIBMSG_RCVTIMEO, limit_ms);
	}
	began = cpu_ns();
	errno = 0;
	n = msg_recv(socks[i], bytes, sizeof(bytes), MSG_TRUNC);
	measured(limit_ms ? "recv with a limit" : "recv", began, limit_ms);
	if (limit_ms)
		(void)msg_setopt(socks[i], LIBMSG_NONBLOCK_OPT, 1);
	if (n > 0 && honest[i] && ++n_honest % 64 == 0 &&
		pwrite(counter, &n_honest, sizeof(n_honest), 0) < 0)
		fail("counter");
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void drop(size_t i)
{
	uint64_t began = cpu_ns();

	(void)msg_close(socks[i]);
	measured("close", began, 0);
	socks[i] = fds[i].sock = NULL;
}

static void look_once(struct msg_sock *listener, unsigned round)
{
	size_t slow = round % SOCKS_MAX; /* each has a call with a limit now and then */
	uint64_t began;

	take_new(listener);
	for (size_t i = 0; i < SOCKS_MAX; i++) {
		for (int n = 0; socks[i] && n < (honest[i] ? 64 : 4); n++) {
			if (!take_message(i, i == slow && n == 0 ? LIMIT_MS : 0))
				drop(i);
		}
	}
	began = cpu_ns();
	(void)msg_poll(fds, SOCKS_MAX + 1, (int)LIMIT_MS);
	measured("poll", began, LIMIT_MS);
}

static int victim(const char *name, const char *counter_path)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, 15000);
	struct msg_sock *listener = NULL;

	(void)signal(SIGTERM, on_term);
	printf("pid %d\n", getpid());
	counter = open(counter_path, O_WRONLY | O_CLOEXEC);
	if (ctx)
		listener = msg_listen(ctx, name, LIBMSG_SEQPACKET, 128, LIBMSG_NONBLOCK);
	if (!listener || counter < 0)
		fail("victim");
	msg_ctx_set_log(ctx, on_log, NULL);
	printf("listening\n");
	fds[SOCKS_MAX] = (struct msg_pollfd){.sock = listener, .events = POLLIN};
	for (unsigned round = 0; !stopped; round++)
		look_once(listener, round);
	for (size_t i = 0; i < SOCKS_MAX; i++) {
		if (socks[i])
			(void)msg_close(socks[i]);
	}
	(void)msg_close(listener);
	msg_ctx_close(ctx);
	printf("dearest of %llu calls: %llu us for %s\n", (unsigned long long)n_calls,
		(unsigned long long)dearest_ns / 1000, dearest);
	printf(dearest_ns > CALL_CPU_NS ? "too dear\n" : "ok\n");
	return 0;
}

/* ---- the attacker ----------------------------------------------------------------------- */

/* Frames after which it looks whether its link still stands. */
#define BURST 256

static struct msg_ctx *ctx;
static struct msg_sock *sock;
static struct channel *channel;
static struct transport *transport; /* of the link to the victim */
static uint8_t payload[FRAME_PAYLOAD_MAX];
static struct hv_ring *other_ring; /* which the victim does not know */

static void ring_bell(void)
{
	if (transport->port)
		(void)transport->hv->ops->evtchn_send(transport->hv, transport->port);
}

/* If the ring is full, the frame is lost. */
static void tell(struct frame frame)
{
	struct iovec iov = {.iov_base = payload, .iov_len = frame.len};
	struct iov_cursor cursor;

	frame.channel = channel->number;
	cursor_init(&cursor, &iov, 1);
	if (transport->ops->put(transport, &frame, frame.len, &cursor, false) >= 0)
		(void)transport->ops->push(transport);
	transport->retry_ns = 0; /* at once, whatever the hypervisor says */
	transport->ops->not_armed(transport);
}

static void flood_limit(void)
{
	tell((struct frame){.type = FRAME_LIMIT, .arg = 5000});
}

static void flood_credit(void)
{
	tell((struct frame){.type = FRAME_CREDIT, .arg = 1});
}

static void flood_empty(void)
{
	tell((struct frame){.type = FRAME_DATA, .flags = FRAME_FIRST | FRAME_LAST});
}

static void flood_shutdown(void)
{
	tell((struct frame){.type = FRAME_SHUTDOWN});
}

/* As the rules have it: a flood that lasts. */
static void flood_paid(void)
{
	(void)msg_send(sock, payload, 0, MSG_DONTWAIT);
}

/* One message in fragments without end, each paid from the credit that is given for it. */
static void flood_shreds(void)
{
	struct frame frame = {.type = FRAME_DATA};
	char byte;

	if (channel->tx_credit < FRAME_CHARGE) {
		(void)msg_recv(sock, &byte, 1, 0);
		return;
	}
	channel->tx_credit -= FRAME_CHARGE;
	if (!channel->tx_inside) {
		channel->tx_inside = true;
		frame.flags = FRAME_FIRST;
		frame.arg = MESSAGE_MAX_DEFAULT;
	}
	tell(frame);
}

/* Events without frames. */
static void flood_events(void)
{
	ring_bell();
}

/* Over Argo: 4096 frames in one message. */
static void flood_batch(void)
{
	struct frame frame = {.channel = channel->number, .type = FRAME_LIMIT, .arg = 5000};
	struct iovec iov = {.iov_base = payload, .iov_len = sizeof(payload)};

	for (size_t off = 0; off < sizeof(payload); off += FRAME_HEADER_SIZE)
		frame_encode(&frame, payload + off);
	(void)transport->hv->ops->argo_sendv(
		transport->hv, argo_of(transport)->ring, &iov, 1, FRAME_MESSAGE_TYPE);
	ring_bell();
}

/* Over Argo: messages from another ring of this domain, as any of its processes can send. */
static void flood_strange(void)
{
	const struct hv_ops *ops = transport->hv->ops;
	struct iovec iov = {.iov_base = payload, .iov_len = 16};

	if (!other_ring && (ops->argo_register(transport->hv, 0, transport->peer_domid, 4096,
				    &other_ring) < 0 ||
				   ops->argo_peer(transport->hv, other_ring,
					   argo_of(transport)->peer_aport) < 0))
		fail("another ring");
	(void)ops->argo_sendv(transport->hv, other_ring, &iov, 1, FRAME_MESSAGE_TYPE);
	ring_bell();
}

static const struct kind {
	const char *name;
	void (*fn)(void);
} kinds[] = {
	{"limit", flood_limit},
	{"credit", flood_credit},
	{"empty", flood_empty},
	{"shutdown", flood_shutdown},
	{"paid", flood_paid},
	{"shreds", flood_shreds},
	{"events", flood_events},
	{"batch", flood_batch},
	{"strange", flood_strange},
};

static void connect_to(const char *address)
{
	sock = msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 15000);
	if (!sock)
		return;
	(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1);
	channel = sock->channel;
	if (channel->set)
		transport = channel->set->transport;
}

/* Until its link is gone. */
static void attack_once(const struct kind *kind)
{
	char byte;

	do {
		for (int i = 0; i < BURST && channel->set; i++)
			kind->fn();
		errno = 0;
		if (msg_recv(sock, &byte, 1, 0) < 0 && errno != EAGAIN)
			break;
	} while (channel->set);
	(void)msg_close(sock);
	if (other_ring)
		(void)ctx->hv->ops->argo_unregister(ctx->hv, other_ring);
	other_ring = NULL;
}

static int attack(const char *address, const char *name)
{
	const struct kind *kind = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].name, name) == 0)
			kind = &kinds[i];
	}
	ctx = msg_ctx_open(NULL, 0, 15000);
	if (!ctx || !kind)
		fail("attack");
	for (;;) {
		connect_to(address);
		if (sock)
			attack_once(kind);
	}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && strcmp(argv[1], "victim") == 0)
		return victim(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "attack") == 0)
		return attack(argv[2], argv[3]);
	fail("usage");
}
