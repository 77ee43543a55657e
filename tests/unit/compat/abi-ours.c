/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The layout by our header. */
#include "compat/xenvchan/abi.h"
#include "tests/unit/compat/abi-types.h"
#include "tests/unit/compat/abi.h"

const struct layout layout_ours[] = LAYOUT;

void bits_ours(int field, unsigned char ret[256])
{
	BITS(field, ret);
}
