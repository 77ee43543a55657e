/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's tables, for the files that it is made of and for nobody else. */
#ifndef CONFORMANCE_AGENT_PRIVATE_H
#define CONFORMANCE_AGENT_PRIVATE_H

#include "hv/argo-ring.h"
#include "tests/conformance/agent.h"

#define AGENT_MAX_HANDLES 1024
#define AGENT_MAX_OBJECTS 8192

enum object_kind {
	OBJECT_FREE,
	OBJECT_RING,
	OBJECT_SHARE,
	OBJECT_MAP,
};

struct object {
	enum object_kind kind;
	uint32_t handle; /* index + 1 of the hv handle that it belongs to */
	union {
		struct hv_ring *ring;	/* owned */
		struct hv_share *share; /* owned */
		struct hv_map *map;	/* owned */
	};
	void *addr;  /* of the pages, borrowed */
	size_t len;  /* bytes of the pages */
	uint32_t rx; /* the reader's private position in the ring */
};

struct agent {
	agent_open_fn open_fn;
	void *arg; /* owned: malloc'ed */
	struct hv *hv[AGENT_MAX_HANDLES];
	struct object objects[AGENT_MAX_OBJECTS];
	struct hv_parcel parcel; /* the latest that was made */
	uint32_t turn;		 /* of a request that is made many times: 0, 1, ... */
};

/* -EBADF as an answer would be mistaken for the backend's: a wrong number aborts the agent. */
struct hv *agent_hv(struct agent *agent, uint32_t handle);
struct object *agent_object(struct agent *agent, uint64_t id, enum object_kind kind);
/* Takes one message and releases its room; 1, 0, -EBADMSG. payload has room for max bytes. */
int agent_ring_take(
	struct object *object, struct argo_message *ret_message, void *payload, size_t max);
/* poll(2) on the handle's descriptor: 1 readable, 0 not within timeout_ms. */
int agent_poll_fd(struct hv *hv, int timeout_ms);

int64_t agent_role(
	struct agent *agent, const struct agent_request *request, struct agent_reply *reply);

#endif
