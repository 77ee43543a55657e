/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Our libxenvchan has the original's structures, field by field. */
#include "tests/support/cmocka-all.h"
#include "tests/unit/compat/abi.h"

static void fields_lie_where_they_lay(void **state)
{
	size_t i;

	for (i = 0; layout_original[i].what; i++) {
		assert_string_equal(layout_ours[i].what, layout_original[i].what);
		if (layout_ours[i].value != layout_original[i].value)
			fail_msg("%s: %zu, but %zu with Xen", layout_ours[i].what,
				layout_ours[i].value, layout_original[i].value);
	}
	assert_true(i > 40);
}

static void bits_lie_where_they_lay(void **state)
{
	for (int field = 0; field < 3; field++) {
		unsigned char ours[256] = {0}, original[256] = {0}, zero[256] = {0};

		bits_ours(field, ours);
		bits_original(field, original);
		assert_memory_not_equal(original, zero, sizeof(zero));
		assert_memory_equal(ours, original, sizeof(ours));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_lie_where_they_lay),
		cmocka_unit_test(bits_lie_where_they_lay),
	};

	return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}
