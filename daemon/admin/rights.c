/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rights.h. The identity is that of the time of connect(): unix(7). */
#include "daemon/admin/rights.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

static bool peer_cred(int fd, struct ucred *ret_cred)
{
	socklen_t len = sizeof(*ret_cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_cred, &len) == 0;
}

uid_t admin_uid(int fd)
{
	struct ucred cred;

	return peer_cred(fd, &cred) ? cred.uid : (uid_t)-1;
}

pid_t admin_pid(int fd)
{
	struct ucred cred;

	return peer_cred(fd, &cred) ? cred.pid : 0;
}

/* Supplementary groups. ERANGE says how many bytes they take; no other answer says anything. */
static bool peer_in_group(int fd, gid_t group)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len);
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

bool admin_may_steer(int fd, gid_t operators)
{
	struct ucred cred;

	if (!peer_cred(fd, &cred))
		return false;
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	return operators != ADMIN_NO_GROUP &&
	       (cred.gid == operators || peer_in_group(fd, operators));
}
