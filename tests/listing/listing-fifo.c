/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Resetting, and what only ports in FIFO mode have: that ends by a reset, hence last. */
#include "tests/listing/listing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Ends of domain 0 that became unbound. */
static uint32_t store_remote, console_remote;

static long probe(int cmd)
{
	long r = shell_evtchn_op(cmd, NULL);

	return r == -XEN_EFAULT ? 0 : r;
}

static uint32_t remote_of(uint32_t port)
{
	evtchn_status_t op = {.dom = DOMID_SELF, .port = port};

	(void)shell_evtchn_op(EVTCHNOP_status, &op);
	return op.status == EVTCHNSTAT_interdomain ? op.u.interdomain.port : 0;
}

/* Domain 0's end is unbound for the one that reset, and can be bound anew: the console works on. */
static uint32_t bind_anew(uint32_t remote)
{
	uint32_t port = call_bind(0, remote);

	if (port)
		port_mask(port, true);
	return port;
}

static long call_reset(domid_t dom)
{
	evtchn_reset_t op = {.dom = dom};
	long r;

	store_remote = remote_of(shell_store_port);
	console_remote = remote_of(shell_console_port);
	r = shell_evtchn_op(EVTCHNOP_reset, &op);
	line_begin("reset");
	put_domid("dom", dom);
	put_result(r);
	line_end();
	if (r < 0)
		return r;
	call_status(DOMID_SELF, shell_store_port);
	call_status(DOMID_SELF, shell_console_port);
	shell_store_port = bind_anew(store_remote);
	shell_console_port = bind_anew(console_remote);
	return 0;
}

static long probe_reset(void)
{
	return probe(EVTCHNOP_reset);
}

static void run_reset(void)
{
	static const domid_t wrong[] = {0, MISSING, 0x7fef, DOMID_IO, DOMID_XEN, DOMID_COW,
		DOMID_INVALID, DOMID_IDLE, 0x8000, 0xffff};
	uint32_t a = quiet_alloc(DOMID_SELF), b = call_bind(DOMID_SELF, a), virq;

	for (unsigned int i = 0; i < COUNT(wrong); i++)
		(void)call_reset(wrong[i]);
	call_status(DOMID_SELF, a);
	fault_lines("reset", EVTCHNOP_reset, false);
	virq = call_virq(VIRQ_DEBUG, 0);
	port_mask(b, true);
	call_send(a, 0);
	(void)call_reset(DOMID_SELF);
	call_status(DOMID_SELF, a);
	call_status(DOMID_SELF, b);
	call_status(DOMID_SELF, virq);
	call_unmask(b); /* is it pending still? */
	call_send(a, 0);
	port_clear(b);
	port_mask(b, false);
	(void)call_close(call_virq(VIRQ_DEBUG, 0)); /* the VIRQ is free */
	call_status(DOMID_SELF, 63);
	call_status(DOMID_SELF, 64);
	call_status(DOMID_SELF, 1023);
	(void)call_reset(listing_self);
	(void)call_close(call_alloc(DOMID_SELF, DOMID_SELF));
}

static long probe_priority(void)
{
	return probe(EVTCHNOP_set_priority);
}

static void call_priority(uint32_t port, uint32_t priority)
{
	evtchn_set_priority_t op = {.port = port, .priority = priority};
	long r = shell_evtchn_op(EVTCHNOP_set_priority, &op);

	line_begin("set_priority");
	put_port("port", port);
	put_field("priority", priority);
	put_result(r);
	line_end();
}

static void priorities(uint32_t port)
{
	static const uint32_t priorities[] = {0, 7, 15, 16, 0x80000000, 0xffffffff};

	for (unsigned int i = 0; i < COUNT(priorities); i++)
		call_priority(port, priorities[i]);
	call_priority(0, 7);
	call_priority(port + 1, 7);
	call_priority(port + 1, 16);
	call_priority(4096, 7);
	call_priority(4096, 16);
	call_priority(0xffffffff, 7);
}

static void run_priority(void)
{
	uint32_t port = call_alloc(DOMID_SELF, DOMID_SELF);

	priorities(port);
	(void)call_close(port);
	fault_lines("set_priority", EVTCHNOP_set_priority, false);
}

static long probe_fifo(void)
{
	long r = probe(EVTCHNOP_init_control);

	if (r == 0)
		r = probe(EVTCHNOP_expand_array);
	if (r == 0)
		r = probe(EVTCHNOP_set_priority);
	return r < 0 ? r : probe(EVTCHNOP_reset);
}

static void call_control(const char *frame_name, uint64_t frame, uint32_t offset, uint32_t vcpu)
{
	evtchn_init_control_t op = {
		.control_gfn = frame, .offset = offset, .vcpu = vcpu, .link_bits = 99};
	long r = shell_evtchn_op(EVTCHNOP_init_control, &op);

	line_begin("init_control");
	put(" frame=");
	put(frame_name);
	put_field("offset", offset);
	put_field("vcpu", vcpu);
	put_result(r);
	put_field("link_bits", op.link_bits);
	line_end();
}

static void call_expand(const char *frame_name, uint64_t frame)
{
	evtchn_expand_array_t op = {.array_gfn = frame};
	long r = shell_evtchn_op(EVTCHNOP_expand_array, &op);

	line_begin("expand_array");
	put(" frame=");
	put(frame_name);
	put_result(r);
	line_end();
}

/* Of the control block in page 0 and the array in page 1: what Xen shows of a port. */
static void show(uint32_t port)
{
	volatile evtchn_fifo_control_block_t *control = shell_page(0);
	volatile event_word_t *words = shell_page(1);

	line_begin("seen");
	put_port("port", port);
	put_field("pending", words[port] >> EVTCHN_FIFO_PENDING & 1);
	put_field("masked", words[port] >> EVTCHN_FIFO_MASKED & 1);
	put_field("linked", words[port] >> EVTCHN_FIFO_LINKED & 1);
	put_field("busy", words[port] >> EVTCHN_FIFO_BUSY & 1);
	put_port("next", words[port] & EVTCHN_FIFO_LINK_MASK);
	put(" ready=");
	for (unsigned int i = 0; i < EVTCHN_FIFO_MAX_QUEUES; i++)
		put(control->ready >> i & 1 ? "1" : "0");
	for (unsigned int i = 0; i < EVTCHN_FIFO_MAX_QUEUES; i++)
		if (control->head[i]) {
			put_field("queue", i);
			put_port("head", control->head[i]);
		}
	put_field("upcall", *shell_events.upcall);
	line_end();
}

/* As a guest takes all events of a queue: `n` of them, which begin with its head. */
static void take(uint32_t priority, unsigned int n)
{
	volatile evtchn_fifo_control_block_t *control = shell_page(0);
	volatile event_word_t *words = shell_page(1);
	uint32_t port = control->head[priority], next;

	*shell_events.upcall = 0;
	control->ready &= ~(1U << priority);
	for (; port && n; n--, port = next) {
		next = words[port] & EVTCHN_FIFO_LINK_MASK;
		words[port] &= ~(EVTCHN_FIFO_LINK_MASK | 1U << EVTCHN_FIFO_LINKED |
				 1U << EVTCHN_FIFO_PENDING);
	}
	control->head[priority] = port;
}

static void send_raw(uint32_t port)
{
	evtchn_send_t op = {.port = port};
	long r = shell_evtchn_op(EVTCHNOP_send, &op);

	line_begin("send");
	put_port("port", port);
	put_result(r);
	line_end();
}

static void unmask_raw(uint32_t port)
{
	evtchn_unmask_t op = {.port = port};
	long r = shell_evtchn_op(EVTCHNOP_unmask, &op);

	line_begin("unmask");
	put_port("port", port);
	put_result(r);
	line_end();
}

static uint32_t bind_raw(uint32_t remote_port)
{
	evtchn_bind_interdomain_t op = {.remote_dom = DOMID_SELF, .remote_port = remote_port};
	long r = shell_evtchn_op(EVTCHNOP_bind_interdomain, &op);

	line_begin("bind_interdomain");
	put_port("port", remote_port);
	put_result(r);
	put_port("port", op.local_port);
	line_end();
	return op.local_port;
}

static void run_control(void)
{
	static const uint32_t offsets[] = {1, 4, 7, 4029, 4032, 4088, 4096, 0x7ffffff8, 0xfffffff8};

	call_expand("page1", shell_frame(1)); /* before there is a control block */
	fault_lines("init_control", EVTCHNOP_init_control, false);
	fault_lines("expand_array", EVTCHNOP_expand_array, false);
	for (unsigned int i = 0; i < COUNT(offsets); i++)
		call_control("page0", shell_frame(0), offsets[i], 0);
	call_control("page0", shell_frame(0), 0, 1);
	call_control("page0", shell_frame(0), 0, 127);
	call_control("page0", shell_frame(0), 0, 128);
	call_control("page0", shell_frame(0), 0, 0xffffffff);
	call_control("page0", shell_frame(0), 8, 1);
	call_control("page0", shell_frame(0), 1, 1); /* which of the two comes first */
	call_control("none", 0x00ffffffffffffffULL, 0, 0);
	call_control("none", ~0ULL, 0, 0);
}

/* The array has an end, of which the guest need not have the ports. */
static void expand_all(void)
{
	evtchn_expand_array_t op = {.array_gfn = shell_frame(2)};
	unsigned int n = 0;
	long r = 0;

	while (n < 1000 && (r = shell_evtchn_op(EVTCHNOP_expand_array, &op)) == 0)
		n++;
	line_begin("expand_array until it fails");
	put_field("times", n);
	put_result(r);
	line_end();
}

static void run_fifo(void)
{
	volatile event_word_t *words = shell_page(1);
	uint32_t a, b, c, d;

	for (unsigned int page = 0; page < 3; page++)
		for (unsigned int i = 0; i < 4096; i++)
			((volatile uint8_t *)shell_page(page))[i] = 0;
	/* Events that domain 0 sends there must not get into the queues. */
	words[shell_store_port] = words[shell_console_port] = 1U << EVTCHN_FIFO_MASKED;
	*shell_events.upcall = 0;
	run_control();
	call_control("page0", shell_frame(0), 0, 0);
	call_control("page0", shell_frame(0), 0, 0);
	call_control("page2", shell_frame(2), 0, 0);
	call_control("page2", shell_frame(2), 4, 0);
	call_expand("none", 0x00ffffffffffffffULL);
	a = quiet_alloc(DOMID_SELF);
	send_raw(a);
	call_expand("page1", shell_frame(1));
	call_status(DOMID_SELF, a);
	b = bind_raw(a);
	show(b);
	take(7, 1);
	show(b);
	send_raw(a);
	show(b);
	send_raw(a); /* is pending */
	show(b);
	take(7, 1);

	/* another queue */
	priorities(b);
	call_priority(b, 3);
	send_raw(a);
	show(b);
	take(3, 1);
	show(b);
	call_priority(b, 7);

	/* masked */
	words[b] |= 1U << EVTCHN_FIFO_MASKED;
	send_raw(a);
	show(b);
	unmask_raw(b);
	show(b);
	unmask_raw(b);
	show(b);
	take(7, 1);

	/* two in one queue */
	c = quiet_alloc(DOMID_SELF);
	d = bind_raw(c);
	take(7, 1);
	send_raw(a);
	send_raw(c);
	show(b);
	show(d);
	take(7, 2);
	show(b);
	show(d);
	send_raw(c);
	show(d);
	(void)call_close(d); /* while it is pending */
	show(d);
	take(7, 1);
	unmask_raw(0);
	unmask_raw(d);
	unmask_raw(0xffffffff);
	send_raw(d);
	(void)call_alloc(DOMID_SELF, DOMID_SELF); /* at d */
	call_priority(d, 0);
	call_status(DOMID_SELF, d);
	expand_all();
	(void)call_reset(DOMID_SELF);
	call_priority(shell_store_port, 7);
	call_expand("page1", shell_frame(1));
	(void)call_close(call_alloc(DOMID_SELF, DOMID_SELF));
}

const struct section fifo_sections[] = {
	{"set_priority", probe_priority, run_priority},
	{"reset", probe_reset, run_reset},
	{"fifo", probe_fifo, run_fifo},
	{NULL, NULL, NULL},
};
