// SPDX-License-Identifier: GPL-2.0-only
/*
 * The limits: on the pages that rings and bounces take, and on rings; for the whole kernel, and for
 * each user, so that none can take what is there for all. Xen has the limit on the domain's rings.
 */
#include <linux/capability.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include "xen-argo.h"

static ulong limit;
module_param(limit, ulong, 0644);
MODULE_PARM_DESC(limit, "Pages for rings and bounces (default: a quarter of memory, or 64 MiB)");

static ulong user_limit;
module_param(user_limit, ulong, 0644);
MODULE_PARM_DESC(user_limit, "Pages for those of one user (default: half of limit)");

/* Half of Xen's 128. */
static uint user_rings = 64;
module_param(user_rings, uint, 0644);
MODULE_PARM_DESC(user_rings, "Rings of one user (default: 64)");

static atomic_long_t n_charged;

static DEFINE_MUTEX(users_lock);
/* Under users_lock: each has an open file, so there are no more than those. */
static LIST_HEAD(users);

struct argo_user {
	struct list_head link;
	kuid_t uid;
	unsigned int n_files; /* under users_lock */
	atomic_t n_rings;
	atomic_long_t n_pages;
};

void __init argo_limits_init(void)
{
	if (!limit)
		limit = min(totalram_pages() / 4, (64UL << 20) >> PAGE_SHIFT);
	if (!user_limit)
		user_limit = limit / 2;
}

static struct argo_user *user_find(kuid_t uid)
{
	struct argo_user *user;

	list_for_each_entry(user, &users, link)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

struct argo_user *argo_user_get(kuid_t uid)
{
	struct argo_user *user;

	mutex_lock(&users_lock);
	user = user_find(uid);
	if (!user) {
		user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
		if (user) {
			user->uid = uid;
			list_add(&user->link, &users);
		}
	}
	if (user)
		user->n_files++;
	mutex_unlock(&users_lock);
	return user;
}

void argo_user_put(struct argo_user *user)
{
	mutex_lock(&users_lock);
	/* A charge that stays (of pages that are lost) is the kernel's alone from now on. */
	if (--user->n_files == 0) {
		list_del(&user->link);
		kfree(user);
	}
	mutex_unlock(&users_lock);
}

/* The right to more than a user's share is looked at only where it makes a difference. */
static bool user_may(bool within_limit)
{
	return within_limit || capable(CAP_SYS_RESOURCE);
}

int argo_ring_charge(struct argo_user *user)
{
	if (user_may(atomic_inc_return(&user->n_rings) <= READ_ONCE(user_rings)))
		return 0;
	atomic_dec(&user->n_rings);
	return -EDQUOT;
}

void argo_ring_uncharge(struct argo_user *user)
{
	atomic_dec(&user->n_rings);
}

int argo_pages_charge(struct argo_user *user, unsigned long n)
{
	int err = 0;

	if (!user_may(atomic_long_add_return(n, &user->n_pages) <= READ_ONCE(user_limit)))
		err = -EDQUOT;
	if (atomic_long_add_return(n, &n_charged) > READ_ONCE(limit) && !err)
		err = -ENOMEM;
	if (err)
		argo_pages_uncharge(user, n);
	return err;
}

void argo_pages_uncharge(struct argo_user *user, unsigned long n)
{
	atomic_long_sub(n, &user->n_pages);
	atomic_long_sub(n, &n_charged);
}

void argo_limits_tell(const struct argo_user *user, struct argodev_info *info)
{
	info->user_pages = atomic_long_read(&user->n_pages);
	info->user_pages_max = READ_ONCE(user_limit);
	info->user_rings = atomic_read(&user->n_rings);
	info->user_rings_max = READ_ONCE(user_rings);
	if (capable(CAP_SYS_ADMIN))
		info->n_pages = atomic_long_read(&n_charged);
}
