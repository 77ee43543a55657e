/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domain states, by libxenctrl: the one file that uses it, and linked into msgd alone. The ABI of
 * libxenctrl changes with every release of Xen, and applications in guests have no use for it.
 *
 * Xen counts no lives of a domid. The generation is this handle's own count: it moves when a domid
 * that was seen shows another uuid, or shows up again after it was missing. Between two looks a
 * domid could only be missed with the same uuid, that is, restarted by force under its old number.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>
#include <xen/sched.h>

#include "base/cleanup.h"
#include "hv/xen/store.h"

#define CHUNK 64U

struct life {
	uint16_t domid;
	uint8_t uuid[HV_UUID_LEN];
	uint64_t generation;
};

struct domains {
	xc_interface *xc;
	struct life *lives; /* owned; in the order of domids, as Xen lists them */
	size_t n_lives;
	uint64_t last_generation;
};

static enum hv_domain_state state_of(const xc_domaininfo_t *info)
{
	uint32_t reason = info->flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;

	if (info->flags & XEN_DOMINF_dying)
		return HV_DOMAIN_DYING;
	if (!(info->flags & XEN_DOMINF_shutdown))
		return HV_DOMAIN_RUNNING;
	return reason == SHUTDOWN_suspend ? HV_DOMAIN_SUSPENDED : HV_DOMAIN_CRASHED;
}

static const struct life *life_find(const struct domains *domains, uint16_t domid)
{
	for (size_t i = 0; i < domains->n_lives; i++)
		if (domains->lives[i].domid == domid)
			return &domains->lives[i];
	return NULL;
}

/* All domains, in an array of their own. */
static int infos_read(struct domains *domains, xc_domaininfo_t **ret_infos, size_t *ret_n)
{
	_cleanup_free_ xc_domaininfo_t *infos = NULL;
	uint32_t first = 0;
	size_t n = 0;
	int got;

	do {
		xc_domaininfo_t *more = reallocarray(infos, n + CHUNK, sizeof(*infos));

		if (!more)
			return -ENOMEM;
		infos = more;
		got = xc_domain_getinfolist(domains->xc, first, CHUNK, infos + n);
		if (got < 0)
			return -errno;
		n += (size_t)got;
		if (got)
			first = infos[n - 1].domain + 1U;
	} while (got == CHUNK);
	*ret_infos = steal_ptr(infos);
	*ret_n = n;
	return 0;
}

/* Replaces what is known of lives by what Xen says now. */
static int lives_update(struct domains *domains, const xc_domaininfo_t *infos, size_t n)
{
	struct life *lives = calloc(n ? n : 1, sizeof(*lives));

	if (!lives)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct life *old = life_find(domains, infos[i].domain);

		lives[i].domid = infos[i].domain;
		memcpy(lives[i].uuid, infos[i].handle, HV_UUID_LEN);
		if (old && memcmp(old->uuid, lives[i].uuid, HV_UUID_LEN) == 0)
			lives[i].generation = old->generation;
		else
			lives[i].generation = ++domains->last_generation;
	}
	free(domains->lives);
	domains->lives = lives;
	domains->n_lives = n;
	return 0;
}

static int domains_open(struct xen_hv *h)
{
	struct domains *domains;

	if (h->domains)
		return 0;
	domains = calloc(1, sizeof(*domains));
	if (!domains)
		return -ENOMEM;
	domains->xc = xc_interface_open(&xen_silence, &xen_silence, 0);
	if (!domains->xc) {
		int r = errno == EPERM ? -EACCES : -errno;

		free(domains);
		return r;
	}
	h->domains = domains;
	return 0;
}

static void domains_free(struct domains *domains)
{
	(void)xc_interface_close(domains->xc);
	free(domains->lives);
	free(domains);
}

static int domains_list(struct xen_hv *h, struct hv_domain *ret_domains, size_t n)
{
	_cleanup_free_ xc_domaininfo_t *infos = NULL;
	size_t n_infos = 0;
	int r = domains_open(h);

	if (r == 0)
		r = infos_read(h->domains, &infos, &n_infos);
	if (r == 0)
		r = lives_update(h->domains, infos, n_infos);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_infos && i < n; i++) {
		struct hv_domain *domain = &ret_domains[i];

		memset(domain, 0, sizeof(*domain));
		domain->domid = infos[i].domain;
		domain->state = state_of(&infos[i]);
		/* A toolstack pauses what it destroys. */
		domain->paused =
			domain->state == HV_DOMAIN_RUNNING && (infos[i].flags & XEN_DOMINF_paused);
		domain->generation = h->domains->lives[i].generation;
		memcpy(domain->uuid, infos[i].handle, HV_UUID_LEN);
		store_domain_name(h, domain->domid, domain->name);
	}
	if (n_infos <= n)
		store_nodes_keep(h, ret_domains, n_infos);
	return (int)n_infos;
}

const struct domain_ops xen_domain_ops = {
	.list = domains_list,
	.free = domains_free,
};
