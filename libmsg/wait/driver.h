/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver: the lock of an application's context, the threads that wait under it, and the work
 * that events bring. One waiting thread drives; the others wait for it. Layers below leave outcomes
 * and marks; driver_pass acts on them, and is only ever called outside of their loops.
 *
 * Included by: libmsg/wait, libmsg/api, tests.
 */
#ifndef LIBMSG_WAIT_DRIVER_H
#define LIBMSG_WAIT_DRIVER_H

#include <pthread.h>

#include "libmsg/control/control.h"

/* An event loop sleeps on these: all owned; -1 until it is asked for. */
struct loop_fds {
	int epoll_fd;
	int ready_fd;	   /* eventfd in it: the ready list is not empty, or something is undone */
	int timer_fd;	   /* timerfd in it: a refused link is to be tried again */
	uint64_t timer_ns; /* when; 0: it is off */
	bool ready_set;	   /* ready_fd is readable */
};

/* Time limits that mean "never" and "not at all". */
#define DEADLINE_NEVER UINT64_MAX
#define DEADLINE_NOW   0

struct driver {
	struct hv *hv; /* borrowed */
	char hv_name[HV_NAME_SIZE];
	struct pool *pool;	 /* borrowed */
	struct links *links;	 /* borrowed */
	struct socks *socks;	 /* borrowed */
	struct control *control; /* borrowed */

	pthread_mutex_t lock;
	bool one_thread; /* the lock is not taken */
	_Atomic uint32_t wait_seq;
	unsigned n_waiting; /* threads that sleep on wait_seq */
	bool driving;	    /* a thread polls for all */
	bool hand_over;	    /* none does, and one that waits is to */
	uint32_t bits;	    /* while driving: the focus->bits of that thread */
	bool spinning;	    /* and looks at a link without the lock */
	bool asleep;	    /* and sleeps in poll */
	int kick_fd;	    /* owned: eventfd that wakes it */

	_Atomic uint32_t n_entering; /* threads that wait for the lock, or are about to */
	_Atomic uint32_t entered;    /* counts how often one of them was let in */
	bool letting_in;	     /* a thread waits on `entered` */
	int64_t spent;		     /* work (LINK_TURN) since one of them got the lock ... */
	int64_t unlooked;	     /* ... and since all events were looked at */

	int spin_us;		/* LIBMSG_SPIN; -1: by itself */
	int spin_score;		/* how recent spins paid off */
	uint32_t spin_ns;	/* how long recent sleeps lasted */
	uint64_t spin_from_ns;	/* no spin begins before: others needed the CPU ... */
	uint32_t spin_pause_ns; /* ... and for so long it was left to them */
	uint64_t looked_ns;	/* when a thread that waits last looked at all events */
	int n_cpus;

	struct loop_fds loops[N_LOOPS]; /* by enum sock_loop */
	bool has_loop;			/* one of them sleeps on descriptors */
	bool unfinished;		/* a call that must not block has left something undone */
};

/* -errno: out of descriptors. */
int driver_init(struct driver *driver, struct control *control, bool one_thread);
void driver_fini(struct driver *driver);

/* ---- wait.c: the lock ------------------------------------------------------------------- */

/* Another thread has the lock. */
void driver_lock_slowly(struct driver *driver);

static inline void driver_lock(struct driver *driver)
{
	if (!driver->one_thread && pthread_mutex_trylock(&driver->lock) != 0)
		driver_lock_slowly(driver);
}

/* Whether a thread waits for the lock. */
static inline bool driver_is_wanted(const struct driver *driver)
{
	return atomic_load_explicit(&driver->n_entering, memory_order_relaxed);
}

/* Whether one has for a step, or those that sleep are to be woken since a turn. */
static inline bool driver_is_overdue(const struct driver *driver)
{
	return driver->spent >= LINK_STEP &&
	       (driver_is_wanted(driver) ||
		       (driver->spent >= LINK_TURN && driver->n_waiting && driver->pool->wake));
}

/* Wakes those that wait for what was changed; acts on marks first. */
void driver_unlock_slowly(struct driver *driver);
/* For libmsg/wait alone: returns the value of wait_seq by which a change is told. */
uint32_t driver_unlock_to_wait(struct driver *driver);

static inline void driver_unlock(struct driver *driver)
{
	struct pool *pool = driver->pool;

	if (pool->marked || driver->spent >= LINK_TURN ||
		((driver->n_waiting || driver->driving) &&
			(pool->wake || pool->wake_senders || driver->hand_over))) {
		driver_unlock_slowly(driver);
		return;
	}
	pool->wake = driver->hand_over = false;
	pool->wake_senders = 0;
	if (!driver->one_thread)
		(void)pthread_mutex_unlock(&driver->lock);
}

/* ---- pass.c, drive.c -------------------------------------------------------------------- */

/*
 * Acts on every mark: sends what is due, ends links, tells sockets, gives back what a quiesced
 * domain must not hold, shows msgd what was sent to it.
 */
void driver_pass(struct driver *driver);

/* This application leaves all links. */
void driver_end_links(struct driver *driver, const char *reason);

/*
 * Takes in what lies in a link's ring, a turn of it at most, and acts on what stops it. until:
 * NULL, or the channel to be served.
 */
void driver_take(struct driver *driver, struct link *link, struct channel *until);
/*
 * The same for a reader whose channel has a link, if no mark is to be acted on first and the next
 * frame is a whole message for it. True: the reader has it.
 */
bool driver_read_whole(struct driver *driver, struct reader *reader);

/* ---- wait.c: waiting -------------------------------------------------------------------- */

/* A waiting thread hopes for this soon: frames on a link or, if want, room for one. */
struct focus {
	struct link *link;	 /* NULL: nothing that is worth spinning for */
	struct channel *channel; /* once it is served, what follows stays in the ring; or NULL */
	uint32_t want;		 /* payload bytes to be sent; 0: frames are waited for */
	uint32_t bits;		 /* of pool->wake_senders that concern it */
};

/* Whether a wait is over; else it may set *ret_focus, which is all zero. */
typedef bool wait_over_fn(void *arg, struct focus *ret_focus);

/* Whether it is over, after all marks were acted on: a focus is on nothing that was freed. */
static inline __attribute__((always_inline)) bool wait_is_over(
	struct driver *driver, wait_over_fn *over, void *arg, struct focus *ret_focus)
{
	if (driver->pool->marked)
		driver_pass(driver);
	*ret_focus = (struct focus){0};
	return over(arg, ret_focus);
}

/* The same, after what lies in the ring of the link that it hopes for was taken in. */
static inline __attribute__((always_inline)) bool wait_is_over_now(
	struct driver *driver, wait_over_fn *over, void *arg, struct focus *ret_focus)
{
	if (wait_is_over(driver, over, arg, ret_focus))
		return true;
	if (!ret_focus->link || ret_focus->want)
		return false;
	driver_take(driver, ret_focus->link, ret_focus->channel);
	return wait_is_over(driver, over, arg, ret_focus);
}

/* For driver_wait alone. */
int driver_wait_on(struct driver *driver, wait_over_fn *over, void *arg, uint64_t deadline_ns);

/*
 * The one way to wait. Blocks without the lock; with DEADLINE_NOW it does what waits, and does not
 * block. 0: it is over, however late. -ETIMEDOUT; -EINTR: a signal handler ran. (Inline, so that a
 * message that is there already costs no wait.)
 */
static inline __attribute__((always_inline)) int driver_wait(
	struct driver *driver, wait_over_fn *over, void *arg, uint64_t deadline_ns)
{
	struct focus focus;

	return wait_is_over_now(driver, over, arg, &focus)
		       ? 0
		       : driver_wait_on(driver, over, arg, deadline_ns);
}
/* timeout_ms -1: DEADLINE_NEVER, 0: DEADLINE_NOW. */
uint64_t driver_deadline(struct driver *driver, int64_t timeout_ms);

/* When there is something to do that no event tells of. */
static inline uint64_t driver_retry_time(const struct driver *driver)
{
	return min_u64(min_u64(links_retry_time(driver->links), driver->control->again_ns),
		min_u64(socks_deadline(driver->socks), driver->pool->paced_ns));
}

/* ---- spin.c ----------------------------------------------------------------------------- */

/* Whether spinning for it may be worth it at all; tells the peer this thread's CPU. */
bool driver_may_spin(struct driver *driver, const struct focus *focus);
/* Looks at the link for as long as it seems worth it, without the lock. True: it came. */
bool driver_spin(
	struct driver *driver, const struct focus *focus, uint64_t now_ns, uint64_t deadline_ns);
/* A sleep that spinning might have spared lasted so long. */
void driver_slept(struct driver *driver, uint64_t ns);

/* ---- drive.c ---------------------------------------------------------------------------- */

/* Does all that events ask for, then a pass. focus: all zero, or what its link may leave undone. */
void driver_drive(struct driver *driver, const struct focus *focus);
/* Asks for events from all links and msgd. True: something is there to be done first. */
bool driver_arm(struct driver *driver);

/* ---- loop.c: event loops ---------------------------------------------------------------- */

/* For driver_init and driver_fini. */
void loops_init(struct driver *driver);
void loops_fini(struct driver *driver);
/* Makes the descriptor for an event loop, or returns it. -errno. */
int driver_fd(struct driver *driver, enum sock_loop which);
/* For calls that do not block and found nothing: does what waits, keeps the descriptors alive. */
void driver_look(struct driver *driver);
/* The descriptors tell of sockets that are ready, of refused links and of what is unfinished. */
void driver_update_fds(struct driver *driver);

#endif
