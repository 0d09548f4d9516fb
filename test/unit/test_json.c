/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"

static void
escapes_what_json_does_not_allow(void **state)
{
	static const char text[] = "a\"b\\c\n\0\x1f ~\x7f\xc3";
	struct buf json = { 0 };

	(void)state;
	json_string(&json, text, sizeof text - 1);
	assert_string_equal(buf_text(&json),
	    "\"a\\\"b\\\\c\\u000a\\u0000\\u001f ~\\u007f\\u00c3\"");
	buf_cut(&json, 0);
	json_string(&json, "", 0);
	assert_string_equal(buf_text(&json), "\"\"");
	buf_cut(&json, 0);
	json_string(&json, "b\xc3\xbc\xe3\x80\x82\xf0\x9f\x98\x80", 10);
	assert_string_equal(buf_text(&json),
	    "\"b\\u00fc\\u3002\\ud83d\\ude00\"");
	buf_finish(&json);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_what_json_does_not_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
