/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How an application without access to the store has its records written there: by msg-agent in a
 * guest, by msgd in its own domain. A Unix SOCK_SEQPACKET socket; one packet is one message; both
 * ends are on one machine, so integers are native, and every layout is free of padding.
 *
 * One reply to each request, in order. A connection owns the records that it published: when it is
 * closed, by whatever means, they are removed. When the agent ends they stay: a record whose
 * application is dead is deleted by msgd, which looks at the pages that it names.
 *
 * A record names an event channel port and pages. The connection does not choose them: it asks for
 * a PARCEL, which the agent makes and hands over, with the descriptors that have them (hv.h), and
 * then publishes a record that names that parcel. The agent takes no other record, but for a parked
 * one (PROTOCOL.md 2), which names nothing. A connection has one parcel that is not published: the
 * next PARCEL takes its place. One that is published is let go with its record.
 *
 * Between replies the agent may send GONE at any time: a record of this connection was removed from
 * the store by somebody else, or did not come along when the domain was saved and restored.
 *
 * Refusals: the reply's error is a positive errno.
 *   EPROTONOSUPPORT  another version; the reply's version says which one is spoken
 *   EBADMSG          a packet that is no request: the connection is closed after this reply
 *   EINVAL           key or length (hv.h: HV_STORE_KEY_MAX, HV_STORE_VALUE_MAX); no record
 *   EPERM            PUBLISH of a record that names another port, or other pages, than the
 *                    connection's parcel has, or the record's that it replaces
 *   EEXIST           PUBLISH of a key that another connection holds
 *   ENOENT           REMOVE of a key that this connection does not hold
 *   EDQUOT           PUBLISH, PARCEL: records of this connection, or of this user
 *   ENOSPC           the domain's quota in the store; PARCEL: of ports, or of pages to share
 *   EHOSTDOWN        the store does not answer
 * A connection over the limit (in all, or of this user) is told EDQUOT at once, with op 0, and
 * closed; by agents of before, closed without a word. A connection that does not read its replies
 * is closed.
 */
#ifndef MSGD_HV_XEN_AGENT_PROTOCOL_H
#define MSGD_HV_XEN_AGENT_PROTOCOL_H

#include <stdint.h>

#include "hv/hv.h"

/*
 * The sockets to connect to: the first that exists is the one (msgd in its own domain, the
 * agent elsewhere). $MSG_AGENT (secure_getenv), if set, in the place of both.
 */
#define AGENT_SOCKET_MSGD "/run/msgd/attach"
#define AGENT_SOCKET	  "/run/msg-agent.sock"

#define AGENT_MAGIC   0x4147534dU /* the bytes MSGA on a little-endian machine */
#define AGENT_VERSION 1U

enum agent_op {
	AGENT_PUBLISH = 1, /* key, value: writes, or replaces what this connection published */
	AGENT_REMOVE,	   /* key */
	AGENT_DOMID,	   /* no key; the reply's domid is that of this machine's own domain */
	AGENT_GONE,	   /* from the agent, unasked: key */
	AGENT_PARCEL,	   /* no key; the reply has the parcel, and its descriptors (SCM_RIGHTS) */
};

/* A request: this, then len bytes of value (PUBLISH: 1 to HV_STORE_VALUE_MAX; else 0). */
struct agent_request {
	uint32_t magic;
	uint16_t version;
	uint16_t op;
	uint32_t len;		    /* the packet has exactly this many bytes after the header */
	char key[HV_STORE_KEY_MAX]; /* NUL-padded; [A-Za-z0-9-]+; all NUL with DOMID, PARCEL */
};

/* A message of the agent's, always of exactly this length. */
struct agent_reply {
	uint32_t magic;
	uint16_t version;
	uint16_t op;	/* of the request, or AGENT_GONE; 0 with EBADMSG, and over the limit */
	uint32_t error; /* positive errno, 0: done */
	uint32_t domid; /* with DOMID, else 0 */
	char key[HV_STORE_KEY_MAX]; /* with GONE, else all NUL */
	uint32_t port;		    /* with PARCEL, as all that follows; else 0 */
	uint32_t refs[HV_PARCEL_PAGES];
	uint64_t where[HV_PARCEL_WHERE];
};

#define AGENT_PACKET_MAX (sizeof(struct agent_request) + HV_STORE_VALUE_MAX)

_Static_assert(sizeof(struct agent_request) == 12 + HV_STORE_KEY_MAX, "no padding");
_Static_assert(sizeof(struct agent_reply) ==
		       16 + HV_STORE_KEY_MAX + 4 + 4 * HV_PARCEL_PAGES + 8 * HV_PARCEL_WHERE,
	"no padding");

#endif
