/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asks the kernel about a local socket that another process may have: sock_diag(7). */
#include "libmsg/api/sock-diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static int ask(int fd, ino_t inode, uint32_t show)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req request;
	} message = {
		.header = {.nlmsg_len = sizeof(message),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST},
		.request = {.sdiag_family = AF_UNIX,
			.udiag_states = UINT32_MAX,
			.udiag_ino = (uint32_t)inode,
			.udiag_show = show,
			.udiag_cookie = {UINT32_MAX, UINT32_MAX}},
	};

	return send(fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
}

union answer {
	struct nlmsghdr header;
	char bytes[1024];
};

static int find(const struct nlmsghdr *header, int type, void *ret_data, size_t size)
{
	const struct unix_diag_msg *message = NLMSG_DATA(header);
	const struct rtattr *attribute = (const struct rtattr *)(message + 1);
	int left = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*message));

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type != type)
			continue;
		if (RTA_PAYLOAD(attribute) < size)
			break;
		memcpy(ret_data, RTA_DATA(attribute), size);
		return 0;
	}
	return -ENODATA;
}

static int answer_of(ino_t inode, uint32_t show, union answer *answer)
{
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	r = ask(fd, inode, show);
	if (r < 0)
		return r;
	/* The kernel has answered when send returns. */
	n = recv(fd, answer, sizeof(*answer), 0);
	if (n < 0)
		return -errno;
	return !NLMSG_OK(&answer->header, (size_t)n) ||
			       answer->header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
			       answer->header.nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg))
		       ? -ENODATA
		       : 0;
}

int sock_diag_sndbuf(ino_t inode)
{
	uint32_t sizes[SK_MEMINFO_SNDBUF + 1];
	union answer answer;
	int r = answer_of(inode, UDIAG_SHOW_MEMINFO, &answer);

	if (r == 0)
		r = find(&answer.header, UNIX_DIAG_MEMINFO, sizes, sizeof(sizes));
	return r < 0 ? r : (int)sizes[SK_MEMINFO_SNDBUF];
}

int sock_diag_peer(ino_t inode, ino_t *ret_peer)
{
	uint32_t peer;
	union answer answer;
	int r = answer_of(inode, UDIAG_SHOW_PEER, &answer);

	if (r == 0)
		r = find(&answer.header, UNIX_DIAG_PEER, &peer, sizeof(peer));
	if (r == 0)
		*ret_peer = peer;
	return r;
}
