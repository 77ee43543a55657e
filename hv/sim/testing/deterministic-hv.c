/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv.h in deterministic mode: the sim backend's own operations, with others run before them if the
 * seed says so, and a line of the trace behind them. No addresses in it: they differ from run to
 * run.
 */
#include "hv/sim/testing/deterministic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* For calls that only tell what they were given and what they returned. */
static int done(struct hv *hv, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int done(struct hv *hv, int r, const char *format, ...)
{
	struct sim *sim = sim_of(sim_hv_xen(hv));
	char call[160];
	va_list args;

	if (!det_traces(sim))
		return r;
	va_start(args, format);
	(void)vsnprintf(call, sizeof(call), format, args);
	va_end(args);
	sim_trace(sim, "slot %u %s = %d", sim_hv_xen(hv)->slot, call, r);
	return r;
}

/* A call of the backend before which others may run; and the same with its line of the trace. */
#define PREEMPTED(hv, call)   (det_preempt(sim_of(sim_hv_xen(hv))), sim_hv_ops.call)
#define TRACED(hv, call, ...) done((hv), PREEMPTED(hv, call), __VA_ARGS__)

static void w_close(struct hv *hv)
{
	det_preempt(sim_of(sim_hv_xen(hv)));
	(void)done(hv, 0, "close()");
	sim_hv_ops.close(hv);
}

static uint16_t w_domid(struct hv *hv)
{
	return sim_hv_ops.domid(hv);
}

static uint64_t w_now_ns(struct hv *hv)
{
	return sim_hv_ops.now_ns(hv);
}

static int w_fd(struct hv *hv)
{
	return sim_hv_ops.fd(hv);
}

static int w_cpu(struct hv *hv)
{
	return -1;
}

static void event_text(const struct hv_event *event, char *ret_text, size_t size)
{
	if (event->type == HV_EVENT_PORT)
		(void)snprintf(ret_text, size, " port %u", event->port);
	else if (event->type == HV_EVENT_RING)
		(void)snprintf(ret_text, size, " ring %u", event->ring->aport);
	else
		(void)snprintf(
			ret_text, size, " %s", event->type == HV_EVENT_STORE ? "store" : "domains");
}

static int w_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	char text[128] = "";
	int r = PREEMPTED(hv, poll_events(hv, ret_events, n));

	for (int i = 0; i < r && strlen(text) < sizeof(text) - 32; i++)
		event_text(&ret_events[i], text + strlen(text), sizeof(text) - strlen(text));
	return done(hv, r, "poll_events(%zu)%s", n, text);
}

static int w_evtchn_alloc_unbound(struct hv *hv, uint16_t remote, uint32_t *ret_port)
{
	int r = PREEMPTED(hv, evtchn_alloc_unbound(hv, remote, ret_port));

	return done(hv, r, "evtchn_alloc_unbound(%u) port %u", remote, r < 0 ? 0 : *ret_port);
}

static int w_evtchn_bind_interdomain(
	struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	int r = PREEMPTED(hv, evtchn_bind_interdomain(hv, remote, remote_port, ret_port));

	return done(hv, r, "evtchn_bind_interdomain(%u, %u) port %u", remote, remote_port,
		r < 0 ? 0 : *ret_port);
}

static int w_evtchn_close(struct hv *hv, uint32_t port)
{
	return TRACED(hv, evtchn_close(hv, port), "evtchn_close(%u)", port);
}

static int w_evtchn_send(struct hv *hv, uint32_t port)
{
	return TRACED(hv, evtchn_send(hv, port), "evtchn_send(%u)", port);
}

static int w_evtchn_unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	return TRACED(
		hv, evtchn_unmask(hv, ports, n), "evtchn_unmask(%u, %zu)", n ? ports[0] : 0, n);
}

static int w_argo_register(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
	struct hv_ring **ret_ring)
{
	int r = PREEMPTED(hv, argo_register(hv, aport, partner, ring_len, ret_ring));

	return done(hv, r, "argo_register(%u, %u, %u) aport %u", aport, partner, ring_len,
		r < 0 ? 0 : (*ret_ring)->aport);
}

static int w_argo_peer(struct hv *hv, struct hv_ring *ring, uint32_t aport)
{
	return TRACED(hv, argo_peer(hv, ring, aport), "argo_peer(%u, %u)", ring->aport, aport);
}

static int w_argo_sendv(struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n_iov,
	uint32_t message_type)
{
	return TRACED(hv, argo_sendv(hv, ring, iov, n_iov, message_type), "argo_sendv(%u, %zu)",
		ring->aport, n_iov);
}

static int w_argo_consumed(struct hv *hv)
{
	return TRACED(hv, argo_consumed(hv), "argo_consumed()");
}

static int w_argo_watch(struct hv *hv, struct hv_ring *ring, bool on)
{
	return TRACED(hv, argo_watch(hv, ring, on), "argo_watch(%u, %d)", ring->aport, on);
}

static int w_argo_unregister(struct hv *hv, struct hv_ring *ring)
{
	uint32_t aport = ring->aport;

	return TRACED(hv, argo_unregister(hv, ring), "argo_unregister(%u)", aport);
}

static int w_grant_share(struct hv *hv, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, void **ret_addr,
	struct hv_share **ret_share)
{
	int r = PREEMPTED(hv, grant_share(hv, remote, n, notify, ret_refs, ret_addr, ret_share));

	return done(hv, r, "grant_share(%u, %zu) first %u", remote, n, r < 0 ? 0 : ret_refs[0]);
}

static void w_grant_unshare(struct hv *hv, struct hv_share *share)
{
	PREEMPTED(hv, grant_unshare(hv, share));
	(void)done(hv, 0, "grant_unshare()");
}

static int w_grant_notify(
	struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	return TRACED(
		hv, grant_notify(hv, share, notify), "grant_notify(%u)", notify ? notify->port : 0);
}

static int w_grant_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n,
	bool writable, const struct hv_unmap_notify *notify, void **ret_addr,
	struct hv_map **ret_map)
{
	return TRACED(hv, grant_map(hv, remote, refs, n, writable, notify, ret_addr, ret_map),
		"grant_map(%u, %u, %zu)", remote, n ? refs[0] : 0, n);
}

static void w_grant_unmap(struct hv *hv, struct hv_map *map)
{
	PREEMPTED(hv, grant_unmap(hv, map));
	(void)done(hv, 0, "grant_unmap()");
}

static int w_parcel_make(struct hv *hv, struct hv_parcel *ret_parcel)
{
	int r = PREEMPTED(hv, parcel_make(hv, ret_parcel));

	return done(hv, r, "parcel_make() port %u", r < 0 ? 0 : ret_parcel->port);
}

static void w_parcel_drop(struct hv *hv, struct hv_parcel *parcel)
{
	PREEMPTED(hv, parcel_drop(hv, parcel));
	(void)done(hv, 0, "parcel_drop(%u)", parcel->port);
}

static int w_parcel_ask(struct hv *hv, struct hv_parcel *ret_parcel)
{
	return sim_hv_ops.parcel_ask(hv, ret_parcel);
}

static int w_parcel_adopt(struct hv *hv, struct hv_parcel *parcel, uint32_t notify_offset,
	struct hv_adopted *ret_adopted)
{
	return TRACED(hv, parcel_adopt(hv, parcel, notify_offset, ret_adopted), "parcel_adopt(%u)",
		parcel->port);
}

static int w_store_publish(struct hv *hv, const char *key, const void *value, size_t len)
{
	return TRACED(hv, store_publish(hv, key, value, len), "store_publish(%s, %zu)", key, len);
}

static int w_store_remove(struct hv *hv, uint16_t domid, const char *key)
{
	return TRACED(hv, store_remove(hv, domid, key), "store_remove(%u, %s)", domid, key);
}

static int w_store_watch(struct hv *hv)
{
	return TRACED(hv, store_watch(hv), "store_watch()");
}

static int w_store_watch_own(struct hv *hv)
{
	return TRACED(hv, store_watch_own(hv), "store_watch_own()");
}

static int w_store_next(struct hv *hv, struct hv_record *ret_record)
{
	int r = PREEMPTED(hv, store_next(hv, ret_record));

	return done(hv, r, "store_next() domain %u %s, %zu", r > 0 ? ret_record->domid : 0,
		r > 0 ? ret_record->key : "", r > 0 ? ret_record->len : 0);
}

static int w_domain_watch(struct hv *hv)
{
	return TRACED(hv, domain_watch(hv), "domain_watch()");
}

static int w_domain_list(struct hv *hv, struct hv_domain *ret_domains, size_t n)
{
	return TRACED(hv, domain_list(hv, ret_domains, n), "domain_list(%zu)", n);
}

static int w_domain_tags(struct hv *hv, uint16_t domid, char ret_tags[HV_TAGS_MAX])
{
	return TRACED(hv, domain_tags(hv, domid, ret_tags), "domain_tags(%u)", domid);
}

static const struct hv_ops deterministic_ops = HV_OPS("sim", w);

void det_wrap_handle(struct sim_hv *h)
{
	h->hv.ops = &deterministic_ops;
}
