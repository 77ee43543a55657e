/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls of libvchan.h: a port in place of a path, waiting for the server, blocking at first. */
#include <errno.h>
#include <stdio.h>

#include "compat/xenvchan/libvchan.h"
#include "compat/xenvchan/vchan.h"

/* "data/vchan/" and a port. */
#define PATH_SIZE 32
#define PUBLIC	  __attribute__((visibility("default")))

static struct vchan *inner(libvchan_t *ctrl)
{
	return (struct vchan *)ctrl;
}

static libvchan_t *outer(struct vchan *vchan)
{
	return (libvchan_t *)vchan;
}

/*
 * Qubes puts the client's domid into the path besides. A client does not know its own, and need
 * not: a server's clients are told apart by the domain that they come from.
 */
static int path_of(int port, char ret_path[PATH_SIZE])
{
	if (port < 0) {
		errno = EINVAL;
		return -1;
	}
	(void)snprintf(ret_path, PATH_SIZE, "data/vchan/%d", port);
	return 0;
}

static libvchan_t *blocking(struct vchan *vchan)
{
	if (vchan)
		libvchan_set_blocking(outer(vchan), true);
	return outer(vchan);
}

PUBLIC libvchan_t *libvchan_server_init(int domain, int port, size_t read_min, size_t write_min)
{
	char path[PATH_SIZE];

	if (path_of(port, path) < 0)
		return NULL;
	return blocking(vchan_serve(domain, path, read_min, write_min));
}

PUBLIC libvchan_t *libvchan_client_init_async(int domain, int port, EVTCHN *watch_fd)
{
	struct vchan *vchan;
	char path[PATH_SIZE];

	if (path_of(port, path) < 0)
		return NULL;
	vchan = vchan_connect_later(domain, path);
	if (vchan)
		*watch_fd = vchan_fd(vchan);
	return outer(vchan);
}

PUBLIC int libvchan_client_init_async_finish(libvchan_t *ctrl, bool blocking)
{
	int r = vchan_finish(inner(ctrl));

	if (r == 0)
		libvchan_set_blocking(ctrl, blocking);
	return r;
}

PUBLIC libvchan_t *libvchan_client_init(int domain, int port)
{
	char path[PATH_SIZE];

	return path_of(port, path) < 0 ? NULL : blocking(vchan_connect_sometime(domain, path));
}

PUBLIC int libvchan_write(libvchan_t *ctrl, const void *data, size_t size)
{
	return vchan_write(inner(ctrl), data, size);
}

PUBLIC int libvchan_send(libvchan_t *ctrl, const void *data, size_t size)
{
	return vchan_send(inner(ctrl), data, size);
}

PUBLIC int libvchan_read(libvchan_t *ctrl, void *data, size_t size)
{
	return vchan_read(inner(ctrl), data, size);
}

PUBLIC int libvchan_recv(libvchan_t *ctrl, void *data, size_t size)
{
	return vchan_recv(inner(ctrl), data, size);
}

PUBLIC int libvchan_wait(libvchan_t *ctrl)
{
	return vchan_wait(inner(ctrl));
}

PUBLIC void libvchan_close(libvchan_t *ctrl)
{
	vchan_close(inner(ctrl));
}

PUBLIC EVTCHN libvchan_fd_for_select(libvchan_t *ctrl)
{
	return vchan_fd(inner(ctrl));
}

PUBLIC int libvchan_is_open(libvchan_t *ctrl)
{
	return vchan_is_open(inner(ctrl));
}

PUBLIC int libvchan_data_ready(libvchan_t *ctrl)
{
	return vchan_data_ready(inner(ctrl));
}

PUBLIC int libvchan_buffer_space(libvchan_t *ctrl)
{
	return vchan_buffer_space(inner(ctrl));
}

PUBLIC void libvchan_set_blocking(libvchan_t *ctrl, bool blocking)
{
	vchan_public(inner(ctrl))->blocking = blocking ? -1 : 0; /* one bit, with a sign */
}
