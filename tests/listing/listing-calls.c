/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pieces of the sections about event channels: a call, and its line. */
#include "tests/listing/listing.h"

void port_clear(uint32_t port)
{
	shell_events.pending[port / 64] &= ~(1ULL << port % 64);
	*shell_events.selector = 0;
	*shell_events.upcall = 0;
}

void port_mask(uint32_t port, bool masked)
{
	if (masked)
		shell_events.mask[port / 64] |= 1ULL << port % 64;
	else
		shell_events.mask[port / 64] &= ~(1ULL << port % 64);
}

static void put_effects(uint32_t port)
{
	put_port("port", port);
	put_field("pending", shell_events.pending[port / 64] >> port % 64 & 1);
	put_field("masked", shell_events.mask[port / 64] >> port % 64 & 1);
	put_field("selected", *shell_events.selector >> port / 64 & 1);
	put_field("upcall", *shell_events.upcall);
}

uint32_t quiet_alloc(domid_t remote)
{
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = remote};

	return shell_evtchn_op(EVTCHNOP_alloc_unbound, &op) == 0 ? op.port : 0;
}

uint32_t quiet_bind(uint32_t port)
{
	evtchn_bind_interdomain_t op = {.remote_dom = DOMID_SELF, .remote_port = port};

	if (shell_evtchn_op(EVTCHNOP_bind_interdomain, &op) < 0)
		return 0;
	port_clear(op.local_port);
	return op.local_port;
}

void quiet_close(uint32_t port)
{
	evtchn_close_t op = {.port = port};

	(void)shell_evtchn_op(EVTCHNOP_close, &op);
}

uint32_t call_alloc(domid_t dom, domid_t remote)
{
	evtchn_alloc_unbound_t op = {.dom = dom, .remote_dom = remote, .port = 0};
	long r = shell_evtchn_op(EVTCHNOP_alloc_unbound, &op);

	line_begin("alloc_unbound");
	put_domid("dom", dom);
	put_domid("remote", remote);
	put_result(r);
	put_port("port", op.port);
	line_end();
	return r == 0 ? op.port : 0;
}

uint32_t call_bind(domid_t remote, uint32_t remote_port)
{
	evtchn_bind_interdomain_t op = {
		.remote_dom = remote, .remote_port = remote_port, .local_port = 0};
	long r = shell_evtchn_op(EVTCHNOP_bind_interdomain, &op);

	line_begin("bind_interdomain");
	put_domid("remote", remote);
	put_port("port", remote == 0 && r == 0 ? 0 : remote_port);
	put_result(r);
	if (r == 0) {
		put_effects(op.local_port);
		port_clear(op.local_port);
	} else {
		put_port("port", op.local_port);
	}
	line_end();
	return r == 0 ? op.local_port : 0;
}

uint32_t call_virq(uint32_t virq, uint32_t vcpu)
{
	evtchn_bind_virq_t op = {.virq = virq, .vcpu = vcpu, .port = 0};
	long r = shell_evtchn_op(EVTCHNOP_bind_virq, &op);

	line_begin("bind_virq");
	put_field("virq", virq);
	put_field("vcpu", vcpu);
	put_result(r);
	put_port("port", op.port);
	line_end();
	return r == 0 ? op.port : 0;
}

uint32_t call_ipi(uint32_t vcpu)
{
	evtchn_bind_ipi_t op = {.vcpu = vcpu, .port = 0};
	long r = shell_evtchn_op(EVTCHNOP_bind_ipi, &op);

	line_begin("bind_ipi");
	put_field("vcpu", vcpu);
	put_result(r);
	put_port("port", op.port);
	line_end();
	return r == 0 ? op.port : 0;
}

long call_close(uint32_t port)
{
	evtchn_close_t op = {.port = port};
	long r = shell_evtchn_op(EVTCHNOP_close, &op);

	line_begin("close");
	put_port("port", port);
	put_result(r);
	line_end();
	return r;
}

/* Shows the event at `target`, and leaves the target clear. */
void call_send(uint32_t port, uint32_t target)
{
	evtchn_send_t op = {.port = port};
	long r = shell_evtchn_op(EVTCHNOP_send, &op);

	line_begin("send");
	put_port("port", port);
	put_result(r);
	if (target) {
		put_effects(target);
		port_clear(target);
	}
	line_end();
}

void call_unmask(uint32_t port)
{
	evtchn_unmask_t op = {.port = port};
	long r = shell_evtchn_op(EVTCHNOP_unmask, &op);

	line_begin("unmask");
	put_port("port", port);
	put_result(r);
	if (port < EVTCHN_2L_NR_CHANNELS)
		put_effects(port);
	line_end();
}

void call_status(domid_t dom, uint32_t port)
{
	evtchn_status_t op = {.dom = dom, .port = port, .status = 99, .vcpu = 99};
	long r = shell_evtchn_op(EVTCHNOP_status, &op);

	line_begin("status");
	put_domid("dom", dom);
	put_port("port", port);
	put_result(r);
	put_field("status", op.status);
	put_field("vcpu", op.vcpu);
	switch (op.status) {
	case EVTCHNSTAT_unbound:
		put_domid("remote", op.u.unbound.dom);
		break;
	case EVTCHNSTAT_interdomain:
		put_domid("remote", op.u.interdomain.dom);
		if (op.u.interdomain.dom)
			put_port("port", op.u.interdomain.port);
		break;
	case EVTCHNSTAT_virq:
		put_field("virq", op.u.virq);
		break;
	default:
		break;
	}
	line_end();
}
