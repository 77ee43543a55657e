/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams between Xen domains, by a port, with the calls as Qubes spells them: a program that was
 * written for its libvchan.h compiles with this header, and links with -lvchan-msg. The streams are
 * channels of msgd. libxenvchan-msg(7) says how ports become names, and what differs.
 *
 * Errors are NULL or -1, and errno. Two threads must not use one vchan at the same time.
 */
#ifndef LIBVCHAN_H
#define LIBVCHAN_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int EVTCHN; /* a descriptor for poll */

struct libvchan;
typedef struct libvchan libvchan_t;

/* Of libvchan_is_open. */
#define VCHAN_DISCONNECTED 0 /* the peer has closed, or died */
#define VCHAN_CONNECTED	   1
#define VCHAN_WAITING	   2 /* no peer has come yet */

/*
 * A server on a port, for a client of the domain. read_min and write_min, to 1 MiB: the bytes that
 * lie ready in each direction at least. It blocks, as all vchans do at first, see
 * libvchan_set_blocking.
 */
libvchan_t *libvchan_server_init(int domain, int port, size_t read_min, size_t write_min);

/* A client of the server on a port of the domain, which it waits for if the domain is there. */
libvchan_t *libvchan_client_init(int domain, int port);

/*
 * The same without waiting. When *watch_fd is readable, call libvchan_client_init_async_finish: it
 * returns 1 while there is no server, 0 when the vchan stands, and -1 if it never will. Until then
 * there is nothing to be done with the vchan but to close it.
 */
libvchan_t *libvchan_client_init_async(int domain, int port, EVTCHN *watch_fd);
int libvchan_client_init_async_finish(libvchan_t *ctrl, bool blocking);

/* Up to size bytes, or all of them if it blocks. 0: no room. Returns how many. */
int libvchan_write(libvchan_t *ctrl, const void *data, size_t size);
/* All size bytes, or 0: no room. */
int libvchan_send(libvchan_t *ctrl, const void *data, size_t size);
/* The bytes that lie ready, up to size; if it blocks, one at least. 0: none. */
int libvchan_read(libvchan_t *ctrl, void *data, size_t size);
/* All size bytes, or 0: fewer lie ready. */
int libvchan_recv(libvchan_t *ctrl, void *data, size_t size);

/* Waits until something has changed, and clears the descriptor, which is readable from then on. */
int libvchan_wait(libvchan_t *ctrl);
EVTCHN libvchan_fd_for_select(libvchan_t *ctrl);

int libvchan_is_open(libvchan_t *ctrl);
int libvchan_data_ready(libvchan_t *ctrl);   /* bytes to be read */
int libvchan_buffer_space(libvchan_t *ctrl); /* bytes that find room */
void libvchan_set_blocking(libvchan_t *ctrl, bool blocking);

/* Accepts NULL. */
void libvchan_close(libvchan_t *ctrl);

#ifdef __cplusplus
}
#endif

#endif
