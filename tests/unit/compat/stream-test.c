/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a channel beneath libxenvchan, over calls of libmsg that say what a test wants. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "compat/xenvchan/stream.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/must.h"

static struct stream stream;
static struct watcher watcher;
static const char *unread; /* comes from the peer */
static int send_error, receive_error;
static char byte; /* stands for a socket */

/* ---- libmsg ------------------------------------------------------------------------------- */

ssize_t msg_recv(struct msg_sock *sock, void *data, size_t len, int flags)
{
	size_t n = unread ? strlen(unread) : 0;

	if (!n) {
		errno = receive_error ? receive_error : EAGAIN;
		return -1;
	}
	n = n < len ? n : len;
	memcpy(data, unread, n);
	unread += n;
	return (ssize_t)n;
}

ssize_t msg_send(struct msg_sock *sock, const void *data, size_t len, int flags)
{
	if (!send_error)
		return (ssize_t)len;
	receive_error = send_error == ECONNRESET ? ECONNRESET : 0;
	errno = send_error;
	return -1;
}

int msg_setopt(struct msg_sock *sock, int option, int64_t value)
{
	return 0;
}

void msg_set_userdata(struct msg_sock *sock, void *userdata)
{
}

int msg_close(struct msg_sock *sock)
{
	return 0;
}

/* ---- tests -------------------------------------------------------------------------------- */

static int setup(void **state)
{
	unread = NULL;
	send_error = receive_error = 0;
	must(stream_init(&stream, 8, 8) == 0);
	stream_attach(&stream, (struct msg_sock *)&byte, &watcher);
	return 0;
}

static int teardown(void **state)
{
	stream_destroy(&stream);
	return 0;
}

/* No event tells again of a loss of which a send has told: it ends at once. */
static void test_lost_in_a_send(void **state)
{
	char got[16];

	send_error = ECONNRESET;
	unread = "longer than the queue";
	assert_int_equal(stream_write(&stream, "x", 1), 0);
	assert_true(stream.over);
	/* All that had come is there. */
	assert_int_equal(stream.in.len, strlen("longer than the queue"));
	assert_int_equal(stream_read(&stream, got, 6), 6);
	assert_memory_equal(got, "longer", 6);
}

/* Nor has it to do with room that lacks. */
static void test_no_room(void **state)
{
	send_error = EAGAIN;
	assert_int_equal(stream_write(&stream, "four", 4), 4);
	assert_false(stream.over);
	assert_int_equal(stream.out.len, 4);
	send_error = ECONNRESET;
	stream_events(&stream, POLLOUT);
	assert_true(stream.over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lost_in_a_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
