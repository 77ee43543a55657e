/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Xen backend's handle: opening, closing, its one pollable descriptor, its table. */
#include "hv/xen/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "hv/xen/store.h"
#include "hv/xen/xen.h"

static void silent_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval,
	const char *context, const char *format, va_list al)
{
}

/* Without `destroy`: the libraries destroy only a logger that they have made. */
struct xentoollog_logger xen_silence = {.vmessage = silent_message};

/* ---- the descriptor ---------------------------------------------------------------------- */

int xen_hv_watch_fd(struct xen_hv *h, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void xen_hv_update_wake(struct xen_hv *h)
{
	bool want = h->store_due || h->domains_due || h->ports.n_waiting;
	eventfd_t count;

	if (want == h->awake)
		return;
	if (want)
		(void)eventfd_write(h->wake_fd, 1);
	else
		(void)eventfd_read(h->wake_fd, &count);
	h->awake = want;
}

static int op_fd(struct hv *hv)
{
	return xen_hv_of(hv)->epoll_fd;
}

static int op_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	struct xen_hv *h = xen_hv_of(hv);
	size_t got = 0;
	int r;

	if (n > INT32_MAX)
		n = INT32_MAX;
	store_poll(h);
	if (got < n && h->store_due) {
		h->store_due = false;
		ret_events[got++] = (struct hv_event){.type = HV_EVENT_STORE};
	}
	if (got < n && h->domains_due) {
		h->domains_due = false;
		ret_events[got++] = (struct hv_event){.type = HV_EVENT_DOMAINS};
	}
	r = ports_take(h, ret_events + got, n - got);
	if (r > 0)
		got += (size_t)r;
	if (r >= 0) {
		r = rings_take(h, ret_events + got, n - got);
		if (r > 0)
			got += (size_t)r;
	}
	xen_hv_update_wake(h);
	return r < 0 && !got ? r : (int)got;
}

/* ---- operations without a file of their own ---------------------------------------------- */

static uint16_t op_domid(struct hv *hv)
{
	return atomic_load_explicit(&xen_hv_of(hv)->domid, memory_order_relaxed);
}

static uint64_t op_now_ns(struct hv *hv)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int op_cpu(struct hv *hv)
{
	return -1; /* hv.h says why */
}

static int op_domain_list(struct hv *hv, struct hv_domain *ret_domains, size_t n)
{
	struct xen_hv *h = xen_hv_of(hv);

	if (h->domid != HV_BROKER_DOMID || !&xen_domain_ops)
		return -EACCES;
	return xen_domain_ops.list(h, ret_domains, n);
}

static int op_domain_tags(struct hv *hv, uint16_t domid, char ret_tags[HV_TAGS_MAX])
{
	struct xen_hv *h = xen_hv_of(hv);

	if (h->domid != HV_BROKER_DOMID || !h->store->xs)
		return -EACCES;
	return domid < HV_DOMID_FIRST_RESERVED ? store_domain_tags(h, domid, ret_tags) : -ESRCH;
}

/* ---- life -------------------------------------------------------------------------------- */

static void xen_hv_free(struct xen_hv *h)
{
	rings_close(h);
	grants_close(h);
	ports_close(h);
	store_close(h);
	if (h->domains)
		xen_domain_ops.free(h->domains);
	close_p(&h->wake_fd);
	close_p(&h->epoll_fd);
	free(h);
}

static void op_close(struct hv *hv)
{
	xen_hv_free(xen_hv_of(hv));
}

static const struct hv_ops xen_hv_ops = HV_OPS("xen", op);

static int xen_hv_open(struct xen_hv *h, const char **ret_reason)
{
	int r;

	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll_fd < 0 || h->wake_fd < 0) {
		*ret_reason = "no descriptors for the hypervisor's events";
		return -errno;
	}
	r = xen_hv_watch_fd(h, h->wake_fd);
	if (r == 0)
		r = ports_open(h, ret_reason);
	if (r == 0)
		r = store_open(h, ret_reason);
	if (r == 0)
		r = grants_open(h, ret_reason);
	return r;
}

int hv_open_xen(struct hv **ret_hv, const char **ret_reason)
{
	struct xen_hv *h = calloc(1, sizeof(*h));
	int r;

	if (!h) {
		*ret_reason = "out of memory";
		return -ENOMEM;
	}
	h->hv.ops = &xen_hv_ops;
	h->epoll_fd = h->wake_fd = h->argo_fd = h->rings_fd = -1;
	LIST_INIT(&h->rings);
	LIST_INIT(&h->shares);
	LIST_INIT(&h->maps);
	r = xen_hv_open(h, ret_reason);
	if (r < 0) {
		xen_hv_free(h);
		return r;
	}
	*ret_hv = &h->hv;
	return 0;
}
