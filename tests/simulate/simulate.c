/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Simulations, one a seed: see simulate.h.
 *
 *	simulate [--seed=N] [--seeds=N | --seconds=N] [--steps=N] [--jobs=N] [--hostile=N] [--trace]
 *		[--log]
 *
 * Runs the seeds from --seed on, so many, or for so long; --steps ends each after so many steps,
 * however far it is. About one seed in --hostile=N has hostile processes besides (3; 0: none; 1:
 * all); the others are the same whatever N is. --trace prints every choice, call, result and event;
 *--log what msgd and libmsg log. A seed that fails says what, at which step, and how to see it
 * again. Then what was met.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulate/simulate.h"
#include "tests/support/number.h"

#define JOBS_MAX     16U
#define SEED_LIMIT_S 120U /* a seed takes less than one: this is a loop that makes no step */

struct options {
	uint64_t seed, n_seeds, n_seconds, n_steps, n_jobs, hostile;
	bool trace, log;
};

static const char *const call_names[N_CALLS] = {"msg_ctx_open", "msg_listen", "msg_connect",
	"msg_accept", "msg_send", "msg_recv", "msg_close"};

static void options_read(int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 't'},
		{"steps", required_argument, NULL, 'p'},
		{"jobs", required_argument, NULL, 'j'},
		{"hostile", required_argument, NULL, 'h'},
		{"trace", no_argument, NULL, 'T'},
		{"log", no_argument, NULL, 'L'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.seed = 1, .n_seeds = 1, .n_jobs = 1, .hostile = 3};
	while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		if (c == 's')
			o->seed = number(optarg);
		else if (c == 'n')
			o->n_seeds = number(optarg);
		else if (c == 't')
			o->n_seconds = number(optarg);
		else if (c == 'p')
			o->n_steps = number(optarg);
		else if (c == 'j')
			o->n_jobs = number(optarg);
		else if (c == 'h')
			o->hostile = number(optarg);
		else if (c == 'T')
			o->trace = true;
		else if (c == 'L')
			o->log = true;
		else
			exit(2);
	}
	if (optind != argc || o->n_jobs == 0 || o->n_jobs > JOBS_MAX)
		exit(2);
}

static struct run run_of(const struct options *o, uint64_t seed)
{
	return (struct run){.seed = seed,
		.n_steps = o->n_steps,
		.hostile_one_in = (uint32_t)o->hostile,
		.trace = o->trace,
		.log = o->log};
}

/* A process of its own for each seed: those that die in it free nothing. False: it failed. */
static bool run_seed(const struct options *o, uint64_t seed, struct counts *counts)
{
	struct run run = run_of(o, seed);
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid == 0) {
		(void)alarm(SEED_LIMIT_S);
		world_run(&run, counts);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0)
		return false;
	if (WIFSIGNALED(status))
		(void)fprintf(stderr,
			"seed %" PRIu64 ": %s\nagain: simulate --seed=%" PRIu64 " --trace\n", seed,
			strsignal(WTERMSIG(status)), seed);
	return status == 0;
}

static bool run_job(const struct options *o, uint64_t job, struct counts *counts)
{
	time_t begin = time(NULL);

	for (uint64_t i = job; o->n_seconds || i < o->n_seeds; i += o->n_jobs) {
		if (o->n_seconds && (uint64_t)(time(NULL) - begin) >= o->n_seconds)
			break;
		if (!run_seed(o, o->seed + i, counts))
			return false;
	}
	return true;
}

static bool run_jobs(const struct options *o, struct counts *counts)
{
	bool good = true;
	int status;

	for (uint64_t i = 0; i < o->n_jobs; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return false;
		if (pid == 0)
			_exit(run_job(o, i, &counts[i]) ? 0 : 1);
	}
	for (uint64_t i = 0; i < o->n_jobs; i++)
		good &= wait(&status) >= 0 && status == 0;
	return good;
}

static void print_count(const char *what, uint64_t n)
{
	if (n)
		(void)printf("%-34s %12" PRIu64 "\n", what, n);
}

static void print_counts(const struct counts *c)
{
	char text[64];

	print_count("channels over Argo, whole", c->channels[LIBMSG_TRANSPORT_ARGO]);
	print_count("channels over argo-strict, whole", c->channels[LIBMSG_TRANSPORT_ARGO_STRICT]);
	print_count("channels over grants, whole", c->channels[LIBMSG_TRANSPORT_GRANT]);
	print_count("connects without msgd", c->ahead);
	print_count("ends of channels that were cut", c->cut);
	print_count("messages", c->messages);
	print_count("bytes", c->bytes);
	print_count("hypercalls and calls of hv.h", c->calls);
	print_count("of these, preempted", c->preempted);
	print_count("interrupts", c->interrupts);
	print_count("of these, late", c->late);
	print_count("of these, coalesced with a late", c->coalesced);
	print_count("spurious events and wake-ups", c->spurious);
	print_count("domains destroyed", c->domains_destroyed);
	print_count("domains paused", c->paused);
	print_count("processes killed", c->processes_killed);
	print_count("msgd killed or stopped", c->msgd_ended);
	print_count("seeds with hostile processes", c->hostile);
	print_count("attacks", c->attacks);
	for (uint32_t i = 0; i < SIM_N_FAULTS; i++) {
		(void)snprintf(text, sizeof(text), "fault: %s", sim_fault_name(i));
		print_count(text, c->faults[i]);
	}
	for (uint32_t call = 0; call < N_CALLS; call++)
		for (uint32_t error = 0; error < N_ERRNOS; error++) {
			(void)snprintf(text, sizeof(text), "%s: %s", call_names[call],
				strerrorname_np((int)error));
			print_count(text, c->errors[call][error]);
		}
}

int main(int argc, char **argv)
{
	struct counts *counts, sum = {0};
	time_t begin = time(NULL);
	struct options o;
	struct run run;

	options_read(argc, argv, &o);
	run = run_of(&o, o.seed);
	counts = mmap(NULL, JOBS_MAX * sizeof(*counts), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 1;
	/* Alone in this process, for a debugger's and a leak checker's sake. */
	if (o.trace || (o.n_seeds == 1 && !o.n_seconds))
		world_run(&run, counts);
	else if (!run_jobs(&o, counts))
		return 1;
	for (uint64_t i = 0; i < JOBS_MAX; i++)
		for (size_t k = 0; k < sizeof(sum) / sizeof(uint64_t); k++)
			((uint64_t *)&sum)[k] += ((const uint64_t *)&counts[i])[k];
	if (!o.trace) {
		print_counts(&sum);
		(void)printf("%" PRIu64 " seeds from %" PRIu64 " on, %" PRIu64 " steps; %ld s\n",
			sum.seeds, o.seed, sum.steps, (long)(time(NULL) - begin));
	}
	(void)fflush(stdout);
	/* Memory of dead processes, or of ones that were stopped half-way, is no leak. */
	if (sum.processes_killed || sum.domains_destroyed || sum.msgd_ended || o.n_steps)
		_exit(0);
	return 0;
}
