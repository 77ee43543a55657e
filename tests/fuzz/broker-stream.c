/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two attached applications against the broker, with bytes alone: bodies of control messages,
 * through the decoder. Input: application u8, type u8, request u8, body's length u8, body; again
 * and again.
 */
#include <errno.h>

#include "daemon/broker/capture.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/daemon/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	struct broker_target captured = {.domid = 1, .name = ""};
	struct capture *capture;
	struct world *world = world_new("allow listen * on any\n"
					"allow connect * from any to any\n",
		NULL);

	FUZZ_CHECK(app_attach(&world->apps[0], 1, false) == 0);
	FUZZ_CHECK(app_attach(&world->apps[1], 2, true) == 0);
	FUZZ_CHECK(app_attach(&world->apps[2], 3, false) == 0);
	FUZZ_CHECK(app_hello(&world->apps[2], true, false) == 0);
	broker_recover(world->broker, 1);
	FUZZ_CHECK(capture_new(world->broker, &captured, true, 100, &capture) == 0);
	while (input.left >= 4) {
		struct app *app = &world->apps[fuzz_u8(&input) % 2];
		uint8_t type = fuzz_u8(&input), body[256];
		uint32_t request = fuzz_u8(&input);
		size_t len = fuzz_bytes(&input, body, fuzz_u8(&input));
		struct control_message message;
		int decoded;

		if (!app->process)
			continue;
		memset(&message, 0, sizeof(message));
		decoded = control_decode(type, request, body, len, &message);
		message.type = type;
		message.request = request;
		FUZZ_CHECK(broker_message(app->process, &message, decoded) ==
			   (app->process ? 0 : -ECONNRESET));
		world_check(world);
	}
	/* Whatever they did, the third is served. */
	FUZZ_CHECK(world->apps[2].process);
	if (world->timer_ns) {
		broker_set_now(world->broker, world->timer_ns);
		broker_tick(world->broker);
	}
	app_forget(&world->apps[2]);
	FUZZ_CHECK(app_listen(&world->apps[2], 1, "mine", 1) == 0);
	capture_free(capture);
	world_free(world);
	return 0;
}
