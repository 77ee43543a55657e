/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deterministic mode (sim.h): the seed, what it decides of failures and events, and the trace. The
 * tasks are in task.c. Everything is of one thread; what is called from inside a transaction must
 * not let another task run.
 */
#include "hv/sim/testing/deterministic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "hv/sim/guest/port.h"
#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/event.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/hypervisor/upcall.h"
#include "hv/sim/hypervisor/virq.h"

#define NOW_DEFAULT_NS 1000000000U
#define LINE_MAX_LEN   512U

static const char *const fault_names[SIM_N_FAULTS] = {
	[SIM_FAULT_PORT_ENOSPC] = "port ENOSPC",
	[SIM_FAULT_PORT_ENOMEM] = "port ENOMEM",
	[SIM_FAULT_RESET_EBUSY] = "reset EBUSY",
	[SIM_FAULT_REGISTER_ENOMEM] = "register_ring ENOMEM",
	[SIM_FAULT_REGISTER_ENOSPC] = "register_ring ENOSPC",
	[SIM_FAULT_REGISTER_EAGAIN] = "register_ring EAGAIN",
	[SIM_FAULT_SENDV_EAGAIN] = "sendv EAGAIN",
	[SIM_FAULT_SENDV_EBUSY] = "sendv EBUSY",
	[SIM_FAULT_SENDV_ENOMEM] = "sendv ENOMEM",
	[SIM_FAULT_MAP_NO_SPACE] = "map GNTST_no_space",
	[SIM_FAULT_MAP_EAGAIN] = "map GNTST_eagain",
	[SIM_FAULT_COPY_EAGAIN] = "copy GNTST_eagain",
	[SIM_FAULT_SHARE_ENOSPC] = "share ENOSPC",
	[SIM_FAULT_PUBLISH_ENOSPC] = "publish ENOSPC",
};

const char *sim_fault_name(enum sim_fault fault)
{
	return fault_names[fault];
}

/* ---- the seed ------------------------------------------------------------------------------- */

/* splitmix64 */
uint64_t det_draw(struct deterministic *det)
{
	uint64_t z = det->rng += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static uint64_t pick(struct deterministic *det, uint64_t n)
{
	return n ? det_draw(det) % n : 0;
}

/* True about once in n times; never for 0. */
static bool det_chance(struct deterministic *det, uint32_t one_in)
{
	return one_in && pick(det, one_in) == 0;
}

uint32_t sim_choose(struct sim *sim, const char *what, uint32_t n)
{
	uint32_t chosen = (uint32_t)pick(sim->det, n);

	sim_trace(sim, "choose %s: %u of %u", what, chosen, n);
	return chosen;
}

void sim_random(struct sim *sim, void *data, size_t len)
{
	uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(det_draw(sim->det) >> 56);
	sim_trace(sim, "random %zu bytes", len);
}

/* ---- the trace ------------------------------------------------------------------------------ */

static void trace_line(struct sim *sim, const char *who, const char *format, va_list args)
{
	const struct deterministic *det = sim->det;
	uint64_t now = atomic_load(&sim->authority.xen.seg->now_ns);
	char line[LINE_MAX_LEN];
	int n;

	n = snprintf(line, sizeof(line),
		"%" PRIu64 " %" PRIu64 ".%09" PRIu64 " %s: ", det->stats.steps, now / 1000000000U,
		now % 1000000000U, who);
	if (n > 0 && (size_t)n < sizeof(line))
		(void)vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	det->config.trace(det->config.trace_arg, line);
}

void det_trace(struct sim *sim, const char *who, const char *format, ...)
{
	va_list args;

	if (!det_traces(sim))
		return;
	va_start(args, format);
	trace_line(sim, who, format, args);
	va_end(args);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!det_traces(sim))
		return;
	va_start(args, format);
	trace_line(sim, det_task_name(sim), format, args);
	va_end(args);
}

/* ---- the emulator's questions --------------------------------------------------------------- */

static bool on_fault(struct xen *xen, enum sim_fault fault)
{
	struct sim *sim = sim_of(xen);
	struct deterministic *det = sim->det;

	if (det->no_faults || !det_chance(det, det->config.fault_one_in[fault]))
		return false;
	det->stats.faults[fault]++;
	sim_trace(sim, "fault %s", fault_names[fault]);
	return true;
}

/* Some time from now, and not at once. */
static uint64_t later(struct sim *sim)
{
	struct deterministic *det = sim->det;

	return atomic_load(&sim->authority.xen.seg->now_ns) + 1 + pick(det, det->config.late_ns);
}

static bool on_hold(struct xen *xen, uint32_t domain, uint32_t vcpu)
{
	struct sim *sim = sim_of(xen);
	struct deterministic *det = sim->det;
	uint64_t *due = &det->interrupt_ns[domain][vcpu];

	if (det->delivering)
		return false;
	det->stats.interrupts++;
	if (*due) {
		det->stats.coalesced++;
	} else if (det_chance(det, det->config.late_one_in)) {
		det->stats.late++;
		*due = later(sim);
	}
	det_trace(sim, "xen", "interrupt domain %u vcpu %u%s", domain_at(xen, domain)->domid, vcpu,
		*due ? " later" : "");
	return *due != 0;
}

static bool on_held(struct xen *xen, uint32_t domain, uint32_t vcpu)
{
	return sim_of(xen)->det->interrupt_ns[domain][vcpu] != 0;
}

static void on_room_later(struct xen *xen, uint32_t domain)
{
	struct sim *sim = sim_of(xen);

	if (!sim->det->room_ns[domain])
		sim->det->room_ns[domain] = later(sim);
}

static void on_enter(struct xen *xen)
{
	det_preempt(sim_of(xen));
}

static void on_leave(struct xen *xen, uint16_t domid, const char *call, unsigned int cmd, long r)
{
	struct sim *sim = sim_of(xen);

	sim_trace(sim, "domain %u %s(%u) = %ld", domid, call, cmd, r);
}

static const struct xen_choices choices = {
	.fault = on_fault,
	.hold = on_hold,
	.held = on_held,
	.room_later = on_room_later,
	.enter = on_enter,
	.leave = on_leave,
};

void det_preempt(struct sim *sim)
{
	struct deterministic *det = sim->det;

	det->stats.calls++;
	if (!det->current || !det_chance(det, det->config.preempt_one_in))
		return;
	det->stats.preempted++;
	sim_task_yield(sim);
}

/* ---- events --------------------------------------------------------------------------------- */

/* The domain's index may have been given to another one: to that it is an interrupt for nothing. */
static void interrupt_deliver(struct sim *sim, uint32_t domain, uint32_t vcpu)
{
	struct xen *xen = &sim->authority.xen;
	const struct sim_domain *d = domain_at(xen, domain);
	struct kick_set kicks = {0};

	sim->det->interrupt_ns[domain][vcpu] = 0;
	if (d->state == SIM_DOMAIN_FREE || d->state == SIM_DOMAIN_DYING || vcpu >= d->n_vcpus)
		return;
	det_trace(sim, "xen", "late interrupt domain %u vcpu %u", d->domid, vcpu);
	sim->det->delivering = true;
	txn_begin(xen);
	upcall_interrupt(xen, domain, vcpu, &kicks);
	txn_commit(xen);
	sim->det->delivering = false;
	kick_all(xen, &kicks);
}

/* Does what the receiver's notify does when it has read on. */
static void room_deliver(struct sim *sim, uint32_t domain)
{
	struct xen *xen = &sim->authority.xen;
	const struct sim_domain *d = domain_at(xen, domain);

	sim->det->room_ns[domain] = 0;
	if (d->state == SIM_DOMAIN_FREE || d->state == SIM_DOMAIN_DYING)
		return;
	det_trace(sim, "xen", "room in the rings of domain %u", d->domid);
	txn_begin(xen);
	argo_check_waiters_locked(xen, domain);
	txn_commit(xen);
}

/* The n-th port of the slot's, or how many there are. */
static uint32_t port_of_slot(struct xen *xen, uint32_t slot, uint32_t n, uint32_t *ret_port)
{
	uint32_t n_ports = domain_at(xen, slot_domain(xen, slot))->n_valid_ports, found = 0;

	for (uint32_t port = 1; port < n_ports; port++) {
		if (!guest_port_is_mine(xen, slot, port))
			continue;
		if (found++ == n)
			*ret_port = port;
	}
	return found;
}

static void spurious_port(struct sim *sim, uint32_t slot)
{
	struct xen *xen = &sim->authority.xen;
	uint32_t domain = slot_domain(xen, slot), port, n;

	n = port_of_slot(xen, slot, UINT32_MAX, &port);
	if (!n)
		return;
	(void)port_of_slot(xen, slot, (uint32_t)pick(sim->det, n), &port);
	det_trace(sim, "xen", "spurious event domain %u port %u", domain_at(xen, domain)->domid,
		port);
	txn_begin(xen);
	port_raise_locked(xen, domain, port);
	txn_commit(xen);
}

static void spurious_flags(struct sim *sim, uint32_t slot)
{
	struct xen *xen = &sim->authority.xen;
	uint32_t flags = 0;

	if (sim->authority.store.watchers[slot].on)
		flags |= SIM_SLOT_STORE;
	if (atomic_load(&slot_at(xen, slot)->watches_domains))
		flags |= SIM_SLOT_DOMAINS;
	det_trace(sim, "xen", "spurious wake-up of slot %u, flags %u", slot, flags);
	slot_set_flags(xen, slot, flags);
	kick_slot(xen, slot);
}

static void spurious(struct sim *sim)
{
	struct xen *xen = &sim->authority.xen;
	uint32_t slots[SIM_MAX_SLOTS], n = 0, slot;

	for (uint32_t i = 1; i < SIM_MAX_SLOTS; i++)
		if (sim->handles[i])
			slots[n++] = i;
	if (!n)
		return;
	slot = slots[pick(sim->det, n)];
	sim->det->stats.spurious++;
	switch (pick(sim->det, 3)) {
	case 0:
		spurious_port(sim, slot);
		break;
	case 1:
		spurious_flags(sim, slot);
		break;
	default:
		det_trace(sim, "xen", "spurious VIRQ_ARGO domain %u",
			domain_at(xen, slot_domain(xen, slot))->domid);
		txn_begin(xen);
		virq_argo_locked(xen, slot_domain(xen, slot));
		txn_commit(xen);
		break;
	}
}

static void deaths(struct sim *sim)
{
	struct deterministic *det = sim->det;

	for (uint32_t i = 0; i < SIM_DEATHS_MAX; i++) {
		struct sim_death *death = &det->deaths[i];

		if (!death->step || death->step > det->stats.steps)
			continue;
		death->step = 0;
		if (sim_domain_destroy(sim, death->domid) < 0)
			continue;
		det->stats.destroyed++;
		if (det->config.destroyed)
			det->config.destroyed(det->config.destroyed_arg, death->domid);
	}
}

void det_events(struct sim *sim)
{
	struct deterministic *det = sim->det;
	uint64_t now = atomic_load(&sim->authority.xen.seg->now_ns);

	deaths(sim);
	for (uint32_t domain = 0; domain < SIM_MAX_DOMAINS; domain++) {
		if (det->room_ns[domain] && det->room_ns[domain] <= now)
			room_deliver(sim, domain);
		for (uint32_t vcpu = 0; vcpu < SIM_MAX_VCPUS; vcpu++)
			if (det->interrupt_ns[domain][vcpu] &&
				det->interrupt_ns[domain][vcpu] <= now)
				interrupt_deliver(sim, domain, vcpu);
	}
	if (det_chance(det, det->config.spurious_one_in))
		spurious(sim);
}

static void earlier(uint64_t *first, uint64_t ns)
{
	if (ns && ns < *first)
		*first = ns;
}

uint64_t det_next_event(struct sim *sim)
{
	const struct deterministic *det = sim->det;
	uint64_t first = UINT64_MAX;

	for (uint32_t domain = 0; domain < SIM_MAX_DOMAINS; domain++) {
		const struct sim_domain *d = domain_at(&sim->authority.xen, domain);
		uint32_t n_vcpus = d->state == SIM_DOMAIN_FREE ? 0 : d->n_vcpus;

		earlier(&first, det->room_ns[domain]);
		for (uint32_t vcpu = 0; vcpu < SIM_MAX_VCPUS; vcpu++)
			earlier(&first, det->interrupt_ns[domain][vcpu]);
		for (uint32_t vcpu = 0; vcpu < n_vcpus; vcpu++)
			earlier(&first, d->vcpus[vcpu].timer_ns);
	}
	return first;
}

/* ---- the mode ------------------------------------------------------------------------------- */

int sim_deterministic(struct sim *sim, const struct sim_choices *config)
{
	struct deterministic *det;

	if (sim->det || sim->n_ref != 1 || sim->authority.next_domid != 1)
		return -EBUSY;
	det = calloc(1, sizeof(*det));
	if (!det)
		return -ENOMEM;
	det->config = *config;
	det->rng = config->seed;
	TAILQ_INIT(&det->tasks);
	sim->det = det;
	sim_clock_virtual(sim, config->now_ns ? config->now_ns : NOW_DEFAULT_NS);
	det_attach(sim, &sim->authority.xen);
	return 0;
}

void sim_set_fault(struct sim *sim, enum sim_fault fault, uint32_t one_in)
{
	sim->det->config.fault_one_in[fault] = one_in;
}

void det_attach(struct sim *sim, struct xen *xen)
{
	xen->choices = sim->det ? &choices : NULL;
}

void det_free(struct sim *sim)
{
	if (!sim->det)
		return;
	det_tasks_free(sim);
	free(sim->det);
	sim->det = NULL;
}

int sim_destroy_at(struct sim *sim, uint16_t domid, uint64_t step)
{
	for (uint32_t i = 0; i < SIM_DEATHS_MAX; i++) {
		if (sim->det->deaths[i].step)
			continue;
		sim->det->deaths[i] = (struct sim_death){.step = step ? step : 1, .domid = domid};
		return 0;
	}
	return -ENOSPC;
}

void sim_get_stats(struct sim *sim, struct sim_stats *ret_stats)
{
	*ret_stats = sim->det->stats;
}

int sim_task_local(struct sim *sim, void *memory, size_t len)
{
	struct deterministic *det = sim->det;

	if (det->n_locals == SIM_LOCALS_MAX || !TAILQ_EMPTY(&det->tasks))
		return -ENOSPC;
	det->locals_len += len;
	det->locals[det->n_locals++] = (struct sim_local){.memory = memory, .len = len};
	return 0;
}
