/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/testbed.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/pattern.h"

static struct {
	char dir[64], xen[96];
	pid_t owner; /* the process that started them: its children must not clean up */
	pid_t sim, msgd;
	unsigned n_msgd;
} bed;

/* ---- the end ------------------------------------------------------------------------------- */

/* Safe in a signal handler. */
static void shell(const char *command)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", command, bed.dir, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
}

static void last_words(void)
{
	(void)signal(SIGALRM, SIG_DFL);
	(void)fprintf(stderr, "\t(msg_reason: %s)\n", msg_reason());
	if (getenv("TESTBED_STOP"))
		(void)raise(SIGSTOP); /* for a debugger */
	if (bed.dir[0] && getpid() == bed.owner)
		shell("tail -n 50 \"$0\"/*.log >&2; rm -rf \"$0\"");
}

void testbed_die_errno(const char *file, int line, const char *call, const char *expected)
{
	int error = errno;

	(void)fprintf(stderr, "%s:%d: %s: errno is %s, not %s\n", file, line, call,
		error ? strerrorname_np(error) : "0", expected);
	last_words();
	abort();
}

bool testbed_said_why(void)
{
	return strlen(msg_reason()) > 5 && strcmp(msg_reason(), "no failure so far") != 0;
}

static void on_alarm(int sig)
{
	static const char text[] = "the watchdog's time is over: something hangs\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	last_words();
	abort();
}

void testbed_watchdog(unsigned seconds)
{
	struct sigaction action = {.sa_handler = on_alarm};

	(void)sigaction(SIGALRM, &action, NULL);
	(void)alarm(seconds);
}

uint64_t testbed_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* ---- programs ------------------------------------------------------------------------------- */

/* Its output goes to dir/NAME.log. It dies with us. */
static pid_t program_start(const char *log, char *const *argv)
{
	char path[128];
	pid_t parent = getpid(), pid;

	(void)snprintf(path, sizeof(path), "%s/%s.log", bed.dir, log);
	(void)fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

		(void)dup2(fd, STDOUT_FILENO);
		(void)dup2(fd, STDERR_FILENO);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			(void)execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int program_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		must(errno == EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *program(const char *variable)
{
	char *path = getenv(variable);

	if (!path) {
		(void)fprintf(stderr, "%s is not set: run this by meson test\n", variable);
		exit(2);
	}
	return path;
}

static void file_write(char path[128], const char *name, const char *text)
{
	FILE *file;

	(void)snprintf(path, 128, "%s/%s", bed.dir, name);
	file = fopen(path, "w");
	must(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static int sim(const char *a, const char *b, const char *c)
{
	char *argv[] = {program("XEN_SIM_EXE"), bed.xen, (char *)(uintptr_t)a, (char *)(uintptr_t)b,
		(char *)(uintptr_t)c, NULL};

	return program_wait(program_start("tool", argv));
}

bool testbed_sim(const char *command, const char *argument)
{
	return sim(command, argument, NULL) == 0;
}

void testbed_msgd_start(void)
{
	char hv[128], config[128], policy[128];
	char *argv[] = {program("MSGD_EXE"), hv, config, policy, NULL};

	(void)snprintf(hv, sizeof(hv), "--hv=sim:%s", bed.xen);
	(void)snprintf(config, sizeof(config), "--config=%s/msgd.conf", bed.dir);
	(void)snprintf(policy, sizeof(policy), "--policy=%s/test.policy", bed.dir);
	bed.msgd = program_start("msgd", argv);
}

void testbed_msgd_kill(void)
{
	must(kill(bed.msgd, SIGKILL) == 0);
	(void)program_wait(bed.msgd);
	bed.msgd = 0;
}

void testbed_policy(const char *policy)
{
	char path[128];

	file_write(path, "test.policy", policy);
	must(kill(bed.msgd, SIGHUP) == 0);
}

const char *testbed_transport(void)
{
	const char *transport = getenv("TESTBED_TRANSPORT");

	return transport ? transport : "any";
}

void testbed_start(const char *policy, const char *config)
{
	char path[128], all[128];
	char *argv[] = {program("XEN_SIM_EXE"), bed.xen, NULL};

	must(!bed.dir[0]);
	testbed_watchdog(120);
	must_last_words = last_words;
	(void)snprintf(bed.dir, sizeof(bed.dir), "%s/msgd-testbed-XXXXXX",
		getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	must(mkdtemp(bed.dir));
	bed.owner = getpid();
	(void)snprintf(bed.xen, sizeof(bed.xen), "%s/xen", bed.dir);
	file_write(path, "msgd.conf", config ? config : "");
	(void)snprintf(all, sizeof(all),
		"allow listen * on any\nallow connect * from any to any transport=%s\n",
		testbed_transport());
	file_write(path, "test.policy", policy ? policy : all);
	bed.sim = program_start("xen-sim", argv);
	for (int i = 0; sim("list", NULL, NULL) != 0; i++) {
		must(i < 3000);
		(void)poll(NULL, 0, 20); /* it says nothing when it can be reached */
	}
	testbed_msgd_start();
	/* The first to attach waits for msgd. */
	msg_ctx_close(testbed_ctx("Domain-0", 0));
	testbed_watchdog(0);
}

void testbed_stop(void)
{
	must(kill(bed.msgd, SIGTERM) == 0);
	must(program_wait(bed.msgd) == 0);
	must(testbed_sim("shutdown", NULL));
	must(program_wait(bed.sim) == 0);
	shell("rm -rf \"$0\"");
	bed.dir[0] = '\0';
	testbed_watchdog(0);
}

int testbed_setup(void **state)
{
	testbed_start(NULL, NULL);
	return 0;
}

int testbed_teardown(void **state)
{
	testbed_stop();
	return 0;
}

void testbed_domain(const char *domain, bool argo)
{
	/* It may be there, then this fails. */
	if (argo)
		(void)sim("create", domain, NULL);
	else
		(void)sim("create", "--no-argo", domain);
}

const char *testbed_hv(const char *domain)
{
	static _Thread_local char hv[192];

	(void)snprintf(hv, sizeof(hv), "sim:%s#%s", bed.xen, domain);
	return hv;
}

struct msg_ctx *testbed_ctx(const char *domain, unsigned flags)
{
	struct msg_ctx *ctx = msg_ctx_open(testbed_hv(domain), flags, TESTBED_WAIT_MS);

	if (!ctx && errno == EHOSTUNREACH) {
		testbed_domain(domain, true);
		ctx = msg_ctx_open(testbed_hv(domain), flags, TESTBED_WAIT_MS);
	}
	must(ctx);
	return ctx;
}

struct connecting {
	struct msg_ctx *ctx;
	int type;
	char address[128];
	struct msg_sock *sock;
};

static void connect_to(void *arg)
{
	struct connecting *c = arg;

	c->sock = msg_connect(c->ctx, c->address, c->type, 0, TESTBED_WAIT_MS);
	must(c->sock);
}

void testbed_channel_of(int type, struct msg_ctx *from, struct msg_ctx *to, const char *to_domain,
	struct msg_sock *ret[2])
{
	static _Atomic unsigned n;
	struct connecting c = {.ctx = from, .type = type};
	struct msg_sock *listener;
	struct worker worker;
	char name[32];

	(void)snprintf(name, sizeof(name), "testbed.%u", n++);
	(void)snprintf(c.address, sizeof(c.address), "%s/%s", to_domain, name);
	listener = msg_listen(to, name, type, 1, 0);
	must(listener);
	worker_start(&worker, connect_to, &c);
	ret[1] = msg_accept(listener, 0);
	must(ret[1]);
	worker_join(&worker);
	ret[0] = c.sock;
	must(msg_close(listener) == 0);
}

void testbed_channel(
	struct msg_ctx *from, struct msg_ctx *to, const char *to_domain, struct msg_sock *ret[2])
{
	testbed_channel_of(LIBMSG_SEQPACKET, from, to, to_domain, ret);
}

/* ---- threads ------------------------------------------------------------------------------- */

static void *worker_run(void *arg)
{
	struct worker *worker = arg;

	worker->tid = gettid();
	worker->fn(worker->arg);
	return NULL;
}

void worker_start(struct worker *worker, void (*fn)(void *arg), void *arg)
{
	*worker = (struct worker){.fn = fn, .arg = arg};
	must(pthread_create(&worker->thread, NULL, worker_run, worker) == 0);
}

void worker_join(struct worker *worker)
{
	must(pthread_join(worker->thread, NULL) == 0);
}

static bool thread_sleeps(pid_t tid)
{
	char path[64], text[256], *p;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true; /* it ended */
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return true;
	text[n] = '\0';
	p = strrchr(text, ')');
	must(p);
	return p[2] == 'S';
}

/* Twice, some time apart: it may have slept on a lock, on its way. */
void worker_await_sleep(struct worker *worker)
{
	for (int n = 0; n < 3;) {
		(void)poll(NULL, 0, 1);
		n = worker->tid && thread_sleeps(worker->tid) ? n + 1 : 0;
	}
}

static void pump_run(void *arg)
{
	static _Atomic unsigned n;
	struct pump *pump = arg;
	struct msg_sock *listener;
	char name[32];

	(void)snprintf(name, sizeof(name), "pump.%u", n++);
	listener = msg_listen(pump->ctx, name, LIBMSG_SEQPACKET, 1, 0);
	must(listener && msg_setopt(listener, LIBMSG_RCVTIMEO, 20) == 0);
	while (!pump->stopped)
		must_fail_null(msg_accept(listener, 0), EAGAIN);
	must(msg_close(listener) == 0);
}

void pump_start(struct pump *pump, struct msg_ctx *ctx)
{
	pump->ctx = ctx;
	pump->stopped = false;
	worker_start(&pump->worker, pump_run, pump);
}

void pump_stop(struct pump *pump)
{
	pump->stopped = true;
	worker_join(&pump->worker);
}

/* ---- messages ------------------------------------------------------------------------------- */

static uint64_t seed_of(const struct stamp *stamp)
{
	return (uint64_t)stamp->stream << 32 ^ stamp->number ^ (uint64_t)stamp->len << 40;
}

void stamp_make(void *data, uint32_t stream, uint32_t number, uint32_t len)
{
	struct stamp stamp = {.stream = stream, .number = number, .len = len};

	must(len >= sizeof(stamp));
	memcpy(data, &stamp, sizeof(stamp));
	pattern_fill((uint8_t *)data + sizeof(stamp), len - sizeof(stamp), seed_of(&stamp));
}

struct stamp stamp_check(const void *data, ssize_t len)
{
	struct stamp stamp;

	must(len >= (ssize_t)sizeof(stamp));
	memcpy(&stamp, data, sizeof(stamp));
	must((ssize_t)stamp.len == len);
	must(pattern_is(
		(const uint8_t *)data + sizeof(stamp), stamp.len - sizeof(stamp), seed_of(&stamp)));
	return stamp;
}
