/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way to the store, who we are, this handle's own records, and what the watches say.
 *
 * libxenstore reads watch events in a thread of its own and keeps them until xs_check_watch takes
 * them; xs_fileno is readable while there are some. Each takes some 150 bytes of this process, with
 * malloc's share, and the library knows no limit. So each poll takes all of them, and of a guest
 * that writes without pause remembers a bounded set of keys (records.c): the queue holds what
 * xenstored sends within one turn of the caller's loop. This process pays for it: 1.5 MB if that
 * were 10,000 events. If it is stopped, so is the thread, and xenstored keeps the events.
 *
 * The broker has two connections. Guests fill the queue of the one alone that has the watches on
 * their records. Domains' deaths, and answers to requests, come by the other, in whose queue no
 * guest's write puts anything before them.
 */
#include "hv/xen/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"

/*
 * Watch events of one connection taken in one poll; the rest keeps the descriptor readable. Taking
 * one is some lookups in memory. For xenstored it is a request, a node written, and a message: it
 * does not send so many within a poll and the turn before it. If it did, the queue would grow, and
 * the poll would end all the same.
 */
#define EVENTS_A_POLL 8192

void store_path(char ret_path[STORE_PATH_MAX], uint16_t domid, const char *key)
{
	(void)snprintf(ret_path, STORE_PATH_MAX, "/local/domain/%u/data/msgd%s%s", domid,
		key ? "/" : "", key ? key : "");
}

static bool is_broker(const struct xen_hv *h)
{
	return h->domid == HV_BROKER_DOMID;
}

/* ---- through the agent -------------------------------------------------------------------- */

static struct own_record *own_find(struct store *store, const char *key)
{
	struct own_record *own;

	LIST_FOREACH (own, &store->own, entry)
		if (strcmp(own->key, key) == 0)
			return own;
	return NULL;
}

static void own_drop(struct own_record *own)
{
	LIST_REMOVE(own, entry);
	free(own);
}

static void agent_events(struct xen_hv *h)
{
	struct store *store = h->store;
	char key[HV_STORE_KEY_MAX];

	while (store_agent_gone(store->agent, key) > 0) {
		struct own_record *own = own_find(store, key);

		if (!own)
			continue;
		own->gone = true;
		h->store_due = true;
	}
	/* Ended: a record whose agent ended stays. The closed descriptor has left the epoll set. */
}

/*
 * A request may have made a new connection, and what came with its reply does not come again: both
 * matter to who waits for records to be gone.
 */
static int agent_call(struct xen_hv *h, enum agent_op op, const char *key, const void *value,
	size_t len, struct agent_reply *ret_reply)
{
	struct store *store = h->store;
	int r = store_agent_request(store->agent, op, key, value, len, ret_reply);

	if (store->watches_own && store_agent_fd(store->agent) >= 0) {
		(void)xen_hv_watch_fd(h, store_agent_fd(store->agent)); /* EEXIST: the same */
		agent_events(h);
		xen_hv_update_wake(h);
	}
	return r;
}

/* ---- identity and connection ------------------------------------------------------------- */

/* The domain that Xen started. xenfs may not be mounted; the back ends' device is built in. */
static bool is_initial_domain(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/xen/capabilities", "re");
	char line[64];

	if (f && fgets(line, sizeof(line), f) && strstr(line, "control_d"))
		return true;
	return access("/dev/xen/xenbus_backend", F_OK) == 0;
}

/* The number, or an error; the store knows it, and the agent. A restored domain has another. */
static int store_read_domid(struct xen_hv *h)
{
	struct store *store = h->store;
	_cleanup_free_ char *text = NULL;
	struct agent_reply reply;
	unsigned long domid;
	int r;

	if (store->agent) {
		r = agent_call(h, AGENT_DOMID, NULL, NULL, 0, &reply);
		if (r < 0)
			return r;
		domid = reply.domid;
	} else {
		text = xs_read(store->xs, XBT_NULL, "domid", NULL);
		if (!text)
			return -errno;
		domid = strtoul(text, NULL, 10);
	}
	if (domid >= HV_DOMID_FIRST_RESERVED)
		return -EPROTO;
	return (int)domid;
}

static int store_refresh_domid(struct xen_hv *h)
{
	int r;

	if (is_initial_domain())
		return 0;
	r = store_read_domid(h);
	if (r < 0)
		return r;
	atomic_store_explicit(&h->domid, (uint16_t)r, memory_order_relaxed);
	return 0;
}

int store_open(struct xen_hv *h, const char **ret_reason)
{
	const char *agent = secure_getenv("MSG_AGENT");
	struct store *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return -ENOMEM;
	h->store = store;
	store->names.name = "name";
	store->tags.name = "msgd/tags";
	LIST_INIT(&store->own);
	errno = 0;
	if (!agent || !*agent)
		store->xs = xs_open(XS_UNWATCH_FILTER);
	if (!store->xs && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
		*ret_reason = "no descriptor, or no memory, for the way to the store";
		return -errno;
	}
	if (!store->xs) {
		store->agent = store_agent_new();
		if (!store->agent)
			return -ENOMEM;
	}
	h->domid = HV_BROKER_DOMID;
	r = store_refresh_domid(h);
	if (r == -EMFILE || r == -ENFILE)
		*ret_reason = "no descriptor for the way to the store";
	else if (r < 0)
		*ret_reason = r == -EACCES ? "the store cannot be reached: is msg-agent running?"
					   : "the own domain's number cannot be learnt";
	return r;
}

void store_close(struct xen_hv *h)
{
	struct store *store = h->store;
	struct own_record *own;

	if (!store)
		return;
	records_free(store->records);
	while ((own = LIST_FIRST(&store->own)))
		own_drop(own);
	if (store->watch_xs)
		xs_close(store->watch_xs);
	if (store->xs)
		xs_close(store->xs);
	store_agent_free(store->agent);
	free(store);
}

/* ---- publishing -------------------------------------------------------------------------- */

/*
 * Key and length were looked at, so EINVAL is oxenstored's EQUOTA, which libxenstore does not know
 * (xs.c, get_error). E2BIG: larger than xenstored lets a node be.
 */
static int publish_errno(int error)
{
	return error == EINVAL || error == E2BIG ? -ENOSPC : -error;
}

static int publish(struct xen_hv *h, const char *key, const void *value, size_t len)
{
	struct store *store = h->store;
	struct agent_reply reply;
	char path[STORE_PATH_MAX];

	if (store->agent)
		return agent_call(h, AGENT_PUBLISH, key, value, len, &reply);
	store_path(path, h->domid, key);
	return xs_write(store->xs, XBT_NULL, path, value, (unsigned)len) ? 0 : publish_errno(errno);
}

/*
 * If the domain is saved and restored after its number was read, the path is another domain's:
 * EACCES. So it may be of an application that is quiesced and gets little of its processor.
 */
static int publish_here(struct xen_hv *h, const char *key, const void *value, size_t len)
{
	uint16_t domid;
	int r;

	do {
		domid = h->domid;
		r = publish(h, key, value, len);
	} while (r == -EACCES && store_refresh_domid(h) == 0 && h->domid != domid);
	return r;
}

int op_store_publish(struct hv *hv, const char *key, const void *value, size_t len)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct own_record *own, *new = NULL;
	int r;

	if (!hv_store_key_is_valid(key) || len == 0 || len > HV_STORE_VALUE_MAX)
		return -EINVAL;
	r = store_refresh_domid(h);
	if (r < 0)
		return r;
	own = own_find(h->store, key);
	if (!own) {
		own = new = calloc(1, sizeof(*own));
		if (!own)
			return -ENOMEM;
		strcpy(own->key, key); /* its length was checked */
		LIST_INSERT_HEAD(&h->store->own, own, entry);
	}
	r = publish_here(h, key, value, len);
	if (r == 0)
		own->check = own->gone = false;
	if (r < 0 && new)
		own_drop(new);
	return r;
}

int op_parcel_ask(struct hv *hv, struct hv_parcel *ret_parcel)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct hv_parcel parcel = {0};
	struct agent_reply reply;
	int r;

	if (!h->store->agent)
		return 0;
	r = agent_call(h, AGENT_PARCEL, NULL, NULL, 0, &reply);
	if (r < 0)
		return r;
	parcel.port = reply.port;
	memcpy(parcel.refs, reply.refs, sizeof(parcel.refs));
	memcpy(parcel.where, reply.where, sizeof(parcel.where));
	store_agent_fds(h->store->agent, parcel.fds);
	*ret_parcel = parcel;
	return 1;
}

/* xenstored says nothing of a node that is not there, so it is read first. */
static int direct_remove(struct store *store, uint16_t domid, const char *key)
{
	_cleanup_free_ void *value = NULL;
	char path[STORE_PATH_MAX];

	store_path(path, domid, key);
	value = xs_read(store->xs, XBT_NULL, path, NULL);
	if (!value)
		return -errno;
	return xs_rm(store->xs, XBT_NULL, path) ? 0 : -errno;
}

int op_store_remove(struct hv *hv, uint16_t domid, const char *key)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct own_record *own;
	struct agent_reply reply;

	if (!hv_store_key_is_valid(key))
		return -EINVAL;
	domid = xen_hv_resolve(h, domid);
	if (domid != h->domid && (!is_broker(h) || h->store->agent))
		return -EACCES;
	own = domid == h->domid ? own_find(h->store, key) : NULL;
	if (own)
		own_drop(own);
	if (h->store->agent)
		return agent_call(h, AGENT_REMOVE, key, NULL, 0, &reply);
	return direct_remove(h->store, domid, key);
}

/* ---- watching ---------------------------------------------------------------------------- */

static int store_make_polled(struct xen_hv *h)
{
	struct store *store = h->store;
	int fd, r;

	if (store->polled)
		return 0;
	if (store->agent && store_agent_fd(store->agent) < 0) {
		struct agent_reply reply; /* connects */

		r = agent_call(h, AGENT_DOMID, NULL, NULL, 0, &reply);
		if (r < 0)
			return r;
	}
	/* xs_fileno makes a pipe at its first call. */
	errno = ENOMEM;
	fd = store->agent ? store_agent_fd(store->agent) : xs_fileno(store->xs);
	if (fd < 0)
		return -errno;
	r = xen_hv_watch_fd(h, fd);
	if (r == 0)
		store->polled = true;
	return r;
}

/*
 * The first watch of a handle starts a thread. Where that fails, as at a limit of processes,
 * libxenstore does not set errno.
 */
static int watch(struct store *store, const char *path, const char *token)
{
	errno = EAGAIN;
	return xs_watch(store->xs, path, token) ? 0 : -errno;
}

/*
 * A domain's life: xenstored hears of VIRQ_DOM_EXC, which has one receiver, and says it by these.
 */
static int watch_specials(struct xen_hv *h)
{
	struct store *store = h->store;
	int r;

	if (!is_broker(h) || !store->xs)
		return -EACCES;
	r = store_make_polled(h);
	if (r < 0 || store->watches_specials)
		return r;
	r = watch(store, "@introduceDomain", "special");
	if (r == 0)
		r = watch(store, "@releaseDomain", "special");
	store->watches_specials = r == 0;
	return r;
}

/* The connection whose queue guests can fill. */
static int watch_connection_open(struct xen_hv *h)
{
	struct store *store = h->store;
	int r;

	if (store->watch_xs)
		return 0;
	store->watch_xs = xs_open(XS_UNWATCH_FILTER);
	if (!store->watch_xs)
		return -errno;
	r = xs_fileno(store->watch_xs) < 0 ? -ENOMEM
					   : xen_hv_watch_fd(h, xs_fileno(store->watch_xs));
	if (r < 0) {
		xs_close(store->watch_xs);
		store->watch_xs = NULL;
	}
	return r;
}

int op_domain_watch(struct hv *hv)
{
	struct xen_hv *h = xen_hv_of(hv);
	int r = watch_specials(h);

	if (r == 0)
		r = watch_connection_open(h);
	if (r < 0)
		return r;
	h->store->watches_domains = true;
	h->store->names.xs = h->store->xs;
	/* A node that a guest may write by mistake must not fill the other queue. */
	h->store->tags.xs = h->store->watch_xs;
	return 0;
}

int op_store_watch(struct hv *hv)
{
	struct xen_hv *h = xen_hv_of(hv);
	int r = watch_specials(h);

	if (r < 0 || h->store->records)
		return r;
	r = watch_connection_open(h);
	if (r < 0)
		return r;
	h->store->records = records_new(h->store->xs, h->store->watch_xs);
	if (!h->store->records)
		return -ENOMEM;
	h->store_due = true;
	xen_hv_update_wake(h);
	return 0;
}

/* Relative: the domain's number changes when it is restored. The kernel sets it up again then. */
int op_store_watch_own(struct hv *hv)
{
	struct xen_hv *h = xen_hv_of(hv);
	struct store *store = h->store;
	const char *path = is_broker(h) ? "/local/domain/0/data/msgd" : "data/msgd";
	int r = store_make_polled(h);

	if (r < 0 || store->watches_own)
		return r;
	if (store->xs)
		r = watch(store, path, "own");
	store->watches_own = r == 0;
	return r;
}

static void own_event(struct xen_hv *h, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct own_record *own;

	LIST_FOREACH (own, &h->store->own, entry) {
		if (slash && strcmp(slash, "/msgd") != 0 && strcmp(slash + 1, own->key) != 0)
			continue;
		own->check = true;
		h->store_due = true;
	}
}

static void store_event(struct xen_hv *h, const char *path, const char *token)
{
	struct store *store = h->store;

	if (strcmp(token, "own") == 0) {
		own_event(h, path);
	} else if (strcmp(token, "records") == 0) {
		if (store->records && records_event(store->records, path))
			h->store_due = true;
	} else if (strcmp(token, "domain") == 0) {
		h->domains_due = true;
	} else if (strcmp(token, "special") == 0) {
		if (store->watches_domains)
			h->domains_due = true;
		if (store->records) {
			records_scan(store->records);
			h->store_due = true;
		}
	}
}

static void events_take(struct xen_hv *h, struct xs_handle *xs)
{
	for (int i = 0; i < EVENTS_A_POLL; i++) {
		char **event = xs_check_watch(xs);

		if (!event)
			return;
		store_event(h, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
		free(event);
	}
}

void store_poll(struct xen_hv *h)
{
	struct store *store = h->store;

	if (!store->polled)
		return;
	if (store->agent) {
		agent_events(h);
		return;
	}
	events_take(h, store->xs);
	if (store->records)
		records_turn(store->records);
	if (store->watch_xs) /* tags are watched there, too */
		events_take(h, store->watch_xs);
}

/* Whether the store still has an own record that something happened to. */
static int own_check(struct xen_hv *h, struct own_record *own)
{
	_cleanup_free_ void *value = NULL;
	char path[STORE_PATH_MAX];

	own->check = false;
	if (is_broker(h))
		store_path(path, h->domid, own->key);
	else
		(void)snprintf(path, sizeof(path), "data/msgd/%s", own->key);
	value = xs_read(h->store->xs, XBT_NULL, path, NULL);
	if (!value && errno == ENOENT)
		own->gone = true;
	return value || errno == ENOENT ? 0 : -errno;
}

static int own_next(struct xen_hv *h, struct hv_record *ret_record)
{
	struct own_record *own, *next;

	if (!h->store->watches_own)
		return 0;
	for (own = LIST_FIRST(&h->store->own); own; own = next) {
		int r = own->check && h->store->xs ? own_check(h, own) : 0;

		next = LIST_NEXT(own, entry);
		if (r < 0)
			return r;
		if (!own->gone)
			continue;
		/* Perhaps because the domain was restored: under another number. */
		(void)store_refresh_domid(h);
		ret_record->domid = h->domid;
		strcpy(ret_record->key, own->key);
		ret_record->len = 0;
		own_drop(own);
		return 1;
	}
	return 0;
}

int op_store_next(struct hv *hv, struct hv_record *ret_record)
{
	struct xen_hv *h = xen_hv_of(hv);
	int r = own_next(h, ret_record);

	if (r != 0 || !h->store->records)
		return r;
	r = records_next(h->store->records, ret_record);
	if (r == 0 && records_due(h->store->records)) {
		/* The turn's reads are used up: another event comes for the others. */
		h->store_due = true;
		xen_hv_update_wake(h);
	}
	return r;
}
