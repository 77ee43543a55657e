/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cmocka, and assertions that tests of the broker often make. */
#ifndef TESTS_UNIT_DAEMON_CMOCKA_ALL_H
#define TESTS_UNIT_DAEMON_CMOCKA_ALL_H

#include "tests/support/cmocka-all.h"

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

#endif
