/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cost of the emulator's data path, and how it scales. bench/scale starts it, after an emulator
 * and the domains d1 to d63.
 *
 *	simscale [--ms=N] [--rounds=N] [--domains=N] SPEC
 *
 * Three measurements:
 *  - One sender sends to one awake receiver in another domain and process. It prints the sender's
 *    time for one call, beside a memcpy of the same size into the same kind of memory.
 *  - 1, 2, 4, ..., 64 domains send at once, each to the next one's ring, beside as many processes
 *    that only copy. It prints the rate of all together, and the CPU time of each call, which is
 * the same on a machine that has other things to do.
 *  - All send to one domain.
 * In the last two the sender gives the ring's space back itself, in the receiver's place, so that
 * nothing is measured but sending. Costs are the best of the rounds, rates are medians.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "bench/bench.h"
#include "hv/argo-ring.h"
#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/testing/sim.h"

#define DOMAINS	    64U
#define RING_LEN    (1U << 20)
#define SENDER_RING 4096U
#define N_PORTS	    500U
#define STUCK_AFTER 120 /* seconds */
#define KINDS	    8

static const uint32_t sizes[] = {64, 4096, 65536};

struct shared {
	atomic_uint n_ready, go, stop;
	atomic_uint turn; /* of the two that measure costs */
	uint16_t domids[DOMAINS];
	uint32_t ports[N_PORTS];
	double cost_ns[KINDS];
	uint64_t n[DOMAINS]; /* operations of each process */
	uint64_t cpu_ns[DOMAINS];
};

static struct shared *shared;
static const char *spec;
static int run_ms = 200, rounds = 3;
static uint32_t most_domains = DOMAINS;
static uint8_t payload[65536];

static void check(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, strerror(-r));
}

static struct hv *open_in(uint32_t i)
{
	const char *reason = "";
	struct hv *hv = NULL;
	char name[256];

	if (i == 0)
		(void)snprintf(name, sizeof(name), "%s", spec);
	else
		(void)snprintf(name, sizeof(name), "%s#d%u", spec, i);
	if (hv_open(name, &hv, &reason) < 0)
		errx(1, "%s: %s", name, reason);
	shared->domids[i] = hv->ops->domid(hv);
	return hv;
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)alarm(STUCK_AFTER);
	}
	return pid;
}

static void wait_for(const atomic_uint *p, uint32_t least)
{
	while (atomic_load(p) < least)
		(void)sched_yield();
}

/* All of n have come here. */
static void meet(uint32_t n)
{
	uint32_t mine = atomic_fetch_add(&shared->n_ready, 1);

	wait_for(&shared->n_ready, (mine / n + 1) * n);
}

static void reap(uint32_t n)
{
	int status;

	while (n-- > 0)
		if (wait(&status) < 0 || status != 0)
			errx(1, "a process failed");
}

/* ---- the cost of one call ----------------------------------------------------------------- */

static void least_of(double *ret, uint64_t ns, uint32_t n)
{
	double each = (double)ns / n;

	if (*ret == 0 || each < *ret)
		*ret = each;
}

/* The receiver takes all that there is. */
static void turn_pass(void)
{
	uint32_t turn = atomic_fetch_add(&shared->turn, 1) + 1;

	wait_for(&shared->turn, turn + 1);
}

/* Fills the ring, then waits until it has run empty. */
static void cost_sendv(struct hv *hv, struct hv_ring *ring, uint32_t len, double *ret)
{
	struct iovec iov = {.iov_base = payload, .iov_len = len};
	uint32_t n = min_u32(RING_LEN / 2 / (len + ARGO_MESSAGE_HEADER_LEN), 1000);
	uint64_t start = now_ns();

	for (uint32_t i = 0; i < n; i++)
		check(hv->ops->argo_sendv(hv, ring, &iov, 1, 0), "sendv");
	least_of(ret, now_ns() - start, n);
	turn_pass();
}

static void cost_memcpy(uint8_t *memory, uint32_t len, double *ret)
{
	uint32_t n = min_u32(RING_LEN / 2 / len, 1000);
	uint64_t start = now_ns();

	for (uint32_t i = 0; i < n; i++) {
		memcpy(memory + (size_t)i * len, payload, len);
		atomic_signal_fence(memory_order_seq_cst);
	}
	least_of(ret, now_ns() - start, n);
}

static void cost_events(struct hv *hv, const uint32_t *ports, uint32_t n, double *ret)
{
	uint64_t start = now_ns();

	for (uint32_t i = 0; i < n; i++)
		check(hv->ops->evtchn_send(hv, ports[i]), "send");
	least_of(ret, now_ns() - start, n);
}

static void cost_sender(void)
{
	struct hv *hv = open_in(1);
	struct hv_ring *ring;
	uint32_t ports[N_PORTS];
	uint8_t *memory =
		mmap(NULL, RING_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	memset(memory, 1, RING_LEN);
	meet(2); /* the other's domid */
	check(hv->ops->argo_register(hv, 1, shared->domids[2], SENDER_RING, &ring), "register");
	check(hv->ops->argo_peer(hv, ring, 2), "peer");
	meet(2); /* its ring and ports */
	for (uint32_t i = 0; i < N_PORTS; i++)
		check(hv->ops->evtchn_bind_interdomain(
			      hv, shared->domids[2], shared->ports[i], &ports[i]),
			"bind");
	for (int round = 0; round < 20 * rounds; round++) {
		for (uint32_t s = 0; s < 3; s++) {
			cost_sendv(hv, ring, sizes[s], &shared->cost_ns[s]);
			cost_memcpy(memory, sizes[s], &shared->cost_ns[3 + s]);
		}
		cost_events(hv, ports, N_PORTS, &shared->cost_ns[6]); /* each is delivered */
		cost_events(hv, ports, N_PORTS, &shared->cost_ns[7]); /* and coalesces */
		turn_pass();
	}
	atomic_store(&shared->stop, 1);
	hv_close(hv);
}

/* Empties the ring all the time; on its turn it makes sure that all is taken. */
static void cost_receiver(void)
{
	struct hv *hv = open_in(2);
	struct hv_event events[64];
	struct hv_ring *ring;

	meet(2);
	check(hv->ops->argo_register(hv, 2, shared->domids[1], RING_LEN, &ring), "register");
	for (uint32_t i = 0; i < N_PORTS; i++)
		check(hv->ops->evtchn_alloc_unbound(hv, shared->domids[1], &shared->ports[i]),
			"alloc");
	meet(2);
	while (!atomic_load(&shared->stop)) {
		uint32_t turn = atomic_load(&shared->turn);

		argo_ring_release(ring, atomic_load(argo_ring_tx(ring)));
		if (turn % 2 == 0)
			continue;
		for (int n; (n = hv->ops->poll_events(hv, events, 64)) > 0;)
			for (int i = 0; i < n; i++)
				if (events[i].type == HV_EVENT_PORT)
					(void)hv->ops->evtchn_unmask(hv, &events[i].port, 1);
		argo_ring_release(ring, atomic_load(argo_ring_tx(ring)));
		atomic_store(&shared->turn, turn + 1);
	}
	hv_close(hv);
}

static void print_costs(void)
{
	memset(shared, 0, sizeof(*shared));
	if (child() == 0) {
		cost_sender();
		_exit(0);
	}
	if (child() == 0) {
		cost_receiver();
		_exit(0);
	}
	reap(2);
	printf("one sender, one awake receiver in another process: ns a call, best batch\n");
	printf("%12s %12s %12s %8s\n", "", "sendv", "memcpy", "ratio");
	for (int s = 0; s < 3; s++)
		printf("%10u B %12.0f %12.0f %8.2f\n", sizes[s], shared->cost_ns[s],
			shared->cost_ns[3 + s], shared->cost_ns[s] / shared->cost_ns[3 + s]);
	printf("%12s %12.0f  delivered; %.0f to a masked port\n\n", "event", shared->cost_ns[6],
		shared->cost_ns[7]);
}

/* ---- many at once ------------------------------------------------------------------------- */

enum what { SENDV, SENDV_TO_ONE, EVENT, COPY };

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* Empties the next domain's ring, in that domain's place. */
static void release_for_receiver(struct xen *xen, struct sim_ring *ring)
{
	uint32_t contiguous;
	_Atomic uint32_t *header = (_Atomic uint32_t *)argo_ring_at(xen, ring, 0, &contiguous);

	atomic_store_explicit(header, atomic_load(header + 1), memory_order_release);
}

static void run_sender(uint32_t i, uint32_t n, enum what what, uint32_t len)
{
	struct iovec iov = {.iov_base = payload, .iov_len = len};
	bool to_one = what == SENDV_TO_ONE;
	uint32_t next = to_one ? 0 : (i + 1) % n, previous = (i + n - 1) % n, port = 0, at = 0;
	struct hv *hv = open_in(i);
	struct xen *xen = sim_hv_xen(hv);
	struct hv_ring *in, *out;
	struct sim_ring *target;
	uint8_t *memory =
		mmap(NULL, RING_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t count = 0;

	if (memory == MAP_FAILED)
		err(1, "mmap");
	memset(memory, 1, RING_LEN);
	meet(n);
	for (uint32_t from = 0; from < n; from++)
		if (to_one ? i == 0 : from == previous)
			check(hv->ops->argo_register(hv, 1, shared->domids[from], RING_LEN, &in),
				"register");
	check(hv->ops->argo_register(hv, 2, shared->domids[next], SENDER_RING, &out), "register");
	check(hv->ops->argo_peer(hv, out, 1), "peer");
	check(hv->ops->evtchn_alloc_unbound(hv, shared->domids[previous], &shared->ports[i]),
		"alloc");
	meet(n);
	if (what == EVENT)
		check(hv->ops->evtchn_bind_interdomain(
			      hv, shared->domids[next], shared->ports[next], &port),
			"bind");
	target = argo_match(
		xen, sim_domain_find(xen, shared->domids[next]), 1, shared->domids[i], NULL);
	meet(n);
	wait_for(&shared->go, 1);
	shared->cpu_ns[i] = cpu_ns();
	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
		if (what == EVENT) {
			check(hv->ops->evtchn_send(hv, port), "send");
		} else if (what != COPY) {
			check(hv->ops->argo_sendv(hv, out, &iov, 1, 0), "sendv");
			release_for_receiver(xen, target);
		} else {
			memcpy(memory + at, payload, len);
			atomic_signal_fence(memory_order_seq_cst);
			at = at + 2 * len <= RING_LEN ? at + len : 0;
		}
		count++;
	}
	shared->cpu_ns[i] = cpu_ns() - shared->cpu_ns[i];
	shared->n[i] = count;
	meet(n);
	hv_close(hv);
}

struct rate {
	double each_s, cpu_ns; /* calls a second of all together; ns of one call */
};

static struct rate rate(uint32_t n, enum what what, uint32_t len)
{
	uint64_t start, total = 0, cpu = 0;

	memset(shared, 0, sizeof(*shared));
	for (uint32_t i = 0; i < n; i++) {
		if (child() == 0) {
			run_sender(i, n, what, len);
			_exit(0);
		}
	}
	wait_for(&shared->n_ready, 3 * n);
	start = now_ns();
	atomic_store(&shared->go, 1);
	(void)nanosleep(&(struct timespec){.tv_sec = run_ms / 1000,
				.tv_nsec = (long)(run_ms % 1000) * 1000000L},
		NULL);
	atomic_store(&shared->stop, 1);
	start = now_ns() - start;
	reap(n);
	for (uint32_t i = 0; i < n; i++) {
		total += shared->n[i];
		cpu += shared->cpu_ns[i];
	}
	return (struct rate){
		(double)total * 1e9 / (double)start, (double)cpu / (double)(total ? total : 1)};
}

static struct rate middle_rate(uint32_t n, enum what what, uint32_t len)
{
	double each_s[ROUNDS_MAX], cpu[ROUNDS_MAX];

	for (int i = 0; i < rounds; i++) {
		struct rate r = rate(n, what, len);

		each_s[i] = r.each_s;
		cpu[i] = r.cpu_ns;
	}
	return (struct rate){median(each_s, rounds), median(cpu, rounds)};
}

static void print_curve(const char *name, enum what what, uint32_t len)
{
	struct rate own, first = {0}, copy;

	printf("%s: thousands a second, all together, and ns of CPU for each\n", name);
	printf("%8s %12s %8s %8s %s\n", "domains", what == EVENT ? "events" : "sendv", "to one",
		"CPU", what == EVENT ? "" : "      memcpy      CPU");
	for (uint32_t n = 1; n <= most_domains; n *= 2) {
		own = middle_rate(n, what, len);
		first = n == 1 ? own : first;
		printf("%8u %12.1f %8.2f %8.0f ", n, own.each_s / 1e3, own.each_s / first.each_s,
			own.cpu_ns);
		if (what != EVENT) {
			copy = middle_rate(n, COPY, len);
			printf("%12.1f %8.0f ", copy.each_s / 1e3, copy.cpu_ns);
		}
		for (int bar = (int)(own.each_s / first.each_s * 20 + 0.5); bar > 0; bar--)
			(void)putchar('#');
		printf("\n");
		(void)fflush(stdout);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"ms", required_argument, NULL, 'm'},
		{"rounds", required_argument, NULL, 'r'}, {"domains", required_argument, NULL, 'd'},
		{0}};
	struct machine machine;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'm')
			run_ms = atoi(optarg);
		else if (c == 'r')
			rounds = atoi(optarg);
		else if (c == 'd')
			most_domains = min_u32((uint32_t)atoi(optarg), DOMAINS);
		else
			return 2;
	}
	if (argc != optind + 1 || run_ms < 1 || rounds < 1 || rounds > ROUNDS_MAX)
		errx(2, "usage: simscale [--ms=N] [--rounds=N] [--domains=N] SPEC");
	spec = argv[optind];
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	machine_look(&machine);
	print_costs();
	print_curve("events, to masked ports", EVENT, 0);
	print_curve("64 B", SENDV, 64);
	print_curve("4 KiB", SENDV, 4096);
	print_curve("64 KiB", SENDV, 65536);
	print_curve("64 B, all to one domain, each to a ring of its own", SENDV_TO_ONE, 64);
	print_curve("64 KiB, all to one domain, each to a ring of its own", SENDV_TO_ONE, 65536);
	printf("%ld CPUs, %d rounds of %d ms\n", sysconf(_SC_NPROCESSORS_ONLN), rounds, run_ms);
	machine_print(&machine);
	return 0;
}
