/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that is stopped, by a signal or by a debugger, while it holds one of the emulator's
 * locks: the others go on within the limit of lock.h, and xen-sim's log names it within a second.
 * One that is stopped elsewhere, that goes on in time, that merely takes the lock all the time, or
 * that waits for the stopped one with locks of its own, is left alone. A stopped xen-sim is named
 * by whoever waits for it.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

#include "hv/sim/memory/lock.h"
#include "hv/sim/testing/sim.h"
#include "tests/unit/sim/process.h"

#define LIMIT	   "1000"
#define LIMIT_MS   1000
#define REPORT_MS  1000 /* the report is promised within it */
#define USE_MS	   4000 /* beyond the limit */
#define HANG_MS	   60000
#define WAIT_MAX_S 120 /* the test's own patience */

/*
 * Both are of the quickest of all cases: on a busy machine a process may be late by seconds for
 * lack of a processor, but not each time.
 */
static double quickest_report_ms = HANG_MS, quickest_wait_ms = HANG_MS;

struct scene {
	struct emulator emulator;
	char log[128];
	struct hv *other; /* of the test's own process */
};

static double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

/* xen-sim keeps its stderr. */
static bool emulator_start_logged(struct scene *s, const char *option)
{
	int keep = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0), log, r;

	(void)snprintf(s->log, sizeof(s->log), "%s/log", s->emulator.dir);
	log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (keep < 0 || log < 0 || dup2(log, STDERR_FILENO) < 0)
		return false;
	r = emulator_run(&s->emulator, "-d", option, NULL, NULL);
	(void)dup2(keep, STDERR_FILENO);
	(void)close(keep);
	(void)close(log);
	return r == 0;
}

static struct hv *open_web(struct scene *s)
{
	const char *reason;
	char spec[160];
	struct hv *hv;

	(void)snprintf(spec, sizeof(spec), "sim:%s#web", s->emulator.path);
	assert_int_equal(hv_open(spec, &hv, &reason), 0);
	return hv;
}

static void setup(struct scene *s, const char *option)
{
	*s = (struct scene){0};
	assert_true(emulator_dir(&s->emulator));
	assert_true(emulator_start_logged(s, option));
	assert_int_equal(emulator_run(&s->emulator, "create", "web", NULL, NULL), 0);
	s->other = open_web(s);
	(void)alarm(WAIT_MAX_S);
}

static void teardown(struct scene *s)
{
	(void)alarm(0);
	assert_int_equal(segment_check(sim_hv_xen(s->other), stderr), 0);
	hv_close(s->other);
	(void)unlink(s->log);
	emulator_stop(&s->emulator);
}

/* A participant's messages go where xen-sim's messages go. */
static void say_to_log(const struct scene *s)
{
	int fd = open(s->log, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(2);
}

static void log_read(const struct scene *s, char *ret_text, size_t size)
{
	int fd = open(s->log, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	ret_text[n > 0 ? n : 0] = 0;
	(void)close(fd);
}

/* ---- the victim ------------------------------------------------------------------------------ */

struct victim {
	pid_t pid;
	uint32_t slot;
};

enum where {
	OUTSIDE,    /* and again and again goes on by itself */
	TAKING,	    /* the lock for all, and not all of the others yet */
	CHANGING,   /* with all locks, before the commit */
	PUBLISHING, /* and after it */
	IN_DOMAIN,  /* with the lock of its domain, after the commit */
};

struct stop {
	struct xen *xen;
	int sig; /* 0: it has stopped already */
	enum where where;
};

/* The lock that it is in then. */
static struct sim_guard *guard_of(struct xen *xen, enum where where)
{
	uint32_t domain = atomic_load(&xen->seg->slots[xen->slot].domain);

	return &xen->seg->guards[where == IN_DOMAIN ? SIM_GUARD_DOMAIN(domain) : SIM_GUARD_ALL];
}

static void on_step(void *arg)
{
	struct stop *stop = arg;
	const struct sim_guard *g = guard_of(stop->xen, stop->where);
	int sig = stop->sig;

	if (!sig)
		return;
	if (stop->where == CHANGING ? atomic_load(&g->n_undo) == 0
				    : stop->where != TAKING && !atomic_load(&g->committed))
		return;
	stop->sig = 0;
	(void)raise(sig);
}

/* Takes all locks, and takes one. */
static void use(struct hv *hv)
{
	struct hv_event event;
	uint32_t port, other;

	if (hv->ops->evtchn_alloc_unbound(hv, HV_DOMID_SELF, &port) < 0 ||
		hv->ops->evtchn_bind_interdomain(hv, HV_DOMID_SELF, port, &other) < 0 ||
		hv->ops->evtchn_send(hv, port) < 0 || hv->ops->evtchn_close(hv, other) < 0 ||
		hv->ops->evtchn_close(hv, port) < 0)
		_exit(3);
	while (hv->ops->poll_events(hv, &event, 1) > 0)
		;
}

/* Ends with 0 if it is continued. Stops by itself there. */
static struct victim victim_start(struct scene *s, int sig, enum where where)
{
	struct victim v;
	int slot[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, slot), 0);
	v.pid = fork();
	assert_true(v.pid >= 0);
	if (v.pid == 0) {
		struct hv *hv = open_web(s);
		struct stop stop = {.xen = sim_hv_xen(hv), .sig = sig, .where = where};

		say_to_log(s);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)prctl(PR_SET_NAME, "the (victim) x");
		(void)signal(SIGUSR1, SIG_IGN); /* a debugger sees it all the same */
		if (write(slot[1], &stop.xen->slot, 4) != 4 || read(slot[1], &v.slot, 1) != 1)
			_exit(2);
		if (where != OUTSIDE) {
			stop.xen->step_arg = &stop;
			stop.xen->step = on_step;
		} else {
			(void)raise(SIGSTOP);
		}
		use(hv);
		hv_close(hv);
		_exit(0);
	}
	(void)close(slot[1]);
	assert_int_equal(read(slot[0], &v.slot, 4), 4);
	if (sig == SIGUSR1)
		assert_int_equal(ptrace(PTRACE_SEIZE, v.pid, NULL, NULL), 0);
	assert_int_equal(write(slot[0], "", 1), 1);
	(void)close(slot[0]);
	return v;
}

static void victim_await_stop(const struct scene *s, const struct victim *v, enum where where)
{
	uint32_t word;
	int status;

	assert_int_equal(waitpid(v->pid, &status, WUNTRACED), v->pid);
	assert_true(WIFSTOPPED(status));
	word = atomic_load(&guard_of(sim_hv_xen(s->other), where)->word) & LOCK_SLOT;
	assert_int_equal(word == v->slot + 1, where != OUTSIDE);
}

static int victim_end(const struct victim *v)
{
	int status;

	assert_int_equal(waitpid(v->pid, &status, 0), v->pid);
	return status;
}

/* ---- somebody who waits ------------------------------------------------------------------ */

struct waiter {
	pid_t pid;
	int fd; /* owned: a byte each way, then how long it took */
};

static struct waiter waiter_start(struct scene *s)
{
	struct waiter w;
	int fds[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	w.pid = fork();
	assert_true(w.pid >= 0);
	if (w.pid == 0) {
		struct hv *hv = open_web(s);
		double start;

		say_to_log(s);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(fds[1], "", 1) != 1 || read(fds[1], &byte, 1) != 1)
			_exit(2);
		start = now_ms();
		use(hv);
		start = now_ms() - start;
		if (write(fds[1], &start, sizeof(start)) != sizeof(start))
			_exit(2);
		hv_close(hv);
		_exit(0);
	}
	(void)close(fds[1]);
	w.fd = fds[0];
	assert_int_equal(read(w.fd, &byte, 1), 1);
	return w;
}

static double waiter_end(const struct waiter *w)
{
	double ms = -1;
	int status;

	assert_int_equal(read(w->fd, &ms, sizeof(ms)), sizeof(ms));
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	assert_int_equal(status, 0);
	(void)close(w->fd);
	return ms;
}

/* Waits until the log names the victim; ret_text has the log. Returns the time that it took. */
static double await_report(
	const struct scene *s, const struct victim *v, char *ret_text, size_t size)
{
	double start = now_ms();
	char who[64];

	(void)snprintf(who, sizeof(who), "process %d (the (victim) x) of domain web ", v->pid);
	do {
		(void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		log_read(s, ret_text, size);
	} while (!strstr(ret_text, who) && now_ms() - start < HANG_MS);
	assert_non_null(strstr(ret_text, who));
	return now_ms() - start;
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void stop_inside(int sig, enum where where, const char *how)
{
	struct waiter waiters[3];
	struct victim victim;
	double report_ms, ms = 0;
	struct sim_segment *seg;
	struct scene s;
	char text[2048];
	int status;

	setup(&s, "--stopped-limit=" LIMIT);
	seg = sim_hv_xen(s.other)->seg;
	for (int i = 0; i < 3; i++)
		waiters[i] = waiter_start(&s);
	victim = victim_start(&s, sig, where);
	victim_await_stop(&s, &victim, where);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write(waiters[i].fd, "", 1), 1);
	report_ms = await_report(&s, &victim, text, sizeof(text));
	assert_non_null(strstr(text, how));
	for (int i = 0; i < 3; i++) {
		ms = waiter_end(&waiters[i]);
		assert_true(ms >= LIMIT_MS);
		quickest_wait_ms = ms < quickest_wait_ms ? ms : quickest_wait_ms;
	}
	print_message("named after %.0f ms; the others stood still for %.0f ms\n", report_ms, ms);
	quickest_report_ms = report_ms < quickest_report_ms ? report_ms : quickest_report_ms;
	status = victim_end(&victim);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	log_read(&s, text, sizeof(text));
	assert_non_null(strstr(text, "killing it"));
	assert_int_equal(atomic_load(&seg->recovered_all.n_recovered), where != IN_DOMAIN);
	assert_int_equal(atomic_load(&seg->recovered_domain.n_recovered), where == IN_DOMAIN);
	teardown(&s);
}

static void test_stopped(void **state)
{
	for (enum where where = TAKING; where <= IN_DOMAIN; where++)
		stop_inside(SIGSTOP, where, " is stopped inside the emulator's lock");
}

static void test_debugged(void **state)
{
	char how[64];

	(void)snprintf(how, sizeof(how), " is stopped by process %d (", getpid());
	stop_inside(SIGUSR1, CHANGING, how);
}

static void test_in_time(void **state)
{
	assert_true(quickest_report_ms < REPORT_MS);
	assert_true(quickest_wait_ms < LIMIT_MS + LIMIT_MS / 2); /* as lock.h promises */
}

/* It is continued: nobody is killed. So is one that xen-sim must not kill at all. */
static void goes_on(const char *option, const char *says, enum where where)
{
	struct waiter waiter;
	struct victim victim;
	struct scene s;
	char text[2048];

	setup(&s, option);
	waiter = waiter_start(&s);
	victim = victim_start(&s, SIGSTOP, where);
	victim_await_stop(&s, &victim, where);
	assert_int_equal(write(waiter.fd, "", 1), 1);
	(void)await_report(&s, &victim, text, sizeof(text)); /* stop_inside looks at the time */
	assert_non_null(strstr(text, says));
	assert_int_equal(kill(victim.pid, SIGCONT), 0);
	(void)waiter_end(&waiter);
	assert_int_equal(victim_end(&victim), 0);
	log_read(&s, text, sizeof(text));
	assert_null(strstr(text, "killing"));
	assert_int_equal(atomic_load(&sim_hv_xen(s.other)->seg->recovered_all.n_recovered), 0);
	assert_int_equal(atomic_load(&sim_hv_xen(s.other)->seg->recovered_domain.n_recovered), 0);
	teardown(&s);
}

static void test_goes_on(void **state)
{
	goes_on("--stopped-limit=10000", "it is killed if it does not go on within 9", PUBLISHING);
	goes_on("--stopped-limit=0", "everybody waits for it", IN_DOMAIN);
}

/*
 * xen-sim is stopped with the lock for all, on its way to the others: a victim makes it wait there,
 * and then lets it have them, when it is stopped. A process that waits for it names it, on its own
 * stderr.
 */
static void test_authority(void **state)
{
	struct waiter waiter;
	struct victim victim;
	struct scene s;
	struct sim_guard *all;
	char text[2048], who[64];
	double start;
	pid_t xen_sim, create;
	int status;

	setup(&s, "--stopped-limit=0");
	all = &sim_hv_xen(s.other)->seg->guards[SIM_GUARD_ALL];
	xen_sim = atomic_load(&sim_hv_xen(s.other)->seg->slots[0].pid);
	waiter = waiter_start(&s);
	victim = victim_start(&s, SIGSTOP, IN_DOMAIN);
	victim_await_stop(&s, &victim, IN_DOMAIN);
	create = emulator_spawn(&s.emulator, "create", "db", NULL, NULL);
	while ((atomic_load(&all->word) & LOCK_SLOT) != 1)
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(kill(xen_sim, SIGSTOP), 0);
	assert_int_equal(kill(victim.pid, SIGCONT), 0);
	assert_int_equal(write(waiter.fd, "", 1), 1);
	start = now_ms();
	(void)snprintf(who, sizeof(who),
		"process %d (xen-sim) of domain Domain-0 is stopped inside", xen_sim);
	do {
		(void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		log_read(&s, text, sizeof(text));
	} while (!strstr(text, who) && now_ms() - start < HANG_MS);
	print_message("named after %.0f ms\n", now_ms() - start);
	assert_non_null(strstr(text, who));
	assert_int_equal(kill(xen_sim, SIGCONT), 0);
	(void)waiter_end(&waiter);
	assert_int_equal(victim_end(&victim), 0);
	assert_int_equal(waitpid(create, &status, 0), create);
	assert_int_equal(status, 0);
	teardown(&s);
}

/* Beyond the limit, while others use the emulator without a break. */
static void test_stopped_outside(void **state)
{
	struct victim victim;
	struct scene s;
	char text[2048];
	double start;

	setup(&s, "--stopped-limit=" LIMIT);
	victim = victim_start(&s, SIGSTOP, OUTSIDE);
	victim_await_stop(&s, &victim, OUTSIDE);
	for (start = now_ms(); now_ms() - start < LIMIT_MS + USE_MS;)
		use(s.other);
	log_read(&s, text, sizeof(text));
	assert_string_equal(text, "");
	assert_int_equal(kill(victim.pid, SIGCONT), 0);
	assert_int_equal(victim_end(&victim), 0);
	teardown(&s);
}

static void hold_for_a_while(void *arg)
{
	(void)nanosleep(&(struct timespec){.tv_nsec = 12000000}, NULL);
}

/* A process that waits finds the same owner at every look, but another holding each time. */
static void test_hog(void **state)
{
	struct scene s;
	char text[2048];
	double start;
	int status;
	pid_t pid;

	setup(&s, "--stopped-limit=" LIMIT);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct hv *hv = open_web(&s);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		sim_hv_xen(hv)->step = hold_for_a_while;
		for (start = now_ms(); now_ms() - start < 2 * LIMIT_MS;)
			use(hv);
		sim_hv_xen(hv)->step = NULL;
		hv_close(hv);
		_exit(0);
	}
	for (start = now_ms(); now_ms() - start < 2 * LIMIT_MS;)
		use(s.other);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	log_read(&s, text, sizeof(text));
	assert_string_equal(text, "");
	teardown(&s);
}

static void test_option(void **state)
{
	struct emulator e;

	assert_true(emulator_dir(&e));
	assert_int_equal(emulator_run(&e, "--stopped-limit=", NULL, NULL, NULL), 2);
	assert_int_equal(emulator_run(&e, "--stopped-limit=-1", NULL, NULL, NULL), 2);
	assert_int_equal(emulator_run(&e, "--stopped-limit=1s", NULL, NULL, NULL), 2);
	assert_int_equal(emulator_run(&e, "--stopped-limit=99999999999", NULL, NULL, NULL), 2);
	assert_int_equal(emulator_run(&e, "--stopped", NULL, NULL, NULL), 2);
	assert_int_equal(rmdir(e.dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_debugged),
		cmocka_unit_test(test_in_time),
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_authority),
		cmocka_unit_test(test_stopped_outside),
		cmocka_unit_test(test_hog),
		cmocka_unit_test(test_option),
	};

	return cmocka_run_group_tests_name("sim-stopped", tests, NULL, NULL);
}
