/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks that sending and receiving share.
 *
 * Included by: libmsg/api.
 */
#ifndef LIBMSG_API_IOV_H
#define LIBMSG_API_IOV_H

#include <sys/socket.h>

#include "libmsg/channel/channel.h"

/* 0, and how many bytes the segments have. -1, EINVAL: a message that libmsg does not carry. */
int message_check(const struct msghdr *message, size_t *ret_len);
/* Says why the channel broke; -1. */
int channel_failure(const struct channel *channel);

#endif
