/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants: gntalloc shares pages of the kernel's, gntdev maps others' (drivers/xen). Both drop a
 * page when its last mapping goes, by munmap or with the process, and fire its notification then:
 * nothing here has to run for a peer to hear of our death.
 */
#include "hv/xen/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <xen/gntalloc.h>

#include "base/cleanup.h"

/* gntdev's own limit of one mapping; gntalloc's is far below. Keeps n inside the libraries' int. */
#define PAGES_MAX 65536U
/* XENFEAT_auto_translated_physmap (xen/features.h): PVH and HVM. */
#define FEATURE_TRANSLATED (1U << 2)

struct hv_share {
	LIST_ENTRY(hv_share) entries;
	void *addr;
	uint32_t n;
	bool listed;	/* gntalloc's file still has it, at index: share_one */
	uint64_t index; /* bytes */
};

struct hv_map {
	LIST_ENTRY(hv_map) entries;
	void *addr;
	uint32_t n;
};

static bool notify_is_armed(const struct hv_unmap_notify *notify)
{
	return notify && notify->offset != HV_NO_NOTIFY;
}

/*
 * The libraries take an offset beyond the page as "none", and the kernel a port of anybody's
 * (evtchn_get), so both are looked at here.
 */
static int request_check(const struct xen_hv *h, const struct hv_unmap_notify *notify, size_t n)
{
	if (n == 0 || (notify_is_armed(notify) && (n != 1 || notify->offset >= HV_PAGE_SIZE ||
							  !port_is_own(h, notify->port))))
		return -EINVAL;
	return n > PAGES_MAX ? -ENOSPC : 0;
}

/* Makes gntalloc's file forget a page, which then goes with its mapping. */
static void share_forget(struct xen_hv *h, const struct hv_share *share)
{
	struct ioctl_gntalloc_dealloc_gref request = {.index = share->index, .count = 1};

	(void)ioctl(xengntshr_fd(h->gntshr), IOCTL_GNTALLOC_DEALLOC_GREF, &request);
}

/* Of the page that gntalloc's file has at that place. */
static int share_notify(int fd, uint64_t index, const struct hv_unmap_notify *notify)
{
	struct ioctl_gntalloc_unmap_notify request = {.index = index};

	if (notify_is_armed(notify)) {
		request.index += notify->offset;
		request.action = UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT;
		request.event_channel_port = notify->port;
	}
	return ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &request) < 0 ? -errno : 0;
}

static int share_open(struct xen_hv *h)
{
	if (h->gntshr)
		return 0;
	h->gntshr = xengntshr_open(&xen_silence, 0);
	if (!h->gntshr)
		return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
	/* The one device that the library opens without (osdep_gntshr_open, Xen 4.17). */
	(void)fcntl(xengntshr_fd(h->gntshr), F_SETFD, FD_CLOEXEC);
	return 0;
}

/*
 * As the library shares a page, which then makes the file forget it (IOCTL_GNTALLOC_DEALLOC_GREF):
 * the kernel takes no notification of such a page any more. This page stays in the file's list
 * until it is withdrawn.
 */
static int share_one(struct xen_hv *h, uint16_t remote, uint32_t *ret_ref, struct hv_share *share)
{
	struct ioctl_gntalloc_alloc_gref request = {
		.domid = remote, .flags = GNTALLOC_FLAG_WRITABLE, .count = 1};
	int fd = xengntshr_fd(h->gntshr);
	void *addr;

	if (ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &request) < 0)
		return -errno;
	share->index = request.index;
	addr = mmap(
		NULL, HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)request.index);
	if (addr == MAP_FAILED) {
		int r = -errno;

		share_forget(h, share);
		return r;
	}
	share->addr = addr;
	share->listed = true;
	*ret_ref = request.gref_ids[0];
	return 0;
}

static int share_pages(struct xen_hv *h, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, struct hv_share *share)
{
	if (notify_is_armed(notify))
		share->addr = xengntshr_share_page_notify(
			h->gntshr, remote, ret_refs, 1, notify->offset, notify->port);
	else if (n == 1)
		return share_one(h, remote, ret_refs, share);
	else
		share->addr = xengntshr_share_pages(h->gntshr, remote, (int)n, ret_refs, 1);
	return share->addr ? 0 : -errno;
}

int op_grant_share(struct hv *hv, uint16_t remote, size_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, void **ret_addr, struct hv_share **ret_share)
{
	struct xen_hv *h = xen_hv_of(hv);
	_cleanup_free_ struct hv_share *share = calloc(1, sizeof(*share));
	int r = request_check(h, notify, n);

	if (r == 0 && !share)
		r = -ENOMEM;
	if (r == 0)
		r = share_open(h);
	if (r < 0)
		return r;
	r = share_pages(h, xen_hv_resolve(h, remote), n, notify, ret_refs, share);
	if (r < 0)
		return r;
	(void)madvise(share->addr, n * HV_PAGE_SIZE, MADV_DONTFORK);
	share->n = (uint32_t)n;
	LIST_INSERT_HEAD(&h->shares, share, entries);
	*ret_addr = share->addr;
	*ret_share = steal_ptr(share);
	return 0;
}

int share_adopt(struct xen_hv *h, int fd, uint64_t index, uint32_t n,
	const struct hv_unmap_notify *notify, void **ret_addr, struct hv_share **ret_share)
{
	struct ioctl_gntalloc_dealloc_gref forget = {.index = index, .count = n};
	_cleanup_free_ struct hv_share *share = calloc(1, sizeof(*share));
	size_t len = n * HV_PAGE_SIZE;
	int r;

	if (!share)
		return -ENOMEM;
	share->addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)index);
	if (share->addr == MAP_FAILED)
		return -errno;
	r = notify_is_armed(notify) ? share_notify(fd, index, notify) : 0;
	if (r < 0) {
		(void)munmap(share->addr, len);
		return r;
	}
	/* Now the pages, and the notification, go with the mapping. */
	(void)ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &forget);
	(void)madvise(share->addr, len, MADV_DONTFORK);
	share->n = n;
	LIST_INSERT_HEAD(&h->shares, share, entries);
	*ret_addr = share->addr;
	*ret_share = steal_ptr(share);
	return 0;
}

/*
 * Pages that the remote has mapped stay its: the kernel keeps grant and page on a list of its own
 * and tries again (gnttab_end_foreign_access), and no longer counts them against gntalloc's limit.
 */
void op_grant_unshare(struct hv *hv, struct hv_share *share)
{
	struct xen_hv *h = xen_hv_of(hv);

	if (share->listed)
		share_forget(h, share);
	(void)munmap(share->addr, share->n * HV_PAGE_SIZE); /* all that the library does */
	LIST_REMOVE(share, entries);
	free(share);
}

int op_grant_notify(struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	struct xen_hv *h = xen_hv_of(hv);
	int r = request_check(h, notify, share->n);

	if (r < 0 || !share->listed)
		return -EINVAL;
	return share_notify(xengntshr_fd(h->gntshr), share->index, notify);
}

/*
 * gntdev answers EINVAL to whatever Xen says of a reference, a full table of mappings included
 * (map_grant_pages). The library waits where Xen says EAGAIN, a page that is paged out: only
 * the toolstack can page a guest out.
 */
int op_grant_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, void **ret_addr, struct hv_map **ret_map)
{
	struct xen_hv *h = xen_hv_of(hv);
	_cleanup_free_ struct hv_map *map = calloc(1, sizeof(*map));
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	int r = request_check(h, notify, n);

	/* The byte of a read-only page cannot be cleared (gntdev_ioctl_notify). */
	if (notify_is_armed(notify) && !writable)
		r = -EINVAL;
	if (r == 0 && !map)
		r = -ENOMEM;
	if (r < 0)
		return r;
	remote = xen_hv_resolve(h, remote);
	if (h->grants_move && remote == atomic_load_explicit(&h->domid, memory_order_relaxed))
		return -EOPNOTSUPP;
	if (notify_is_armed(notify))
		map->addr = xengnttab_map_grant_ref_notify(
			h->gnttab, remote, refs[0], prot, notify->offset, notify->port);
	else /* it does not write to refs, though it does not say so */
		map->addr = xengnttab_map_domain_grant_refs(
			h->gnttab, (uint32_t)n, remote, (uint32_t *)refs, prot);
	if (!map->addr)
		return -errno;
	(void)madvise(map->addr, n * HV_PAGE_SIZE, MADV_DONTFORK);
	map->n = (uint32_t)n;
	LIST_INSERT_HEAD(&h->maps, map, entries);
	*ret_addr = map->addr;
	*ret_map = steal_ptr(map);
	return 0;
}

void op_grant_unmap(struct hv *hv, struct hv_map *map)
{
	struct xen_hv *h = xen_hv_of(hv);

	(void)xengnttab_unmap(h->gnttab, map->addr, map->n);
	LIST_REMOVE(map, entries);
	free(map);
}

static int fail_open(const char **ret_reason, int error, const char *missing, const char *refused)
{
	if (error == ENOENT || error == ENODEV || error == ENXIO) {
		*ret_reason = missing;
		return -ENODEV;
	}
	*ret_reason = refused;
	return error == EPERM ? -EACCES : -error;
}

/*
 * On x86, a frame has one place in the memory of a domain that Xen translates. Mapping a page that
 * the domain has granted to itself moves it there (p2m_add_page) and leaves a hole where its kernel
 * has it, which goes on using it and dies of that sooner or later (seen, PVH).
 */
static bool grants_move(void)
{
	_cleanup_fclose_ FILE *file = fopen("/sys/hypervisor/properties/features", "re");
	struct utsname machine;
	unsigned features;

	if (uname(&machine) == 0 && strcmp(machine.machine, "x86_64") != 0)
		return false;
	return !file || fscanf(file, "%x", &features) != 1 || (features & FEATURE_TRANSLATED);
}

/*
 * gntalloc is opened by the first share, but looked for here, so that hv_open can say what is
 * wrong. In the broker's domain it may be missing: msgd shares nothing.
 */
int grants_open(struct xen_hv *h, const char **ret_reason)
{
	h->grants_move = grants_move();
	h->gnttab = xengnttab_open(&xen_silence, 0);
	if (!h->gnttab)
		return fail_open(ret_reason, errno,
			"no /dev/xen/gntdev: as root, modprobe xen-gntdev",
			"no permission for /dev/xen/gntdev: join the group that owns it");
	if (access("/dev/xen/gntalloc", R_OK | W_OK) < 0 &&
		!(errno == ENOENT && h->domid == HV_BROKER_DOMID))
		return fail_open(ret_reason, errno,
			"no /dev/xen/gntalloc: as root, modprobe xen-gntalloc",
			"no permission for /dev/xen/gntalloc: join the group that owns it");
	return 0;
}

/* Mappings before shares, as hv.h says. The ports are still open: notifications find them. */
void grants_close(struct xen_hv *h)
{
	struct hv_share *share;
	struct hv_map *map;

	while ((map = LIST_FIRST(&h->maps)))
		op_grant_unmap(&h->hv, map);
	while ((share = LIST_FIRST(&h->shares)))
		op_grant_unshare(&h->hv, share);
	if (h->gnttab)
		(void)xengnttab_close(h->gnttab);
	if (h->gntshr)
		(void)xengntshr_close(h->gntshr);
}
