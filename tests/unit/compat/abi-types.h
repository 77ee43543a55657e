/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The types of libxenvchan's calls, for a header that was included before: Xen's, or ours. */
#ifndef TESTS_UNIT_COMPAT_ABI_TYPES_H
#define TESTS_UNIT_COMPAT_ABI_TYPES_H

#define IS(function, ...)                                                                          \
	_Static_assert(__builtin_types_compatible_p(__typeof__(&function), __VA_ARGS__),           \
		#function " has another type")

struct xentoollog_logger;
IS(libxenvchan_server_init,
	struct libxenvchan *(*)(struct xentoollog_logger *, int, const char *, size_t, size_t));
IS(libxenvchan_client_init, struct libxenvchan *(*)(struct xentoollog_logger *, int, const char *));
IS(libxenvchan_close, void (*)(struct libxenvchan *));
IS(libxenvchan_recv, int (*)(struct libxenvchan *, void *, size_t));
IS(libxenvchan_read, int (*)(struct libxenvchan *, void *, size_t));
IS(libxenvchan_send, int (*)(struct libxenvchan *, const void *, size_t));
IS(libxenvchan_write, int (*)(struct libxenvchan *, const void *, size_t));
IS(libxenvchan_wait, int (*)(struct libxenvchan *));
IS(libxenvchan_fd_for_select, int (*)(struct libxenvchan *));
IS(libxenvchan_is_open, int (*)(struct libxenvchan *));
IS(libxenvchan_data_ready, int (*)(struct libxenvchan *));
IS(libxenvchan_buffer_space, int (*)(struct libxenvchan *));

#endif
