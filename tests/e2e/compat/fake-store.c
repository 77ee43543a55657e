/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of libxenstore and libxenctrl that vchan-socket-proxy's client makes before it
 * connects, preloaded where there is no Xen. Each watch fires once, as xenstore has it, and never
 * again: nothing is written into the store.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

void *xs_open(unsigned long flags);
void xs_close(void *xs);
bool xs_watch(void *xs, const char *path, const char *token);
char **xs_read_watch(void *xs, unsigned *ret_n);
void *xc_interface_open(void *logger, void *dombuild_logger, unsigned flags);
int xc_interface_close(void *xc);
int xc_domain_getinfo(void *xc, unsigned domid, unsigned n, void *info);

#define EXPORT __attribute__((visibility("default")))

static char store, control;
static int fires;

EXPORT void *xs_open(unsigned long flags)
{
	return &store;
}

EXPORT void xs_close(void *xs)
{
	fires = 0;
}

EXPORT bool xs_watch(void *xs, const char *path, const char *token)
{
	fires++;
	return true;
}

EXPORT char **xs_read_watch(void *xs, unsigned *ret_n)
{
	while (!fires)
		(void)pause();
	fires--;
	*ret_n = 2;
	return calloc(2, sizeof(char *));
}

EXPORT void *xc_interface_open(void *logger, void *dombuild_logger, unsigned flags)
{
	return &control;
}

EXPORT int xc_interface_close(void *xc)
{
	return 0;
}

/* As where a guest asks: it may not. */
EXPORT int xc_domain_getinfo(void *xc, unsigned domid, unsigned n, void *info)
{
	return -1;
}
