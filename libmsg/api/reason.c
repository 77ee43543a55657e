/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* This thread's last failure, as a sentence. */
#include "libmsg/api/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libmsg/api/ctx.h"

static _Thread_local const char *last_reason = "no failure so far"; /* static, or last_text */
static _Thread_local char last_text[256];
_Thread_local int kept_errno;

int failure(int error, const char *format, ...)
{
	va_list args;

	/* EAGAIN is no failure to who asks again and again: it costs no more than its errno. */
	if (!strchr(format, '%')) {
		last_reason = format;
	} else {
		va_start(args, format);
		(void)vsnprintf(last_text, sizeof(last_text), format, args);
		va_end(args);
		last_reason = last_text;
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
