/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels with two-level ports. */
#include "tests/listing/listing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const domid_t some_domids[] = {DOMID_SELF, MISSING, 0x7fef, DOMID_IO, DOMID_XEN, DOMID_COW,
	DOMID_INVALID, DOMID_IDLE, 0x8000, 0xffff};

static void call_vcpu(uint32_t port, uint32_t vcpu)
{
	evtchn_bind_vcpu_t op = {.port = port, .vcpu = vcpu};
	long r = shell_evtchn_op(EVTCHNOP_bind_vcpu, &op);

	line_begin("bind_vcpu");
	put_port("port", port);
	put_field("vcpu", vcpu);
	put_result(r);
	line_end();
}

static void call_pirq(uint32_t pirq, uint32_t flags)
{
	evtchn_bind_pirq_t op = {.pirq = pirq, .flags = flags, .port = 0};
	long r = shell_evtchn_op(EVTCHNOP_bind_pirq, &op);

	line_begin("bind_pirq");
	put_field("pirq", pirq);
	put_field("flags", flags);
	put_result(r);
	put_port("port", op.port);
	line_end();
}

/* The argument can be read, but the answer not written. */
static void call_readonly(const char *operation, int cmd, const void *arg, size_t len)
{
	line_begin(operation);
	put(" arg=read-only");
	put_result(shell_evtchn_op(cmd, shell_readonly(arg, len)));
	line_end();
}

/* Ports that nobody has: closed, reserved, out of what is valid, out of what can be. */
static void each_wrong_port(uint32_t free_port, void (*call)(uint32_t port))
{
	const uint32_t ports[] = {
		free_port, 0, 1024, 4095, 4096, 131071, 131072, 0x7fffffff, 0x80000000, 0xffffffff};

	for (unsigned int i = 0; i < COUNT(ports); i++)
		call(ports[i]);
}

static void wrong_close(uint32_t port)
{
	(void)call_close(port);
}
static void wrong_send(uint32_t port)
{
	call_send(port, 0);
}
static void wrong_status(uint32_t port)
{
	call_status(DOMID_SELF, port);
}
static void wrong_bind(uint32_t port)
{
	(void)call_bind(DOMID_SELF, port);
}
static void wrong_vcpu(uint32_t port)
{
	call_vcpu(port, 0);
}

static long probe_always(void)
{
	return 0;
}

/* EFAULT is what an operation that is there says of no argument. */
static long probe(int cmd)
{
	long r = shell_evtchn_op(cmd, NULL);

	return r == -XEN_EFAULT ? 0 : r;
}

static void run_unknown(void)
{
	static const int commands[] = {15, 16, 63, 0x7fffffff, -1, -2147483647 - 1};

	for (unsigned int i = 0; i < COUNT(commands); i++) {
		line_begin("event_channel_op");
		put_field("cmd", (unsigned int)commands[i]);
		put_result(shell_evtchn_op(commands[i], shell_page(0)));
		line_end();
	}
}

static void run_alloc(void)
{
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
	uint32_t ports[4], port;

	for (unsigned int i = 0; i < COUNT(some_domids); i++) {
		port = call_alloc(some_domids[i], DOMID_SELF);
		if (port) {
			call_status(DOMID_SELF, port);
			(void)call_close(port);
		}
	}
	for (unsigned int i = 0; i < COUNT(some_domids); i++) {
		port = call_alloc(DOMID_SELF, some_domids[i]);
		if (port) {
			call_status(DOMID_SELF, port);
			(void)call_close(port);
		}
	}
	port = call_alloc(listing_self, listing_self);
	call_status(listing_self, port);
	(void)call_close(port);
	(void)call_alloc(0, DOMID_SELF);
	(void)call_alloc(0, listing_self);
	(void)call_alloc(0, 0);
	(void)call_alloc(0, MISSING);
	port = call_alloc(DOMID_SELF, 0);
	call_status(DOMID_SELF, port);
	(void)call_close(port);

	/* the lowest that is free */
	for (unsigned int i = 0; i < COUNT(ports); i++)
		ports[i] = call_alloc(DOMID_SELF, DOMID_SELF);
	(void)call_close(ports[2]);
	(void)call_close(ports[1]);
	ports[1] = call_alloc(DOMID_SELF, 0);
	ports[2] = call_alloc(DOMID_SELF, MISSING);
	call_status(DOMID_SELF, ports[1]);
	call_status(DOMID_SELF, ports[2]);
	for (unsigned int i = 0; i < COUNT(ports); i++)
		(void)call_close(ports[i]);

	fault_lines("alloc_unbound", EVTCHNOP_alloc_unbound, false);
	port = quiet_alloc(DOMID_SELF);
	quiet_close(port);
	call_readonly("alloc_unbound", EVTCHNOP_alloc_unbound, &op, sizeof(op));
	call_status(DOMID_SELF, port); /* it was made */
	(void)call_close(port);
}

static void run_bind(void)
{
	uint32_t a, b, c, virq;
	evtchn_bind_interdomain_t op = {.remote_dom = DOMID_SELF};

	a = call_alloc(DOMID_SELF, DOMID_SELF);
	for (unsigned int i = 1; i < COUNT(some_domids); i++)
		(void)call_bind(some_domids[i], a);
	(void)call_bind(0, 0);
	(void)call_bind(0, 4000);
	(void)call_bind(0, 0xffffffff);
	each_wrong_port(a + 1, wrong_bind);
	b = call_bind(DOMID_SELF, a);
	call_status(DOMID_SELF, a);
	call_status(DOMID_SELF, b);
	(void)call_bind(DOMID_SELF, a); /* is bound */
	(void)call_bind(DOMID_SELF, b);
	(void)call_close(b);
	call_status(DOMID_SELF, a);
	b = call_bind(listing_self, a); /* and again */
	(void)call_close(a);
	call_status(DOMID_SELF, b);
	a = call_bind(DOMID_SELF, b); /* the other way round */
	call_status(DOMID_SELF, a);
	call_status(DOMID_SELF, b);
	(void)call_close(a);
	(void)call_close(b);

	c = call_alloc(DOMID_SELF, 0); /* not for us */
	(void)call_bind(DOMID_SELF, c);
	(void)call_close(c);
	c = call_alloc(DOMID_SELF, MISSING);
	(void)call_bind(DOMID_SELF, c);
	(void)call_close(c);
	virq = call_virq(VIRQ_DEBUG, 0);
	(void)call_bind(DOMID_SELF, virq);
	(void)call_close(virq);
	(void)call_bind(DOMID_SELF, shell_console_port);
	call_status(DOMID_SELF, shell_console_port);
	call_status(DOMID_SELF, shell_store_port);

	/* a masked port, and one that is pending already */
	a = quiet_alloc(DOMID_SELF);
	port_mask(a + 1, true);
	b = call_bind(DOMID_SELF, a);
	(void)call_close(b);
	port_mask(a + 1, false);
	fault_lines("bind_interdomain", EVTCHNOP_bind_interdomain, false);
	op.remote_port = a;
	call_readonly("bind_interdomain", EVTCHNOP_bind_interdomain, &op, sizeof(op));
	call_status(DOMID_SELF, a);
	call_status(DOMID_SELF, a + 1);
	port_clear(a + 1);
	quiet_close(a + 1);
	quiet_close(a);
}

static void run_close(void)
{
	uint32_t a = quiet_alloc(DOMID_SELF), b = quiet_bind(a);
	evtchn_close_t op;

	each_wrong_port(b + 1, wrong_close);
	(void)call_close(a);
	(void)call_close(a);
	call_status(DOMID_SELF, a);
	call_status(DOMID_SELF, b);
	call_send(b, a);
	(void)call_close(b);
	(void)call_close(b);

	/* a pending event goes with the port, the mask stays */
	a = quiet_alloc(DOMID_SELF);
	b = quiet_bind(a);
	port_mask(b, true);
	{
		evtchn_send_t send = {.port = a};

		(void)shell_evtchn_op(EVTCHNOP_send, &send);
	}
	(void)call_close(b);
	call_unmask(b);
	port_clear(b);
	(void)call_close(a);
	a = call_virq(VIRQ_DEBUG, 0);
	(void)call_close(a);
	b = call_virq(VIRQ_DEBUG, 0); /* is free again */
	(void)call_close(b);
	fault_lines("close", EVTCHNOP_close, false);
	op.port = quiet_alloc(DOMID_SELF);
	call_readonly("close", EVTCHNOP_close, &op, sizeof(op)); /* has no answer */
	call_status(DOMID_SELF, op.port);
}

static void run_send(void)
{
	uint32_t a = quiet_alloc(DOMID_SELF), b = quiet_bind(a), c = quiet_alloc(0), virq;
	evtchn_send_t op = {.port = a};

	call_send(a, b);
	call_send(b, a);
	call_send(b, b);
	port_mask(b, true);
	call_send(a, b);
	port_mask(b, false);
	(void)shell_evtchn_op(EVTCHNOP_send, &op);
	*shell_events.selector = 0;
	*shell_events.upcall = 0;
	call_send(a, b); /* is pending: nothing happens */
	(void)shell_evtchn_op(EVTCHNOP_send, &op);
	shell_events.pending[b / 64] &= ~(1ULL << b % 64);
	*shell_events.upcall = 0;
	call_send(a, b); /* is selected: no upcall */
	call_send(c, c);
	virq = quiet_alloc(DOMID_SELF);
	quiet_close(virq);
	virq = call_virq(VIRQ_DEBUG, 0);
	call_send(virq, virq);
	(void)call_close(virq);
	each_wrong_port(virq, wrong_send);
	fault_lines("send", EVTCHNOP_send, false);
	call_readonly("send", EVTCHNOP_send, &op, sizeof(op));
	port_clear(b);
	quiet_close(a);
	call_send(b, b);
	quiet_close(b);
	quiet_close(c);
}

static void run_unmask(void)
{
	uint32_t a = quiet_alloc(DOMID_SELF), b = quiet_bind(a);
	evtchn_send_t send = {.port = a};
	evtchn_unmask_t op = {.port = b};

	call_unmask(b);
	port_mask(b, true);
	call_unmask(b);
	port_mask(b, true);
	(void)shell_evtchn_op(EVTCHNOP_send, &send);
	call_unmask(b);
	call_unmask(b);
	port_mask(b, true);
	call_unmask(b); /* pending and selected: no upcall anew */
	port_mask(b, true);
	*shell_events.upcall = 0;
	call_unmask(b);
	port_clear(b);
	(void)shell_evtchn_op(EVTCHNOP_send, &send);
	*shell_events.selector = 0;
	*shell_events.upcall = 0;
	call_unmask(b); /* pending, but not masked */
	port_clear(b);
	port_mask(b + 1, true);
	each_wrong_port(b + 1, call_unmask);
	call_unmask(a);
	fault_lines("unmask", EVTCHNOP_unmask, false);
	call_readonly("unmask", EVTCHNOP_unmask, &op, sizeof(op));
	quiet_close(a);
	quiet_close(b);
}

static void run_status(void)
{
	uint32_t a = quiet_alloc(DOMID_SELF), b, port;
	evtchn_status_t op = {.dom = DOMID_SELF, .port = a};

	for (unsigned int i = 0; i < COUNT(some_domids); i++)
		call_status(some_domids[i], a);
	call_status(0, 0);
	call_status(0, 1);
	call_status(0, 4096);
	call_status(0, 0xffffffff);
	b = quiet_bind(a);
	call_status(DOMID_SELF, a);
	call_status(listing_self, b);
	each_wrong_port(b + 1, wrong_status);
	for (port = 63; port < 1024; port += port % 2 ? 1 : 63)
		call_status(DOMID_SELF, port); /* valid by the bucket */
	quiet_close(a);
	call_status(DOMID_SELF, b);
	quiet_close(b);
	fault_lines("status", EVTCHNOP_status, false);
	call_readonly("status", EVTCHNOP_status, &op, sizeof(op));
}

static void run_virq(void)
{
	evtchn_bind_virq_t op = {.virq = VIRQ_DEBUG};
	static const uint32_t vcpus[] = {0, 1, 127, 128, 0xffffffff};
	static const uint32_t virqs[] = {24, 25, 255, 256, 0x7fffffff, 0xffffffff};
	uint32_t port;

	for (uint32_t virq = 0; virq < NR_VIRQS; virq++) {
		port = call_virq(virq, 0);
		if (!port)
			continue;
		call_status(DOMID_SELF, port);
		(void)call_virq(virq, 0);
		(void)call_virq(virq, 1);
		call_send(port, 0);
		(void)call_close(port);
	}
	for (unsigned int i = 0; i < COUNT(vcpus); i++) {
		(void)call_close(call_virq(VIRQ_TIMER, vcpus[i]));
		(void)call_close(call_virq(VIRQ_ARGO, vcpus[i]));
	}
	for (unsigned int i = 0; i < COUNT(virqs); i++) {
		(void)call_virq(virqs[i], 0);
		(void)call_virq(virqs[i], 1);
	}
	fault_lines("bind_virq", EVTCHNOP_bind_virq, false);
	port = quiet_alloc(DOMID_SELF);
	quiet_close(port);
	call_readonly("bind_virq", EVTCHNOP_bind_virq, &op, sizeof(op));
	call_status(DOMID_SELF, port);
	(void)call_virq(VIRQ_DEBUG, 0);
	(void)call_close(port);
}

static long probe_ipi(void)
{
	return probe(EVTCHNOP_bind_ipi);
}

static void run_ipi(void)
{
	static const uint32_t vcpus[] = {1, 2, 127, 128, 8191, 8192, 0x7fffffff, 0xffffffff};
	uint32_t a = call_ipi(0), b;
	evtchn_bind_ipi_t op = {.vcpu = 0};

	call_status(DOMID_SELF, a);
	call_send(a, a);
	call_send(a, a);
	port_mask(a, true);
	call_send(a, a);
	port_mask(a, false);
	b = call_ipi(0); /* as many as one likes */
	call_status(DOMID_SELF, b);
	call_send(b, a);
	port_clear(b);
	(void)call_bind(DOMID_SELF, a);
	(void)call_close(b);
	call_send(b, 0);
	for (unsigned int i = 0; i < COUNT(vcpus); i++)
		(void)call_ipi(vcpus[i]);
	call_unmask(a);
	(void)call_close(a);
	call_status(DOMID_SELF, a);
	fault_lines("bind_ipi", EVTCHNOP_bind_ipi, false);
	call_readonly("bind_ipi", EVTCHNOP_bind_ipi, &op, sizeof(op));
	call_status(DOMID_SELF, a);
	(void)call_close(a);
}

static long probe_vcpu(void)
{
	return probe(EVTCHNOP_bind_vcpu);
}

static void run_vcpu(void)
{
	static const uint32_t vcpus[] = {1, 127, 128, 8192, 0x7fffffff, 0xffffffff};
	uint32_t a = quiet_alloc(DOMID_SELF), b = quiet_bind(a), c = quiet_alloc(0), port;
	evtchn_bind_vcpu_t op = {.port = a};

	call_vcpu(a, 0);
	call_vcpu(b, 0);
	call_vcpu(c, 0);
	call_status(DOMID_SELF, a);
	for (unsigned int i = 0; i < COUNT(vcpus); i++)
		call_vcpu(a, vcpus[i]);
	each_wrong_port(c + 1, wrong_vcpu);
	call_vcpu(c + 1, 1); /* which of the two comes first */
	call_vcpu(0xffffffff, 1);
	for (uint32_t virq = 0; virq < NR_VIRQS; virq++) {
		port = call_virq(virq, 0);
		if (!port)
			continue;
		call_vcpu(port, 0);
		call_vcpu(port, 1);
		quiet_close(port);
	}
	fault_lines("bind_vcpu", EVTCHNOP_bind_vcpu, false);
	call_readonly("bind_vcpu", EVTCHNOP_bind_vcpu, &op, sizeof(op));
	quiet_close(a);
	quiet_close(b);
	quiet_close(c);
}

static long probe_ipi_vcpu(void)
{
	long r = probe(EVTCHNOP_bind_ipi);

	return r < 0 ? r : probe(EVTCHNOP_bind_vcpu);
}

static void run_ipi_vcpu(void)
{
	uint32_t port = call_ipi(0);

	call_vcpu(port, 0);
	call_vcpu(port, 1);
	(void)call_close(port);
}

static long probe_pirq(void)
{
	return probe(EVTCHNOP_bind_pirq);
}

static void run_pirq(void)
{
	static const uint32_t pirqs[] = {0, 1, 15, 16, 1000000, 0x7fffffff, 0x80000000, 0xffffffff};

	for (unsigned int i = 0; i < COUNT(pirqs); i++) {
		call_pirq(pirqs[i], 0);
		call_pirq(pirqs[i], BIND_PIRQ__WILL_SHARE);
	}
	fault_lines("bind_pirq", EVTCHNOP_bind_pirq, false);
}

/* Every port in use: what still looks at something else first. */
static void run_full(void)
{
	uint32_t port, last = 0, n = 0, unbound = quiet_alloc(DOMID_SELF);

	while ((port = quiet_alloc(DOMID_SELF)) != 0) {
		last = port;
		n++;
	}
	line_begin("alloc_unbound until it fails");
	put_field("ports", n + 1);
	put_port("last", last);
	line_end();
	(void)call_alloc(DOMID_SELF, DOMID_SELF);
	(void)call_alloc(MISSING, DOMID_SELF);
	(void)call_alloc(0, DOMID_SELF);
	(void)call_bind(DOMID_SELF, unbound);
	(void)call_bind(DOMID_SELF, 0);
	(void)call_bind(MISSING, unbound);
	(void)call_bind(0, 0);
	(void)call_virq(VIRQ_DEBUG, 0);
	(void)call_virq(VIRQ_DEBUG, 1);
	(void)call_virq(NR_VIRQS, 0);
	call_status(DOMID_SELF, last);
	call_status(DOMID_SELF, last + 1);
	call_send(last, last);
	call_send(last + 1, 0);
	call_unmask(last + 1);
	(void)call_close(last);
	port = call_bind(DOMID_SELF, unbound); /* at the very end */
	call_send(unbound, port);
	call_status(DOMID_SELF, unbound);
	for (port = unbound + 1; port <= last; port++)
		quiet_close(port);
	(void)call_close(last);
	call_status(DOMID_SELF, last);
	call_status(DOMID_SELF, last + 1);
	(void)call_close(unbound);
}

const struct section event_sections[] = {
	{"unknown", probe_always, run_unknown},
	{"status", probe_always, run_status},
	{"alloc_unbound", probe_always, run_alloc},
	{"bind_interdomain", probe_always, run_bind},
	{"close", probe_always, run_close},
	{"send", probe_always, run_send},
	{"unmask", probe_always, run_unmask},
	{"bind_virq", probe_always, run_virq},
	{"bind_ipi", probe_ipi, run_ipi},
	{"bind_vcpu", probe_vcpu, run_vcpu},
	{"bind_vcpu-ipi", probe_ipi_vcpu, run_ipi_vcpu},
	{"bind_pirq", probe_pirq, run_pirq},
	{"full", probe_always, run_full},
	{NULL, NULL, NULL},
};
