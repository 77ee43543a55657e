/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Colours on a terminal, unless NO_COLOR is set (no-color.org). */
#ifndef MSGD_MSGCTL_COLOUR_H
#define MSGD_MSGCTL_COLOUR_H

#include <stdbool.h>

enum colour { COLOUR_PLAIN, COLOUR_NOTABLE, COLOUR_BAD };

/* Whether standard output is to have colours. */
bool colour_wanted(void);
/* The empty text, where standard output is no terminal. */
const char *colour_begin(enum colour colour);
const char *colour_end(void);

#endif
