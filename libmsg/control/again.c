/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd has let go of this process, which lives: its record was deleted, or it broke a rule in
 * msgd's eyes. Its control page says so (PROTOCOL.md 2). All links are dead, for msgd has told
 * their other ends, so the process gives everything back and attaches as a new one. Listeners and
 * unanswered requests live through it.
 *
 * A record that msgd refuses it deletes, too, and it touches no page that such a record names. The
 * process learns that from the store, which it asks only if nobody has attached for a while.
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "libmsg/control/control.h"

/*
 * The first time it attaches at once, then after this, then after twice as long each time: a
 * process whose record somebody deletes in a loop costs msgd and the store one attach in ten
 * seconds.
 */
#define AGAIN_FIRST_NS UINT64_C(100000000)
#define AGAIN_MOST_NS  UINT64_C(10000000000)
/*
 * A process that msgd drops as often, one time after the other, breaks a rule that it would break
 * again (another version's bug): after some thirty seconds it gives up, and its calls say why.
 */
#define DROPS_MAX 10U
/* A msgd that is there attaches in milliseconds. */
#define LOOK_NS UINT64_C(500000000)
/* An attach that lasted so long was none of those. */
#define CALM_NS UINT64_C(60000000000)

static uint64_t now(const struct control *control)
{
	return control->hv->ops->now_ns(control->hv);
}

void control_welcomed(struct control *control, uint64_t features)
{
	control->broker_features = features;
	if (control->state != CONTROL_ATTACHING)
		return;
	control->attached_ns = now(control);
	control_set_state(control, CONTROL_ATTACHED);
	control_announce(control);
	control_watches_again(control);
}

void control_look_dropped(struct control *control)
{
	const struct doorbell_page *page = control->page;
	uint32_t dropped = atomic_load_explicit(&page->dropped, memory_order_acquire);
	char text[REASON_SIZE];

	if (dropped == 0 || dropped != atomic_load_explicit(&page->epoch, memory_order_relaxed)) {
		control_look_later(control);
		return;
	}
	memcpy(text, page->drop_reason, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	(void)snprintf(control->reason, sizeof(control->reason),
		"msgd let go of this process: %.90s", text);
	control_set_state(control, CONTROL_DROPPED);
}

void control_look_later(struct control *control)
{
	if (!control->watching && control->again_ns == UINT64_MAX)
		control->again_ns = now(control) + LOOK_NS;
}

/*
 * The record may be gone already, of which the store does not tell. One that is published anew is
 * refused anew; one that is there stays as it is. An attached process has only lost its msgd: the
 * next one has not looked at the record yet, and a store that needs msgd is not waited for.
 */
static void control_look(struct control *control)
{
	const struct hv_ops *ops = control->hv->ops;

	control->again_ns = UINT64_MAX;
	if (control->state != CONTROL_ATTACHING && control->state != CONTROL_ATTACHED)
		return;
	if (control_broker_there(control) || ops->store_watch_own(control->hv) < 0)
		return;
	control->watching = true;
	if (control->state == CONTROL_ATTACHING)
		(void)ops->store_publish(control->hv, control->key, control->record, RECORD_SIZE);
}

void control_look_refused(struct control *control)
{
	if (control_broker_there(control))
		return; /* which sees it as well, and says so in the page */
	control_look_dropped(control);
	if (control->state == CONTROL_DROPPED)
		return;
	(void)snprintf(control->reason, sizeof(control->reason),
		"msgd refused this process's record, or somebody deleted it: msgd's log says why");
	control_set_state(control, CONTROL_DROPPED);
}

/* After a drop, or a try that failed. */
static void again_later(struct control *control)
{
	control->again_ns = now(control) + control->again_delay_ns;
	control->again_delay_ns = control->again_delay_ns
					  ? min_u64(2 * control->again_delay_ns, AGAIN_MOST_NS)
					  : AGAIN_FIRST_NS;
}

void control_leave(struct control *control)
{
	const struct hv_ops *ops = control->hv->ops;
	char reason[REASON_SIZE];

	control_release(control);
	/* ENOENT, as a rule: msgd has deleted it. */
	(void)ops->store_remove(control->hv, ops->domid(control->hv), control->key);
	control->key[0] = '\0';
	if (control->attached_ns && now(control) - control->attached_ns >= CALM_NS)
		control->n_drops = control->again_delay_ns = 0;
	control->attached_ns = 0; /* a record that is refused never was */
	control_log(control, LOG_WARNING, "%s", control->reason);
	if (++control->n_drops > DROPS_MAX) {
		memcpy(reason, control->reason, sizeof(reason));
		control_break(control, ECONNABORTED, reason);
		return;
	}
	again_later(control);
	control_set_state(control, CONTROL_WAITING);
	control_again(control);
}

void control_again(struct control *control)
{
	int r;

	if (now(control) < control->again_ns)
		return;
	if (control->state != CONTROL_WAITING) {
		control_look(control);
		return;
	}
	control->again_ns = UINT64_MAX;
	r = control_open(control);
	if (r < 0) {
		/* Pages or ports that others hold now: for as long as it takes. */
		control_release(control);
		control->key[0] = '\0';
		control_log(control, LOG_WARNING, "cannot publish this process to msgd again: %s",
			control_open_error(control, r));
		again_later(control);
		return;
	}
	control_set_state(control, CONTROL_ATTACHING);
	control_log(control, LOG_NOTICE, "attaching to msgd again");
}
