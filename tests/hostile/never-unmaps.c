/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A listener that maps what it is granted and never unmaps it, and whose links end as soon as they
 * are made: each reconnect must not cost its caller new pages. Prints how many references it was
 * given, each counted once, whenever there is a new one.
 *
 *	hostile-never-unmaps holds|lies
 *
 * holds: it never lets go. lies: it says that it did, and did not. The victim:
 *
 *	hostile-never-unmaps connect ADDRESS TIMES
 */
#include "tests/support/raw-app.h"

#include <errno.h>
#include <stdio.h>

#include "libmsg/libmsg.h"

#define REFS_MAX  65536U
#define PORTS_MAX 100U /* that it keeps; its kernel has no more than some */

struct trap {
	struct raw_app app;
	bool lies;
	uint8_t *mapped[REFS_MAX]; /* by reference */
	unsigned n_mapped, n_ports;
	struct doorbell_page *page; /* of the last link */
	uint32_t end;
};

static struct trap trap;

static uint8_t *map(uint16_t domid, uint32_t ref)
{
	struct hv *hv = trap.app.hv;
	struct hv_map *object;
	void *page;

	must(ref < REFS_MAX);
	if (!trap.mapped[ref]) {
		must(hv->ops->grant_map(hv, domid, &ref, 1, true, NULL, &page, &object) == 0);
		trap.mapped[ref] = page;
		trap.n_mapped++;
	}
	return trap.mapped[ref];
}

/* Maps all that the link has, once, and says that it is ready. */
static void bind_link(const struct control_link_bind *request)
{
	struct control_message ready = {
		.type = CONTROL_LINK_READY, .link_ready = {.end = request->end}};
	struct hv *hv = trap.app.hv;
	const uint32_t *refs;
	uint32_t port;

	trap.end = request->end;
	trap.page = (struct doorbell_page *)map(request->peer_domid, request->doorbell_ref);
	refs = (const uint32_t *)(map(request->peer_domid, request->refs_ref) + LINK_REFS_OFFSET);
	for (uint32_t i = 0; i < 2 * request->ring_pages; i++)
		(void)map(request->peer_domid, refs[i]);
	if (trap.n_ports < PORTS_MAX && hv->ops->evtchn_bind_interdomain(
						hv, request->peer_domid, request->port, &port) == 0)
		trap.n_ports++;
	atomic_store(&trap.page->end[1].alive, 1);
	raw_app_send(&trap.app, &ready);
}

/* The caller has its channel, and the link fails at once. */
static void end_link(void)
{
	struct control_message failed = {.type = CONTROL_LINK_FAILED,
		.link_failed = {.end = trap.end, .error = EPROTO, .reason = "it was a trap"}};

	if (trap.lies)
		atomic_store(&trap.page->end[1].alive, 0);
	raw_app_send(&trap.app, &failed);
}

static void trap_run(void)
{
	struct control_message m = {.type = CONTROL_LISTEN};
	unsigned n_told = 0;

	raw_app_attach(&trap.app, raw_hv_open(NULL), false);
	m.listen = (struct control_listen){
		.listener = 1, .type = CHANNEL_SEQPACKET, .backlog = 16, .name = "trap"};
	raw_app_ask(&trap.app, &m, &m);
	must(m.status.error == 0);
	for (;;) {
		raw_app_receive(&trap.app, &m);
		if (m.type == CONTROL_LINK_BIND)
			bind_link(&m.link_bind);
		else if (m.type == CONTROL_CHANNEL)
			end_link();
		if (trap.n_mapped != n_told)
			printf("mapped %u\n", n_told = trap.n_mapped);
	}
}

static void victim_run(const char *address, unsigned n_times)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, 10000);
	unsigned n_connected = 0;

	must(ctx);
	for (unsigned i = 0; i < n_times; i++) {
		struct msg_sock *sock = msg_connect(
			ctx, address, LIBMSG_SEQPACKET, i ? 0 : LIBMSG_WAIT_NAME, 10000);
		char byte;

		if (!sock) {
			must(msg_reason()[0] && errno != ETIMEDOUT);
			continue;
		}
		n_connected++;
		must(msg_recv(sock, &byte, 1, 0) < 0 && errno == ECONNRESET);
		msg_close(sock);
	}
	printf("connected %u of %u\n", n_connected, n_times);
	printf("last: %s\n", msg_reason());
	msg_ctx_close(ctx);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	must(argc >= 2);
	trap.lies = strcmp(argv[1], "lies") == 0;
	if (strcmp(argv[1], "connect") == 0 && argc == 4)
		victim_run(argv[2], (unsigned)atoi(argv[3]));
	else
		trap_run();
	return 0;
}
