/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* This thread's last failure, as a sentence. */
#include "libmsg/api/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libmsg/api/ctx.h"

static _Thread_local char last_reason[256] = "no failure so far";
_Thread_local int kept_errno;

int failure(int error, const char *format, ...)
{
	va_list args;

	/* EAGAIN is no failure to who asks again and again: printing would be most of its cost. */
	if (!strchr(format, '%')) {
		size_t len = strnlen(format, sizeof(last_reason) - 1);

		memcpy(last_reason, format, len);
		last_reason[len] = '\0';
	} else {
		va_start(args, format);
		(void)vsnprintf(last_reason, sizeof(last_reason), format, args);
		va_end(args);
	}
	errno = kept_errno = error;
	return -1;
}

PUBLIC const char *msg_reason(void)
{
	return last_reason;
}

PUBLIC const char *msg_version(void)
{
	return LIBMSG_VERSION;
}
