// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting: the interrupt (virq.c) says that something arrived somewhere in this domain, or that
 * there is room somewhere it had none. It is masked while nobody waits.
 *
 * A process that finds nothing in poll arms the file, then looks again. After an interrupt a worker
 * looks at armed files alone, disarms the files that have got something, and wakes the processes
 * that poll them, which look and perhaps arm again. Arming, looking, and disarming are under one
 * lock, so that nothing is lost in between: the look after arming sees what Xen did before, and Xen
 * interrupts for what it does later. A sender that finds no room marks the file as blocked, then
 * has Xen asked again if the file is armed: the room may have come before the mark.
 *
 * Other domains can make this one look, for each interrupt. The number of armed files is limited by
 * that of rings, and Xen is asked once. A look that wakes nobody was in vain, and so is one that
 * wakes a sender which then finds no room all the same, as the receiver has taken it back. After
 * some of these there is a pause before the next. A look that is not in vain is paid for by the
 * process that armed the file again.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/sort.h>
#include <linux/workqueue.h>

#include "room.h"
#include "xen-argo.h"

/* So many looks may be in vain without a pause, unless there was quiet for some jiffies. */
#define VAIN_FREE 4
#define QUIET 2
/*
 * The pause, at the least, in microseconds: 2000 looks a second at most, and what honest peers do
 * meanwhile is seen a millisecond late.
 */
#define PAUSE_US 500
/* Xen has no place for a wake-up, or no memory: until it is asked again. */
#define AGAIN_MS 10

static DEFINE_MUTEX(lock);
/* Under the lock. */
static LIST_HEAD(armed);
static bool idle = true; /* the interrupt is masked, and nobody looks: arming unmasks it */
static struct {
	struct argo_notify head;
	struct argo_space space[ARGO_MAX_NOTIFY];
} query;
static struct argo_want wants[ARGO_MAX_NOTIFY];
static unsigned int n_wants;
static unsigned int n_vain;
static unsigned long looked; /* jiffies */

static void look(struct work_struct *work);
static DECLARE_DELAYED_WORK(look_work, look);
static struct workqueue_struct *queue;

void argo_wait_look(void)
{
	mod_delayed_work(queue, &look_work, 0);
}

/* Armed files have a ring that is alive: so there are no more of them than ring.c allows rings. */
static void file_arm(struct argo_file *file, __poll_t wanted, bool alone)
{
	lockdep_assert_held(&lock);
	if (!list_empty(&file->armed)) {
		/* If it is certain, a process that waits no more wants nothing. */
		file->wanted = alone ? wanted : file->wanted | wanted;
		return;
	}
	file->wanted = wanted;
	list_add_tail(&file->armed, &armed);
	if (!idle)
		return;
	idle = false;
	argo_virq_forget();
	argo_virq_unmask();
}

static void file_disarm(struct argo_file *file)
{
	lockdep_assert_held(&lock);
	list_del_init(&file->armed);
}

/*
 * Every waiter of the file looks again, whatever it waits for, since the file is disarmed for all.
 */
static void file_wake(struct argo_file *file)
{
	file_disarm(file);
	wake_up_all(&file->queue);
}

static bool file_waits_for_room(const struct argo_file *file)
{
	return !list_empty(&file->armed) && (file->wanted & EPOLLOUT) &&
	       atomic_read(&file->blocked);
}

/* rx_ptr is the application's: what it writes there makes a difference to itself alone. */
static bool ring_has_data(const struct argo_ring *ring)
{
	return READ_ONCE(ring->header->rx_ptr) != READ_ONCE(ring->header->tx_ptr);
}

/* ---- room ------------------------------------------------------------------------------------ */

static u64 file_destination(const struct argo_file *file)
{
	return (u64)file->ring->partner << 32 | lower_32_bits(atomic64_read(&file->peer));
}

static void want_add(struct argo_file *file)
{
	/* ring.c allows no more rings. */
	if (WARN_ON_ONCE(n_wants == ARGO_MAX_NOTIFY))
		return;
	wants[n_wants++] = (struct argo_want){
		.ring = file_destination(file),
		.len = max(atomic_read(&file->blocked) - 1, 0),
		.whose = file,
	};
}

/* Asks Xen, which will interrupt for those that go on waiting, and sets the verdicts. */
static void wants_ask(void)
{
	int err;

	sort(wants, n_wants, sizeof(wants[0]), argo_want_compare, NULL);
	for (unsigned int i = 0; i < n_wants; i++)
		query.space[i] = (struct argo_space){
			.ring = {
				.aport = lower_32_bits(wants[i].ring),
				.domid = upper_32_bits(wants[i].ring),
			},
			.flags = ARGO_RING_UNANSWERED,
			.space_required = wants[i].len,
		};
	query.head.n = n_wants;
	query.head.pad = 0;
	err = argo_notify(&query.head);
	for (unsigned int i = 0; i < n_wants; i++)
		wants[i].flags = query.space[i].flags;
	argo_room_judge(wants, n_wants, err && err != -ENOMEM);
}

/* Acts on the verdicts. */
static void wants_act(void)
{
	bool again = false;

	for (unsigned int i = 0; i < n_wants; i++) {
		struct argo_file *file = wants[i].whose;

		again |= wants[i].verdict == ARGO_AGAIN;
		if (wants[i].verdict != ARGO_GO)
			continue;
		atomic_set(&file->blocked, 0);
		WRITE_ONCE(file->promised, true);
		file_wake(file);
	}
	/* Not sooner than it is due already. */
	if (again)
		queue_delayed_work(queue, &look_work, msecs_to_jiffies(AGAIN_MS));
}

/*
 * Asks for all that wait for room where this file does, too: telling one that there is room takes
 * back the wake-up of the others. NULL: for all that wait for room anywhere.
 */
static void room_ask(struct argo_file *where)
{
	struct argo_file *file;

	lockdep_assert_held(&lock);
	n_wants = 0;
	list_for_each_entry(file, &armed, armed) {
		if (file == where || !file_waits_for_room(file))
			continue;
		if (!where || file_destination(file) == file_destination(where))
			want_add(file);
	}
	if (where)
		want_add(where);
	if (!n_wants)
		return;
	wants_ask();
	wants_act();
}

/* ---- looking --------------------------------------------------------------------------------- */

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

/* Returns whether something has arrived. */
static bool armed_look(void)
{
	struct argo_file *file, *next;
	bool arrived = false;

	list_for_each_entry_safe(file, next, &armed, armed) {
		/* A waiter is in the queue before the file is armed: this one has gone. */
		if (!waitqueue_active(&file->queue)) {
			file_disarm(file);
		} else if ((file->wanted & EPOLLIN) && ring_has_data(file->ring)) {
			file_wake(file);
			arrived = true;
		}
	}
	room_ask(NULL);
	return arrived;
}

static bool pause_due(void)
{
	bool due;

	mutex_lock(&lock);
	if (time_after(jiffies, looked + QUIET))
		n_vain = 0;
	due = n_vain >= VAIN_FREE;
	mutex_unlock(&lock);
	return due;
}

/* After an interrupt, which is masked meanwhile, or where there was no other way than to wait. */
static void look(struct work_struct *work)
{
	bool came = argo_virq_came();

	if (came && pause_due())
		usleep_range(PAUSE_US, 2 * PAUSE_US);
	mutex_lock(&lock);
	argo_virq_forget();
	/* Whether room is any good is seen when something is sent: argo_wait_sent. */
	if (armed_look())
		n_vain = 0;
	else if (came)
		n_vain++;
	looked = jiffies;
	if (list_empty(&armed))
		idle = argo_virq_masked();
	else
		argo_virq_unmask();
	mutex_unlock(&lock);
}

/*
 * The caller is the only one in the file's queue, and not one that only looks: poll and select
 * enter the queue in this very call; epoll is in it for as long as it has the file, which shows in
 * its flags.
 */
static bool poller_alone(struct argo_file *file, poll_table *table)
{
	const __poll_t epoll_only = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE;

	if (!table || !wq_has_single_sleeper(&file->queue))
		return false;
	return !poll_does_not_wait(table) || (poll_requested_events(table) & epoll_only);
}

__poll_t argo_wait_poll(struct argo_file *file, struct file *filp, poll_table *table)
{
	struct argo_ring *ring;
	__poll_t wanted = poll_requested_events(table), mask;
	/*
	 * epoll does not ask again for an edge once the ring is empty, or full: the file is armed
	 * now.
	 */
	bool edges = table && (wanted & EPOLLET);

	poll_wait(filp, &file->queue, table);
	/* After poll_wait: ring.c wakes the queue when there is one. */
	ring = argo_ring_get(file);
	if (!ring)
		return 0;
	wanted |= wanted & EPOLLRDNORM ? EPOLLIN : 0;
	wanted |= wanted & EPOLLWRNORM ? EPOLLOUT : 0;
	wanted &= EPOLLIN | EPOLLOUT;

	mutex_lock(&lock);
	mask = file_look(file, ring);
	if (!(mask & EPOLLHUP) && (edges || !(mask & wanted))) {
		/* A look without waiting arms nothing. */
		if (wanted && waitqueue_active(&file->queue))
			file_arm(file, wanted, poller_alone(file, table));
		if ((wanted & EPOLLOUT) && !(mask & EPOLLOUT))
			room_ask(file);
		mask = file_look(file, ring);
	}
	mutex_unlock(&lock);
	return mask;
}

void argo_wait_file(struct argo_file *file)
{
	init_waitqueue_head(&file->queue);
	INIT_LIST_HEAD(&file->armed);
}

void argo_wait_release(struct argo_file *file)
{
	mutex_lock(&lock);
	file_disarm(file);
	mutex_unlock(&lock);
}

/* The ring has come, or has died: whoever polls the file looks again. */
void argo_wait_changed(struct argo_file *file)
{
	mutex_lock(&lock);
	file_wake(file);
	mutex_unlock(&lock);
}

/*
 * Something found room where there was none, or Xen had said that there is: so the file is
 * writable, also for whom it was armed; Xen may not say so.
 */
void argo_wait_sent(struct argo_file *file)
{
	mutex_lock(&lock);
	atomic_set(&file->blocked, 0);
	WRITE_ONCE(file->promised, false);
	n_vain = 0;
	if (!list_empty(&file->armed) && (file->wanted & EPOLLOUT))
		file_wake(file);
	mutex_unlock(&lock);
}

/*
 * A message of that length found no room, and the hypervisor has queued a wake-up. That may have
 * come before the mark, when nothing seemed to wait: so ask again where nobody else will, as an
 * edge is not asked for again.
 */
void argo_wait_blocked(struct argo_file *file, unsigned int len)
{
	int seen;

	mutex_lock(&lock);
	seen = atomic_read(&file->blocked);
	if (seen <= (int)len)
		atomic_set(&file->blocked, len + 1);
	if (file_waits_for_room(file))
		room_ask(file);
	mutex_unlock(&lock);
}

/* ---- the kernel's ends ----------------------------------------------------------------------- */

/* No file is armed: either there is none, or all rings are dead. */
void argo_wait_suspend(void)
{
	argo_virq_unbind();
	cancel_delayed_work_sync(&look_work);
	mutex_lock(&lock);
	idle = true;
	mutex_unlock(&lock);
}

int __init argo_wait_init(void)
{
	int err;

	queue = alloc_ordered_workqueue(KBUILD_MODNAME, WQ_HIGHPRI);
	if (!queue)
		return -ENOMEM;
	err = argo_virq_bind();
	if (err)
		destroy_workqueue(queue);
	return err;
}

void argo_wait_exit(void)
{
	argo_wait_suspend();
	destroy_workqueue(queue);
}
