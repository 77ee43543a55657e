/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The layout by Xen's header; and its logger, whose first field is a function of this type. */
#include <libxenvchan.h>
#include <xentoollog.h>

#include "tests/unit/compat/abi-types.h"
#include "tests/unit/compat/abi.h"

_Static_assert(offsetof(struct xentoollog_logger, vmessage) == 0, "the logger's first field");
_Static_assert(__builtin_types_compatible_p(__typeof__(((struct xentoollog_logger *)0)->vmessage),
		       void (*)(struct xentoollog_logger *, xentoollog_level, int, const char *,
			       const char *, va_list)),
	"the logger's function");
_Static_assert(XTL_ERROR == 8 && sizeof(xentoollog_level) == sizeof(int), "the logger's level");

const struct layout layout_original[] = LAYOUT;

void bits_original(int field, unsigned char ret[256])
{
	BITS(field, ret);
}
