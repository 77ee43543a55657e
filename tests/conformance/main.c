/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One conformance suite for every backend of hv.h.
 *
 *	conformance --hv=WORLD[:SPEC] [--list] [--stop] [NAME...]
 *
 * prints TAP, one line a case, each run in a process and a world of its own: a backend that
 * crashes fails its case only. NAME picks cases by group, or group/name; --stop ends at the first
 * failure. CONFORMANCE_WAIT_MS is how long an event may take, for machines slower than most.
 * `--agent SPEC` is how a world makes actors: it opens SPEC on command and serves descriptor 0
 * (agent.h). `--guest TERMINAL` serves agents in a guest of a real Xen (world-xen.c).
 */
#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/conformance/agent-probe.h"
#include "tests/conformance/case.h"
#include "tests/conformance/lane.h"
#include "tests/support/tsan.h"

/* A case takes seconds; a machine that others use may be slow. */
#define CASE_LIMIT_S (TSAN ? 200 : 100)

static const struct test_group *const groups[] = {
	&evtchn_group,
	&argo_group,
	&argo_watch_group,
	&argo_stress_group,
	&grant_group,
	&notify_group,
	&parcel_group,
	&store_group,
	&domain_group,
	&death_group,
	&fd_group,
	&limits_group,
	&open_group,
};

struct world *the_world;

void case_pause(void)
{
	struct timespec two_ms = {.tv_nsec = 2000000};

	(void)nanosleep(&two_ms, NULL);
}

int64_t case_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* No cleaning up: the runner ends the world, and actors end when their descriptor does. */
void case_fail(const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	va_list ap;

	printf("# %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void check_int(const char *file, int line, const char *what, int64_t got, int64_t want)
{
	const char *got_name = got < 0 && got > -4096 ? strerrorname_np((int)-got) : NULL;
	const char *want_name = want < 0 && want > -4096 ? strerrorname_np((int)-want) : NULL;

	if (got != want)
		case_fail(file, line, "%s: got %ld%s%s, not %ld%s%s", what, (long)got,
			got_name ? " " : "", got_name ? got_name : "", (long)want,
			want_name ? " " : "", want_name ? want_name : "");
}

static int open_spec(void *arg, struct hv **ret_hv)
{
	return hv_open(arg, ret_hv, NULL);
}

static int agent_main(char *spec)
{
	return agent_serve(agent_new(open_spec, strdup(spec)), 0);
}

/* The case's process. A descriptor that was not given back fails the case. */
__attribute__((noreturn)) static void case_run(struct world *world, const struct test_case *c)
{
	int fds = probe_count_fds(false), r;

	(void)alarm((unsigned int)(world->ops->limit_s ? world->ops->limit_s : CASE_LIMIT_S));
	(void)signal(SIGPIPE, SIG_IGN);
	the_world = world;
	r = world->ops->start(world);
	if (r < 0)
		case_fail(__FILE__, __LINE__, "the world does not start: %s", strerror(-r));
	c->fn();
	actor_close_all();
	world->ops->stop(world);
	CHECK_INT(probe_count_fds(false), fds);
	exit(0); /* through the leak checker, if there is one */
}

static void dir_remove(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)rmdir(path);
}

static int wait_ms(void)
{
	const char *env = getenv("CONFORMANCE_WAIT_MS");
	int ms = env ? atoi(env) : 0;

	return ms > 0 ? ms : 5000;
}

static bool case_passes(const struct world_ops *ops, const char *spec, const struct test_case *c)
{
	struct world world = {
		.ops = ops, .spec = spec, .wait_ms = wait_ms(), .settle_ms = ops->settle_ms};
	int status;
	pid_t pid;

	strcpy(world.dir, "/tmp/msgd-conformance-XXXXXX");
	if (!mkdtemp(world.dir))
		return false;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		case_run(&world, c);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	if (WIFSIGNALED(status))
		printf("# ended by signal %d%s\n", WTERMSIG(status),
			WTERMSIG(status) == SIGALRM ? " (time limit)" : "");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		ops->stop(&world);
	dir_remove(world.dir);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool case_picked(const char *group, const char *name, char **picks, int n_picks)
{
	char full[128];

	snprintf(full, sizeof(full), "%s/%s", group, name);
	for (int i = 0; i < n_picks; i++)
		if (strcmp(picks[i], group) == 0 || strcmp(picks[i], full) == 0)
			return true;
	return n_picks == 0;
}

/* Returns whether the case did not fail. */
static bool case_report(const struct world_ops *ops, const char *spec, size_t number,
	const char *group, const struct test_case *c)
{
	const char *why = world_why_not(ops, c->needs);
	int64_t start = case_now_ms();
	bool ok;

	if (why) {
		printf("ok %zu - %s/%s # SKIP %s cannot do: %s\n", number, group, c->name,
			ops->name, why);
		return true;
	}
	ok = case_passes(ops, spec, c);
	printf("%s %zu - %s/%s\n", ok ? "ok" : "not ok", number, group, c->name);
	if (case_now_ms() - start > 2000)
		printf("# %s/%s took %ld ms\n", group, c->name, (long)(case_now_ms() - start));
	fflush(stdout);
	return ok;
}

static int suite_run(
	const struct world_ops *ops, const char *spec, bool list, bool stop, char **picks, int n)
{
	size_t number = 0, failed = 0;

	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		for (size_t i = 0; i < groups[g]->n_cases && !(stop && failed); i++) {
			const struct test_case *c = &groups[g]->cases[i];

			if (!case_picked(groups[g]->name, c->name, picks, n))
				continue;
			number++;
			if (list)
				printf("%s/%s\n", groups[g]->name, c->name);
			else
				failed += !case_report(ops, spec, number, groups[g]->name, c);
		}
	}
	if (!list)
		printf("1..%zu\n", number);
	return failed || !number ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct world_ops *ops = NULL;
	const char *spec = "";
	bool list = false, stop = false;
	int i = 1;

	probe_base_inherited = probe_count_fds(true);
	if (argc == 3 && strcmp(argv[1], "--agent") == 0)
		return agent_main(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--guest") == 0)
		return guest_main(argv[2]);
	for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		if (strncmp(argv[i], "--hv=", 5) == 0) {
			ops = world_ops_find(argv[i] + 5);
			spec = strchr(argv[i], ':') ? strchr(argv[i], ':') + 1 : "";
		} else if (strcmp(argv[i], "--list") == 0) {
			list = true;
		} else if (strcmp(argv[i], "--stop") == 0) {
			stop = true;
		}
	}
	if (!ops) {
		fprintf(stderr, "usage: conformance "
				"--hv=inprocess|sim|xen:A,B,PROGRAM|xen-argo:... [--list] [--stop] "
				"[NAME...]\n");
		return 2;
	}
	return suite_run(ops, spec, list, stop, argv + i, argc - i);
}
