/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains that make msgd work: each has as many CONNECTs waiting, and as many names, as it may.
 * Then each listens and unlistens, over and over, under the name that all of them wait for, and
 * connects to names that nobody has. Policy lets the requests wait and never lets them through. The
 * other two roles are honest, and measure it.
 *
 *	work attack SPEC DOMAIN...   prints "full" when the quotas are used up, and goes on
 *	work serve NAME              accepts and closes
 *	work connect ADDRESS N       connects N times; prints how long 99 of 100 took at most, in us
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "libmsg/libmsg.h"
#include "proto/limits.h"
#include "tests/support/raw-app.h"

struct attacker {
	struct raw_app waits, listens;
	uint32_t n_waiting, n_names, n_sent;
	bool listening;
};

static void send_connect(struct attacker *attacker, const char *name, uint32_t flags)
{
	struct control_message message = {
		.type = CONTROL_CONNECT, .request = attacker->waits.next_request++};

	message.connect.type = CHANNEL_SEQPACKET;
	message.connect.flags = flags;
	(void)snprintf(message.connect.address, sizeof(message.connect.address), "%s", name);
	control_ring_send(&attacker->waits.ring, &message);
}

static void send_listen(struct attacker *attacker, uint32_t handle, const char *name)
{
	struct control_message message = {
		.type = CONTROL_LISTEN, .request = attacker->listens.next_request++};

	message.listen.listener = handle;
	message.listen.type = CHANNEL_SEQPACKET;
	message.listen.backlog = 1;
	(void)snprintf(message.listen.name, sizeof(message.listen.name), "%s", name);
	control_ring_send(&attacker->listens.ring, &message);
}

static void send_unlisten(struct attacker *attacker, uint32_t handle)
{
	struct control_message message = {
		.type = CONTROL_UNLISTEN, .request = attacker->listens.next_request++};

	message.unlisten.listener = handle;
	control_ring_send(&attacker->listens.ring, &message);
}

/* Up to its quotas, but for a request and a name. False: they are used up. */
static bool fill(struct attacker *attacker)
{
	char name[NAME_SIZE];

	while (attacker->n_waiting < DOMAIN_REQUESTS_MAX - 1 &&
		raw_app_has_room(&attacker->waits)) {
		send_connect(attacker, "trap", CONNECT_WAIT_NAME);
		attacker->n_waiting++;
	}
	while (attacker->n_names < DOMAIN_NAMES_MAX - 1 && raw_app_has_room(&attacker->listens)) {
		(void)snprintf(name, sizeof(name), "name-%u", attacker->n_names);
		send_listen(attacker, ++attacker->n_names, name);
	}
	return attacker->n_waiting < DOMAIN_REQUESTS_MAX - 1 ||
	       attacker->n_names < DOMAIN_NAMES_MAX - 1;
}

static void attack(struct attacker *attacker)
{
	char name[NAME_SIZE];

	while (raw_app_has_room(&attacker->waits)) {
		(void)snprintf(name, sizeof(name), "svc%u-nobody-%u", attacker->n_sent % 1000,
			attacker->n_sent);
		attacker->n_sent++;
		send_connect(attacker, name, 0);
	}
	while (raw_app_has_room(&attacker->listens)) {
		if (attacker->listening)
			send_unlisten(attacker, DOMAIN_NAMES_MAX);
		else
			send_listen(attacker, DOMAIN_NAMES_MAX, "trap");
		attacker->listening = !attacker->listening;
	}
}

static bool turn(struct attacker *attackers, int n, bool full)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	bool more = false;

	for (int i = 0; i < n; i++) {
		raw_app_drain(&attackers[i].waits);
		raw_app_drain(&attackers[i].listens);
		if (full)
			attack(&attackers[i]);
		else
			more |= fill(&attackers[i]);
		raw_app_flush(&attackers[i].waits);
		raw_app_flush(&attackers[i].listens);
	}
	/* The rings hold work for longer; its processor is left to the others. */
	(void)nanosleep(&pause, NULL);
	return more;
}

static int role_attack(int argc, char **argv)
{
	int n = argc - 1;
	struct attacker *attackers = calloc((size_t)n, sizeof(*attackers));
	char spec[512];

	must(attackers);
	for (int i = 0; i < n; i++) {
		struct hv *hv;

		(void)snprintf(spec, sizeof(spec), "%s#%s", argv[0], argv[1 + i]);
		hv = raw_hv_open(spec);
		raw_app_attach(&attackers[i].waits, hv, false);
		raw_app_attach(&attackers[i].listens, hv, false);
	}
	while (turn(attackers, n, false))
		;
	printf("full\n");
	for (;;)
		(void)turn(attackers, n, true);
}

static struct msg_ctx *ctx_open(void)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, 30000);

	must(ctx);
	return ctx;
}

static int role_serve(const char *name)
{
	struct msg_sock *listener = msg_listen(ctx_open(), name, LIBMSG_SEQPACKET, 64, 0);
	struct msg_sock *sock;

	must(listener);
	printf("listening\n");
	while ((sock = msg_accept(listener, 0)))
		(void)msg_close(sock);
	return 1;
}

static uint64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int role_connect(const char *address, unsigned n)
{
	struct msg_ctx *ctx = ctx_open();
	uint64_t *took = calloc(n, sizeof(*took));

	must(took && n > 0);
	for (unsigned i = 0; i < n; i++) {
		uint64_t start = now_us();
		struct msg_sock *sock =
			msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 60000);

		if (!sock &&
			errno == ECONNREFUSED) { /* the backlog is full: the server is behind */
			i--;
			(void)sched_yield();
			continue;
		}
		if (!sock) {
			printf("error: %s: %s\n", strerror(errno), msg_reason());
			return 1;
		}
		took[i] = now_us() - start;
		(void)msg_close(sock);
	}
	qsort(took, n, sizeof(*took), compare);
	printf("p99 %lu\n", (unsigned long)took[n * 99 / 100]);
	free(took);
	msg_ctx_close(ctx);
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc >= 4 && strcmp(argv[1], "attack") == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no xen-sim ends it */
		return role_attack(argc - 2, argv + 2);
	}
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return role_serve(argv[2]);
	if (argc == 4 && strcmp(argv[1], "connect") == 0)
		return role_connect(argv[2], (unsigned)atoi(argv[3]));
	return 2;
}
