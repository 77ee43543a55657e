/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmsg: named message channels between Xen domains, used like sockets.
 *
 * Unless a function says otherwise:
 *  - it returns -1 (or NULL) and sets errno on failure, and msg_reason() then tells in a sentence
 *    what was wrong; success leaves errno alone;
 *  - any thread may call it, also several at once on one object (but see LIBMSG_ONE_THREAD);
 *    nothing may be used after, or during, the call that closes it;
 *  - it fails with EBADFD in a forked child: a context belongs to the process that opened it;
 *  - blocking calls return EINTR when a signal handler ran while they slept, as sockets do; they
 *    are not restarted, whatever SA_RESTART says;
 *  - no signal is ever raised (no SIGPIPE), no thread started, no handler installed, nothing logged
 *    unless msg_ctx_set_log was called.
 *
 * The libmsg(3) manual has examples and the table of errors.
 */
#ifndef LIBMSG_H
#define LIBMSG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct msg_ctx;	 /* one application's connection to msgd */
struct msg_sock; /* a listener or a channel's end */
struct msg_buf;	 /* a received message's private memory */

/* Channel types. */
#define LIBMSG_SEQPACKET 1 /* messages, whole or not at all, in order, reliable */

/* Flags of msg_ctx_open. */
#define LIBMSG_ONE_THREAD 1U /* promise: one thread at a time uses the context; drops the lock */

/* Flags of msg_listen, msg_accept and msg_connect. */
#define LIBMSG_NONBLOCK	 1U /* the socket starts non-blocking; connect does not wait */
#define LIBMSG_WAIT_NAME 2U /* connect waits for a name that is not there yet */

/* Options of msg_setopt and msg_getopt; all values are int64_t. */
enum libmsg_option {
	LIBMSG_RCVTIMEO = 1, /* ms that a receive or accept may block; -1 (default): for ever */
	LIBMSG_SNDTIMEO,     /* ms that a send may block; -1 (default): for ever */
	LIBMSG_LINGER,	     /* ms that msg_close may block to flush; default 1000; 0: none */
	LIBMSG_RCVBUF,	     /* bytes that may lie unread at this end; default 1 MiB */
	LIBMSG_SNDBUF,	     /* bytes that may lie unsent at this end; default 1 MiB */
	LIBMSG_MAXMSG, /* bytes of the longest message taken in; default 1 MiB, at most RCVBUF */
	LIBMSG_NONBLOCK_OPT, /* 0 or 1: every call as if with MSG_DONTWAIT */
	LIBMSG_CORK,	     /* 0 or 1: every send as if with MSG_MORE; 0 flushes */
	LIBMSG_SPIN,	     /* context-wide: us to spin before sleeping; 0: never; -1: default */
	LIBMSG_TRANSPORT,    /* listeners: none. channels: read: enum libmsg_transport */
	LIBMSG_ERROR, /* read: the pending error of a non-blocking connect, or 0; clears it */
	LIBMSG_TYPE,  /* read: LIBMSG_SEQPACKET */
};

/* How payload travels. For LIBMSG_TRANSPORT, msg_peer and msg_ctx_set_transport. */
enum libmsg_transport {
	LIBMSG_TRANSPORT_ANY = 0,
	LIBMSG_TRANSPORT_ARGO, /* copied by the hypervisor; one page is shared, for waking */
	/*
	 * Copied by the hypervisor; nothing is shared. POLLOUT may come too early, and while msgd
	 * is away the death of a peer's process shows only in sending to it.
	 */
	LIBMSG_TRANSPORT_ARGO_STRICT,
	LIBMSG_TRANSPORT_GRANT, /* through memory that both domains write to */
};

struct msg_peer {
	uint32_t
		size; /* set by the caller to sizeof(struct msg_peer): bytes that it has room for */
	uint32_t domid;
	uint32_t transport; /* enum libmsg_transport */
	uint32_t flags;	    /* 0 */
	uint8_t uuid[16];
	char domain[128]; /* NUL-terminated */
	char name[64];	  /* the name that was connected to, NUL-terminated */
};

struct msg_pollfd {
	struct msg_sock *sock; /* NULL: the entry is skipped */
	short events;	       /* POLLIN, POLLOUT */
	short revents;	       /* these, and POLLHUP, POLLERR, POLLRDHUP */
};

struct msg_event {
	struct msg_sock *sock;
	short revents;
};

typedef void msg_log_fn(void *arg, int priority, const char *line);

/*
 * Attaches to msgd. hv: the hypervisor, as "xen", "sim:PATH" (the emulator; the domain is
 * $XEN_SIM_DOMAIN's or Domain-0) or "sim:PATH#DOMAIN"; NULL: $MSG_HV, else Xen.
 * Blocks until msgd has answered, timeout_ms at most; -1 for ever, 0 not at all.
 * ENODEV no Xen and no emulator; EPROTONOSUPPORT another version; EHOSTDOWN no msgd within the
 * limit; EACCES devices not permitted; EINVAL; ENOMEM; ENOBUFS out of ports or grants; EDQUOT this
 * domain has as many contexts as it may; of the emulator: EPROTO something else listens there,
 * EHOSTUNREACH no such domain, EUSERS it is full, EXDEV it runs in another PID namespace.
 */
struct msg_ctx *msg_ctx_open(const char *hv, unsigned flags, int timeout_ms);

/* msg_close for every socket of the context, without lingering; detaches, frees. NULL: nothing. */
void msg_ctx_close(struct msg_ctx *ctx);

/*
 * A descriptor for poll, epoll and event loops: readable while msg_ctx_dispatch has something to
 * do. Owned by the context; not to be read, written or closed.
 */
int msg_ctx_fd(struct msg_ctx *ctx);

/*
 * Does what is waiting and writes up to n sockets that became, or still are, ready into
 * ret_events. Never blocks. Returns how many; there may be more if it returns n. A socket is
 * reported again and again until what made it ready was taken (the end of what comes, by a receive
 * that returned 0); but POLLOUT only once after a send
 * that failed with EAGAIN, or a non-blocking connect, can go on.
 */
int msg_ctx_dispatch(struct msg_ctx *ctx, struct msg_event *ret_events, int n);

/* fn gets a line, with a syslog priority, for each event worth a log; NULL: none. */
void msg_ctx_set_log(struct msg_ctx *ctx, msg_log_fn *fn, void *arg);

/*
 * Demands a transport for later msg_connect calls of this context. From msg_connect then EOPNOTSUPP
 * if the two domains cannot or policy demands another one, ENOBUFS if all of a domain's Argo rings
 * are in use; msg_reason says which. LIBMSG_TRANSPORT_ANY (default): what policy demands, else Argo
 * where both have it, else grants; never argo-strict by itself. EINVAL.
 */
int msg_ctx_set_transport(struct msg_ctx *ctx, int transport);

/*
 * Listens on `name` in this domain. backlog: channels that may wait to be accepted, 1 to 4096.
 * EINVAL; EACCES by policy; EADDRINUSE; EDQUOT; EHOSTDOWN.
 */
struct msg_sock *msg_listen(
	struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags);

/* Takes the next channel. EAGAIN non-blocking, or LIBMSG_RCVTIMEO over. EINVAL no listener. */
struct msg_sock *msg_accept(struct msg_sock *listener, unsigned flags);

/*
 * Connects to "NAME" or "DOMAIN/NAME", DOMAIN being a domain's name, "domid:N" or "uuid:U".
 * Blocks until the channel stands, timeout_ms at most (-1 for ever). With LIBMSG_NONBLOCK it
 * returns at once; POLLOUT says that it is done, and LIBMSG_ERROR how.
 * EINVAL; EACCES; EHOSTUNREACH no such domain; ENOENT; ENOTUNIQ; EPROTOTYPE; ECONNREFUSED backlog
 * full; EOPNOTSUPP; EDQUOT; ENOBUFS; ETIMEDOUT; EHOSTDOWN; ECONNRESET the listener went away just
 * then, also with LIBMSG_WAIT_NAME.
 */
struct msg_sock *msg_connect(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags, int timeout_ms);

/*
 * SHUT_WR: the peer reads what was sent, then 0. SHUT_RD: nothing more is received here.
 * A blocking socket waits until the ring has taken it, up to LIBMSG_LINGER; what is left then, or
 * on a non-blocking socket, is sent by later calls on the context. ENOTCONN; EINVAL.
 */
int msg_shutdown(struct msg_sock *sock, int how);

/*
 * Frees the socket; unread data is thrown away, and the peer then sees ECONNRESET as with
 * sockets. What was sent and not yet taken by the ring is waited for up to LIBMSG_LINGER, after
 * that the peer sees ECONNRESET. Always succeeds in freeing; -1 with ETIMEDOUT if data was lost.
 */
int msg_close(struct msg_sock *sock);

/*
 * Sends one message of len bytes (0 is legal), whole or not at all. flags: MSG_DONTWAIT,
 * MSG_NOSIGNAL (implied), MSG_EOR (implied), MSG_MORE (may be held back until a send without it, a
 * flush, or the ring's filling; batches notifications). Returns len.
 * EAGAIN; EMSGSIZE longer than LIBMSG_SNDBUF or the peer's limit; EPIPE the peer closed, or
 * SHUT_WR; ECONNRESET; ENOTCONN; EINTR with nothing sent; EINVAL flags.
 */
ssize_t msg_send(struct msg_sock *sock, const void *data, size_t len, int flags);

/*
 * Receives one message into len bytes. Returns its length, or 0 at the end of the channel (and for
 * an empty message; msg_recvmsg tells them apart by MSG_EOR). A longer message is cut, the
 * rest thrown away; with MSG_TRUNC the real length is returned. flags: MSG_DONTWAIT, MSG_PEEK,
 * MSG_TRUNC. EAGAIN; ECONNRESET after the whole messages that had arrived; ENOTCONN; EINTR.
 */
ssize_t msg_recv(struct msg_sock *sock, void *data, size_t len, int flags);

/* The same, scattered. msg_name and msg_control must be empty (EINVAL). iovlen up to IOV_MAX. */
ssize_t msg_sendmsg(struct msg_sock *sock, const struct msghdr *message, int flags);

/* msg_flags gets MSG_EOR at a message's end and MSG_TRUNC if it was cut. */
ssize_t msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags);

/*
 * Receives a message without copying it again: *ret_data stays valid until msg_buf_free. Returns
 * the length; 0 with *ret_buf NULL at the end of the channel. flags: MSG_DONTWAIT.
 */
ssize_t msg_recv_take(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf);
void msg_buf_free(struct msg_buf *buf); /* NULL does nothing */

/* Shows the peer everything that MSG_MORE or LIBMSG_CORK held back. Never blocks. */
int msg_flush(struct msg_sock *sock);

/*
 * poll(2) for sockets of one context (EINVAL: of several, or none). Returns how many entries have
 * revents; 0 when timeout_ms is over (-1: never).
 */
int msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms);

/* Fills up to ret_peer->size bytes. ENOTCONN for listeners and unfinished connects. */
int msg_getpeer(struct msg_sock *sock, struct msg_peer *ret_peer);

/* EINVAL unknown or out of range; ENOPROTOOPT not for this socket. */
int msg_setopt(struct msg_sock *sock, int option, int64_t value);
int msg_getopt(struct msg_sock *sock, int option, int64_t *ret_value);

void msg_set_userdata(struct msg_sock *sock, void *userdata); /* NULL at first */
void *msg_userdata(struct msg_sock *sock);

/* Why this thread's last failing call failed; never NULL; valid until its next libmsg call. */
const char *msg_reason(void);

/* "0.1.0": of the library that runs. */
const char *msg_version(void);

#ifdef __cplusplus
}
#endif

#endif
