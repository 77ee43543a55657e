/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains' names and tags, which the toolstack keeps in the store, and events of their changes. A
 * guest must never be able to write them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "hv/xen/store.h"

static void node_path(char ret_path[STORE_PATH_MAX], uint16_t domid, const char *name)
{
	(void)snprintf(ret_path, STORE_PATH_MAX, "/local/domain/%u/%s", domid, name);
}

/* A toolstack may rename a domain, and says so to nobody else. */
static void node_watch(struct store_node *node, uint16_t domid, const char *path)
{
	uint64_t bit = UINT64_C(1) << domid % 64;

	if (node->xs && !(node->watched[domid / 64] & bit) && xs_watch(node->xs, path, "domain"))
		node->watched[domid / 64] |= bit;
}

static void node_unwatch(struct store_node *node, uint16_t domid)
{
	uint64_t bit = UINT64_C(1) << domid % 64;
	char path[STORE_PATH_MAX];

	if (!(node->watched[domid / 64] & bit))
		return;
	node_path(path, domid, node->name);
	(void)xs_unwatch(node->xs, path, "domain");
	node->watched[domid / 64] &= ~bit;
}

static bool domain_is_listed(const struct hv_domain *domains, size_t n, uint16_t domid)
{
	for (size_t i = 0; i < n; i++) {
		if (domains[i].domid == domid)
			return true;
	}
	return false;
}

static void node_keep(struct store_node *node, const struct hv_domain *domains, size_t n)
{
	for (uint32_t word = 0; word < ARRAY_SIZE(node->watched); word++) {
		for (uint64_t bits = node->watched[word]; bits; bits &= bits - 1) {
			uint16_t domid = (uint16_t)(word * 64 + (uint32_t)__builtin_ctzll(bits));

			if (!domain_is_listed(domains, n, domid))
				node_unwatch(node, domid);
		}
	}
}

void store_nodes_keep(struct xen_hv *h, const struct hv_domain *domains, size_t n)
{
	node_keep(&h->store->names, domains, n);
	node_keep(&h->store->tags, domains, n);
}

/* A name that does not fit is not known: its beginning is another name. */
void store_domain_name(struct xen_hv *h, uint16_t domid, char ret_name[HV_DOMAIN_NAME_MAX])
{
	struct store *store = h->store;
	_cleanup_free_ char *name = NULL;
	char path[STORE_PATH_MAX];

	ret_name[0] = 0;
	if (!store->xs || domid >= HV_DOMID_FIRST_RESERVED)
		return;
	node_path(path, domid, store->names.name);
	node_watch(&store->names, domid, path);
	name = xs_read(store->xs, XBT_NULL, path, NULL);
	if (name && strlen(name) < HV_DOMAIN_NAME_MAX)
		strcpy(ret_name, name);
}

/* The first entry has the owner, and what the domains may that have no entry. */
static bool is_domain_0s_alone(const struct xs_permissions *permissions, unsigned n)
{
	bool alone = n > 0 && permissions[0].id == 0;

	for (unsigned i = 0; i < n; i++)
		if ((permissions[i].perms & XS_PERM_WRITE) && (i == 0 || permissions[i].id != 0))
			alone = false;
	return alone;
}

/* The permissions are read after the value: a value from before them is as good as one from now. */
int store_domain_tags(struct xen_hv *h, uint16_t domid, char ret_tags[HV_TAGS_MAX])
{
	struct store *store = h->store;
	_cleanup_free_ struct xs_permissions *permissions = NULL;
	_cleanup_free_ char *tags = NULL;
	char path[STORE_PATH_MAX];
	unsigned len = 0, n = 0;

	node_path(path, domid, store->tags.name);
	tags = xs_read(store->xs, XBT_NULL, path, &len);
	if (tags)
		permissions = xs_get_permissions(store->xs, XBT_NULL, path, &n);
	if (!permissions && errno != ENOENT)
		return -errno;
	if (!permissions)
		len = 0; /* libxenstore leaves the length of the error's text there */
	if (permissions && !is_domain_0s_alone(permissions, n)) {
		/* Each write of the guest's would have all domains looked at. */
		node_unwatch(&store->tags, domid);
		return -EPERM;
	}
	/* A new watch fires: what was written meanwhile is read then. */
	node_watch(&store->tags, domid, path);
	if (len >= HV_TAGS_MAX)
		return -E2BIG;
	if (len && memchr(tags, 0, len))
		return -EINVAL;
	if (len)
		memcpy(ret_tags, tags, len);
	ret_tags[len] = 0;
	return 0;
}
