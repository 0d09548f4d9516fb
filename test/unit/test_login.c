/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "qmail/login.h"

#include "home.h"
#include "place.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
put(const char *text, size_t n)
{
	home_write("token", text, n);
}

/* "user password", "user < path", or what is wrong. */
static const char *
parse(const char *text, size_t n)
{
	static char result[1024];
	struct login l = { .file = NULL };
	const char *fault = login_parse(&l, text, n);

	assert_int_equal(login_is_given(&l), fault == NULL);
	if (fault != NULL)
		snprintf(result, sizeof result, "%s", fault);
	else if (l.credentials.kind == CREDENTIALS_TOKEN) {
		assert_int_equal(l.credentials.secret.len, 0);
		snprintf(result, sizeof result, "%s < %s",
		    buf_text(&l.credentials.user), buf_text(&l.token));
	} else {
		assert_int_equal(l.token.len, 0);
		snprintf(result, sizeof result, "%s %s",
		    buf_text(&l.credentials.user),
		    buf_text(&l.credentials.secret));
	}
	login_finish(&l);
	return result;
}

static void
parses_user_and_secret(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "user|password", "user password" },
		{ "user@example.org|p", "user@example.org p" },
		{ "user| pass word", "user  pass word" },
		{ "us er|x", "us er x" },
		{ "\xc3\xa9|\xc3\xa9", "\xc3\xa9 \xc3\xa9" },
		/* All behind the first '|' is the password. */
		{ "user|a|b", "user a|b" },
		{ "user||", "user |" },
		{ "user|a:b;c#d # e", "user a:b;c#d # e" },
		{ "user|a\tb", "user a\tb" },
		{ "user|Token=/x", "user Token=/x" },
		{ "user|token", "user token" },
		{ "user|tokens=/x", "user tokens=/x" },
		{ "user|token=/run/token", "user < /run/token" },
		{ "user|token=control/my token", "user < control/my token" },
		{ "user|token=", "no path of a token" },
		{ "", "no '|' behind the user name" },
		{ "user", "no '|' behind the user name" },
		{ "user:password", "no '|' behind the user name" },
		{ "|password", "no user name" },
		{ "|", "no user name" },
		{ "user|", "no password" },
		{ "us\ter|x", "a control byte in the user name" },
		{ "us\x01r|x", "a control byte in the user name" },
		{ "us\x7fr|x", "a control byte in the user name" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *got = parse(cases[i].text, strlen(cases[i].text));

		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].text, got);
	}
	assert_string_equal(parse("u\0r|x", 5),
	    "a control byte in the user name");
	assert_string_equal(parse("u|x\0y", 5), "a NUL in the password");
	assert_string_equal(parse("u|token=x\0y", 11), "a NUL in the password");
}

static void
limits_lengths(void **state)
{
	struct buf text = { 0 };

	(void)state;
	memset(buf_reserve(&text, CREDENTIALS_USER_MAX + 1), 'u',
	    CREDENTIALS_USER_MAX + 1);
	text.len = CREDENTIALS_USER_MAX + 1;
	buf_puts(&text, "|x");
	assert_string_equal(parse(text.data, text.len),
	    "the user name is too long");
	assert_int_equal(strlen(parse(text.data + 1, text.len - 1)),
	    CREDENTIALS_USER_MAX + 2);
	buf_cut(&text, 0);
	buf_puts(&text, "u|");
	memset(buf_reserve(&text, CREDENTIALS_SECRET_MAX + 1), 'p',
	    CREDENTIALS_SECRET_MAX + 1);
	text.len += CREDENTIALS_SECRET_MAX + 1;
	assert_string_equal(parse(text.data, text.len),
	    "the password is too long");
	assert_memory_equal(parse(text.data, text.len - 1), "u ppp", 5);
	buf_finish(&text);
}

/* The token, or the detail of the failure. */
static const char *
read_token(void)
{
	static char result[CREDENTIALS_SECRET_MAX + 1];
	static const char text[] = "user|token=token";
	struct login l = { .file = NULL };
	struct dsn why = { 0 };

	assert_null(login_parse(&l, text, sizeof text - 1));
	if (login_read_token(&l, &why) == 0) {
		snprintf(result, sizeof result, "%s",
		    buf_text(&l.credentials.secret));
		check_place("token", &l.token_version, 0, "", 0);
	} else {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(result, sizeof result, "%s", why.detail);
	}
	login_finish(&l);
	return result;
}

static void
reads_a_token(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "ya29.a0-_~+/=", "ya29.a0-_~+/=" },
		{ "abc\n", "abc" },
		{ "abc \t\r\nsecond line\n", "abc" },
		{ "", "token: no token in its first line" },
		{ "\nabc\n", "token: no token in its first line" },
		{ "a b\n", "token: not a token" },
		{ " ab\n", "token: not a token" },
		{ "a\x01"
		  "auth=Bearer b",
		    "token: not a token" },
		{ "a\xc3\xa9", "token: not a token" },
		{ "a\x7f", "token: not a token" },
	};
	struct buf text = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		put(cases[i].text, strlen(cases[i].text));
		if (strcmp(read_token(), cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].text, read_token());
	}
	put("a\0b", 3);
	assert_string_equal(read_token(), "token: not a token");
	memset(buf_reserve(&text, CREDENTIALS_SECRET_MAX + 1), 't',
	    CREDENTIALS_SECRET_MAX + 1);
	put(text.data, CREDENTIALS_SECRET_MAX + 1);
	assert_string_equal(read_token(), "token: the token is too long");
	put(text.data, CREDENTIALS_SECRET_MAX);
	assert_int_equal(strlen(read_token()), CREDENTIALS_SECRET_MAX);
	buf_finish(&text);
}

static void
needs_a_regular_file(void **state)
{
	(void)state;
	unlink("token");
	assert_string_equal(read_token(), "token: No such file or directory");
	assert_int_equal(mkdir("token", 0700), 0);
	assert_string_equal(read_token(), "token: Is a directory");
	assert_int_equal(rmdir("token"), 0);
	assert_int_equal(mkfifo("token", 0600), 0);
	assert_string_equal(read_token(), "token: Invalid argument");
}

/* There is nothing to read. */
static void
leaves_a_password_as_it_is(void **state)
{
	static const char text[] = "user|password";
	struct login l = { .file = NULL };
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(login_read_token(&l, &why), 0);
	assert_false(login_is_given(&l));
	assert_null(login_parse(&l, text, sizeof text - 1));
	assert_int_equal(login_read_token(&l, &why), 0);
	assert_string_equal(buf_text(&l.credentials.secret), "password");
	login_finish(&l);
	assert_false(login_is_given(&l));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_user_and_secret),
		cmocka_unit_test(limits_lengths),
		cmocka_unit_test(reads_a_token),
		cmocka_unit_test(needs_a_regular_file),
		cmocka_unit_test(leaves_a_password_as_it_is),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
