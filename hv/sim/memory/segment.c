/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and mapping the segment. A mapping is checked before it is used. */
#include "hv/sim/memory/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "hv/sim/memory/lock.h"
#include "hv/sim/memory/xen.h"

#define POOL_ALIGN (2U << 20)

static uint64_t pool_offset(void)
{
	return ((uint64_t)sizeof(struct sim_segment) + POOL_ALIGN - 1) / POOL_ALIGN * POOL_ALIGN;
}

static uint64_t segment_size(void)
{
	return pool_offset() + (uint64_t)SIM_POOL_PAGES * HV_PAGE_SIZE;
}

/* The journal's offsets are 32 bits wide. */
static_assert(sizeof(struct sim_segment) < 1U << 30, "segment too large");

uint64_t segment_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

/* NULL and errno if it cannot be mapped. */
static struct sim_segment *map(int fd)
{
	void *p = mmap(NULL, segment_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* A child must not run hypercalls as its parent, nor keep granted pages alive. */
	(void)madvise(p, segment_size(), MADV_DONTFORK);
	return p;
}

static void free_lists_init(struct sim_segment *seg)
{
	for (uint32_t i = 0; i + 1 < SIM_MAX_TRACKS; i++)
		seg->tracks[i].next = i + 2;
	for (uint32_t i = 0; i + 1 < SIM_MAX_SHARES; i++)
		seg->shares[i].next = i + 2;
	for (uint32_t i = 0; i + 1 < SIM_MAX_MAPS; i++)
		seg->maps[i].next = i + 2;
	seg->free_track = seg->free_share = seg->free_map = 1;
	seg->next_page = 1;
}

int segment_create(int *ret_fd, struct sim_segment **ret_seg)
{
	_cleanup_close_ int fd = memfd_create("xen-sim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct sim_segment *seg;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)segment_size()) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	seg = map(fd);
	if (!seg)
		return -errno;
	seg->layout = SIM_LAYOUT;
	seg->size = segment_size();
	seg->pid_namespace = segment_pid_namespace();
	seg->pool_offset = pool_offset();
	seg->next_generation = 1;
	free_lists_init(seg);
	seg->magic = SIM_MAGIC;
	*ret_fd = steal_fd(&fd);
	*ret_seg = seg;
	return 0;
}

int segment_map(int fd, struct sim_segment **ret_seg)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct sim_segment *seg;
	struct stat st;
	int r = 0;

	if (seals < 0 || (seals & (F_SEAL_GROW | F_SEAL_SHRINK)) != (F_SEAL_GROW | F_SEAL_SHRINK) ||
		fstat(fd, &st) < 0 || (uint64_t)st.st_size != segment_size())
		return -EPROTONOSUPPORT;
	seg = map(fd);
	if (!seg)
		return -errno;
	if (seg->magic != SIM_MAGIC || seg->layout != SIM_LAYOUT || seg->size != segment_size() ||
		seg->pool_offset != pool_offset())
		r = -EPROTONOSUPPORT;
	else if (seg->pid_namespace != segment_pid_namespace())
		r = -EXDEV;
	if (r < 0)
		segment_unmap(seg);
	else
		*ret_seg = seg;
	return r;
}

void segment_unmap(struct sim_segment *seg)
{
	if (seg)
		(void)munmap(seg, segment_size());
}

void xen_init(struct xen *xen, struct sim_segment *seg, uint32_t slot)
{
	*xen = (struct xen){
		.seg = seg,
		.pool = (uint8_t *)seg + pool_offset(),
		.slot = slot,
		.lock_word = lock_word_of(slot, atomic_load(&seg->slots[slot].generation)),
		.guard = &seg->guards[SIM_GUARD_ALL],
	};
}
