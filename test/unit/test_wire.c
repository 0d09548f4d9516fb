/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/wire.h"

static const unsigned char bytes[] = { 1, 2, 3, 4, 5, 6, 7, 0xff };

static void
numbers_are_big_endian(void **state)
{
	struct wire w;

	(void)state;
	wire_init(&w, bytes, sizeof bytes);
	assert_int_equal(wire_u8(&w), 1);
	assert_int_equal(wire_u16(&w), 0x0203);
	assert_int_equal(wire_u32(&w), 0x04050607);
	assert_int_equal(wire_left(&w), 1);
	assert_int_equal(wire_u8(&w), 0xff);
	assert_int_equal(wire_left(&w), 0);
	assert_false(w.bad);
}

static void
bytes_are_borrowed(void **state)
{
	struct wire w;

	(void)state;
	wire_init(&w, bytes, sizeof bytes);
	assert_ptr_equal(wire_bytes(&w, 0), bytes);
	assert_ptr_equal(wire_bytes(&w, 3), bytes);
	assert_ptr_equal(wire_bytes(&w, 5), bytes + 3);
	assert_non_null(wire_bytes(&w, 0));
	assert_false(w.bad);
}

static void
reading_past_the_end_stays_bad(void **state)
{
	static const size_t too_many[] = { 9, 10, SIZE_MAX / 2, SIZE_MAX };
	struct wire w;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof too_many / sizeof too_many[0]; i++) {
		wire_init(&w, bytes, sizeof bytes);
		assert_null(wire_bytes(&w, too_many[i]));
		assert_true(w.bad);
		assert_null(wire_bytes(&w, 1));
		assert_int_equal(wire_u8(&w), 0);
	}
}

static void
every_short_number_is_zero(void **state)
{
	struct wire w;
	size_t n;

	(void)state;
	for (n = 0; n < 4; n++) {
		wire_init(&w, bytes, n);
		assert_int_equal(wire_u32(&w), 0);
		assert_true(w.bad);
	}
	wire_init(&w, bytes, 1);
	assert_int_equal(wire_u16(&w), 0);
	assert_true(w.bad);
	wire_init(&w, NULL, 0);
	assert_int_equal(wire_left(&w), 0);
	assert_int_equal(wire_u8(&w), 0);
	assert_true(w.bad);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_big_endian),
		cmocka_unit_test(bytes_are_borrowed),
		cmocka_unit_test(reading_past_the_end_stays_bad),
		cmocka_unit_test(every_short_number_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
