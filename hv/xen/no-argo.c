/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of Argo: stock kernels have no driver for it. Links use grant rings then. */
#include <errno.h>

#include "hv/xen/backend.h"

int op_argo_register(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
	struct hv_ring **ret_ring)
{
	return -EOPNOTSUPP;
}

int op_argo_peer(struct hv *hv, struct hv_ring *ring, uint32_t aport)
{
	return -EOPNOTSUPP;
}

int op_argo_sendv(struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n_iov,
	uint32_t message_type)
{
	return -EOPNOTSUPP;
}

int op_argo_consumed(struct hv *hv)
{
	return -EOPNOTSUPP;
}

int op_argo_watch(struct hv *hv, struct hv_ring *ring, bool on)
{
	return -EOPNOTSUPP;
}

int op_argo_unregister(struct hv *hv, struct hv_ring *ring)
{
	return -EOPNOTSUPP;
}
