/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmsg: named message channels between Xen domains, used like sockets.
 *
 * libmsg(3) has examples, and one table of all errors. The rules below hold for every function,
 * unless the function's own comment says otherwise.
 *
 * Errors
 *
 *   A function returns -1 (or NULL) and sets errno on failure. msg_reason() then tells in a
 *   sentence what was wrong. Success leaves errno alone. The list of errors in each comment leaves
 *   out EBADFD, see "Hazards".
 *
 * Threads
 *
 *   Any thread may call any function, and several threads may use one object at the same time.
 *   LIBMSG_ONE_THREAD restricts this for a context and its sockets.
 *
 *   A thread that is cancelled (pthread_cancel) in a call ends when the call is over: msg_shutdown
 *   and signals end a call that sleeps, a cancellation does not.
 *
 * Blocking
 *
 *   A function does not block unless its comment says that it does. A blocking call fails with
 *   EINTR if a signal handler ran while the call slept, as with sockets. The call is not
 *   restarted, even if the handler was installed with SA_RESTART.
 *
 * Ownership
 *
 *   The caller owns the contexts, sockets and buffers that it is given, and frees them with
 *   msg_ctx_close, msg_close and msg_buf_free. libmsg copies the strings and messages that it is
 *   given. The only pointers that it keeps after a call are those of msg_ctx_set_log and
 *   msg_set_userdata.
 *
 * The process
 *
 *   libmsg raises no signal (no SIGPIPE), starts no thread, but for msg_sock_fd and
 *   msg_sock_serve, and installs no signal handler. For these two it has a handler of fork(2), from
 *   when it is loaded. It logs nothing unless msg_ctx_set_log was called.
 *
 * Hazards
 *
 *   On fork(2): a context belongs to the process that opened it. In a forked child every function
 *   that is given the context, or a socket of it, fails with EBADFD and frees nothing; msg_userdata
 *   returns NULL. This is so whatever other threads of the parent were doing. The child must open a
 *   context of its own.
 *
 *   On ends: a process that ends without msg_close, by exit(3) too, or executes another program
 *   (execve(2), which closes all that a context has), is seen at once by its peers: they receive
 *   the whole messages that had arrived, then ECONNRESET. Its children that live on, of fork, vfork
 *   or posix_spawn, change nothing about that. Threads may end in any order, the first one as well.
 *
 *   On unloading: dlclose(3) does not take the library out of the process. Contexts that are open,
 *   and threads in calls, go on.
 *
 *   On lack of memory: an application that has no memory for a message that arrives loses the link
 *   to the peer, and one that has none for a new channel does, too. All channels over that link
 *   fail with ECONNRESET at both ends; msg_reason says why.
 *
 *   On closing: an object must not be used after the call that closes it, nor by another thread
 *   during that call: no call on it may be under way, asleep or not, and none may begin.
 *   msg_shutdown ends the calls that sleep; once they have returned, the object may be closed. A
 *   library with assertions (built without NDEBUG) ends the program, with a message on
 *   standard error that names object and call, if another thread sleeps in a call on the object.
 *   msg_ctx_close closes all sockets of the context.
 *
 *   On calling nothing: libmsg works only while the application is in a call of it. Until then
 *   no channel is accepted, no link to a new peer is made, and the domain cannot be quiesced (see
 *   msgctl(8)). An application with an event loop must watch msg_ctx_fd and call msg_ctx_dispatch.
 *
 *   On saving and migrating a domain: all its channels fail with ECONNRESET. Listeners, watches,
 *   and calls of msg_listen, msg_connect and msg_watch that wait for an answer go on when the
 *   domain goes on.
 *
 *   On being taken for dead: if msgd lets go of a living application, since its record in the store
 *   was deleted or it broke the protocol, its channels fail with ECONNRESET; listeners, watches and
 *   waiting calls go on, for the context attaches again by itself. If that happens ten times in a
 *   row, it gives up, and its calls fail with ECONNABORTED and msgd's reason.
 *
 *   On the terms of policy: msgd's policy may let data go one way only. The end that receives then
 *   fails to send with EPIPE, and the one that sends receives 0, as after msg_shutdown. It may also
 *   bound the bytes a second of a channel, so that sends wait, and LIBMSG_RCVBUF, which is cut.
 *
 *   On the log function: it is called from within libmsg, with the context locked. It must not call
 *   a function of libmsg for the same context.
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
struct msg_sock; /* a listener, a channel's end or a watch */
struct msg_buf;	 /* a received message's private memory */
struct mmsghdr;	 /* of <sys/socket.h>, where _GNU_SOURCE is defined */

/* Channel types. (SOCK_STREAM and so on are other numbers, some of them those of other types.) */
#define LIBMSG_SEQPACKET 1 /* messages, whole or not at all, in order, reliable */
#define LIBMSG_STREAM	 2 /* bytes, in order, reliable, without boundaries */
/*
 * Messages, whole, in order. A send never blocks: a message that finds no room is dropped, and
 * counted at both ends (LIBMSG_DROPS).
 */
#define LIBMSG_DGRAM 3

/*
 * Flags. No two have the same value, so a flag that is given to the wrong function fails with
 * EINVAL.
 */
/*
 * msg_ctx_open: a promise that one thread at a time uses the context; drops the lock. In a program
 * of several threads, a send and a receive of 64 bytes take 0.90 to 0.94 of the time
 * (bench/run --case=one-thread).
 */
#define LIBMSG_ONE_THREAD 1U
/* msg_listen, msg_accept, msg_connect: the socket starts non-blocking; connect does not wait. */
#define LIBMSG_NONBLOCK 2U
/* msg_connect: waits for a domain or name that is not there yet. */
#define LIBMSG_WAIT_NAME 4U

/*
 * Options of msg_setopt and msg_getopt; all values are int64_t. Of a listener, RCVTIMEO and
 * NONBLOCK_OPT count; sockets that it accepts begin with the defaults.
 */
enum libmsg_option {
	/* Times, in ms, to INT32_MAX; -1: for ever. */
	LIBMSG_RCVTIMEO = 1, /* how long a receive or accept may block; default -1 */
	LIBMSG_SNDTIMEO,     /* how long a send may block; default -1 */
	LIBMSG_LINGER,	     /* how long msg_close and msg_shutdown may block; default 1000 */
	/*
	 * Bytes that may lie unread at this end, 8 KiB to 64 MiB, default 1 MiB. A message counts
	 * its length and 32 bytes, in whatever process or ring it is. A new channel has room for 8
	 * KiB at the end that accepted it and for 16 KiB at the one that connected: for 195
	 * messages of 10 bytes, say, or 390. It doubles as the application reads, to RCVBUF or to 8
	 * MiB, and never shrinks. A send is accepted while there is room for the message, or for 4
	 * KiB of it: so one message of any length that LIBMSG_MAXMSG permits is accepted by an
	 * empty end, and the last one may go past the room by its length.
	 */
	LIBMSG_RCVBUF,
	/*
	 * Bytes of the longest message sent, 4 KiB to 64 MiB, default 1 MiB. Nothing is kept at the
	 * end that sends but the rest of one message, and of a stream it is not asked.
	 */
	LIBMSG_SNDBUF,
	LIBMSG_MAXMSG, /* bytes of the longest message taken in; default 1 MiB; RCVBUF bounds it */
	LIBMSG_NONBLOCK_OPT, /* 0 or 1: every call as if with MSG_DONTWAIT */
	LIBMSG_CORK,	     /* 0 or 1: every send as if with MSG_MORE; 0 flushes */
	/* Context-wide: us to spin before sleeping, to 1,000,000; 0: never; -1: by itself. */
	LIBMSG_SPIN,
	LIBMSG_TRANSPORT, /* read only, while a channel stands: enum libmsg_transport */
	/*
	 * Read only: the error of a non-blocking connect, which reading clears, or of a listener
	 * that has lost its name; or 0.
	 */
	LIBMSG_ERROR,
	LIBMSG_TYPE, /* read only: LIBMSG_SEQPACKET and so on */
	/* Of LIBMSG_DGRAM, read only: messages dropped either way, as far as is known here. */
	LIBMSG_DROPS,
	/*
	 * Of LIBMSG_DGRAM: 0 or 1: of what finds no room the oldest is dropped, not the newest, for
	 * a reader that wants the latest reading. At the end that receives, half of LIBMSG_RCVBUF
	 * is kept; at the end that sends, one message that finds no room waits until a later call
	 * can send it, or a newer one takes its place.
	 */
	LIBMSG_DROP_OLDEST,
	/*
	 * The events that msg_ctx_dispatch reports: POLLIN (the default), POLLOUT, both or 0.
	 * Without POLLIN an application does not hear of messages that it does not want to read
	 * yet.
	 */
	LIBMSG_EVENTS,
	/*
	 * 0 or 1: msg_close does not block, and throws away what was not sent. The peer sees
	 * ECONNRESET in the place of an end that it has not received yet: for an application that
	 * has to stop in the middle.
	 */
	LIBMSG_RESET,
	/*
	 * 0 (the default) or 1: the payload may be shown to an administrator who captures the
	 * channel, if policy permits it and the peer has set this, too. Of a listener: for the
	 * channels that it accepts from then on, and those that wait to be accepted.
	 */
	LIBMSG_CAPTURE
};

/* How payload travels. For LIBMSG_TRANSPORT, msg_peer and msg_ctx_set_transport. */
enum libmsg_transport {
	LIBMSG_TRANSPORT_ANY = 0,
	LIBMSG_TRANSPORT_ARGO, /* copied by the hypervisor; one page is shared, for waking */
	/*
	 * Copied by the hypervisor; the two domains share nothing. POLLOUT may come too early: the
	 * send then fails with EAGAIN, and POLLOUT comes again. While msgd is away, the death of a
	 * peer's process shows only in sending to it.
	 */
	LIBMSG_TRANSPORT_ARGO_STRICT,
	LIBMSG_TRANSPORT_GRANT /* through memory that both domains write to */
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

/* ---- the context ------------------------------------------------------------------------- */

/*
 * Attaches this process to msgd. hv names the hypervisor:
 *   "xen"              Xen
 *   "sim:PATH"         the emulator; the domain is that of $XEN_SIM_DOMAIN, else Domain-0
 *   "sim:PATH#DOMAIN"  the emulator, as a process of DOMAIN
 *   NULL or empty      $MSG_HV if that is set and not empty, else Xen
 * flags: 0 or LIBMSG_ONE_THREAD.
 *
 * Blocks until msgd has answered, timeout_ms at most; negative: for ever, 0: not at all. The
 * emulator itself is waited for besides, 10 s at most.
 *
 * The caller owns the context: msg_ctx_close.
 *
 * Errors:
 *   EINVAL           hv or flags are not as above
 *   ENODEV           there is no Xen and no emulator, or libmsg was built without it
 *   EACCES           the devices of the hypervisor, or publishing to msgd, are not permitted
 *   EPROTONOSUPPORT  the emulator or msgd speaks another version
 *   EHOSTDOWN        no msgd answered in time, or the domain is quiesced
 *   EDQUOT           this domain, or this user in it, has as many contexts as it may have
 *   ENOBUFS          event channels or grants are used up
 *   ENOMEM           out of memory
 *   EMFILE           out of descriptors
 *   EINTR            a signal handler ran
 * with the emulator also:
 *   EPROTO           something else listens on PATH
 *   EHOSTUNREACH     there is no such domain
 *   EUSERS           the emulator has no place for another process
 *   EXDEV            the emulator runs in another PID namespace
 */
struct msg_ctx *msg_ctx_open(const char *hv, unsigned flags, int timeout_ms);

/*
 * Closes every socket of the context as msg_close does, but without lingering; detaches from msgd;
 * frees the context. ctx NULL: does nothing.
 */
void msg_ctx_close(struct msg_ctx *ctx);

/*
 * Returns a descriptor for poll, epoll and event loops: it is readable while msg_ctx_dispatch has
 * something to do.
 *
 * The context owns the descriptor: it must not be read, written or closed.
 *
 * Errors:
 *   EMFILE           out of descriptors
 *   ENOMEM           out of memory
 */
int msg_ctx_fd(struct msg_ctx *ctx);

/*
 * Does the work that is waiting, and writes up to n sockets that became ready, or still are, into
 * ret_events. Returns how many. If it returns n, there may be more.
 *
 * A socket is reported in each call until its messages, or the channels that wait, were taken. The
 * end of a channel is taken by a receive that returned 0, an error by a call that failed with it;
 * a receive with MSG_PEEK takes neither. POLLHUP after a half-close that was taken is reported
 * once. POLLOUT is reported once only, after a send that failed with EAGAIN, or sent a
 * part, can go on, or a non-blocking connect or listen is done; with POLLOUT in LIBMSG_EVENTS,
 * while there is room.
 *
 * Errors:
 *   EINVAL           n is less than 1
 */
int msg_ctx_dispatch(struct msg_ctx *ctx, struct msg_event *ret_events, int n);

/*
 * From now on fn gets a line, with a syslog priority, for each event that is worth a log. fn NULL:
 * no log. The line is valid during the call of fn. See "Hazards".
 */
void msg_ctx_set_log(struct msg_ctx *ctx, msg_log_fn *fn, void *arg);

/*
 * Demands a transport for later msg_connect calls of this context. A demand is met, or msg_connect
 * fails; it never falls back to another transport. LIBMSG_TRANSPORT_ANY (default) takes the
 * transport that policy demands, else Argo if both domains have it, else grants; it takes
 * argo-strict only if policy demands it.
 *
 * Errors:
 *   EINVAL           transport is no enum libmsg_transport
 */
int msg_ctx_set_transport(struct msg_ctx *ctx, int transport);

/*
 * Returns the number of the domain that this process runs in, as Xen has it now: a domain that was
 * saved comes back with another one.
 *
 * Errors: none but EBADFD.
 */
int msg_ctx_domid(struct msg_ctx *ctx);

/* ---- sockets ----------------------------------------------------------------------------- */

/*
 * Listens on `name` in this domain. type: LIBMSG_SEQPACKET, LIBMSG_STREAM or LIBMSG_DGRAM. backlog:
 * channels that may wait to be accepted, 1 to 4096; from 16 on half as many again, if somebody
 * connects again and again. flags: 0 or LIBMSG_NONBLOCK.
 *
 * Blocks until msgd has answered, without a limit. With LIBMSG_NONBLOCK it does not wait for a msgd
 * that is away, nor for longer than a second; it then returns a socket that has no answer yet:
 * POLLOUT says that the name is this socket's, POLLERR that it is refused, and LIBMSG_ERROR and
 * msg_accept say why. msg_poll for POLLOUT is the form with a time limit.
 *
 * The caller owns the socket: msg_close.
 *
 * Errors:
 *   EINVAL           name, backlog or flags are not as above
 *   EPROTONOSUPPORT  type is not as above, or msgd is too old for it
 *   EACCES           policy refuses the name
 *   EADDRINUSE       the name is taken in this domain
 *   EDQUOT           this domain has as many names or requests as it may have
 *   EHOSTDOWN        this context could not attach again after its domain was quiesced
 *   ECONNABORTED     msgd has let go of this context time and again
 *   ENOBUFS          likewise, or msgd is out of memory
 *   ENOMEM           out of memory
 *   EINTR            a signal handler ran
 */
struct msg_sock *msg_listen(
	struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags);

/*
 * Takes the next channel of a listener. flags: 0 or LIBMSG_NONBLOCK, for the new socket.
 *
 * Blocks until there is a channel, LIBMSG_RCVTIMEO of the listener at most, or until msg_shutdown
 * ends the listener.
 *
 * The caller owns the socket: msg_close.
 *
 * Errors:
 *   EAGAIN           no channel waits: the listener is non-blocking, or the time is over
 *   EINVAL           not a listener, or msg_shutdown ended it, or unknown flags
 *   ENOMEM           out of memory; the channel still waits
 *   EINTR            a signal handler ran
 * A listener may lose its name: to a msgd that was started again and refuses it, or because the
 * context could not attach again. msg_accept then fails with the error of msg_listen that says why.
 */
struct msg_sock *msg_accept(struct msg_sock *listener, unsigned flags);

/*
 * Connects to "NAME" or "DOMAIN/NAME", where DOMAIN is a domain's name, "domid:N" or "uuid:U". A
 * NAME may have an argument: NAME+ARG reaches the listener on NAME+ARG, else the one on NAME, which
 * msg_getpeer tells the whole.
 * type: the listener's. flags: 0, or LIBMSG_NONBLOCK and LIBMSG_WAIT_NAME.
 *
 * Blocks until the channel stands, timeout_ms at most, and then for the tenth of a second in which
 * msgd says what it waited for (msg_reason); negative: for ever. With 0 it fails, unless msgd's
 * answer is quicker than the call. With LIBMSG_NONBLOCK it returns at once: POLLOUT says that the
 * connect is done, and LIBMSG_ERROR says how. Until then the connect waits, for msgd too, until
 * timeout_ms is over (0: for ever, too), or msg_shutdown or msg_close gives it up.
 *
 * The caller owns the socket: msg_close.
 *
 * Errors:
 *   EINVAL           address or flags are not as above
 *   EPROTONOSUPPORT  type is none, or msgd is too old for it
 *   EACCES           policy refuses the connection
 *   EHOSTUNREACH     there is no such domain
 *   ENOENT           nobody listens on that name
 *   ENOTUNIQ         several domains have that name: give a DOMAIN
 *   EPROTOTYPE       the listener is of another type
 *   ECONNREFUSED     the listener's backlog is full, or it does not read what msgd tells it
 *   EOPNOTSUPP       a demanded transport is missing, or policy demands another one, or an older
 *                    libmsg does not know what policy or the name asks for
 *   EDQUOT           a quota of msgd is used up
 *   ENOBUFS          event channels, grants or, if Argo is demanded, a domain's rings are used up;
 *                    or the peer's domain holds on to the memory of links that ended
 *   ETIMEDOUT        the time is over
 *   EHOSTDOWN        the time is over while msgd is away or the domain is quiesced
 *   ECONNABORTED     msgd has let go of this context time and again
 *   ECONNRESET       the listener went away just then, also with LIBMSG_WAIT_NAME
 *   EMFILE           out of descriptors, of which a ring over Argo takes one
 *   ENOMEM           out of memory; if msgd had granted the channel, see "Hazards"
 *   EINTR            a signal handler ran
 */
struct msg_sock *msg_connect(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags, int timeout_ms);

/*
 * Watches for names. addr_glob is "NAME" or "DOMAIN/NAME", in both of which * stands for any
 * characters, or none, and ? for any one. Without DOMAIN it is any domain; a DOMAIN that begins
 * with "domid:" or "uuid:" is compared with that form of a domain's number or uuid, any other one
 * with its name.
 *
 * Each message of the socket is a text without a NUL: "+DOMAIN/NAME" says that there is such a
 * name, and "-DOMAIN/NAME" that there is none any more. The names that are there come first, then
 * an empty message, once, and then each change. All functions that receive work: msg_recv returns 0
 * for the empty message, and there is no other end. A text has 192 bytes at most. DOMAIN is
 * "domid:N" where a domain has no name that an address can say. If several domains have one name,
 * they count as one: the name is there while one of them has it.
 *
 * A name is there while a msg_connect of this context to it would be permitted and would find it;
 * of others a watch does not tell. So names come and go with policy and with the names of domains,
 * and this domain's own names are told of, too. The names of a quiesced domain are gone.
 *
 * Of names that come and go before they are received only the difference is kept: each name has one
 * message in the queue at most, and one that came and went none. The memory is bounded by the
 * number of names, of which one watch holds 8192, and by a half of the domain's memory in msgd:
 * then the watch ends. While msgd is away nothing comes; the next msgd's names are compared with
 * those that were told, and differences alone are news: a name whose application does not come back
 * within two seconds of it goes, and comes again with it.
 *
 * A watch sends nothing: msg_send and msg_flush fail with EINVAL. msg_shutdown with SHUT_RD or
 * SHUT_RDWR ends it. Once it has ended, for this reason or another, receives return what had come
 * before and then fail with the error, and msg_poll says POLLERR. LIBMSG_TYPE is
 * LIBMSG_SEQPACKET; LIBMSG_NONBLOCK_OPT, LIBMSG_RCVTIMEO and LIBMSG_EVENTS count.
 *
 * Blocks until msgd has answered, without a limit. The names themselves come later.
 *
 * The caller owns the socket: msg_close.
 *
 * Receives on a watch that has ended fail with these, too. Errors:
 *   EINVAL           addr_glob is not as above; msg_shutdown has ended the watch
 *   EPROTONOSUPPORT  msgd is too old for it
 *   EDQUOT           this domain has as many watches as it may have, or too many names fit
 *   EHOSTDOWN        this context could not attach again after its domain was quiesced
 *   ECONNABORTED     msgd has let go of this context time and again
 *   ENOBUFS          likewise, or msgd is out of memory
 *   ENOMEM           out of memory
 *   EINTR            a signal handler ran
 */
struct msg_sock *msg_watch(struct msg_ctx *ctx, const char *addr_glob);

/*
 * Ends one direction of a channel, or both. SHUT_WR: the peer reads the messages that were sent,
 * then 0. SHUT_RD: nothing more is received here than had arrived; the peer is not told, and the
 * messages that it sends are thrown away. SHUT_RDWR: both. After the peer has closed there is
 * nothing to shut down, and the call returns 0.
 *
 * With SHUT_RD and SHUT_RDWR a listener gives its name back: msg_accept takes what waits, then
 * fails with EINVAL. A connect that is not done is given up: LIBMSG_ERROR is ECONNABORTED.
 *
 * Each call of another thread that sleeps for what is ended returns at once, as it would if it
 * began now, but for a msg_shutdown, whose LIBMSG_LINGER goes on: receives and sends, msg_accept,
 * and msg_poll for POLLIN, POLLOUT or a connect. A send that had begun with a message returns its
 * length, and the message comes before the end.
 *
 * With SHUT_WR a blocking socket blocks until the ring has taken all sent messages, LIBMSG_LINGER
 * at most; a signal does not interrupt it. Later calls on the context send the rest, and send the
 * messages of a non-blocking socket.
 *
 * Errors:
 *   EINVAL           how is none of the three
 *   ENOTCONN         no channel stands, the channel is lost, or the listener or connect has failed
 */
int msg_shutdown(struct msg_sock *sock, int how);

/*
 * Frees the socket, also when it returns -1. sock NULL: does nothing. The name of a listener is
 * free when a blocking socket's call returns, if msgd answers within LIBMSG_LINGER.
 *
 * A peer of a socket with unread data sees ECONNRESET, as with sockets; the data is thrown away.
 *
 * A blocking socket blocks until the ring has taken all sent messages, LIBMSG_LINGER at most; a
 * signal does not interrupt it. The rest is lost then, and the peer sees ECONNRESET. Later calls on
 * the context send the rest of a non-blocking socket.
 *
 * Errors:
 *   ETIMEDOUT        the peer did not take all that was sent: data was lost
 *   ECONNRESET       the channel broke before the ring had taken all that was sent: data was lost
 */
int msg_close(struct msg_sock *sock);

/*
 * Turns a channel's end into a descriptor, for programs and libraries that need one. Returns one
 * end of a pair of AF_UNIX sockets: SOCK_STREAM for LIBMSG_STREAM, SOCK_SEQPACKET for
 * LIBMSG_SEQPACKET. All that is written to it goes to the peer, and all that the peer sends can be
 * read from it. It blocks, unless fcntl(2) says otherwise, and is closed on exec, unless it is
 * duplicated.
 *
 * A thread of libmsg moves the bytes from now on: the first call for a context starts it, and
 * msg_ctx_close ends it. It takes no signals. It also does all other work that waits in the
 * context, so that "On calling nothing" is no hazard while it is there. The log function may be
 * called in it.
 *
 * The caller owns the descriptor: close(2). The socket is libmsg's when the call has succeeded, and
 * must not be used any more, not even by msg_close.
 *
 * Ends: shutdown(2) and close(2) of the descriptor do what msg_shutdown and msg_close do. The
 * peer's doings are seen as those of a local peer. A channel that is cut, because its process or
 * this one died, or called msg_ctx_close, is seen as ECONNRESET, and never as an end (of a
 * SOCK_STREAM after all that had come; of a SOCK_SEQPACKET before that). The kernel says ECONNRESET
 * once, to a read or a write, whichever comes first. A program that makes SO_SNDBUF smaller than it
 * was may wait for a minute, once, when it has sent as much, and the death of this process then
 * looks like an end. The peer cannot tell a program that died from one that closed its end.
 *
 * Messages have 65,536 bytes at most: LIBMSG_MAXMSG becomes that, if it was more. A longer one that
 * is written to the descriptor, or was on its way, cuts the channel. An empty one cannot be told
 * from the end where it is read.
 *
 * After a failure the socket is as before.
 *
 * Errors:
 *   ENOTCONN         no channel stands
 *   EINVAL           a listener or a watch, or the context is LIBMSG_ONE_THREAD
 *   EOPNOTSUPP       of LIBMSG_DGRAM
 *   EAGAIN           no thread can be started
 *   EMFILE           out of descriptors, or of watches that epoll(7) lets this user have
 *   ENOMEM           out of memory
 */
int msg_sock_fd(struct msg_sock *sock);

/*
 * The same for a pair of AF_UNIX sockets that the caller has made by socketpair(2), of the type
 * that msg_sock_fd has: for a program whose descriptor had to be there before the channel. fd is
 * the end that libmsg serves; the program has the other one. A byte, or for LIBMSG_SEQPACKET a
 * message of one, must have been written at the other end and lie unread: it stands for the
 * beginning, and does not go to the peer. Returns 0.
 *
 * fd is libmsg's when the call has succeeded, with the socket. After a failure both are as before.
 *
 * Errors: those of msg_sock_fd, and
 *   EINVAL           fd is not as above
 */
int msg_sock_serve(struct msg_sock *sock, int fd);

/*
 * For a process that is about to exit: waits until all that was written to the descriptors of
 * msg_sock_fd and msg_sock_serve has been sent to the peers, and the ends of those that were closed
 * or shut down. Bytes that are written meanwhile are waited for, too.
 *
 * Blocks for as long as the peers take some, and gives up when nothing has moved for timeout_ms;
 * negative: never. A signal does not interrupt it.
 *
 * Errors:
 *   ETIMEDOUT        something was not sent
 */
int msg_ctx_drain(struct msg_ctx *ctx, int timeout_ms);

/* ---- messages ---------------------------------------------------------------------------- */

/*
 * Sends one message of len bytes (0 is legal), whole or not at all. Returns len. flags:
 *   MSG_DONTWAIT     does not block
 *   MSG_MORE         the message may be held back until a send without MSG_MORE, a flush, or the
 *                    ring's filling: this batches notifications
 *   MSG_NOSIGNAL     has no effect: no signal is ever raised
 *   MSG_EOR          has no effect: each message is a record
 *
 * Of LIBMSG_STREAM: sends len bytes, or as many as found room if the call does not block, the time
 * is over, a signal handler runs or the channel ends meanwhile. Returns how many, at most 2 GiB
 * less 4096; 0 bytes are nothing. Of LIBMSG_DGRAM: a message has 65,536 bytes at most, or less
 * where msgd's configuration has smaller rings. It never blocks, and returns len also if the
 * message was dropped: see LIBMSG_DROPS.
 *
 * Blocks until there is room for the message, LIBMSG_SNDTIMEO at most. If the time is over, or a
 * signal handler runs, when a part of the message is in the ring, the message is sent: later calls
 * on the context send its rest.
 *
 * Errors:
 *   EAGAIN           no room: the socket or the call is non-blocking, or the time is over
 *   EMSGSIZE         longer than LIBMSG_SNDBUF, than the peer's limit, or than a datagram may be
 *   EPIPE            the peer closed the channel, or this end was shut down, or policy lets it
 *                    receive alone
 *   ECONNRESET       the channel is lost; every later send and receive fails so, too
 *   ENOTCONN         a connect that is not done, or failed
 *   EINVAL           unknown flags, or a listener
 *   ENOMEM           out of memory in the middle of a message: the channel is lost; every later
 *                    send and receive fails so, too
 *   EINTR            a signal handler ran; nothing was sent
 */
ssize_t msg_send(struct msg_sock *sock, const void *data, size_t len, int flags);

/*
 * Receives one message into len bytes. Returns the message's length, or 0 at the end of the
 * channel. An empty message returns 0 as well: msg_recvmsg tells the two apart by MSG_EOR. Of a
 * longer message the first len bytes are received, and the rest is thrown away. flags:
 *   MSG_DONTWAIT     does not block
 *   MSG_PEEK         leaves the message to be received again
 *   MSG_TRUNC        returns the real length of a longer message
 *   MSG_WAITALL      of LIBMSG_STREAM: waits for all len bytes; less comes only if the stream ends,
 *                    the time is over or a signal handler runs, or with MSG_PEEK
 *   MSG_NOSIGNAL and MSG_CMSG_CLOEXEC have no effect: no signal is raised, no descriptors come
 *
 * Of LIBMSG_STREAM: receives the bytes that are there, len at most; 0 is the end, which comes after
 * every byte that was sent. A stream that was cut ends in an error, and never in 0.
 *
 * Blocks until there is a message or the end, LIBMSG_RCVTIMEO at most.
 *
 * Errors:
 *   EAGAIN           no message: the socket or the call is non-blocking, or the time is over
 *   ECONNRESET       the channel is lost, and the whole messages that had arrived were received;
 *                    every later send and receive fails so, too
 *   ENOTCONN         a connect that is not done, or failed
 *   EINVAL           unknown flags, or a listener
 *   ENOMEM           out of memory in the middle of a message, whose rest the call no longer
 *                    waits for: the channel is lost; every later send and receive fails so, too
 *   EINTR            a signal handler ran; nothing was received
 */
ssize_t msg_recv(struct msg_sock *sock, void *data, size_t len, int flags);

/*
 * msg_send of one message that is scattered over message->msg_iov. msg_name and msg_control must be
 * empty.
 *
 * Errors: those of msg_send, and
 *   EINVAL           msg_name or msg_control is not empty, msg_iovlen is over IOV_MAX, or the
 *                    lengths add up to more than SSIZE_MAX
 */
ssize_t msg_sendmsg(struct msg_sock *sock, const struct msghdr *message, int flags);

/*
 * msg_recv of one message into message->msg_iov. msg_name and msg_control must be empty. msg_flags
 * gets MSG_EOR with each message, not at the end of the channel nor with bytes of a stream, and
 * MSG_TRUNC if the message was cut.
 *
 * Errors: those of msg_recv, and EINVAL as of msg_sendmsg.
 */
ssize_t msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags);

/*
 * msg_sendmsg and msg_recvmsg of up to n messages, 1024 at most, with one notification for all that
 * are sent. Each message's msg_len gets its length. They return how many messages they sent or
 * received; if the first one fails, its error, and else no error. msg_recvmmsg returns 0 at the end
 * of the channel, and then does not count it.
 *
 * msg_sendmmsg blocks as n calls of msg_sendmsg do. msg_recvmmsg blocks until n messages are there,
 * timeout_ms at most (negative: for ever, 0: not at all), and waits for each for LIBMSG_RCVTIMEO at
 * most; with MSG_WAITFORONE, until one is.
 *
 * Errors: those of msg_sendmsg and msg_recvmsg.
 */
int msg_sendmmsg(struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags);
int msg_recvmmsg(
	struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags, int timeout_ms);

/*
 * Receives a message, or what is there of a stream, without copying it again. Returns its length;
 * *ret_data are its bytes. At the end of the channel it returns 0 with *ret_buf NULL. flags: 0 or
 * MSG_DONTWAIT.
 *
 * Blocks as msg_recv does.
 *
 * The caller owns *ret_buf: msg_buf_free. *ret_data is valid until then, also after the socket and
 * the context were closed.
 *
 * Errors: those of msg_recv.
 */
ssize_t msg_recv_take(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf);

/* Frees a message of msg_recv_take. buf NULL: does nothing. */
void msg_buf_free(struct msg_buf *buf);

/*
 * Shows the peer everything that MSG_MORE or LIBMSG_CORK held back.
 *
 * Errors:
 *   ENOTCONN         a connect that is not done, or failed
 *   ECONNRESET       the channel is lost
 *   EINVAL           a listener
 */
int msg_flush(struct msg_sock *sock);

/*
 * poll(2) for sockets of one context. Returns how many entries have revents, or 0 when the time is
 * over. POLLHUP and POLLERR are reported unasked; POLLRDHUP is reported with POLLIN.
 *
 * Blocks until a socket is ready, timeout_ms at most; negative: for ever, 0: not at all.
 *
 * Errors:
 *   EINVAL           no socket, or sockets of several contexts
 *   EINTR            a signal handler ran
 */
int msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms);

/* ---- properties -------------------------------------------------------------------------- */

/*
 * Says who is at the other end. The caller sets ret_peer->size before; that many bytes are written.
 *
 * Errors:
 *   ENOTCONN         a listener, or a connect that is not done or failed
 *   EINVAL           size is not sizeof(struct msg_peer), of this or an earlier version
 */
int msg_getpeer(struct msg_sock *sock, struct msg_peer *ret_peer);

/*
 * Sets and reads an option, see enum libmsg_option.
 *
 * Errors:
 *   EINVAL           the option is unknown, or the value is out of range
 *   ENOPROTOOPT      the option can only be read, or is not for this socket
 *   ENOTCONN         no channel stands, and the option is LIBMSG_TRANSPORT
 */
int msg_setopt(struct msg_sock *sock, int option, int64_t value);
int msg_getopt(struct msg_sock *sock, int option, int64_t *ret_value);

/*
 * A pointer of the application's own; libmsg does not look at it. NULL at first, and in a forked
 * child.
 */
void msg_set_userdata(struct msg_sock *sock, void *userdata);
void *msg_userdata(struct msg_sock *sock);

/*
 * Says why the last failing call of this thread failed. Never NULL. The string is valid until the
 * thread's next call of libmsg.
 */
const char *msg_reason(void);

/* The version of the library that runs: "0.1.0". */
const char *msg_version(void);

#ifdef __cplusplus
}
#endif

#endif
