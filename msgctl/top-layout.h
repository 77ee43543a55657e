/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Texts in columns of a terminal: a wide character takes two, a combining one none. Texts come
 * from guests, too: what cannot be printed in this locale becomes a question mark. Pure, but for
 * the locale.
 *
 * Included by: msgctl, tests.
 */
#ifndef MSGD_MSGCTL_TOP_LAYOUT_H
#define MSGD_MSGCTL_TOP_LAYOUT_H

#include <stddef.h>

#include "msgctl/top-sample.h"

#define TOP_GAP 2U /* between columns */

struct top_layout {
	unsigned width[TOP_COLUMNS_MAX];
};

/* So many columns wide, also as top_fit prints it. */
unsigned top_width(const char *text);
/*
 * The text in exactly so many columns, cut or padded, at its right or at its left. A text that does
 * not fit into size bytes is cut there.
 */
void top_fit(const char *text, unsigned width, bool right, char *ret_text, size_t size);
/* Of heads and cells of all rows; texts are no wider than text_max. */
void top_layout_measure(
	const struct top_sample *sample, unsigned text_max, struct top_layout *ret_layout);

#endif
