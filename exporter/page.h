/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of the status page: a fixed list, compiled in. */
#ifndef MSGD_EXPORTER_PAGE_H
#define MSGD_EXPORTER_PAGE_H

#include <stddef.h>

struct page_file {
	const char *path; /* of the URL */
	const char *type;
	const char *etag; /* with its quotes */
	const char *bytes;
	size_t len;
};

/* NULL: there is no such file. */
const struct page_file *page_find(const char *path);

#endif
