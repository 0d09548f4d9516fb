/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"

/* RFC 4648 section 10, and bytes of all kinds. */
static void
encodes(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *want;
	} cases[] = {
		{ "", 0, "" },
		{ "f", 1, "Zg==" },
		{ "fo", 2, "Zm8=" },
		{ "foo", 3, "Zm9v" },
		{ "foob", 4, "Zm9vYg==" },
		{ "fooba", 5, "Zm9vYmE=" },
		{ "foobar", 6, "Zm9vYmFy" },
		{ "\0test\0tset", 10, "AHRlc3QAdHNldA==" },
		{ "\xfb\xef\xbe\xff\xff\xff", 6, "++++////" },
		{ "\0\0\0\0", 4, "AAAAAA==" },
	};
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_cut(&b, 0);
		base64_encode(&b, cases[i].bytes, cases[i].n);
		assert_string_equal(buf_text(&b), cases[i].want);
	}
	/* It appends. */
	base64_encode(&b, "foo", 3);
	assert_string_equal(buf_text(&b), "AAAAAA==Zm9v");
	buf_finish(&b);
}

static void
knows_its_digits(void **state)
{
	int n = 0;

	(void)state;
	for (int c = 0; c < 256; c++)
		n += base64_is_digit((char)c);
	assert_int_equal(n, 65);
	assert_true(base64_is_digit('a'));
	assert_true(base64_is_digit('/'));
	assert_true(base64_is_digit('='));
	assert_false(base64_is_digit('-'));
	assert_false(base64_is_digit('\0'));
	assert_false(base64_is_digit(' '));
	assert_false(base64_is_digit('.'));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes),
		cmocka_unit_test(knows_its_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
