/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pure parts of msgctl top: rates, order, columns, the head and keys. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "msgctl/top-head.h"
#include "msgctl/top-keys.h"
#include "msgctl/top-layout.h"
#include "msgctl/top-sample.h"
#include "tests/support/cmocka-all.h"

#define SECOND UINT64_C(1000000)

static json_t *json(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);

	assert_non_null(value);
	return value;
}

/* A row of domains: tx: NULL: it says nothing of its traffic. */
static json_t *domain(const char *name, int domid, const char *tx, int memory)
{
	char text[300];

	(void)snprintf(text, sizeof(text),
		"{\"name\": \"%s\", \"domid\": %d, \"uuid\": \"u\", \"state\": \"running\", "
		"\"traffic\": %s%s%s, \"used\": {\"memory\": %d}}",
		name, domid, tx ? "{\"tx_bytes\": " : "null", tx ? tx : "", tx ? "}" : "", memory);
	return json(text);
}

static json_t *list(const char *op, json_t *const *rows, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(array, rows[i]);
	return json_pack("{s:s, s:o}", "op", op, op, array);
}

#define DOMAINS(...)                                                                               \
	list("domains", (json_t *[]){__VA_ARGS__},                                                 \
		sizeof((json_t *[]){__VA_ARGS__}) / sizeof(json_t *))

static const struct top_view *domains;
static unsigned sent, memory, name;

static int setup(void **state)
{
	domains = top_view_find("Domains");
	assert_non_null(domains);
	sent = (unsigned)top_column_find(domains, "sent/S");
	memory = (unsigned)top_column_find(domains, "MEMORY");
	name = (unsigned)top_column_find(domains, "DOMAIN");
	return 0;
}

static const char *cell(const struct top_row *row, unsigned column)
{
	static char text[CELL_SIZE];

	top_cell(row, domains, column, text);
	return text;
}

static void test_views(void **state)
{
	assert_null(top_view_find("history"));
	assert_int_equal(top_column_find(domains, "nothing"), -1);
	for (const struct top_view *view = top_views; view->op; view++) {
		assert_true(top_columns(view) <= TOP_COLUMNS_MAX);
		assert_int_equal(view->columns[view->sort].kind, TOP_RATE_BYTES);
		assert_true(view - top_views < TOP_VIEWS_MAX);
		for (unsigned i = 0; i < top_columns(view); i++)
			assert_true((view->columns[i].kind == TOP_TEXT) == !!view->columns[i].cell);
	}
}

static void test_rates(void **state)
{
	struct top_sample *first, *second, *third;

	first = top_sample_new(domains,
		DOMAINS(domain("a", 1, "1000", 7), domain("b", 2, "5000", 7),
			domain("c", 3, NULL, 7)),
		10 * SECOND, NULL);
	assert_false(first->rows[0].known[sent]);
	assert_string_equal(cell(&first->rows[0], sent), "-");
	assert_string_equal(cell(&first->rows[0], memory), "7");
	/* In another order; one is new, one has begun to tell. */
	second = top_sample_new(domains,
		DOMAINS(domain("n", 4, "9", 7), domain("b", 2, "5000", 7),
			domain("a", 1, "6120", 8), domain("c", 3, "1", 7)),
		12 * SECOND + SECOND / 2, first);
	top_sample_free(first);
	assert_true(second->seconds == 2.5);
	assert_string_equal(cell(&second->rows[0], sent), "-");
	assert_string_equal(cell(&second->rows[1], sent), "0");
	assert_string_equal(cell(&second->rows[2], sent), "2.0K");
	assert_string_equal(cell(&second->rows[3], sent), "-");
	/* Applications were not asked again: their rates stay, and other things do not. */
	third = top_sample_new(
		domains, DOMAINS(domain("a", 1, "6500", 9)), 12 * SECOND + SECOND / 2, second);
	top_sample_free(second);
	assert_string_equal(cell(&third->rows[0], sent), "2.0K");
	assert_string_equal(cell(&third->rows[0], memory), "9");
	/* From the counter as it was at that moment. */
	first = top_sample_new(
		domains, DOMAINS(domain("a", 1, "7120", 9)), 13 * SECOND + SECOND / 2, third);
	top_sample_free(third);
	assert_string_equal(cell(&first->rows[0], sent), "1000");
	top_sample_free(first);
}

/* A counter that goes back, another domain of that number, numbers that are none, no rows. */
static void test_lies(void **state)
{
	static const char *const odd[] = {"{}", "[]", "{\"domains\": 7}",
		"{\"domains\": [1, null]}",
		"{\"domains\": [{\"domid\": {}, \"traffic\": 5, \"used\": [], \"uuid\": 1.5}]}"};
	struct top_sample *sample = top_sample_new(
		domains, DOMAINS(domain("a", 1, "1000", 7), domain("b", 2, "-5", 7)), SECOND, NULL);
	struct top_sample *next = top_sample_new(domains,
		DOMAINS(domain("a", 1, "999", 7), domain("b", 2, "-1", 7),
			domain("a", 1, "2000", 7)),
		2 * SECOND, sample);

	top_sample_free(sample);
	assert_string_equal(cell(&next->rows[0], sent), "-");
	/* Of 2^64. */
	assert_string_equal(cell(&next->rows[1], sent), "4");
	/* The second of its name is not the first. */
	assert_false(next->rows[2].known[sent]);
	top_sample_sort(next, sent, false);
	top_sample_free(next);
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		sample = top_sample_new(domains, json(odd[i]), SECOND, NULL);
		top_sample_sort(sample, name, false);
		for (size_t j = 0; j < sample->n; j++) {
			for (unsigned c = 0; c < top_columns(domains); c++)
				(void)cell(&sample->rows[j], c);
		}
		top_sample_free(sample);
	}
}

/* Applications that all say the same are told apart by their order, up to a bound. */
static void test_twins(void **state)
{
	json_t *rows[300];
	struct top_sample *sample, *next;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		rows[i] = domain("a", 1, "100", 7);
	sample = top_sample_new(domains, list("domains", rows, ARRAY_SIZE(rows)), SECOND, NULL);
	assert_int_equal(sample->n, ARRAY_SIZE(rows));
	next = top_sample_new(domains, DOMAINS(domain("a", 1, "101", 7), domain("a", 1, "102", 7)),
		2 * SECOND, sample);
	top_sample_free(sample);
	assert_true(next->rows[0].value[sent] == 1);
	assert_true(next->rows[1].value[sent] == 2);
	top_sample_free(next);
}

static void assert_order(struct top_sample *sample, unsigned column, bool reverse, const char *want)
{
	char got[40] = "";

	top_sample_sort(sample, column, reverse);
	for (size_t i = 0; i < sample->n; i++)
		strcat(got, cell(sample->order[i], name));
	assert_string_equal(got, want);
}

static void test_order(void **state)
{
	struct top_sample *before = top_sample_new(domains,
		DOMAINS(domain("a", 1, "0", 5), domain("b", 2, "0", 5), domain("c", 3, "0", 50)),
		SECOND, NULL);
	struct top_sample *sample = top_sample_new(domains,
		DOMAINS(domain("d", 4, "7", 5), domain("b", 2, "20", 5), domain("a", 1, "3", 9),
			domain("c", 3, "100", 50)),
		2 * SECOND, before);

	top_sample_free(before);
	assert_order(sample, sent, false, "cbad");
	assert_order(sample, sent, true, "abcd"); /* an unknown one is last here, too */
	assert_order(sample, name, false, "abcd");
	assert_order(sample, name, true, "dcba");
	assert_order(sample, memory, false, "cadb"); /* alike: as msgd has them */
	assert_order(sample, memory, true, "dbac");
	top_sample_free(sample);
}

static void assert_fits(const char *text, unsigned width, bool right, const char *want)
{
	char got[64];

	top_fit(text, width, right, got, sizeof(got));
	assert_string_equal(got, want);
	assert_int_equal(top_width(got), width);
}

static void test_columns(void **state)
{
	struct top_layout layout;
	struct top_sample *sample;
	char small[4];

	assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
	assert_fits("abc", 5, false, "abc  ");
	assert_fits("abc", 5, true, "  abc");
	assert_fits("abcdef", 3, true, "abc");
	assert_fits("", 2, false, "  ");
	assert_fits("x", 0, false, "");
	assert_fits("a\033[2J\n", 8, false, "a?[2J?  ");
	assert_fits("\xff\xc3", 3, false, "?? ");	   /* no UTF-8 */
	assert_fits("日本", 4, false, "日本");		   /* wide */
	assert_fits("日本", 3, true, " 日");		   /* a half does not fit */
	assert_fits("e\xcc\x81x", 2, false, "e\xcc\x81x"); /* combining */
	assert_int_equal(top_width("日本"), 4);
	top_fit("日本", 4, false, small, sizeof(small)); /* no room for two */
	assert_string_equal(small, "日");
	sample = top_sample_new(domains, DOMAINS(domain("日本語テスト", 1, NULL, 7)), SECOND, NULL);
	top_layout_measure(sample, 100, &layout);
	assert_int_equal(layout.width[name], 12);
	assert_int_equal(layout.width[memory], strlen("MEMORY"));
	top_layout_measure(sample, 8, &layout);
	assert_int_equal(layout.width[name], 8);
	top_sample_free(sample);
	assert_non_null(setlocale(LC_CTYPE, "C"));
	assert_fits("\xc3\xa9", 2, false, "??");
}

static json_t *status(int pid, int uptime_s, int connected, int cpu_us)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:{s:i}, s:{s:i}}", "version", "1", "pid", pid,
		"uptime_s", uptime_s, "domains", 3, "counts", "connected", connected, "turns",
		"cpu_us", cpu_us);
}

static void test_head(void **state)
{
	struct top_head head = {.status = NULL};
	char lines[2][TOP_HEAD_SIZE];

	top_head_lines(&head, lines);
	assert_false(top_head_take(&head, status(5, 10, 100, 1000), SECOND));
	assert_false(top_head_take(&head, status(5, 12, 103, 501000), 3 * SECOND));
	top_head_lines(&head, lines);
	assert_non_null(strstr(lines[0], "msgd 1 pid 5 up 12s: 3 domains"));
	assert_non_null(strstr(lines[1], "103 connected (1.5/s)"));
	assert_non_null(strstr(lines[1], "takes 25.0% of"));
	/* Another msgd; and one that has the same number. */
	assert_true(top_head_take(&head, status(6, 13, 0, 0), 4 * SECOND));
	top_head_lines(&head, lines);
	assert_non_null(strstr(lines[1], "0 connected (0.0/s)"));
	assert_true(top_head_take(&head, status(6, 1, 0, 0), 5 * SECOND));
	top_head_clear(&head);
}

static void type(struct top_state *state, const char *text)
{
	for (; *text; text++)
		assert_int_equal(top_key(state, (unsigned char)*text, 0, 0), TOP_WISH_NONE);
}

static void test_keys(void **unused)
{
	struct top_state state;
	const int n = (int)top_columns(domains);

	top_state_init(&state, domains);
	assert_int_equal(top_state_sort(&state), domains->sort);
	assert_int_equal(top_key(&state, '>', 0, 0), TOP_WISH_SORT);
	assert_int_equal(top_state_sort(&state), domains->sort + 1);
	for (int i = 0; i < n - 1; i++)
		assert_int_equal(top_key(&state, TOP_KEY_RIGHT, 0, 0), TOP_WISH_SORT);
	assert_int_equal(top_state_sort(&state), domains->sort); /* round */
	for (unsigned i = 0; i <= domains->sort; i++)
		assert_int_equal(top_key(&state, '<', 0, 0), TOP_WISH_SORT);
	assert_int_equal(top_state_sort(&state), n - 1);
	assert_int_equal(top_key(&state, 'r', 0, 0), TOP_WISH_SORT);
	assert_true(top_state_reverse(&state));
	/* Each view has its own. */
	assert_int_equal(top_key(&state, '\t', 0, 0), TOP_WISH_ANEW);
	assert_string_equal(state.view->op, "applications");
	assert_false(top_state_reverse(&state));
	assert_int_equal(top_key(&state, 'C', 0, 0), TOP_WISH_ANEW);
	assert_string_equal(state.view->op, "channels");
	assert_int_equal(top_key(&state, 'C', 0, 0), TOP_WISH_NONE);
	assert_int_equal(top_key(&state, '\t', 0, 0), TOP_WISH_ANEW);
	assert_ptr_equal(state.view, domains);
	assert_int_equal(top_state_sort(&state), n - 1);
	assert_int_equal(top_key(&state, ' ', 0, 0), TOP_WISH_ASK);
	assert_int_equal(top_key(&state, 'h', 0, 0), TOP_WISH_NONE);
	assert_true(state.help);
	assert_int_equal(top_key(&state, 'C', 0, 0), TOP_WISH_NONE);
	assert_false(state.help);
	assert_ptr_equal(state.view, domains);
	assert_int_equal(top_key(&state, 'q', 0, 0), TOP_WISH_QUIT);
}

static void test_prompts(void **unused)
{
	struct top_state state;

	top_state_init(&state, domains);
	type(&state, "/wq\xc3\xa9");
	assert_int_equal(top_key(&state, TOP_KEY_BACKSPACE, 0, 0), TOP_WISH_NONE);
	assert_string_equal(state.input, "wq");
	assert_int_equal(top_key(&state, TOP_KEY_UP, 0, 0), TOP_WISH_NONE);
	assert_string_equal(state.domain, "");
	assert_int_equal(top_key(&state, TOP_KEY_ENTER, 0, 0), TOP_WISH_ANEW);
	assert_string_equal(state.domain, "wq");
	type(&state, "fnext");
	assert_int_equal(top_key(&state, TOP_KEY_ESCAPE, 0, 0), TOP_WISH_NONE);
	assert_string_equal(state.domain, "wq");
	type(&state, "f");
	assert_int_equal(top_key(&state, TOP_KEY_ENTER, 0, 0), TOP_WISH_ANEW);
	assert_string_equal(state.domain, "");
	for (unsigned i = 0; i < 2 * TOP_INPUT_SIZE; i++)
		(void)top_key(&state, i ? 'x' : '/', 0, 0);
	assert_int_equal(strlen(state.input), TOP_INPUT_SIZE - 1);
	(void)top_key(&state, TOP_KEY_ESCAPE, 0, 0);
	(void)top_key(&state, TOP_KEY_BACKSPACE, 0, 0);
	type(&state, "d0.5");
	assert_int_equal(top_key(&state, TOP_KEY_ENTER, 0, 0), TOP_WISH_NONE);
	assert_true(state.interval_s == 0.5 && !state.complaint);
	type(&state, "d0.05");
	assert_int_equal(top_key(&state, TOP_KEY_ENTER, 0, 0), TOP_WISH_NONE);
	assert_true(state.interval_s == 0.5 && state.complaint);
	(void)top_key(&state, 'x', 0, 0);
	assert_null(state.complaint);
}

static void test_scrolling(void **unused)
{
	struct top_state state;

	top_state_init(&state, domains);
	(void)top_key(&state, TOP_KEY_UP, 10, 4);
	assert_int_equal(state.first, 0);
	(void)top_key(&state, TOP_KEY_DOWN, 10, 4);
	assert_int_equal(state.first, 1);
	(void)top_key(&state, TOP_KEY_PAGE_DOWN, 10, 4);
	assert_int_equal(state.first, 5);
	(void)top_key(&state, TOP_KEY_PAGE_DOWN, 10, 4);
	assert_int_equal(state.first, 6);
	(void)top_key(&state, TOP_KEY_PAGE_UP, 10, 4);
	assert_int_equal(state.first, 2);
	(void)top_key(&state, TOP_KEY_END, 10, 4);
	assert_int_equal(state.first, 6);
	top_state_scroll(&state, 0, 8, 4); /* fewer rows */
	assert_int_equal(state.first, 4);
	(void)top_key(&state, TOP_KEY_HOME, 8, 4);
	assert_int_equal(state.first, 0);
	(void)top_key(&state, TOP_KEY_END, 3, 4);
	assert_int_equal(state.first, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_twins),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_prompts),
		cmocka_unit_test(test_scrolling),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
