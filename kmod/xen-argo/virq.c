// SPDX-License-Identifier: GPL-2.0-only
/*
 * Argo's interrupt, VIRQ_ARGO. It is one for the whole domain, and anybody who may send to this
 * domain can raise it at will. So the handler does nothing but have wait.c look, in a workqueue;
 * until that has looked, and as long as nobody waits, the interrupt is not acknowledged (late EOI),
 * which keeps it masked.
 *
 * Xen lets this interrupt be bound at the first processor alone. Linux, where it restores it after
 * a suspend, binds it at the processor where it is, and ends in a BUG if that is another one. So
 * the driver has Xen bind it, and gives Linux the event channel: Linux does not restore that, the
 * driver binds anew. This is also one step, where bind_virq_to_irqhandler would take over the event
 * channel of a process that was first. The interrupt is not balanced: it stays at the first
 * processor.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/interrupt.h>
#include <linux/mutex.h>
#include <linux/printk.h>

#include <xen/events.h>
#include <xen/interface/event_channel.h>

#include "xen-argo.h"

static DEFINE_MUTEX(virq_lock);
/* Written under virq_lock. */
static int irq; /* 0: not bound */
static bool enabled; /* since it was bound: somebody has waited */

static atomic_t owed; /* it came, and was not acknowledged */
static atomic64_t n_virqs;

static irqreturn_t virq_handler(int number, void *data)
{
	atomic64_inc(&n_virqs);
	atomic_set(&owed, 1);
	argo_wait_look();
	return IRQ_HANDLED;
}

/* It came since it was unmasked. */
bool argo_virq_came(void)
{
	return atomic_read(&owed);
}

int argo_virq_bind(void)
{
	struct evtchn_bind_virq bind = { .virq = ARGO_VIRQ };
	struct evtchn_close close;
	int err = 0, number;

	mutex_lock(&virq_lock);
	if (irq)
		goto out;
	/* Any process that may open /dev/xen/evtchn can have bound it: EEXIST. */
	err = HYPERVISOR_event_channel_op(EVTCHNOP_bind_virq, &bind);
	if (err == -EEXIST) {
		pr_err_once("somebody else has bound Argo's interrupt\n");
		err = -EBUSY;
	}
	if (err)
		goto out;
	atomic_set(&owed, 0);
	WRITE_ONCE(enabled, false);
	number = bind_evtchn_to_irqhandler_lateeoi(bind.port, virq_handler,
						   IRQF_NO_AUTOEN | IRQF_NOBALANCING,
						   KBUILD_MODNAME, NULL);
	if (number > 0) {
		irq = number;
		goto out;
	}
	err = number;
	close.port = bind.port;
	/* If Linux has not closed it. */
	(void)HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
out:
	mutex_unlock(&virq_lock);
	return err;
}

void argo_virq_unbind(void)
{
	mutex_lock(&virq_lock);
	if (irq)
		unbind_from_irqhandler(irq, NULL);
	irq = 0;
	mutex_unlock(&virq_lock);
}

/* It does not come before argo_virq_unmask. */
bool argo_virq_masked(void)
{
	return !READ_ONCE(enabled) || argo_virq_came();
}

/*
 * Forgets what came while the interrupt was masked: who calls this looks at everything afterwards,
 * so that it would only interrupt in vain. Where the interrupt is not masked nothing is forgotten.
 */
void argo_virq_forget(void)
{
	mutex_lock(&virq_lock);
	if (irq && argo_virq_masked())
		xen_clear_irq_pending(irq);
	mutex_unlock(&virq_lock);
}

/* It may come, once. */
void argo_virq_unmask(void)
{
	mutex_lock(&virq_lock);
	if (irq && !enabled) {
		WRITE_ONCE(enabled, true);
		enable_irq(irq);
	} else if (irq && atomic_xchg(&owed, 0)) {
		xen_irq_lateeoi(irq, 0);
	}
	mutex_unlock(&virq_lock);
}

u64 argo_virq_count(void)
{
	return atomic64_read(&n_virqs);
}
