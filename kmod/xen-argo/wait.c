// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting: VIRQ_ARGO says that something arrived somewhere in this domain, or that there is room
 * somewhere it had none. The interrupt is bound once, for the whole kernel, and masked while nobody
 * waits.
 *
 * A process that finds nothing in poll arms the file, then looks again. The interrupt looks at
 * armed files alone, disarms the files that have got something, and wakes the processes that poll
 * them, which look and perhaps arm again. When the last file is disarmed the interrupt goes off.
 * Arming, looking from the interrupt, and disarming are under one lock, so that nothing is lost in
 * between: the look after arming sees what Xen did before, and Xen interrupts for what it does
 * later.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/interrupt.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/spinlock.h>

#include <xen/events.h>
#include <xen/interface/event_channel.h>

#include "xen-argo.h"

static DEFINE_SPINLOCK(lock);
/* Under the lock. */
static LIST_HEAD(armed);
static u64 n_virqs;
static struct {
	struct argo_notify head;
	struct argo_space space[ARGO_MAX_NOTIFY];
} query;
static struct argo_file *asked[ARGO_MAX_NOTIFY];

static int irq;

/* Armed files have a ring that is alive: so there are no more of them than ring.c allows rings. */
static void file_arm(struct argo_file *file, __poll_t wanted)
{
	lockdep_assert_held(&lock);
	if (!list_empty(&file->armed)) {
		file->wanted |= wanted;
		return;
	}
	file->wanted = wanted;
	if (list_empty(&armed))
		enable_irq(irq);
	list_add_tail(&file->armed, &armed);
}

static void file_disarm(struct argo_file *file)
{
	lockdep_assert_held(&lock);
	if (list_empty(&file->armed))
		return;
	list_del_init(&file->armed);
	if (list_empty(&armed))
		disable_irq_nosync(irq);
}

/*
 * Every waiter of the file looks again, whatever it waits for, since the file is disarmed for all.
 */
static void file_wake(struct argo_file *file)
{
	file_disarm(file);
	wake_up_all(&file->queue);
}

/* rx_ptr is the application's: what it writes there makes a difference to itself alone. */
static bool ring_has_data(const struct argo_ring *ring)
{
	return READ_ONCE(ring->header->rx_ptr) != READ_ONCE(ring->header->tx_ptr);
}

/* Xen's answer: there is room, or sending will say what is wrong. */
static bool space_ends_waiting(const struct argo_space *space)
{
	return !(space->flags & ARGO_RING_EXISTS) ||
	       (space->flags & (ARGO_RING_SUFFICIENT | ARGO_RING_EMSGSIZE));
}

static void room_query(unsigned int i, struct argo_file *file)
{
	asked[i] = file;
	query.space[i] = (struct argo_space){
		.ring = {
			.aport = lower_32_bits(atomic64_read(&file->peer)),
			.domid = file->ring->partner,
		},
		.space_required = max(atomic_read(&file->blocked) - 1, 0),
	};
}

/* Asks Xen, which will interrupt for those that go on waiting; returns how many do not. */
static unsigned int room_ask(unsigned int n)
{
	unsigned int n_done = 0;
	int err;

	query.head.n = n;
	query.head.pad = 0;
	err = argo_notify(&query.head);
	for (unsigned int i = 0; i < n; i++) {
		if (!err && !space_ends_waiting(&query.space[i]))
			continue;
		atomic_set(&asked[i]->blocked, 0);
		file_wake(asked[i]);
		n_done++;
	}
	return n_done;
}

/*
 * All that wait for room. Xen has one wake-up for a domain and a ring: telling one that there is
 * room for him cancels it for others of this domain that want more there. So they are asked again.
 */
static void room_ask_all(void)
{
	unsigned int n, n_done;

	do {
		struct argo_file *file;

		n = 0;
		list_for_each_entry(file, &armed, armed) {
			if (!(file->wanted & EPOLLOUT) || !atomic_read(&file->blocked))
				continue;
			if (WARN_ON_ONCE(n == ARGO_MAX_NOTIFY))
				break;
			room_query(n++, file);
		}
		n_done = n ? room_ask(n) : 0;
	} while (n_done && n_done < n);
}

static __poll_t file_look(struct argo_file *file, struct argo_ring *ring)
{
	__poll_t mask = 0;

	if (ring_has_data(ring))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(ring->dead))
		mask |= EPOLLHUP | EPOLLERR;
	else if (!atomic_read(&file->blocked))
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

static irqreturn_t virq_handler(int number, void *data)
{
	struct argo_file *file, *next;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	n_virqs++;
	list_for_each_entry_safe(file, next, &armed, armed) {
		/* A waiter is in the queue before the file is armed: this one has gone. */
		if (!waitqueue_active(&file->queue))
			file_disarm(file);
		else if ((file->wanted & EPOLLIN) && ring_has_data(file->ring))
			file_wake(file);
	}
	room_ask_all();
	spin_unlock_irqrestore(&lock, flags);
	return IRQ_HANDLED;
}

__poll_t argo_wait_poll(struct argo_file *file, struct file *filp, poll_table *table)
{
	struct argo_ring *ring = argo_ring_get(file);
	__poll_t wanted = poll_requested_events(table), mask;
	/*
	 * epoll does not ask again for an edge once the ring is empty, or full: the file is armed
	 * now.
	 */
	bool edges = table && (wanted & EPOLLET);
	unsigned long flags;

	poll_wait(filp, &file->queue, table);
	if (!ring)
		return EPOLLERR;
	wanted |= wanted & EPOLLRDNORM ? EPOLLIN : 0;
	wanted |= wanted & EPOLLWRNORM ? EPOLLOUT : 0;
	wanted &= EPOLLIN | EPOLLOUT;

	spin_lock_irqsave(&lock, flags);
	mask = file_look(file, ring);
	if (!(mask & EPOLLHUP) && (edges || !(mask & wanted))) {
		/* A look without waiting arms nothing. */
		if (wanted && waitqueue_active(&file->queue))
			file_arm(file, wanted);
		if ((wanted & EPOLLOUT) && !(mask & EPOLLOUT)) {
			room_query(0, file);
			if (room_ask(1))
				room_ask_all();
		}
		mask = file_look(file, ring);
	}
	spin_unlock_irqrestore(&lock, flags);
	return mask;
}

void argo_wait_file(struct argo_file *file)
{
	init_waitqueue_head(&file->queue);
	INIT_LIST_HEAD(&file->armed);
}

void argo_wait_release(struct argo_file *file)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	file_disarm(file);
	spin_unlock_irqrestore(&lock, flags);
}

void argo_wait_died(struct argo_file *file)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	file_wake(file);
	spin_unlock_irqrestore(&lock, flags);
}

/* Something found room: so the file is writable, also for whom it was armed; Xen may not say so. */
void argo_wait_sent(struct argo_file *file)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	atomic_set(&file->blocked, 0);
	if (!list_empty(&file->armed) && (file->wanted & EPOLLOUT))
		file_wake(file);
	spin_unlock_irqrestore(&lock, flags);
}

u64 argo_wait_n_virqs(void)
{
	unsigned long flags;
	u64 n;

	spin_lock_irqsave(&lock, flags);
	n = n_virqs;
	spin_unlock_irqrestore(&lock, flags);
	return n;
}

/*
 * Any process that may open /dev/xen/evtchn can have bound the interrupt. bind_virq_to_irqhandler
 * would take its port over, and older kernels end where there are no more ports: so try first.
 */
static int virq_try(void)
{
	struct evtchn_bind_virq bind = { .virq = ARGO_VIRQ };
	struct evtchn_close close;
	int err = HYPERVISOR_event_channel_op(EVTCHNOP_bind_virq, &bind);

	if (err == -EEXIST) {
		pr_err("somebody else has bound Argo's interrupt\n");
		return -EBUSY;
	}
	if (err)
		return err;
	close.port = bind.port;
	return HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
}

int argo_wait_init(void)
{
	int err = virq_try();

	if (err)
		return err;
	irq = bind_virq_to_irqhandler(ARGO_VIRQ, 0, virq_handler, IRQF_NO_AUTOEN, KBUILD_MODNAME,
				      NULL);
	return irq < 0 ? irq : 0;
}

void argo_wait_exit(void)
{
	unbind_from_irqhandler(irq, NULL);
}
