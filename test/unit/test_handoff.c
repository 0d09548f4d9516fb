/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "delivery/handoff.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The type of main()'s arguments; they are not changed. */
static char **
plain(const char *const *words)
{
	return (char **)(uintptr_t)words;
}

static int
count(char **argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static void
assert_same_text(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_ptr_equal(a, b);
}

static void
assert_same(const struct handoff *a, const struct handoff *b)
{
	assert_int_equal(a->fd, b->fd);
	assert_int_equal(a->timeout_s, b->timeout_s);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->helper, b->helper);
	assert_same_text(a->address, b->address);
	assert_same_text(a->host, b->host);
	assert_same_text(a->extensions, b->extensions);
	assert_same_text(a->tls, b->tls);
	assert_same_text(a->before, b->before);
	assert_int_equal(a->memory, b->memory);
	assert_int_equal(a->helo, b->helo);
	assert_int_equal(a->secrets, b->secrets);
	assert_int_equal(a->cache, b->cache);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->progress, b->progress);
	assert_int_equal(count(a->envelope), count(b->envelope));
	for (size_t i = 0; a->envelope[i]; i++)
		assert_string_equal(a->envelope[i], b->envelope[i]);
}

static void
comes_through(void **state)
{
	static const char *const usual[] = { "a@src.example", "b@dst.example",
		NULL };
	/*
	 * No word of the envelope is taken for a keyword, or for the "--" after
	 * them.
	 */
	static const char *const odd[] = { "", "--", "fd=9", "--", "", NULL };
	const struct handoff cases[] = {
		{ .fd = 3,
		    .timeout_s = 1200,
		    .address = "192.0.2.1",
		    .envelope = plain(usual) },
		{ .fd = 5,
		    .timeout_s = 0,
		    .address = "2001:db8::25",
		    .host = "mx1.example.org",
		    .extensions = "PIPELINING,SIZE 1000",
		    .tls = "TLSv1.3 X Y, certificate not verified",
		    .status = 3,
		    .helper = 4711,
		    .before = "mx.example (192.0.2.1): no\nmx.example: no",
		    .memory = 6,
		    .secrets = 7,
		    .helo = 1,
		    .envelope = plain(odd) },
		{ .fd = 65536,
		    .timeout_s = HANDOFF_TIMEOUT_MAX,
		    .address = "",
		    .host = "--",
		    .extensions = "",
		    .tls = "tls=\n",
		    .memory = 3,
		    .envelope = plain(odd) },
		/* Used before; the helper is nobody's child. */
		{ .fd = 3,
		    .timeout_s = 1200,
		    .address = "192.0.2.1",
		    .status = 4,
		    .cache = 5,
		    .used = 99,
		    .progress = 6,
		    .envelope = plain(usual) },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char **argv = handoff_format(&cases[i]);
		struct handoff back;

		assert_string_equal(argv[0], "qmail-remote-io");
		assert_true(handoff_parse(&back, count(argv), argv));
		assert_same(&back, &cases[i]);
		handoff_free(argv);
	}
}

#define FINE "fd=3", "address=192.0.2.1", "timeout=60"
#define MAIL "--", "a@b", "c@d"

static void
refuses_nonsense(void **state)
{
	static const struct {
		const char *name;
		const char *argv[12];
	} cases[] = {
		{ "nothing", { NULL } },
		{ "only a name", { "io", NULL } },
		{ "no envelope", { "io", FINE, "--", NULL } },
		{ "no recipient", { "io", FINE, "--", "a@b", NULL } },
		{ "no end of keywords", { "io", FINE, "a@b", "c@d", NULL } },
		{ "no fd", { "io", "address=x", "timeout=60", MAIL, NULL } },
		{ "no address", { "io", "fd=3", "timeout=60", MAIL, NULL } },
		{ "no timeout", { "io", "fd=3", "address=x", MAIL, NULL } },
		{ "fd of the message",
		    { "io", "fd=0", "address=x", "timeout=60", MAIL, NULL } },
		{ "fd 2",
		    { "io", "fd=2", "address=x", "timeout=60", MAIL, NULL } },
		{ "fd with a letter", { "io", "fd=4abc", "address=x",
					  "timeout=60", MAIL, NULL } },
		{ "fd over all limits", { "io", "fd=99999999999", "address=x",
					    "timeout=60", MAIL, NULL } },
		{ "timeout over a week", { "io", "fd=3", "address=x",
					     "timeout=604801", MAIL, NULL } },
		{ "unknown key", { "io", FINE, "port=25", MAIL, NULL } },
		{ "host twice",
		    { "io", FINE, "host=a", "host=a", MAIL, NULL } },
		{ "helper without status",
		    { "io", FINE, "helper=4", MAIL, NULL } },
		{ "status on the report",
		    { "io", FINE, "status=1", "helper=4", MAIL, NULL } },
		{ "memory on the report",
		    { "io", FINE, "memory=1", MAIL, NULL } },
		{ "secrets from the report",
		    { "io", FINE, "secrets=1", MAIL, NULL } },
		{ "cache on the report",
		    { "io", FINE, "cache=1", MAIL, NULL } },
		{ "progress on the report",
		    { "io", FINE, "progress=1", MAIL, NULL } },
		{ "used over all limits",
		    { "io", FINE, "used=99999999999", MAIL, NULL } },
		{ "the arguments of 0.1.0", { "io", "4", "192.0.2.1", "60", "",
						"", "a@b", "c@d", NULL } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char **argv = plain(cases[i].argv);
		struct handoff h;

		if (handoff_parse(&h, count(argv), argv))
			fail_msg("%s: taken", cases[i].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_through),
		cmocka_unit_test(refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
