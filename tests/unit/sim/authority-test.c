/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen-sim from outside: who gets in and with which error, what malformed packets do (end their
 * sender's connection, and nothing else), and that nothing is left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "hv/sim/wire/connect.h"
#include "hv/sim/wire/packet.h"
#include "hv/sim/memory/proc.h"
#include "hv/sim/memory/segment.h"
#include "hv/sim/testing/sim.h"
#include "tests/support/must.h"
#include "tests/unit/sim/process.h"

static int setup(void **state)
{
	static struct emulator e;

	*state = &e;
	return emulator_start(&e) ? 0 : -1;
}

static int teardown(void **state)
{
	emulator_stop(*state);
	return 0;
}

static int open_at(const struct emulator *e, const char *domain, struct hv **ret_hv)
{
	const char *reason = NULL;
	char spec[256];
	int r;

	(void)snprintf(spec, sizeof(spec), "sim:%s%s", e->path, domain);
	r = hv_open(spec, ret_hv, &reason);
	if (r < 0)
		assert_non_null(reason);
	return r;
}

/* ---- attaching ------------------------------------------------------------------------------ */

static void test_attach(void **state)
{
	const struct emulator *e = *state;
	struct hv *hv, *again;

	assert_int_equal(open_at(e, "#nobody", &hv), -EHOSTUNREACH);
	assert_int_equal(open_at(e, "#", &hv), -EINVAL);
	assert_int_equal(emulator_run(e, "create", "web", NULL, NULL), 0);
	assert_int_equal(emulator_run(e, "create", "web", NULL, NULL), 1); /* taken */
	assert_int_equal(open_at(e, "", &hv), 0);
	assert_int_equal(hv->ops->domid(hv), 0);
	hv_close(hv);
	assert_int_equal(open_at(e, "#web", &hv), 0);
	assert_int_equal(hv->ops->domid(hv), 1);
	assert_int_equal(open_at(e, "#1", &again), 0); /* by domid; twice in one process */
	assert_int_equal(again->ops->domid(again), 1);
	hv_close(again);
	hv_close(hv);
	assert_int_equal(setenv("XEN_SIM_DOMAIN", "web", 1), 0);
	assert_int_equal(open_at(e, "", &hv), 0);
	assert_int_equal(hv->ops->domid(hv), 1);
	hv_close(hv);
	assert_int_equal(unsetenv("XEN_SIM_DOMAIN"), 0);
}

static void test_slots_run_out(void **state)
{
	const struct emulator *e = *state;
	static struct hv *handles[SIM_MAX_SLOTS];
	size_t n = 0;
	int r = 0;

	while (n < SIM_MAX_SLOTS && (r = open_at(e, "", &handles[n])) == 0)
		n++;
	assert_int_equal(r, -EUSERS);
	assert_int_equal(n, SIM_MAX_SLOTS - 1);
	hv_close(handles[17]);
	assert_int_equal(open_at(e, "", &handles[17]), 0);
	for (size_t i = 0; i < n; i++)
		hv_close(handles[i]);
}

/* Another user's process. If we are no other user, the socket is for nobody. */
static void test_not_permitted(void **state)
{
	const struct emulator *e = *state;
	const char *reason = "";
	int fd, status;
	pid_t pid;

	assert_int_equal(chmod(e->path, 0), 0);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && setuid(54321) < 0)
			_exit(1);
		if (sim_connect(e->path, &fd, &reason) != -EACCES)
			_exit(2);
		_exit(strncmp(reason, "permission denied: ", 19) == 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(e->path, 0700), 0);
}

static void test_nobody_there(void **state)
{
	struct emulator e;
	struct hv *hv;
	int fd;

	assert_true(emulator_dir(&e));
	assert_int_equal(open_at(&e, "", &hv), -ENOENT);
	/* A file: xen-sim leaves it alone. */
	fd = open(e.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(open_at(&e, "", &hv), -ENOENT);
	assert_int_equal(emulator_run(&e, "-d", NULL, NULL, NULL), 1);
	assert_int_equal(access(e.path, F_OK), 0);
	assert_int_equal(unlink(e.path), 0);
	assert_int_equal(rmdir(e.dir), 0);
}

static int listen_on(const char *path, int type)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

/* Something else listens there: refused, within a bounded time, and left alone by xen-sim. */
static void test_something_else(void **state)
{
	struct emulator e;
	struct hv *hv;
	int fd;

	assert_true(emulator_dir(&e));
	fd = listen_on(e.path, SOCK_STREAM);
	assert_int_equal(open_at(&e, "", &hv), -EPROTO);
	assert_int_equal(emulator_run(&e, "-d", NULL, NULL, NULL), 1);
	(void)close(fd);
	assert_int_equal(unlink(e.path), 0);
	fd = listen_on(e.path, SOCK_SEQPACKET); /* and never answers */
	assert_int_equal(open_at(&e, "", &hv), -EPROTO);
	(void)close(fd);
	/* A dead one's socket is taken over. */
	assert_int_equal(open_at(&e, "", &hv), -ENOENT);
	assert_int_equal(emulator_run(&e, "-d", NULL, NULL, NULL), 0);
	assert_int_equal(open_at(&e, "", &hv), 0);
	hv_close(hv);
	assert_int_equal(emulator_run(&e, "-d", NULL, NULL, NULL), 1); /* and one is enough */
	emulator_stop(&e);
}

/* Answers a greeting with another one than this build's. */
static void greet_wrongly(int listen_fd, uint16_t version, uint64_t layout, uint64_t namespace)
{
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct sim_message m;
	int fds[SIM_FDS_MAX];

	if (packet_recv(fd, &m, fds, 0) <= 0)
		_exit(1);
	m.header.version = version;
	m.hello.layout = layout;
	m.hello.pid_namespace = namespace;
	_exit(send(fd, &m, SIM_MESSAGE_LEN(hello), 0) == SIM_MESSAGE_LEN(hello) ? 0 : 1);
}

static void test_another_build(void **state)
{
	uint64_t ns = segment_pid_namespace();
	struct {
		uint16_t version;
		uint64_t layout, namespace;
		int want;
	} cases[] = {
		{SIM_PROTOCOL_VERSION + 1, SIM_LAYOUT, ns, -EPROTONOSUPPORT},
		{SIM_PROTOCOL_VERSION, SIM_LAYOUT + 1, ns, -EPROTONOSUPPORT},
		{SIM_PROTOCOL_VERSION, SIM_LAYOUT, ns + 1, -EXDEV},
	};
	struct emulator e;
	struct hv *hv;
	int fd, status;

	assert_true(emulator_dir(&e));
	fd = listen_on(e.path, SOCK_SEQPACKET);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pid_t pid = fork();

		if (pid == 0)
			greet_wrongly(fd, cases[i].version, cases[i].layout, cases[i].namespace);
		assert_int_equal(open_at(&e, "", &hv), cases[i].want);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	(void)close(fd);
	(void)unlink(e.path);
	(void)rmdir(e.dir);
}

/* ---- malformed packets ------------------------------------------------------------------- */

/* True if the connection is closed, which is what each of these must lead to. */
static bool is_ended(int fd)
{
	struct sim_message m;
	int fds[SIM_FDS_MAX];
	ssize_t n;

	do {
		n = packet_recv(fd, &m, fds, 0);
		packet_close_fds(fds);
	} while (n > 0);
	return n == 0 || n == -ECONNRESET;
}

static struct sim_message message(uint16_t type)
{
	struct sim_message m;

	memset(&m, 0xff, sizeof(m));
	m.header = (struct sim_header){
		.magic = SIM_PROTOCOL_MAGIC, .version = SIM_PROTOCOL_VERSION, .type = type};
	return m;
}

static void send_and_be_ended(const struct emulator *e, const struct sim_message *m, size_t len)
{
	const char *reason;
	int fd;

	assert_int_equal(sim_connect(e->path, &fd, &reason), 0);
	assert_int_equal(send(fd, m, len, MSG_NOSIGNAL), (ssize_t)len);
	assert_true(is_ended(fd));
	(void)close(fd);
}

static void test_malformed(void **state)
{
	const struct emulator *e = *state;
	struct sim_message m = message(SIM_LIST);
	struct hv *hv;
	uint32_t port;

	assert_int_equal(open_at(e, "", &hv), 0);
	for (size_t len = 1; len < sizeof(m.header); len++)
		send_and_be_ended(e, &m, len);
	for (uint16_t type = 0; type < SIM_TYPES + 3; type++) {
		m = message(type);
		if (type == SIM_HELLO)
			continue;
		send_and_be_ended(e, &m, sizeof(m.header) + 1);
		send_and_be_ended(e, &m, sizeof(m));
	}
	/* Requests of processes from somebody who has not attached. */
	m = message(SIM_PUBLISH);
	send_and_be_ended(e, &m, SIM_MESSAGE_LEN(record));
	m = message(SIM_INTRODUCE);
	send_and_be_ended(e, &m, SIM_MESSAGE_LEN(slot));
	/* A string without its end. */
	m = message(SIM_CREATE);
	send_and_be_ended(e, &m, SIM_MESSAGE_LEN(create));
	/* Another magic, another version after the greeting. */
	m = message(SIM_LIST);
	m.header.magic++;
	send_and_be_ended(e, &m, SIM_MESSAGE_LEN(index));
	m = message(SIM_LIST);
	m.header.version++;
	send_and_be_ended(e, &m, SIM_MESSAGE_LEN(index));
	/* All the while, others are served. */
	assert_int_equal(hv->ops->evtchn_alloc_unbound(hv, 0, &port), 0);
	assert_int_equal(hv->ops->store_publish(hv, "key", "value", 5), 0);
	hv_close(hv);
}

/* A process of Domain-0, as far as xen-sim knows. */
static int attach_raw(const struct emulator *e, struct sim_slot_name *ret_name)
{
	struct sim_message m = message(SIM_ATTACH);
	int fd, fds[SIM_FDS_MAX];
	const char *reason;

	assert_int_equal(sim_connect(e->path, &fd, &reason), 0);
	strcpy(m.attach.domain, "Domain-0");
	assert_int_equal(packet_send(fd, &m, SIM_MESSAGE_LEN(attach), NULL, 0, 0), 0);
	assert_true(packet_recv(fd, &m, fds, 0) > 0);
	packet_close_fds(fds);
	assert_int_equal(m.header.status, 0);
	*ret_name = m.slot;
	return fd;
}

static int request_raw(int fd, uint16_t type)
{
	struct sim_message m = message(type);

	m.header.sequence = 1;
	return packet_send(fd, &m, sizeof(m.header), NULL, 0, 0);
}

/* Reads until the answer to request_raw; introductions may come before. */
static int answer_raw(int fd)
{
	struct sim_message m;
	int fds[SIM_FDS_MAX];

	do {
		if (packet_recv(fd, &m, fds, 0) <= 0)
			return -ECONNRESET;
		packet_close_fds(fds);
	} while (m.header.type == SIM_PEER);
	return m.header.status;
}

/*
 * A process that sleeps does not read who is introduced to it. However often another one asks to be
 * introduced, there is room for the answer to its next request.
 */
static void test_many_introductions(void **state)
{
	struct sim_slot_name name, other;
	int fd = attach_raw(*state, &name), kicker = attach_raw(*state, &other);
	int fds[SIM_FDS_MAX];

	for (int i = 0; i < 5000; i++) {
		struct sim_message m = message(SIM_KICK);

		m.slot = name;
		assert_int_equal(packet_send(kicker, &m, SIM_MESSAGE_LEN(slot), NULL, 0, 0), 0);
		while (packet_recv(kicker, &m, fds, MSG_DONTWAIT) > 0)
			packet_close_fds(fds);
	}
	assert_int_equal(request_raw(fd, SIM_WATCH_OWN), 0);
	/* All of that has been handled when a later request of the other one is answered. */
	for (int i = 0; i < 10; i++) {
		assert_int_equal(request_raw(kicker, SIM_WATCH_OWN), 0);
		assert_int_equal(answer_raw(kicker), 0);
	}
	assert_int_equal(answer_raw(fd), 0);
	(void)close(fd);
	(void)close(kicker);
}

/* ---- without descriptors for the peers ------------------------------------------------------ */

static pid_t emulator_pid(const struct emulator *e)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	const char *reason;
	int fd;

	assert_int_equal(sim_connect(e->path, &fd, &reason), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len), 0);
	(void)close(fd);
	return cred.pid;
}

/* A port of ret_hv, bound by `from`, which gets ret_port. */
static uint32_t bound(struct hv *from, struct hv *to, uint32_t *ret_port)
{
	uint32_t port = 0;

	must(to->ops->evtchn_alloc_unbound(to, 0, &port) == 0);
	must(from->ops->evtchn_bind_interdomain(from, 0, port, ret_port) == 0);
	return port;
}

static bool takes_event(struct hv *hv, uint32_t port, int timeout_ms)
{
	struct pollfd fd = {.fd = hv->ops->fd(hv), .events = POLLIN};
	struct hv_event event;

	if (poll(&fd, 1, timeout_ms) < 1 && timeout_ms)
		return false;
	if (hv->ops->poll_events(hv, &event, 1) != 1)
		return false;
	return hv->ops->evtchn_unmask(hv, &port, 1) == 0;
}

/*
 * Three handles: one sends, and has no descriptor for an eventfd of the others. One of the others
 * looks all the time, so that each event to it asks xen-sim, which stands still, for a wake-up.
 */
static void send_without_descriptors(const struct emulator *e, pid_t sim, int told)
{
	struct hv *from, *busy, *sleeper;
	uint32_t to_busy, to_sleeper, busy_port, port;
	struct rlimit limit = {0};

	must(open_at(e, "", &from) == 0 && open_at(e, "", &busy) == 0 &&
		open_at(e, "", &sleeper) == 0);
	limit.rlim_cur = limit.rlim_max = (rlim_t)dup(0);
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	(void)close((int)limit.rlim_cur);
	while (dup(0) >= 0) /* the numbers that are free below */
		;
	busy_port = bound(from, busy, &to_busy);
	port = bound(from, sleeper, &to_sleeper);
	while (takes_event(busy, busy_port, 0) || takes_event(sleeper, port, 0))
		;
	must(kill(sim, SIGSTOP) == 0 && write(told, "", 1) == 1);
	for (int i = 0; i < 2000; i++) {
		must(from->ops->evtchn_send(from, to_busy) == 0);
		(void)takes_event(busy, busy_port, 0);
	}
	must(from->ops->evtchn_send(from, to_sleeper) == 0);
	must(write(told, "", 1) == 1);
	must(takes_event(sleeper, port, 20000));
	_exit(0);
}

/* A process without descriptors waits for xen-sim, and no event of its is lost. */
static void test_kicks_by_way_of_the_authority(void **state)
{
	const struct emulator *e = *state;
	pid_t sim = emulator_pid(e), pid;
	struct pollfd told = {.events = POLLIN};
	int status, told_fds[2];
	char byte;

	assert_int_equal(pipe(told_fds), 0);
	pid = fork();
	if (pid == 0)
		send_without_descriptors(e, sim, told_fds[1]);
	assert_int_equal(read(told_fds[0], &byte, 1), 1);
	/* It has sent all, or waits for xen-sim: nothing tells of that. */
	told.fd = told_fds[0];
	(void)poll(&told, 1, 500);
	assert_int_equal(kill(sim, SIGCONT), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)close(told_fds[0]);
	(void)close(told_fds[1]);
}

/* Too long, too many descriptors, no greeting, and random bytes. */
static void test_garbage(void **state)
{
	const struct emulator *e = *state;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char bytes[6000];
	unsigned int seed = 7;
	struct hv *hv;

	strcpy(addr.sun_path, e->path);
	for (int round = 0; round < 300; round++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes) + 1;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)rand_r(&seed);
		if (round % 2) { /* plausible, but for what follows */
			struct sim_header h = {.magic = SIM_PROTOCOL_MAGIC,
				.version = SIM_PROTOCOL_VERSION,
				.type = (uint16_t)(SIM_ATTACH + round % (SIM_TYPES - 2))};

			memcpy(bytes, &h, sizeof(h));
		}
		assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
		assert_true(send(fd, bytes, len, MSG_NOSIGNAL) > 0);
		assert_true(is_ended(fd));
		(void)close(fd);
	}
	assert_int_equal(open_at(e, "", &hv), 0);
	hv_close(hv);
}

/* A pidfd is wanted for adopting; what else comes is refused and not leaked. */
static void test_adopt(void **state)
{
	const struct emulator *e = *state;
	struct sim_message m = message(SIM_ADOPT), reply;
	const char *reason;
	int fd;

	assert_int_equal(sim_connect(e->path, &fd, &reason), 0);
	strcpy(m.name.domain, "Domain-0");
	assert_int_equal(sim_request(fd, &m, SIM_MESSAGE_LEN(name), -1, &reply), -EINVAL);
	assert_int_equal(sim_request(fd, &m, SIM_MESSAGE_LEN(name), fd, &reply), -EINVAL);
	strcpy(m.name.domain, "nobody");
	assert_int_equal(sim_request(fd, &m, SIM_MESSAGE_LEN(name), fd, &reply), -ESRCH);
	(void)close(fd);
}

/* ---- toolstack ------------------------------------------------------------------------------ */

static void test_run(void **state)
{
	const struct emulator *e = *state;

	assert_int_equal(emulator_run(e, "run", "job", "true", NULL), 0);
	assert_int_equal(emulator_run(e, "run", "job", "false", NULL), 1);
	assert_int_equal(emulator_run(e, "run", "job", "/nonexistent", NULL), 127);
	assert_int_equal(emulator_run(e, "destroy", "job", NULL, NULL), 1); /* it has ended */
	assert_int_equal(emulator_run(e, "run", "--keep", "job", "true"), 0);
	assert_int_equal(emulator_run(e, "destroy", "job", NULL, NULL), 0);
	assert_int_equal(emulator_run(e, "destroy", "Domain-0", NULL, NULL), 1);
	assert_int_equal(emulator_run(e, "frobnicate", NULL, NULL, NULL), 2);
	assert_int_equal(emulator_run(e, "run", "job", NULL, NULL), 2);
}

/* Its own failure is not the command's: it has no descriptor for a pipe. */
static void test_run_fails(void **state)
{
	const struct emulator *e = *state;
	char command[256];

	(void)snprintf(command, sizeof(command),
		"export ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0; ulimit -n 4; exec %s %s run job "
		"true",
		getenv("XEN_SIM_EXE"), e->path);
	assert_int_equal(WEXITSTATUS(system(command)), 125);
}

/* `xen-sim run` is killed: its command and its domain go, too. */
/* Until the process sleeps: xen-sim does only where it waits for the emulator. */
static void until_asleep(pid_t pid)
{
	struct proc_stat stat;

	do
		assert_true(proc_look(pid, &stat) && stat.state != 'Z');
	while (strcmp(stat.name, "xen-sim") != 0 || stat.state != 'S');
}

static void run_first(const struct emulator *e)
{
	pid_t pid = emulator_spawn(e, "run", "--wait=30", "job", "true");
	int status;

	until_asleep(pid);
	assert_int_equal(emulator_run(e, "-d", NULL, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(emulator_run(e, "shutdown", NULL, NULL, NULL), 0);
}

/* `run` that comes before its emulator, as msgd starts that in the background. */
static void test_run_waits(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char command[256], said[256] = "";
	struct timespec before, after;
	struct emulator e;
	FILE *run;
	int fd;

	assert_true(emulator_dir(&e));
	run_first(&e);
	/* Of an emulator that was killed. */
	strcpy(addr.sun_path, e.path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	(void)close(fd);
	run_first(&e);
	assert_int_equal(emulator_run(&e, "run", "--wait=0", "job", "true"), 125);
	assert_int_equal(emulator_run(&e, "run", "--wait=x", "job", "true"), 2);
	assert_int_equal(emulator_run(&e, "run", "--wait=-1", "job", "true"), 2);
	(void)snprintf(command, sizeof(command), "%s %s run --wait=1 job true 2>&1",
		getenv("XEN_SIM_EXE"), e.path);
	run = popen(command, "re");
	assert_non_null(run);
	assert_non_null(fgets(said, sizeof(said), run));
	assert_int_equal(WEXITSTATUS(pclose(run)), 125);
	assert_non_null(strstr(said, "no emulator there"));
	assert_non_null(strstr(said, "none came within 1 s"));
	/* A file never becomes a socket: no waiting. */
	fd = open(e.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	(void)clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(emulator_run(&e, "run", "--wait=100", "job", "true"), 125);
	(void)clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 50);
	assert_int_equal(unlink(e.path), 0);
	assert_int_equal(rmdir(e.dir), 0);
}

static void test_run_killed(void **state)
{
	const struct emulator *e = *state;
	int pipe_fds[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(pipe_fds[1], 1);
		execl(getenv("XEN_SIM_EXE"), "xen-sim", e->path, "run", "job", "sh", "-c",
			"echo; exec sleep 1000", NULL);
		_exit(127);
	}
	(void)close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* The end of the pipe is the end of the command. */
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	(void)close(pipe_fds[0]);
	assert_int_equal(emulator_run(e, "destroy", "job", NULL, NULL), 1);
}

/* ---- a process that writes where it must not --------------------------------------------- */

static int start_logged(struct emulator *e, int log_fd)
{
	int keep = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0), r;

	if (keep < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		return -1;
	r = emulator_start(e) ? 0 : -1;
	(void)dup2(keep, STDERR_FILENO);
	(void)close(keep);
	return r;
}

/* Two rings in one hash chain, of which the first follows itself, or leads nowhere. */
static void corrupt_chain(uint8_t next)
{
	struct hv_ring *first, *second;
	struct sim_domain *d;
	struct emulator e;
	char text[256] = {0};
	struct hv *hv;
	pid_t pid;
	int log = memfd_create("log", MFD_CLOEXEC);

	assert_true(log >= 0);
	assert_int_equal(start_logged(&e, log), 0);
	assert_int_equal(open_at(&e, "", &hv), 0);
	d = &sim_hv_xen(hv)->seg->domains[0];
	pid = atomic_load(&sim_hv_xen(hv)->seg->slots[0].pid);
	assert_int_equal(hv->ops->argo_register(hv, 1, 0, 4096, &first), 0);
	assert_int_equal(hv->ops->argo_register(hv, 65, 0, 4096, &second), 0);
	assert_int_equal(d->rings[1].next, 1);
	d->rings[1].next = next;
	hv_close(hv); /* xen-sim unregisters both */
	for (int i = 0; i < 1000 && proc_start_time(pid); i++)
		(void)poll(NULL, 0, 10);
	assert_int_equal(proc_start_time(pid), 0);
	assert_true(pread(log, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "has overwritten the emulator's memory"));
	assert_int_not_equal(access(e.path, F_OK), 0);
	assert_int_equal(rmdir(e.dir), 0);
	(void)close(log);
}

static void test_corrupt(void **state)
{
	corrupt_chain(2);
	corrupt_chain(0);
	corrupt_chain(255);
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* Timers of two vcpus, the later one first: each fires at its time, once, and without any call. */
static void test_timers(void **state)
{
	const struct emulator *e = *state;
	evtchn_bind_virq_t first = {.virq = VIRQ_TIMER}, second = {.virq = VIRQ_TIMER};
	uint16_t domid_a, domid_b;
	struct hv *a, *b;
	struct xen *xen;
	uint64_t start, one, two, until;
	_Atomic uint64_t *pending_a, *pending_b;

	assert_int_equal(emulator_run(e, "create", "a", NULL, NULL), 0);
	assert_int_equal(emulator_run(e, "create", "b", NULL, NULL), 0);
	assert_int_equal(open_at(e, "#a", &a), 0);
	assert_int_equal(open_at(e, "#b", &b), 0);
	domid_a = a->ops->domid(a);
	domid_b = b->ops->domid(b);
	xen = sim_hv_xen(a);
	assert_int_equal(evtchn_op(xen, domid_a, EVTCHNOP_bind_virq, &first), 0);
	assert_int_equal(evtchn_op(xen, domid_b, EVTCHNOP_bind_virq, &second), 0);
	pending_a = domain_at(xen, sim_domain_find(xen, domid_a))->info.pending;
	pending_b = domain_at(xen, sim_domain_find(xen, domid_b))->info.pending;
	start = monotonic_ns();
	assert_int_equal(sim_timer_set(xen, domid_b, 0, start + 1500000000), 0);
	assert_int_equal(sim_timer_set(xen, domid_a, 0, start + 50000000), 0);
	for (one = 0, two = 0, until = start + 20000000000U; !two && monotonic_ns() < until;) {
		if (!one && (atomic_load(pending_a) >> first.port & 1)) {
			one = monotonic_ns();
			assert_int_equal(atomic_load(pending_b), 0);
		}
		if (!two && (atomic_load(pending_b) >> second.port & 1))
			two = monotonic_ns();
		(void)usleep(1000);
	}
	assert_true(one >= start + 50000000);
	assert_true(two >= start + 1500000000);
	/* and none comes of a timer that is off */
	atomic_store(pending_a, 0);
	assert_int_equal(sim_timer_set(xen, domid_a, 0, monotonic_ns() + 20000000), 0);
	assert_int_equal(sim_timer_set(xen, domid_a, 0, 0), 0);
	assert_int_equal(sim_timer_set(xen, domid_b, 0, monotonic_ns() + 40000000), 0);
	atomic_store(pending_b, 0);
	for (until = monotonic_ns() + 20000000000U;
		!(atomic_load(pending_b) >> second.port & 1) && monotonic_ns() < until;)
		(void)usleep(1000);
	assert_int_equal(atomic_load(pending_b) >> second.port & 1, 1);
	assert_int_equal(atomic_load(pending_a) >> first.port & 1, 0);
	hv_close(a);
	hv_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots_run_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_permitted, setup, teardown),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_something_else),
		cmocka_unit_test(test_another_build),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_introductions, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_kicks_by_way_of_the_authority, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run_fails, setup, teardown),
		cmocka_unit_test(test_run_waits),
		cmocka_unit_test_setup_teardown(test_run_killed, setup, teardown),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test_setup_teardown(test_timers, setup, teardown),
	};

	return cmocka_run_group_tests_name("sim-authority", tests, NULL, NULL);
}
