/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * begin [PROGRAM [ARGUMENT...]]: what comes first in a domain of the lab, dom0 or guest: file
 * systems and drivers. Then the program, in its place; without one, `obey /dev/hvc0`. Drivers'
 * options are on the kernel's command line, as modprobe would find them there:
 * xen-gntalloc.limit=16384.
 *
 * A program, as a shell has some thirty processes for it, half a second of each guest's start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define KLOG_CONSOLE_LEVEL 8 /* syslog(2)'s SYSLOG_ACTION_CONSOLE_LEVEL */

static void directory(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		perror(path);
}

static void mounted(const char *type, const char *path)
{
	directory(path);
	if (mount(type, path, type, 0, NULL) < 0 && errno != EBUSY)
		perror(path);
}

/* The driver's options on the command line: words such as "limit=16384". */
static void driver_options(const char *name, char *ret_options, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/cmdline", "re");
	char line[4096] = "", *rest = NULL;
	size_t len = strlen(name), n = 0;

	ret_options[0] = 0;
	if (!file || !fgets(line, sizeof(line), file))
		perror("/proc/cmdline");
	for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
		if (strncmp(word, name, len) == 0 && word[len] == '.' && n < size)
			n += (size_t)snprintf(ret_options + n, size - n, "%s ", word + len + 1);
}

static void driver_load(const char *name)
{
	_cleanup_close_ int fd = -1;
	char path[64], options[256];

	driver_options(name, options, sizeof(options));
	snprintf(path, sizeof(path), "/lab/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, options, 0) < 0)
		perror(path);
}

int main(int argc, char **argv)
{
	static char *const obey[] = {"obey", "/dev/hvc0", NULL};
	static const char *const drivers[] = {
		"xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-argo"};

	mounted("proc", "/proc");
	mounted("sysfs", "/sys");
	mounted("devtmpfs", "/dev");
	mounted("devpts", "/dev/pts");
	mounted("tmpfs", "/dev/shm");
	mounted("tmpfs", "/run");
	mounted("tmpfs", "/tmp"); /* files and the system have a half of the memory each */
	directory("/run/lab");
	directory("/run/lock");
	directory("/run/xen");
	if (symlink("/proc/self/fd", "/dev/fd") < 0)
		perror("/dev/fd");
	/* The kernel's messages must not get between the lines of the console. */
	(void)klogctl(KLOG_CONSOLE_LEVEL, NULL, 1);
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		driver_load(drivers[i]);
	mounted("xenfs", "/proc/xen");

	(void)setenv("PATH", "/lab/bin:/usr/sbin:/usr/bin:/lab", true);
	(void)setenv("HOME", "/root", true);
	if (argc > 1) {
		puts("\n@lab up"); /* as obey says by itself */
		(void)fflush(stdout);
	}
	(void)execvp(argc > 1 ? argv[1] : obey[0], argc > 1 ? argv + 1 : obey);
	perror(argc > 1 ? argv[1] : obey[0]);
	return 127;
}
