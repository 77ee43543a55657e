/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One channel and its local socket (libmsg/api/pump.c), over calls of libmsg that say what a test
 * wants: a channel that is lost between two of them.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libmsg/api/pump.h"
#include "libmsg/api/sock-diag.h"
#include "libmsg/libmsg.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/must.h"

static struct {
	struct pump pump;
	int fd; /* the program's */
	char scratch[PUMP_SCRATCH];
	const char *unread; /* comes from the peer */
	bool lost;	    /* an earlier send, or this receive, says so */
	int send_error;	    /* of the next send, which tells of it */
	unsigned n_resets, n_sent;
} t;

/* ---- libmsg ------------------------------------------------------------------------------- */

ssize_t msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags)
{
	size_t len;

	must(flags == MSG_DONTWAIT);
	if (!t.unread) {
		errno = t.lost ? ECONNRESET : EAGAIN;
		return -1;
	}
	len = strlen(t.unread);
	memcpy(message->msg_iov->iov_base, t.unread, len);
	message->msg_flags = MSG_EOR;
	t.unread = NULL;
	return (ssize_t)len;
}

ssize_t msg_send(struct msg_sock *sock, const void *data, size_t len, int flags)
{
	must(flags == MSG_DONTWAIT && !t.lost);
	if (!t.send_error) {
		t.n_sent++;
		return (ssize_t)len;
	}
	t.lost = t.send_error == ECONNRESET;
	errno = t.send_error;
	return -1;
}

int msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	fds->revents = 0;
	return 0;
}

int msg_setopt(struct msg_sock *sock, int option, int64_t value)
{
	t.n_resets += option == LIBMSG_RESET && value;
	return 0;
}

int msg_shutdown(struct msg_sock *sock, int how)
{
	return 0;
}

int msg_close(struct msg_sock *sock)
{
	return 0;
}

int sock_diag_sndbuf(ino_t inode)
{
	return -EOPNOTSUPP;
}

int sock_diag_peer(ino_t inode, ino_t *ret_peer)
{
	return -EOPNOTSUPP;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void start(bool messages)
{
	memset(&t, 0, sizeof(t));
	must(pump_open(&t.pump, messages, &t.fd) == 0);
}

static void end(enum pump_outcome outcome)
{
	pump_fini(&t.pump, outcome, t.scratch);
	must(close(t.pump.fd) == 0 && close(t.fd) == 0);
}

/* As its thread does: while another turn is due. */
static enum pump_outcome run(void)
{
	enum pump_outcome outcome;
	unsigned n = 0;

	do {
		outcome = pump_run(&t.pump, t.scratch);
		must(++n < 100);
	} while (outcome == PUMP_GOES_ON);
	return outcome;
}

static void test_both_ways(void **state)
{
	char got[8];

	for (unsigned messages = 0; messages < 2; messages++) {
		start(messages);
		assert_int_equal(send(t.fd, "there", 5, 0), 5);
		t.unread = "back";
		assert_int_equal(run(), PUMP_WAITS);
		assert_int_equal(t.n_sent, 1);
		assert_int_equal(recv(t.fd, got, sizeof(got), MSG_DONTWAIT), 4);
		assert_memory_equal(got, "back", 4);
		end(PUMP_ENDED);
	}
}

/* A receive found nothing, then a send tells of the loss: no event comes that tells of it again. */
static void test_lost_between(void **state)
{
	for (unsigned messages = 0; messages < 2; messages++) {
		start(messages);
		t.send_error = ECONNRESET;
		assert_int_equal(send(t.fd, "there", 5, 0), 5);
		assert_int_equal(run(), PUMP_CUT);
		end(PUMP_CUT);
		assert_int_equal(t.n_resets, 1);
	}
}

/* A peer that takes no more may have something to say, of which an event tells. */
static void test_closed_between(void **state)
{
	char got[8];

	start(false);
	t.send_error = EPIPE;
	assert_int_equal(send(t.fd, "there", 5, 0), 5);
	assert_int_equal(run(), PUMP_WAITS);
	t.unread = "last";
	assert_int_equal(run(), PUMP_WAITS);
	assert_int_equal(recv(t.fd, got, sizeof(got), MSG_DONTWAIT), 4);
	end(PUMP_CUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_lost_between),
		cmocka_unit_test(test_closed_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
