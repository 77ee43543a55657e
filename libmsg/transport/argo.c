/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The argo transport: frames over Argo rings, room and waking by the doorbell page (PROTOCOL.md
 * 3.3). The page says how much room the peer's ring has. A stranger in the peer's domain can make
 * that claim false, and then the hypervisor says EAGAIN.
 */
#include "libmsg/transport/argo.h"

static int argo_make(struct transport *transport, const struct control_link_create *request,
	struct control_link_offer *ret_offer)
{
	struct argo_end *end = argo_of(transport);
	int r = paged_share(&end->paged, request->uid, 0, ret_offer);

	if (r == 0)
		r = argo_register_ring(end);
	if (r == 0)
		ret_offer->aport = end->ring->aport;
	return r;
}

static int argo_bind(struct transport *transport, const struct control_link_bind *request,
	struct control_link_ready *ret_ready)
{
	struct argo_end *end = argo_of(transport);
	const uint8_t *page;
	int r;

	r = paged_check(&end->paged, request, &request->doorbell_ref, 1, LINK_PAGE_DOORBELL, &page);
	if (r == 0)
		r = paged_map(&end->paged, request);
	if (r == 0)
		r = argo_register_ring(end);
	if (r == 0)
		r = argo_set_peer(end, request->aport);
	if (r < 0)
		return r;
	paged_bound(&end->paged);
	ret_ready->aport = end->ring->aport;
	return 0;
}

const struct transport_ops transport_argo = {
	.kind = TRANSPORT_ARGO,
	.make = argo_make,
	.bind = argo_bind,
	PAGED_OPS,
	ARGO_FRAME_OPS,
};
