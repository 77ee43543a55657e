/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the parts about grants: version 1, but for listing-version.c, and of the guest to
 * itself, mostly.
 */
#ifndef MSGD_TESTS_LISTING_LISTING_GRANTS_H
#define MSGD_TESTS_LISTING_LISTING_GRANTS_H

#include "tests/listing/listing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define REF	 16U /* the first reference that the listing uses */
#define WRITABLE GNTMAP_host_map
#define READONLY (GNTMAP_host_map | GNTMAP_readonly)

/* listing-grants.c */
#define N_OTHER_DOMIDS 10U
extern const domid_t other_domids[N_OTHER_DOMIDS];
extern bool listing_version_2; /* entries are of version 2 */
void put_status(int16_t status);
void call_get_version(domid_t dom, unsigned int count);
void call_set_version(uint32_t version);
/* The first frame's number. */
uint64_t call_status_frames(domid_t dom, uint32_t n_frames, unsigned int count);
void put_entry(grant_ref_t ref);
void entry_set(grant_ref_t ref, uint16_t flags, domid_t domid, uint64_t frame);
long grant_probe(unsigned int cmd);
void readonly_grant(const char *operation, unsigned int cmd, const void *arg, size_t len);

/* listing-copy.c */
struct copy_end {
	bool by_ref;
	domid_t domid;
	uint64_t what; /* reference or frame */
	uint16_t offset;
};
void call_copy(struct copy_end from, struct copy_end to, uint16_t len, uint16_t more_flags);
void call_swap(grant_ref_t a, grant_ref_t b);

/* listing-map.c */
struct mapped {
	int16_t status;
	grant_handle_t handle;
	uint64_t bus;
};
struct mapped call_map(domid_t dom, grant_ref_t ref, uint32_t flags, uint64_t address);
void call_unmap(const struct mapped *m, uint64_t address, uint64_t bus, grant_ref_t ref);

#endif
