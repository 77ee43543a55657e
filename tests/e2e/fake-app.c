/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application that lies to msgd, straight on hv.h and the protocol, one way for each argument;
 * `liars` runs them and looks at what msgd says. Prints "ready" once the lie is told, then stays
 * until it is killed, unless the lie is to go away. With SOCKET the record is published through an
 * agent (`agents` runs that); then "gone KEY" is printed when the agent says so.
 *
 *	fake-app SPEC LIE [SOCKET]
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/raw-agent.h"
#include "tests/support/raw-app.h"

struct fake {
	struct raw_app app;
	int agent; /* its socket, or -1 */
};

/* As an application that the agent serves. */
static void agent_attach(struct fake *f, struct hv *hv, const char *path)
{
	struct hv_parcel parcel;

	f->agent = raw_agent_connect(path);
	must(raw_agent_parcel(f->agent, &parcel) == 0);
	raw_app_init_parcel(&f->app, hv, &parcel);
}

/* Until the agent ends. */
static void agent_wait(struct fake *f)
{
	struct agent_reply reply;

	while (recv(f->agent, &reply, sizeof(reply), 0) == sizeof(reply)) {
		must(reply.op == AGENT_GONE);
		printf("gone %s\n", reply.key);
		fflush(stdout);
	}
}

static void fake_publish_bytes(struct fake *f, const void *bytes, size_t len)
{
	if (f->agent >= 0) {
		must(raw_agent_publish(f->agent, f->app.key, bytes, len) == 0);
		return;
	}
	must(f->app.hv->ops->store_publish(f->app.hv, f->app.key, bytes, len) == 0);
}

static void fake_publish(struct fake *f)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(&f->app.record, bytes);
	fake_publish_bytes(f, bytes, sizeof(bytes));
}

/* Attached and greeted, as an honest application is; from there on the lies begin. */
static void fake_attach(struct fake *f)
{
	fake_publish(f);
	raw_app_greet(&f->app, false);
}

/* ---- lies in the record: nothing that it names may be touched ---------------------------- */

static void lie_magic(struct fake *f)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(&f->app.record, bytes);
	bytes[0] ^= 1;
	fake_publish_bytes(f, bytes, sizeof(bytes));
}

static void lie_short(struct fake *f)
{
	fake_publish_bytes(f, "MSGD", 4);
}

static void lie_version(struct fake *f)
{
	f->app.record.version_min = f->app.record.version_max = 77;
	fake_publish(f);
}

static void lie_port_zero(struct fake *f)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(&f->app.record, bytes);
	memset(bytes + 24, 0, 4);
	fake_publish_bytes(f, bytes, sizeof(bytes));
}

static void lie_nonce(struct fake *f)
{
	f->app.record.nonce[3] ^= 1;
	fake_publish(f);
}

static void lie_refs(struct fake *f)
{
	for (unsigned i = 0; i < CONTROL_PAGES; i++)
		f->app.record.refs[i] = 900000 + i;
	fake_publish(f);
}

static void lie_ring_refs(struct fake *f)
{
	f->app.record.refs[2] = 900000;
	fake_publish(f);
}

/* Two of its pages, each in the place of the other. */
static void lie_swapped(struct fake *f)
{
	uint32_t ref = f->app.record.refs[2];

	f->app.record.refs[2] = f->app.record.refs[4];
	f->app.record.refs[4] = ref;
	fake_publish(f);
}

/* A page that is granted to msgd's domain for something else, as a disk's is. */
static void lie_foreign(struct fake *f)
{
	struct hv *hv = f->app.hv;
	struct hv_share *share;
	uint8_t *page;
	void *addr;

	must(hv->ops->grant_share(
		     hv, HV_BROKER_DOMID, 1, NULL, &f->app.record.refs[3], &addr, &share) == 0);
	page = memset(addr, 0xa5, HV_PAGE_SIZE);
	must(hv->ops->store_watch_own(hv) == 0);
	fake_publish(f);
	raw_app_wait(&f->app); /* until it is refused */
	for (unsigned i = 0; i < HV_PAGE_SIZE; i++)
		must(page[i] == 0xa5);
}

static void fake_port(struct fake *f, uint32_t port)
{
	f->app.record.port = f->app.page->head.port = port;
	control_rings_prove(f->app.rings, &f->app.page->head);
}

static void lie_port(struct fake *f)
{
	fake_port(f, 1000);
	fake_publish(f);
}

/* The pages are withdrawn before msgd can look. */
static void lie_vanish(struct fake *f)
{
	f->app.hv->ops->grant_unshare(f->app.hv, f->app.page_share);
	fake_publish(f);
}

static void lie_dead(struct fake *f)
{
	atomic_store(&f->app.page->end[0].alive, 0);
	fake_publish(f);
}

static void lie_old_counters(struct fake *f)
{
	atomic_store(&f->app.page->end[0].produced, 0x12345670);
	fake_publish(f);
}

static void lie_flood(struct fake *f)
{
	uint8_t bytes[RECORD_SIZE];

	/* All true but for the port: each waits its five seconds for it. */
	fake_port(f, 1000);
	record_encode(&f->app.record, bytes);
	for (unsigned i = 0; i < 2 * DOMAIN_PROCESSES_MAX + 1; i++) {
		snprintf(f->app.key, sizeof(f->app.key), "flood-%u", i);
		fake_publish_bytes(f, bytes, sizeof(bytes));
	}
}

/* ---- lies on an attached control link -------------------------------------------------------- */

static void lie_counters(struct fake *f)
{
	fake_attach(f);
	atomic_store(&f->app.page->end[0].produced, 0xdeadbee0);
	f->app.hv->ops->evtchn_send(f->app.hv, f->app.port);
}

static void lie_garbage_page(struct fake *f)
{
	fake_attach(f);
	for (unsigned i = 0; i < HV_PAGE_SIZE; i++)
		((volatile uint8_t *)f->app.page)[i] = 0xa5;
	f->app.hv->ops->evtchn_send(f->app.hv, f->app.port);
}

static void lie_frame(struct fake *f)
{
	uint8_t garbage[64];

	memset(garbage, 0xa5, sizeof(garbage));
	fake_attach(f);
	raw_app_put(&f->app, garbage, sizeof(garbage));
}

static void lie_cut(struct fake *f)
{
	uint8_t bytes[FRAME_HEADER_SIZE];

	fake_attach(f);
	frame_encode(&(struct frame){.len = 76, .type = CONTROL_LISTEN, .arg = 2}, bytes);
	raw_app_put(&f->app, bytes, sizeof(bytes));
}

static void lie_malformed(struct fake *f)
{
	uint8_t bytes[FRAME_HEADER_SIZE + 76] = {[FRAME_HEADER_SIZE] = 1};

	fake_attach(f);
	frame_encode(&(struct frame){.len = 76, .type = CONTROL_LISTEN, .arg = 2}, bytes);
	raw_app_put(&f->app, bytes, sizeof(bytes));
}

static void lie_state(struct fake *f)
{
	fake_attach(f);
	raw_app_send(&f->app, &(struct control_message){.type = CONTROL_ANNOUNCE_DONE});
}

static void lie_end(struct fake *f)
{
	struct control_message ready = {.type = CONTROL_LINK_READY};

	ready.link_ready.end = 4711;
	fake_attach(f);
	raw_app_send(&f->app, &ready);
}

/*
 * Asks and asks and reads no answer. msgd stops reading after a bounded number: then the ring to it
 * stays full, which is what is waited for. Not a lie, so it is not dropped.
 */
static void lie_drain(struct fake *f)
{
	struct control_message sync = {.type = CONTROL_SYNC};
	unsigned idle = 0;

	fake_attach(f);
	while (idle < 100) {
		int64_t space = grant_ring_space(&f->app.ring.tx, FRAME_HEADER_SIZE);

		must(space >= 0);
		if (space < FRAME_HEADER_SIZE) {
			struct timespec pause = {.tv_nsec = 5000000};

			idle++; /* half a second of a full ring */
			nanosleep(&pause, NULL);
			continue;
		}
		idle = 0;
		sync.request++;
		raw_app_send(&f->app, &sync);
	}
	printf("stopped after %u requests\n", sync.request);
	/* Bytes of answers that msgd may keep: CONTROL_READ_STOP, and what one turn adds. */
	must(sync.request < 2000);
}

/* No lie at all. */
static void lie_none(struct fake *f)
{
	fake_attach(f);
}

static void lie_leave(struct fake *f)
{
	fake_attach(f);
	_exit(0);
}

static const struct {
	const char *name;
	void (*tell)(struct fake *fake);
} lies[] = {
	{"magic", lie_magic},
	{"short", lie_short},
	{"version", lie_version},
	{"port-zero", lie_port_zero},
	{"nonce", lie_nonce},
	{"refs", lie_refs},
	{"ring-refs", lie_ring_refs},
	{"swapped", lie_swapped},
	{"foreign", lie_foreign},
	{"port", lie_port},
	{"vanish", lie_vanish},
	{"dead", lie_dead},
	{"old-counters", lie_old_counters},
	{"flood", lie_flood},
	{"counters", lie_counters},
	{"garbage-page", lie_garbage_page},
	{"frame", lie_frame},
	{"cut", lie_cut},
	{"malformed", lie_malformed},
	{"state", lie_state},
	{"end", lie_end},
	{"drain", lie_drain},
	{"leave", lie_leave},
	{"none", lie_none},
};

int main(int argc, char **argv)
{
	struct fake fake = {.agent = -1};

	must(argc == 3 || argc == 4);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		if (strcmp(argv[2], lies[i].name) != 0)
			continue;
		if (argc == 4)
			agent_attach(&fake, raw_hv_open(argv[1]), argv[3]);
		else
			raw_app_init(&fake.app, raw_hv_open(argv[1]));
		lies[i].tell(&fake);
		printf("ready\n");
		fflush(stdout);
		if (fake.agent >= 0)
			agent_wait(&fake);
		for (;;)
			pause();
	}
	fprintf(stderr, "fake-app: no lie is called %s\n", argv[2]);
	return 1;
}
