/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parcels over /dev/xen: a file of evtchn's that has one port, and a file of gntalloc's that has
 * the pages. Port and pages belong to their files, and so to the process that the files were
 * handed to; they go with that process.
 *
 * That process can also give them back before, and the numbers are soon another's: of a port, the
 * next that a driver of this kernel allocates. So the maker has a page of its own whose
 * notification would send an event to the port, and which keeps the port open therefore (evtchn_get
 * in drivers/xen/events). The pages have nothing of the kind: a mapping of the maker's would delay
 * the notification that tells of the other process's death.
 */
#include "hv/xen/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/gntalloc.h>
#include <xen/sys/evtchn.h>

#include "base/cleanup.h"

/* The last domid that there can be; the driver takes no 0 for a restriction. */
#define NOBODY_DOMID (HV_DOMID_FIRST_RESERVED - 1U)
#define OTHERS	     (HV_PARCEL_PAGES - 1U)

/* Room for as many references as a request here has. */
union pages_request {
	struct ioctl_gntalloc_alloc_gref request;
	uint8_t bytes[sizeof(struct ioctl_gntalloc_alloc_gref) + OTHERS * sizeof(uint32_t)];
};

static int pages_alloc(int fd, uint16_t flags, uint32_t n, uint64_t *ret_index, uint32_t *ret_refs)
{
	union pages_request pages = {
		.request = {.domid = HV_BROKER_DOMID, .flags = flags, .count = n}};

	if (ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &pages.request) < 0)
		return -errno;
	*ret_index = pages.request.index;
	memcpy(ret_refs, pages.bytes + offsetof(struct ioctl_gntalloc_alloc_gref, gref_ids),
		n * sizeof(*ret_refs));
	return 0;
}

static int gntalloc_open(void)
{
	int fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
}

/*
 * Perhaps the other process may not open the device itself. Its file is good for this one port:
 * from now on the driver refuses virtual interrupts, and ports of all other domains.
 */
static int port_make(struct hv_parcel *parcel)
{
	struct ioctl_evtchn_bind_unbound_port request = {.remote_domain = HV_BROKER_DOMID};
	struct ioctl_evtchn_restrict_domid restriction = {.domid = NOBODY_DOMID};
	int port;

	parcel->fds[0] = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);
	if (parcel->fds[0] < 0)
		return -errno;
	port = ioctl(parcel->fds[0], IOCTL_EVTCHN_BIND_UNBOUND_PORT, &request);
	if (port < 0)
		return -errno;
	if (ioctl(parcel->fds[0], IOCTL_EVTCHN_RESTRICT_DOMID, &restriction) < 0)
		return -errno;
	parcel->port = (uint32_t)port;
	return 0;
}

static int pages_make(struct hv_parcel *parcel)
{
	int r;

	parcel->fds[1] = gntalloc_open();
	if (parcel->fds[1] < 0)
		return parcel->fds[1];
	r = pages_alloc(parcel->fds[1], GNTALLOC_FLAG_WRITABLE, 1, &parcel->where[0], parcel->refs);
	if (r < 0)
		return r;
	return pages_alloc(parcel->fds[1], GNTALLOC_FLAG_WRITABLE, OTHERS, &parcel->where[1],
		parcel->refs + 1);
}

/* The page that keeps the port open. Nobody is told of it, and dom0 could only read it. */
static int port_hold(struct hv_parcel *parcel)
{
	struct ioctl_gntalloc_unmap_notify notify = {
		.action = UNMAP_NOTIFY_SEND_EVENT, .event_channel_port = parcel->port};
	_cleanup_close_ int fd = gntalloc_open();
	uint64_t index;
	uint32_t ref;
	void *page;
	int r;

	if (fd < 0)
		return fd;
	r = pages_alloc(fd, 0, 1, &index, &ref);
	if (r < 0)
		return r;
	notify.index = index;
	if (ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify) < 0)
		return -errno;
	/* It keeps the file, which has the page. */
	page = mmap(NULL, HV_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, (off_t)index);
	if (page == MAP_FAILED)
		return -errno;
	(void)madvise(page, HV_PAGE_SIZE, MADV_DONTFORK);
	parcel->hold = page;
	return 0;
}

int op_parcel_make(struct hv *hv, struct hv_parcel *ret_parcel)
{
	struct hv_parcel parcel = {.fds = {-1, -1}};
	int r = port_make(&parcel);

	if (r == 0)
		r = pages_make(&parcel);
	if (r == 0)
		r = port_hold(&parcel);
	if (r < 0) {
		op_parcel_drop(hv, &parcel);
		return r;
	}
	*ret_parcel = parcel;
	return 0;
}

static void fds_close(struct hv_parcel *parcel)
{
	for (size_t i = 0; i < HV_PARCEL_FDS; i++) {
		close_p(&parcel->fds[i]);
		parcel->fds[i] = -1;
	}
}

void op_parcel_drop(struct hv *hv, struct hv_parcel *parcel)
{
	fds_close(parcel);
	if (parcel->hold)
		(void)munmap(parcel->hold, HV_PAGE_SIZE);
	parcel->hold = NULL;
}

static int pages_adopt(struct xen_hv *h, const struct hv_parcel *parcel, uint32_t notify_offset,
	struct hv_adopted *ret_adopted)
{
	struct hv_unmap_notify notify = {.offset = notify_offset, .port = parcel->port};
	struct hv_adopted adopted;
	int r;

	r = share_adopt(h, parcel->fds[1], parcel->where[1], OTHERS, NULL, &adopted.others,
		&adopted.others_share);
	if (r < 0)
		return r;
	r = share_adopt(h, parcel->fds[1], parcel->where[0], 1, &notify, &adopted.page,
		&adopted.page_share);
	if (r < 0)
		op_grant_unshare(&h->hv, adopted.others_share);
	else
		*ret_adopted = adopted;
	return r;
}

int op_parcel_adopt(struct hv *hv, struct hv_parcel *parcel, uint32_t notify_offset,
	struct hv_adopted *ret_adopted)
{
	struct xen_hv *h = xen_hv_of(hv);
	int r = -EINVAL;

	if (notify_offset < HV_PAGE_SIZE && parcel->fds[0] >= 0 && parcel->fds[1] >= 0) {
		r = port_adopt(h, parcel->fds[0], parcel->port);
		parcel->fds[0] = -1;
	}
	if (r == 0) {
		r = pages_adopt(h, parcel, notify_offset, ret_adopted);
		if (r < 0)
			(void)op_evtchn_close(hv, parcel->port);
	}
	fds_close(parcel);
	return r;
}
