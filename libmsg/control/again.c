/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd has let go of this process, which lives: its record was deleted, or it broke a rule in
 * msgd's eyes. Its control page says so (PROTOCOL.md 2). All links are dead, for msgd has told
 * their other ends, so the process gives everything back and attaches as a new one. Listeners and
 * unanswered requests live through it.
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
/* An attach that lasted so long was none of those. */
#define CALM_NS UINT64_C(60000000000)

static uint64_t now(const struct control *control)
{
	return control->hv->ops->now_ns(control->hv);
}

void control_welcomed(struct control *control)
{
	if (control->state != CONTROL_ATTACHING)
		return;
	control->attached_ns = now(control);
	control_set_state(control, CONTROL_ATTACHED);
}

void control_look_dropped(struct control *control)
{
	const struct doorbell_page *page = control->page;
	uint32_t dropped = atomic_load_explicit(&page->dropped, memory_order_acquire);
	char text[REASON_SIZE];

	if (dropped == 0 || dropped != atomic_load_explicit(&page->epoch, memory_order_relaxed))
		return;
	memcpy(text, page->drop_reason, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	(void)snprintf(control->reason, sizeof(control->reason),
		"msgd let go of this process: %.90s", text);
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
	r = control_open(control);
	if (r < 0) {
		/* Pages or ports that others hold now: for as long as it takes. */
		control_release(control);
		control->key[0] = '\0';
		control_log(control, LOG_WARNING, "cannot publish this process to msgd again: %s",
			strerrordesc_np(-r));
		again_later(control);
		return;
	}
	control_set_state(control, CONTROL_ATTACHING);
	control_log(control, LOG_NOTICE, "attaching to msgd again");
}
