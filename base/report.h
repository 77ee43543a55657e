/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The errors in files that people write: a few lines, and how many more there are. */
#ifndef MSGD_BASE_REPORT_H
#define MSGD_BASE_REPORT_H

#include <stdarg.h>
#include <stdio.h>

/* As many as fit a terminal; a line is a path, a place and a sentence, and is cut. */
#define REPORT_LINES_MAX 20U
#define REPORT_LINE_SIZE 384U

/* Begins as zeros. */
struct report {
	unsigned n;	   /* lines */
	unsigned left_out; /* after them */
	char lines[REPORT_LINES_MAX][REPORT_LINE_SIZE];
};

__attribute__((format(printf, 2, 3))) static inline void report_add(
	struct report *report, const char *format, ...)
{
	va_list args;

	if (report->n == REPORT_LINES_MAX) {
		report->left_out++;
		return;
	}
	va_start(args, format);
	(void)vsnprintf(report->lines[report->n++], REPORT_LINE_SIZE, format, args);
	va_end(args);
}

#endif
