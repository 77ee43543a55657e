/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Event channels over /dev/xen/evtchn. libxenevtchn opens, binds and notifies; ports are read and
 * unmasked in batches through its descriptor, a stream of u32 port numbers both ways
 * (drivers/xen/evtchn.c: evtchn_read, evtchn_write), where the library would take one a call.
 *
 * The driver masks a port when it delivers it, so a port is at most once in the driver's ring, and
 * the ring has room for every bound port. A closed port's number may still be in the ring, and the
 * number is soon used again: evtchn_close reads the ring empty, so that a later port of that number
 * starts without events. A port that was read waits in a set.
 *
 * The port of a parcel is in a file of its own, which another process has opened (parcel.c).
 */
#include "hv/xen/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/sys/evtchn.h>

#include "base/cleanup.h"
#include "base/macro.h"

/* Ports in one read or write: the driver takes a page at most. */
#define BATCH 256U

#define WORD(port) ((port) / 64)
#define BIT(port)  (UINT64_C(1) << (port) % 64)

bool port_is_own(const struct xen_hv *h, uint32_t port)
{
	const struct port_sets *sets = &h->ports;

	return WORD(port) < PORT_WORDS && (sets->own[WORD(port)] & BIT(port));
}

/* The file that has the port. Any thread. */
static xenevtchn_handle *file_of(struct xen_hv *h, uint32_t port)
{
	return port && port == atomic_load_explicit(&h->adopted_port, memory_order_acquire)
		       ? h->adopted
		       : h->evtchn;
}

/* port: as the library returned it; -1: errno. */
static int port_add(struct xen_hv *h, int port, uint32_t *ret_port)
{
	if (port < 0)
		return -errno;
	if (WORD((uint32_t)port) >= PORT_WORDS) { /* it cannot be remembered */
		(void)xenevtchn_unbind(h->evtchn, (evtchn_port_t)port);
		return -ENOSPC;
	}
	h->ports.own[WORD((uint32_t)port)] |= BIT((uint32_t)port);
	*ret_port = (uint32_t)port;
	return 0;
}

static void port_wait(struct port_sets *sets, uint32_t port)
{
	if (sets->waiting[WORD(port)] & BIT(port))
		return;
	sets->waiting[WORD(port)] |= BIT(port);
	sets->n_waiting++;
}

/* Up to n numbers from a file's ring. */
static int driver_read(xenevtchn_handle *file, uint32_t *ret_ports, size_t n)
{
	ssize_t got;

	do
		got = read(xenevtchn_fd(file), ret_ports, n * sizeof(*ret_ports));
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		return (int)((size_t)got / sizeof(*ret_ports));
	return errno == EAGAIN ? 0 : -errno;
}

/*
 * EFBIG: the ring overflowed and events are lost. The driver makes the ring as large as the number
 * of ports, so this is not expected; every port counts as pending then, which is always allowed.
 */
static int driver_overflow(struct xen_hv *h)
{
	struct port_sets *sets = &h->ports;

	if (ioctl(xenevtchn_fd(h->evtchn), IOCTL_EVTCHN_RESET) < 0)
		return -errno;
	for (uint32_t port = 0; port < PORT_WORDS * 64; port++)
		if (port_is_own(h, port))
			port_wait(sets, port);
	return 0;
}

/* Empties the driver's ring into the set of waiting ports. */
static int driver_drain(struct xen_hv *h)
{
	uint32_t ports[BATCH];
	int n;

	while ((n = driver_read(h->evtchn, ports, BATCH)) > 0) {
		for (int i = 0; i < n; i++)
			if (port_is_own(h, ports[i]))
				port_wait(&h->ports, ports[i]);
	}
	return n == -EFBIG ? driver_overflow(h) : n;
}

static size_t take_waiting(struct xen_hv *h, struct hv_event *ret_events, size_t n)
{
	struct port_sets *sets = &h->ports;
	size_t got = 0;

	for (uint32_t word = 0; word < PORT_WORDS && sets->n_waiting && got < n; word++) {
		while (sets->waiting[word] && got < n) {
			uint32_t port = word * 64 + (uint32_t)__builtin_ctzll(sets->waiting[word]);

			sets->waiting[word] &= sets->waiting[word] - 1;
			sets->n_waiting--;
			ret_events[got++] = (struct hv_event){.type = HV_EVENT_PORT, .port = port};
		}
	}
	return got;
}

/* The file has one port, which is masked once it was read: there is no more than that. */
static void adopted_read(struct xen_hv *h)
{
	uint32_t port;

	if (h->adopted && driver_read(h->adopted, &port, 1) == 1 && port == h->adopted_port)
		port_wait(&h->ports, port);
}

int ports_take(struct xen_hv *h, struct hv_event *ret_events, size_t n)
{
	uint32_t ports[BATCH];
	int r = 0, asked = 0;
	size_t got;

	adopted_read(h);
	got = take_waiting(h, ret_events, n);

	/* Less than asked for: it is empty, and readable again with the next event. */
	while (got < n && r == asked) {
		asked = (int)(n - got < BATCH ? n - got : BATCH);
		r = driver_read(h->evtchn, ports, (size_t)asked);
		for (int i = 0; i < r; i++)
			if (port_is_own(h, ports[i]))
				ret_events[got++] =
					(struct hv_event){.type = HV_EVENT_PORT, .port = ports[i]};
	}
	if (r == -EFBIG) {
		r = driver_overflow(h);
		got += take_waiting(h, ret_events + got, n - got);
	}
	return r < 0 && !got ? r : (int)got;
}

int op_evtchn_alloc_unbound(struct hv *hv, uint16_t remote, uint32_t *ret_port)
{
	struct xen_hv *h = xen_hv_of(hv);
	int port = xenevtchn_bind_unbound_port(h->evtchn, xen_hv_resolve(h, remote));

	return port_add(h, port, ret_port);
}

int op_evtchn_bind_interdomain(
	struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	struct xen_hv *h = xen_hv_of(hv);
	int port = xenevtchn_bind_interdomain(h->evtchn, xen_hv_resolve(h, remote), remote_port);

	return port_add(h, port, ret_port);
}

int port_adopt(struct xen_hv *h, int fd, uint32_t port)
{
	_cleanup_close_ int own_fd = fd;
	int flags = fcntl(fd, F_GETFL), r;

	if (h->adopted)
		return -EBUSY;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || port == 0 ||
		WORD(port) >= PORT_WORDS)
		return -EINVAL;
	h->adopted = xenevtchn_fdopen(&xen_silence, fd, 0);
	if (!h->adopted)
		return -errno;
	(void)steal_fd(&own_fd);
	r = xen_hv_watch_fd(h, fd);
	if (r < 0) {
		(void)xenevtchn_close(h->adopted);
		h->adopted = NULL;
		return r;
	}
	h->ports.own[WORD(port)] |= BIT(port);
	atomic_store_explicit(&h->adopted_port, port, memory_order_release);
	return 0;
}

/*
 * While the port's maker has a copy of the descriptor still, closing ours does not close the file:
 * hence the unbinding. Such a copy would also keep the file in the epoll set.
 */
static void adopted_close(struct xen_hv *h, uint32_t port)
{
	(void)xenevtchn_unbind(h->adopted, port);
	atomic_store_explicit(&h->adopted_port, 0, memory_order_relaxed);
	(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, xenevtchn_fd(h->adopted), NULL);
	(void)xenevtchn_close(h->adopted);
	h->adopted = NULL;
}

int op_evtchn_close(struct hv *hv, uint32_t port)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct port_sets *sets = &h->ports;

	/* The driver says EINVAL of numbers that no port can have. */
	if (!port_is_own(h, port))
		return -ENOTCONN;
	if (file_of(h, port) == h->adopted)
		adopted_close(h, port);
	else if (xenevtchn_unbind(h->evtchn, port) < 0)
		return -errno;
	sets->own[WORD(port)] &= ~BIT(port);
	if (sets->waiting[WORD(port)] & BIT(port)) {
		sets->waiting[WORD(port)] &= ~BIT(port);
		sets->n_waiting--;
	}
	(void)driver_drain(h); /* an error comes again, in poll_events */
	xen_hv_update_wake(h);
	return 0;
}

int op_evtchn_send(struct hv *hv, uint32_t port)
{
	struct xen_hv *h = xen_hv_of(hv);

	/* EINVAL: larger than any port; not a port of this handle either. */
	if (xenevtchn_notify(file_of(h, port), port) < 0)
		return errno == EINVAL ? -ENOTCONN : -errno;
	return 0;
}

/* Ports that are not the file's are ignored. */
static int driver_write(xenevtchn_handle *file, const uint32_t *ports, size_t n)
{
	size_t done = 0;

	while (done < n) {
		size_t part = n - done < BATCH ? n - done : BATCH;
		ssize_t put = write(xenevtchn_fd(file), ports + done, part * sizeof(*ports));

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0)
			done += (size_t)put / sizeof(*ports);
	}
	return 0;
}

int op_evtchn_unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	struct xen_hv *h = xen_hv_of(hv);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (file_of(h, ports[i]) != h->evtchn)
			r = driver_write(h->adopted, &ports[i], 1);
	}
	return r < 0 ? r : driver_write(h->evtchn, ports, n);
}

static const char *open_reason(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "no permission for /dev/xen/evtchn: join the group that owns it";
	case ENOENT:
	case ENODEV:
	case ENXIO:
		if (access("/sys/hypervisor/type", F_OK) == 0)
			return "no /dev/xen/evtchn: as root, modprobe xen-evtchn";
		return "no /dev/xen/evtchn: this machine is not a domain of Xen";
	default:
		return "/dev/xen/evtchn cannot be opened";
	}
}

int ports_open(struct xen_hv *h, const char **ret_reason)
{
	int flags, r;

	h->evtchn = xenevtchn_open(&xen_silence, 0);
	if (!h->evtchn) {
		r = errno;
		*ret_reason = open_reason(r);
		return r == EPERM ? -EACCES : r == ENOENT || r == ENXIO ? -ENODEV : -r;
	}
	/* xenevtchn.h warns of old kernels; evtchn_read has honoured it since before 4.0. */
	flags = fcntl(xenevtchn_fd(h->evtchn), F_GETFL);
	if (flags < 0 || fcntl(xenevtchn_fd(h->evtchn), F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return xen_hv_watch_fd(h, xenevtchn_fd(h->evtchn));
}

void ports_close(struct xen_hv *h)
{
	if (h->adopted)
		(void)xenevtchn_close(h->adopted);
	if (h->evtchn)
		(void)xenevtchn_close(h->evtchn);
}
