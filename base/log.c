/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lines on stderr: a service's stderr is the journal, which takes the priority from a leading <N>
 * (sd-daemon(3)). One write a line, so that lines of two processes do not mix.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *log_name = "";
static int log_level = LOG_INFO;
static bool log_to_journal;

/* $JOURNAL_STREAM names the device and inode of the journal's stream (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(const char *name, int level)
{
	log_name = name;
	log_level = level;
	log_to_journal = stderr_is_journal();
}

void log_write(int priority, const char *format, ...)
{
	char line[1024];
	size_t len;
	va_list args;
	int n;

	if (priority > log_level)
		return;
	n = log_to_journal ? snprintf(line, sizeof(line), "<%d>", priority)
			   : snprintf(line, sizeof(line), "%s: ", log_name);
	va_start(args, format);
	(void)vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	len = strlen(line);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nobody to tell */
}
