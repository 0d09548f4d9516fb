/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/buf.h"

static void
is_valid_when_zeroed(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_string_equal(buf_text(&b), "");
	buf_cut(&b, 0);
	assert_string_equal(buf_text(&b), "");
	buf_finish(&b);
	buf_finish(&b);
	buf_append(&b, NULL, 0);
	assert_string_equal(buf_text(&b), "");
	buf_finish(&b);
}

/* After every call there is a NUL after the bytes. */
static void
ends_with_nul(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_reserve(&b, 0);
	assert_int_equal(b.data[b.len], 0);
	buf_reserve(&b, 10000);
	assert_int_equal(b.data[b.len], 0);
	buf_puts(&b, "abc");
	assert_string_equal(buf_text(&b), "abc");
	buf_putc(&b, 'd');
	assert_string_equal(buf_text(&b), "abcd");
	buf_append(&b, "e\0f", 3);
	assert_int_equal(b.len, 7);
	assert_memory_equal(b.data, "abcde\0f", 8);
	buf_cut(&b, 4);
	assert_string_equal(buf_text(&b), "abcd");
	buf_printf(&b, "%s-%d", "x", 42);
	assert_string_equal(buf_text(&b), "abcdx-42");
	buf_printf(&b, "%s", "");
	assert_string_equal(buf_text(&b), "abcdx-42");
	buf_finish(&b);
	assert_null(b.data);
}

static void
grows_at_every_size(void **state)
{
	static char fill[5000];

	(void)state;
	memset(fill, 'y', sizeof fill);
	for (size_t before = 0; before < 300; before++) {
		for (size_t n = 0; n < 300; n += 7) {
			struct buf b = { 0 };

			buf_append(&b, fill, before);
			buf_append(&b, fill + before, n);
			if (b.len != before + n ||
			    memcmp(b.data, fill, b.len) != 0 ||
			    b.data[b.len] != '\0' || b.cap <= b.len)
				fail_msg("%zu and %zu", before, n);
			buf_finish(&b);
		}
	}
	for (size_t n = 0; n < sizeof fill; n++) {
		struct buf b = { 0 };

		buf_printf(&b, "%.*s", (int)n, fill);
		if (b.len != n || strlen(b.data) != n)
			fail_msg("printf of %zu", n);
		buf_finish(&b);
	}
}

static void
reserves_room(void **state)
{
	struct buf b = { 0 };

	(void)state;
	for (size_t n = 1; n < 100000; n = n * 3 + 1) {
		memset(buf_reserve(&b, n), 'z', n);
		b.len += n;
		if (buf_reserve(&b, 0) != b.data + b.len)
			fail_msg("%zu: another place", n);
		b.data[b.len] = '\0';
	}
	assert_int_equal(strlen(b.data), b.len);
	buf_finish(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_valid_when_zeroed),
		cmocka_unit_test(ends_with_nul),
		cmocka_unit_test(grows_at_every_size),
		cmocka_unit_test(reserves_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
