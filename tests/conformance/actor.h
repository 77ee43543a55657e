/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An actor: one hv handle in one process of one domain, commanded by a case. The functions mirror
 * hv.h slot by slot and return what the backend returned; a broken line to the agent, which
 * is no answer of the backend's, ends the case.
 */
#ifndef CONFORMANCE_ACTOR_H
#define CONFORMANCE_ACTOR_H

#include "tests/conformance/agent.h"
#include "tests/conformance/world.h"

#define ACTOR_MAX_PENDING 256

struct actor {
	struct agent_link *link; /* shared by the handles of one process */
	uint32_t handle;
	uint16_t domid;
	struct agent_event pending[ACTOR_MAX_PENDING];
	size_t n_pending;
	struct actor *next;
};

/* Another handle in the same process. */
struct actor *actor_sibling(struct actor *actor);
int actor_sibling_try(struct actor *actor, struct actor **ret_sibling);
/* Closes the handle; the process goes on while other handles of it are there. */
void actor_close(struct actor *actor);
/* SIGKILL, and waits until the process is gone. The actor is only good for nothing then. */
void actor_kill(struct actor *actor);
/* Its domain was destroyed and took it along: forgets it. */
void actor_lost(struct actor *actor);
/* Stop and go on: SIGSTOP, SIGCONT. */
void actor_signal(struct actor *actor, int sig);
/* Everything that is still there; the world's stop comes after. */
void actor_close_all(void);

uint64_t actor_now(struct actor *actor);
int actor_cpu(struct actor *actor);
int actor_domid(struct actor *actor);

/* 1 or 0: what poll(2) says of the handle's descriptor within timeout_ms. */
int actor_readable(struct actor *actor, int timeout_ms);
/* One poll_events with room for n, after waiting up to timeout_ms; events go to ret_events. */
int actor_poll(struct actor *actor, int timeout_ms, size_t n, struct agent_event *ret_events);
/* Takes one event of this type and id; others stay for later calls. 1 or 0. */
int actor_take(struct actor *actor, uint32_t type, uint32_t id, int timeout_ms);

int actor_alloc_unbound(struct actor *actor, uint16_t remote, uint32_t *ret_port);
int actor_bind(struct actor *actor, uint16_t remote, uint32_t port, uint32_t *ret_port);
int actor_port_close(struct actor *actor, uint32_t port);
int actor_send(struct actor *actor, uint32_t port);
int actor_unmask(struct actor *actor, uint32_t port);
int actor_unmask_n(struct actor *actor, const uint32_t *ports, size_t n);

/*
 * The same in one request: up to `times` times, while each returns what the first one did. The last
 * result; *ret_n of them were like the first. Keys are KEY and a number of four digits, from
 * `first`.
 */
int actor_alloc_unbound_n(
	struct actor *actor, uint16_t remote, size_t times, uint32_t *ret_ports, size_t *ret_n);
int actor_bind_n(struct actor *actor, uint16_t remote, uint32_t port, size_t times, size_t *ret_n);
int actor_port_close_n(struct actor *actor, const uint32_t *ports, size_t times, size_t *ret_n);
int actor_publish_n(struct actor *actor, const char *key, unsigned first, const void *value,
	size_t len, size_t times, size_t *ret_n);
int actor_remove_n(struct actor *actor, uint16_t domid, const char *key, unsigned first,
	size_t times, size_t *ret_n);

/* Rings, shares and maps are the agent's numbers, never 0. */
int actor_ring_register(struct actor *actor, uint32_t aport, uint16_t partner, uint32_t ring_len,
	uint32_t *ret_ring);
struct actor_ring_state {
	uint32_t rx, tx, ring_len, aport, partner;
	bool zeroed; /* every byte behind the two pointers is 0 */
};
int actor_ring_state(struct actor *actor, uint32_t ring, struct actor_ring_state *ret_state);
int actor_ring_peer(struct actor *actor, uint32_t ring, uint32_t aport);
/* Sends pattern(seed) cut into n segments of these lengths. */
int actor_ring_sendv(struct actor *actor, uint32_t ring, uint64_t seed, const uint32_t *lens,
	size_t n, uint32_t type);
int actor_ring_send(struct actor *actor, uint32_t ring, uint64_t seed, uint32_t len, uint32_t type);
int actor_ring_consumed(struct actor *actor);
int actor_ring_watch(struct actor *actor, uint32_t ring, bool on);
int actor_ring_unregister(struct actor *actor, uint32_t ring);
struct actor_message {
	uint32_t len, aport, domid, type;
	uint64_t sum;
};
/* Takes the next message and gives its room back, without argo_consumed. 1, 0, or an errno. */
int actor_ring_recv(struct actor *actor, uint32_t ring, struct actor_message *ret_message);

#define ACTOR_NO_NOTIFY                                                                            \
	(struct hv_unmap_notify)                                                                   \
	{                                                                                          \
		HV_NO_NOTIFY, 0                                                                    \
	}

int actor_share(struct actor *actor, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, uint32_t *ret_share);
void actor_unshare(struct actor *actor, uint32_t share);
int actor_notify(struct actor *actor, uint32_t share, const struct hv_unmap_notify *notify);
int actor_map(struct actor *actor, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, uint32_t *ret_map);
void actor_unmap(struct actor *actor, uint32_t map);

/*
 * A process has one parcel at a time: the latest that a handle of it has made. Another handle of
 * the process adopts it. A parcel's pages are two shares.
 */
int actor_parcel_make(struct actor *actor, uint32_t *ret_port, uint32_t ret_refs[HV_PARCEL_PAGES]);
void actor_parcel_drop(struct actor *actor);
int actor_parcel_adopt(
	struct actor *actor, uint32_t notify_offset, uint32_t *ret_page, uint32_t *ret_others);

/* Bytes of a share's or a map's pages; len up to AGENT_DATA_MAX. */
void actor_mem_read(struct actor *actor, uint32_t object, size_t off, void *buf, size_t len);
void actor_mem_write(struct actor *actor, uint32_t object, size_t off, const void *buf, size_t len);
/* One of them. */
uint8_t actor_mem_get(struct actor *actor, uint32_t object, size_t off);
void actor_mem_set(struct actor *actor, uint32_t object, size_t off, uint8_t byte);
/* pattern_fill and pattern_sum of them, done where they are. */
void actor_mem_fill(struct actor *actor, uint32_t object, size_t off, size_t len, uint64_t seed);
uint64_t actor_mem_sum(struct actor *actor, uint32_t object, size_t off, size_t len);
/* Whether the first byte can be written, without dying of it. */
bool actor_mem_writable(struct actor *actor, uint32_t object);

int actor_publish(struct actor *actor, const char *key, const void *value, size_t len);
int actor_remove(struct actor *actor, uint16_t domid, const char *key);
int actor_store_watch(struct actor *actor);
int actor_store_watch_own(struct actor *actor);
int actor_store_next(struct actor *actor, struct hv_record *ret_record);

int actor_domain_watch(struct actor *actor);
int actor_domain_list(struct actor *actor, struct hv_domain *ret_domains, size_t n);
int actor_domain_tags(struct actor *actor, uint16_t domid, char ret_tags[HV_TAGS_MAX]);

/* Of the agent's process. */
int actor_count_fds(struct actor *actor);
int actor_count_mappings(struct actor *actor);
/* Descriptors of the handle's process that an exec would pass on, beyond the agent's own. */
int actor_count_inherited(struct actor *actor);
/* Whether a forked child still has this object mapped: 1, 0. The child ends at once. */
int actor_fork_touch(struct actor *actor, uint32_t object);
/* hv_open(spec) in the agent's process with this $MSG_HV ("": unset), closed again. */
int actor_hv_open(struct actor *actor, const char *spec, const char *env, bool *ret_reason);

/* Starts an operation that runs for a while; actor_finish waits for its reply. */
void actor_start(struct actor *actor, enum agent_op op, const uint64_t *args, size_t n_args);
int64_t actor_finish(struct actor *actor, uint64_t *ret_vals, size_t n_vals);

/* A port of a, bound to a port of b; b's first, initial event has been taken. */
void actor_connect(struct actor *a, struct actor *b, uint32_t *ret_a, uint32_t *ret_b);

#endif
