/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the emulator's unit tests: a small world (Domain-0, "a", "b", a handle in each guest),
 * and the check of every invariant that each test ends with.
 */
#ifndef MSGD_TESTS_UNIT_SIM_SUPPORT_H
#define MSGD_TESTS_UNIT_SIM_SUPPORT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hv/sim/testing/sim.h"

struct world {
	struct sim *sim;
	struct xen *xen;
	uint16_t a, b; /* domids */
	struct hv *hv_a, *hv_b;
};

static inline int world_setup(void **state)
{
	static struct world w;

	w = (struct world){0};
	assert_int_equal(sim_create(&w.sim), 0);
	w.xen = sim_xen(w.sim);
	assert_int_equal(
		sim_domain_create(w.sim, &(struct sim_domain_config){.name = "a"}, &w.a), 0);
	assert_int_equal(
		sim_domain_create(w.sim, &(struct sim_domain_config){.name = "b"}, &w.b), 0);
	assert_int_equal(sim_hv_open(w.sim, w.a, &w.hv_a), 0);
	assert_int_equal(sim_hv_open(w.sim, w.b, &w.hv_b), 0);
	*state = &w;
	return 0;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;
	int bad = sim_check(w->sim, stderr);

	hv_close(w->hv_a);
	hv_close(w->hv_b);
	bad += sim_check(w->sim, stderr);
	sim_free(w->sim);
	return bad;
}

/* Owners that died with a lock of either kind; of those, the ones whose publishing was finished. */
static inline uint32_t n_recovered(const struct world *w)
{
	return atomic_load(&w->xen->seg->recovered_all.n_recovered) +
	       atomic_load(&w->xen->seg->recovered_domain.n_recovered);
}

static inline uint32_t n_redone(const struct world *w)
{
	return atomic_load(&w->xen->seg->recovered_all.n_redone) +
	       atomic_load(&w->xen->seg->recovered_domain.n_redone);
}

/* A process that dies at a step of a transaction: its hook, and where it gets out to. */
struct cut {
	jmp_buf jump;
	int left;
};

static inline void cut_step(void *arg)
{
	struct cut *cut = arg;

	if (--cut->left == 0)
		longjmp(cut->jump, 1);
}

#define SIM_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

#endif
