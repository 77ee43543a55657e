/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See arguments.h. */
#include "msgctl/arguments.h"

#include <string.h>

/* The text must be UTF-8. */
static const char *set_text(json_t *request, const char *key, const char *text, size_t len)
{
	return json_object_set_new(request, key, json_stringn(text, len)) == 0
		       ? NULL
		       : "a text that is not UTF-8, or no memory";
}

const char *arguments_domain(json_t *request, char *const *args, unsigned n_args)
{
	return n_args ? set_text(request, "domain", args[0], strlen(args[0])) : NULL;
}
