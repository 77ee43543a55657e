/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo over /dev/xen/argo (kmod/, xen-argo(4)): a file a ring, and one more, without a ring, for
 * what concerns all of the domain's. Watched rings are in an epoll of their own, which shows in the
 * handle's; a ring is in it for one event at a time, and asks for room only while it wants some,
 * for the device calls a ring writable that was not refused.
 */
#include "hv/xen/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "kmod/include/uapi/xen/argodev.h"

#define RING_HEADER_LEN 64U
/* Taken from the epoll at once. */
#define BATCH 64U
/*
 * So often in a row the hypervisor may say that it lacks the memory to note who waits. Callers try
 * again after a millisecond or so: for some seconds, not for ever.
 */
#define NO_MEMORY_MAX 4096U

struct ring {
	struct hv_ring ring;
	LIST_ENTRY(ring) entries;
	int fd;
	_Atomic bool watched;	      /* the next event is to be told */
	_Atomic bool blocked;	      /* the last message was refused for lack of room */
	_Atomic bool dead;	      /* the device said so, and would say so at each look */
	_Atomic uint32_t n_no_memory; /* in a row */
};

static struct ring *ring_of(struct hv_ring *ring)
{
	return (struct ring *)ring; /* ring is its first member */
}

static int device_open(void)
{
	int fd = open("/dev/xen/argo", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return errno == ENOENT || errno == ENODEV ? -ENXIO : -errno;
}

static int rings_open(struct xen_hv *h)
{
	int r;

	if (h->rings_fd >= 0)
		return 0;
	if (h->argo_fd < 0) {
		h->argo_fd = device_open();
		if (h->argo_fd < 0)
			return h->argo_fd;
	}
	h->rings_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->rings_fd < 0)
		return -errno;
	r = xen_hv_watch_fd(h, h->rings_fd);
	if (r < 0)
		(void)close(steal_fd(&h->rings_fd));
	return r;
}

/* The mapping goes first: the last of both ends the ring. */
static void ring_free(struct ring *ring)
{
	if (ring->ring.mem)
		(void)munmap(ring->ring.mem, ring->ring.ring_len + RING_HEADER_LEN);
	close_p(&ring->fd);
	free(ring);
}
DEFINE_CLEANUP(struct ring *, ring_free)

int op_argo_register(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
	struct hv_ring **ret_ring)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct argodev_register request = {.aport = aport, .partner = partner, .len = ring_len};
	_cleanup_(ring_free_p) struct ring *ring = NULL;
	void *mem;
	int r = rings_open(h);

	if (r < 0)
		return r;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	ring->fd = device_open();
	if (ring->fd < 0)
		return ring->fd;
	if (ioctl(ring->fd, ARGODEV_REGISTER, &request) < 0)
		return -errno;
	mem = mmap(
		NULL, ring_len + RING_HEADER_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	ring->ring = (struct hv_ring){
		.mem = mem, .ring_len = ring_len, .aport = request.aport, .partner = partner};
	(void)madvise(mem, ring_len + RING_HEADER_LEN, MADV_DONTFORK);
	LIST_INSERT_HEAD(&h->rings, ring, entries);
	*ret_ring = &steal_ptr(ring)->ring;
	return 0;
}

int op_argo_peer(struct hv *hv, struct hv_ring *ring, uint32_t aport)
{
	struct argodev_peer request = {.aport = aport};

	return ioctl(ring_of(ring)->fd, ARGODEV_PEER, &request) < 0 ? -errno : 0;
}

/* Arms the ring for one event, whatever it was armed for. Any thread. */
static int ring_arm(struct xen_hv *h, struct ring *ring)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = ring};

	if (atomic_load(&ring->blocked))
		event.events |= EPOLLOUT;
	if (epoll_ctl(h->rings_fd, EPOLL_CTL_MOD, ring->fd, &event) == 0)
		return 0;
	if (errno == ENOENT && epoll_ctl(h->rings_fd, EPOLL_CTL_ADD, ring->fd, &event) == 0)
		return 0;
	return -errno;
}

static int ring_send(
	struct ring *ring, const struct iovec *iov, size_t n_iov, uint32_t message_type)
{
	struct argodev_segment segments[ARGODEV_MAX_SEGMENTS];
	struct argodev_sendv request = {.segments = (uintptr_t)segments,
		.n_segments = (uint32_t)n_iov,
		.message_type = message_type};
	int r;

	if (n_iov > ARRAY_SIZE(segments))
		return -EINVAL;
	for (size_t i = 0; i < n_iov; i++) {
		if (iov[i].iov_len > UINT32_MAX)
			return -EINVAL;
		segments[i] = (struct argodev_segment){
			.addr = (uintptr_t)iov[i].iov_base, .len = (uint32_t)iov[i].iov_len};
	}
	r = ioctl(ring->fd, ARGODEV_SENDV, &request);
	return r < 0 ? -errno : r;
}

/*
 * The memory is of a kind that Xen does not read, and the driver has none for a copy: the process
 * copies for itself. The driver has looked at the lengths: 16 MiB in all at most.
 */
static int ring_send_copy(
	struct ring *ring, const struct iovec *iov, size_t n_iov, uint32_t message_type)
{
	_cleanup_free_ uint8_t *copy = NULL;
	size_t len = 0;

	for (size_t i = 0; i < n_iov; i++)
		len += iov[i].iov_len;
	copy = malloc(len);
	if (!copy)
		return -ENOBUFS;
	len = 0;
	for (size_t i = 0; i < n_iov; i++) {
		memcpy(copy + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return ring_send(ring, &(struct iovec){.iov_base = copy, .iov_len = len}, 1, message_type);
}

/* Memory that Xen lacks again and again is an end, not a wait. */
static int ring_no_memory(struct ring *ring)
{
	return atomic_fetch_add(&ring->n_no_memory, 1) < NO_MEMORY_MAX ? -ENOMEM : -ENOBUFS;
}

int op_argo_sendv(struct hv *hv, struct hv_ring *hv_ring, const struct iovec *iov, size_t n_iov,
	uint32_t message_type)
{
	struct ring *ring = ring_of(hv_ring);
	int r = ring_send(ring, iov, n_iov, message_type);

	if (r == -ENOBUFS || r == -EDQUOT)
		r = ring_send_copy(ring, iov, n_iov, message_type);
	if (r == -ENOMEM)
		return ring_no_memory(ring);
	if (atomic_load_explicit(&ring->n_no_memory, memory_order_relaxed))
		atomic_store(&ring->n_no_memory, 0);
	/* Either this sees that the ring is watched, or argo_watch sees that it is blocked. */
	if (r == -EAGAIN) {
		atomic_store(&ring->blocked, true);
		if (atomic_load(&ring->watched))
			(void)ring_arm(xen_hv_of(hv), ring);
	} else if (r >= 0 && atomic_load_explicit(&ring->blocked, memory_order_relaxed)) {
		atomic_store(&ring->blocked, false);
	}
	return r == -EDQUOT ? -ENOBUFS : r;
}

int op_argo_consumed(struct hv *hv)
{
	struct xen_hv *h = xen_hv_of(hv);

	if (h->argo_fd < 0) /* there was never a ring */
		return 0;
	return ioctl(h->argo_fd, ARGODEV_CONSUMED) < 0 ? -errno : 0;
}

int op_argo_watch(struct hv *hv, struct hv_ring *hv_ring, bool on)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct ring *ring = ring_of(hv_ring);

	if (on && atomic_load(&ring->dead))
		return -ESTALE;
	atomic_store(&ring->watched, on);
	if (on)
		return ring_arm(h, ring);
	/* ENOENT: it never was. A dead ring would be told of also if nothing was asked for. */
	if (epoll_ctl(h->rings_fd, EPOLL_CTL_DEL, ring->fd, NULL) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int op_argo_unregister(struct hv *hv, struct hv_ring *hv_ring)
{
	struct ring *ring = ring_of(hv_ring);

	(void)op_argo_watch(hv, hv_ring, false); /* a child may have the file as well */
	LIST_REMOVE(ring, entries);
	ring_free(ring);
	return 0;
}

int rings_take(struct xen_hv *h, struct hv_event *ret_events, size_t n)
{
	struct epoll_event events[BATCH];
	int got;

	if (h->rings_fd < 0 || !n)
		return 0;
	got = epoll_wait(h->rings_fd, events, (int)(n < BATCH ? n : BATCH), 0);
	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < got; i++) {
		struct ring *ring = events[i].data.ptr;

		/*
		 * Told of room once: the device would call the ring writable at each look from now
		 * on. First this, then the watch's end: a sender that is refused in between still
		 * finds the ring watched, and arms it again.
		 */
		if (events[i].events & EPOLLOUT)
			atomic_store(&ring->blocked, false);
		if (events[i].events & EPOLLHUP)
			atomic_store(&ring->dead, true);
		atomic_store(&ring->watched, false);
		ret_events[i] = (struct hv_event){.type = HV_EVENT_RING, .ring = &ring->ring};
	}
	return got;
}

void rings_close(struct xen_hv *h)
{
	struct ring *ring;

	while ((ring = LIST_FIRST(&h->rings)))
		(void)op_argo_unregister(&h->hv, &ring->ring);
	close_p(&h->rings_fd);
	close_p(&h->argo_fd);
}
