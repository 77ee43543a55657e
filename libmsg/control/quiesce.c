/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quiescing (PROTOCOL.md, section 5.5; docs/decisions/0003-quiesce.md): before its domain is saved,
 * this process gives back every event channel, grant and ring that it holds, or the guest's kernel
 * crashes afterwards. It keeps a watch on one record in the store: when that record is gone, the
 * process attaches again. Listeners and unanswered requests live through it.
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "libmsg/control/control.h"

void control_quiesce(struct control *control, const char *reason)
{
	if (control->state != CONTROL_ATTACHING && control->state != CONTROL_ATTACHED)
		return;
	(void)snprintf(control->reason, sizeof(control->reason), "%s", reason);
	control_set_state(control, CONTROL_QUIESCING);
}

/* Publishes the parked record, and asks to be told when it is gone. */
static int park(struct control *control)
{
	struct record record = {.version_min = CONTROL_VERSION_MIN, .version_max = CONTROL_VERSION};
	const struct hv_ops *ops = control->hv->ops;
	uint8_t bytes[RECORD_PARKED_SIZE];
	int r = 0;

	memcpy(record.nonce, control->nonce, NONCE_SIZE);
	record_parked_encode(&record, bytes);
	/* The watch comes before the record: a record that is removed at once is noticed. */
	if (!control->watching)
		r = ops->store_watch_own(control->hv);
	if (r < 0)
		return r;
	control->watching = true;
	return ops->store_publish(control->hv, control->key, bytes, sizeof(bytes));
}

void control_park(struct control *control)
{
	int r;

	control_release(control);
	control_set_state(control, CONTROL_PARKED);
	control_log(control, LOG_NOTICE, "%s", control->reason);
	r = park(control);
	if (r < 0)
		control_break(control, r == -ENOSPC ? ENOBUFS : -r,
			"quiesced, and will not learn of the end of it");
}

static void unpark(struct control *control)
{
	char why[REASON_SIZE];
	int r;

	control_set_state(control, CONTROL_ATTACHING);
	/* Another host's hypervisor, perhaps. */
	control->features = control_argo_features(control->hv);
	r = control_open(control);
	if (r < 0) {
		(void)snprintf(why, sizeof(why), "cannot publish this process to msgd again: %s",
			control_open_error(control, r));
		control_release(control);
		control_break(control, r == -ENOSPC ? ENOBUFS : -r, why);
		return;
	}
	control_log(control, LOG_NOTICE, "the domain goes on: attaching to msgd again");
}

void control_store_changed(struct control *control)
{
	struct hv_record record;

	if (!control->watching)
		return;
	while (control->hv->ops->store_next(control->hv, &record) == 1) {
		if (record.len != 0 || strcmp(record.key, control->key) != 0)
			continue;
		if (control->state == CONTROL_PARKED)
			unpark(control);
		else if (control->state == CONTROL_ATTACHING || control->state == CONTROL_ATTACHED)
			control_look_refused(control);
	}
}
