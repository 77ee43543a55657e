/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The creator of a link names pages that are not the link's: pages that its kernel has granted to
 * the victim's domain for something else. Such a page is refused with a reason, and not written to.
 *
 *	hostile-foreign-pages ADDRESS
 */
#include "tests/support/raw-app.h"

#include <stdio.h>
#include <unistd.h>

#include "base/macro.h"

#define RING_PAGES_MAX 256U

/* A link as its creator makes it, and one more page: the kernel's own. */
struct offered {
	struct hv_share *share;
	uint8_t *pages;
	uint32_t refs[LINK_PAGE_RING + 2 * RING_PAGES_MAX + 1];
	uint32_t n; /* pages of the link */
	uint32_t port;
};

static uint8_t *page_of(const struct offered *o, uint32_t i)
{
	return o->pages + i * HV_PAGE_SIZE;
}

static uint32_t *list_of(const struct offered *o)
{
	return (uint32_t *)(page_of(o, LINK_PAGE_REFS) + LINK_REFS_OFFSET);
}

static void offered_init(
	struct offered *o, struct hv *hv, const struct control_link_create *request)
{
	void *pages;

	must(request->transport == TRANSPORT_GRANT && request->ring_pages <= RING_PAGES_MAX);
	o->n = LINK_PAGE_RING + 2 * request->ring_pages;
	must(hv->ops->evtchn_alloc_unbound(hv, request->peer_domid, &o->port) == 0);
	must(hv->ops->grant_share(
		     hv, request->peer_domid, o->n + 1, NULL, o->refs, &pages, &o->share) == 0);
	o->pages = pages;
	memset(pages, 0x5a, (o->n + 1) * HV_PAGE_SIZE);
	for (uint32_t i = 0; i < o->n; i++) {
		struct doorbell_head head = link_page_head(request->uid, o->port, i);

		memcpy(page_of(o, i), &head, sizeof(head));
	}
	memcpy(list_of(o), o->refs + LINK_PAGE_RING, 2 * request->ring_pages * sizeof(uint32_t));
}

static void offered_fini(struct offered *o, struct hv *hv)
{
	hv->ops->grant_unshare(hv, o->share);
	must(hv->ops->evtchn_close(hv, o->port) == 0);
}

/* ---- lies ----------------------------------------------------------------------------------- */

static void lie_doorbell(struct offered *o)
{
	o->refs[LINK_PAGE_DOORBELL] = o->refs[o->n];
}

static void lie_refs(struct offered *o)
{
	memcpy(page_of(o, o->n), page_of(o, LINK_PAGE_REFS), HV_PAGE_SIZE);
	memset(page_of(o, o->n), 0x5a, sizeof(struct doorbell_head));
	o->refs[LINK_PAGE_REFS] = o->refs[o->n];
}

static void lie_first_ring_page(struct offered *o)
{
	list_of(o)[0] = o->refs[o->n];
}

static void lie_last_ring_page(struct offered *o)
{
	list_of(o)[o->n - LINK_PAGE_RING - 1] = o->refs[o->n];
}

static void lie_place(struct offered *o)
{
	list_of(o)[1] = list_of(o)[0];
}

static void lie_uid(struct offered *o)
{
	page_of(o, o->n - 1)[8] ^= 1;
}

static const struct lie {
	const char *name;
	void (*fn)(struct offered *o);
} lies[] = {
	{"doorbell", lie_doorbell},
	{"refs", lie_refs},
	{"first-ring-page", lie_first_ring_page},
	{"last-ring-page", lie_last_ring_page},
	{"place", lie_place},
	{"uid", lie_uid},
};

/* ---- telling them --------------------------------------------------------------------------- */

static void offer(struct raw_app *app, const struct offered *o, uint32_t end)
{
	struct control_message message = {.type = CONTROL_LINK_OFFER,
		.link_offer = {.end = end,
			.port = o->port,
			.doorbell_ref = o->refs[LINK_PAGE_DOORBELL],
			.refs_ref = o->refs[LINK_PAGE_REFS]}};

	raw_app_send(app, &message);
}

/* Connects, with that lie. The answer's error, or 0; ret_reason: its reason. */
static uint32_t connect_with(
	struct raw_app *app, const char *address, const struct lie *lie, char *ret_reason)
{
	static uint8_t before[sizeof(((struct offered *)0)->refs) / 4 * HV_PAGE_SIZE];
	static struct offered o;
	struct control_message m = {.type = CONTROL_CONNECT, .request = app->next_request++};
	uint32_t request = m.request;
	bool offered = false;

	m.connect.type = CHANNEL_SEQPACKET;
	m.connect.flags = CONNECT_WAIT_NAME;
	m.connect.transport = TRANSPORT_GRANT;
	strcpy(m.connect.address, address);
	raw_app_send(app, &m);
	for (;;) {
		raw_app_receive(app, &m);
		if (m.type == CONTROL_LINK_CREATE) {
			offered_init(&o, app->hv, &m.link_create);
			if (lie)
				lie->fn(&o);
			memcpy(before, o.pages, (o.n + 1) * HV_PAGE_SIZE);
			offered = true;
			offer(app, &o, m.link_create.end);
		}
		if (m.request == request)
			break;
	}
	if (m.type == CONTROL_CONNECTED)
		return 0;
	must(m.type == CONTROL_STATUS);
	memcpy(ret_reason, m.status.reason, REASON_SIZE);
	if (offered) {
		must(memcmp(before, o.pages, (o.n + 1) * HV_PAGE_SIZE) == 0);
		offered_fini(&o, app->hv);
	}
	return m.status.error;
}

int main(int argc, char **argv)
{
	char reason[REASON_SIZE];
	struct raw_app app;

	setvbuf(stdout, NULL, _IOLBF, 0);
	must(argc == 2);
	raw_app_attach(&app, raw_hv_open(NULL), false);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint32_t error = connect_with(&app, argv[1], &lies[i], reason);

		printf("%s: %u %s\n", lies[i].name, error, error ? reason : "");
		must(error && strstr(reason, "is not of this link"));
	}
	/* It goes on, and is made to wait, with the reason. */
	for (size_t i = 0; i < 1000; i++) {
		must(connect_with(&app, argv[1], &lies[2], reason) != 0);
		if (strstr(reason, "links with domain"))
			break;
	}
	printf("refused: %s\n", reason);
	printf("told\n");
	(void)pause();
	return 0;
}
