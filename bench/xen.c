/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmsg against libxenvchan between two domains of a real Xen: one process in each, the same
 * command but for the role. Every round runs each case over all of them, in turn, so that figures
 * of one round are compared.
 *
 *	msgbench-xen [--rounds=N] [--ms=N] [--case=NAME] [--peers=LIST] [--spin=US] [--rcvbuf=BYTES]
 *		start|answer ADDRESS DOMID PATH
 *
 * ADDRESS  DOMAIN/NAME, for libmsg; the answering side listens on NAME
 * DOMID    the other domain
 * PATH     libxenvchan's, in the store of the answering domain
 * --peers  some of argo, grant and libxenvchan, with commas; default: all but argo
 * --spin   LIBMSG_SPIN at both ends; 0 shows libmsg in cases where spinning does not pay
 * --rcvbuf LIBMSG_RCVBUF at both ends, for batches that are larger than its default
 *
 * The starting side prints a line for each case and library, per message or round trip: "events"
 * are the notifications that this side sent (hypercalls), "reads" its reads (about one an event
 * received), "cpu" its CPU time in us. Then it prints each library's rate as a ratio to the last
 * one's.
 *
 * Over Argo both sides print a line for each case with the counts of all rounds: the messages of
 * this case that the starting side sent; the side's own notifications; and, from the driver, the
 * hypercalls to send, the successful ones, the ones that found no room, and the interrupts of the
 * whole kernel. "all" counts the hypercalls that warmed up the channel as well, which no other
 * figure does.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <xenevtchn.h>

#include "bench/bench.h"
#include "kmod/include/uapi/xen/argodev.h"

#define STUCK_AFTER 300 /* seconds: emulated machines are slow */

struct bench_case {
	const char *name;
	work_fn *work;
	size_t len;
	int batch;
};

static const struct bench_case cases[] = {
	{"one-way-64", work_one_way, 64, 1},
	{"one-way-4096", work_one_way, 4096, 1},
	{"one-way-65536", work_one_way, 65536, 1},
	{"batches-64", work_one_way, 64, 32},
	{"batches-4096", work_one_way, 4096, 32},
	{"batches-65536", work_one_way, 65536, 32},
	{"round-trip-64", work_round_trip, 64, 1},
	{"round-trip-4096", work_round_trip, 4096, 1},
	{"round-trip-65536", work_round_trip, 65536, 1},
};
static const struct peer *const peers[] = {&peer_argo, &peer_grant, &peer_vchan};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]), N_PEERS = sizeof(peers) / sizeof(peers[0]) };

/* The peers that are measured. */
static bool wanted[N_PEERS];

struct series {
	double rate[ROUNDS_MAX], events[ROUNDS_MAX], reads[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

/* ---- counters ------------------------------------------------------------------------------- */

static uint64_t n_events;

/* Both libraries notify through libxenevtchn: these count before it. */
__attribute__((visibility("default"))) int xenevtchn_notify(
	xenevtchn_handle *handle, evtchn_port_t port)
{
	static int (*next)(xenevtchn_handle *, evtchn_port_t);

	if (!next) {
		void *symbol = dlsym(RTLD_NEXT, "xenevtchn_notify");

		memcpy(&next, &symbol, sizeof(next));
	}
	n_events++;
	return next(handle, port);
}

struct counts {
	uint64_t n, events, hypercalls, sent, full, virqs, all;
};

static void counts_add_file(struct counts *counts, int dir, const char *name)
{
	struct argodev_info info;
	char path[64];
	ssize_t n = readlinkat(dir, name, path, sizeof(path) - 1);

	if (n < 0)
		return;
	path[n] = '\0';
	if (strcmp(path, "/dev/xen/argo") != 0 || ioctl(atoi(name), ARGODEV_INFO, &info) < 0)
		return;
	counts->hypercalls += info.n_hypercalls;
	counts->sent += info.n_sent;
	counts->full += info.n_full;
	counts->virqs = info.n_virqs;
}

/* The driver's counts for this process' files. */
static struct counts counts_look(void)
{
	struct counts counts = {.events = n_events};
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	if (!dir)
		err(1, "/proc/self/fd");
	while ((entry = readdir(dir)))
		counts_add_file(&counts, dirfd(dir), entry->d_name);
	(void)closedir(dir);
	return counts;
}

static void counts_add(struct counts *sum, struct counts before, struct counts after, uint64_t n)
{
	sum->n += n;
	sum->events += after.events - before.events;
	sum->hypercalls += after.hypercalls - before.hypercalls;
	sum->sent += after.sent - before.sent;
	sum->full += after.full - before.full;
	sum->virqs += after.virqs - before.virqs;
	sum->all += after.hypercalls;
}

static uint64_t count_reads(void)
{
	unsigned long long n = 0;
	FILE *io = fopen("/proc/self/io", "re");
	char line[128];

	while (io && fgets(line, sizeof(line), io))
		(void)sscanf(line, "syscr: %llu", &n);
	if (io)
		(void)fclose(io);
	return n;
}

static uint64_t cpu_ns(void)
{
	struct timespec used;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
}

/* ---- rounds --------------------------------------------------------------------------------- */

/*
 * The link must stand until both sides have looked at the driver's counts for it. Each side says
 * that it has looked, and waits for the other's word, before it closes.
 */
static void part(const struct peer *peer, struct end *end)
{
	uint64_t word = 0;

	if (end->role == 0)
		peer->send(end, &word, sizeof(word), false);
	if (peer->recv(end, &word, sizeof(word)) != sizeof(word))
		errx(1, "no farewell");
	if (end->role == 1)
		peer->send(end, &word, sizeof(word), false);
}

static void measure(struct pair *pair, const struct bench_case *bench, const struct peer *peer,
	uint64_t run_ns, int round, int role, struct series *series, struct counts *counts)
{
	struct work work = {.len = bench->len, .batch = bench->batch, .run_ns = run_ns};
	struct work warm_up = {.len = bench->len, .batch = bench->batch, .run_ns = run_ns / 4};
	struct end end = {.pair = pair, .role = role};
	struct result result = {0};
	struct counts before;
	uint64_t events, reads, cpu;

	(void)alarm(STUCK_AFTER);
	pair->len = bench->len;
	pair->transport = peer->transport;
	peer->open(&end);
	bench->work(peer, &end, &warm_up, &result); /* a new channel's credit has to grow */
	before = counts_look();
	events = n_events;
	reads = count_reads();
	cpu = cpu_ns();
	bench->work(peer, &end, &work, &result);
	cpu = cpu_ns() - cpu;
	events = n_events - events;
	reads = count_reads() - reads;
	if (peer == &peer_argo) {
		counts_add(counts, before, counts_look(), result.n);
		part(peer, &end);
	}
	peer->close(&end);
	if (role != 0)
		return;
	if (!result.n || !result.ns)
		errx(1, "%s over %s: nothing was done", bench->name, peer->name);
	series->rate[round] = (double)result.n * 1e9 / (double)result.ns;
	series->events[round] = (double)events / (double)result.n;
	series->reads[round] = (double)reads / (double)result.n;
	series->cpu[round] = (double)cpu / 1e3 / (double)result.n;
}

static void print_case(const struct bench_case *bench, const struct series *series, int rounds)
{
	double ratio[ROUNDS_MAX];
	int last = 0;

	for (int p = 0; p < N_PEERS; p++) {
		if (!wanted[p])
			continue;
		printf("BENCH %s %s rate=%.0f events=%.4f reads=%.4f cpu=%.1f\n", bench->name,
			peers[p]->name, median(series[p].rate, rounds),
			median(series[p].events, rounds), median(series[p].reads, rounds),
			median(series[p].cpu, rounds));
		last = p;
	}
	for (int p = 0; p < last; p++) {
		if (!wanted[p])
			continue;
		for (int i = 0; i < rounds; i++)
			ratio[i] = series[p].rate[i] / series[last].rate[i];
		printf("BENCH %s %s/%s ratio=%.2f least=%.2f most=%.2f rounds=%d\n", bench->name,
			peers[p]->name, peers[last]->name, median(ratio, rounds),
			least(ratio, rounds), most(ratio, rounds), rounds);
	}
}

static void print_counts(const struct bench_case *bench, int role, const struct counts *counts)
{
	printf("COUNTS %s %s n=%" PRIu64 " events=%" PRIu64 " hypercalls=%" PRIu64 " sent=%" PRIu64
	       " full=%" PRIu64 " virqs=%" PRIu64 " all=%" PRIu64 "\n",
		bench->name, role == 0 ? "start" : "answer", counts->n, counts->events,
		counts->hypercalls, counts->sent, counts->full, counts->virqs, counts->all);
}

static void run_case(
	struct pair *pair, const struct bench_case *bench, int rounds, uint64_t run_ns, int role)
{
	static struct series series[N_PEERS];
	struct counts counts = {0};

	for (int round = 0; round < rounds; round++) {
		for (int p = 0; p < N_PEERS; p++) {
			if (wanted[p])
				measure(pair, bench, peers[p], run_ns, round, role, &series[p],
					&counts);
		}
	}
	if (role == 0)
		print_case(bench, series, rounds);
	if (wanted[0])
		print_counts(bench, role, &counts);
	(void)fflush(stdout);
}

static void want_peers(char *list)
{
	char *rest = list;

	for (const char *name; (name = strsep(&rest, ","));) {
		int p = 0;

		while (p < N_PEERS && strcmp(peers[p]->name, name) != 0)
			p++;
		if (p == N_PEERS)
			errx(2, "no such peer: %s", name);
		wanted[p] = true;
	}
}

static _Noreturn void usage(void)
{
	errx(2, "usage: msgbench-xen [--rounds=N] [--ms=N] [--case=NAME] [--peers=LIST] "
		"[--spin=US] [--rcvbuf=BYTES] start|answer ADDRESS DOMID PATH");
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
		{"ms", required_argument, NULL, 'm'}, {"case", required_argument, NULL, 'c'},
		{"peers", required_argument, NULL, 'p'}, {"spin", required_argument, NULL, 's'},
		{"rcvbuf", required_argument, NULL, 'b'}, {0}};
	char usual[] = "grant,libxenvchan", *peer_list = usual;
	int c, rounds = 5, ms = 500, role;
	const char *only = "";
	struct pair pair = {.hv = "xen", .spin_us = -1};

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'r')
			rounds = atoi(optarg);
		else if (c == 'm')
			ms = atoi(optarg);
		else if (c == 'c')
			only = optarg;
		else if (c == 'p')
			peer_list = optarg;
		else if (c == 's')
			pair.spin_us = atoi(optarg);
		else if (c == 'b')
			pair.rcvbuf = atoi(optarg);
		else
			usage();
	}
	if (argc != optind + 4 || rounds < 1 || rounds > ROUNDS_MAX || ms < 1)
		usage();
	role = strcmp(argv[optind], "start") == 0 ? 0 : 1;
	pair.address = argv[optind + 1];
	pair.peer_domid = atoi(argv[optind + 2]);
	pair.path = argv[optind + 3];
	want_peers(peer_list);
	for (int i = 0; i < N_CASES; i++) {
		if (!*only || strcmp(cases[i].name, only) == 0)
			run_case(&pair, &cases[i], rounds, (uint64_t)ms * 1000000U, role);
	}
	return 0;
}
