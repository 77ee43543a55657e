/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulator against the model, at random: see random.h.
 *
 *	random-test [--seed=N] [--steps=N] [--jobs=N] [--trace]
 *
 * Each job is a process with a world and a seed of its own (seed, seed + 1, ...) and its part of
 * the steps. A difference is printed with the seed and the step; --jobs=1 --seed=N --steps=STEP
 *--trace shows all that led to it. MSGD_RANDOM_STEPS gives the steps where no option does. Then the
 * histogram, and whether every pair in `required` was met often enough.
 */
#include "tests/random/random.h"
#include "tests/support/number.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS_DEFAULT	 10000000U
#define STEPS_TO_REQUIRE 2000000U /* below, what is rare cannot be asked for */
#define REQUIRED_SHARE	 10000U	  /* of so many steps, one: 1,000 of 10 million */
#define JOBS_MAX	 16U
#define BURST_EACH	 2500U
#define CHECK_EACH	 512U

static const char *const op_names[N_OPS] = {
	[OP_ALLOC_UNBOUND] = "alloc_unbound",
	[OP_BIND_INTERDOMAIN] = "bind_interdomain",
	[OP_BIND_VIRQ] = "bind_virq",
	[OP_CLOSE] = "close",
	[OP_SEND] = "send",
	[OP_STATUS] = "status",
	[OP_UNMASK] = "unmask",
	[OP_BIND_IPI] = "bind_ipi",
	[OP_BIND_VCPU] = "bind_vcpu",
	[OP_SET_PRIORITY] = "set_priority",
	[OP_RESET] = "reset",
	[OP_INIT_CONTROL] = "init_control",
	[OP_EXPAND_ARRAY] = "expand_array",
	[OP_BIND_PIRQ] = "bind_pirq",
	[OP_EVTCHN_OTHER] = "evtchn, no such call",
	[OP_REGISTER] = "register_ring",
	[OP_UNREGISTER] = "unregister_ring",
	[OP_SENDV] = "sendv",
	[OP_NOTIFY] = "notify",
	[OP_ARGO_OTHER] = "argo, no such call",
	[OP_MAP] = "map_grant_ref",
	[OP_UNMAP] = "unmap_grant_ref",
	[OP_UNMAP_REPLACE] = "unmap_and_replace",
	[OP_COPY] = "grant copy",
	[OP_TRANSFER] = "grant transfer",
	[OP_SWAP] = "swap_grant_ref",
	[OP_CACHE_FLUSH] = "cache_flush",
	[OP_QUERY_SIZE] = "query_size",
	[OP_SETUP_TABLE] = "setup_table",
	[OP_STATUS_FRAMES] = "get_status_frames",
	[OP_GET_VERSION] = "get_version",
	[OP_SET_VERSION] = "set_version",
	[OP_GRANT_OTHER] = "grant, no such call",
	[OP_CREATE] = "domain create",
	[OP_DESTROY] = "domain destroy",
	[OP_SHUTDOWN] = "domain shutdown",
	[OP_VIRQ] = "virq, raised",
	[OP_PIRQ] = "pirq, raised",
	[OP_TIMER] = "timer",
	[OP_XEN_PORT] = "a port of Xen's own",
	[OP_NOTIFY_ENTRY] = "notify, an entry",
};

/* ---- steps -------------------------------------------------------------------------------- */

/* splitmix64 */
uint64_t draw(struct run *run)
{
	uint64_t z = run->rng += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

uint32_t pick(struct run *run, uint32_t n)
{
	return (uint32_t)((draw(run) >> 32) * n >> 32);
}

bool chance(struct run *run, uint32_t per_mille)
{
	return pick(run, 1000) < per_mille;
}

static void call_print(const struct run *run, FILE *out)
{
	(void)fprintf(out, "%" PRIu64 ": d%u %s(", run->step, run->m->domains[run->self].domid,
		op_names[run->op]);
	for (uint32_t i = 0; i < 6; i++)
		(void)fprintf(out, "%s%" PRIu64, i ? ", " : "", run->args[i]);
	(void)fputc(')', out);
}

void fail(struct run *run, const char *format, ...)
{
	va_list args;

	(void)fflush(stdout);
	(void)fprintf(stderr, "seed %" PRIu64 ", step ", run->seed);
	call_print(run, stderr);
	(void)fputs(": ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fprintf(stderr, "\nagain: --jobs=1 --seed=%" PRIu64 " --steps=%" PRIu64 " --trace\n",
		run->seed, run->step + 1);
	_exit(1);
}

void call_begin(struct run *run, enum op op, uint32_t self, const uint64_t args[6])
{
	run->op = op;
	run->self = self;
	memcpy(run->args, args, sizeof(run->args));
	model_untouch(run->m);
}

static void call_count(struct run *run, long predicted, long actual, uint32_t code)
{
	if (run->trace) {
		call_print(run, stdout);
		(void)printf(" = %ld\n", actual);
	}
	if (predicted != actual)
		fail(run, "gives %ld, not %ld", actual, predicted);
	world_compare(run);
	run->counts->by[run->op][code < N_CODES ? code : N_CODES - 1]++;
	run->counts->n_steps++;
	run->counts->n_good += code == 0;
	run->step++;
}

void call_end(struct run *run, long predicted, long actual)
{
	call_count(run, predicted, actual, actual < 0 ? (uint32_t)-actual : 0);
}

void call_end_grant(struct run *run, int predicted, int actual)
{
	call_count(run, predicted, actual, actual < 0 ? CODE_GNTST + (uint32_t)-actual : 0);
}

static void step(struct run *run)
{
	uint32_t what = pick(run, 1000);

	if (chance(run, 250))
		guest_acts(run);
	if (what < 2)
		step_domain(run);
	else if (what < 400)
		step_evtchn(run);
	else if (what < 750)
		step_argo(run);
	else
		step_grant(run);
}

static void run_job(uint64_t seed, uint64_t n_steps, bool trace, struct counts *counts)
{
	struct run *run = calloc(1, sizeof(*run));
	uint64_t next_burst = BURST_EACH, next_check = CHECK_EACH;

	if (!run)
		abort();
	run->seed = run->rng = seed;
	run->trace = trace;
	run->counts = counts;
	world_begin(run);
	while (run->step < n_steps) {
		if (run->step >= next_burst) {
			next_burst = run->step + BURST_EACH;
			burst(run);
		} else {
			step(run);
		}
		if (run->step < next_check)
			continue;
		next_check = run->step + CHECK_EACH;
		world_compare_all(run);
	}
	world_end(run);
	free(run);
	(void)fflush(stdout);
}

/* ---- the verdict -------------------------------------------------------------------------- */

static const char *code_name(uint32_t code)
{
	static const char *const status[] = {[1] = "general_error",
		[2] = "bad_domain",
		[3] = "bad_gntref",
		[4] = "bad_handle",
		[5] = "bad_virt_addr",
		[6] = "bad_dev_addr",
		[7] = "no_device_space",
		[8] = "permission_denied",
		[9] = "bad_page",
		[10] = "bad_copy_arg",
		[12] = "eagain",
		[13] = "no_space"};
	static const char *const flag[] = {
		"EXISTS", "SHARED", "EMPTY", "SUFFICIENT", "EMSGSIZE", "EBUSY"};
	const char *name;

	if (code == 0)
		return "ok";
	if (code == CODE_QUEUED)
		return "queued";
	if (code >= CODE_FLAG && code < CODE_FLAG + sizeof(flag) / sizeof(flag[0]))
		return flag[code - CODE_FLAG];
	if (code > CODE_GNTST && code < CODE_GNTST + sizeof(status) / sizeof(status[0]) &&
		status[code - CODE_GNTST])
		return status[code - CODE_GNTST];
	name = strerrorname_np((int)code);
	return name ? name : "?";
}

static void print_histogram(const struct counts *sum)
{
	for (uint32_t op = 0; op < N_OPS; op++)
		for (uint32_t code = 0; code < N_CODES; code++)
			if (sum->by[op][code])
				(void)printf("%-22s %-18s %9" PRIu64 "\n", op_names[op],
					code_name(code), sum->by[op][code]);
}

/* The number of things that are wrong, each a line. */
static int judge(const struct counts *sum)
{
	uint64_t least = sum->n_steps / REQUIRED_SHARE;
	int n_bad = 0;

	if (sum->n_good * 2 < sum->n_steps) {
		(void)printf("FAIL: less than half of the calls succeeded\n");
		n_bad++;
	}
	if (sum->n_steps < STEPS_TO_REQUIRE)
		return n_bad;
	for (uint32_t i = 0; i < n_required; i++) {
		uint64_t n = sum->by[required[i].op][required[i].code];

		if (n >= least)
			continue;
		(void)printf("FAIL: %s, %s: %" PRIu64 " times, not %" PRIu64 "\n",
			op_names[required[i].op], code_name(required[i].code), n, least);
		n_bad++;
	}
	return n_bad;
}

struct options {
	uint64_t seed, n_steps, n_jobs;
	bool trace;
};

static void options_read(int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{"seed", required_argument, NULL, 's'},
		{"steps", required_argument, NULL, 'n'},
		{"jobs", required_argument, NULL, 'j'},
		{"trace", no_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	const char *steps = getenv("MSGD_RANDOM_STEPS");
	int c;

	*o = (struct options){
		.seed = 1, .n_steps = steps ? number(steps) : STEPS_DEFAULT, .n_jobs = 2};
	while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		if (c == 's')
			o->seed = number(optarg);
		else if (c == 'n')
			o->n_steps = number(optarg);
		else if (c == 'j')
			o->n_jobs = number(optarg);
		else if (c == 't')
			o->trace = true;
		else
			exit(2);
	}
	if (o->n_jobs == 0 || o->n_jobs > JOBS_MAX)
		exit(2);
}

/* Each in a process of its own; their counts in memory that they share. */
static int run_jobs(const struct options *o, struct counts *counts)
{
	int n_bad = 0, status;

	for (uint64_t i = 0; i < o->n_jobs; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			run_job(o->seed + i, o->n_steps / o->n_jobs + (i < o->n_steps % o->n_jobs),
				o->trace, &counts[i]);
			exit(0); /* as coverage wants it */
		}
	}
	for (uint64_t i = 0; i < o->n_jobs; i++)
		if (wait(&status) < 0 || status != 0) {
			if (WIFSIGNALED(status))
				(void)fprintf(
					stderr, "a job died: %s\n", strsignal(WTERMSIG(status)));
			n_bad++;
		}
	return n_bad;
}

int main(int argc, char **argv)
{
	struct counts *counts, sum = {0};
	time_t begin = time(NULL);
	struct options o;
	int n_bad;

	options_read(argc, argv, &o);
	counts = mmap(NULL, JOBS_MAX * sizeof(*counts), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 1;
	n_bad = run_jobs(&o, counts);
	for (uint64_t i = 0; i < o.n_jobs; i++)
		for (size_t k = 0; k < sizeof(sum) / sizeof(uint64_t); k++)
			((uint64_t *)&sum)[k] += ((const uint64_t *)&counts[i])[k];
	if (n_bad)
		return 1;
	if (!o.trace) {
		print_histogram(&sum);
		(void)printf("%" PRIu64 " steps, %" PRIu64 " of them successful, from seed %" PRIu64
			     "; everything compared %" PRIu64 " times; %ld s\n",
			sum.n_steps, sum.n_good, o.seed, sum.n_checks, (long)(time(NULL) - begin));
	}
	return judge(&sum) ? 1 : 0;
}
