/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmsg against libxenvchan between two domains of a real Xen: one process in each, the same
 * command but for the role. Every round runs each case over both, in turn, so that figures of one
 * round are compared.
 *
 *	msgbench-xen [--rounds=N] [--ms=N] [--case=TEXT] [--spin=US]
 *		start|answer ADDRESS DOMID PATH
 *
 * ADDRESS: where libmsg connects to, as DOMAIN/NAME; the answering side listens on NAME. DOMID: the
 * other domain. PATH: libxenvchan's, in the store of the answering domain. --spin: LIBMSG_SPIN at
 * both ends; 0 shows libmsg where spinning does not pay. The starting side prints a line a case
 * and library; "events" are notifications that this side sent (hypercalls), "reads" its reads (one
 * an event received, about), "cpu" its us of CPU time, each per message or round trip.
 */
#include <dlfcn.h>
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xenevtchn.h>

#include "bench/bench.h"

#define STUCK_AFTER 300 /* seconds: emulated machines are slow */

struct bench_case {
	const char *name;
	work_fn *work;
	size_t len;
};

static const struct bench_case cases[] = {
	{"one-way-64", work_one_way, 64},
	{"one-way-4096", work_one_way, 4096},
	{"one-way-65536", work_one_way, 65536},
	{"round-trip-64", work_round_trip, 64},
	{"round-trip-4096", work_round_trip, 4096},
	{"round-trip-65536", work_round_trip, 65536},
};
static const struct peer *const peers[] = {&peer_grant, &peer_vchan};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]), N_PEERS = sizeof(peers) / sizeof(peers[0]) };

struct series {
	double rate[ROUNDS_MAX], events[ROUNDS_MAX], reads[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

/* ---- what is counted ---------------------------------------------------------------------- */

static uint64_t n_events;

/* Both libraries notify through libxenevtchn: here, before it. */
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

static void measure(struct pair *pair, const struct bench_case *bench, const struct peer *peer,
	uint64_t run_ns, int round, int role, struct series *series)
{
	struct work work = {.len = bench->len, .batch = 1, .run_ns = run_ns};
	struct end end = {.pair = pair, .role = role};
	struct result result = {0};
	uint64_t events, reads, cpu;

	(void)alarm(STUCK_AFTER);
	pair->len = bench->len;
	pair->transport = peer->transport;
	peer->open(&end);
	events = n_events;
	reads = count_reads();
	cpu = cpu_ns();
	bench->work(peer, &end, &work, &result);
	cpu = cpu_ns() - cpu;
	events = n_events - events;
	reads = count_reads() - reads;
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

	for (int i = 0; i < rounds; i++)
		ratio[i] = series[0].rate[i] / series[1].rate[i];
	for (int p = 0; p < N_PEERS; p++)
		printf("BENCH %s %s rate=%.0f events=%.4f reads=%.4f cpu=%.1f\n", bench->name,
			peers[p]->name, median(series[p].rate, rounds),
			median(series[p].events, rounds), median(series[p].reads, rounds),
			median(series[p].cpu, rounds));
	printf("BENCH %s ratio=%.2f least=%.2f most=%.2f rounds=%d\n", bench->name,
		median(ratio, rounds), least(ratio, rounds), most(ratio, rounds), rounds);
	(void)fflush(stdout);
}

static _Noreturn void usage(void)
{
	errx(2, "usage: msgbench-xen [--rounds=N] [--ms=N] [--case=TEXT] [--spin=US] "
		"start|answer ADDRESS DOMID PATH");
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
		{"ms", required_argument, NULL, 'm'}, {"case", required_argument, NULL, 'c'},
		{"spin", required_argument, NULL, 's'}, {0}};
	static struct series series[N_CASES][N_PEERS];
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
		else if (c == 's')
			pair.spin_us = atoi(optarg);
		else
			usage();
	}
	if (argc != optind + 4 || rounds < 1 || rounds > ROUNDS_MAX || ms < 1)
		usage();
	role = strcmp(argv[optind], "start") == 0 ? 0 : 1;
	pair.address = argv[optind + 1];
	pair.peer_domid = atoi(argv[optind + 2]);
	pair.path = argv[optind + 3];
	for (int i = 0; i < N_CASES; i++) {
		if (!strstr(cases[i].name, only))
			continue;
		for (int round = 0; round < rounds; round++) {
			for (int p = 0; p < N_PEERS; p++)
				measure(&pair, &cases[i], peers[p], (uint64_t)ms * 1000000U, round,
					role, &series[i][p]);
		}
		if (role == 0)
			print_case(&cases[i], series[i], rounds);
	}
	return 0;
}
