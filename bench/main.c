/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The benchmark's table of cases and its rounds. bench/run starts it, after an emulator, msgd and
 * the domains left and right, and gives its output to bench/report.py, which has the goals.
 *
 *	msgbench [--rounds=N] [--ms=N] [--case=TEXT] [--quick] [--msgd=FILE] HV DIRECTORY
 *
 * FILE has the pid of msgd, and a new one soon after msgd has ended. The output is JSON: for each
 * case and peer the values of all rounds in their order. Figures of different rounds are never
 * compared: ratios are built within a round, then their median is taken.
 */
#include <err.h>
#include <errno.h>
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

#include "base/macro.h"
#include "bench/bench.h"

#define PEERS_MAX 12

struct bench_case {
	const char *name;
	work_fn *work; /* NULL: footprint_measure */
	const struct peer *const *peers;
	size_t len;
	enum pinning pinning;
	bool quick;    /* also with --quick */
	bool each;     /* every round trip's time */
	bool spin_off; /* LIBMSG_SPIN is 0 */
	int batch;     /* 0: 1 */
	unsigned n_channels;
	enum load load;
};

#define LIBMSG &peer_argo, &peer_strict, &peer_grant
#define BESIDE &peer_pipe, &peer_zeromq, &peer_nng, &peer_vsock
typedef const struct peer *const peer_list[];

static peer_list one_way = {&peer_seqpacket, &peer_stream, BESIDE, LIBMSG, &peer_memcpy, NULL};
static peer_list round_trip = {&peer_seqpacket, BESIDE, LIBMSG, &peer_futex, NULL};
static peer_list two_cpus = {&peer_seqpacket, BESIDE, LIBMSG, &peer_futex, &peer_cache_line, NULL};
static peer_list calls = {&peer_seqpacket, LIBMSG, NULL};
static peer_list streams = {&peer_stream, LIBMSG, NULL};
static peer_list batches = {&peer_seqpacket, &peer_seqpacket_mmsg, LIBMSG, NULL};
static peer_list asleep = {LIBMSG, &peer_futex, NULL};
static peer_list libmsg = {LIBMSG, NULL};
static peer_list fds = {
	&peer_seqpacket, &peer_argo, &peer_argo_fd, &peer_grant, &peer_grant_fd, NULL};

static const struct bench_case cases[] = {
	{"one way, 64 B", work_one_way, one_way, 64, .quick = true},
	{"one way, 700 B", work_one_way, one_way, 700},
	{"one way, 4 KiB", work_one_way, one_way, 4096, .quick = true},
	{"one way, 20,000 B", work_one_way, one_way, 20000},
	{"one way, 64 KiB", work_one_way, one_way, 65536, .quick = true},
	{"one way, 1 MiB", work_one_way, one_way, 1048576},
	{"one way, 64 B, batches of 32 by MSG_MORE", work_one_way, calls, 64, .batch = 32},
	{"one way, 64 B, batches of 32 by sendmmsg", work_mmsg, batches, 64},
	{"one way, 64 B, one CPU", work_one_way, calls, 64, PIN_ONE_CPU},
	{"one way, 4 KiB, one CPU", work_one_way, calls, 4096, PIN_ONE_CPU},
	{"one way, 64 KiB, one CPU", work_one_way, calls, 65536, PIN_ONE_CPU},
	{"one way, 1 MiB, one CPU", work_one_way, streams, 1048576, PIN_ONE_CPU},
	{"one way, 64 B, batches of 32 by MSG_MORE, one CPU", work_one_way, calls, 64, PIN_ONE_CPU,
		.batch = 32},
	{"one way, 64 B, batches of 32 by sendmmsg, one CPU", work_mmsg, batches, 64, PIN_ONE_CPU},
	{"round trip, 64 B", work_round_trip, round_trip, 64, .quick = true},
	{"round trip, 700 B", work_round_trip, round_trip, 700},
	{"round trip, 4 KiB", work_round_trip, round_trip, 4096, .quick = true},
	{"round trip, 20,000 B", work_round_trip, round_trip, 20000},
	{"round trip, 64 KiB", work_round_trip, round_trip, 65536, .quick = true},
	{"round trip, 64 B, two CPUs", work_round_trip, two_cpus, 64, PIN_TWO_CPUS},
	{"round trip, 64 B, one CPU", work_round_trip, round_trip, 64, PIN_ONE_CPU},
	{"round trip, 64 B, two CPUs, spinning off", work_round_trip, asleep, 64, PIN_TWO_CPUS,
		.spin_off = true},
	/* A look at the clock a round trip is a part of the time, which ratios must not have. */
	{"each round trip, 64 B, two CPUs", work_round_trip, two_cpus, 64, PIN_TWO_CPUS,
		.each = true},
	{"each round trip, 64 B, one CPU", work_round_trip, round_trip, 64, PIN_ONE_CPU,
		.each = true},
	{"connect, 1 B, close; one CPU", work_connect, calls, 1, PIN_ONE_CPU},
	{"connect, 1 B, close; 16 in flight, one CPU", work_connects, calls, 1, PIN_ONE_CPU,
		.n_channels = 16},
	{"channels, 1", work_channels, calls, 64, .n_channels = 1},
	{"channels, 64", work_channels, calls, 64, .n_channels = 64},
	{"channels, 1,000", work_channels, calls, 64, .n_channels = 1000},
	{"channels, 10,000", work_channels, calls, 64, .n_channels = 10000},
	{"channels, 1, one CPU", work_channels, calls, 64, PIN_ONE_CPU, .n_channels = 1},
	{"channels, 64, one CPU", work_channels, calls, 64, PIN_ONE_CPU, .n_channels = 64},
	{"idle channel", NULL, libmsg, .n_channels = 10000},
	{"loaded round trip, 64 B; 64 KiB messages on another channel", work_loaded, libmsg, 64,
		.each = true, .load = LOAD_STREAM},
	{"loaded round trip, 64 B; 1,000 idle channels", work_loaded, libmsg, 64, .each = true,
		.load = LOAD_IDLE, .n_channels = 1000},
	{"loaded round trip, 64 B; msgd restarts", work_loaded, libmsg, 64, .each = true,
		.load = LOAD_RESTARTS},
	{"loaded round trip, 64 B; 64 channels open and close each ms", work_loaded, libmsg, 64,
		.each = true, .load = LOAD_CHURN},
	{"fd: one way, 64 B", work_one_way, fds, 64},
	{"fd: one way, 4 KiB", work_one_way, fds, 4096},
	{"fd: one way, 64 KiB", work_one_way, fds, 65536},
	{"fd: round trip, 64 B", work_round_trip, fds, 64},
};

struct options {
	const char *hv, *dir, *only, *msgd;
	int rounds, ms;
	bool quick;
};

/* Written by both processes of a measurement. */
struct shared {
	struct result result;
	struct histogram each;
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
 * each run, whether a wake-up of msgd crosses CPUs. A msgd that starts meanwhile is not pinned.
 */
static void pin_msgd(const struct options *options, enum pinning pinning)
{
	int pid = msgd_pid(options->msgd);
	cpu_set_t allowed;

	if (pid == 0)
		return;
	if (pinning == PIN_ONE_CPU)
		pin(pinning, 0, pid);
	else if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0 ||
		 (sched_setaffinity(pid, sizeof(allowed), &allowed) < 0 && errno != ESRCH))
		err(1, "pinning msgd");
}

static _Noreturn void side(const struct bench_case *bench, const struct peer *peer,
	const struct work *work, struct end *end, struct result *ret_result)
{
	bool opens = bench->work == work_channels || bench->work == work_connects ||
		     bench->work == work_loaded;

	(void)alarm(BENCH_STUCK_AFTER);
	pin(bench->pinning, end->role, 0);
	if (bench->work == work_connect) {
		if (peer != &peer_seqpacket) /* its listener is there */
			peer->listen(end);
		bench->work(peer, end, work, ret_result);
	} else if (opens) {
		bench->work(peer, end, work, ret_result);
	} else if (peer == &peer_memcpy) {
		work_memcpy(peer, end, work, ret_result);
	} else {
		peer->open(end);
		bench->work(peer, end, work, ret_result);
		peer->close(end);
	}
	exit(0);
}

static void close_all(const int *descriptors)
{
	for (int i = 0; i < 2 && descriptors[i] > 0; i++)
		(void)close(descriptors[i]);
}

static void measure(const struct options *options, const struct bench_case *bench,
	const struct peer *peer, struct shared *shared)
{
	struct work work = {.len = bench->len,
		.batch = bench->batch ? bench->batch : 1,
		.n_channels = bench->n_channels,
		.load = bench->load,
		.msgd_file = options->msgd,
		.each = bench->each ? &shared->each : NULL,
		.run_ns = (uint64_t)options->ms * 1000000U};
	struct pair pair = {.hv = options->hv,
		.spin_us = bench->spin_off ? 0 : -1,
		.address = "left/bench",
		.dir = options->dir,
		.len = bench->len,
		.transport = peer->transport};
	struct end end = {.pair = &pair};
	struct result *result = &shared->result;
	bool many = bench->n_channels > 0 || bench->work == work_connect;
	struct rusage usage;
	pid_t pids[2];
	int status;

	*shared = (struct shared){0};
	pin_msgd(options, bench->pinning);
	if (many && peer == &peer_seqpacket)
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
	close_all(pair.socks);
	close_all(pair.writers);
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

/* ---- rounds ----------------------------------------------------------------------------- */

enum metric { RATE, CPU_US, LOAD, BYTES, DESCRIPTORS, WAKEUPS, N_METRICS };

static const char *const metric_names[N_METRICS] = {
	"rate", "cpu_us", "load", "bytes", "descriptors", "wakeups"};

struct series {
	double values[N_METRICS][ROUNDS_MAX];
	struct histogram each;
};

/* Descriptors that a process may have beside its channels'. */
#define OTHER_DESCRIPTORS 64U

static bool descriptors_suffice(const struct bench_case *bench)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	       limit.rlim_cur >= bench->n_channels + OTHER_DESCRIPTORS;
}

static bool possible(const struct bench_case *bench, const struct peer *peer)
{
	static const struct peer *known[PEERS_MAX];
	static bool lacks[PEERS_MAX];
	size_t i = 0;

	if (bench->work && peer->len_max && bench->len > peer->len_max)
		return false;
	if (peer->loop == &loop_epoll && !descriptors_suffice(bench))
		return false;
	if (!peer->missing)
		return true;
	while (known[i] && known[i] != peer)
		i++;
	if (!known[i])
		lacks[i] = peer->missing();
	known[i] = peer;
	return !lacks[i];
}

static void run_footprint(const struct options *options, const struct bench_case *bench,
	const struct peer *peer, int round, struct series *series)
{
	struct pair pair = {
		.hv = options->hv, .address = "left/bench", .transport = peer->transport};
	struct footprint footprint;
	int msgd = msgd_pid(options->msgd);

	if (msgd == 0)
		errx(1, "%s: this needs --msgd", bench->name);
	footprint_measure(&pair, bench->n_channels, msgd, &footprint);
	series->values[BYTES][round] = footprint.bytes;
	series->values[DESCRIPTORS][round] = footprint.descriptors;
	series->values[WAKEUPS][round] = footprint.wakeups;
}

static void run_case(const struct options *options, const struct bench_case *bench, int round,
	struct series series[], struct shared *shared)
{
	const struct result *result = &shared->result;

	for (int p = 0; bench->peers[p]; p++) {
		const struct peer *peer = bench->peers[p];

		if (!possible(bench, peer))
			continue;
		if (!bench->work) {
			run_footprint(options, bench, peer, round, &series[p]);
			continue;
		}
		measure(options, bench, peer, shared);
		if (!result->n || !result->ns)
			errx(1, "%s over %s: nothing was done", bench->name, peer->name);
		series[p].values[RATE][round] = (double)result->n * 1e9 / (double)result->ns;
		series[p].values[CPU_US][round] = (double)result->cpu_ns / 1e3 / (double)result->n;
		series[p].values[LOAD][round] = (double)result->n_load * 1e9 / (double)result->ns;
		histogram_merge(&series[p].each, &shared->each);
	}
}

static bool wanted(const struct options *options, const struct bench_case *bench)
{
	if (options->only)
		return strstr(bench->name, options->only);
	return bench->quick || !options->quick;
}

/* ---- the output ------------------------------------------------------------------------- */

static bool has_metric(const struct bench_case *bench, enum metric metric)
{
	if (!bench->work)
		return metric >= BYTES;
	return metric < LOAD ||
	       (metric == LOAD && bench->load != LOAD_NONE && bench->load != LOAD_IDLE);
}

static void print_each(const struct histogram *each)
{
	static const double parts[] = {0.5, 0.9, 0.99, 0.999, 0.9999};

	printf(", \"each\": {\"n\": %" PRIu64 ", \"percentiles_us\": {", each->n);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		double ns = histogram_ns(each, parts[i]);

		printf(ns < 0 ? "%s\"%g\": null" : "%s\"%g\": %.3f", i ? ", " : "", parts[i] * 100,
			ns / 1e3);
	}
	printf("}, \"max_us\": %.3f}", (double)each->max_ns / 1e3);
}

static void print_series(const struct bench_case *bench, const struct peer *peer,
	const struct series *series, int rounds)
{
	static const char *const pinnings[] = {
		[PIN_NONE] = "any", [PIN_ONE_CPU] = "one", [PIN_TWO_CPUS] = "two"};
	static bool later;

	printf("%s\n  {\"case\": \"%s\", \"peer\": \"%s\", \"cpus\": \"%s\"", later ? "," : "",
		bench->name, peer->name, pinnings[bench->pinning]);
	later = true;
	if (bench->len)
		printf(", \"size\": %zu", bench->len);
	if (bench->n_channels)
		printf(", \"channels\": %u", bench->n_channels);
	for (enum metric metric = 0; metric < N_METRICS; metric++) {
		if (!has_metric(bench, metric))
			continue;
		printf(", \"%s\": [", metric_names[metric]);
		for (int i = 0; i < rounds; i++)
			printf("%s%.6g", i ? ", " : "", series->values[metric][i]);
		printf("]");
	}
	if (bench->each)
		print_each(&series->each);
	printf("}");
}

static void print_left_out(const struct options *options)
{
	static const struct peer *const beside[] = {BESIDE};
	bool later = false;

	printf("\"left_out\": [");
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
		const char *reason = beside[i]->missing ? beside[i]->missing() : NULL;

		if (!reason)
			continue;
		printf("%s\n  {\"peer\": \"%s\", \"reason\": \"%s\"}", later ? "," : "",
			beside[i]->name, reason);
		later = true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!wanted(options, &cases[i]) || descriptors_suffice(&cases[i]) ||
			cases[i].peers[0]->loop != &loop_epoll)
			continue;
		printf("%s\n  {\"peer\": \"%s, %s\", \"reason\": \"RLIMIT_NOFILE is too low\"}",
			later ? "," : "", peer_seqpacket.name, cases[i].name);
		later = true;
	}
	printf("]");
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
		{"ms", required_argument, NULL, 'm'}, {"case", required_argument, NULL, 'c'},
		{"msgd", required_argument, NULL, 'p'}, {"quick", no_argument, NULL, 'q'}, {0}};
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
			options->msgd = optarg;
		else if (c == 'q')
			options->quick = true;
		else
			exit(2);
	}
	options->rounds = options->rounds ? options->rounds : options->quick ? 3 : 7;
	options->ms = options->ms ? options->ms : options->quick ? 100 : 300;
	if (argc != optind + 2 || options->rounds < 1 || options->rounds > ROUNDS_MAX ||
		options->ms < 1)
		errx(2, "usage: msgbench [--rounds=N] [--ms=N] [--case=TEXT] [--msgd=FILE] "
			"[--quick] HV DIRECTORY");
	options->hv = argv[optind];
	options->dir = argv[optind + 1];
}

/* SEQPACKET has a descriptor for each channel. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void print_all(const struct options *options, const struct machine *machine,
	struct series series[][PEERS_MAX])
{
	struct machine_share share = machine_share(machine);

	printf("{\"rounds\": %d, \"ms\": %d, \"machine\": {\"own\": %.1f, \"others\": %.1f, "
	       "\"steal\": %.1f, \"idle\": %.1f, \"load\": %.1f},\n",
		options->rounds, options->ms, share.own, share.others, share.steal, share.idle,
		share.load);
	print_left_out(options);
	printf(",\n\"measurements\": [");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!wanted(options, &cases[i]))
			continue;
		for (int p = 0; cases[i].peers[p]; p++) {
			if (possible(&cases[i], cases[i].peers[p]))
				print_series(&cases[i], cases[i].peers[p], &series[i][p],
					options->rounds);
		}
	}
	printf("\n]}\n");
}

int main(int argc, char **argv)
{
	static struct series series[ARRAY_SIZE(cases)][PEERS_MAX];
	struct options options;
	struct machine machine;
	struct shared *shared;
	unsigned n_cases = 0;

	parse(argc, argv, &options);
	raise_descriptors();
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	machine_look(&machine);
	for (int round = 0; round < options.rounds; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			if (!wanted(&options, &cases[i]))
				continue;
			run_case(&options, &cases[i], round, series[i], shared);
			n_cases++;
		}
	}
	if (n_cases == 0)
		errx(2, "no case has \"%s\" in its name", options.only);
	print_all(&options, &machine, series);
	return 0;
}
