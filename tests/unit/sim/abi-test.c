/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A test as others write them, for the ABI alone: the middle of this file knows nothing but Xen's
 * public headers, and would run in a guest's kernel mode as it is. The glue before it is all that
 * the emulator asks of such a program.
 */
#include "tests/unit/sim/support.h"

#include <stdatomic.h>
#include <string.h>

/* ---- glue ---------------------------------------------------------------------------------- */

static struct world *world;

static long hypercall_argo_op(
	unsigned int cmd, void *arg1, void *arg2, uint32_t arg3, uint32_t arg4)
{
	return argo_op(world->xen, world->a, cmd, arg1, arg2, arg3, arg4);
}

/* A page of ours and its frame number. */
static void *page_alloc(xen_argo_gfn_t *ret_gfn)
{
	assert_int_equal(sim_pages_alloc(world->xen, world->a, 1, ret_gfn), 0);
	return sim_page(world->xen, *ret_gfn);
}

#define SELF		  world->a
#define EXPECT(got, want) assert_int_equal(got, want)

/* ---- the program --------------------------------------------------------------------------- */

#define APORT	5U
#define TYPE	0x12345678U
#define RING	(4096U - sizeof(xen_argo_ring_t))
#define MESSAGE "one message to oneself"

static long ring_register(uint32_t aport, uint32_t len, xen_argo_gfn_t *gfns, uint32_t n)
{
	xen_argo_register_ring_t request = {.aport = aport, .partner_id = SELF, .len = len};

	return hypercall_argo_op(
		XEN_ARGO_OP_register_ring, &request, gfns, n, XEN_ARGO_REGISTER_FLAG_FAIL_EXIST);
}

static long ring_unregister(uint32_t aport)
{
	xen_argo_unregister_ring_t request = {.aport = aport, .partner_id = SELF};

	return hypercall_argo_op(XEN_ARGO_OP_unregister_ring, &request, NULL, 0, 0);
}

/* Xen's answer about a ring: flags; the room in *ret_max. */
static uint16_t ring_query(uint32_t aport, uint32_t space, uint32_t *ret_max)
{
	_Alignas(8) uint8_t bytes[sizeof(xen_argo_ring_data_t) + sizeof(xen_argo_ring_data_ent_t)];
	xen_argo_ring_data_t *query = (xen_argo_ring_data_t *)bytes;

	memset(bytes, 0, sizeof(bytes));
	query->nent = 1;
	query->data[0].ring.aport = aport;
	query->data[0].ring.domain_id = SELF;
	query->data[0].space_required = space;
	EXPECT(hypercall_argo_op(XEN_ARGO_OP_notify, query, NULL, 0, 0), 0);
	*ret_max = query->data[0].max_message_size;
	return query->data[0].flags;
}

static long message_send(uint32_t aport)
{
	xen_argo_send_addr_t address = {.src = {.aport = aport, .domain_id = SELF},
		.dst = {.aport = aport, .domain_id = SELF}};
	xen_argo_iov_t iov = {.iov_hnd = (uint8_t *)(uintptr_t)MESSAGE, .iov_len = sizeof(MESSAGE)};

	return (int)hypercall_argo_op(XEN_ARGO_OP_sendv, &address, &iov, 1, TYPE);
}

static void round_trip(void)
{
	const uint32_t slot = XEN_ARGO_MSG_SLOT_SIZE;
	const uint32_t taken = sizeof(struct xen_argo_ring_message_header) +
			       (sizeof(MESSAGE) + slot - 1) / slot * slot;
	const struct xen_argo_ring_message_header *message;
	xen_argo_gfn_t gfn;
	xen_argo_ring_t *ring = page_alloc(&gfn);
	uint32_t max;

	/* A probe that is bound to fail tells that there is Argo. */
	EXPECT(ring_register(APORT, 1, &gfn, 1), -EINVAL);
	EXPECT(ring_query(APORT, 0, &max), 0);
	EXPECT(max, 0);
	EXPECT(message_send(APORT), -ECONNREFUSED);
	EXPECT(ring_unregister(APORT), -ENOENT);

	EXPECT(ring_register(APORT, RING, &gfn, 1), 0);
	EXPECT(ring_register(APORT, RING, &gfn, 1), -EEXIST);
	EXPECT(ring->rx_ptr, 0);
	EXPECT(ring->tx_ptr, 0);
	EXPECT(ring_query(APORT, 64, &max),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_EMPTY | XEN_ARGO_RING_SUFFICIENT);
	assert_in_range(max, 1, RING);

	EXPECT(message_send(APORT), (long)sizeof(MESSAGE));
	EXPECT(ring->rx_ptr, 0);
	EXPECT(ring->tx_ptr, taken);
	message = (const struct xen_argo_ring_message_header *)ring->ring;
	EXPECT(message->len, sizeof(*message) + sizeof(MESSAGE));
	EXPECT(message->source.aport, APORT);
	EXPECT(message->source.domain_id, SELF);
	EXPECT(message->source.pad, 0);
	EXPECT(message->message_type, TYPE);
	assert_memory_equal(message->data, MESSAGE, sizeof(MESSAGE));
	EXPECT(ring_query(APORT, 64, &max), XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_SUFFICIENT);

	EXPECT(ring_unregister(APORT), 0);
	EXPECT(ring_query(APORT, 0, &max), 0);
	EXPECT(ring->tx_ptr, taken); /* the memory is the guest's, and stays as it was */
}

/* ---- end of the program ------------------------------------------------------------------ */

static void test_argo_round_trip(void **state)
{
	world = *state;
	round_trip();
	round_trip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {SIM_TEST(test_argo_round_trip)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
