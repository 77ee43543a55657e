/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cmocka, and assertions that tests of the broker often make. */
#ifndef TESTS_UNIT_DAEMON_CMOCKA_ALL_H
#define TESTS_UNIT_DAEMON_CMOCKA_ALL_H

#include "tests/support/cmocka-all.h"
#include "tests/unit/daemon/world.h"

/* The next message to app is of this type; m points to it. */
#define TAKE(m, app, t)                                                                            \
	do {                                                                                       \
		(m) = app_take(app);                                                               \
		assert_non_null(m);                                                                \
		if ((m)->type != (t))                                                              \
			fail_msg("%s instead of " #t, control_type_name((m)->type));               \
	} while (0)

#define TAKE_STATUS(app, id, e)                                                                    \
	do {                                                                                       \
		const struct control_message *_m;                                                  \
		TAKE(_m, app, CONTROL_STATUS);                                                     \
		assert_int_equal(_m->request, id);                                                 \
		if (_m->status.error != (e))                                                       \
			fail_msg("error %u (%s) instead of " #e, _m->status.error,                 \
				_m->status.reason);                                                \
	} while (0)

#define TAKE_NOTHING(app)                                                                          \
	do {                                                                                       \
		const struct control_message *_m = app_take(app);                                  \
		if (_m)                                                                            \
			fail_msg("unexpected %s", control_type_name(_m->type));                    \
	} while (0)

/* The two make the link that a CONNECT needs: by Argo, or by grants. Returns the ends. */
static inline void make_link(
	struct app *caller, struct app *holder, bool argo, uint32_t ret_ends[2])
{
	const struct control_message *m;
	uint32_t aport = argo ? 5 : 0;

	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.transport, argo ? TRANSPORT_ARGO : TRANSPORT_GRANT);
	assert_int_equal(m->link_create.peer_domid, holder->domid);
	ret_ends[0] = m->link_create.end;
	app_offer(caller, ret_ends[0], aport);
	TAKE(m, holder, CONTROL_LINK_BIND);
	assert_int_equal(m->link_bind.port, 7);
	assert_int_equal(m->link_bind.aport, aport);
	ret_ends[1] = m->link_bind.end;
	app_ready(holder, ret_ends[1], aport ? 6 : 0);
	TAKE(m, caller, CONTROL_LINK_UP);
	assert_int_equal(m->link_up.aport, aport ? 6 : 0);
}

#endif
