/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The argo transport: frames over Argo rings, room and waking by the doorbell page (PROTOCOL.md
 * 3.3). The page says how much room the peer's ring has. A stranger in the peer's domain can make
 * that claim false, and then the hypervisor says EAGAIN.
 */
#include "base/cleanup.h"
#include "base/macro.h"
#include "libmsg/transport/argo.h"

DEFINE_CLEANUP(struct argo_end *, argo_discard)

static int argo_make(struct hv *hv, const struct control_link_create *request,
	struct control_link_offer *ret_offer, struct transport **ret_transport)
{
	_cleanup_(argo_discard_p) struct argo_end *end =
		argo_new(&transport_argo, hv, request->peer_domid, 0, request->ring_len);
	int r;

	if (!end)
		return -ENOMEM;
	r = paged_share(&end->paged, request->uid, ret_offer);
	if (r == 0)
		r = argo_register_ring(end);
	if (r < 0)
		return r;
	ret_offer->aport = end->ring->aport;
	*ret_transport = &steal_ptr(end)->paged.base;
	return 0;
}

static int argo_bind(struct hv *hv, const struct control_link_bind *request,
	struct control_link_ready *ret_ready, struct transport **ret_transport)
{
	_cleanup_(argo_discard_p) struct argo_end *end =
		argo_new(&transport_argo, hv, request->peer_domid, 1, request->ring_len);
	int r;

	if (!end)
		return -ENOMEM;
	r = paged_map(&end->paged, request);
	if (r == 0)
		r = argo_register_ring(end);
	if (r == 0)
		r = argo_set_peer(end, request->aport);
	if (r < 0)
		return r;
	paged_bound(&end->paged);
	ret_ready->aport = end->ring->aport;
	*ret_transport = &steal_ptr(end)->paged.base;
	return 0;
}

const struct transport_ops transport_argo = {
	.kind = TRANSPORT_ARGO,
	.make = argo_make,
	.bind = argo_bind,
	PAGED_OPS,
	ARGO_FRAME_OPS,
};
