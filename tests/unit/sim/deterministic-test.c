/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deterministic mode without tasks: each fault gives what Xen gives, and changes nothing; and the
 * seed decides which. tests/simulate/tasks-test.c has the tests that need tasks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sim/support.h"

#include "hv/sim/memory/page.h"

#define APORT	 7
#define RING_LEN 4096U

struct det {
	struct sim *sim;
	struct xen *xen;
	uint16_t a, b;
	struct hv *hv_a, *hv_b;
	char *trace;
	size_t trace_len;
	FILE *out;
};

static void on_line(void *arg, const char *line)
{
	(void)fprintf(((struct det *)arg)->out, "%s\n", line);
}

static void det_open(struct det *d, struct sim_choices choices)
{
	*d = (struct det){0};
	d->out = open_memstream(&d->trace, &d->trace_len);
	choices.trace = on_line;
	choices.trace_arg = d;
	assert_int_equal(sim_create(&d->sim), 0);
	assert_int_equal(sim_deterministic(d->sim, &choices), 0);
	d->xen = sim_xen(d->sim);
	assert_int_equal(
		sim_domain_create(d->sim, &(struct sim_domain_config){.name = "a"}, &d->a), 0);
	assert_int_equal(
		sim_domain_create(d->sim, &(struct sim_domain_config){.name = "b"}, &d->b), 0);
	assert_int_equal(sim_hv_open(d->sim, d->a, &d->hv_a), 0);
	assert_int_equal(sim_hv_open(d->sim, d->b, &d->hv_b), 0);
}

static void det_close(struct det *d)
{
	assert_int_equal(sim_check(d->sim, stderr), 0);
	hv_close(d->hv_a);
	hv_close(d->hv_b);
	assert_int_equal(sim_check(d->sim, stderr), 0);
	sim_free(d->sim);
	(void)fclose(d->out);
	free(d->trace);
}

static struct sim_domain *domain_of(struct det *d, uint16_t domid)
{
	return domain_at(d->xen, sim_domain_find(d->xen, domid));
}

/* ---- faults ---------------------------------------------------------------------------------- */

static int alloc(struct det *d)
{
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = d->b};

	return evtchn_op(d->xen, d->a, EVTCHNOP_alloc_unbound, &op);
}

static int call_alloc(struct det *d)
{
	uint32_t port;
	int r = d->hv_a->ops->evtchn_alloc_unbound(d->hv_a, d->b, &port);

	assert_int_equal(alloc(d), r);
	return r;
}

static int call_reset(struct det *d)
{
	evtchn_reset_t op = {.dom = DOMID_SELF};

	return evtchn_op(d->xen, d->a, EVTCHNOP_reset, &op);
}

static long ring_register(struct det *d, uint16_t partner)
{
	xen_argo_register_ring_t op = {.aport = APORT, .partner_id = partner, .len = RING_LEN};
	xen_argo_gfn_t gfns[2];
	uint64_t gfn;

	assert_int_equal(sim_pages_alloc(d->xen, d->b, 2, &gfn), 0);
	gfns[0] = gfn;
	gfns[1] = gfn + 1;
	return argo_op(d->xen, d->b, XEN_ARGO_OP_register_ring, &op, gfns, 2, 0);
}

static int call_register(struct det *d)
{
	xen_argo_register_ring_t op = {.aport = APORT, .partner_id = d->a, .len = RING_LEN};
	xen_argo_gfn_t gfns[2] = {0};

	/* The frames are not looked at before the failure. */
	return (int)argo_op(d->xen, d->b, XEN_ARGO_OP_register_ring, &op, gfns, 2, 0);
}

static long send(struct det *d, uint32_t len)
{
	static uint8_t data[RING_LEN];
	xen_argo_send_addr_t addr = {
		.src = {.aport = 1, .domain_id = d->a}, .dst = {.aport = APORT, .domain_id = d->b}};
	xen_argo_iov_t iov = {.iov_hnd = data, .iov_len = len};

	return (int)argo_op(d->xen, d->a, XEN_ARGO_OP_sendv, &addr, &iov, 1, 5);
}

static int call_send(struct det *d)
{
	assert_int_equal(
		send(d, RING_LEN), -EMSGSIZE); /* which Xen sees before it looks for room */
	return (int)send(d, 100);
}

static void grant(struct det *d, uint32_t ref)
{
	uint64_t gfn;

	assert_int_equal(sim_pages_alloc(d->xen, d->b, 1, &gfn), 0);
	domain_of(d, d->b)->grants[ref] =
		(uint64_t)GTF_permit_access | (uint64_t)d->a << 16 | gfn << 32;
}

static int call_map(struct det *d)
{
	gnttab_map_grant_ref_t op = {
		.host_addr = 0x100000, .dom = d->b, .ref = 100, .flags = GNTMAP_host_map};

	assert_int_equal(grant_table_op(d->xen, d->a, GNTTABOP_map_grant_ref, &op, 1), 0);
	return op.status;
}

static int call_map_hv(struct det *d)
{
	uint32_t ref = 100;
	struct hv_map *map;
	void *address;

	return d->hv_a->ops->grant_map(d->hv_a, d->b, &ref, 1, true, NULL, &address, &map);
}

static int call_copy(struct det *d)
{
	gnttab_copy_t op = {.source = {.domid = d->b, .u.ref = 100},
		.dest = {.domid = DOMID_SELF},
		.len = 8,
		.flags = GNTCOPY_source_gref};
	uint64_t gfn;

	for (gfn = 1; !page_is_owned(d->xen, gfn, sim_domain_find(d->xen, d->a)); gfn++)
		;
	op.dest.u.gmfn = gfn;
	assert_int_equal(grant_table_op(d->xen, d->a, GNTTABOP_copy, &op, 1), 0);
	return op.status;
}

static int call_share(struct det *d)
{
	struct hv_share *share;
	uint32_t ref;
	void *address;

	return d->hv_a->ops->grant_share(d->hv_a, d->b, 1, NULL, &ref, &address, &share);
}

static int call_publish(struct det *d)
{
	return d->hv_a->ops->store_publish(d->hv_a, "key", "x", 1);
}

static const struct {
	enum sim_fault fault;
	int (*call)(struct det *d);
	int result;
} faults[] = {
	{SIM_FAULT_PORT_ENOSPC, call_alloc, -ENOSPC},
	{SIM_FAULT_PORT_ENOMEM, call_alloc, -ENOMEM},
	{SIM_FAULT_RESET_EBUSY, call_reset, -EBUSY},
	{SIM_FAULT_REGISTER_ENOMEM, call_register, -ENOMEM},
	{SIM_FAULT_REGISTER_ENOSPC, call_register, -ENOSPC},
	{SIM_FAULT_REGISTER_EAGAIN, call_register, -EAGAIN},
	{SIM_FAULT_SENDV_ENOMEM, call_send, -ENOMEM},
	{SIM_FAULT_MAP_NO_SPACE, call_map, GNTST_no_space},
	{SIM_FAULT_MAP_NO_SPACE, call_map_hv, -ENOSPC},
	{SIM_FAULT_MAP_EAGAIN, call_map, GNTST_eagain},
	{SIM_FAULT_COPY_EAGAIN, call_copy, GNTST_eagain},
	{SIM_FAULT_SHARE_ENOSPC, call_share, -ENOSPC},
	{SIM_FAULT_PUBLISH_ENOSPC, call_publish, -ENOSPC},
};

/* All that a hypercall may change, but for the lock's and journal's own. */
static void state_copy(const struct det *d, uint8_t *ret)
{
	size_t head = offsetof(struct sim_segment, next_generation);

	memcpy(ret, (const uint8_t *)d->xen->seg + head, sizeof(struct sim_segment) - head);
}

/* Valid in every way but for the fault: the same call without it would succeed. */
static void fault_try(size_t i, uint8_t *before, uint8_t *after)
{
	struct sim_choices choices = {.seed = i};
	struct sim_stats stats;
	struct det d;

	det_open(&d, choices);
	grant(&d, 100);
	assert_int_equal(
		alloc(&d), 0); /* the first port table's part, which a failed call may add */
	if (faults[i].call == call_send)
		assert_int_equal(ring_register(&d, d.a), 0);
	if (faults[i].call == call_copy)
		assert_int_equal(sim_pages_alloc(d.xen, d.a, 1, &(uint64_t){0}), 0);
	sim_set_fault(d.sim, faults[i].fault, 1);
	state_copy(&d, before);
	assert_int_equal(faults[i].call(&d), faults[i].result);
	state_copy(&d, after);
	if (memcmp(before, after,
		    sizeof(struct sim_segment) - offsetof(struct sim_segment, next_generation)) !=
		0)
		fail_msg("%s has changed something", sim_fault_name(faults[i].fault));
	sim_get_stats(d.sim, &stats);
	assert_true(stats.faults[faults[i].fault] > 0);
	sim_set_fault(d.sim, faults[i].fault, 0);
	if (faults[i].call != call_register)
		assert_true(faults[i].call(&d) >= 0);
	det_close(&d);
}

static void test_faults(void **state)
{
	size_t len = sizeof(struct sim_segment) - offsetof(struct sim_segment, next_generation);
	uint8_t *before = malloc(len), *after = malloc(len);

	assert_true(before && after);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		fault_try(i, before, after);
	free(before);
	free(after);
}

/* Xen queues a wake-up with EAGAIN; EBUSY is for rings of many senders only. */
static void test_send_faults(void **state)
{
	struct sim_choices choices = {.seed = 1};
	struct det d;

	det_open(&d, choices);
	d.xen->seg->argo_mac_permissive = 1;
	assert_int_equal(ring_register(&d, d.a), 0);
	sim_set_fault(d.sim, SIM_FAULT_SENDV_EBUSY, 1);
	assert_int_equal(send(&d, 100), 100);
	sim_set_fault(d.sim, SIM_FAULT_SENDV_EAGAIN, 1);
	assert_int_equal(send(&d, 100), -EAGAIN);
	assert_int_equal(domain_of(&d, d.b)->n_waiting, 1);
	sim_set_fault(d.sim, SIM_FAULT_SENDV_EAGAIN, 0);
	assert_int_equal(send(&d, 100), 100);
	det_close(&d);

	det_open(&d, choices);
	d.xen->seg->argo_mac_permissive = 1;
	assert_int_equal(ring_register(&d, XEN_ARGO_DOMID_ANY), 0);
	sim_set_fault(d.sim, SIM_FAULT_SENDV_EBUSY, 1);
	assert_int_equal(send(&d, 100), -EBUSY);
	assert_int_equal(domain_of(&d, d.b)->n_waiting, 0);
	sim_set_fault(d.sim, SIM_FAULT_SENDV_EBUSY, 0);
	assert_int_equal(send(&d, 100), 100);
	det_close(&d);
}

/* A number of calls, of which a third fails, as the seed has it. */
static char *trace_of(uint64_t seed)
{
	struct sim_choices choices = {.seed = seed};
	struct det d;
	char *trace;
	uint8_t random[8];

	choices.fault_one_in[SIM_FAULT_PORT_ENOSPC] = 3;
	choices.fault_one_in[SIM_FAULT_SHARE_ENOSPC] = 3;
	det_open(&d, choices);
	for (int i = 0; i < 50; i++) {
		(void)alloc(&d);
		(void)call_share(&d);
		sim_random(d.sim, random, sizeof(random));
		sim_trace(d.sim, "%u, %u", sim_choose(d.sim, "one of ten", 10), random[0]);
	}
	(void)fflush(d.out);
	trace = strdup(d.trace);
	assert_non_null(trace);
	det_close(&d);
	return trace;
}

static void test_seed_decides(void **state)
{
	char *one = trace_of(1), *again = trace_of(1), *other = trace_of(2);

	assert_non_null(strstr(one, "fault port ENOSPC"));
	assert_non_null(strstr(one, "evtchn_op(6) = 0"));
	assert_non_null(strstr(one, "grant_share(2, 1) first 0 = -28"));
	assert_string_equal(one, again);
	assert_string_not_equal(one, other);
	free(one);
	free(again);
	free(other);
}

static void test_too_late(void **state)
{
	struct sim *sim;
	struct sim_choices choices = {.seed = 1};
	uint16_t domid;

	assert_int_equal(sim_create(&sim), 0);
	assert_int_equal(
		sim_domain_create(sim, &(struct sim_domain_config){.name = "a"}, &domid), 0);
	assert_int_equal(sim_deterministic(sim, &choices), -EBUSY);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_send_faults),
		cmocka_unit_test(test_seed_decides),
		cmocka_unit_test(test_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
