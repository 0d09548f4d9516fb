/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* explicit_bzero() */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/credentials.h"

/*
 * In place of the C library's: what is freed cannot be looked at any more, so
 * what is overwritten is recorded.  With _FORTIFY_SOURCE the function has
 * another name.
 */
static struct {
	char bytes[256]; /* all that was overwritten, one after the other */
	size_t n;
} wiped;

static void
record(void *p, size_t n)
{
	assert_true(n <= sizeof wiped.bytes - wiped.n);
	memcpy(wiped.bytes + wiped.n, p, n);
	wiped.n += n;
	memset(p, 0, n);
}

#undef explicit_bzero
void
explicit_bzero(void *p, size_t n)
{
	record(p, n);
}

void __explicit_bzero_chk(void *, size_t, size_t);

void
__explicit_bzero_chk(void *p, size_t n, size_t size)
{
	(void)size;
	record(p, n);
}

static void
wipes_user_and_secret(void **state)
{
	struct credentials c = { .kind = CREDENTIALS_PASSWORD };

	(void)state;
	buf_puts(&c.user, "user");
	buf_puts(&c.secret, "secret");
	/* A longer one that was cut stays in memory behind the end. */
	buf_cut(&c.secret, 1);
	credentials_finish(&c);
	assert_int_equal(wiped.n, 128);
	assert_memory_equal(wiped.bytes, "user", 5);
	assert_memory_equal(wiped.bytes + 64, "s\0cret", 7);
	assert_int_equal(c.kind, CREDENTIALS_NONE);
	assert_null(c.user.data);
	assert_null(c.secret.data);
	credentials_finish(&c);
	assert_int_equal(wiped.n, 128);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wipes_user_and_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
