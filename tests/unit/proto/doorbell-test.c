/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The protocol that tests/model proves, tried on this machine's memory: two threads and a small
 * grant ring, on which both threads often sleep. A lost wake-up is a poll that times out. On x86 a
 * missing fence shows in some runs only (one of five): the model is the proof, and this test checks
 * that the code behaves as its model.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/doorbell.h"
#include "proto/grant-ring.h"

/* A sanitizer looks for races, which fewer messages show, and says nothing about fences. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define N_MESSAGES 100000U
#else
#define N_MESSAGES 1000000U
#endif
#define RING_LEN 64U
/* Looks before arming: both threads must run at once for their stores and loads to cross. */
#define SPIN 2000U
/* A wake-up takes microseconds; a loaded machine may need longer to run a thread. */
#define LOST_MS 60000

struct pair {
	struct doorbell_end sender, receiver;
	uint8_t data[RING_LEN];
	int to_sender, to_receiver; /* eventfds in the place of event channels */
	const char *lost;	    /* the side that waited in vain */
	uint64_t n_rung;
};

static void event_send(struct pair *pair, int fd)
{
	uint64_t one = 1;

	__atomic_fetch_add(&pair->n_rung, 1, __ATOMIC_RELAXED);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* False: nothing came. */
static bool event_wait(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	uint64_t n;

	return poll(&pollfd, 1, LOST_MS) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static struct grant_ring ring_of(struct pair *pair)
{
	return (struct grant_ring){.data = pair->data,
		.len = RING_LEN,
		.produced = &pair->sender.produced,
		.consumed = &pair->receiver.consumed};
}

/*
 * A pause of varying length, so that publishing and arming meet in every phase: that is when a
 * missing fence shows.
 */
static void pause_vary(uint32_t seed)
{
	for (uint32_t i = (seed * 2654435761U) >> 20; i; i--)
		atomic_signal_fence(memory_order_seq_cst);
}

static void *send_all(void *arg)
{
	struct pair *pair = arg;
	struct grant_ring ring = ring_of(pair);

	for (uint32_t i = 0; i < N_MESSAGES; i++) {
		uint32_t message[4] = {i, ~i, i * 3, i ^ 0x5a5a};

		pause_vary(i);
		while (grant_ring_space(&ring, 16) < 16) {
			for (uint32_t n = 0; n < SPIN && grant_ring_space(&ring, 16) < 16; n++)
				;
			doorbell_arm(&pair->sender.want_space);
			if (grant_ring_space(&ring, 16) >= 16) {
				doorbell_disarm(&pair->sender.want_space);
			} else if (!event_wait(pair->to_sender)) {
				pair->lost = "sender";
				return NULL;
			}
		}
		grant_ring_write(&ring, 0, message, sizeof(message));
		ring.own += 16;
		grant_ring_publish(&ring);
		if (doorbell_take(&pair->receiver.sleeping))
			event_send(pair, pair->to_receiver);
	}
	return NULL;
}

/* Returns how many messages came, each as it was sent. */
static uint32_t receive_all(struct pair *pair)
{
	struct grant_ring ring = ring_of(pair);
	uint32_t n = 0, message[4];

	while (n < N_MESSAGES) {
		for (uint32_t i = 0; i < SPIN && grant_ring_avail(&ring, 16) < 16; i++)
			;
		if (grant_ring_avail(&ring, 16) < 16) {
			doorbell_arm(&pair->receiver.sleeping);
			if (grant_ring_avail(&ring, 16) >= 16) {
				doorbell_disarm(&pair->receiver.sleeping);
			} else if (!event_wait(pair->to_receiver)) {
				pair->lost = "receiver";
				break;
			}
			continue;
		}
		grant_ring_read(&ring, 0, message, sizeof(message));
		if (message[0] != n || message[1] != ~n || message[2] != n * 3 ||
			message[3] != (n ^ 0x5a5a))
			break;
		n++;
		ring.own += 16;
		grant_ring_release(&ring);
		if (doorbell_take(&pair->sender.want_space))
			event_send(pair, pair->to_sender);
	}
	return n;
}

static void test_nothing_lost(void **state)
{
	struct pair pair = {
		.to_sender = eventfd(0, EFD_CLOEXEC), .to_receiver = eventfd(0, EFD_CLOEXEC)};
	pthread_t thread;
	uint32_t n;

	assert_true(pair.to_sender >= 0 && pair.to_receiver >= 0);
	assert_int_equal(pthread_create(&thread, NULL, send_all, &pair), 0);
	n = receive_all(&pair);
	pthread_join(thread, NULL);
	close(pair.to_sender);
	close(pair.to_receiver);
	assert_null(pair.lost);
	assert_int_equal(n, N_MESSAGES);
	assert_true(pair.n_rung > 0); /* somebody did sleep: otherwise this tested nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
