/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libmsg's files share. Functions here return 0 or a negative errno; only the public functions
 * (sock.c, io.c, poll.c, ctx.c) speak -1 and errno. Unless said otherwise a function expects the
 * context's lock and never blocks.
 */
#ifndef LIBMSG_PRIVATE_H
#define LIBMSG_PRIVATE_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <uthash.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "hv/hv.h"
#include "libmsg/libmsg.h"
#include "proto/control.h"
#include "proto/doorbell.h"
#include "proto/frame.h"
#include "proto/grant-ring.h"
#include "proto/limits.h"
#include "proto/record.h"

#define PUBLIC __attribute__((visibility("default")))

/* Unread data that all peers of a context may make it hold. Past it, the link with most is reset.
 */
#define CONTEXT_BUDGET (256U << 20)
/* A balance past this is a violation (PROTOCOL.md, section 4). */
#define CREDIT_BALANCE_MAX (1U << 31)
/* Where time limits are "never" and "not at all". */
#define DEADLINE_NEVER UINT64_MAX
#define DEADLINE_NOW   0

/* A fragment below this is not worth a frame while more of its message is to come. */
#define FRAGMENT_MIN 4096U

/* ---- messages in private memory ---------------------------------------------------- */

struct msg_buf {
	STAILQ_ENTRY(msg_buf) entry;
	uint32_t len;  /* bytes of the message */
	uint32_t done; /* bytes received, or sent, so far */
	uint32_t cost; /* credit that it holds */
	uint8_t data[];
};

STAILQ_HEAD(buf_queue, msg_buf);

/* Reads through scattered memory. */
struct iov_cursor {
	const struct iovec *iov;
	size_t n;
	size_t off; /* in iov[0] */
};

static inline void cursor_init(struct iov_cursor *cursor, const struct iovec *iov, size_t n)
{
	*cursor = (struct iov_cursor){.iov = iov, .n = n};
}

/* Copies len bytes to (from) dst and moves on; len is within what is left. */
void cursor_read(struct iov_cursor *cursor, void *dst, size_t len);
void cursor_write(struct iov_cursor *cursor, const void *src, size_t len);
/* The next piece, at most len bytes, contiguous; moves on. */
static inline void *cursor_next(struct iov_cursor *cursor, size_t len, size_t *ret_len)
{
	size_t left;
	void *piece;

	while (cursor->off == cursor->iov->iov_len && cursor->n > 1) {
		cursor->iov++;
		cursor->n--;
		cursor->off = 0;
	}
	left = cursor->iov->iov_len - cursor->off;
	piece = (uint8_t *)cursor->iov->iov_base + cursor->off;
	*ret_len = left < len ? left : len;
	cursor->off += *ret_len;
	return piece;
}

/* ---- links --------------------------------------------------------------------------- */

enum link_state {
	LINK_MAKING = 1, /* offered or bound; waits for the other end */
	LINK_UP,
	LINK_DEAD, /* no more frames; waits to be freed */
};

struct link;

/* One kind of payload ring. link-io.c drives it; no slot blocks. */
struct ring_ops {
	enum transport transport;
	uint32_t frame_max; /* payload bytes that are worth one frame at most */
	/*
	 * Payload bytes that one more frame may have now, looking at the other side's counter only
	 * if fewer than `want` are known to fit. Negative: no room at all (-EAGAIN), or a
	 * violation.
	 */
	int64_t (*room)(struct link *link, uint32_t want);
	/*
	 * Appends a frame with as much as there is room for of frame->len bytes of payload, which
	 * it takes from the cursor; frame->len becomes what went in, and a frame that was cut is
	 * not FRAME_LAST. With `more` it may be kept back until push. 0: the other side sees it. 1:
	 * it is kept back. -EAGAIN: there is no room for `least` bytes; nothing was appended, the
	 * cursor did not move. -EBADMSG: violation. Else: the other end's ring is gone.
	 */
	int (*put)(struct link *link, struct frame *frame, uint32_t least,
		struct iov_cursor *payload, bool more);
	/* Makes what put kept back visible to the other side. -EAGAIN: try again later. */
	int (*push)(struct link *link);
	/* Reads the next frame's header. 1; 0: none; negative: violation. */
	int (*peek)(struct link *link, struct frame *ret_frame);
	/* Copies out of the payload of the frame last peeked. */
	void (*read)(struct link *link, uint32_t off, void *dst, uint32_t len);
	/* Moves past the frame last peeked, and adds what it took to link->unreleased. */
	void (*next)(struct link *link);
	/* Gives that room back. */
	void (*release)(struct link *link);
	/* Whether there is something that was not peeked at yet. */
	bool (*pending)(struct link *link);
	/*
	 * The word that changes when the other side publishes, and what it was when all had been
	 * peeked at: to be watched without the lock.
	 */
	const _Atomic uint32_t *(*watch)(struct link *link, uint32_t *ret_seen);
	/* Releases the ring's own resources. */
	void (*free)(struct link *link);
};

extern const struct ring_ops ring_grant_ops, ring_argo_ops;

struct argo_end {
	struct hv_ring *ring;	/* owned: this end's receive ring */
	uint32_t peer_aport;	/* whose messages are taken in */
	uint32_t peer_len;	/* bytes of the other end's receive ring */
	uint32_t rx;		/* offset of the message being read, or of the next */
	uint32_t message_len;	/* payload bytes of the message being read; 0: none */
	uint32_t message_off;	/* where its payload starts in the ring */
	uint32_t inner;		/* offset in its payload of the frame being read */
	uint32_t consumed;	/* bytes moved past, of messages from the peer */
	uint32_t produced;	/* bytes sent */
	uint32_t peer_consumed; /* as last read and checked */
	/* 0, or: the hypervisor found no room; not before this time, and then retry_links, which
	 * alone sets it back: somebody may be blocked though others find room by now. */
	uint64_t retry_ns;
	/* argo-strict: the hypervisor found no room, and says when there is; see link-bell.c. */
	bool full;
	uint8_t *stage;	 /* owned: frames kept back by `more`; see stage_size */
	uint32_t staged; /* bytes in it */
};

struct grant_end {
	struct grant_ring tx, rx;
	struct hv_share *share; /* owned, creator's: both rings */
	struct hv_map *map;	/* owned, binder's: both rings */
};

struct channel;
TAILQ_HEAD(channel_list, channel);

struct link {
	struct msg_ctx *ctx; /* borrowed */
	uint32_t end;	     /* key in ctx->links */
	uint32_t epoch;	     /* of the msgd that made it */
	uint64_t uid;
	uint16_t peer_domid;
	uint8_t role; /* 0 creator, 1 binder: the index in the doorbell page */
	bool gone;    /* the hypervisor has taken its ring away: to be killed */
	enum transport transport;
	enum link_state state;
	const struct ring_ops *ops;
	uint32_t port; /* key in ctx->links_by_port; 0: none yet, or argo-strict */
	/* Borrowed from door_share or door_map. NULL: argo-strict shares none. */
	struct doorbell_page *page;
	struct doorbell_end *me, *them;
	struct hv_share *door_share; /* owned, creator's */
	struct hv_map *door_map;     /* owned, binder's */
	struct hv_share *refs_share; /* owned, creator's, until LINK_UP */
	uint32_t ring_len;	     /* bytes of one ring */
	uint32_t frame_rest;	     /* bytes of the frame being read, after its header, padded */
	struct frame frame;	     /* the frame last peeked */
	bool armed;		     /* an event comes with the next frame, or is on its way */
	bool busy;		     /* frames are being taken in: do not recurse */
	bool dying;		     /* to be killed when that is done */
	bool broken;	      /* the other side broke the protocol: nothing more is taken in */
	const char *violated; /* static; NULL: not. To be reset when that is done */
	uint32_t sync;	      /* the SYNC that it waits for before it goes on; 0: none */
	bool synced;	      /* its answer came: an unknown number is a violation now */
	bool unpushed;	      /* frames were put and kept back */
	bool bell_due;	      /* and the other end must not sleep over what was put */
	uint32_t unreleased;  /* bytes moved past and not given back yet */
	uint32_t untold;      /* bytes of it since the sender was last woken */
	union {
		struct grant_end grant;
		struct argo_end argo;
	};
	struct channel *channels;    /* hash by number; owned */
	struct channel *last;	     /* the channel of the last frame; borrowed */
	struct channel_list blocked; /* channels that have something to send and lack room */
	TAILQ_ENTRY(link) unarmed;   /* in ctx->unarmed, while !armed */
	TAILQ_ENTRY(link) grave;     /* in ctx->graveyard, when freed */
	UT_hash_handle hh, hh_port;
};

/* link.c: the life of a link, as msgd directs it. */
void link_create(struct msg_ctx *ctx, const struct control_link_create *request);
void link_bind(struct msg_ctx *ctx, const struct control_link_bind *request);
void link_up(struct link *link, uint32_t peer_aport);
struct link *link_find(struct msg_ctx *ctx, uint32_t end);
struct link *link_find_port(struct msg_ctx *ctx, uint32_t port);
struct link *link_find_ring(struct msg_ctx *ctx, const struct hv_ring *ring);
/* The hypervisor has taken its ring away: tells msgd, then kills the link. */
void link_lost(struct link *link);
/* Resets every channel (after what lies in the ring was taken in, if `drain`) and frees it. */
void link_kill(struct link *link, bool drain, const char *reason);
/*
 * The other side broke the protocol: tells msgd, then kills the link, once nobody is inside
 * link_take. reason: a static string.
 */
void link_violation(struct link *link, const char *reason);
void link_bury(struct msg_ctx *ctx); /* frees the graveyard */
void link_set_armed(struct link *link, bool armed);

/* link-bell.c: how two ends wake each other. */
/* Frames were put: the other side must not sleep over them. */
void link_bell_frames(struct link *link);
/* Room was given back: whoever waits for it over there is to know. */
void link_bell_room(struct link *link);
/* From now on an event comes when room appears that is not there now. */
void link_arm_room(struct link *link);
/*
 * Asks for an event when a frame comes. 0; 1: there is a frame already, and no event was asked for.
 * Negative: the ring cannot be watched, and nothing will ever come.
 */
int link_arm(struct link *link);
/* The link is not armed, so that no event tells of room: sending is to try anew. */
void link_look_for_room(struct link *link);

/* link-io.c: frames in and out. */
/*
 * Takes in frames until the ring is empty or, if `until` is given, it has a whole message or its
 * reader is served. The link may be dead afterwards.
 */
void link_take(struct link *link, struct channel *until);
/* The answer to its SYNC came. */
void link_synced(struct msg_ctx *ctx, uint32_t request);
/* Sends what is kept back for lack of room. */
void link_flush(struct link *link);
/* push, then an event if one is due and the other side sleeps. */
void link_push(struct link *link);
/* Gives room back; an event if the other side waits for it and a half is free, or `all`. */
void link_release(struct link *link, bool all);
/* Asks for an event when room for a frame of `want` bytes appears. True: it already has. */
bool link_want_room(struct link *link, uint32_t want);
/* The least payload that is worth a frame, of a message of which `rest` bytes are left. */
static inline uint32_t link_min_fragment(const struct link *link, uint32_t rest)
{
	/* A waiting sender is woken when a half of the ring is free, or all. */
	return min_u32(rest, min_u32(FRAGMENT_MIN, link->ring_len / 4 - 2 * FRAME_HEADER_SIZE));
}
/* What ring_ops.put said, and was not -EAGAIN: the link ends. */
void link_put_failed(struct link *link, int error);
/* One frame without payload. -EAGAIN: no room. */
int link_put_bare(struct link *link, uint32_t channel, enum frame_type type, uint32_t arg);

/* ---- channels --------------------------------------------------------------------------- */

enum channel_state {
	CHANNEL_OPEN = 1,
	CHANNEL_CLOSING, /* no socket any more: sends what is left, then CLOSE; waits for CLOSE */
	CHANNEL_DEAD,	 /* the link is gone */
};

/* A thread in a receive: where the next message may go without a copy in between. */
struct reader {
	const struct iovec *iov;
	size_t n_iov;
	size_t size;  /* bytes of room */
	uint32_t len; /* the message's length, when done */
	bool done;
};

struct channel {
	struct link *link;	   /* borrowed; NULL when dead */
	struct msg_ctx *ctx;	   /* borrowed */
	struct msg_sock *sock;	   /* borrowed: the socket, or NULL: not accepted, or closed */
	struct msg_sock *listener; /* borrowed: in its backlog; NULL otherwise */
	uint32_t number;	   /* key in link->channels */
	uint32_t listener_handle;  /* of the listener that it came by, or 0: this end connected */
	enum channel_state state;
	char name[NAME_SIZE];
	struct control_peer peer;
	enum transport transport; /* its link's, also when that is gone */
	int error;		  /* positive errno, sticky: ECONNRESET */
	char *why;		  /* owned: a sentence about it; or NULL */

	/* receiving */
	struct buf_queue in;	 /* whole messages */
	struct msg_buf *partial; /* owned: a message of which frames are missing */
	struct reader *reader;	 /* borrowed: the thread that takes the next message */
	uint32_t direct_len;	 /* a message goes straight to the reader: its length ... */
	uint32_t direct_done;	 /* ... and what of it is there; direct says that one does */
	struct iov_cursor direct_cursor;
	uint32_t direct_cost;
	bool direct;
	uint32_t rx_window;   /* credit that the other end still has */
	uint32_t rx_untold;   /* of that: given without waking it, so that it may not know */
	uint32_t rx_held;     /* credit in messages that nobody has read */
	uint32_t rx_limit;    /* what both may add up to; grows */
	uint32_t rx_max;      /* RCVBUF: what rx_limit may grow to */
	uint32_t maxmsg;      /* longest message asked for */
	uint32_t maxmsg_told; /* the highest limit that the other end was ever told */
	bool limit_due;	      /* a LIMIT frame waits for room */
	bool rx_closed;	      /* CLOSE came */
	bool rx_shut;	      /* SHUTDOWN came: no more data */
	bool rx_ignore;	      /* SHUT_RD here */
	bool rx_end_read;     /* a receive has returned 0 */
	bool credit_due;      /* a CREDIT frame waits for room */

	/* sending */
	uint32_t tx_credit;
	uint32_t tx_maxmsg;   /* the other end's */
	struct buf_queue out; /* messages accepted and not, or not wholly, sent */
	uint32_t out_bytes;
	bool tx_open;	   /* false: a listener's end that has heard nothing yet may not send */
	bool tx_shut;	   /* SHUT_WR here */
	bool tx_shut_sent; /* SHUTDOWN went out */
	bool tx_closed;	   /* CLOSE went out */
	bool tx_partial;   /* a blocking sender is between the frames of one message */
	bool tx_inside;	   /* the last frame was not the last of its message */
	enum close_reason close_reason;
	bool blocked; /* in link->blocked */

	TAILQ_ENTRY(channel) entry_blocked;
	TAILQ_ENTRY(channel) entry_backlog;
	UT_hash_handle hh;
};

struct channel *channel_new(struct link *link, uint32_t number, bool listener_end);
void channel_free(struct channel *channel); /* also out of its link */
struct channel *channel_find(struct link *link, uint32_t number);
/* Takes in the frame that link->ops->peek found. Negative: violation, named in ret_reason. */
int channel_frame(struct channel *channel, const struct frame *frame, const char **ret_reason);
/* Both ends have said CLOSE: tells msgd and frees it. */
void channel_closed(struct channel *channel);
/* The credit that is due to the other end, 0: not worth a frame. */
uint32_t channel_credit(const struct channel *channel);
/* Puts a CREDIT frame. wake: the other end is not to sleep over it. As link_put_bare. */
int channel_put_credit(struct channel *channel, uint32_t bytes, bool wake);
/* A message was read: its credit goes back, and the window grows. */
void channel_read_done(struct channel *channel, uint32_t cost);
/* Sends what waits: queued messages, credit, SHUTDOWN, CLOSE. 0: nothing is left; -EAGAIN. */
int channel_flush(struct channel *channel);
/*
 * Sends frames of a message of `len` bytes, of which *done were sent; stops at its end (0) or
 * for lack of room or credit (-EAGAIN). more: see ring_ops.put.
 */
int channel_send(struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t *done,
	bool more);
/* Whether a message may begin now, but for credit and room. */
static inline bool channel_may_send(const struct channel *channel)
{
	return channel->link && channel->link->state == LINK_UP && channel->tx_open &&
	       !channel->tx_partial && STAILQ_EMPTY(&channel->out);
}
/* Whether a send of len bytes would be accepted now; ret_want: payload for which room lacks. */
bool channel_can_send(struct channel *channel, uint32_t len, uint32_t *ret_want);
/* Tells the other end how long a message may be. */
void channel_set_maxmsg(struct channel *channel, uint32_t maxmsg);
void channel_block(struct channel *channel); /* puts it into link->blocked */
void channel_close(struct channel *channel, enum close_reason reason);
void channel_reset(struct channel *channel, int error); /* the link is gone */
/* The reader leaves: what is being written straight into its memory moves to private memory. */
int channel_leave_reader(struct channel *channel);
/* SHUT_RD: a message under way is thrown away, and so is all that comes. */
void channel_ignore(struct channel *channel);
short channel_events(struct channel *channel);
/* Something that a waiting thread or an event loop may want to know has changed. */
void channel_changed(struct channel *channel);

/* ---- sockets ------------------------------------------------------------------------------ */

enum sock_kind { SOCK_LISTENER = 1, SOCK_CONNECTING, SOCK_CHANNEL, SOCK_FAILED };

struct request;

struct msg_sock {
	struct msg_ctx *ctx; /* borrowed */
	enum sock_kind kind;
	bool nonblock;
	bool cork;
	int linger_ms;
	int64_t rcvtimeo_ms, sndtimeo_ms;
	uint32_t rcvbuf, sndbuf, maxmsg;
	void *userdata;
	int error;		  /* pending, for LIBMSG_ERROR */
	char reason[REASON_SIZE]; /* and why */
	/* listeners */
	uint32_t handle; /* key in ctx->listeners */
	int backlog;
	char name[NAME_SIZE];
	struct channel_list pending; /* channels to be accepted, n_pending of them */
	int n_pending;
	/* channels */
	struct channel *channel; /* owned */
	struct request *request; /* borrowed: the connect or listen under way */
	bool ready;		 /* in ctx->ready */
	bool out_edge;		 /* POLLOUT is owed to an event loop */
	TAILQ_ENTRY(msg_sock) entry_ready;
	TAILQ_ENTRY(msg_sock) entry;
	UT_hash_handle hh;
};

TAILQ_HEAD(sock_list, msg_sock);

struct msg_sock *sock_new(struct msg_ctx *ctx, enum sock_kind kind, unsigned flags);
void sock_free(struct msg_sock *sock);
void sock_set_channel(struct msg_sock *sock, struct channel *channel);
/* A listener's channels that wait to be accepted. */
void backlog_add(struct msg_sock *listener, struct channel *channel);
void backlog_remove(struct channel *channel);
/* How an application that leaves now leaves: RESET if it has not read all that came. */
enum close_reason sock_close_reason(struct msg_sock *sock);
short sock_events(struct msg_sock *sock);
/* It may have become ready: wakes whoever waits for that. */
void sock_changed(struct msg_sock *sock);

/* ---- control ------------------------------------------------------------------------------- */

/* A question to msgd. Lives until it is answered, over msgd's restarts too. */
struct request {
	uint32_t id;			/* key in ctx->requests */
	struct msg_sock *sock;		/* borrowed; NULL: nobody waits any more */
	struct control_message message; /* to be sent again */
	uint32_t epoch;			/* of the msgd that it was sent to */
	bool done;
	int error; /* positive errno */
	char reason[REASON_SIZE];
	UT_hash_handle hh;
};

struct control_out {
	STAILQ_ENTRY(control_out) entry;
	uint32_t len;
	uint8_t bytes[]; /* the whole frame, padded */
};

struct control {
	struct hv_share *page_share, *ring_share; /* owned */
	struct doorbell_page *page;		  /* borrowed from page_share */
	struct doorbell_end *me, *them;
	struct grant_ring tx, rx;
	uint32_t port;
	uint32_t epoch; /* that HELLO was sent for; 0: none yet */
	bool welcome;	/* WELCOME came for that epoch */
	bool armed;
	char key[HV_STORE_KEY_MAX];
	uint8_t nonce[NONCE_SIZE];
	STAILQ_HEAD(, control_out) out; /* frames that wait for room */
	bool quiesce;			/* QUIESCE was read: everything is to be given back */
	bool parked;   /* it was; the record that says so is in the store, page is NULL */
	bool watching; /* the store tells of its end */
	int error;     /* positive errno: attaching failed for good */
	char reason[REASON_SIZE];
};

int control_open(struct msg_ctx *ctx);
void control_close(struct msg_ctx *ctx);
/* Gives pages and port back; the record stays. */
void control_release(struct msg_ctx *ctx);
/* Reads what msgd wrote, notices its coming and going. */
void control_take(struct msg_ctx *ctx);
void control_send(struct msg_ctx *ctx, const struct control_message *message);
bool control_broker_there(struct msg_ctx *ctx);
/* Arms the doorbell. True: there is something to take. */
bool control_arm(struct msg_ctx *ctx);
/* Its event came: it is to be armed again. */
void control_disarmed(struct msg_ctx *ctx);

/* quiesce.c */
/* QUIESCE was read: noted, for frames may be being taken in. */
void control_quiesce(struct msg_ctx *ctx, const char *reason);
/* Does it, if nobody is inside a link. To be called where nobody of this thread is. */
void control_settle(struct msg_ctx *ctx);
/* HV_EVENT_STORE */
void control_store_changed(struct msg_ctx *ctx);

/* request.c */
struct request *request_new(
	struct msg_ctx *ctx, struct msg_sock *sock, const struct control_message *message);
void request_free(struct msg_ctx *ctx, struct request *request);
/* Nobody waits for it any more. */
void request_abandon(struct msg_ctx *ctx, struct request *request);
/* Those that a former msgd did not answer. */
void request_send_again(struct msg_ctx *ctx);
/* May block (drops the lock). 0; -EINTR, -ETIMEDOUT, -EHOSTDOWN: not answered. */
int request_wait(struct msg_ctx *ctx, struct request *request, uint64_t deadline_ns);
/* Acts on a message from msgd. */
void control_handle(struct msg_ctx *ctx, const struct control_message *message);

/* ---- context -------------------------------------------------------------------------------- */

struct msg_ctx {
	struct hv *hv; /* owned */
	pthread_mutex_t lock;
	bool one_thread;
	volatile uint8_t *same_process; /* a page that reads 0 in a forked child; owned */
	msg_log_fn *log;
	void *log_arg;

	struct control control;
	uint64_t features;	  /* FEATURE_*: what Argo is to this process */
	enum transport transport; /* demanded of connects */
	uint32_t last_request, last_listener;
	struct request *requests;   /* hash; owned */
	struct msg_sock *listeners; /* hash by handle; borrowed */
	struct link *links;	    /* hash; owned */
	/* Hashes; borrowed: those that have a port, and those of argo-strict. */
	struct link *links_by_port, *links_by_ring;
	TAILQ_HEAD(, link) unarmed;
	TAILQ_HEAD(, link) graveyard;
	struct sock_list socks; /* all; owned */
	struct sock_list ready; /* those that may have events for msg_ctx_dispatch */
	uint64_t held;		/* bytes in private buffers of channels whose link stands */
	uint64_t promised;	/* sum of the channels' rx_limit */

	/* waiting: see wait.c */
	_Atomic uint32_t wait_seq;
	bool driving;	    /* a thread polls for all */
	bool spinning;	    /* and looks at a link without the lock */
	bool driver_asleep; /* and sleeps in poll */
	bool kick;	    /* waiting threads are to look again when the lock is dropped */
	unsigned n_waiting;
	int spin_us;	  /* -1: by itself */
	int spin_score;	  /* how recent spins paid off */
	uint32_t spin_ns; /* how long recent sleeps lasted */
	int n_cpus;
	int kick_fd;	   /* eventfd: wakes the driver */
	int epoll_fd;	   /* msg_ctx_fd; -1 until asked for */
	int ready_fd;	   /* eventfd in it: the ready list is not empty */
	int timer_fd;	   /* timerfd in it: a refused link is to be tried again */
	uint64_t timer_ns; /* when; 0: it is off */
	bool ready_set;
};

static inline bool ctx_same_process(const struct msg_ctx *ctx)
{
	return *ctx->same_process != 0;
}

void ctx_log(struct msg_ctx *ctx, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* FEATURE_*: whether this process may use Argo, or why not. */
uint64_t ctx_argo_features(struct hv *hv);
uint64_t ctx_deadline(struct msg_ctx *ctx, int64_t timeout_ms);

/* What a thread waits for that may come soon: frames on a link or, if want, room for one. */
struct hot {
	struct link *link;
	struct channel
		*channel; /* what comes for it is left in the ring once it is served; or NULL */
	uint32_t want;	  /* payload bytes to be sent; 0: frames are waited for */
};

/*
 * Waits until something may have changed: the caller looks again. Blocks, without the lock.
 * hot: NULL: nothing that is worth spinning for. 0, -EINTR, -ETIMEDOUT.
 */
int ctx_wait(struct msg_ctx *ctx, const struct hot *hot, uint64_t deadline_ns);
/* For calls that must not block and found nothing: does what waits, keeps msg_ctx_fd alive. */
void ctx_look(struct msg_ctx *ctx);
/* When the first link that the hypervisor refused is to be tried again; DEADLINE_NEVER. */
uint64_t ctx_retry_time(struct msg_ctx *ctx);
/* A link was refused: whoever sleeps on msg_ctx_fd must wake for it. */
void ctx_retry_later(struct msg_ctx *ctx, uint64_t retry_ns);
/* Does all that is waiting; hot, or NULL: what its link may leave undone. */
void ctx_drive(struct msg_ctx *ctx, const struct hot *hot);
/* Arms every doorbell. True: something is there to be done first. */
bool ctx_arm(struct msg_ctx *ctx);

/* ---- errors --------------------------------------------------------------------------------- */

/* Sets errno and this thread's reason; returns -1. error is positive. */
int failure(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/*
 * Cleaning up after a failure, or success, may set errno: what the caller is to find there. (The
 * model of this variable spares every call two calls of the linker; it is small enough for it.)
 */
extern _Thread_local int kept_errno __attribute__((tls_model("initial-exec")));
static inline void errno_keep(void)
{
	kept_errno = errno;
}
static inline void errno_restore(void)
{
	errno = kept_errno;
}

/* ---- the lock ------------------------------------------------------------------------------ */

/* What ctx_unlock does if ctx->kick is set and somebody waits: wakes whom it is for. */
void ctx_unlock_waking(struct msg_ctx *ctx);

/* For public functions. In between, errno may be anything; then it is failure's, or as before. */
static inline void ctx_lock(struct msg_ctx *ctx)
{
	errno_keep();
	if (!ctx->one_thread)
		(void)pthread_mutex_lock(&ctx->lock);
}

static inline void ctx_unlock(struct msg_ctx *ctx)
{
	if (ctx->kick && (ctx->n_waiting || ctx->spinning || ctx->driver_asleep)) {
		ctx_unlock_waking(ctx);
	} else {
		ctx->kick = false;
		if (!ctx->one_thread)
			(void)pthread_mutex_unlock(&ctx->lock);
	}
	errno_restore();
}

#endif
