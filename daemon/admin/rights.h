/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rights of an admin client, by the identity that the kernel vouches for. A client that may
 * connect may look. Steering is a right of its own: it stops a domain's channels, or changes
 * policy.
 */
#ifndef MSGD_DAEMON_ADMIN_RIGHTS_H
#define MSGD_DAEMON_ADMIN_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

/* No group has this number. */
#define ADMIN_NO_GROUP ((gid_t)-1)

/*
 * Whether the process that connected may steer: it was root's or of msgd's own user, or a member of
 * the group.
 */
bool admin_may_steer(int fd, gid_t operators);
/* The user that connected; (uid_t)-1: unknown. */
uid_t admin_uid(int fd);
/* Its process; 0: unknown. */
pid_t admin_pid(int fd);

#endif
