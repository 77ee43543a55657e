/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls of Xen's libxenvchan, by the names and with the structure that programs know. */
#include <errno.h>
#include <stdarg.h>

#include "compat/xenvchan/vchan.h"

#define PUBLIC __attribute__((visibility("default")))

/* As xentoollog.h has it; tests/unit/compat compares the two. */
#define XTL_LEVEL_ERROR 8

struct logger {
	void (*vmessage)(struct xentoollog_logger *logger, int level, int errnoval,
		const char *context, const char *format, va_list al);
};

__attribute__((format(printf, 2, 3))) static void log_failure(
	struct xentoollog_logger *logger, const char *format, ...)
{
	int error = errno;
	va_list al;

	va_start(al, format);
	((struct logger *)logger)->vmessage(logger, XTL_LEVEL_ERROR, error, "xenvchan", format, al);
	va_end(al);
	errno = error;
}

static struct libxenvchan *made(struct vchan *vchan, struct xentoollog_logger *logger,
	const char *what, int domain, const char *path)
{
	if (!vchan && logger)
		log_failure(logger, "%s %d, %s: %s", what, domain, path, vchan_reason());
	return vchan_public(vchan);
}

PUBLIC struct libxenvchan *libxenvchan_server_init(struct xentoollog_logger *logger, int domain,
	const char *xs_path, size_t read_min, size_t write_min)
{
	return made(vchan_serve(domain, xs_path, read_min, write_min), logger, "server for domain",
		domain, xs_path);
}

PUBLIC struct libxenvchan *libxenvchan_client_init(
	struct xentoollog_logger *logger, int domain, const char *xs_path)
{
	return made(vchan_connect(domain, xs_path), logger, "client of domain", domain, xs_path);
}

PUBLIC void libxenvchan_close(struct libxenvchan *ctrl)
{
	vchan_close(vchan_of(ctrl));
}

PUBLIC int libxenvchan_recv(struct libxenvchan *ctrl, void *data, size_t size)
{
	return vchan_recv(vchan_of(ctrl), data, size);
}

PUBLIC int libxenvchan_read(struct libxenvchan *ctrl, void *data, size_t size)
{
	return vchan_read(vchan_of(ctrl), data, size);
}

PUBLIC int libxenvchan_send(struct libxenvchan *ctrl, const void *data, size_t size)
{
	return vchan_send(vchan_of(ctrl), data, size);
}

PUBLIC int libxenvchan_write(struct libxenvchan *ctrl, const void *data, size_t size)
{
	return vchan_write(vchan_of(ctrl), data, size);
}

PUBLIC int libxenvchan_wait(struct libxenvchan *ctrl)
{
	return vchan_wait(vchan_of(ctrl));
}

PUBLIC int libxenvchan_fd_for_select(struct libxenvchan *ctrl)
{
	return vchan_fd(vchan_of(ctrl));
}

PUBLIC int libxenvchan_is_open(struct libxenvchan *ctrl)
{
	return vchan_is_open(vchan_of(ctrl));
}

PUBLIC int libxenvchan_data_ready(struct libxenvchan *ctrl)
{
	return vchan_data_ready(vchan_of(ctrl));
}

PUBLIC int libxenvchan_buffer_space(struct libxenvchan *ctrl)
{
	return vchan_buffer_space(vchan_of(ctrl));
}
