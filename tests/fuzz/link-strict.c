/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link of argo-strict, over the emulator. The other domain sends any message from the introduced
 * ring and, as a stranger, from another; writes what it likes to the rx_ptr of its ring; reads, or
 * does not; has the hypervisor refuse ours; dies. Beside what link.c asks for: strangers cannot
 * break the link, and who sleeps is woken by frames and by room.
 */
#include <errno.h>
#include <poll.h>

#include "hv/argo-ring.h"
#include "hv/sim/testing/sim.h"
#include "tests/fuzz/link-steps.h"

#define RING_LEN 8192U
/* So often at most there is something to do before this side can sleep. */
#define LOOKS_MAX 16
#define START_NS  1000000000U
/* Longer than who was refused waits. */
#define PAUSE_NS 2000000U

enum strict_step {
	STEP_RX = STEP_OWN_1,		  /* the peer writes its rx_ptr, and tells nobody */
	STEP_REFUSED = STEP_OWN_2,	  /* the hypervisor refuses our next message */
	STEP_MESSAGE = STEP_SHARED_LIMIT, /* any bytes, of any length and type */
	STEP_STRANGER,			  /* the same, from another ring of that domain */
	STEP_READ,			  /* the peer reads all that it was sent */
	STEP_MORE,			  /* this side sends, and keeps it back */
	STEP_SLEEP,			  /* this side falls asleep; then comes a frame, or room */
	STEP_PAUSE,			  /* time passes */
	STEP_END,			  /* the peer's process dies, or domain, or msgd says so */
	STEP_LIMIT,
};

/* Of one input: what this side's hypervisor calls go through, and the stranger. */
static struct {
	struct hv_ops ops;
	const struct hv_ops *real;
	int refusal; /* the answer to the next sendv; 0: the true one */
	struct hv *stranger;
	struct hv_ring *stranger_ring;
} world;

static int sendv_or_refuse(
	struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n, uint32_t type)
{
	int r = world.refusal;

	world.refusal = 0;
	return r ? r : world.real->argo_sendv(hv, ring, iov, n, type);
}

static void world_begin(struct pair *pair)
{
	struct hv *hv = pair->sides[MINE].sim_hv;

	memset(&world, 0, sizeof(world));
	world.real = hv->ops;
	world.ops = *hv->ops;
	world.ops.argo_sendv = sendv_or_refuse;
	hv->ops = &world.ops;
	sim_clock_virtual(pair->sim, START_NS);
}

static void stranger_end(struct pair *pair)
{
	if (world.stranger)
		sim_hv_kill(pair->sim, world.stranger);
	world.stranger = NULL;
}

static bool stranger_there(struct pair *pair)
{
	const struct link *link = pair->sides[MINE].ctx->links.by_end;
	const struct hv_ops *ops;

	if (world.stranger || !link || !pair->sides[THEIR].sim_hv)
		return world.stranger;
	FUZZ_CHECK(sim_hv_open(pair->sim, pair->sides[THEIR].domid, &world.stranger) == 0);
	ops = world.stranger->ops;
	FUZZ_CHECK(ops->argo_register(world.stranger, 0, pair->sides[MINE].domid, RING_LEN,
			   &world.stranger_ring) == 0);
	FUZZ_CHECK(ops->argo_peer(world.stranger, world.stranger_ring,
			   argo_of(link->transport)->ring->aport) == 0);
	return true;
}

static void inject_message(struct hv *hv, struct hv_ring *ring, struct fuzz_input *input)
{
	uint8_t bytes[512];
	uint32_t type = fuzz_u8(input) & 3 ? FRAME_MESSAGE_TYPE : fuzz_u8(input);
	struct iovec iov = {.iov_base = bytes, .iov_len = fuzz_u16(input) % (sizeof(bytes) + 1)};

	fuzz_bytes(input, bytes, iov.iov_len);
	(void)hv->ops->argo_sendv(hv, ring, &iov, 1, type);
}

static void inject_as_stranger(struct pair *pair, struct fuzz_input *input)
{
	const struct link *link = pair->sides[MINE].ctx->links.by_end;
	bool whole;

	link_settle(pair);
	link = pair->sides[MINE].ctx->links.by_end;
	if (!stranger_there(pair))
		return;
	inject_message(world.stranger, world.stranger_ring, input);
	whole = link && link_is_up(link);
	link_settle(pair);
	FUZZ_CHECK(!whole || pair->sides[MINE].ctx->links.by_end == link);
}

static void peer_reads(struct pair *pair)
{
	struct pair_side *peer = &pair->sides[THEIR];
	const struct hv_ring *ring = argo_of(peer->link->transport)->ring;

	argo_ring_release(ring, atomic_load(argo_ring_tx(ring)));
	(void)peer->sim_hv->ops->argo_consumed(peer->sim_hv);
}

static void refuse(struct fuzz_input *input)
{
	/* Room (EAGAIN) is the emulator's to judge: it wakes whom it has refused. */
	static const int answers[] = {EBUSY, ENOMEM, ECONNREFUSED, ESRCH, EMSGSIZE};

	world.refusal = -answers[fuzz_u8(input) % ARRAY_SIZE(answers)];
}

static void keep_back(struct pair *pair, struct fuzz_input *input)
{
	struct msg_sock *sock = pair->sides[MINE].sock;
	static const uint8_t bytes[20000];

	if (sock)
		(void)msg_send(sock, bytes, fuzz_u16(input) % sizeof(bytes), MSG_MORE);
}

static bool readable(struct hv *hv)
{
	struct pollfd fd = {.fd = hv->ops->fd(hv), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* As the driver does (wait.c). Whether nothing has happened to it yet. */
static bool fall_asleep(struct msg_ctx *ctx)
{
	int looks = 0;

	do {
		FUZZ_CHECK(++looks < LOOKS_MAX);
		driver_drive(&ctx->driver, &(struct focus){0});
	} while (driver_arm(&ctx->driver));
	return !readable(ctx->hv);
}

static void sleep_and_wake(struct pair *pair, struct fuzz_input *input)
{
	static const struct frame limit = {
		.channel = PAIR_CHANNEL, .type = FRAME_LIMIT, .arg = MESSAGE_MAX_DEFAULT};
	struct msg_ctx *ctx = pair->sides[MINE].ctx;
	bool frame = fuzz_u8(input) & 1, asleep = fall_asleep(ctx);
	const struct link *link = ctx->links.by_end;
	uint8_t bytes[FRAME_HEADER_SIZE];

	/* A ring that waits for msgd's word is not watched (argo-strict.c). */
	if (!asleep || !link || link->state != LINK_UP || !pair->sides[THEIR].sim_hv)
		return;
	FUZZ_CHECK(link->armed && !argo_pending(link->transport));
	frame_encode(&limit, bytes);
	if (frame && pair_inject(pair, THEIR, bytes, sizeof(bytes))) {
		FUZZ_CHECK(readable(ctx->hv));
	} else if (!frame && argo_of(link->transport)->full) {
		peer_reads(pair);
		FUZZ_CHECK(readable(ctx->hv));
	}
}

static void end(struct pair *pair, struct fuzz_input *input)
{
	struct control_message down = {
		.type = CONTROL_LINK_DOWN, .link_down = {.end = PAIR_END, .error = ECONNRESET}};
	uint8_t how = fuzz_u8(input) % 3;

	if (how == 2) {
		pair_say(&pair->sides[MINE], &down);
		return;
	}
	if (pair->sides[THEIR].sim_hv)
		pair_kill(pair, THEIR);
	if (how == 1) {
		stranger_end(pair);
		(void)sim_domain_destroy(pair->sim, pair->sides[THEIR].domid);
	}
}

/* A step of the peer's process: nothing, once it is dead. */
static void peer_step(struct pair *pair, enum strict_step step, struct fuzz_input *input)
{
	struct pair_side *peer = &pair->sides[THEIR];

	if (!peer->sim_hv)
		return;
	if (step == STEP_RX)
		argo_ring_release(argo_of(peer->link->transport)->ring, fuzz_u32(input));
	else if (step == STEP_MESSAGE)
		inject_message(peer->sim_hv, argo_of(peer->link->transport)->ring, input);
	else
		peer_reads(pair);
}

static void strict_step(struct pair *pair, enum strict_step step, struct fuzz_input *input)
{
	switch (step) {
	case STEP_RX:
	case STEP_MESSAGE:
	case STEP_READ:
		peer_step(pair, step, input);
		break;
	case STEP_REFUSED:
		refuse(input);
		break;
	case STEP_STRANGER:
		inject_as_stranger(pair, input);
		break;
	case STEP_MORE:
		keep_back(pair, input);
		break;
	case STEP_SLEEP:
		sleep_and_wake(pair, input);
		break;
	case STEP_PAUSE:
		sim_clock_advance(pair->sim, PAUSE_NS);
		break;
	case STEP_END:
		end(pair, input);
		break;
	default:
		link_step(pair, (enum link_step)step, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	struct pair *pair = pair_new_strict(RING_LEN);

	link_begin(pair, &input);
	world_begin(pair);
	while (input.left) {
		strict_step(pair, fuzz_u8(&input) % STEP_LIMIT, &input);
		link_settle(pair);
	}
	pair->sides[MINE].sim_hv->ops = world.real;
	stranger_end(pair);
	pair_free(pair);
	return 0;
}
