/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How channels share what they have in common. bench/run --case=fair starts it, after an emulator,
 * msgd and the domains left and right. Eight channels of the domain right send to the
 * domain left as fast as they can, and bytes are counted where they arrive:
 *
 *	8 threads		of one context, over one link, to eight threads
 *	an event loop		over one link, to an event loop
 *	8 processes		with a link each, to an event loop
 *	8 processes to threads	the same, to eight threads of one context
 *	8 threads to processes	of one context, with a link to each of eight processes
 *
 * Processes have the time that the scheduler gives them; on a busy machine, shares differ by that.
 * Hence the ratio of bytes by the time of a process's CPU is printed, too; where one waits for the
 * others it says little. A case is called unfair if both are.
 *
 *	msgbench-fair [--mib=N] [--ms=N] [--case=TEXT] [--gate] HV
 *
 * A case ends when the receiver has got so many MiB, or the time is over. --mib alone: no time is
 * looked at, so that the outcome does not depend on the machine's speed. --gate: the status is 1 if
 * the channel with the fewest bytes has less than LIMIT of the most.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define CHANNELS    8U
#define LIMIT	    0.8
#define LEN_MAX	    65536U
#define TIMEOUT_MS  20000
#define STUCK_AFTER 100 /* seconds */

static const struct shape {
	const char *name;
	bool processes_send, processes_receive; /* one for each channel; else one for all */
	bool loop_sends, loop_receives;		/* else a thread for each channel */
} shapes[] = {{"8 threads", false, false, false, false},
	{"an event loop", false, false, true, true}, {"8 processes", true, false, false, true},
	{"8 processes to threads", true, false, false, false},
	{"8 threads to processes", false, true, false, false}};

static const struct {
	const char *name;
	int transport;
} rings[] = {{"grant", LIBMSG_TRANSPORT_GRANT}, {"argo", LIBMSG_TRANSPORT_ARGO},
	{"argo-strict", LIBMSG_TRANSPORT_ARGO_STRICT}};

struct fair_case {
	const struct shape *shape;
	int transport, type;
	size_t len;
};

struct shared {
	atomic_uint n_ready;
	atomic_bool stop;
	_Atomic uint64_t bytes[CHANNELS], sum;
	uint64_t cpu_ns[CHANNELS]; /* of a channel's own process, if it has one */
};

static struct shared *shared;
static struct fair_case fair;
static const char *hv;
static uint64_t most_bytes, run_ms;
static const char zeros[LEN_MAX];

static _Noreturn void fail(const char *what)
{
	if (shared->stop)
		_exit(0); /* the receiver has left */
	bench_fail(what);
}

static struct msg_ctx *ctx_open(const char *domain)
{
	return bench_context(hv, domain, 0, fair.transport, TIMEOUT_MS);
}

/* ---- senders ------------------------------------------------------------------------- */

/* "fair", or the name of that channel's own receiver. */
static void name_of(unsigned index, char name[static 8])
{
	(void)snprintf(name, 8, fair.shape->processes_receive ? "fair%u" : "fair", index);
}

/* The first message says which channel it is. */
static struct msg_sock *channel_open(struct msg_ctx *ctx, unsigned index)
{
	char byte = (char)index, name[8], path[16];
	struct msg_sock *sock;

	name_of(index, name);
	(void)snprintf(path, sizeof(path), "left/%s", name);
	sock = msg_connect(ctx, path, fair.type, LIBMSG_WAIT_NAME, TIMEOUT_MS);

	if (!sock || msg_send(sock, &byte, 1, 0) != 1)
		fail("connect");
	return sock;
}

static void all_ready(unsigned n)
{
	shared->n_ready += n;
	while (shared->n_ready < CHANNELS && !shared->stop)
		(void)usleep(1000);
}

static void *send_thread(void *sock)
{
	all_ready(1);
	while (!shared->stop) {
		if (msg_send(sock, zeros, fair.len, 0) < 0)
			fail("send");
	}
	return NULL;
}

/* The time is set down as it goes: the receiver's end may end this process. */
static void send_alone(unsigned index)
{
	struct msg_sock *sock = channel_open(ctx_open("right"), index);

	all_ready(1);
	while (!shared->stop) {
		if (msg_send(sock, zeros, fair.len, 0) < 0)
			fail("send");
		shared->cpu_ns[index] = thread_cpu_ns();
	}
}

static void send_threads(void)
{
	struct msg_ctx *ctx = ctx_open("right");
	pthread_t threads[CHANNELS];
	struct msg_sock *socks[CHANNELS];

	for (unsigned i = 0; i < CHANNELS; i++)
		socks[i] = channel_open(ctx, i);
	for (unsigned i = 0; i < CHANNELS; i++) {
		if (pthread_create(&threads[i], NULL, send_thread, socks[i]))
			errx(1, "no thread");
	}
	for (unsigned i = 0; i < CHANNELS; i++)
		(void)pthread_join(threads[i], NULL);
}

/* One message for each event: a loop that sends until it is refused serves one for ever. */
static void send_ready(struct msg_sock *sock)
{
	if (msg_send(sock, zeros, fair.len, MSG_DONTWAIT) < 0 && errno != EAGAIN)
		fail("send");
}

static void send_loop(void)
{
	struct msg_ctx *ctx = ctx_open("right");
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};
	struct msg_sock *socks[CHANNELS];
	struct msg_event events[CHANNELS];

	for (unsigned i = 0; i < CHANNELS; i++) {
		socks[i] = channel_open(ctx, i);
		if (msg_setopt(socks[i], LIBMSG_EVENTS, POLLOUT) < 0)
			fail("events");
	}
	all_ready(CHANNELS);
	while (!shared->stop) {
		int n;

		if (poll(&fd, 1, 1000) < 0)
			err(1, "poll");
		n = msg_ctx_dispatch(ctx, events, (int)CHANNELS);
		for (int i = 0; i < n; i++)
			send_ready(events[i].sock);
	}
}

/* ---- the receiver -------------------------------------------------------------------- */

static struct msg_sock *accepted[CHANNELS];
static unsigned index_of[CHANNELS];

/* Bytes before all have begun are nobody's. */
static void count(unsigned i, ssize_t n)
{
	if (n < 0)
		fail("recv");
	if (shared->n_ready < CHANNELS)
		return;
	shared->bytes[index_of[i]] += (uint64_t)n;
	if (atomic_fetch_add(&shared->sum, (uint64_t)n) + (uint64_t)n >= most_bytes)
		shared->stop = true;
}

/* So many channels of a receiver, which is the one for this channel or for all. */
static void accept_all(struct msg_ctx *ctx, unsigned index, unsigned n)
{
	char byte, name[8];
	struct msg_sock *listener;

	name_of(index, name);
	listener = msg_listen(ctx, name, fair.type, (int)CHANNELS, 0);
	for (unsigned i = 0; i < n; i++) {
		accepted[i] = listener ? msg_accept(listener, 0) : NULL;
		if (!accepted[i] || msg_recv(accepted[i], &byte, 1, 0) != 1)
			fail("accept");
		index_of[i] = (unsigned)byte;
	}
}

static void *recv_thread(void *arg)
{
	static _Thread_local char bytes[LEN_MAX];
	unsigned i = (unsigned)(uintptr_t)arg;

	while (!shared->stop)
		count(i, msg_recv(accepted[i], bytes, sizeof(bytes), 0));
	_exit(0);
}

static void recv_threads(void)
{
	pthread_t thread;

	for (unsigned i = 1; i < CHANNELS; i++) {
		if (pthread_create(&thread, NULL, recv_thread, (void *)(uintptr_t)i))
			errx(1, "no thread");
	}
	(void)recv_thread(NULL);
}

static void recv_loop(struct msg_ctx *ctx)
{
	static char bytes[LEN_MAX];
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};
	struct msg_event events[CHANNELS];

	for (uintptr_t i = 0; i < CHANNELS; i++)
		msg_set_userdata(accepted[i], (void *)i);
	while (!shared->stop) {
		int n;

		if (poll(&fd, 1, 1000) < 0)
			err(1, "poll");
		n = msg_ctx_dispatch(ctx, events, (int)CHANNELS);
		for (int i = 0; i < n && !shared->stop; i++) {
			ssize_t r = msg_recv(events[i].sock, bytes, sizeof(bytes), MSG_DONTWAIT);

			if (r < 0 && errno == EAGAIN)
				continue;
			count((unsigned)(uintptr_t)msg_userdata(events[i].sock), r);
		}
	}
}

static void recv_alone(unsigned index)
{
	static char bytes[LEN_MAX];

	while (!shared->stop) {
		count(0, msg_recv(accepted[0], bytes, sizeof(bytes), 0));
		shared->cpu_ns[index] = thread_cpu_ns();
	}
}

static void receive(unsigned index)
{
	struct msg_ctx *ctx = ctx_open("left");

	accept_all(ctx, index, fair.shape->processes_receive ? 1 : CHANNELS);
	if (fair.shape->processes_receive)
		recv_alone(index);
	else if (fair.shape->loop_receives)
		recv_loop(ctx);
	else
		recv_threads();
}

/* ---- cases --------------------------------------------------------------------------- */

static pid_t child(void (*run)(unsigned), unsigned index)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)alarm(STUCK_AFTER);
	run(index);
	_exit(0);
}

static void send_all(unsigned index)
{
	if (fair.shape->processes_send)
		send_alone(index);
	else if (fair.shape->loop_sends)
		send_loop();
	else
		send_threads();
}

static void await_child(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "a process failed: %x", status);
}

/* The shares of all bytes, and the ratios of the least to the most: *ret_by_time is by CPU time. */
static double print_shares(double *ret_by_time)
{
	double bytes[CHANNELS], by_time[CHANNELS];

	for (unsigned i = 0; i < CHANNELS; i++) {
		bytes[i] = (double)shared->bytes[i];
		by_time[i] = bytes[i] / (double)(shared->cpu_ns[i] ? shared->cpu_ns[i] : 1);
		printf(" %5.1f", bytes[i] * 100 / (double)shared->sum);
	}
	*ret_by_time = least(by_time, CHANNELS) / most(by_time, CHANNELS);
	return least(bytes, CHANNELS) / most(bytes, CHANNELS);
}

static void run_case(void)
{
	unsigned n_senders = fair.shape->processes_send ? CHANNELS : 1;
	unsigned n_receivers = fair.shape->processes_receive ? CHANNELS : 1, n = 0;
	pid_t pids[2 * CHANNELS];

	memset(shared, 0, sizeof(*shared));
	for (unsigned i = 0; i < n_receivers; i++)
		pids[n++] = child(receive, i);
	for (unsigned i = 0; i < n_senders; i++)
		pids[n++] = child(send_all, i);
	if (run_ms) {
		while (shared->n_ready < CHANNELS)
			(void)usleep(1000);
		(void)usleep((useconds_t)run_ms * 1000);
		shared->stop = true;
	}
	for (unsigned i = 0; i < n; i++)
		await_child(pids[i]);
}

static bool print_case(const char *only, const char *ring)
{
	bool processes = fair.shape->processes_send || fair.shape->processes_receive, kept;
	double ratio, by_time;
	char name[128];

	(void)snprintf(name, sizeof(name), "%s, %s, %s of %zu B", fair.shape->name, ring,
		fair.type == LIBMSG_STREAM ? "STREAM" : "SEQPACKET", fair.len);
	if (only && !strstr(name, only))
		return true;
	printf("%-58s", name);
	(void)fflush(stdout);
	run_case();
	ratio = print_shares(&by_time);
	kept = ratio >= LIMIT || (processes && by_time >= LIMIT);
	printf("  %7.0f MiB  min/max %.2f", (double)shared->sum / (1 << 20), ratio);
	if (processes)
		printf(", by CPU time %.2f", by_time);
	puts(kept ? "" : "  UNFAIR");
	return kept;
}

static bool run_all(const char *only)
{
	static const size_t lens[] = {64, 4096, 65536};
	bool kept = true;

	for (unsigned shape = 0; shape < ARRAY_SIZE(shapes); shape++) {
		for (unsigned ring = 0; ring < 3; ring++) {
			for (unsigned i = 0; i < 6; i++) {
				fair = (struct fair_case){.shape = &shapes[shape],
					.transport = rings[ring].transport,
					.type = i < 3 ? LIBMSG_SEQPACKET : LIBMSG_STREAM,
					.len = lens[i % 3]};
				kept &= print_case(only, rings[ring].name);
			}
		}
	}
	return kept;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"mib", required_argument, NULL, 'b'},
		{"ms", required_argument, NULL, 'm'}, {"case", required_argument, NULL, 'c'},
		{"gate", no_argument, NULL, 'g'}, {0}};
	const char *only = NULL;
	bool gate = false, kept;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'b')
			most_bytes = (uint64_t)atoi(optarg) << 20;
		else if (c == 'm')
			run_ms = (uint64_t)atoi(optarg);
		else if (c == 'c')
			only = optarg;
		else if (c == 'g')
			gate = true;
		else
			exit(2);
	}
	if (argc != optind + 1)
		errx(2, "usage: msgbench-fair [--mib=N] [--ms=N] [--case=TEXT] [--gate] HV");
	hv = argv[optind];
	if (!most_bytes && !run_ms)
		run_ms = 2000;
	if (!most_bytes)
		most_bytes = UINT64_MAX;
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	kept = run_all(only);
	return gate && !kept;
}
