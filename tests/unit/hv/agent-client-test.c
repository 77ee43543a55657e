/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process' end of msg-agent's socket (hv/xen/agent.c), against agents of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "hv/xen/store.h"

/* The agent's answer to one request. */
enum deed {
	GRANT,	     /* says yes, and its domid */
	REFUSE,	     /* EDQUOT */
	GONE_FIRST,  /* tells of two records before it answers */
	GONE_AFTER,  /* answers, then tells of one */
	HANG_UP,     /* closes instead of answering */
	GRANT_CLOSE, /* answers, then closes */
	SHORT,	     /* half a reply */
	GARBAGE,
	OTHER,	   /* a reply to something else */
	PARCEL,	   /* with descriptors: the ends of a pipe */
	CROWD,	   /* more of them than a parcel has */
	FULL,	   /* EDQUOT to the connection, which is closed with the request unread */
	FULL_READ, /* the same, once the request was read */
};

static char dir[] = "/tmp/msgd-agent-XXXXXX", path[64];
static int listener = -1;
static const enum deed *deeds;
static size_t n_deeds;
static struct agent_request seen;

static void say(int fd, uint16_t op, uint32_t error, const char *key)
{
	struct agent_reply reply = {.magic = AGENT_MAGIC,
		.version = AGENT_VERSION,
		.op = op,
		.error = error,
		.domid = op == AGENT_DOMID ? 7 : 0};

	snprintf(reply.key, sizeof(reply.key), "%s", key);
	(void)send(fd, &reply, sizeof(reply), MSG_NOSIGNAL);
}

/* In place of a pipe, which takes descriptors. */
static int lent = -1;

/* The ends of a pipe, so many times. */
static void say_parcel(int fd, size_t n)
{
	struct agent_reply reply = {.magic = AGENT_MAGIC,
		.version = AGENT_VERSION,
		.op = seen.op,
		.port = 9,
		.refs = {1, 2, 3, 4, 5},
		.where = {10, 11, 12}};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct iovec iov = {&reply, sizeof(reply)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *header = (struct cmsghdr *)control;
	int ends[2] = {lent, lent}, fds[8];

	if (lent < 0 && pipe(ends) < 0)
		abort();
	for (size_t i = 0; i < n; i++)
		fds[i] = ends[i % 2];
	message.msg_controllen = CMSG_SPACE(n * sizeof(int));
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(header), fds, n * sizeof(int));
	(void)sendmsg(fd, &message, MSG_NOSIGNAL);
	if (lent >= 0)
		return;
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* True: the connection goes on. */
static bool deed_do(int fd, enum deed deed)
{
	struct agent_reply junk = {.magic = 1};

	switch (deed) {
	case REFUSE:
		say(fd, seen.op, EDQUOT, "");
		return true;
	case GONE_FIRST:
		say(fd, AGENT_GONE, 0, "one");
		say(fd, AGENT_GONE, 0, "two");
		say(fd, seen.op, 0, "");
		return true;
	case GONE_AFTER:
		say(fd, seen.op, 0, "");
		say(fd, AGENT_GONE, 0, "three");
		return true;
	case FULL:
	case FULL_READ:
		say(fd, 0, EDQUOT, "");
		return false;
	case HANG_UP:
		return false;
	case GRANT_CLOSE:
		say(fd, seen.op, 0, "");
		return false;
	case SHORT:
		(void)send(fd, &junk, 10, MSG_NOSIGNAL);
		return true;
	case GARBAGE:
		(void)send(fd, &junk, sizeof(junk), MSG_NOSIGNAL);
		return true;
	case PARCEL:
		say_parcel(fd, HV_PARCEL_FDS);
		return true;
	case CROWD:
		say_parcel(fd, 8);
		return true;
	case OTHER:
		say(fd, AGENT_REMOVE, 0, "");
		return true;
	default:
		say(fd, seen.op, 0, "");
		return true;
	}
}

static void *agent_main(void *arg)
{
	uint8_t packet[AGENT_PACKET_MAX + 1];
	int fd = -1;

	while (n_deeds > 0) {
		ssize_t n;

		if (fd < 0)
			fd = accept(listener, NULL, NULL);
		n = recv(fd, packet, sizeof(packet), *deeds == FULL ? MSG_PEEK : 0);
		if (n >= (ssize_t)sizeof(seen)) {
			memcpy(&seen, packet, sizeof(seen));
			n_deeds--;
			if (deed_do(fd, *deeds++))
				continue;
		}
		(void)close(fd);
		fd = -1;
	}
	/* bytes that are there can still be read, and the end after them */
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

static pthread_t thread;
static struct store_agent *client;
static struct agent_reply reply;

static void begin(const enum deed *what, size_t n)
{
	deeds = what;
	n_deeds = n;
	client = store_agent_new();
	assert_non_null(client);
	assert_int_equal(pthread_create(&thread, NULL, agent_main, NULL), 0);
}

static void end(void)
{
	assert_int_equal(pthread_join(thread, NULL), 0);
	store_agent_free(client);
}

#define BEGIN(...)                                                                                 \
	static const enum deed what[] = {__VA_ARGS__};                                             \
	begin(what, sizeof(what) / sizeof(*what))

static int publish(void)
{
	return store_agent_request(client, AGENT_PUBLISH, "key", "value", 5, &reply);
}

static void requests(void **state)
{
	BEGIN(GRANT, REFUSE, GRANT, GRANT);
	assert_int_equal(store_agent_fd(client), -1);
	assert_int_equal(publish(), 0);
	assert_true(store_agent_fd(client) >= 0);
	assert_int_equal(publish(), -EDQUOT);
	assert_int_equal(store_agent_request(client, AGENT_DOMID, NULL, NULL, 0, &reply), 0);
	assert_int_equal(reply.domid, 7);
	assert_int_equal(store_agent_request(client, AGENT_REMOVE, "key", NULL, 0, &reply), 0);
	assert_int_equal(
		store_agent_request(client, AGENT_PUBLISH, "key", "", 1U << 20, &reply), -EINVAL);
	end();
	assert_int_equal(seen.len, 0);
	assert_string_equal(seen.key, "key");
}

static void gone(void **state)
{
	char key[HV_STORE_KEY_MAX];
	int r;

	BEGIN(GONE_FIRST, GONE_AFTER);
	assert_int_equal(store_agent_gone(client, key), -ENOTCONN);
	assert_int_equal(publish(), 0);
	assert_int_equal(store_agent_gone(client, key), 1);
	assert_string_equal(key, "one");
	assert_int_equal(publish(), 0);
	assert_int_equal(store_agent_gone(client, key), 1);
	assert_string_equal(key, "two");
	while ((r = store_agent_gone(client, key)) == 0)
		;
	assert_int_equal(r, 1);
	assert_string_equal(key, "three");
	while ((r = store_agent_gone(client, key)) == 0)
		;
	assert_int_equal(r, -ENOTCONN);
	assert_int_equal(store_agent_fd(client), -1);
	end();
}

/* EOF in the place of the first reply: over a limit. Later: the agent was started again. */
static void hang_up(void **state)
{
	BEGIN(HANG_UP, GRANT);
	assert_int_equal(publish(), -EACCES);
	assert_int_equal(store_agent_fd(client), -1);
	assert_int_equal(publish(), 0);
	end();
}

/* Over a limit: the connection is told, whatever the request met. */
static void too_many(void **state)
{
	BEGIN(FULL, FULL_READ, GRANT);
	for (int i = 0; i < 2; i++)
		assert_int_equal(publish(), -EDQUOT);
	assert_int_equal(publish(), 0);
	end();
}

static void starts_again(void **state)
{
	struct timespec ms = {.tv_nsec = 1000000};
	char byte;

	BEGIN(GRANT_CLOSE, GRANT);
	assert_int_equal(publish(), 0);
	while (recv(store_agent_fd(client), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		nanosleep(&ms, NULL);
	assert_int_equal(publish(), 0);
	end();
}

static void nonsense(void **state)
{
	BEGIN(SHORT, GARBAGE, OTHER, GRANT);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(publish(), -EPROTO);
		assert_int_equal(store_agent_fd(client), -1);
	}
	assert_int_equal(publish(), 0);
	end();
}

static int parcel(void)
{
	return store_agent_request(client, AGENT_PARCEL, NULL, NULL, 0, &reply);
}

/* The ends of one pipe, not to be passed on, and nobody else has the other one. */
static void ends_check(int fds[HV_PARCEL_FDS])
{
	char byte = 'x';

	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fds[1], &byte, 1), 1);
	assert_int_equal(close(fds[1]), 0);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	assert_int_equal(close(fds[0]), 0);
}

static unsigned fds_open(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void descriptors(void **state)
{
	int fds[HV_PARCEL_FDS];

	BEGIN(PARCEL, PARCEL, GRANT, PARCEL);
	assert_int_equal(parcel(), 0);
	assert_int_equal(reply.port, 9);
	assert_int_equal(reply.refs[4], 5);
	assert_int_equal(reply.where[2], 12);
	store_agent_fds(client, fds);
	ends_check(fds);
	store_agent_fds(client, fds); /* once */
	assert_int_equal(fds[0], -1);
	assert_int_equal(fds[1], -1);
	/* Nobody wants them: they go with the next message, or with the connection. */
	assert_int_equal(parcel(), 0);
	assert_int_equal(publish(), 0);
	store_agent_fds(client, fds);
	assert_int_equal(fds[0], -1);
	assert_int_equal(parcel(), 0);
	end();
}

/* More than a parcel has, and fewer than this process has room for: EMFILE, and none stays. */
static void descriptors_too_many(void **state)
{
	struct rlimit limit, before;
	unsigned n;
	int last;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	lent = listener;
	BEGIN(GRANT, CROWD, GRANT, PARCEL, GRANT);
	assert_int_equal(publish(), 0);
	n = fds_open();
	assert_int_equal(parcel(), -EMFILE);
	assert_int_equal(store_agent_fd(client), -1);
	assert_int_equal(publish(), 0);
	last = dup(store_agent_fd(client));
	assert_true(last >= 0);
	limit = (struct rlimit){(rlim_t)last + 1, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(close(last), 0); /* room for one */
	assert_int_equal(parcel(), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(publish(), 0);
	end();
	lent = -1;
	assert_in_range(fds_open(), 1, n);
}

static void nobody(void **state)
{
	client = store_agent_new();
	assert_int_equal(setenv("MSG_AGENT", "/nowhere/at/all", 1), 0);
	assert_int_equal(publish(), -EACCES);
	assert_int_equal(setenv("MSG_AGENT", path, 1), 0);
	store_agent_free(client);
	store_agent_free(NULL);
}

static int setup(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/agent", dir);
	strcpy(addr.sun_path, path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		listen(listener, 4) < 0)
		return -1;
	return setenv("MSG_AGENT", path, 1);
}

static int teardown(void **state)
{
	(void)close(listener);
	(void)unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(gone),
		cmocka_unit_test(hang_up),
		cmocka_unit_test(too_many),
		cmocka_unit_test(starts_again),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(descriptors_too_many),
		cmocka_unit_test(nobody),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
