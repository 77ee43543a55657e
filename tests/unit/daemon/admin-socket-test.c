/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket's clients, whose answers this program gives, and their rights. The linker names
 * some functions of the socket and of libevent to it (--wrap), so that it is each user in turn, and
 * no time limit is waited for.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/listen.h"
#include "base/macro.h"
#include "base/notify.h"
#include "daemon/admin/rights.h"
#include "daemon/admin/socket.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"

static struct event_base *base;
static struct admin *admin;
static int listening_fd; /* admin's */
static char path[64], last_line[256];
static unsigned n_requests, n_gone, n_lines;
static enum admin_op last_op;
static bool answers_later, answers_nothing, answers_much;
static unsigned answers_events; /* so many are new */
static struct admin_client *last_client;

/* ---- wrapped -------------------------------------------------------------------------------- */

static uid_t connecting_uid;
static struct timeval reads, writes; /* the last time limits; tv_sec -1: none */
static bool times_out, printf_fails;

uid_t __wrap_admin_uid(int fd);
uid_t __wrap_admin_uid(int fd)
{
	return connecting_uid;
}

int __real_bufferevent_set_timeouts(struct bufferevent *stream, const struct timeval *timeout_read,
	const struct timeval *timeout_write);
int __wrap_bufferevent_set_timeouts(struct bufferevent *stream, const struct timeval *timeout_read,
	const struct timeval *timeout_write);
int __wrap_bufferevent_set_timeouts(struct bufferevent *stream, const struct timeval *timeout_read,
	const struct timeval *timeout_write)
{
	static const struct timeval none = {.tv_sec = -1}, soon = {.tv_usec = 1};

	reads = timeout_read ? *timeout_read : none;
	writes = timeout_write ? *timeout_write : none;
	return __real_bufferevent_set_timeouts(stream, timeout_read && times_out ? &soon : NULL,
		timeout_write && times_out ? &soon : NULL);
}

int __wrap_evbuffer_add_printf(struct evbuffer *buffer, const char *format, ...);
int __wrap_evbuffer_add_printf(struct evbuffer *buffer, const char *format, ...)
{
	va_list args;
	int r;

	if (printf_fails)
		return -1;
	va_start(args, format);
	r = evbuffer_add_vprintf(buffer, format, args);
	va_end(args);
	return r;
}

static struct {
	bool fake, cred_fails, groups_fail;
	struct ucred cred;
	gid_t groups[4];
	socklen_t groups_len; /* bytes */
} peer;

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	if (!peer.fake)
		return __real_getsockopt(fd, level, name, value, len);
	assert_int_equal(level, SOL_SOCKET);
	if (name == SO_PEERCRED) {
		assert_int_equal(*len, sizeof(peer.cred));
		memcpy(value, &peer.cred, sizeof(peer.cred));
		return peer.cred_fails ? -1 : 0;
	}
	assert_int_equal(name, SO_PEERGROUPS);
	if (*len < peer.groups_len || peer.groups_fail) {
		*len = peer.groups_len;
		return -1;
	}
	if (value)
		memcpy(value, peer.groups, peer.groups_len);
	return 0;
}

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void)
{
	return 500;
}

#define MUCH (4U << 20) /* more than a socket's buffers */

static char *much;
static const char *portions[4]; /* the first answers */
static unsigned n_portions;
static uint64_t last_of;
static uint32_t last_timeout_ms;

/* ---- the fixture ---------------------------------------------------------------------------- */

static json_t *on_answer(void *arg, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	assert_ptr_equal(arg, &admin);
	n_requests++;
	last_op = request->op;
	last_of = request->of;
	last_timeout_ms = request->timeout_ms;
	last_client = client;
	*ret_later = answers_later;
	if (request->op == ADMIN_MONITOR) {
		json_t *events = json_array();
		uint64_t next = request->from + answers_events;

		for (; answers_events; answers_events--)
			(void)json_array_append_new(
				events, json_pack("{s:i}", "e", answers_events));
		return json_pack("{s:o, s:I, s:I}", "monitor", events, "next", (json_int_t)next,
			"all", (json_int_t)next);
	}
	if (n_requests <= n_portions)
		return json_loads(portions[n_requests - 1], 0, NULL);
	if (answers_much)
		return json_pack("{s:s}", "text", much);
	return answers_later || answers_nothing ? NULL : json_pack("{s:i}", "n", n_requests);
}

static void on_gone(void *arg, const struct admin_client *client)
{
	assert_ptr_equal(client, last_client);
	n_gone++;
}

static void on_log(void *arg, const char *text)
{
	n_lines++;
	(void)snprintf(last_line, sizeof(last_line), "%s", text);
}

static const struct admin_ops ops = {.answer = on_answer, .gone = on_gone, .log = on_log};

static int setup(void **state)
{
	int fd;

	n_requests = n_gone = n_lines = n_portions = 0;
	answers_events = 0;
	answers_later = answers_nothing = answers_much = times_out = printf_fails = false;
	connecting_uid = 1000;
	memset(&peer, 0, sizeof(peer));
	base = event_base_new();
	(void)snprintf(path, sizeof(path), "/tmp/msgd-admin-test.%d", (int)getpid());
	assert_int_equal(unix_listen(path, SOCK_STREAM, 0600, 200, &fd), 0);
	assert_int_equal(admin_new(base, fd, &ops, &admin, &admin), 0);
	listening_fd = fd;
	return 0;
}

static int teardown(void **state)
{
	admin_free(admin);
	assert_int_equal(fcntl(listening_fd, F_GETFD), -1);
	event_base_free(base);
	return unlink(path);
}

static void run(void)
{
	for (int i = 0; i < 5; i++)
		assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static int client_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int client_open(void)
{
	int fd = client_connect();

	run();
	return fd;
}

static void client_say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	run();
}

static void client_expect(int fd, const char *text)
{
	char got[1024] = "";
	ssize_t n = read(fd, got, sizeof(got) - 1);

	assert_true(n >= 0 || errno == EAGAIN);
	assert_string_equal(got, text);
}

static bool client_is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* ---- the service manager -------------------------------------------------------------------- */

static int manager_fd;
static char manager_path[80];

static void manager_open(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(manager_path, sizeof(manager_path), "%s.notify", path);
	strcpy(address.sun_path, manager_path);
	manager_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(manager_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", manager_path, 1), 0);
}

static void manager_close(void)
{
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	assert_int_equal(unlink(manager_path), 0);
	(void)close(manager_fd);
}

/* The next words, and the descriptors with them. "": there are none. */
static void manager_hears(const char *want, int ret_fds[2])
{
	char text[100] = "", control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(manager_fd, &message, 0);

	assert_true(n >= 0 || errno == EAGAIN);
	assert_string_equal(text, want);
	if (!ret_fds)
		return;
	assert_int_equal(message.msg_controllen, sizeof(control));
	memcpy(ret_fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof(int));
}

static void manager_is_full(void)
{
	while (notify_send("x") == 0)
		;
}

static void manager_reads(void)
{
	char text[100];

	while (recv(manager_fd, text, sizeof(text), 0) > 0)
		;
}

/* As by a restart; the socket that the test listens on is another. */
static void admin_again(void)
{
	admin_keep(admin);
	admin_free(admin);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unix_listen(path, SOCK_STREAM, 0600, 200, &listening_fd), 0);
	assert_int_equal(admin_new(base, listening_fd, &ops, &admin, &admin), 0);
	n_requests = n_gone = 0;
	answers_later = false;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void test_requests(void **state)
{
	int fd = client_open();

	assert_int_equal(reads.tv_sec, ADMIN_IDLE_S);
	assert_int_equal(writes.tv_sec, ADMIN_IDLE_S);
	client_say(fd, "{\"op\":\"links\"}\n");
	client_expect(fd, "{\"n\":1}\n");
	assert_int_equal(last_op, ADMIN_LINKS);
	client_say(fd, "{\"op\":\"names\"}\n{\"op\":\"x\"}\n{\"op\":\"names\"}\n{\"op\":");
	client_expect(fd, "{\"n\":2}\n{\"error\":\"unknown op\",\"usage\":true}\n{\"n\":3}\n");
	client_say(fd, "\"status\"}\n");
	client_expect(fd, "{\"n\":4}\n");
	assert_int_equal(last_op, ADMIN_STATUS);
	answers_nothing = true;
	client_say(fd, "{\"op\":\"links\"}\n");
	client_expect(fd, "{\"error\":\"out of memory\"}\n");
	assert_false(client_is_closed(fd));
	(void)shutdown(fd, SHUT_WR);
	run();
	assert_true(client_is_closed(fd));
	assert_int_equal(n_gone, 0);
	assert_int_equal(n_lines, 0);
	(void)close(fd);
}

static void test_length(void **state)
{
	char line[ADMIN_LINE_MAX + 3], want[128];
	int fd = client_open();

	memset(line, 0, sizeof(line));
	memset(line, 'x', ADMIN_LINE_MAX);
	client_say(fd, line);
	client_expect(fd, "");
	client_say(fd, "\n");
	client_expect(fd, "{\"error\":\"not a JSON object\",\"usage\":true}\n");
	line[ADMIN_LINE_MAX] = 'x';
	client_say(fd, line);
	assert_true(client_is_closed(fd));
	(void)snprintf(want, sizeof(want), "a client of user %u is dropped: its line is too long",
		connecting_uid);
	assert_string_equal(last_line, want);
	assert_int_equal(n_lines, 1);
	(void)close(fd);
}

/* An answer that comes later: the next request waits for it, and no time limit is on reading. */
static void test_later(void **state)
{
	int fd = client_open();

	answers_later = true;
	client_say(fd, "{\"op\":\"links\"}\n{\"op\":\"names\"}\n");
	assert_int_equal(reads.tv_sec, -1);
	assert_int_equal(writes.tv_sec, ADMIN_IDLE_S);
	client_expect(fd, "");
	assert_int_equal(n_requests, 1);
	client_say(fd, "{\"op\":\"domains\"}\n");
	assert_int_equal(n_requests, 1);
	answers_later = false;
	admin_answer(last_client, json_pack("{s:i}", "later", 7));
	run();
	client_expect(fd, "{\"later\":7}\n{\"n\":2}\n{\"n\":3}\n");
	assert_int_equal(last_op, ADMIN_DOMAINS);
	assert_int_equal(reads.tv_sec, ADMIN_IDLE_S);
	(void)close(fd);
	run();
	assert_int_equal(n_gone, 0);
}

/* The answerer is told that nobody waits for its answer any more. */
static void test_gone(void **state)
{
	int fd = client_open(), other = client_open();

	answers_later = true;
	client_say(fd, "{\"op\":\"links\"}\n");
	(void)close(other);
	run();
	assert_int_equal(n_gone, 0);
	(void)close(fd);
	run();
	assert_int_equal(n_gone, 1);
	fd = client_open();
	client_say(fd, "{\"op\":\"links\"}\n");
	(void)teardown(NULL);
	assert_int_equal(n_gone, 2);
	assert_true(client_is_closed(fd));
	(void)close(fd);
	(void)setup(NULL);
}

/*
 * The input of a client is bounded, also while its answer is to come, and the loop rests meanwhile:
 * else the alarm ends this program.
 */
static void test_flood(void **state)
{
	static char bytes[65536];
	int fd = client_open();
	size_t sent = 0;
	ssize_t n;

	answers_later = true;
	client_say(fd, "{\"op\":\"links\"}\n");
	while (sent < (16U << 20) && (n = write(fd, bytes, sizeof(bytes))) > 0) {
		sent += (size_t)n;
		run();
	}
	assert_true(sent < (16U << 20));
	assert_false(client_is_closed(fd));
	answers_later = false;
	admin_answer(last_client, NULL);
	run();
	client_expect(fd, "{\"error\":\"out of memory\"}\n");
	assert_string_equal(last_line + strlen(last_line) - 16, "line is too long");
	(void)close(fd);
}

/* A client that has said all that it wants to say gets the whole answer. */
static void test_half_closed(void **state)
{
	static char bytes[65536];
	int fd = client_open();
	size_t got = 0;
	ssize_t n;

	much = malloc(MUCH + 1);
	assert_non_null(much);
	memset(much, 'x', MUCH);
	much[MUCH] = '\0';
	answers_much = true;
	client_say(fd, "{\"op\":\"links\"}\n");
	(void)shutdown(fd, SHUT_WR);
	run();
	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		got += (size_t)n;
		run();
	}
	assert_int_equal(got, MUCH + strlen("{\"text\":\"\"}\n"));
	assert_true(client_is_closed(fd));
	free(much);
	(void)close(fd);
}

static void test_idle(void **state)
{
	int fd;

	times_out = true;
	fd = client_open();
	for (int i = 0; i < 1000000 && !client_is_closed(fd); i++)
		run();
	assert_true(client_is_closed(fd));
	(void)close(fd);
}

/* ---- a client that follows what happens ----------------------------------------------------- */

/* It has no time limit, is asked for again when there is something new, and its end is seen. */
static void test_monitor(void **state)
{
	int fd = client_open(), other = client_open();
	unsigned asked;

	client_say(fd, "{\"op\":\"monitor\"}\n");
	assert_int_equal(last_op, ADMIN_MONITOR);
	assert_int_equal(reads.tv_sec, -1);
	assert_int_equal(writes.tv_sec, -1);
	client_expect(fd, "");
	answers_events = 2;
	admin_look(admin);
	run();
	client_expect(fd, "{\"e\":2}\n{\"e\":1}\n");
	/* Nothing is new: it is asked once more, and then not before admin_look. */
	asked = n_requests;
	run();
	assert_int_equal(n_requests, asked);
	admin_look(admin);
	admin_look(admin);
	run();
	assert_int_equal(n_requests, asked + 1);
	client_expect(fd, "");
	/* It is served nothing else; others are. */
	client_say(fd, "{\"op\":\"links\"}\n");
	client_say(other, "{\"op\":\"names\"}\n");
	assert_int_equal(last_op, ADMIN_NAMES);
	client_expect(fd, "");
	(void)shutdown(fd, SHUT_WR);
	run();
	assert_true(client_is_closed(fd));
	admin_look(admin);
	run();
	(void)close(fd);
	(void)close(other);
	assert_int_equal(n_gone, 0);
}

/* ---- places --------------------------------------------------------------------------------- */

/* Whether one more client of this user is served; if not, it is told so, and that is logged. */
static bool has_place(uid_t uid, int *ret_fd)
{
	unsigned before = n_lines;
	char want[128];
	int fd;

	connecting_uid = uid;
	fd = *ret_fd = client_open();
	if (n_lines == before)
		return !client_is_closed(fd);
	(void)snprintf(
		want, sizeof(want), "user %u: too many connections to the admin socket", uid);
	assert_string_equal(last_line, want);
	(void)snprintf(want, sizeof(want),
		"{\"error\":\"too many connections to the admin socket (user %u)\"}\n", uid);
	client_expect(fd, want);
	assert_true(client_is_closed(fd));
	(void)close(fd);
	return false;
}

/* Each user has a share; all users but root have eight shares, and root has one of its own. */
static void test_places(void **state)
{
	int fds[ADMIN_CLIENTS_MAX], fd;
	unsigned n = 0;

	for (uid_t uid = 1; uid <= 9; uid++) {
		for (unsigned i = 0; i < 16 && uid < 9; i++)
			assert_true(has_place(uid, &fds[n++]));
		assert_false(has_place(uid, &fd));
	}
	for (unsigned i = 0; i < 16; i++)
		assert_true(has_place(0, &fds[n++]));
	assert_false(has_place(0, &fd));
	assert_int_equal(n, ADMIN_CLIENTS_MAX);
	/* One that is refused may have gone: no signal ends msgd. */
	connecting_uid = 1;
	fd = client_connect();
	(void)close(fd);
	run();
	/* A place that has become free is another user's, too. */
	(void)close(fds[0]);
	assert_true(has_place(9, &fds[0]));
	assert_false(has_place(1, &fd));
	while (n > 0)
		(void)close(fds[--n]);
}

/* ---- no memory, no descriptors -------------------------------------------------------------- */

static void test_memory(void **state)
{
	struct admin *none = NULL;
	int fd;

	failing_malloc_set(1);
	fd = client_open();
	assert_true(failing_malloc_end());
	assert_true(client_is_closed(fd));
	(void)close(fd);
	for (unsigned i = 1; i <= 2; i++) {
		failing_malloc_set(i);
		assert_int_equal(admin_new(base, -1, &ops, NULL, &none), -ENOMEM);
		assert_true(failing_malloc_end());
	}
	assert_null(none);
	fd = client_open();
	printf_fails = true;
	client_say(fd, "{\"op\":\"links\"}\n");
	assert_true(client_is_closed(fd));
	(void)close(fd);
	assert_int_equal(n_gone, 0);
}

static void test_descriptors(void **state)
{
	struct rlimit few, limit;
	int fd = client_connect();

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	run();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(
		last_line, "admin socket: connections are refused: Too many open files");
	assert_int_equal(n_lines, 1);
	assert_true(client_is_closed(fd));
	(void)close(fd);
}

/* ---- rights --------------------------------------------------------------------------------- */

static void test_steers(void **state)
{
	for (int op = 0; op < ADMIN_OP_COUNT; op++)
		assert_int_equal(admin_op_steers(op), op >= ADMIN_CLOSE);
}

uid_t __real_admin_uid(int fd);

static void test_rights(void **state)
{
	peer.fake = true;
	peer.cred = (struct ucred){.uid = 1000, .gid = 100};
	peer.groups[0] = 7;
	peer.groups[1] = 8;
	peer.groups[2] = 9;
	peer.groups_len = 2 * sizeof(gid_t);
	assert_int_equal(__real_admin_uid(3), 1000);
	assert_false(admin_may_steer(3, ADMIN_NO_GROUP));
	assert_true(admin_may_steer(3, 100));
	assert_true(admin_may_steer(3, 7));
	assert_true(admin_may_steer(3, 8));
	assert_false(admin_may_steer(3, 9));
	assert_false(admin_may_steer(3, 101));
	failing_malloc_set(1);
	assert_false(admin_may_steer(3, 7));
	assert_true(failing_malloc_end());
	peer.groups_fail = true;
	assert_false(admin_may_steer(3, 7));
	peer.groups_fail = false;
	peer.groups_len = 0;
	assert_false(admin_may_steer(3, 7));
	/* Group -1 is nobody's, whatever the kernel says. */
	peer.cred.gid = ADMIN_NO_GROUP;
	assert_false(admin_may_steer(3, ADMIN_NO_GROUP));
	peer.cred = (struct ucred){.uid = 500, .gid = 1};
	assert_true(admin_may_steer(3, ADMIN_NO_GROUP));
	peer.cred = (struct ucred){.uid = 0, .gid = 1};
	assert_true(admin_may_steer(3, ADMIN_NO_GROUP));
	peer.cred_fails = true;
	assert_false(admin_may_steer(3, ADMIN_NO_GROUP));
	assert_true(__real_admin_uid(3) == (uid_t)-1);
}

/* However many clients ask, one of them is answered in a turn of the loop. */
static void test_turns(void **state)
{
	int fds[4];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_open();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_int_equal(write(fds[i], "{\"op\":\"status\"}\n", 16), 16);
	for (unsigned turns = 0; n_requests < ARRAY_SIZE(fds); turns++) {
		unsigned before = n_requests;

		assert_true(turns < 100);
		assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
		assert_in_range(n_requests, before, before + 1);
	}
	run();
	client_expect(fds[0], "{\"n\":1}\n");
	client_expect(fds[3], "{\"n\":4}\n");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

/* A client that says no more while it waits for its turn is answered. */
static void test_turns_half_closed(void **state)
{
	int fds[3];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_open();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(write(fds[i], "{\"op\":\"status\"}\n", 16), 16);
		assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
	}
	run();
	assert_int_equal(n_requests, 3);
	client_expect(fds[2], "{\"n\":3}\n");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

/* ---- lists ---------------------------------------------------------------------------------- */

#define PORTION(rows, next, rest)                                                                  \
	"{\"op\":\"links\",\"links\":" rows ",\"next\":" next ",\"all\":3,\"of\":7" rest "}"

/* The end of an answer has more than rows, all of which are of the same facts. */
static void test_list(void **state)
{
	int fd = client_open();

	portions[n_portions++] = PORTION("[1,2]", "2", "");
	portions[n_portions++] = PORTION("[3]", "3", ",\"end\":{\"x\":true,\"y\":[]}");
	client_say(fd, "{\"op\":\"links\"}\n");
	client_expect(fd, "{\"op\":\"links\",\"links\":[1,2,3],\"x\":true,\"y\":[]}\n");
	assert_int_equal(last_of, 7);
	client_say(fd, "{\"op\":\"names\"}\n");
	client_expect(fd, "{\"n\":3}\n");
	assert_int_equal(last_of, 0);
	(void)close(fd);
	run();
	assert_int_equal(n_gone, 0);
}

/* An error, after some rows: the answer is still one object, and the client is served on. */
static void test_list_error(void **state)
{
	int fd = client_open();

	portions[n_portions++] = PORTION("[1,2]", "2", "");
	portions[n_portions++] = "{\"error\":\"why\"}";
	client_say(fd, "{\"op\":\"links\"}\n");
	client_expect(fd, "{\"op\":\"links\",\"links\":[1,2],\"error\":\"why\"}\n");
	client_say(fd, "{\"op\":\"names\"}\n");
	client_expect(fd, "{\"n\":3}\n");
	(void)close(fd);
	run();
	assert_int_equal(n_gone, 0);
}

/* A client that is let go of in the middle of a list is told of, for what its list holds. */
static void test_list_gone(void **state)
{
	int fd = client_open();

	portions[n_portions++] = PORTION("[1,2]", "2", "");
	answers_nothing = true; /* but for the first rows */
	client_say(fd, "{\"op\":\"links\"}\n");
	assert_int_equal(n_gone, 1);
	(void)close(fd);
}

/* ---- the next msgd --------------------------------------------------------------------------- */

/* A request that waits is kept at once, with what follows it; the next one serves all of it. */
static void test_kept(void **state)
{
	int fd = client_open(), fds[2];

	manager_open();
	answers_later = true;
	client_say(fd, "{\"op\":\"links\"}\n");
	manager_hears("", NULL); /* not for so short a time */
	answers_later = false;
	admin_answer(last_client, NULL);
	run();
	client_expect(fd, "{\"error\":\"out of memory\"}\n");
	answers_later = true;
	client_say(fd, "{\"op\":\"wait\",\"domain\":\"web\",\"name\":\"a\",\"timeout_ms\":5000}\n");
	assert_int_equal(last_timeout_ms, 5000);
	manager_hears("FDSTORE=1\nFDNAME=admin-0", fds);
	client_say(fd, "{\"op\":\"status\"}\n{\"op\":");
	usleep(2000); /* the time that is looked for below */
	admin_again();
	manager_hears("", NULL);
	assert_false(client_is_closed(fd));
	admin_take(admin, 0, fds[0], fds[1]);
	manager_hears("FDSTOREREMOVE=1\nFDNAME=admin-0", NULL);
	assert_int_equal(n_requests, 0);
	run();
	assert_true(n_requests == 2 && last_op == ADMIN_STATUS);
	client_say(fd, "\"links\"}\n");
	client_expect(fd, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
	/* A request's time goes on. */
	answers_later = true;
	client_say(fd, "{\"op\":\"wait\",\"domain\":\"web\",\"name\":\"a\",\"timeout_ms\":5000}\n");
	manager_hears("FDSTORE=1\nFDNAME=admin-0", fds);
	usleep(2000);
	admin_again();
	answers_later = true;
	admin_take(admin, 0, fds[0], fds[1]);
	run();
	assert_int_equal(n_requests, 1);
	assert_in_range(last_timeout_ms, 1, 4998);
	manager_reads();
	(void)close(fd);
	run();
	manager_hears("FDSTOREREMOVE=1\nFDNAME=admin-0", NULL);
	manager_close();
}

/* A list that is under way ends with an error, which is kept with its rows. */
static void test_kept_list(void **state)
{
	int fd = client_open(), fds[2];

	manager_open();
	portions[0] = "{\"links\":[1],\"next\":1,\"all\":9}";
	n_portions = 1;
	assert_true(write(fd, "{\"op\":\"links\"}\n", 15) == 15);
	while (n_requests == 0)
		assert_true(event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE) >= 0);
	admin_again();
	assert_int_equal(n_lines, 0);
	manager_hears("FDSTORE=1\nFDNAME=admin-0", fds);
	admin_take(admin, 0, fds[0], fds[1]);
	run();
	client_expect(fd,
		"{\"op\":\"links\",\"links\":[1],\"error\":\"msgd was restarted: the list is "
		"not whole\"}\n");
	n_portions = 0;
	client_say(fd, "{\"op\":\"status\"}\n");
	client_expect(fd, "{\"n\":1}\n");
	(void)close(fd);
	manager_close();
}

/* A monitor is told, and begins with the first event of the next msgd. */
static void test_kept_monitor(void **state)
{
	int fd = client_open(), fds[2];

	manager_open();
	answers_events = 1;
	client_say(fd, "{\"op\":\"monitor\",\"since\":7}\n");
	client_expect(fd, "{\"e\":1}\n");
	manager_hears("FDSTORE=1\nFDNAME=admin-0", fds);
	admin_again();
	answers_events = 2;
	admin_take(admin, 0, fds[0], fds[1]);
	run();
	client_expect(fd, "{\"restarted\":true}\n{\"e\":2}\n{\"e\":1}\n");
	(void)close(fd);
	manager_close();
}

/* While the service manager has not heard of a client's end, its place is no other's. */
static void test_kept_unread(void **state)
{
	int fd = client_open(), fds[2];
	char byte;

	manager_open();
	answers_later = true;
	client_say(fd, "{\"op\":\"wait\",\"domain\":\"web\",\"name\":\"a\"}\n");
	manager_hears("FDSTORE=1\nFDNAME=admin-0", fds);
	manager_is_full();
	/* The client sees its end although another has its socket as well. */
	answers_later = false;
	admin_answer(last_client, NULL);
	run();
	client_expect(fd, "{\"error\":\"out of memory\"}\n");
	(void)shutdown(fd, SHUT_WR);
	run();
	assert_int_equal(read(fd, &byte, 1), 0);
	(void)close(fd);
	fd = client_open();
	answers_later = true;
	client_say(fd, "{\"op\":\"wait\",\"domain\":\"web\",\"name\":\"a\"}\n");
	/* It would be kept at the end, if somebody read. */
	admin_keep(admin);
	assert_non_null(strstr(last_line, "is not kept: Resource temporarily unavailable"));
	manager_reads();
	admin_keep(admin);
	manager_hears("FDSTOREREMOVE=1\nFDNAME=admin-0", NULL);
	manager_hears("FDSTORE=1\nFDNAME=admin-0", NULL);
	(void)close(fds[0]);
	(void)close(fds[1]);
	(void)close(fd);
	manager_close();
}

/* It is told later, of who has gone and of who waits. */
static void test_kept_told_later(void **state)
{
	int fd = client_open();

	manager_open();
	answers_later = true;
	client_say(fd, "{\"op\":\"wait\",\"domain\":\"web\",\"name\":\"a\"}\n");
	manager_is_full();
	(void)close(fd);
	fd = client_open();
	client_say(fd, "{\"op\":\"wait\",\"domain\":\"web\",\"name\":\"a\"}\n");
	manager_reads();
	assert_true(event_base_loop(base, EVLOOP_ONCE) >= 0);
	manager_hears("FDSTOREREMOVE=1\nFDNAME=admin-0", NULL);
	manager_hears("FDSTORE=1\nFDNAME=admin-0", NULL);
	(void)close(fd);
	manager_close();
}

/* A file of another kind, or one without its socket, is not believed. */
static void test_kept_wrong(void **state)
{
	static const char *const texts[] = {"", "x", "msgd-kept-1 0 0 0", "msgd-kept-2 0 0 0\n",
		"msgd-kept-1 0 1 1\nx", "msgd-kept-1 0 0 18446744073709551615\nx",
		"msgd-kept-1 0 0 1\nxx"};
	int pair[2];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int fd = memfd_create("test", MFD_CLOEXEC);

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		assert_int_equal(write(fd, texts[i], strlen(texts[i])), strlen(texts[i]));
		admin_take(admin, 0, pair[0], fd);
		assert_true(client_is_closed(pair[1]));
		assert_non_null(strstr(last_line, "what was kept of it: Protocol error"));
		(void)close(pair[1]);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	admin_take(admin, 0, pair[0], -1);
	assert_true(client_is_closed(pair[1]));
	(void)close(pair[1]);
	admin_take(admin, 4000, -1, memfd_create("test", MFD_CLOEXEC));
	assert_int_equal(n_requests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns_half_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_monitor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_monitor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_unread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_told_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_wrong, setup, teardown),
		cmocka_unit_test(test_steers),
		cmocka_unit_test(test_rights),
	};

	(void)alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
