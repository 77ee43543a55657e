/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which name stands for a path in the store: libxenvchan-msg(7) has the rule and the file that
 * overrides it. Both ends compute it by themselves, and neither knows its own domid, so the name
 * depends on nothing but the path.
 */
#ifndef COMPAT_XENVCHAN_MAPPING_H
#define COMPAT_XENVCHAN_MAPPING_H

/* With its final NUL, as msg_listen(3) has it. */
#define MAPPING_NAME_SIZE 64
/* XENSTORE_ABS_PATH_MAX. */
#define MAPPING_PATH_MAX 3072
/* As long as a server that was started at the same time may take to listen. */
#define MAPPING_WAIT_MS 3000

struct mapping {
	char name[MAPPING_NAME_SIZE];
	int wait_ms; /* how long a client waits for the name; -1: for ever */
};

/*
 * file: NULL, or one that is not there: no overrides. Returns 0, or a negative errno: EINVAL, which
 * is a path that is none, or a file with an error in *ret_line; or why the file could not be read.
 * ret_line: 0 unless it is the file's error.
 */
int mapping_of(const char *path, const char *file, struct mapping *ret, unsigned *ret_line);

#endif
