/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gntalloc and gntdev. Objects are indexes of seg->shares, seg->maps. For handles, release.c. */
#ifndef MSGD_HV_SIM_GUEST_GRANT_H
#define MSGD_HV_SIM_GUEST_GRANT_H

#include "hv/sim/memory/xen.h"

/*
 * The caller has looked that n is SIM_SHARE_LIMIT at most: it bounds the journal (about 10 records
 * a page when mapping).
 */
int guest_share(struct xen *xen, uint16_t remote, uint32_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, uint32_t *ret_first_page, uint32_t *ret_share);
void guest_unshare(struct xen *xen, uint32_t share);
int guest_share_notify(struct xen *xen, uint32_t share, const struct hv_unmap_notify *notify);
/*
 * Makes a port and two shares, of one page and of the others of a parcel, those of the caller that
 * were slot from's, and arms the notification on the first. EINVAL: they are not.
 */
int guest_adopt(struct xen *xen, uint32_t from, uint32_t page, uint32_t others,
	const struct hv_unmap_notify *notify);
int guest_map(struct xen *xen, uint16_t granter, const uint32_t *refs, uint32_t n, bool writable,
	const struct hv_unmap_notify *notify, uint32_t *ret_pages, uint32_t *ret_map);
void guest_unmap(struct xen *xen, uint32_t map);
void guest_grants_release(struct xen *xen, uint32_t slot);

#endif
