/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line of an admin client: a request or a sentence, never both. Each request can be described in
 * one line of text; and a list comes to its end, whatever its filters.
 */
#include <stdlib.h>

#include "daemon/admin/view.h"
#include "daemon/broker/broker.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/daemon/world.h"

/* Some of each kind. It is only looked at, so one world is enough for all inputs. */
static struct world *world_get(void)
{
	static struct world *world;
	struct app *caller, *holder;
	const struct control_message *m;

	if (world)
		return world;
	world = world_new("deny connect x from any to any\nallow listen * on any\n"
			  "allow connect * from any to any\n",
		NULL);
	caller = app_new(world, 0, 3, false);
	holder = app_new(world, 1, 2, true);
	FUZZ_CHECK(app_listen(holder, 1, "db", 4) == 0);
	app_connect(caller, 1, "x", 0, 0);
	app_forget(caller);
	app_connect(caller, 2, "db", 0, 0);
	m = app_take(caller);
	app_offer(caller, m->link_create.end, 0);
	m = app_take(holder);
	app_ready(holder, m->link_bind.end, 0);
	return world;
}

static void list(struct admin_request *request)
{
	const struct world *world = world_get();
	bool more = true;

	for (unsigned n = 0; more; n++) {
		json_t *answer = admin_view(world->broker, request, world->now_ns);
		size_t n_rows =
			json_array_size(json_object_get(answer, admin_op_name(request->op)));
		uint64_t next = (uint64_t)json_integer_value(json_object_get(answer, "next"));
		uint64_t all = (uint64_t)json_integer_value(json_object_get(answer, "all"));
		char *text = json_dumps(answer, JSON_COMPACT);

		FUZZ_CHECK(text && n < 10 && n_rows <= ADMIN_ROWS_A_TURN);
		more = next > request->from && next < all;
		request->from = next;
		request->n_rows += n_rows;
		free(text);
		json_decref(answer);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admin_request request = {.op = ADMIN_OP_COUNT};
	const char *error = NULL;
	char text[REASON_SIZE];
	int r = admin_request_parse((const char *)data, size, &request, &error);

	FUZZ_CHECK(r == 0 ? request.op < ADMIN_OP_COUNT : request.op == ADMIN_OP_COUNT && error);
	if (r < 0)
		return 0;
	FUZZ_CHECK(memchr(request.domain, '\0', sizeof(request.domain)));
	FUZZ_CHECK(memchr(request.name, '\0', sizeof(request.name)));
	FUZZ_CHECK(memchr(request.state, '\0', sizeof(request.state)));
	FUZZ_CHECK(memchr(request.limit, '\0', sizeof(request.limit)));
	FUZZ_CHECK(memchr(request.level, '\0', sizeof(request.level)));
	FUZZ_CHECK(request.timeout_ms <= ADMIN_TIMEOUT_MAX_MS && request.n <= HISTORY_EVENTS);
	admin_request_describe(&request, text, sizeof(text));
	FUZZ_CHECK(memchr(text, '\0', sizeof(text)));
	FUZZ_CHECK(
		strncmp(text, admin_op_name(request.op), strlen(admin_op_name(request.op))) == 0);
	if (admin_op_lists(request.op))
		list(&request);
	return 0;
}
