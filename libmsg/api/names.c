/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options and flags as a reason calls them: as libmsg.h and <sys/socket.h> do. */
#include "libmsg/api/ctx.h"

#define NAME(value)                                                                                \
	{                                                                                          \
		value, #value                                                                      \
	}

struct name {
	unsigned value;
	const char *text;
};

static const struct name options[] = {
	NAME(LIBMSG_RCVTIMEO),
	NAME(LIBMSG_SNDTIMEO),
	NAME(LIBMSG_LINGER),
	NAME(LIBMSG_RCVBUF),
	NAME(LIBMSG_SNDBUF),
	NAME(LIBMSG_MAXMSG),
	NAME(LIBMSG_NONBLOCK_OPT),
	NAME(LIBMSG_CORK),
	NAME(LIBMSG_SPIN),
	NAME(LIBMSG_TRANSPORT),
	NAME(LIBMSG_ERROR),
	NAME(LIBMSG_TYPE),
	NAME(LIBMSG_DROPS),
	NAME(LIBMSG_DROP_OLDEST),
	NAME(LIBMSG_EVENTS),
	NAME(LIBMSG_RESET),
	NAME(LIBMSG_CAPTURE),
};

static const struct name flags_of_sockets[] = {
	NAME(LIBMSG_ONE_THREAD),
	NAME(LIBMSG_NONBLOCK),
	NAME(LIBMSG_WAIT_NAME),
};

static const struct name flags_of_messages[] = {
	NAME(MSG_OOB),
	NAME(MSG_PEEK),
	NAME(MSG_DONTROUTE),
	NAME(MSG_CTRUNC),
	NAME(MSG_TRUNC),
	NAME(MSG_DONTWAIT),
	NAME(MSG_EOR),
	NAME(MSG_WAITALL),
	NAME(MSG_CONFIRM),
	NAME(MSG_ERRQUEUE),
	NAME(MSG_NOSIGNAL),
	NAME(MSG_MORE),
	NAME(MSG_WAITFORONE),
	NAME(MSG_ZEROCOPY),
	NAME(MSG_FASTOPEN),
	NAME(MSG_CMSG_CLOEXEC),
};

static const char *find(const struct name *names, size_t n, unsigned value)
{
	for (size_t i = 0; i < n; i++) {
		if (names[i].value == value)
			return names[i].text;
	}
	return NULL;
}

const char *option_name(int option)
{
	return find(options, ARRAY_SIZE(options), (unsigned)option);
}

/* The first of the flags stands for all. */
static int refuse(unsigned flags, const struct name *names, size_t n)
{
	unsigned first = flags & -flags;
	const char *name = find(names, n, first);

	return name ? failure(EINVAL, "flags: %s is not for this call", name)
		    : failure(EINVAL, "flags: 0x%x is unknown", first);
}

int flags_refuse(unsigned flags)
{
	return refuse(flags, flags_of_sockets, ARRAY_SIZE(flags_of_sockets));
}

int message_flags_refuse(unsigned flags)
{
	return refuse(flags, flags_of_messages, ARRAY_SIZE(flags_of_messages));
}
