/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process' end of msg-agent's socket (hv/xen/agent.c), against agents of the test's own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	OTHER, /* a reply to something else */
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
		n = recv(fd, packet, sizeof(packet), 0);
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
		cmocka_unit_test(starts_again),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(nobody),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
