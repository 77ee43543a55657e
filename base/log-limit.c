/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See log-limit.h. */
#include "base/log-limit.h"

#include <stdio.h>
#include <syslog.h>

__attribute__((format(printf, 3, 4))) static void put_about_lines(
	const struct log_limiter *limiter, const void *about, const char *format, ...)
{
	char text[768];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	limiter->put_line(limiter->arg, LOG_WARNING, about, true, text);
}

void log_limited(struct log_limiter *limiter, struct log_source *source, uint64_t now_ns,
	const char *subject, int priority, const void *about, const char *format, va_list args)
{
	uint32_t left_out;
	enum log_verdict verdict = log_judge(limiter, source, now_ns, &left_out);
	char text[512];

	if (left_out)
		put_about_lines(
			limiter, about, "%s: %u lines about it were left out", subject, left_out);
	if (verdict == LOG_SAY_LEFT_OUT)
		put_about_lines(
			limiter, about, "%s: too many lines: further ones are left out", subject);
	if (verdict != LOG_WRITE)
		return;
	(void)vsnprintf(text, sizeof(text), format, args);
	limiter->put_line(limiter->arg, priority, about, false, text);
}
