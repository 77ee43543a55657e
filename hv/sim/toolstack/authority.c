/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See authority.h. */
#include "hv/sim/toolstack/authority.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "base/uuid.h"
#include "hv/sim/guest/release.h"
#include "hv/sim/hypervisor/domain.h"
#include "hv/sim/memory/lock.h"
#include "hv/sim/memory/proc.h"
#include "hv/sim/memory/slot.h"

#define DOMID_LAST 0x7fefU

/* May be called with the mutex held, or not: an eventfd changes only while its slot is free. */
void authority_kick(struct xen *xen, uint32_t slot, uint32_t generation)
{
	struct authority *a = xen->ops_arg;
	uint64_t one = 1;

	if (a->event_fds[slot] >= 0 && write(a->event_fds[slot], &one, sizeof(one)) < 0)
		return; /* EAGAIN: full, hence readable */
}

/* By pidfd, and its age is compared after that is open: pids are reused. */
static void owner_kill(struct xen *xen, uint32_t slot)
{
	struct sim_slot *s = slot_at(xen, slot);
	int32_t pid = atomic_load(&s->pid);
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd >= 0 && pid != getpid() && proc_start_time(pid) == atomic_load(&s->start_time))
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

/*
 * Everybody stands still, this process too: so it may as well wait here. A domain that the
 * toolstack pauses never gets here, since pausing waits for the locks.
 */
static void authority_stuck(struct xen *xen, uint32_t slot, uint32_t before_ms, uint32_t waited_ms)
{
	struct authority *a = xen->ops_arg;
	uint32_t limit_ms = a->stopped_limit_ms;
	char text[512];

	if (before_ms < LOCK_REPORT_MS && waited_ms >= LOCK_REPORT_MS) {
		lock_owner_describe(xen, slot, text, sizeof(text));
		if (!limit_ms)
			(void)fprintf(stderr, "xen-sim: %s; everybody waits for it\n", text);
		else if (waited_ms < limit_ms)
			(void)fprintf(stderr,
				"xen-sim: %s; it is killed if it does not go on within %u ms\n",
				text, limit_ms - waited_ms);
	}
	if (limit_ms && before_ms < limit_ms && waited_ms >= limit_ms) {
		lock_owner_describe(xen, slot, text, sizeof(text));
		(void)fprintf(stderr, "xen-sim: %s for %u ms; killing it\n", text, waited_ms);
		owner_kill(xen, slot);
	}
}

static const struct xen_ops authority_xen_ops = {
	.kick = authority_kick,
	.stuck = authority_stuck,
};

int authority_init(struct authority *a)
{
	struct sim_slot *self;
	const char *fifo = secure_getenv("XEN_SIM_FIFO_EVENTS");
	int r;

	*a = (struct authority){.memfd = -1, .next_domid = 1, .stopped_limit_ms = LOCK_LIMIT_MS};
	for (uint32_t i = 0; i < SIM_MAX_SLOTS; i++)
		a->event_fds[i] = -1;
	a->domain_flags = fifo && strcmp(fifo, "1") == 0 ? SIM_DOMAIN_FIFO : 0;
	r = segment_create(&a->memfd, &a->xen.seg);
	if (r < 0)
		return r;
	a->mutex = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	store_init(&a->store);
	xen_init(&a->xen, a->xen.seg, 0);
	a->xen.ops = &authority_xen_ops;
	a->xen.ops_arg = a;
	self = slot_at(&a->xen, 0);
	atomic_store(&self->pid, getpid());
	atomic_store(&self->start_time, proc_start_time(getpid()));
	atomic_store(&self->state, SIM_SLOT_LIVE);
	a->event_fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = a->event_fds[0] < 0 ? -errno : 0;
	if (r == 0)
		r = authority_domain_create(a,
			&(struct domain_config){.name = "Domain-0",
				.uuid = (const uint8_t[HV_UUID_LEN]){0},
				.flags = SIM_DOMAIN_ARGO | SIM_DOMAIN_GUEST_KERNEL},
			&(uint32_t){0});
	if (r < 0)
		authority_fini(a);
	return r;
}

void authority_fini(struct authority *a)
{
	for (uint32_t i = 0; i < SIM_MAX_SLOTS; i++)
		close_p(&a->event_fds[i]);
	store_clear(&a->store);
	(void)pthread_mutex_destroy(&a->mutex);
	segment_unmap(a->xen.seg);
	close_p(&a->memfd);
}

static bool slot_watches(struct authority *a, uint32_t slot, uint32_t flag)
{
	const struct sim_slot *s = slot_at(&a->xen, slot);

	if (flag == SIM_SLOT_STORE)
		return a->store.watchers[slot].on;
	return atomic_load(&s->state) == SIM_SLOT_LIVE && atomic_load(&s->watches_domains);
}

/* flag: SIM_SLOT_STORE or SIM_SLOT_DOMAINS, which its watchers are told of. */
static void changed(struct authority *a, uint32_t flag)
{
	for (uint32_t i = 1; i < SIM_MAX_SLOTS; i++) {
		if (!slot_watches(a, i, flag))
			continue;
		slot_set_flags(&a->xen, i, flag);
		kick_slot(&a->xen, i);
	}
}

/* ---- domains --------------------------------------------------------------------------- */

static uint32_t domain_by(struct authority *a, const char *name, const uint8_t *uuid)
{
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++) {
		const struct sim_domain *d = domain_at(&a->xen, i);

		if (d->state == SIM_DOMAIN_FREE || d->state == SIM_DOMAIN_DYING)
			continue;
		if (uuid ? memcmp(d->uuid, uuid, HV_UUID_LEN) == 0 : strcmp(d->name, name) == 0)
			return i;
	}
	return DOMAIN_NONE;
}

uint32_t authority_domain_find(struct authority *a, const char *name)
{
	uint8_t uuid[HV_UUID_LEN];
	uint32_t index;
	uint32_t domid;

	LOCKED(a);
	index = domain_by(a, name, NULL);
	if (index == DOMAIN_NONE && strncmp(name, "uuid:", 5) == 0 &&
		uuid_from_text(name + 5, uuid))
		index = domain_by(a, NULL, uuid);
	if (index == DOMAIN_NONE && number_from_text(name, DOMID_LAST, &domid))
		index = sim_domain_find(&a->xen, (uint16_t)domid);
	return index;
}

static bool name_is_valid(const char *name)
{
	size_t n = strnlen(name, HV_DOMAIN_NAME_MAX);

	if (n == 0 || n == HV_DOMAIN_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
			return false;
	return true;
}

/* Xen's toolstacks give domids out in ascending order, and start again at the end. */
static uint16_t domid_next(struct authority *a)
{
	while (a->xen.seg->domain_index[a->next_domid])
		a->next_domid = a->next_domid == DOMID_LAST ? 1 : a->next_domid + 1;
	return a->next_domid;
}

int authority_domain_create(
	struct authority *a, const struct domain_config *config, uint32_t *ret_index)
{
	char name[HV_DOMAIN_NAME_MAX];
	uint8_t uuid[HV_UUID_LEN];
	bool dom0 = domain_at(&a->xen, 0)->state == SIM_DOMAIN_FREE;
	uint16_t domid;
	int r;

	if (config->domid > DOMID_LAST || config->limits.n_vcpus > SIM_MAX_VCPUS ||
		(config->name && !name_is_valid(config->name)))
		return -EINVAL;
	if (config->uuid)
		memcpy(uuid, config->uuid, sizeof(uuid));
	else if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return -EIO;
	LOCKED(a);
	domid = dom0 ? 0 : config->domid ? config->domid : domid_next(a);
	(void)snprintf(name, sizeof(name), "domain-%u", domid);
	if (config->name && domain_by(a, config->name, NULL) != DOMAIN_NONE)
		return -EEXIST;
	r = domain_create(&a->xen, domid, config->name ? config->name : name, uuid,
		config->flags | a->domain_flags, &config->limits, ret_index);
	if (r < 0)
		return r;
	a->tags[*ret_index] = (struct authority_tags){.by_guest = false};
	if (!dom0 && !config->domid)
		a->next_domid = domid == DOMID_LAST ? 1 : domid + 1;
	changed(a, SIM_SLOT_DOMAINS);
	return 0;
}

int authority_domain_tag(
	struct authority *a, uint32_t index, const char tags[HV_TAGS_MAX], bool by_guest)
{
	if (!memchr(tags, 0, HV_TAGS_MAX))
		return -EINVAL;
	LOCKED(a);
	a->tags[index].by_guest = by_guest;
	memcpy(a->tags[index].text, tags, HV_TAGS_MAX);
	changed(a, SIM_SLOT_DOMAINS);
	return 0;
}

void authority_domain_kill(struct authority *a, uint32_t index)
{
	LOCKED(a);
	domain_kill(&a->xen, index);
	if (store_remove_domain(&a->store, domain_at(&a->xen, index)->domid))
		changed(a, SIM_SLOT_STORE);
	changed(a, SIM_SLOT_DOMAINS);
	authority_domains_reap(a);
}

static bool domain_has_processes(struct authority *a, uint32_t index)
{
	for (uint32_t i = 1; i < SIM_MAX_SLOTS; i++)
		if (atomic_load(&slot_at(&a->xen, i)->state) != SIM_SLOT_FREE &&
			slot_domain(&a->xen, i) == index)
			return true;
	return false;
}

void authority_domains_reap(struct authority *a)
{
	bool any = false;

	LOCKED(a);
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++)
		if (domain_at(&a->xen, i)->state == SIM_DOMAIN_DYING && !domain_has_processes(a, i))
			any |= domain_reap(&a->xen, i);
	if (any)
		changed(a, SIM_SLOT_DOMAINS);
}

void authority_domain_set_paused(struct authority *a, uint32_t index, bool paused)
{
	LOCKED(a);
	domain_set_paused(&a->xen, index, paused);
	changed(a, SIM_SLOT_DOMAINS);
}

void authority_domain_set_state(struct authority *a, uint32_t index, uint8_t state, uint8_t reason)
{
	LOCKED(a);
	domain_set_state(&a->xen, index, state, reason);
	changed(a, SIM_SLOT_DOMAINS);
}

int authority_domain_restore(struct authority *a, uint32_t index)
{
	uint16_t old, domid;
	int r;

	LOCKED(a);
	old = domain_at(&a->xen, index)->domid;
	domid = domid_next(a);
	r = domain_restore(&a->xen, index, domid);
	if (r == 0) {
		a->next_domid = domid == DOMID_LAST ? 1 : domid + 1;
		if (store_remove_domain(&a->store, old))
			changed(a, SIM_SLOT_STORE);
		changed(a, SIM_SLOT_DOMAINS);
	}
	return r;
}

/* ---- processes ------------------------------------------------------------------------- */

static void slot_clear(struct sim_slot *s)
{
	atomic_store(&s->watches_domains, 0);
	slot_kick_reset(s);
	atomic_store(&s->flags, 0);
	atomic_store(&s->rings[0], 0);
	atomic_store(&s->rings[1], 0);
	atomic_store(&s->port_words, 0);
	for (uint32_t i = 0; i < SIM_MAX_PORTS / 64; i++)
		if (atomic_load(&s->ports[i])) /* else its page may not even be there */
			atomic_store(&s->ports[i], 0);
}

int authority_attach(struct authority *a, uint32_t domain, int32_t pid, uint32_t *ret_slot)
{
	struct sim_slot *s;
	uint32_t slot = 1;
	int fd;

	LOCKED(a);
	while (slot < SIM_MAX_SLOTS && atomic_load(&slot_at(&a->xen, slot)->state) != SIM_SLOT_FREE)
		slot++;
	if (slot == SIM_MAX_SLOTS)
		return -EUSERS;
	if (domain >= SIM_MAX_DOMAINS ||
		(domain_at(&a->xen, domain)->state != SIM_DOMAIN_RUNNING &&
			domain_at(&a->xen, domain)->state != SIM_DOMAIN_SHUTDOWN))
		return -EHOSTUNREACH;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	s = slot_at(&a->xen, slot);
	slot_clear(s);
	a->event_fds[slot] = fd;
	atomic_store(&s->pid, pid);
	atomic_store(&s->start_time, proc_start_time(pid));
	atomic_store(&s->domain, (uint16_t)domain);
	atomic_store(&s->state, SIM_SLOT_LIVE);
	*ret_slot = slot;
	return 0;
}

void authority_detach(struct authority *a, uint32_t slot)
{
	struct sim_slot *s = slot_at(&a->xen, slot);

	LOCKED(a);
	if (atomic_load(&s->state) != SIM_SLOT_LIVE)
		return;
	atomic_store(&s->state, SIM_SLOT_DEAD); /* if it held a lock, it is taken over now */
	guest_release(&a->xen, slot);
	store_unwatch(&a->store, slot);
	/* A new generation before the slot is free: a late kick must not reach the next owner. */
	atomic_fetch_add(&s->generation, 1);
	authority_kick(&a->xen, slot, 0); /* if it lives, it is to learn that it is out */
	(void)close(a->event_fds[slot]);
	a->event_fds[slot] = -1;
	atomic_store(&s->state, SIM_SLOT_FREE);
	slots_kick_unseen(&a->xen);
	authority_domains_reap(a);
}

/* ---- the store ------------------------------------------------------------------------- */

static uint16_t slot_domid(struct authority *a, uint32_t slot)
{
	return domain_at(&a->xen, slot_domain(&a->xen, slot))->domid;
}

/* Where another domain's record is meant, only the broker's domain may. */
static int record_remove(struct authority *a, uint32_t slot, const struct hv_record *record)
{
	uint16_t self = slot_domid(a, slot);
	uint16_t domid = record->domid == HV_DOMID_SELF ? self : record->domid;

	if (domid != self && self != HV_BROKER_DOMID)
		return -EACCES;
	return store_remove(&a->store, slot, domid, record->key);
}

static int read_tags(struct authority *a, uint32_t slot, struct hv_record *record)
{
	uint32_t index;

	if (slot_domid(a, slot) != HV_BROKER_DOMID)
		return -EACCES;
	index = sim_domain_find(&a->xen, record->domid);
	if (index == DOMAIN_NONE)
		return -ESRCH;
	if (a->tags[index].by_guest)
		return -EPERM;
	memcpy(record->value, a->tags[index].text, HV_TAGS_MAX);
	return 0;
}

static int watch_all(struct authority *a, uint32_t slot)
{
	if (slot_domid(a, slot) != HV_BROKER_DOMID)
		return -EACCES;
	store_watch(&a->store, slot);
	if (!TAILQ_EMPTY(&a->store.records)) {
		slot_set_flags(&a->xen, slot, SIM_SLOT_STORE);
		kick_slot(&a->xen, slot);
	}
	return 0;
}

int authority_store(
	struct authority *a, uint32_t slot, enum sim_message_type type, struct hv_record *record)
{
	int r = 0;

	LOCKED(a);
	switch (type) {
	case SIM_PUBLISH:
		r = store_publish(&a->store, slot, slot_domid(a, slot), record->key, record->value,
			record->len);
		break;
	case SIM_REMOVE:
		r = record_remove(a, slot, record);
		break;
	case SIM_WATCH:
		return watch_all(a, slot);
	case SIM_WATCH_OWN:
		store_watch_own(&a->store, slot);
		return 0;
	case SIM_READ_TAGS:
		return read_tags(a, slot, record);
	default: /* SIM_NEXT */
		return store_next(&a->store, slot, record);
	}
	if (r == 0)
		changed(a, SIM_SLOT_STORE);
	return r;
}
