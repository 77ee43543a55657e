/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Has msgd log: by records that are deleted, by applications that come and go, by requests that are
 * refused and by links that fail. Each way causes LINES lines or more, as fast as it can.
 *
 *	hostile-log-flood SPEC malformed|parked|attach|refused|announce
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"
#include "proto/record.h"
#include "tests/support/raw-app.h"

#define LINES 6000U

/* Each goes away again, and under a few keys: the store's quota is not what is tried here. */
static void flood_records(struct hv *hv, const void *bytes, size_t len)
{
	char key[HV_STORE_KEY_MAX];

	for (unsigned i = 0; i < LINES; i++) {
		snprintf(key, sizeof(key), "flood%u", i % 32);
		while (hv->ops->store_publish(hv, key, bytes, len) == -ENOSPC)
			;
	}
}

static void flood_malformed(struct hv *hv)
{
	flood_records(hv, "no record", 9);
}

static void flood_parked(struct hv *hv)
{
	struct record record = {.version_min = CONTROL_VERSION, .version_max = CONTROL_VERSION};
	uint8_t bytes[RECORD_PARKED_SIZE];

	memset(record.nonce, 7, sizeof(record.nonce));
	record_parked_encode(&record, bytes);
	flood_records(hv, bytes, sizeof(bytes));
}

/* Attached, and its record is replaced by none: two lines each. */
static void flood_attach(struct hv *hv)
{
	struct raw_app app;

	raw_app_init(&app, hv);
	for (unsigned i = 0; i < LINES / 2; i++) {
		raw_app_publish(&app);
		must(hv->ops->store_publish(hv, app.key, "none", 4) == 0);
	}
}

static void flood_refused(struct hv *hv)
{
	struct control_message connect = {.type = CONTROL_CONNECT}, answer;
	struct raw_app app;

	raw_app_attach(&app, hv, false);
	connect.connect.type = CHANNEL_SEQPACKET;
	strcpy(connect.connect.address, "secret");
	for (unsigned i = 0; i < LINES; i++) {
		raw_app_ask(&app, &connect, &answer);
		must(answer.type == CONTROL_STATUS && answer.status.error == EACCES);
	}
}

static void send_all(struct raw_app *app, const struct control_message *message)
{
	raw_app_send(app, message);
	while (app->ring.outbox_bytes) {
		if (!control_ring_sleep(&app->ring))
			raw_app_wait(app);
		raw_app_flush(app);
	}
}

static void announce(struct raw_app *app, uint32_t role, uint16_t domid)
{
	struct control_message link = {.type = CONTROL_ANNOUNCE_LINK};
	struct control_message channel = {.type = CONTROL_ANNOUNCE_CHANNEL};
	struct control_message done = {.type = CONTROL_ANNOUNCE_DONE};

	raw_app_greet(app, true);
	link.announce_link.end = channel.announce_channel.end = 1;
	link.announce_link.uid = 77;
	link.announce_link.peer_domid = domid;
	link.announce_link.transport = TRANSPORT_GRANT;
	link.announce_link.role = role;
	link.announce_link.state = 1;
	send_all(app, &link);
	channel.announce_channel.type = CHANNEL_SEQPACKET;
	channel.announce_channel.listener = role;
	strcpy(channel.announce_channel.name, "secret");
	for (uint32_t i = 1; i <= LINES / 4; i++) {
		channel.announce_channel.channel = i;
		send_all(app, &channel);
	}
	send_all(app, &done);
}

/* After msgd's return, of channels that policy forbids. */
static void flood_announce(struct hv *hv)
{
	struct raw_app apps[2];

	for (unsigned i = 0; i < 2; i++)
		raw_app_attach(&apps[i], hv, false);
	printf("ready\n");
	fflush(stdout);
	for (unsigned i = 0; i < 2; i++) {
		while (atomic_load(&apps[i].page->epoch) == 1)
			raw_app_wait(&apps[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		announce(&apps[i], i, hv->ops->domid(hv));
}

static const struct {
	const char *name;
	void (*run)(struct hv *hv);
} ways[] = {
	{"malformed", flood_malformed},
	{"parked", flood_parked},
	{"attach", flood_attach},
	{"refused", flood_refused},
	{"announce", flood_announce},
};

int main(int argc, char **argv)
{
	struct hv *hv;

	must(argc == 3);
	hv = raw_hv_open(argv[1]);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (strcmp(argv[2], ways[i].name) == 0)
			ways[i].run(hv);
	}
	printf("done\n");
	fflush(stdout);
	for (;;)
		(void)pause();
}
