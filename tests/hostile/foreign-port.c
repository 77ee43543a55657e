/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that attaches through msg-agent, and would have msgd bind a port, or overwrite pages,
 * that a driver of its kernel has for domain 0. The process knows the numbers, and even controls
 * the first bytes of the driver's pages, as those of a page by which its data goes to a disk: all
 * that it names says what a record's port and pages have to say. The agent refuses each of its
 * records.
 *
 *	hostile-foreign-port AGENT-SOCKET SPEC-OF-DOMAIN-0
 */
#include "tests/support/raw-agent.h"
#include "tests/support/raw-app.h"

#include <unistd.h>

#include "base/macro.h"

static int agent;
static uint32_t n_refused;

/* Pages say what the record says. */
static void prove(struct raw_app *app)
{
	app->page->head.port = app->record.port;
	control_rings_prove(app->rings, &app->page->head);
}

static void try_record(const struct raw_app *app, const struct record *record, uint32_t error)
{
	uint8_t bytes[RECORD_SIZE];
	uint32_t said;

	record_encode(record, bytes);
	said = raw_agent_publish(agent, app->key, bytes, sizeof(bytes));
	if (said != error)
		(void)fprintf(stderr, "errno %u, not %u\n", said, error);
	must(said == error);
	n_refused += error != 0;
}

/* The driver's port, the driver's pages one by one and all together, all that the driver has. */
static void try_names_of(struct raw_app *app, struct raw_app *driver)
{
	struct record own = app->record, record = own;

	record.port = app->page->head.port = driver->record.port;
	control_rings_prove(app->rings, &app->page->head);
	try_record(app, &record, EPERM);
	prove(app);
	for (unsigned i = 0; i < CONTROL_PAGES; i++) {
		record = own;
		record.refs[i] = driver->record.refs[i];
		try_record(app, &record, EPERM);
	}
	record = own;
	memcpy(record.refs, driver->record.refs, sizeof(record.refs));
	try_record(app, &record, EPERM);
	try_record(app, &driver->record, EPERM);
}

/* Nobody has bound the driver's port or written to its pages: its own partner finds it. */
static void driver_works(struct raw_app *driver, struct hv *partner)
{
	uint16_t domid = driver->hv->ops->domid(driver->hv);
	uint32_t port;

	must(atomic_load(&driver->page->epoch) == 0);
	must(atomic_load(&driver->page->end[1].alive) == 0);
	must(partner->ops->evtchn_bind_interdomain(partner, domid, driver->port, &port) == 0);
	must(partner->ops->evtchn_close(partner, port) == 0);
}

int main(int argc, char **argv)
{
	struct raw_app app, driver, other;
	struct hv_parcel parcel;
	struct hv *partner;
	int other_agent;

	must(argc == 3);
	printf("pid %d\n", (int)getpid());
	fflush(stdout);
	raw_app_init(&driver, raw_hv_open(NULL)); /* it has as many pages, and a port */
	partner = raw_hv_open(argv[2]);
	agent = raw_agent_connect(argv[1]);
	must(raw_agent_parcel(agent, &parcel) == 0);
	raw_app_init_parcel(&app, raw_hv_open(NULL), &parcel);
	other_agent = raw_agent_connect(argv[1]);
	must(raw_agent_parcel(other_agent, &parcel) == 0);
	raw_app_init_parcel(&other, raw_hv_open(NULL), &parcel);

	try_names_of(&app, &driver);
	try_names_of(&app, &other);
	driver_works(&driver, partner);
	/* It attaches with what is its own. Then its record in the store is not replaced. */
	try_record(&app, &app.record, 0);
	raw_app_greet(&app, false);
	try_names_of(&app, &driver);
	driver_works(&driver, partner);
	printf("refused %u\n", n_refused);
	fflush(stdout);
	for (;;)
		pause();
}
