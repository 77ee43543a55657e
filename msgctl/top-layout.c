/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top-layout.h. */
#include "msgctl/top-layout.h"

#include <string.h>
#include <wchar.h>

/* A character of a text: its bytes, and what is printed for them. */
struct character {
	const char *text;
	size_t len; /* of that */
	size_t n;   /* bytes that it takes of the source; 0: the end */
	unsigned width;
};

static struct character character_next(const char *text)
{
	struct character character = {.text = text};
	mbstate_t state = {0};
	wchar_t wide;
	size_t n = mbrtowc(&wide, text, strlen(text), &state);
	int width;

	if (!*text)
		return character;
	character.n = n == (size_t)-1 || n == (size_t)-2 ? 1 : n;
	character.len = character.n;
	width = character.n == n ? wcwidth(wide) : -1;
	if (width < 0) {
		character.text = "?";
		character.len = 1;
		width = 1;
	}
	character.width = (unsigned)width;
	return character;
}

unsigned top_width(const char *text)
{
	struct character c;
	unsigned width = 0;

	for (; (c = character_next(text)).n; text += c.n)
		width += c.width;
	return width;
}

/* Bytes that were written; *ret_width: columns. */
static size_t fit(
	const char *text, unsigned width, char *ret_text, size_t size, unsigned *ret_width)
{
	struct character c;
	size_t len = 0;

	*ret_width = 0;
	for (; (c = character_next(text)).n; text += c.n) {
		if (*ret_width + c.width > width || len + c.len >= size)
			break;
		memcpy(ret_text + len, c.text, c.len);
		len += c.len;
		*ret_width += c.width;
	}
	ret_text[len] = '\0';
	return len;
}

void top_fit(const char *text, unsigned width, bool right, char *ret_text, size_t size)
{
	unsigned used;
	size_t len = fit(text, width, ret_text, size, &used);
	size_t pad = width - used;

	if (pad >= size - len)
		pad = size - len - 1;
	if (right)
		memmove(ret_text + pad, ret_text, len);
	memset(ret_text + (right ? 0 : len), ' ', pad);
	ret_text[len + pad] = '\0';
}

void top_layout_measure(
	const struct top_sample *sample, unsigned text_max, struct top_layout *ret_layout)
{
	const struct top_column *columns = sample->view->columns;
	char cell[CELL_SIZE];

	for (unsigned i = 0; columns[i].head; i++) {
		unsigned most = top_width(columns[i].head);

		for (size_t j = 0; j < sample->n; j++) {
			unsigned width;

			top_cell(&sample->rows[j], sample->view, i, cell);
			width = top_width(cell);
			if (width > text_max)
				width = text_max;
			if (width > most)
				most = width;
		}
		ret_layout->width[i] = most;
	}
}
