/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An application on raw memory: see the header. */
#include "tests/support/raw-app.h"

#include <poll.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

struct hv *raw_hv_open(const char *spec)
{
	const char *reason = "";
	struct hv *hv;

	if (hv_open(spec, &hv, &reason) < 0) {
		fprintf(stderr, "%s: %s\n", spec, reason);
		exit(1);
	}
	return hv;
}

static void raw_app_share(struct raw_app *app)
{
	const struct hv_ops *ops = app->hv->ops;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	void *page, *rings;

	must(ops->evtchn_alloc_unbound(app->hv, HV_BROKER_DOMID, &app->port) == 0);
	notify.port = app->port;
	must(ops->grant_share(app->hv, HV_BROKER_DOMID, 1, &notify, app->record.refs, &page,
		     &app->page_share) == 0);
	must(ops->grant_share(app->hv, HV_BROKER_DOMID, CONTROL_PAGES - 1, NULL,
		     app->record.refs + 1, &rings, &app->rings_share) == 0);
	app->page = page;
	app->rings = rings;
}

/* Page and record say what is true. */
static void raw_app_fill(struct raw_app *app)
{
	struct record *record = &app->record;

	control_ring_init(&app->ring, app->page, CONTROL_RING_APPLICATION, app->rings);
	must(getrandom(record->nonce, sizeof(record->nonce), 0) == sizeof(record->nonce));
	record->version_min = record->version_max = CONTROL_VERSION;
	record->port = app->port;
	app->page->head.magic = CONTROL_PAGE_MAGIC;
	app->page->head.version_min = app->page->head.version_max = CONTROL_VERSION;
	memcpy(app->page->head.nonce, record->nonce, sizeof(record->nonce));
	app->page->head.port = app->port;
	control_rings_prove(app->rings, &app->page->head);
	atomic_store(&app->page->end[0].alive, 1);
	for (unsigned i = 0; i < sizeof(record->nonce); i++)
		sprintf(app->key + 2 * i, "%02x", record->nonce[i]);
}

void raw_app_init(struct raw_app *app, struct hv *hv)
{
	*app = (struct raw_app){.hv = hv};
	raw_app_share(app);
	raw_app_fill(app);
}

void raw_app_init_parcel(struct raw_app *app, struct hv *hv, struct hv_parcel *parcel)
{
	struct hv_adopted adopted;

	*app = (struct raw_app){.hv = hv, .port = parcel->port};
	must(hv->ops->parcel_adopt(hv, parcel, DOORBELL_ALIVE_OFFSET(0), &adopted) == 0);
	app->page = adopted.page;
	app->page_share = adopted.page_share;
	app->rings = adopted.others;
	app->rings_share = adopted.others_share;
	memcpy(app->record.refs, parcel->refs, sizeof(app->record.refs));
	raw_app_fill(app);
}

void raw_app_publish(struct raw_app *app)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(&app->record, bytes);
	must(app->hv->ops->store_publish(app->hv, app->key, bytes, sizeof(bytes)) == 0);
}

void raw_app_wait(struct raw_app *app)
{
	struct pollfd fd = {.fd = app->hv->ops->fd(app->hv), .events = POLLIN};
	struct hv_event event;

	must(poll(&fd, 1, 60000) == 1);
	while (app->hv->ops->poll_events(app->hv, &event, 1) == 1)
		app->hv->ops->evtchn_unmask(app->hv, &event.port, 1);
}

void raw_app_flush(struct raw_app *app)
{
	control_ring_flush(&app->ring);
	if (control_ring_publish(&app->ring))
		app->hv->ops->evtchn_send(app->hv, app->port);
}

void raw_app_put(struct raw_app *app, const void *bytes, uint32_t len)
{
	grant_ring_write(&app->ring.tx, 0, bytes, len);
	app->ring.tx.own += round_up16(len);
	app->ring.wrote = true;
	raw_app_flush(app);
}

void raw_app_send(struct raw_app *app, const struct control_message *message)
{
	control_ring_send(&app->ring, message);
	raw_app_flush(app);
}

void raw_app_greet(struct raw_app *app, bool reattach)
{
	struct control_message hello = {.type = CONTROL_HELLO, .request = 1};

	app->next_request = 2;
	while (atomic_load(&app->page->epoch) == 0)
		raw_app_wait(app);
	hello.hello.epoch = atomic_load(&app->page->epoch);
	hello.hello.version_min = hello.hello.version_max = CONTROL_VERSION;
	hello.hello.pid = (uint32_t)getpid();
	hello.hello.reattach = reattach;
	(void)snprintf(
		hello.hello.comm, sizeof(hello.hello.comm), "%s", program_invocation_short_name);
	raw_app_send(app, &hello);
	while (!control_ring_sleep(&app->ring))
		raw_app_wait(app);
}

void raw_app_attach(struct raw_app *app, struct hv *hv, bool reattach)
{
	struct control_message welcome;

	raw_app_init(app, hv);
	raw_app_publish(app);
	raw_app_greet(app, reattach);
	raw_app_receive(app, &welcome);
	must(welcome.type == CONTROL_WELCOME);
}

void raw_app_drain(struct raw_app *app)
{
	struct control_message message;
	const char *reason;
	int decoded, r;

	while ((r = control_ring_receive(&app->ring, &message, &decoded, &reason)) == 1)
		;
	must(r == 0);
}

bool raw_app_has_room(struct raw_app *app)
{
	const uint32_t longest = 512; /* more than a CONNECT takes */

	return grant_ring_space(&app->ring.tx, longest) >= longest;
}

void raw_app_receive(struct raw_app *app, struct control_message *ret_message)
{
	const char *reason;
	int decoded, r;

	while ((r = control_ring_receive(&app->ring, ret_message, &decoded, &reason)) == 0) {
		raw_app_flush(app);
		if (!control_ring_sleep(&app->ring))
			raw_app_wait(app);
	}
	must(r == 1 && decoded == 0);
}

void raw_app_ask(
	struct raw_app *app, struct control_message *message, struct control_message *ret_answer)
{
	message->request = app->next_request++;
	raw_app_send(app, message);
	do
		raw_app_receive(app, ret_answer);
	while (ret_answer->request != message->request);
}
