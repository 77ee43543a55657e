/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets by their cookies: see table.h. */
#include "compat/vsock/table.h"

#include <pthread.h>
#include <stdatomic.h>

#include "compat/vsock/real.h"

#define N_BUCKETS 256

static LIST_HEAD(, vsock) buckets[N_BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool used;

void table_lock(void)
{
	(void)pthread_mutex_lock(&lock);
}

void table_unlock(void)
{
	(void)pthread_mutex_unlock(&lock);
}

uint64_t table_cookie(int fd)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	return real()->getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

struct vsock *table_find(int fd)
{
	uint64_t cookie = table_unused() ? 0 : table_cookie(fd);
	struct vsock *vsock;

	if (!cookie)
		return NULL;
	LIST_FOREACH (vsock, &buckets[cookie % N_BUCKETS], entry) {
		if (vsock->cookie == cookie)
			return vsock;
	}
	return NULL;
}

void table_add(struct vsock *vsock)
{
	LIST_INSERT_HEAD(&buckets[vsock->cookie % N_BUCKETS], vsock, entry);
	atomic_store(&used, true);
}

void table_remove(struct vsock *vsock)
{
	LIST_REMOVE(vsock, entry);
}

void table_each(void (*fn)(struct vsock *vsock))
{
	struct vsock *vsock;

	for (size_t i = 0; i < N_BUCKETS; i++) {
		LIST_FOREACH (vsock, &buckets[i], entry)
			fn(vsock);
	}
}

bool table_unused(void)
{
	return !atomic_load(&used);
}
