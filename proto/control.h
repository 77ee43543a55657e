/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control messages between an application and msgd: PROTOCOL.md, section 5. One message travels
 * as one frame on the control link: channel 0, type = enum control_type, arg = request id.
 */
#ifndef MSGD_PROTO_CONTROL_H
#define MSGD_PROTO_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/frame.h"
#include "proto/limits.h"

enum control_type {
	/* application to msgd; those marked (R) are requests, each answered once under its id */
	CONTROL_HELLO = 1, /* (R) WELCOME or STATUS */
	CONTROL_LISTEN,	   /* (R) STATUS */
	CONTROL_UNLISTEN,  /* (R) STATUS */
	CONTROL_CONNECT,   /* (R) CONNECTED or STATUS */
	CONTROL_CANCEL,	   /* gives up the request with this frame's id: it answers ECANCELED */
	CONTROL_ACCEPTED,  /* a channel left its listener's backlog */
	CONTROL_CHANNEL_CLOSED, /* this end has sent and received CLOSE: the number is free here */
	CONTROL_LINK_OFFER,	/* the creator's resources, in answer to LINK_CREATE */
	CONTROL_LINK_READY,	/* the binder has mapped, bound and registered */
	CONTROL_LINK_FAILED,	/* either end could not, with an errno; or reset the link later */
	CONTROL_ANNOUNCE_LINK,	/* after HELLO with an old epoch: a link that stands */
	CONTROL_ANNOUNCE_CHANNEL,
	CONTROL_ANNOUNCE_DONE,
	CONTROL_SYNC,		/* (R) STATUS 0, after all that msgd has said before */
	CONTROL_WATCH,		/* (R) STATUS, and NAME and NAMES_DONE; since FEATURE_WATCH */
	CONTROL_UNWATCH,	/* likewise */
	CONTROL_ANNOUNCE_TERMS, /* behind the ANNOUNCE_CHANNEL that it is about; FEATURE_TERMS */
	CONTROL_CHANNEL_DONE,	/* in the place of CHANNEL_CLOSED; FEATURE_COUNTS, as the next */
	CONTROL_CHANNEL_COUNTS,
	CONTROL_LINK_COUNTS,
	CONTROL_ANSWER,	   /* to ASK, behind the counts of links and channels */
	CONTROL_CAPTURING, /* to a CAPTURE that asks for payload; FEATURE_CAPTURE, as the next */
	CONTROL_CAPTURED,
	CONTROL_CAPTURED_BYTES, /* of the CAPTURED before it */
	CONTROL_CAPTURE_LOST,
	CONTROL_AHEAD_REST, /* numbers ahead that this end will not use; FEATURE_AHEAD */
	CONTROL_EXPIRED,    /* as CANCEL, by a time limit; FEATURE_EXPIRED */
	/* msgd to application */
	CONTROL_WELCOME = 64,
	CONTROL_STATUS,
	CONTROL_CONNECTED,
	CONTROL_LINK_CREATE,
	CONTROL_LINK_BIND,
	CONTROL_LINK_UP,
	CONTROL_LINK_DOWN,    /* the other process or its domain is gone, or the link was refused */
	CONTROL_CHANNEL,      /* a channel for one of this application's listeners */
	CONTROL_CHANNEL_GONE, /* after msgd's return: the other end does not know this channel */
	CONTROL_QUIESCE,      /* give everything back: the domain is to be saved; PROTOCOL.md 5.5 */
	CONTROL_NAME,	      /* a name that is watched for has come or gone */
	CONTROL_NAMES_DONE,   /* all that were there were told of; or the watch has ended */
	CONTROL_TERMS,	      /* before the CONNECTED or CHANNEL that it is about; FEATURE_TERMS */
	CONTROL_ASK,	      /* is it there, and what has it carried? FEATURE_COUNTS */
	CONTROL_CAPTURE,      /* tell of a channel's frames, or no more; FEATURE_CAPTURE */
	CONTROL_AHEAD,	      /* numbers of channels to come; FEATURE_AHEAD, as the next two */
	CONTROL_AHEAD_END,    /* the connecting end gives back those that it has not used */
	CONTROL_AHEAD_GONE,   /* the other end has: those are no channels */
};

/* Features, in HELLO and WELCOME: the abilities of this side. */
#define FEATURE_ARGO	    UINT64_C(1) /* the domain's Argo works for this process */
#define FEATURE_ARGO_STRICT UINT64_C(2) /* it makes links of TRANSPORT_ARGO_STRICT */
/* Why it has no FEATURE_ARGO, where it can tell. */
#define FEATURE_NO_HYPERVISOR_ARGO UINT64_C(4) /* the hypervisor has none */
#define FEATURE_NO_ARGO_DRIVER	   UINT64_C(8) /* its domain's kernel has no driver for it */
/* Types beside SEQPACKET. A side without it takes a message that names them for nonsense. */
#define FEATURE_TYPES UINT64_C(16)
/* WATCH and its answers. A msgd without it is not sent them. */
#define FEATURE_WATCH UINT64_C(32)
/* TERMS and ANNOUNCE_TERMS, and names with an argument. To a side without it neither is said. */
#define FEATURE_TERMS UINT64_C(64)

/* ASK, and the counts. */
#define FEATURE_COUNTS UINT64_C(128)
/* CAPTURE, and what answers it. */
#define FEATURE_CAPTURE UINT64_C(256)
/* AHEAD, and what follows of it. */
#define FEATURE_AHEAD UINT64_C(512)
/* EXPIRED. A msgd without it is sent CANCEL. */
#define FEATURE_EXPIRED UINT64_C(1024)

enum transport_kind {
	TRANSPORT_ANY = 0,
	TRANSPORT_ARGO,
	TRANSPORT_ARGO_STRICT,
	TRANSPORT_GRANT,
	TRANSPORT_LIMIT,
};

enum channel_type {
	CHANNEL_SEQPACKET = 1,
	CHANNEL_STREAM,	    /* since FEATURE_TYPES */
	CHANNEL_DGRAM,	    /* likewise */
	CHANNEL_TYPE_LIMIT, /* a type from here on does not decode */
};

#define CONNECT_WAIT_NAME 1U /* wait until the name is there */

struct control_peer {
	uint16_t domid;
	uint8_t uuid[16];
	char domain[DOMAIN_NAME_SIZE]; /* NUL-terminated, NUL-padded */
};

struct control_hello {
	uint32_t epoch; /* of the control page as this side read it */
	uint16_t version_min, version_max;
	uint64_t features;
	uint32_t pid;	      /* for people who read msgctl; never trusted */
	char comm[COMM_SIZE]; /* likewise */
	uint32_t reattach;    /* 1: announcements follow, until ANNOUNCE_DONE */
};

struct control_listen {
	uint32_t listener; /* the application's handle, unique in it, not 0 */
	uint32_t type;	   /* enum channel_type */
	uint32_t backlog;  /* 1..BACKLOG_MAX */
	char name[NAME_SIZE];
};

struct control_unlisten {
	uint32_t listener;
};

struct control_connect {
	uint32_t type;
	uint32_t flags;	    /* CONNECT_* */
	uint32_t transport; /* enum transport_kind: ANY or a demand */
	char address[ADDRESS_SIZE];
};

/* ACCEPTED, CHANNEL_CLOSED, CHANNEL_GONE */
struct control_channel_id {
	uint32_t end, channel;
};

struct control_link_offer {
	uint32_t end;
	uint32_t port;	       /* unbound for the other end's domain; argo-strict: 0 */
	uint32_t aport;	       /* the creator's receive ring (argo, argo-strict), else 0 */
	uint32_t doorbell_ref; /* grant of the doorbell page; argo-strict: 0 */
	/*
	 * grant only: a page granted read-only in meaning, whose first 2 * ring_pages u32 words
	 * are the references of the creator-to-binder ring, then of the binder-to-creator ring.
	 * Copied once by the binder.
	 */
	uint32_t refs_ref;
};

/* LINK_READY, LINK_UP */
struct control_link_ready {
	uint32_t end;
	uint32_t aport; /* the binder's receive ring (argo, argo-strict), else 0 */
};

/* LINK_FAILED, LINK_DOWN */
struct control_link_error {
	uint32_t end;
	uint32_t error; /* Linux errno, positive: ECONNRESET, EACCES after a policy change, ... */
	char reason[REASON_SIZE];
};

struct control_announce_link {
	uint32_t end;
	uint64_t uid; /* the link's identity, as msgd gave it */
	uint16_t peer_domid;
	uint32_t transport;
	uint32_t role;	/* 0 creator, 1 binder */
	uint32_t state; /* 0 being made, 1 up */
};

struct control_announce_channel {
	uint32_t end, channel;
	uint32_t type;
	uint32_t listener; /* not 0: this end is a listener's, of this handle */
	uint32_t accepted; /* 1: it left the backlog (listener's end only) */
	char name[NAME_SIZE];
};

struct control_welcome {
	uint32_t epoch;
	uint16_t version;
	uint16_t domid; /* the application's, as msgd knows it */
	uint64_t features;
};

struct control_status {
	uint32_t error; /* Linux errno (asm-generic numbers), 0 for success */
	char reason[REASON_SIZE];
};

struct control_connected {
	uint32_t end, channel;
	uint32_t transport;
	struct control_peer peer;
	char name[NAME_SIZE];
};

struct control_link_create {
	uint32_t end;
	uint64_t uid;
	uint16_t peer_domid;
	uint32_t transport;
	uint32_t ring_pages; /* grant: pages a direction, a power of two; else 0 */
	/* argo, argo-strict: bytes of each receive ring, a multiple of 16; else 0 */
	uint32_t ring_len;
};

/* It begins as LINK_CREATE does. */
struct control_link_bind {
	uint32_t end;
	uint64_t uid;
	uint16_t peer_domid;
	uint32_t transport;
	uint32_t ring_pages;
	uint32_t ring_len;
	uint32_t port;
	uint32_t aport;
	uint32_t doorbell_ref;
	uint32_t refs_ref;
};

struct control_channel {
	uint32_t listener;
	uint32_t end, channel;
	uint32_t type;
	uint32_t transport;
	struct control_peer peer;
	char name[NAME_SIZE];
};

struct control_quiesce {
	char reason[REASON_SIZE];
};

struct control_watch {
	uint32_t watch;		    /* the application's handle, unique in it, not 0 */
	char pattern[ADDRESS_SIZE]; /* pattern_split */
};

struct control_unwatch {
	uint32_t watch;
};

struct control_name {
	uint32_t watch;
	uint32_t come; /* 1: it is there; 0: it is no more */
	char address[ADDRESS_SIZE];
};

struct control_names_done {
	uint32_t watch;
	uint32_t error; /* 0: those that were there were told of; else the watch has ended */
	char reason[REASON_SIZE];
};

/* The terms on which policy permits a channel, for one of its ends. TERMS, ANNOUNCE_TERMS */
struct control_terms {
	uint32_t end, channel;
	uint32_t direction;  /* enum terms_direction */
	uint32_t max_buffer; /* bytes unread at either end, from CREDIT_INITIAL on; 0: any */
	uint64_t max_rate;   /* bytes a second that either end may send; 0: any */
};

enum terms_direction {
	TERMS_BOTH,
	TERMS_RECEIVES, /* this end sends no data */
	TERMS_SENDS,	/* the other end sends none */
	TERMS_DIRECTION_LIMIT,
};

/* An end's own counts of a channel, from its beginning on: they never go back. */
struct control_counts {
	uint64_t tx_messages, tx_bytes; /* sent: put into the ring; of a stream, frames */
	uint64_t rx_messages, rx_bytes; /* taken out of it */
	uint64_t drops;			/* datagrams lost, either way, as far as this end knows */
	uint32_t no_credit, no_room;	/* times that a send found none */
	uint32_t unread, unsent;	/* bytes that lie at this end now */
};

/* CHANNEL_DONE, CHANNEL_COUNTS */
struct control_channel_counts {
	uint32_t end, channel;
	struct control_counts counts;
};

/* Of an end, since the link was made. */
struct control_link_counts {
	uint32_t end;
	uint64_t notifications; /* events sent */
	uint64_t hypercalls;	/* beside them */
};

#define ASK_COUNTS 1U /* of all that has changed since it was asked last */

struct control_ask {
	uint32_t token; /* comes back in ANSWER; not 0 */
	uint32_t wants; /* ASK_*; 0: only the answer */
};

/* Of all channels and links that this application has had. */
struct control_answer {
	uint32_t token; /* of ASK; 0: of none, it is about to leave */
	uint64_t tx_messages, tx_bytes, rx_messages, rx_bytes, drops, no_credit, no_room;
	uint64_t notifications, hypercalls;
};

#define CAPTURE_HEADERS 1U
#define CAPTURE_PAYLOAD 2U /* wanted, and policy permits it: does the application agree? */
#define CAPTURE_AGREED	4U /* the other end does */

/* The frames of one end of a channel. */
struct control_capture {
	uint32_t end, channel;
	uint32_t wants;	  /* CAPTURE_*, each with those before it; 0: it ends */
	uint32_t snaplen; /* bytes of a frame's payload, with CAPTURE_AGREED */
};

struct control_capturing {
	uint32_t end, channel;
	uint32_t agrees; /* 1: this end's application gives payload out; 0: it does not */
};

/* A frame, after it was put into the other end's ring, or taken out of this end's. */
struct control_captured {
	uint32_t end, channel;
	uint64_t time_ns; /* of this end's own monotonic clock */
	uint64_t told_ns; /* likewise: when it is put into the ring */
	uint32_t credit;  /* that the frame's sender has left then, as this end knows it */
	uint32_t len;	  /* these four as in the frame's header */
	uint32_t arg;
	uint8_t frame_type;
	uint8_t flags;
	uint8_t sent;	    /* 1: by this end; 0: received */
	uint32_t n_payload; /* bytes that follow in CAPTURED_BYTES */
};

struct control_captured_bytes {
	uint32_t n; /* of bytes; as many as fit, but for the frame's last ones */
	uint8_t bytes[CAPTURE_PIECE];
};

struct control_capture_lost {
	uint32_t n; /* frames that this application has not told of, since it said so last */
};

/* Channels first to first + n - 1 are as the one that the next CHANNEL or CONNECTED names. */
struct control_ahead {
	uint32_t end, channel;
	uint32_t first, n; /* 1 to AHEAD_MAX */
};

struct control_ahead_end {
	uint32_t end, first;
};

/* AHEAD_REST, AHEAD_GONE */
struct control_ahead_rest {
	uint32_t end, first;
	uint64_t rest; /* bit i: first + i */
};

struct control_message {
	uint8_t type;	  /* enum control_type, or a number that this version does not know */
	uint32_t request; /* 0: not a request nor an answer */
	union {
		struct control_hello hello;
		struct control_listen listen;
		struct control_unlisten unlisten;
		struct control_connect connect;
		struct control_channel_id accepted, channel_closed, channel_gone;
		struct control_link_offer link_offer;
		struct control_link_ready link_ready, link_up;
		struct control_link_error link_failed, link_down;
		struct control_announce_link announce_link;
		struct control_announce_channel announce_channel;
		struct control_welcome welcome;
		struct control_status status;
		struct control_connected connected;
		struct control_link_create link_create;
		struct control_link_bind link_bind;
		struct control_channel channel;
		struct control_quiesce quiesce;
		struct control_watch watch;
		struct control_unwatch unwatch;
		struct control_name name;
		struct control_names_done names_done;
		struct control_terms terms, announce_terms;
		struct control_channel_counts channel_counts; /* of both */
		struct control_link_counts link_counts;
		struct control_ask ask;
		struct control_answer answer;
		struct control_capture capture;
		struct control_capturing capturing;
		struct control_captured captured;
		struct control_captured_bytes captured_bytes;
		struct control_capture_lost capture_lost;
		struct control_ahead ahead;
		struct control_ahead_end ahead_end;
		struct control_ahead_rest ahead_rest, ahead_gone;
	};
};

/*
 * Encodes the body (what follows the frame header). Returns its length, at most
 * CONTROL_MESSAGE_MAX; the message is the caller's own and valid (asserted). Of strings only what
 * precedes the NUL counts. Texts for people (comm, reason, a peer's domain name) are made fit here:
 * cut to their size, '?' for what is not printable ASCII.
 */
size_t control_encode(
	const struct control_message *message, uint8_t ret_bytes[CONTROL_MESSAGE_MAX]);

/*
 * Decodes a private copy of a body. -EBADMSG: length, a string without NUL or with bytes after
 * it, a reserved byte that is not 0, an enum or number out of range, a request id where there is
 * none to be or none where there must be. -EOPNOTSUPP: a type that this version does not know (type
 * and request are set in ret_message even so, the rest is untouched).
 */
int control_decode(uint8_t type, uint32_t request, const uint8_t *body, size_t len,
	struct control_message *ret_message);

/*
 * Decodes a private copy of a control frame's header: type is the control_type, arg the request.
 * -EBADMSG: a channel, flags or reserved bytes that are not 0, a body over CONTROL_MESSAGE_MAX.
 */
int control_frame_decode(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame);

/* "HELLO" and so on; "?" for unknown types. For logs. */
const char *control_type_name(uint8_t type);

/* "any", "argo", "argo-strict", "grant"; "?" for others. */
const char *transport_name(uint32_t transport);

/* [A-Za-z0-9_][A-Za-z0-9._+-]{0,62}, else -EINVAL. */
int name_check(const char *name);
/* The characters of a name before its argument, which begins with the first '+'. */
size_t name_base_len(const char *name);
/* Whether it has an argument. */
static inline bool name_has_argument(const char *name)
{
	return name[name_base_len(name)];
}

/*
 * Splits "[DOMAIN/]NAME". ret_domain is "" without DOMAIN. DOMAIN is a domain's name, "domid:N"
 * or "uuid:U"; only its length and characters (printable ASCII, no '/') are checked. -EINVAL.
 */
int address_split(const char *address, char ret_domain[DOMAIN_NAME_SIZE], char ret_name[NAME_SIZE]);

/*
 * Splits "[DOMAINGLOB/]NAMEGLOB" likewise: each is at most as long as what it stands for, and * and
 * ? may stand in a name, too. -EINVAL.
 */
int pattern_split(const char *pattern, char ret_domain[DOMAIN_NAME_SIZE], char ret_name[NAME_SIZE]);

#endif
