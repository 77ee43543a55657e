/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events of history and monitor, for people: a line each. */
#ifndef MSGD_MSGCTL_EVENT_H
#define MSGD_MSGCTL_EVENT_H

#include <jansson.h>

/* An event, or {"missed":N}. */
void event_print(const json_t *event);
void history_print(const json_t *answer);

#endif
