/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The benchmark's table of cases, its rounds and its output. bench/run starts it, after an
 * emulator, msgd and the domains left and right.
 *
 *	msgbench [--rounds=N] [--ms=N] [--case=TEXT] [--quick] [--gate] HV DIRECTORY
 *
 * --gate: the status is 1 if a median is below its limit. Figures of different rounds are never
 * compared: ratios are built within a round, then their median is taken.
 */
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define PEERS_MAX   5
#define STUCK_AFTER 60 /* seconds */

struct bench_case {
	const char *name;
	work_fn *work;
	size_t len;
	int batch;
	enum pinning pinning;
	const struct peer *baseline;  /* compared with by time; NULL: with SEQPACKET by rate */
	double goal_argo, goal_grant; /* the goal; 0: none */
	double limit;		      /* the least for every ring; 0: none */
	bool quick;		      /* also with --quick */
	bool fds;		      /* of descriptors, beside the calls of libmsg */
};

static const struct bench_case cases[] = {
	{"one way, 64 B", work_one_way, 64, 1, PIN_NONE, NULL, 8, 20, 1.5, true},
	{"one way, 4 KiB", work_one_way, 4096, 1, PIN_NONE, NULL, 5, 5, 0, true},
	{"one way, 64 KiB", work_one_way, 65536, 1, PIN_NONE, NULL, 10, 10, 0, true},
	{"round trip, 64 B", work_round_trip, 64, 1, PIN_NONE, NULL, 0, 0, 0, true},
	{"round trip, 4 KiB", work_round_trip, 4096, 1, PIN_NONE, NULL, 0, 0, 0, true},
	{"round trip, 64 KiB", work_round_trip, 65536, 1, PIN_NONE, NULL, 0, 0, 0, true},
	{"one way, 64 B, batches of 32", work_one_way, 64, 32, PIN_NONE, NULL, 50, 50, 0, false},
	{"round trip, 64 B, two CPUs", work_round_trip, 64, 1, PIN_TWO_CPUS, &peer_cache_line, 3, 3,
		0, false},
	{"round trip, 64 B, one CPU", work_round_trip, 64, 1, PIN_ONE_CPU, &peer_futex, 1.25, 1.25,
		0, false},
	{"connect, 1 B, close; one CPU", work_connect, 1, 1, PIN_ONE_CPU, NULL, 1.5, 1.5, 0, false},
	{"fd: one way, 64 B", work_one_way, 64, 1, PIN_NONE, NULL, 0, 0, 0, false, true},
	{"fd: one way, 4 KiB", work_one_way, 4096, 1, PIN_NONE, NULL, 0, 0, 0, false, true},
	{"fd: one way, 64 KiB", work_one_way, 65536, 1, PIN_NONE, NULL, 0, 0, 0, false, true},
	{"fd: round trip, 64 B", work_round_trip, 64, 1, PIN_NONE, NULL, 0, 0, 0, false, true},
};

struct options {
	const char *hv, *dir, *only;
	int rounds, ms, msgd; /* msgd: its pid; 0: not ours to pin */
	bool quick, gate;
};

/* ---- one measurement ---------------------------------------------------------------- */

/* pid 0: this process. */
static void pin(enum pinning pinning, int role, pid_t pid)
{
	cpu_set_t allowed, one;
	int skip = pinning == PIN_TWO_CPUS ? role : 0;

	if (pinning == PIN_NONE || sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return;
	if (CPU_COUNT(&allowed) <= skip)
		errx(1, "this needs two CPUs");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(pid, sizeof(one), &one) < 0)
			err(1, "pinning");
		return;
	}
}

/*
 * "One CPU" includes msgd, which takes part in each connect: else the scheduler chooses, anew in
 * each run, whether a wake-up of msgd crosses CPUs.
 */
static void pin_msgd(const struct options *options, enum pinning pinning)
{
	cpu_set_t allowed;

	if (options->msgd == 0)
		return;
	if (pinning == PIN_ONE_CPU)
		pin(pinning, 0, options->msgd);
	else if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0 ||
		 sched_setaffinity(options->msgd, sizeof(allowed), &allowed) < 0)
		err(1, "pinning msgd");
}

static _Noreturn void side(const struct bench_case *bench, const struct peer *peer,
	const struct work *work, struct end *end, struct result *ret_result)
{
	(void)alarm(STUCK_AFTER);
	pin(bench->pinning, end->role, 0);
	if (bench->work == work_connect) {
		if (peer != &peer_seqpacket) /* its listener is there */
			peer->listen(end);
		bench->work(peer, end, work, ret_result);
	} else {
		peer->open(end);
		bench->work(peer, end, work, ret_result);
		peer->close(end);
	}
	exit(0);
}

static void measure(const struct options *options, const struct bench_case *bench,
	const struct peer *peer, struct result *result)
{
	struct work work = {.len = bench->len,
		.batch = bench->batch,
		.run_ns = (uint64_t)options->ms * 1000000U};
	struct pair pair = {.hv = options->hv,
		.spin_us = -1,
		.address = "left/bench",
		.dir = options->dir,
		.transport = peer->transport};
	struct end end = {.pair = &pair};
	struct rusage usage;
	pid_t pids[2];
	int status;

	*result = (struct result){0};
	pin_msgd(options, bench->pinning);
	if (bench->work == work_connect && peer == &peer_seqpacket)
		peer->listen(&end);
	else if (peer->prepare)
		peer->prepare(&pair);
	for (end.role = 0; end.role < 2; end.role++) {
		pids[end.role] = fork();
		if (pids[end.role] < 0)
			err(1, "fork");
		if (pids[end.role] == 0)
			side(bench, peer, &work, &end, result);
	}
	for (int i = 0; i < 2 && pair.socks[i] > 0; i++)
		(void)close(pair.socks[i]);
	for (int role = 0; role < 2; role++) {
		if (wait4(pids[role], &status, 0, &usage) < 0 || status != 0)
			errx(1, "%s over %s: side %d failed (%s %d)", bench->name, peer->name, role,
				WIFSIGNALED(status) ? "signal" : "status",
				WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		result->cpu_ns +=
			(uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000U +
			(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000U;
	}
	end.role = 0;
	if (pair.shared)
		peer->close(&end);
}

/* ---- printing ------------------------------------------------------------------------ */

struct series {
	double rate[ROUNDS_MAX], cpu_us[ROUNDS_MAX];
};

/* Returns whether the limit is kept. */
static bool print_ratio(const struct bench_case *bench, const struct peer *peer,
	const struct series *own, const struct series *other, int rounds)
{
	double goal = peer == &peer_argo    ? bench->goal_argo
		      : peer == &peer_grant ? bench->goal_grant
					    : 0;
	double ratio[ROUNDS_MAX], middle;
	bool by_time = bench->baseline;

	for (int i = 0; i < rounds; i++)
		ratio[i] = by_time ? other->rate[i] / own->rate[i] : own->rate[i] / other->rate[i];
	middle = median(ratio, rounds);
	printf("  %6.2fx %s [%.2f %.2f]", middle,
		by_time ? "the time of the baseline" : "SEQPACKET's rate", least(ratio, rounds),
		most(ratio, rounds));
	if (goal > 0)
		printf("  goal %s %g: %s", by_time ? "<=" : ">=", goal,
			(by_time ? middle <= goal : middle >= goal) ? "reached" : "not reached");
	if (bench->limit > 0)
		printf("  limit >= %g: %s", bench->limit,
			middle >= bench->limit ? "kept" : "BROKEN");
	return middle >= bench->limit;
}

static bool print_case(const struct bench_case *bench, const struct peer *const peers[],
	const struct series series[], int rounds)
{
	bool kept = true;

	printf("%s\n", bench->name);
	for (int p = 0; peers[p]; p++) {
		printf("  %-11s %11.0f /s  CPU %7.2f us", peers[p]->name,
			median(series[p].rate, rounds), median(series[p].cpu_us, rounds));
		if (peers[p]->flags & PEER_BATCHES)
			kept &= print_ratio(bench, peers[p], &series[p],
				&series[bench->baseline ? PEERS_MAX - 1 : 0], rounds);
		printf("\n");
	}
	(void)fflush(stdout);
	return kept;
}

/* ---- rounds ----------------------------------------------------------------------------- */

static void run_case(const struct options *options, const struct bench_case *bench, int round,
	const struct peer *const peers[], struct series series[], struct result *shared)
{
	for (int p = 0; peers[p]; p++) {
		measure(options, bench, peers[p], shared);
		if (!shared->n || !shared->ns)
			errx(1, "%s over %s: nothing was done", bench->name, peers[p]->name);
		series[p].rate[round] = (double)shared->n * 1e9 / (double)shared->ns;
		series[p].cpu_us[round] = (double)shared->cpu_ns / 1e3 / (double)shared->n;
	}
}

static bool wanted(const struct options *options, const struct bench_case *bench)
{
	if (options->only)
		return strstr(bench->name, options->only);
	return bench->quick || !options->quick;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
		{"ms", required_argument, NULL, 'm'}, {"case", required_argument, NULL, 'c'},
		{"msgd", required_argument, NULL, 'p'}, {"quick", no_argument, NULL, 'q'},
		{"gate", no_argument, NULL, 'g'}, {0}};
	int c;

	*options = (struct options){0};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'r')
			options->rounds = atoi(optarg);
		else if (c == 'm')
			options->ms = atoi(optarg);
		else if (c == 'c')
			options->only = optarg;
		else if (c == 'p')
			options->msgd = atoi(optarg);
		else if (c == 'q')
			options->quick = true;
		else if (c == 'g')
			options->gate = true;
		else
			exit(2);
	}
	options->rounds = options->rounds ? options->rounds : options->quick ? 3 : 7;
	options->ms = options->ms ? options->ms : options->quick ? 100 : 300;
	if (argc != optind + 2 || options->rounds < 1 || options->rounds > ROUNDS_MAX ||
		options->ms < 1)
		errx(2, "usage: msgbench [--rounds=N] [--ms=N] [--case=TEXT] [--msgd=PID] "
			"[--quick] "
			"[--gate] HV DIRECTORY");
	options->hv = argv[optind];
	options->dir = argv[optind + 1];
}

int main(int argc, char **argv)
{
	enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };
	static struct series series[N_CASES][PEERS_MAX];
	struct options options;
	struct machine machine;
	struct result *shared;
	bool kept = true;

	parse(argc, argv, &options);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	machine_look(&machine);
	for (int round = 0; round <= options.rounds; round++) {
		for (int i = 0; i < N_CASES; i++) {
			const struct peer *calls[PEERS_MAX + 1] = {&peer_seqpacket, &peer_argo,
				&peer_strict, &peer_grant, cases[i].baseline};
			const struct peer *fds[PEERS_MAX + 1] = {&peer_seqpacket, &peer_argo,
				&peer_argo_fd, &peer_grant, &peer_grant_fd};
			const struct peer **peers = cases[i].fds ? fds : calls;

			if (!wanted(&options, &cases[i]))
				continue;
			if (round < options.rounds)
				run_case(&options, &cases[i], round, peers, series[i], shared);
			else
				kept &= print_case(&cases[i], peers, series[i], options.rounds);
		}
	}
	printf("%d interleaved rounds of %d ms; medians, [least most]; CPU: of both processes, per "
	       "message or round trip\n",
		options.rounds, options.ms);
	machine_print(&machine);
	return options.gate && !kept;
}
