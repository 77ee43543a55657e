/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The far end of an actor: a process (or the case's own, in-process) that executes hv operations
 * on command and answers with what they returned. It judges nothing. Requests and replies are
 * flat bytes over one descriptor, so that any byte stream into a guest can carry them.
 */
#ifndef CONFORMANCE_AGENT_H
#define CONFORMANCE_AGENT_H

#include <stdint.h>
#include <sys/types.h>

#include "hv/hv.h"

enum agent_op {
	AGENT_OPEN = 1,
	AGENT_CLOSE,
	AGENT_DOMID,
	AGENT_NOW,
	AGENT_CPU,
	AGENT_READABLE,
	AGENT_POLL,
	AGENT_ALLOC_UNBOUND,
	AGENT_BIND,
	AGENT_PORT_CLOSE,
	AGENT_SEND,
	AGENT_UNMASK,
	AGENT_RING_REGISTER,
	AGENT_RING_PEER,
	AGENT_RING_SENDV,
	AGENT_RING_CONSUMED,
	AGENT_RING_WATCH,
	AGENT_RING_UNREGISTER,
	AGENT_RING_RECV,
	AGENT_RING_STATE,
	AGENT_SHARE,
	AGENT_UNSHARE,
	AGENT_NOTIFY,
	AGENT_MAP,
	AGENT_UNMAP,
	AGENT_PARCEL_MAKE,
	AGENT_PARCEL_DROP,
	AGENT_PARCEL_ADOPT,
	AGENT_MEM_READ,
	AGENT_MEM_WRITE,
	AGENT_MEM_FILL,
	AGENT_MEM_SUM,
	AGENT_MEM_WRITABLE,
	AGENT_STORE_PUBLISH,
	AGENT_STORE_REMOVE,
	AGENT_STORE_WATCH,
	AGENT_STORE_WATCH_OWN,
	AGENT_STORE_NEXT,
	AGENT_DOMAIN_WATCH,
	AGENT_DOMAIN_LIST,
	AGENT_DOMAIN_TAGS,
	AGENT_COUNT_FDS,
	AGENT_COUNT_MAPPINGS,
	AGENT_COUNT_INHERITED,
	AGENT_FORK_TOUCH,
	AGENT_HV_OPEN,
	/* roles: they run for a while, beside others */
	AGENT_ROLE_ARGO_SEND,
	AGENT_ROLE_ARGO_RECV,
	AGENT_ROLE_PORT_PING,
	AGENT_ROLE_PORT_ECHO,
	AGENT_ROLE_RING_PING,
	AGENT_ROLE_STORM,
	AGENT_N_OPS,
};

#define AGENT_DATA_MAX 65536U
#define AGENT_N_ARGS   8

/*
 * A request costs as much as the way to its agent, which to a real guest is its console. So a few
 * operations can be asked for many times at once (those with an actor_*_n); the agent goes on while
 * each returns what the first one did.
 */
struct agent_request {
	uint32_t op;
	uint32_t handle;
	uint64_t arg[AGENT_N_ARGS];
	uint32_t len;	/* bytes used of data */
	uint32_t times; /* 0 is 1 */
	uint8_t data[AGENT_DATA_MAX];
};

#define AGENT_VAL_TIMES 7 /* of a reply's val: how many returned what the first did */

struct agent_reply {
	int64_t rc; /* the return value of the last operation */
	uint64_t val[AGENT_N_ARGS];
	uint32_t len;
	uint32_t pad;
	uint8_t data[AGENT_DATA_MAX];
};

#define AGENT_REQUEST_HEADER offsetof(struct agent_request, data)
#define AGENT_REPLY_HEADER   offsetof(struct agent_reply, data)

/* An event as it travels: id is the port, or the agent's number of the ring. */
struct agent_event {
	uint32_t type;
	uint32_t id;
};

struct agent;

typedef int (*agent_open_fn)(void *arg, struct hv **ret_hv);

/* How a case reaches an agent: directly, or over a descriptor with a process behind it. */
struct agent_link {
	struct agent *direct; /* owned */
	int fd;		      /* owned; -1 when direct */
	pid_t pid;	      /* 0 when direct, or in a real guest */
	int guest;	      /* in a real guest: which, and which of its agents (world-xen.c) */
	uint16_t channel;
	bool busy;  /* a role runs */
	void *role; /* its thread (actor.c); direct only */
};

struct agent *agent_new(agent_open_fn open_fn, void *arg);
void agent_free(struct agent *agent);
/* Drops every handle through this instead of hv_close, and frees. */
void agent_drop(struct agent *agent, void (*drop)(void *arg, struct hv *hv), void *arg);
void agent_execute(
	struct agent *agent, const struct agent_request *request, struct agent_reply *reply);

/* Serves requests on fd until it ends. Returns the exit status of a process. */
int agent_serve(struct agent *agent, int fd);

int agent_read_all(int fd, void *buf, size_t len);
int agent_write_all(int fd, const void *buf, size_t len);

/* The bytes that every message and page of the suite is made of, and their checksum. */
uint8_t pattern_byte(uint64_t seed, uint64_t i);
void pattern_fill(uint64_t seed, void *buf, size_t len);
uint64_t pattern_sum(const void *buf, size_t len);

#endif
