/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyword.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct values {
	const char *name, *path;
	unsigned long size, port;
};

#define KEYWORDS 4

static void
describe(struct values *v, struct keyword k[KEYWORDS])
{
	const struct keyword table[KEYWORDS] = {
		{ "name", .text = &v->name, .is_required = true },
		{ "path", .text = &v->path },
		{ "size", .number = &v->size, 1000, .is_required = true },
		{ "port", .number = &v->port, 65535 },
	};

	memcpy(k, table, sizeof table);
}

/* The type of main()'s arguments; they are not changed. */
static char *const *
plain(const char *const *words)
{
	return (char *const *)(uintptr_t)words;
}

static void
writes_what_is_set(void **state)
{
	static const struct {
		struct values values;
		const char *words[KEYWORDS + 1];
	} cases[] = {
		{ { "x", NULL, 7, 0 }, { "name=x", "size=7" } },
		{ { "x", "/a=b", 1000, 25 },
		    { "name=x", "path=/a=b", "size=1000", "port=25" } },
		/* A required value is always written. */
		{ { "", "", 0, 0 }, { "name=", "path=", "size=0" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct values v = cases[i].values, back = { 0 };
		struct keyword k[KEYWORDS];
		char *words[KEYWORDS];
		size_t n;

		describe(&v, k);
		n = keyword_format(k, KEYWORDS, words);
		for (size_t j = 0; j < n; j++)
			assert_string_equal(words[j], cases[i].words[j]);
		assert_null(cases[i].words[n]);

		describe(&back, k);
		assert_true(keyword_parse(k, KEYWORDS, words, n));
		assert_string_equal(back.name, v.name);
		assert_int_equal(back.size, v.size);
		assert_int_equal(back.port, v.port);
		if (v.path)
			assert_string_equal(back.path, v.path);
		else
			assert_null(back.path);
		for (size_t j = 0; j < n; j++)
			free(words[j]);
	}
}

static void
writes_only_what_has_room(void **state)
{
	struct values v = { .name = "name", .size = 1000 };
	struct keyword k[KEYWORDS];
	char at[10];

	(void)state;
	describe(&v, k);
	for (size_t i = 0; i < KEYWORDS; i += 2) { /* name and size */
		for (size_t room = 0; room <= sizeof at; room++) {
			memset(at, '!', sizeof at);
			assert_int_equal(keyword_write(&k[i], at, room), 10);
			if (room < 10)
				assert_memory_equal(at, "!!!!!!!!!!", 10);
		}
		assert_string_equal(at, i == 0 ? "name=name" : "size=1000");
	}
}

static void
reads_in_any_order(void **state)
{
	static const char *const words[] = { "size=0001", "name=a b",
		"port=65535" };
	struct values v = { .path = "kept" };
	struct keyword k[KEYWORDS];

	(void)state;
	describe(&v, k);
	assert_true(keyword_parse(k, KEYWORDS, plain(words), COUNT(words)));
	assert_string_equal(v.name, "a b");
	assert_string_equal(v.path, "kept");
	assert_int_equal(v.size, 1);
	assert_int_equal(v.port, 65535);
}

static void
refuses_nonsense(void **state)
{
	static const struct {
		const char *name;
		const char *words[5];
	} cases[] = {
		{ "nothing", { NULL } },
		{ "required key missing", { "name=x" } },
		{ "unknown key", { "name=x", "size=1", "nam=x" } },
		{ "longer key", { "name=x", "size=1", "names=x" } },
		{ "upper case", { "name=x", "size=1", "PORT=1" } },
		{ "no equals sign", { "name=x", "size=1", "port" } },
		{ "blank before it", { "name=x", "size=1", "port =1" } },
		{ "empty word", { "name=x", "size=1", "" } },
		{ "no key", { "name=x", "size=1", "=1" } },
		{ "text twice", { "name=x", "size=1", "name=x" } },
		{ "number twice", { "name=x", "size=1", "size=1" } },
		{ "empty number", { "name=x", "size=" } },
		{ "letter behind", { "name=x", "size=4abc" } },
		{ "letter before", { "name=x", "size=x4" } },
		{ "blank before a number", { "name=x", "size= 4" } },
		{ "blank behind a number", { "name=x", "size=4 " } },
		{ "sign", { "name=x", "size=+4" } },
		{ "negative", { "name=x", "size=-4" } },
		{ "hexadecimal", { "name=x", "size=0x4" } },
		{ "over the limit", { "name=x", "size=1001" } },
		{ "far over the limit",
		    { "name=x", "size=99999999999999999999999" } },
		{ "over another limit", { "name=x", "size=1", "port=70000" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct values v = { 0 };
		struct keyword k[KEYWORDS];
		size_t n = 0;

		while (cases[i].words[n])
			n++;
		describe(&v, k);
		if (keyword_parse(k, KEYWORDS, plain(cases[i].words), n))
			fail_msg("%s: taken", cases[i].name);
	}
}

/* There is one bit for each keyword: longer tables are refused. */
static void
refuses_too_many_keywords(void **state)
{
	static struct keyword many[33];

	(void)state;
	assert_true(keyword_parse(many, 32, NULL, 0));
	assert_false(keyword_parse(many, 33, NULL, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_what_is_set),
		cmocka_unit_test(writes_only_what_has_room),
		cmocka_unit_test(reads_in_any_order),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(refuses_too_many_keywords),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
