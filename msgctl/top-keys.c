/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top-keys.h. */
#include "msgctl/top-keys.h"

#include <string.h>

#include "base/macro.h"
#include "msgctl/arguments.h"

const char *const top_help[] = {
	"D A N L C, Tab    domains, applications, names, links, channels; the next of them",
	"< > Left Right    sort by the column before, or the next one",
	"r                 the other way round",
	"/ f               show only what is of one domain: its name, domid:N or uuid:U",
	"d                 the interval, in seconds",
	"Space             ask now",
	"Up Down PgUp PgDn Home End",
	"                  the other rows",
	"h ?               this help",
	"q                 quit",
	"",
	"Rates are a second, of what applications say of themselves. msgd asks them once",
	"a second at most, and one that is stopped, or in no call of libmsg, says nothing.",
	"Sent and received are as seen by the domain, by the application, by the holder of",
	"the name, by the creator of the link, by the caller of the channel.",
	NULL,
};

static size_t view_index(const struct top_view *view)
{
	return (size_t)(view - top_views);
}

void top_state_init(struct top_state *state, const struct top_view *view)
{
	*state = (struct top_state){.view = view, .interval_s = TOP_INTERVAL_S};
	for (size_t i = 0; top_views[i].op; i++)
		state->sort[i] = top_views[i].sort;
}

unsigned top_state_sort(const struct top_state *state)
{
	return state->sort[view_index(state->view)];
}

bool top_state_reverse(const struct top_state *state)
{
	return state->reverse[view_index(state->view)];
}

void top_state_set_sort(struct top_state *state, unsigned column)
{
	state->sort[view_index(state->view)] = column;
}

void top_state_scroll(struct top_state *state, long by, size_t n_rows, size_t n_shown)
{
	size_t last = n_rows > n_shown ? n_rows - n_shown : 0;

	if (by < 0)
		state->first -= (size_t)-by < state->first ? (size_t)-by : state->first;
	else
		state->first += (size_t)by;
	if (state->first > last)
		state->first = last;
}

static enum top_wish set_view(struct top_state *state, const struct top_view *view)
{
	if (view == state->view)
		return TOP_WISH_NONE;
	state->view = view;
	state->first = 0;
	return TOP_WISH_ANEW;
}

static enum top_wish set_column(struct top_state *state, int by)
{
	unsigned n = top_columns(state->view);

	top_state_set_sort(state, (top_state_sort(state) + n + (unsigned)by) % n);
	return TOP_WISH_SORT;
}

static enum top_wish prompt_begin(struct top_state *state, enum top_prompt prompt)
{
	state->prompt = prompt;
	state->input[0] = '\0';
	return TOP_WISH_NONE;
}

static enum top_wish prompt_end(struct top_state *state)
{
	enum top_prompt prompt = state->prompt;

	state->prompt = TOP_NO_PROMPT;
	if (prompt == TOP_PROMPT_DOMAIN) {
		strcpy(state->domain, state->input);
		state->first = 0;
		return TOP_WISH_ANEW;
	}
	if (!interval_from_text(state->input, &state->interval_s))
		state->complaint = "an interval is 0.1 to 3600 seconds";
	return TOP_WISH_NONE;
}

/* A character of several bytes goes as a whole. */
static void input_shorten(char *input)
{
	size_t len = strlen(input);

	while (len && ((unsigned char)input[--len] & 0xc0) == 0x80)
		;
	input[len] = '\0';
}

static enum top_wish prompt_key(struct top_state *state, int key)
{
	size_t len = strlen(state->input);

	if (key == TOP_KEY_ENTER)
		return prompt_end(state);
	if (key == TOP_KEY_ESCAPE)
		state->prompt = TOP_NO_PROMPT;
	else if (key == TOP_KEY_BACKSPACE)
		input_shorten(state->input);
	else if (key >= ' ' && key < 0x100 && key != 0x7f && len + 1 < sizeof(state->input)) {
		state->input[len] = (char)key;
		state->input[len + 1] = '\0';
	}
	return TOP_WISH_NONE;
}

static enum top_wish scroll_key(struct top_state *state, int key, size_t n_rows, size_t n_shown)
{
	const struct {
		int key;
		long by;
	} ways[] = {
		{TOP_KEY_UP, -1},
		{TOP_KEY_DOWN, 1},
		{TOP_KEY_PAGE_UP, -(long)n_shown},
		{TOP_KEY_PAGE_DOWN, (long)n_shown},
		{TOP_KEY_HOME, -(long)n_rows},
		{TOP_KEY_END, (long)n_rows},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (key == ways[i].key)
			top_state_scroll(state, ways[i].by, n_rows, n_shown);
	}
	return TOP_WISH_NONE;
}

enum top_wish top_key(struct top_state *state, int key, size_t n_rows, size_t n_shown)
{
	const struct top_view *next = state->view + 1;

	state->complaint = NULL;
	if (state->prompt)
		return prompt_key(state, key);
	if (state->help && key != 'q') {
		state->help = false;
		return TOP_WISH_NONE;
	}
	for (const struct top_view *view = top_views; view->op; view++) {
		if (key == view->letter)
			return set_view(state, view);
	}
	switch (key) {
	case 'q':
		return TOP_WISH_QUIT;
	case 'h':
	case '?':
		state->help = true;
		return TOP_WISH_NONE;
	case '\t':
		return set_view(state, next->op ? next : top_views);
	case '<':
	case TOP_KEY_LEFT:
		return set_column(state, -1);
	case '>':
	case TOP_KEY_RIGHT:
		return set_column(state, 1);
	case 'r':
		state->reverse[view_index(state->view)] ^= true;
		return TOP_WISH_SORT;
	case '/':
	case 'f':
		return prompt_begin(state, TOP_PROMPT_DOMAIN);
	case 'd':
		return prompt_begin(state, TOP_PROMPT_INTERVAL);
	case ' ':
		return TOP_WISH_ASK;
	default:
		return scroll_key(state, key, n_rows, n_shown);
	}
}
