/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process' way to xen-sim: the socket, and the eventfds of the processes that it may have to
 * wake. Nothing on the data path comes here, but for a wake-up of a process whose eventfd is not
 * known yet, and that does not block.
 */
#include "hv/sim/open.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/cleanup.h"
#include "hv/sim/guest/call.h"
#include "hv/sim/guest/release.h"
#include "hv/sim/memory/lock.h"
#include "hv/sim/process/backend.h"
#include "hv/sim/wire/connect.h"
#include "hv/sim/wire/packet.h"

struct peer {
	int fd; /* owned */
	uint32_t generation;
};

struct sim_client {
	int socket;
	pthread_mutex_t request_mutex; /* its holder reads the socket */
	pthread_mutex_t peers_mutex;
	struct peer peers[SIM_MAX_SLOTS];
	uint32_t sequence;
};

static void peer_take(struct sim_client *c, const struct sim_slot_name *name, int fd)
{
	int old = fd;

	if (name->slot < SIM_MAX_SLOTS) {
		(void)pthread_mutex_lock(&c->peers_mutex);
		old = c->peers[name->slot].fd;
		c->peers[name->slot] = (struct peer){.fd = fd, .generation = name->generation};
		(void)pthread_mutex_unlock(&c->peers_mutex);
	}
	close_p(&old);
}

/* The request mutex is held. Returns what packet_recv does; a PEER is taken and gives 0 < n. */
static ssize_t receive(struct sim_client *c, struct sim_message *ret, int flags, int ret_fds[])
{
	ssize_t n = packet_recv(c->socket, ret, ret_fds, flags);

	/* Without its eventfd, a peer is woken by way of xen-sim. */
	if (n == -EMFILE && ret->header.type == SIM_PEER)
		return (ssize_t)SIM_MESSAGE_LEN(slot);
	if (n < (ssize_t)SIM_MESSAGE_LEN(slot) || ret->header.type != SIM_PEER || ret_fds[0] < 0)
		return n;
	peer_take(c, &ret->slot, ret_fds[0]);
	ret_fds[0] = -1;
	packet_close_fds(ret_fds);
	return n;
}

/* The reply takes the message's place. */
static int client_request(
	struct sim_client *c, struct sim_message *message, size_t len, int ret_fds[SIM_FDS_MAX])
{
	uint16_t type = message->header.type;
	uint32_t sequence;
	ssize_t n;
	int r;

	(void)pthread_mutex_lock(&c->request_mutex);
	sequence = message->header.sequence = ++c->sequence;
	r = packet_send(c->socket, message, len, NULL, 0, 0);
	while (r == 0) {
		n = receive(c, message, 0, ret_fds);
		if (n <= 0) {
			r = n == -EMFILE ? -EMFILE : -ENODEV;
		} else if (message->header.type == type && message->header.sequence == sequence) {
			r = message->header.status;
			break;
		} else {
			packet_close_fds(ret_fds);
		}
	}
	(void)pthread_mutex_unlock(&c->request_mutex);
	return r == -EPIPE || r == -ECONNRESET ? -ENODEV : r;
}

static int simple_request(
	struct sim_hv *h, enum sim_message_type type, struct sim_message *message, size_t len)
{
	int fds[SIM_FDS_MAX] = {-1, -1, -1}, r;

	message->header.type = (uint16_t)type;
	r = client_request(h->xen.ops_arg, message, len, fds);
	packet_close_fds(fds);
	return r;
}

/* Whether the eventfd of the slot is known, which is then written, if that is asked for. */
static bool peer_look(struct sim_client *c, uint32_t slot, uint32_t generation, bool kick)
{
	struct peer *p = &c->peers[slot];
	uint64_t one = 1;
	bool known;

	(void)pthread_mutex_lock(&c->peers_mutex);
	known = p->fd >= 0 && p->generation == generation;
	/* EAGAIN: it is full, hence readable. As a system call it is no cancellation point. */
	if (known && kick)
		(void)syscall(SYS_write, p->fd, &one, sizeof(one));
	(void)pthread_mutex_unlock(&c->peers_mutex);
	return known;
}

/* Reads what waits in the socket: descriptors, for nobody has a request under way. */
static void drain(struct sim_client *c)
{
	struct sim_message message;
	int fds[SIM_FDS_MAX];

	if (pthread_mutex_trylock(&c->request_mutex) != 0)
		return;
	while (receive(c, &message, MSG_DONTWAIT, fds) > 0)
		packet_close_fds(fds);
	(void)pthread_mutex_unlock(&c->request_mutex);
}

static int tell(struct sim_client *c, enum sim_message_type type, uint32_t slot,
	uint32_t generation, int flags)
{
	struct sim_message message = {
		.header = {.type = (uint16_t)type},
		.slot = {.slot = slot, .generation = generation},
	};

	return packet_send(c->socket, &message, SIM_MESSAGE_LEN(slot), NULL, 0, flags);
}

/*
 * Without the other's eventfd (never introduced, or the introduction still in the queue), xen-sim
 * is asked to wake it, and to introduce us: that happens once, unless this process has no
 * descriptor to spare. Then a queue full of such requests may be in the way, where xen-sim is far
 * behind. They are about other slots, perhaps, and no later raiser would wake this one (slot.c), so
 * this process waits: no lock is held here, and xen-sim never waits for it.
 */
static void client_kick_slowly(struct sim_client *c, uint32_t slot, uint32_t generation)
{
	WITHOUT_CANCEL;
	int r;

	drain(c);
	if (peer_look(c, slot, generation, true))
		return;
	do
		r = tell(c, SIM_KICK, slot, generation, 0);
	while (r == -EAGAIN || r == -EINTR); /* the socket has a time limit, of its first use */
}

static void client_kick(struct xen *xen, uint32_t slot, uint32_t generation)
{
	struct sim_client *c = xen->ops_arg;

	if (!peer_look(c, slot, generation, true))
		client_kick_slowly(c, slot, generation);
}

/*
 * Once: xen-sim tries the lock itself then, reports the owner, and ends it (lock.h). More would
 * fill its queue, and kicks wait there, too. If xen-sim is the one that is stopped, nobody ends it,
 * for the emulator would end with it; and nobody is left to say so but whoever waits.
 */
static void client_stuck(struct xen *xen, uint32_t slot, uint32_t before_ms, uint32_t waited_ms)
{
	char text[512];

	if (slot == 0 && before_ms < LOCK_REPORT_MS && waited_ms >= LOCK_REPORT_MS) {
		lock_owner_describe(xen, slot, text, sizeof(text));
		(void)fprintf(
			stderr, "xen-sim: %s; every process of the emulator waits for it\n", text);
	}
	if (before_ms < LOCK_TELL_MS && waited_ms >= LOCK_TELL_MS)
		(void)tell(xen->ops_arg, SIM_STUCK, slot,
			atomic_load(&slot_at(xen, slot)->generation), MSG_DONTWAIT);
}

static const struct xen_ops client_xen_ops = {
	.kick = client_kick,
	.stuck = client_stuck,
};

static int ts_store(struct sim_hv *h, enum sim_message_type type, struct hv_record *record)
{
	struct sim_message message = {0};
	size_t len = sizeof(message.header);
	int r;

	if (type == SIM_PUBLISH || type == SIM_REMOVE || type == SIM_READ_TAGS) {
		message.record = *record;
		len = SIM_MESSAGE_LEN(record);
	}
	r = simple_request(h, type, &message, len);
	if ((type == SIM_NEXT && r == 1) || (type == SIM_READ_TAGS && r == 0))
		*record = message.record;
	return r;
}

static void ts_introduce(struct sim_hv *h, uint32_t slot, uint32_t generation)
{
	struct sim_message message = {.slot = {.slot = slot, .generation = generation}};

	if (!peer_look(h->xen.ops_arg, slot, generation, false))
		(void)simple_request(h, SIM_INTRODUCE, &message, SIM_MESSAGE_LEN(slot));
}

static void client_free(struct sim_client *c)
{
	for (uint32_t i = 0; i < SIM_MAX_SLOTS; i++)
		close_p(&c->peers[i].fd);
	(void)pthread_mutex_destroy(&c->request_mutex);
	(void)pthread_mutex_destroy(&c->peers_mutex);
	close_p(&c->socket);
	free(c);
}

/* xen-sim gives everything back; if it is gone, we do, for those that still talk to us. */
static void ts_detach(struct sim_hv *h)
{
	struct sim_message message = {0};

	if (simple_request(h, SIM_BYE, &message, sizeof(message.header)) < 0 &&
		guest_begin(&h->xen) == 0) {
		txn_abort(&h->xen);
		guest_release(&h->xen, h->xen.slot);
	}
}

static void ts_release(struct sim_hv *h)
{
	hangup_unwatch(&h->hangup);
	segment_unmap(h->xen.seg);
	(void)close(h->memfd);
	client_free(h->xen.ops_arg);
}

static const struct toolstack_ops client_toolstack_ops = {
	.store = ts_store,
	.introduce = ts_introduce,
	.detach = ts_detach,
	.release = ts_release,
};

static struct sim_client *client_new(void)
{
	struct sim_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	(void)pthread_mutex_init(&c->request_mutex, NULL);
	(void)pthread_mutex_init(&c->peers_mutex, NULL);
	c->socket = -1;
	for (uint32_t i = 0; i < SIM_MAX_SLOTS; i++)
		c->peers[i].fd = -1;
	return c;
}

static int attach(struct sim_hv *h, struct sim_client *c, const char *name, const char **ret_reason)
{
	struct sim_message message = {.header = {.type = SIM_ATTACH}};
	int fds[SIM_FDS_MAX] = {-1, -1, -1}, r;

	if (strlen(name) >= sizeof(message.attach.domain))
		return refuse(ret_reason, -EINVAL, "the domain's name is too long");
	strcpy(message.attach.domain, name);
	*ret_reason = "the emulator refused to let this process attach";
	r = client_request(c, &message, SIM_MESSAGE_LEN(attach), fds);
	if (r == -EHOSTUNREACH)
		*ret_reason = "no such domain in the emulator: xen-sim PATH create DOMAIN makes it";
	else if (r == -EUSERS)
		*ret_reason = "the emulator has no room (slots, descriptors) for one more process";
	else if (r == -EMFILE)
		*ret_reason = "no descriptors for the emulator's memory and events";
	else if (r == -EXDEV)
		*ret_reason = "the emulator there runs in another PID namespace";
	if (r >= 0 && (fds[0] < 0 || fds[1] < 0 || fds[2] < 0 || message.slot.slot == 0 ||
			      message.slot.slot >= SIM_MAX_SLOTS))
		r = -EPROTO;
	if (r >= 0) {
		*ret_reason = "the emulator's memory is not what this build expects";
		r = segment_map(fds[0], &h->xen.seg);
		if (r == -ENOMEM || r == -EAGAIN)
			*ret_reason = "no room in this process for the emulator's memory";
	}
	if (r < 0) {
		packet_close_fds(fds);
		return r;
	}
	h->memfd = fds[0];
	h->event_fd = fds[1];
	peer_take(c, &message.slot, fds[1]);
	peer_take(c, &(struct sim_slot_name){.slot = 0, .generation = 0}, fds[2]);
	xen_init(&h->xen, h->xen.seg, message.slot.slot);
	hangup_watch(&h->hangup, c->socket, h->event_fd);
	return 0;
}

static int open_domain(
	const char *path, const char *domain, struct hv **ret_hv, const char **ret_reason)
{
	_cleanup_free_ struct sim_hv *h = calloc(1, sizeof(*h));
	struct sim_client *c = client_new();
	int r;

	if (!h || !c) {
		free(c);
		return refuse(ret_reason, -ENOMEM, "out of memory");
	}
	r = sim_connect(path, &c->socket, ret_reason);
	if (r == 0)
		r = attach(h, c, domain, ret_reason);
	if (r < 0) {
		client_free(c);
		return r;
	}
	h->xen.ops = &client_xen_ops;
	h->xen.ops_arg = c;
	h->toolstack = &client_toolstack_ops;
	sim_hv_init(h);
	*ret_hv = &steal_ptr(h)->hv;
	return 0;
}

int hv_open_sim(const char *spec, struct hv **ret_hv, const char **ret_reason)
{
	_cleanup_free_ char *path = NULL;
	const char *domain = secure_getenv("XEN_SIM_DOMAIN");
	char *hash;

	if (strncmp(spec, "sim:", 4) != 0)
		return refuse(ret_reason, -EINVAL, "no such backend: say xen, or sim:PATH");
	path = strdup(spec + 4);
	if (!path)
		return refuse(ret_reason, -ENOMEM, "out of memory");
	hash = strchr(path, '#');
	if (hash) {
		*hash = 0;
		domain = hash + 1;
		if (!*domain)
			return refuse(ret_reason, -EINVAL, "no domain's name behind the #");
	}
	return open_domain(path, domain && *domain ? domain : "Domain-0", ret_hv, ret_reason);
}
