/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets by their cookies: see table.h. */
#include "compat/vsock/table.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "compat/vsock/real.h"

#define N_BUCKETS 256

/*
 * A place of a bucket, and never of another one, nor is it freed: table_has walks a bucket without
 * the lock. A place is complete when the store to the bucket's head, or to its cookie, releases it,
 * and what a walk finds was loaded with acquire. So a walk sees each cookie whose table_add comes
 * before it, as that of a socket does before any call on it. The table forgets a socket that was
 * connected after its label is set: whoever does not find the cookie any more sees the label.
 * Places are as many as there were sockets at once.
 */
struct place {
	struct place *next;	 /* never changes */
	_Atomic uint64_t cookie; /* 0: nothing is here; changes under the lock */
	struct vsock *vsock;	 /* under the lock */
};

static struct place *_Atomic buckets[N_BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Forks that are under way and have begun without the locks; or USED, once the table was used. */
#define USED (-1)
static atomic_int forks;

/* Until the next look whether the forks are over. */
#define FORK_MS 1

void table_lock(void)
{
	(void)pthread_mutex_lock(&lock);
}

void table_unlock(void)
{
	(void)pthread_mutex_unlock(&lock);
}

/* There is nothing in the table, nor was there. */
static bool table_unused(void)
{
	return atomic_load(&forks) != USED;
}

void table_use(void)
{
	int none = 0;

	while (!atomic_compare_exchange_strong(&forks, &none, USED) && none != USED) {
		none = 0;
		(void)poll(NULL, 0, FORK_MS);
	}
}

bool table_fork_begins(void)
{
	int n = atomic_load(&forks);

	while (n != USED && !atomic_compare_exchange_weak(&forks, &n, n + 1))
		;
	return n == USED;
}

bool table_fork_ends(bool child)
{
	if (!table_unused())
		return true;
	if (child)
		atomic_store(&forks, 0); /* of other threads: they are not under way here */
	else
		atomic_fetch_sub(&forks, 1);
	return false;
}

/* The place of a cookie; of 0, a free one. */
static struct place *place_find(size_t bucket, uint64_t cookie)
{
	struct place *place = atomic_load_explicit(&buckets[bucket], memory_order_acquire);

	while (place && atomic_load_explicit(&place->cookie, memory_order_acquire) != cookie)
		place = place->next;
	return place;
}

static struct place *place_of(int fd)
{
	int before = errno;
	uint64_t cookie = table_unused() ? 0 : real_cookie(fd);

	errno = before;
	return cookie ? place_find(cookie % N_BUCKETS, cookie) : NULL;
}

bool table_has(int fd)
{
	return place_of(fd);
}

struct vsock *table_find(int fd)
{
	struct place *place = place_of(fd);

	return place ? place->vsock : NULL;
}

struct vsock *table_hold(int fd)
{
	struct vsock *vsock;

	if (!table_has(fd))
		return NULL;
	table_lock();
	vsock = table_find(fd);
	if (!vsock)
		table_unlock();
	return vsock;
}

int table_add(struct vsock *vsock)
{
	size_t bucket = vsock->cookie % N_BUCKETS;
	struct place *place = place_find(bucket, 0);

	if (!place) {
		place = calloc(1, sizeof(*place));
		if (!place)
			return -ENOMEM;
		place->next = atomic_load_explicit(&buckets[bucket], memory_order_relaxed);
		atomic_store_explicit(&buckets[bucket], place, memory_order_release);
	}
	place->vsock = vsock;
	atomic_store_explicit(&place->cookie, vsock->cookie, memory_order_release);
	return 0;
}

void table_remove(struct vsock *vsock)
{
	struct place *place = place_find(vsock->cookie % N_BUCKETS, vsock->cookie);

	place->vsock = NULL;
	atomic_store_explicit(&place->cookie, 0, memory_order_release);
}

struct vsock *table_search(bool (*fn)(struct vsock *vsock, const void *arg), const void *arg)
{
	for (size_t i = 0; i < N_BUCKETS; i++) {
		for (struct place *place = buckets[i]; place; place = place->next) {
			if (place->vsock && fn(place->vsock, arg))
				return place->vsock;
		}
	}
	return NULL;
}
