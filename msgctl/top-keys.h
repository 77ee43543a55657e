/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of msgctl top, and how keys change it. Knows no terminal. Pure.
 *
 * Included by: msgctl, tests.
 */
#ifndef MSGD_MSGCTL_TOP_KEYS_H
#define MSGD_MSGCTL_TOP_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "msgctl/top-view.h"

#define TOP_VIEWS_MAX  8
#define TOP_INPUT_SIZE 512U /* a domain, as an address has it */

#define TOP_INTERVAL_S 2.0

/* Beyond bytes. */
enum top_key {
	TOP_KEY_LEFT = 0x100,
	TOP_KEY_RIGHT,
	TOP_KEY_UP,
	TOP_KEY_DOWN,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_BACKSPACE,
	TOP_KEY_ENTER,
	TOP_KEY_ESCAPE,
};

enum top_prompt { TOP_NO_PROMPT, TOP_PROMPT_DOMAIN, TOP_PROMPT_INTERVAL };

/* To be done after a key, beside drawing. */
enum top_wish {
	TOP_WISH_NONE,
	TOP_WISH_SORT, /* the rows that are there */
	TOP_WISH_ASK,  /* now */
	TOP_WISH_ANEW, /* the same, for other rows than those that are there */
	TOP_WISH_QUIT,
};

struct top_state {
	const struct top_view *view;  /* static */
	unsigned sort[TOP_VIEWS_MAX]; /* of each view */
	bool reverse[TOP_VIEWS_MAX];
	char domain[TOP_INPUT_SIZE]; /* "": all */
	double interval_s;
	size_t first; /* row on the screen */
	enum top_prompt prompt;
	char input[TOP_INPUT_SIZE];
	const char *complaint; /* static: about the last input; or NULL */
	bool help;
};

void top_state_init(struct top_state *state, const struct top_view *view);
unsigned top_state_sort(const struct top_state *state);
bool top_state_reverse(const struct top_state *state);
void top_state_set_sort(struct top_state *state, unsigned column);
/* n_rows: that there are; n_shown: for which the screen has room. */
enum top_wish top_key(struct top_state *state, int key, size_t n_rows, size_t n_shown);
/* The rows may be fewer now, or the screen larger. */
void top_state_scroll(struct top_state *state, long by, size_t n_rows, size_t n_shown);
/* Lines for help; NULL is the last one. */
extern const char *const top_help[];

#endif
