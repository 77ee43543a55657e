/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Links whose rings are one page: smaller than a channel's first credit, so that a sender meets the
 * ring's end in nearly every message. The sender's frames must be cut at exactly the room there is.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define CALL_MS 10000
#define LEN_MAX 12000U

struct ends {
	struct msg_ctx *near, *far;
	struct msg_sock *sock[2]; /* of near, which connected; of far */
	struct worker worker;
	uint8_t sent[LEN_MAX], got[LEN_MAX];
	uint32_t len;
};

static int setup(void **state)
{
	testbed_start(NULL, "[limits]\nring-pages = 1\nargo-ring-pages = 1\n");
	testbed_watchdog(100);
	return 0;
}

static struct ends *ends_new(void)
{
	struct ends *ends = calloc(1, sizeof(*ends));

	must(ends);
	ends->near = testbed_ctx("near", 0);
	ends->far = testbed_ctx("far", 0);
	testbed_channel(ends->near, ends->far, "far", ends->sock);
	for (unsigned i = 0; i < 2; i++) {
		must(msg_setopt(ends->sock[i], LIBMSG_RCVTIMEO, CALL_MS) == 0);
		must(msg_setopt(ends->sock[i], LIBMSG_SNDTIMEO, CALL_MS) == 0);
	}
	return ends;
}

static void ends_free(struct ends *ends)
{
	must(!ends->sock[0] || msg_close(ends->sock[0]) == 0);
	must(!ends->sock[1] || msg_close(ends->sock[1]) == 0);
	msg_ctx_close(ends->near);
	msg_ctx_close(ends->far);
	free(ends);
}

static void send_near(void *arg)
{
	struct ends *ends = arg;

	must(msg_send(ends->sock[0], ends->sent, ends->len, 0) == (ssize_t)ends->len);
	must(msg_flush(ends->sock[0]) == 0);
}

/* Of two messages, the first is put in before the receiver begins, as far as there is room. */
static void transfer(struct ends *ends, uint32_t number, uint32_t len)
{
	unsigned n = 1;

	ends->len = len;
	stamp_make(ends->sent, 5, number, len);
	if (msg_send(ends->sock[0], ends->sent, len, MSG_DONTWAIT) >= 0)
		n = 2;
	else
		must(errno == EAGAIN);
	worker_start(&ends->worker, send_near, ends);
	for (unsigned i = 0; i < n; i++) {
		must(msg_recv(ends->sock[1], ends->got, sizeof(ends->got), 0) == (ssize_t)len);
		must(stamp_check(ends->got, len).number == number);
	}
	worker_join(&ends->worker);
}

/* Every message is whole, wherever in the ring it starts and ends. */
static void test_frames_are_cut_to_the_room(void **state)
{
	struct ends *ends = ends_new();
	uint32_t number = 0;

	for (uint32_t len = 3900; len < 4300; len += 9)
		transfer(ends, number++, len);
	for (uint32_t len = 16; len < LEN_MAX / 2; len += 97)
		transfer(ends, number++, len);
	ends_free(ends);
}

/* A channel that waits for room when its link ends is reset, and can be closed. */
static void test_reset_while_it_waits_for_room(void **state)
{
	struct ends *ends = ends_new();
	uint8_t byte;

	stamp_make(ends->sent, 5, 1, 3000);
	must(msg_send(ends->sock[0], ends->sent, 3000, 0) == 3000);
	for (unsigned i = 0; msg_send(ends->sock[0], ends->sent, 3000, MSG_DONTWAIT) >= 0; i++)
		must(i < LEN_MAX);
	must(errno == EAGAIN);
	msg_ctx_close(ends->far);
	ends->sock[1] = NULL;
	must_fail(msg_recv(ends->sock[0], &byte, 1, 0), ECONNRESET);
	must_fail(msg_send(ends->sock[0], "x", 1, 0), ECONNRESET);
	must(msg_close(ends->sock[0]) == 0);
	ends->sock[0] = NULL;
	ends->far = testbed_ctx("far", 0);
	ends_free(ends);
}

static void speak(void *arg)
{
	struct ends *ends = arg;

	must(msg_send(ends->sock[1], "welcome", 7, 0) == 7);
}

/*
 * The accepting end may send when it knows that the other end knows the channel. It sleeps already
 * when the connect ends: the connect itself must wake it, since its caller calls nothing more.
 */
static void test_accepting_end_is_woken(void **state)
{
	struct ends *ends = ends_new();
	struct msg_sock *listener = msg_listen(ends->far, "first", LIBMSG_SEQPACKET, 1, 0);
	struct msg_sock *sock[2] = {ends->sock[0], ends->sock[1]};
	struct msg_pollfd fds;
	char bytes[8];

	must(listener);
	ends->sock[0] =
		msg_connect(ends->near, "far/first", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, CALL_MS);
	must(ends->sock[0]);
	ends->sock[1] = msg_accept(listener, 0);
	must(ends->sock[1]);
	must(msg_setopt(ends->sock[1], LIBMSG_SNDTIMEO, CALL_MS) == 0);
	worker_start(&ends->worker, speak, ends);
	worker_await_sleep(&ends->worker);
	fds = (struct msg_pollfd){.sock = ends->sock[0], .events = POLLOUT};
	must(msg_poll(&fds, 1, CALL_MS) == 1 && fds.revents & POLLOUT);
	worker_join(&ends->worker);
	must(msg_recv(ends->sock[0], bytes, sizeof(bytes), 0) == 7);
	must(memcmp(bytes, "welcome", 7) == 0);
	must(msg_close(sock[0]) == 0 && msg_close(sock[1]) == 0 && msg_close(listener) == 0);
	ends_free(ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_are_cut_to_the_room),
		cmocka_unit_test(test_reset_while_it_waits_for_room),
		cmocka_unit_test(test_accepting_end_is_woken),
	};

	return cmocka_run_group_tests(tests, setup, testbed_teardown);
}
