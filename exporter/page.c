/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See page.h. page/embed makes the table. */
#include "exporter/page.h"

#include <string.h>

extern const struct page_file page_files[];

const struct page_file *page_find(const char *path)
{
	const struct page_file *file = page_files;

	while (file->path && strcmp(file->path, path) != 0)
		file++;
	return file->path ? file : NULL;
}
