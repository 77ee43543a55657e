/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The binary interface of libxenvchan, as programs that were compiled with Xen's libxenvchan.h use
 * it: the functions, and the structure whose fields a program may read and write. Not installed:
 * programs go on using Xen's header. tests/unit/compat compares the two.
 */
#ifndef COMPAT_XENVCHAN_ABI_H
#define COMPAT_XENVCHAN_ABI_H

#include <stddef.h>
#include <stdint.h>

struct xentoollog_logger; /* of xentoollog.h */

struct ring_shared {
	uint32_t cons, prod;
};

/* The page that the original shares. Here it is private memory, for programs that look into it. */
struct vchan_interface {
	struct ring_shared left, right;
	uint16_t left_order, right_order;
	uint8_t cli_live, srv_live;
	uint8_t cli_notify, srv_notify;
	uint32_t grants[];
};

struct libxenvchan_ring {
	struct ring_shared *shr;
	void *buffer;
	int order; /* the ring has 1 << order bytes */
};

struct libxenvchan {
	union {
		void *gntshr;
		void *gnttab;
	};
	struct vchan_interface *ring;
	void *event;
	uint32_t event_port;
	int is_server : 1;
	int server_persist : 1; /* the program's: a client that goes is not the end */
	int blocking : 1;	/* the program's */
	struct libxenvchan_ring read, write;
	char *xs_path;
};

struct libxenvchan *libxenvchan_server_init(struct xentoollog_logger *logger, int domain,
	const char *xs_path, size_t read_min, size_t write_min);
struct libxenvchan *libxenvchan_client_init(
	struct xentoollog_logger *logger, int domain, const char *xs_path);
void libxenvchan_close(struct libxenvchan *ctrl);
int libxenvchan_recv(struct libxenvchan *ctrl, void *data, size_t size);
int libxenvchan_read(struct libxenvchan *ctrl, void *data, size_t size);
int libxenvchan_send(struct libxenvchan *ctrl, const void *data, size_t size);
int libxenvchan_write(struct libxenvchan *ctrl, const void *data, size_t size);
int libxenvchan_wait(struct libxenvchan *ctrl);
int libxenvchan_fd_for_select(struct libxenvchan *ctrl);
int libxenvchan_is_open(struct libxenvchan *ctrl);
int libxenvchan_data_ready(struct libxenvchan *ctrl);
int libxenvchan_buffer_space(struct libxenvchan *ctrl);

#endif
