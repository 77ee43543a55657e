/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels: allocation, binding, delivery, masks, and who may use which port. */
#include <signal.h>

#include "tests/conformance/case.h"

/* evtchn_alloc_unbound: port 0 is never valid; the remote need not exist. */
static void alloc_unbound(void)
{
	struct actor *a = world_actor(WORLD_A);
	uint32_t p, q, r;

	CHECK_OK(actor_alloc_unbound(a, HV_BROKER_DOMID, &p));
	CHECK_OK(actor_alloc_unbound(a, world_missing_domid(), &q));
	CHECK_OK(actor_alloc_unbound(a, HV_DOMID_SELF, &r));
	CHECK(p != 0 && q != 0 && r != 0);
	CHECK(p != q && q != r && p != r);
	CHECK_PORT_QUIET(a, p); /* only binding makes a port pending */
	CHECK_PORT_QUIET(a, r);
}

/* get_free_port: the lowest free port, so that a closed one comes back at once. */
static void alloc_reuses_lowest(void)
{
	struct actor *a = world_actor(WORLD_A);
	uint32_t p, q, again;

	CHECK_OK(actor_alloc_unbound(a, HV_BROKER_DOMID, &p));
	CHECK_OK(actor_alloc_unbound(a, HV_BROKER_DOMID, &q));
	CHECK_OK(actor_port_close(a, p));
	CHECK_OK(actor_alloc_unbound(a, HV_BROKER_DOMID, &again));
	CHECK_INT(again, p);
}

/* evtchn_bind_interdomain ends with evtchn_port_set_pending on the new local port. */
static void bind_is_pending_once(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	CHECK_OK(actor_alloc_unbound(a, b->domid, &pa));
	CHECK_OK(actor_bind(b, a->domid, pa, &pb));
	CHECK(pb != 0);
	CHECK_PORT(b, pb);
	CHECK_PORT_QUIET(b, pb); /* masked */
	CHECK_OK(actor_unmask(b, pb));
	CHECK_PORT_QUIET(b, pb);
	CHECK_PORT_QUIET(a, pa); /* the allocating side hears nothing */
}

/* Both ends send; each hears the other's, never its own. */
static void send_both_ways(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	for (int i = 0; i < 3; i++) {
		CHECK_OK(actor_send(a, pa));
		CHECK_PORT(b, pb);
		CHECK_OK(actor_unmask(b, pb));
		CHECK_PORT_QUIET(a, pa);
		CHECK_OK(actor_send(b, pb));
		CHECK_PORT(a, pa);
		CHECK_OK(actor_unmask(a, pa));
		CHECK_PORT_QUIET(b, pb);
	}
}

/* Many sends, one event: before delivery, and while masked. */
static void events_coalesce(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	for (int i = 0; i < 5; i++)
		CHECK_OK(actor_send(a, pa));
	CHECK_PORT(b, pb);
	CHECK_PORT_QUIET(b, pb);
	for (int i = 0; i < 5; i++)
		CHECK_OK(actor_send(a, pa)); /* while masked */
	CHECK_PORT_QUIET(b, pb);
	CHECK_OK(actor_unmask(b, pb)); /* raises at once what became pending meanwhile */
	CHECK_PORT(b, pb);
	CHECK_OK(actor_unmask(b, pb));
	CHECK_PORT_QUIET(b, pb);
}

/* unmask: any number, ports that are not masked, ports that are nobody's. */
static void unmask_ignores_others(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb, odd[] = {0, UINT32_MAX, 4095, 1U << 20};

	actor_connect(a, b, &pa, &pb);
	CHECK_OK(actor_unmask_n(b, odd, ARRAY_SIZE(odd)));
	CHECK_OK(actor_unmask_n(b, odd, 0));
	CHECK_OK(actor_unmask(b, pb));
	CHECK_OK(actor_unmask(b, pb));
	CHECK_PORT_QUIET(b, pb);
	CHECK_OK(actor_send(a, pa));
	CHECK_PORT(b, pb);
}

#define N_PORTS 70 /* more than a word of pending bits */

/* One batch unmask for many ports; a small room in poll_events loses nothing. */
static void many_ports_in_batches(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa[N_PORTS], pb[N_PORTS];
	bool seen[N_PORTS] = {false};
	struct agent_event e[3];
	int n, total = 0;

	for (int i = 0; i < N_PORTS; i++) {
		CHECK_OK(actor_alloc_unbound(a, b->domid, &pa[i]));
		CHECK_OK(actor_bind(b, a->domid, pa[i], &pb[i]));
	}
	for (int round = 0; round < 2; round++) { /* the initial events, then sent ones */
		total = 0;
		while ((n = actor_poll(b, total ? 0 : the_world->wait_ms, 3, e)) > 0) {
			CHECK(n <= 3);
			for (int k = 0; k < n; k++) {
				int i = 0;

				CHECK_INT(e[k].type, HV_EVENT_PORT);
				while (i < N_PORTS && pb[i] != e[k].id)
					i++;
				CHECK(i < N_PORTS && seen[i] == (round == 1));
				seen[i] = !seen[i];
				total++;
			}
			/* ports that had no room keep the descriptor readable */
			CHECK_INT(actor_readable(b, 0), total < N_PORTS);
		}
		CHECK_INT(n, 0);
		CHECK_INT(total, N_PORTS);
		CHECK_OK(actor_unmask_n(b, pb, N_PORTS));
		if (round == 0)
			for (int i = N_PORTS - 1; i >= 0; i--)
				CHECK_OK(actor_send(a, pa[i]));
	}
}

static void poll_no_room(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct agent_event e[1];
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	CHECK_OK(actor_send(a, pa));
	CHECK_INT(actor_poll(b, 0, 0, e), 0);
	CHECK_PORT(b, pb);
}

/* A port whose other end is unbound swallows events: returns 0, and nothing arrives later. */
static void send_to_unbound(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	CHECK_OK(actor_alloc_unbound(a, b->domid, &pa));
	CHECK_OK(actor_send(a, pa));
	CHECK_OK(actor_bind(b, a->domid, pa, &pb));
	CHECK_PORT(b, pb); /* its own, initial */
	CHECK_OK(actor_unmask(b, pb));
	CHECK_PORT_QUIET(b, pb);
	CHECK_PORT_QUIET(a, pa);
}

static void bind_no_domain(void)
{
	struct actor *a = world_actor(WORLD_A);
	uint32_t p;

	CHECK_INT(actor_bind(a, world_missing_domid(), 1, &p), -ESRCH);
	CHECK_INT(actor_bind(a, 0x7ff5, 1, &p), -ESRCH); /* reserved: nobody's */
}

/* EINVAL for whatever is not unbound for the caller's domain. */
static void bind_wrong_port(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *d = world_actor(WORLD_BROKER);
	uint32_t pa, pb, p;

	CHECK_INT(actor_bind(b, a->domid, 0, &p), -EINVAL);
	CHECK_INT(actor_bind(b, a->domid, 900, &p), -EINVAL); /* never allocated */
	CHECK_INT(actor_bind(b, a->domid, 1U << 20, &p), -EINVAL);
	CHECK_INT(actor_bind(b, a->domid, UINT32_MAX, &p), -EINVAL);
	CHECK_OK(actor_alloc_unbound(a, b->domid, &pa));
	CHECK_INT(actor_bind(d, a->domid, pa, &p), -EINVAL); /* somebody else's */
	CHECK_INT(actor_bind(a, a->domid, pa, &p), -EINVAL);
	CHECK_OK(actor_bind(b, a->domid, pa, &pb));
	CHECK_INT(actor_bind(b, a->domid, pa, &p), -EINVAL); /* bound already */
	CHECK_INT(actor_bind(a, b->domid, pb, &p), -EINVAL); /* the other end, bound too */
	CHECK_OK(actor_port_close(b, pb));
	CHECK_OK(actor_port_close(a, pa));
	CHECK_INT(actor_bind(b, a->domid, pa, &p), -EINVAL); /* closed */
}

/* A failed bind must not cost the port that it had taken. */
static void bind_failure_takes_nothing(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t before, after, p;
	size_t n;

	CHECK_OK(actor_alloc_unbound(b, a->domid, &before));
	CHECK_OK(actor_port_close(b, before));
	CHECK_INT(actor_bind(b, a->domid, 900, &p), -EINVAL);
	/* more than twice what libxl lets a domain have */
	CHECK_INT(actor_bind_n(b, a->domid, 900, 2200, &n), -EINVAL);
	CHECK_INT(n, 2200);
	CHECK_OK(actor_alloc_unbound(b, a->domid, &after));
	CHECK_INT(after, before);
}

/* DOMID_SELF, and the own domid, mean the caller's domain; two ends in one domain work. */
static void bind_own_domain(void)
{
	struct actor *a = world_actor(WORLD_A), *a2 = actor_sibling(a);
	uint32_t p, q, r, s;

	CHECK_OK(actor_alloc_unbound(a, HV_DOMID_SELF, &p));
	CHECK_OK(actor_bind(a2, HV_DOMID_SELF, p, &q));
	CHECK_PORT(a2, q);
	CHECK_OK(actor_unmask(a2, q));
	CHECK_OK(actor_send(a, p));
	CHECK_PORT(a2, q);
	CHECK_OK(actor_alloc_unbound(a, a->domid, &r));
	CHECK_OK(actor_bind(a, a->domid, r, &s));
	CHECK_PORT(a, s);
	CHECK_OK(actor_send(a, s));
	CHECK_PORT(a, r);
	CHECK_PORT_QUIET(a2, r);
}

/* ENOTCONN for what is not a port of this handle (Linux's evtchn driver, and hv.h). */
static void foreign_ports_notconn(void)
{
	struct actor *a = world_actor(WORLD_A), *a2 = actor_sibling(a), *b = world_actor(WORLD_B);
	uint32_t pa, pb, bad[] = {0, 900, 4095, 1U << 20, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_INT(actor_send(a, bad[i]), -ENOTCONN);
		CHECK_INT(actor_port_close(a, bad[i]), -ENOTCONN);
	}
	actor_connect(a, b, &pa, &pb);
	CHECK_INT(actor_send(a2, pa), -ENOTCONN);
	CHECK_INT(actor_port_close(a2, pa), -ENOTCONN);
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT_QUIET(a2, pa);
	CHECK_PORT(a, pa);
	CHECK_OK(actor_unmask(a2, pa)); /* ignored: it stays masked for its owner */
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT_QUIET(a, pa);
	CHECK_OK(actor_unmask(a, pa));
	CHECK_PORT(a, pa);
	CHECK_OK(actor_port_close(a, pa));
	CHECK_INT(actor_port_close(a, pa), -ENOTCONN);
	CHECK_INT(actor_send(a, pa), -ENOTCONN);
}

/* The same between two processes of one domain. */
static void foreign_process_notconn(void)
{
	struct actor *a = world_actor(WORLD_A), *a2 = world_actor(WORLD_A);
	struct actor *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	CHECK_INT(actor_send(a2, pa), -ENOTCONN);
	CHECK_INT(actor_port_close(a2, pa), -ENOTCONN);
	CHECK_OK(actor_unmask(a2, pa));
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT_QUIET(a2, pa);
	CHECK_PORT(a, pa);
}

/* evtchn_close on the binder's side: silent unbinding, and the same domain may bind again. */
static void close_unbinds_silently(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *d = world_actor(WORLD_BROKER);
	uint32_t pa, pb, p;

	actor_connect(a, b, &pa, &pb);
	CHECK_OK(actor_port_close(b, pb));
	CHECK_PORT_QUIET(a, pa);
	CHECK_OK(actor_send(a, pa));			     /* lost */
	CHECK_INT(actor_bind(d, a->domid, pa, &p), -EINVAL); /* unbound for the closer alone */
	CHECK_OK(actor_bind(b, a->domid, pa, &pb));
	CHECK_PORT(b, pb);
	CHECK_OK(actor_unmask(b, pb));
	CHECK_PORT_QUIET(b, pb); /* events that were sent meanwhile are lost */
	CHECK_PORT_QUIET(a, pa); /* the old end is not made pending by rebinding */
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT(a, pa);
	CHECK_OK(actor_send(a, pa));
	CHECK_PORT(b, pb);
}

/* ... and on the allocator's side: the binder's end is then unbound for the allocator's domain. */
static void close_unbinds_either_end(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	CHECK_OK(actor_port_close(a, pa));
	CHECK_PORT_QUIET(b, pb);
	CHECK_OK(actor_send(b, pb));
	CHECK_OK(actor_bind(a, b->domid, pb, &pa));
	CHECK_PORT(a, pa);
	CHECK_OK(actor_unmask(a, pa));
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT(a, pa);
	CHECK_OK(actor_send(a, pa));
	CHECK_PORT(b, pb);
}

/* An event that came before the other end closed is still there afterwards. */
static void close_keeps_earlier_event(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	CHECK_OK(actor_send(b, pb));
	CHECK_OK(actor_port_close(b, pb));
	CHECK_PORT(a, pa);
	CHECK_OK(actor_unmask(a, pa));
	CHECK_PORT_QUIET(a, pa);
}

/* A masked or pending port that is closed and allocated again starts clean. */
static void reused_port_is_clean(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb, old;

	actor_connect(a, b, &pa, &pb);
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT(a, pa); /* masked from here on, and pending once more */
	CHECK_OK(actor_send(b, pb));
	CHECK_OK(actor_port_close(b, pb));
	CHECK_OK(actor_port_close(a, pa));
	old = pa;
	actor_connect(a, b, &pa, &pb);
	CHECK_INT(pa, old);
	CHECK_PORT_QUIET(a, pa);
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT(a, pa); /* not masked by its predecessor */
	CHECK_OK(actor_unmask(a, pa));
	CHECK_OK(actor_send(b, pb)); /* pending, not yet seen, when it closes */
	CHECK_OK(actor_port_close(b, pb));
	CHECK_OK(actor_port_close(a, pa));
	CHECK_PORT_QUIET(a, pa);
	actor_connect(a, b, &pa, &pb);
	CHECK_INT(pa, old);
	CHECK_PORT_QUIET(a, pa);
}

/* Closing a handle closes its ports, and no other's. */
static void handle_close_frees_ports(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = actor_sibling(b);
	uint32_t p1, p2, q1, q2;

	actor_connect(a, b, &p1, &q1);
	actor_connect(a, b2, &p2, &q2);
	actor_close(b2);
	CHECK_PORT_QUIET(a, p2);
	CHECK_OK(actor_send(a, p2));
	CHECK_OK(actor_send(a, p1));
	CHECK_PORT(b, q1);
	CHECK_OK(actor_bind(b, a->domid, p2, &q2));
	CHECK_PORT(b, q2);
	CHECK_OK(actor_send(b, q2));
	CHECK_PORT(a, p2);
}

/* ENOSPC at the domain's limit, looked at before the remote port; freed ports come back. */
static void ports_run_out(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ports[4200], others[4200], pb, p;
	size_t n, m;

	CHECK_OK(actor_alloc_unbound(b, a->domid, &pb));
	CHECK_INT(actor_alloc_unbound_n(a, b->domid, 4200, ports, &n), -ENOSPC);
	CHECK(n > 900);
	CHECK_INT(actor_bind(a, b->domid, pb, &p), -ENOSPC);
	CHECK_INT(actor_bind(a, b->domid, 900, &p), -ENOSPC);		/* before EINVAL */
	CHECK_INT(actor_bind(a, world_missing_domid(), 1, &p), -ESRCH); /* after ESRCH */
	CHECK_OK(actor_port_close(a, ports[n / 2]));
	CHECK_OK(actor_bind(a, b->domid, pb, &p));
	CHECK_INT(p, ports[n / 2]);
	CHECK_OK(actor_port_close_n(a, ports, n, &m)); /* ports[n / 2] is p, too */
	CHECK_INT(m, n);
	CHECK_INT(actor_alloc_unbound_n(a, b->domid, 4200, others, &m), -ENOSPC);
	CHECK_INT(m, n);
}

/* A live process holds the port: EINVAL; it is killed: the successor binds it, in a while. */
static void port_of_dying_process(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = world_actor(WORLD_B);
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	CHECK_INT(actor_bind(b2, a->domid, pa, &pb), -EINVAL);
	actor_kill(b);
	CHECK_SOON(actor_bind(b2, a->domid, pa, &pb), 0);
	CHECK_PORT(b2, pb);
	CHECK_OK(actor_unmask(b2, pb));
	CHECK_PORT_QUIET(a, pa); /* neither its death nor the rebinding said a word */
	CHECK_OK(actor_send(b2, pb));
	CHECK_PORT(a, pa);
	CHECK_OK(actor_send(a, pa));
	CHECK_PORT(b2, pb);
}

/* A stopped process still holds its ports, and events for it wait. */
static void port_of_stopped_process(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = world_actor(WORLD_B);
	uint32_t pa, pb, p;

	actor_connect(a, b, &pa, &pb);
	actor_signal(b, SIGSTOP);
	CHECK_INT(actor_bind(b2, a->domid, pa, &p), -EINVAL);
	CHECK_OK(actor_send(a, pa));
	actor_signal(b, SIGCONT);
	CHECK_PORT(b, pb);
}

#define G WORLD_GUESTS

static const struct test_case cases[] = {
	{"alloc_unbound", G, alloc_unbound},
	{"alloc_reuses_lowest", G | WORLD_QUIET, alloc_reuses_lowest},
	{"bind_is_pending_once", G, bind_is_pending_once},
	{"send_both_ways", G, send_both_ways},
	{"events_coalesce", G, events_coalesce},
	{"unmask_ignores_others", G, unmask_ignores_others},
	{"many_ports_in_batches", G, many_ports_in_batches},
	{"poll_no_room", G, poll_no_room},
	{"send_to_unbound", G, send_to_unbound},
	{"bind_no_domain", G, bind_no_domain},
	{"bind_wrong_port", G | WORLD_QUIET, bind_wrong_port},
	{"bind_failure_takes_nothing", G | WORLD_QUIET, bind_failure_takes_nothing},
	{"bind_own_domain", G, bind_own_domain},
	{"foreign_ports_notconn", G, foreign_ports_notconn},
	{"foreign_process_notconn", G, foreign_process_notconn},
	{"close_unbinds_silently", G, close_unbinds_silently},
	{"close_unbinds_either_end", G, close_unbinds_either_end},
	{"close_keeps_earlier_event", G, close_keeps_earlier_event},
	{"reused_port_is_clean", G | WORLD_QUIET, reused_port_is_clean},
	{"handle_close_frees_ports", G, handle_close_frees_ports},
	{"ports_run_out", G | WORLD_QUIET, ports_run_out},
	{"port_of_dying_process", G | WORLD_KILL, port_of_dying_process},
	{"port_of_stopped_process", G | WORLD_PROCESSES, port_of_stopped_process},
};

const struct test_group evtchn_group = {"evtchn", cases, ARRAY_SIZE(cases)};
