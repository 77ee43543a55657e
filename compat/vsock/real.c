/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls that the next library in the loader's order has: the C library's, see real.h. */
#include "compat/vsock/real.h"

#include <dlfcn.h>
#include <pthread.h>

static struct real calls;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define FIND(name) (*(void **)&calls.name = dlsym(RTLD_NEXT, #name))

static void find_all(void)
{
	FIND(socket);
	FIND(bind);
	FIND(listen);
	FIND(accept);
	FIND(accept4);
	FIND(connect);
	FIND(recvmsg);
	FIND(getsockname);
	FIND(getpeername);
	FIND(getsockopt);
	FIND(setsockopt);
	FIND(ioctl);
	FIND(open);
	FIND(open64);
	FIND(openat);
	FIND(openat64);
}

const struct real *real(void)
{
	(void)pthread_once(&once, find_all);
	return &calls;
}

uint64_t real_cookie(int fd)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	return real()->getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}
