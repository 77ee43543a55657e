/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The objects behind struct msg_sock: listeners with their backlogs, ends of channels, and watches.
 * A socket has a kind and a state (how far it has come). Nothing here talks to msgd or waits.
 *
 * Included by: libmsg/socket, libmsg/control.
 */
#ifndef LIBMSG_SOCKET_SOCK_H
#define LIBMSG_SOCKET_SOCK_H

#include "libmsg/channel/channel.h"

struct msg_ctx;
struct msg_sock;
struct names;
struct request;

TAILQ_HEAD(sock_list, msg_sock);

/* A socket's events are for the application's event loop, or for the thread of msg_sock_fd. */
enum sock_loop { LOOP_OWN, LOOP_FDS, N_LOOPS };

/* The sockets of one application. */
struct socks {
	struct msg_ctx *ctx;		 /* borrowed: what each socket belongs to */
	struct pool *pool;		 /* borrowed */
	struct sock_list all;		 /* owned */
	struct sock_list ready[N_LOOPS]; /* may have events for that loop; borrowed */
	uint64_t n_polled;	    /* changes that a msg_poll waits for: it is to look again */
	struct msg_sock *listeners; /* hash by handle; borrowed */
	struct msg_sock *watches;   /* likewise */
	uint32_t last_handle;
	struct sock_list timed;	  /* that have a deadline, the first one first; borrowed */
	struct msg_sock *refused; /* the first whose send found no room; borrowed, or NULL */
};

enum sock_kind { SOCK_LISTENER = 1, SOCK_CHANNEL, SOCK_WATCH };

enum sock_state {
	SOCK_PENDING = 1, /* msgd has not answered */
	SOCK_OPEN,
	SOCK_FAILED, /* refused, or the name or the watch was lost: error and reason say why */
};

struct msg_sock {
	struct socks *socks; /* borrowed */
	enum sock_kind kind;
	enum channel_type type;
	enum sock_state state; /* changed by sock_set_state alone */
	bool nonblock;
	bool cork;
	int64_t rcvtimeo_ms, sndtimeo_ms, linger_ms; /* -1: for ever */
	uint32_t rcvbuf, sndbuf, maxmsg;	     /* bytes */
	void *userdata;
	unsigned n_asleep;     /* calls that sleep for it */
	const char *asleep_in; /* static: the latest of them */
	bool closing;
	int error;		  /* positive errno: pending, for LIBMSG_ERROR */
	char reason[REASON_SIZE]; /* why it failed */
	struct request *request;  /* borrowed: while PENDING */
	uint64_t deadline_ns;	  /* while PENDING, without a call that waits; UINT64_MAX: none */
	bool given_up;		  /* while PENDING: time is over, and msgd is to say what lacked */
	bool awaited;		  /* a call waits for it: the application does not have it yet */
	bool error_told; /* FAILED, and a call has said so: no event tells of it any more */
	/* listeners */
	uint32_t handle; /* key in socks->listeners; of a watch: in socks->watches */
	int backlog;
	char name[NAME_SIZE];
	struct channel_list pending; /* owned: channels to be accepted, n_pending of them */
	int n_pending;
	int n_ahead; /* of these, whose numbers msgd gave ahead */
	/* watches */
	struct names *names; /* owned */
	char pattern[ADDRESS_SIZE];
	/* channels */
	struct channel *channel; /* NULL: none yet; for its owner see channel.h */
	enum sock_loop loop;
	bool ready;	      /* in its loop's socks->ready */
	bool out_edge;	      /* POLLOUT is owed to an event loop */
	short interest;	      /* LIBMSG_EVENTS: POLLIN, POLLOUT */
	uint32_t n_polls;     /* entries of msg_poll calls that have it ... */
	uint32_t n_polls_out; /* ... and of these: for POLLOUT */
	bool end_told;	      /* without POLLIN in it: the end was told of once */
	bool reset;	      /* LIBMSG_RESET */
	bool capture;	      /* LIBMSG_CAPTURE; of a listener: of the channels that come */
	TAILQ_ENTRY(msg_sock) entry_ready;
	TAILQ_ENTRY(msg_sock) entry_timed; /* in socks->timed, if it has a deadline */
	TAILQ_ENTRY(msg_sock) entry;
	UT_hash_handle hh;
};

void socks_init(struct socks *socks, struct msg_ctx *ctx, struct pool *pool);

/* A socket with the default options. NULL: out of memory. */
struct msg_sock *sock_new(
	struct socks *socks, enum sock_kind kind, enum sock_state state, enum channel_type type);
/* Closes what waits in its backlog. It has no request and no channel any more. */
void sock_free(struct msg_sock *sock);
void sock_set_state(struct msg_sock *sock, enum sock_state state);
/* It will not be what it was to become, or stops being it. error: a positive errno. */
void sock_fail(struct msg_sock *sock, int error, const char *reason);
/* When it is to be looked at, unless it has its answer before; UINT64_MAX: never. */
void sock_set_deadline(struct msg_sock *sock, uint64_t deadline_ns);
/* The first of all; UINT64_MAX: none. */
static inline uint64_t socks_deadline(const struct socks *socks)
{
	const struct msg_sock *first = TAILQ_FIRST(&socks->timed);

	return first ? first->deadline_ns : UINT64_MAX;
}
/* It may have become ready. */
void sock_changed(struct msg_sock *sock);
/* Its events are for this loop from now on. */
void sock_set_loop(struct msg_sock *sock, enum sock_loop loop);
/* Of a watch: a receive has something. */
bool sock_has_news(const struct msg_sock *sock);
/* As channel_events. */
short sock_events(const struct msg_sock *sock, short asked);

/* Gives a listener its handle and its name. -ENOMEM. */
int sock_set_name(struct msg_sock *listener, const char *name, int backlog);
struct msg_sock *sock_find_listener(const struct socks *socks, uint32_t handle);
/* Gives a watch its handle and its pattern, which fits. -ENOMEM. */
int sock_set_pattern(struct msg_sock *watch, const char *pattern);
struct msg_sock *sock_find_watch(const struct socks *socks, uint32_t handle);
/* A listener's channels that wait to be accepted. */
void backlog_add(struct msg_sock *listener, struct channel *channel);
void backlog_remove(struct channel *channel);

/* The channel is this socket's from now on. */
void sock_set_channel(struct msg_sock *sock, struct channel *channel);
/* How an application that leaves now leaves: RESET if it has not read all that came. */
enum close_reason sock_close_reason(const struct msg_sock *sock);
/* The application lets go of its channel, if it has one. */
void sock_close_channel(struct msg_sock *sock, enum close_reason reason);

#endif
