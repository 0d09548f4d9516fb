/* SPDX-License-Identifier: ISC */
/* Tables whose lines must not be overlooked, and next hops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <stdlib.h>

#include "listfile.h"
#include "place.h"

static char home[] = "/tmp/test_table_strict.XXXXXX";

static const struct table_files plain = {
	.text = "plain", .index = "plain.cdb", .lock = "plain.lock"
};
static const struct table_files strict = {
	.text = "strict",
	.index = "strict.cdb",
	.lock = "strict.lock",
	.is_strict = true,
};
static const struct table_files addresses = {
	.text = "addresses",
	.index = "addresses.cdb",
	.lock = "addresses.lock",
	.is_strict = true,
	.has_addresses = true,
};

static int
enter_home(void **state)
{
	(void)state;
	alarm(120);
	return !mkdtemp(home) || chdir(home) == -1;
}

static int
clear_home(void **state)
{
	(void)state;
	remove_files(&plain);
	remove_files(&strict);
	remove_files(&addresses);
	return 0;
}

static int
leave_home(void **state)
{
	(void)state;
	return chdir("/") == -1 || rmdir(home) == -1;
}

/* The entry in a strict table, or "(none)"; a '!' for the missing colon. */
static const char *
find_strictly(const struct table_files *table, const char *host)
{
	static char text[64];
	struct table_entry e = { 0 };

	assert_int_equal(table_find(table, host, &e), 0);
	snprintf(text, sizeof text, "%s%s%s", buf_text(&e.key),
	    !e.found        ? "(none)"
	    : e.lacks_colon ? "!"
			    : ":",
	    buf_text(&e.value));
	if (e.found)
		check_place(table->text, &e.version, e.offset, buf_text(&e.key),
		    e.key.len);
	table_entry_finish(&e);
	return text;
}

/* Writes the text, made this long by a comment if it is shorter. */
static void
put_strict(const struct table_files *table, const char *text, size_t n,
    size_t total)
{
	struct buf b = { 0 };

	buf_append(&b, text, n);
	if (b.len < total)
		buf_puts(&b, "\n#");
	while (b.len < total)
		buf_putc(&b, 'x');
	put(table->text, buf_text(&b), b.len);
	buf_finish(&b);
}

struct strict_case {
	const char *text;
	size_t n;
	const char *host;
	const char *want;
};

static const struct strict_case strict_cases[] = {
	{ PIECE("a:r"), "a", "a:r" },
	{ PIECE("a:r"), "b", "(none)" },
	{ PIECE("a:"), "a", "a:" },
	{ PIECE(":r"), "a", ":r" },
	{ PIECE("A:r:x y # z"), "a", "A:r:x y # z" },
	{ PIECE(" a:r"), "a", "a:r" },
	{ PIECE("\t \ta:r"), "a", "a:r" },
	{ PIECE("a"), "a", "a!" },
	{ PIECE("a "), "a", "a!" },
	{ PIECE("a b"), "a", "a! b" },
	{ PIECE("a :b"), "a", "a! :b" },
	{ PIECE("a\tb:c"), "a", "a!\tb:c" },
	{ PIECE("a:r\na"), "a", "a!" },
	{ PIECE("a\na:r"), "a", "a:r" },
	{ PIECE("a:r\n#a"), "a", "a:r" },
	{ PIECE("a:r\n # a comment"), "a", "a:r" },
	{ PIECE("a:r\n \t\n"), "a", "a:r" },
	{ PIECE("[::1]:r"), "[::1]", "(none)" },
	{ PIECE("[::1]:r"), "[", "[::1]:r" },
	{ PIECE("b:r\0a\0c:s"), "a", "a!" },
	{ PIECE("b:r\0 a:r \0 \0"), "a", "a:r " },
	{ PIECE("a.:r"), "a", "a:r" },
	{ PIECE("a. b"), "a", "a! b" },
	{ PIECE("a..:r"), "a", "(none)" },
	{ PIECE(".:r"), "a.", ".:r" },
};

/* By the text, while the index is made, and by the index. */
static void
find_in_three_ways(const struct table_files *table, const struct strict_case *c)
{
	for (int round = 0; round < 3; round++) {
		const char *got;

		if (round < 2)
			put_strict(table, c->text, c->n,
			    round == 0 ? 0 : 65537);
		got = find_strictly(table, c->host);
		if (strcmp(got, c->want) != 0)
			fail_msg("%s, round %d: %s", c->text, round, got);
		assert_int_equal(access(table->index, F_OK),
		    round == 0 ? -1 : 0);
	}
	remove_files(table);
}

static void
overlooks_no_entry_of_a_strict_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(strict_cases); i++)
		find_in_three_ways(&strict, &strict_cases[i]);
}

/* A line that is meant as one address has the empty key. */
static void
finds_an_address_without_a_key(void **state)
{
	static const struct strict_case without_keys[] = {
		{ PIECE("192.0.2.1"), "a", "!192.0.2.1" },
		{ PIECE(" 192.0.2.1 # a:b"), "a", "!192.0.2.1 # a:b" },
		{ PIECE("a:192.0.2.1"), "a", "a:192.0.2.1" },
		{ PIECE("a:192.0.2.1"), "b", "(none)" },
		{ PIECE("a:192.0.2.1\n192.0.2.2"), "a", "a:192.0.2.1" },
		{ PIECE("a:192.0.2.1\n192.0.2.2"), "b", "!192.0.2.2" },
		{ PIECE("192.0.2.2\n:192.0.2.3"), "b", ":192.0.2.3" },
		{ PIECE(":192.0.2.2\n192.0.2.3"), "b", "!192.0.2.3" },
		{ PIECE(".a:192.0.2.1"), "b.a", ".a:192.0.2.1" },
		{ PIECE("192.0.2.9:192.0.2.1"), "192.0.2.9",
		    "192.0.2.9:192.0.2.1" },
		{ PIECE("b:r\0 192.0.2.1"), "a", "!192.0.2.1" },
		/* IPv6. */
		{ PIECE("2001:db8::1"), "a", "!2001:db8::1" },
		{ PIECE("::1"), "a", "!::1" },
		{ PIECE("::"), "a", "!::" },
		{ PIECE("[2001:db8::1]"), "a", "![2001:db8::1]" },
		{ PIECE("[IPv6:2001:db8::1] # x"), "a",
		    "![IPv6:2001:db8::1] # x" },
		{ PIECE("a.example:2001:db8::1"), "a.example",
		    "a.example:2001:db8::1" },
		{ PIECE(":2001:db8::1"), "a", ":2001:db8::1" },
		{ PIECE(":::1"), "a", ":::1" },
		{ PIECE("cafe:2001:db8::1"), "cafe", "!cafe:2001:db8::1" },
		{ PIECE("cafe:[2001:db8::1]"), "cafe", "cafe:[2001:db8::1]" },
		{ PIECE("cafe:[2001:db8::1]"), "a", "(none)" },
		{ PIECE("cafe:192.0.2.1"), "cafe", "cafe:192.0.2.1" },
		{ PIECE("coffe:2001:db8::1"), "coffe", "coffe:2001:db8::1" },
		/* Mistakes. */
		{ PIECE("eth0"), "a", "!eth0" },
		{ PIECE("192.0.2.300"), "a", "!192.0.2.300" },
		{ PIECE("192.0.2.1/24"), "a", "!192.0.2.1/24" },
		{ PIECE("a 192.0.2.1"), "b", "!a 192.0.2.1" },
		{ PIECE("a :192.0.2.1"), "b", "!a :192.0.2.1" },
		{ PIECE("2001:db8::1 x"), "a", "!2001:db8::1 x" },
		{ PIECE("2001:db8::1/64"), "a", "!2001:db8::1/64" },
		{ PIECE("2001:db8:::1"), "a", "!2001:db8:::1" },
		{ PIECE("fe80::1%eth0"), "a", "!fe80::1%eth0" },
		{ PIECE("::1%lo"), "a", "::1%lo" },
		/* No entries. */
		{ PIECE("  # 192.0.2.1"), "a", "(none)" },
		{ PIECE("#192.0.2.1\n \t\n"), "a", "(none)" },
		{ PIECE("192.0.2.1\n # a comment\n\n"), "a", "!192.0.2.1" },
		{ PIECE("b:r\0 \0"), "a", "(none)" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(without_keys); i++)
		find_in_three_ways(&addresses, &without_keys[i]);
}

static void
compiles_only_a_long_strict_table(void **state)
{
	struct stat st;

	(void)state;
	put_strict(&strict, "a:r", 3, 65536);
	assert_string_equal(find_strictly(&strict, "a"), "a:r");
	assert_int_equal(access(strict.index, F_OK), -1);
	/* Whoever can write to the state directory hides nothing. */
	assert_int_equal(stat(strict.text, &st), 0);
	forge_with(&strict, &st, "", NULL);
	assert_string_equal(find_strictly(&strict, "a"), "a:r");
}

static void
finds_a_next_hop_as_it_is_named(void **state)
{
	static const struct {
		const char *next_hop;
		const char *value;
	} want[] = {
		{ "192.0.2.1", "r" },
		{ "[192.0.2.1]", "r" },
		{ "[192.0.2.001]", "r" },
		{ "[::ffff:192.0.2.1]", "r" },
		{ "[IPv6:::ffff:c000:201]", "r" },
		{ "::ffff:192.0.2.1", "r" },
		{ "[2001:db8::1]", "t" },
		{ "[a]", "s" },
		{ "[a", "t" },
		{ "a]", "t" },
		{ "[]", "t" },
		{ "[", "t" },
		{ "a.", "s" },
		{ "a..", "t" },
		{ ".", "t" },
		{ "", "t" },
	};

	(void)state;
	put(plain.text, PIECE("192.0.2.1:r\na:s\n:t\n"));
	for (size_t i = 0; i < COUNT(want); i++) {
		struct table_entry e = { 0 };

		assert_int_equal(table_find_next_hop(&plain, want[i].next_hop,
				     &e),
		    0);
		if (strcmp(buf_text(&e.value), want[i].value) != 0)
			fail_msg("%s: %s", want[i].next_hop,
			    buf_text(&e.value));
		table_entry_finish(&e);
	}
}

static void
goes_through_malformed_entries(void **state)
{
	static const char text[] = "a:b:c \n#b:t\nc d\ne :u\n f:v\0g\n:w";
	struct walked w = { .n = 0 };

	(void)state;
	put(strict.text, text, sizeof text - 1);
	assert_int_equal(table_walk(&strict, walk, &w), 0);
	assert_string_equal(w.text, "<a|b:c><c d|-><e :u|-><f|v><g|-><|w>");
}

static void
goes_through_addresses(void **state)
{
	static const char text[] = "192.0.2.1 # x\n # y\nc d\n:v\nx:::\n::";
	struct walked w = { .n = 0 };

	(void)state;
	put(addresses.text, text, sizeof text - 1);
	assert_int_equal(table_walk(&addresses, walk, &w), 0);
	assert_string_equal(w.text, "<|192.0.2.1 # x><|c d><|v><x|::><|::>");
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_home)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(overlooks_no_entry_of_a_strict_table),
		TEST(finds_an_address_without_a_key),
		TEST(compiles_only_a_long_strict_table),
		TEST(finds_a_next_hop_as_it_is_named),
		TEST(goes_through_malformed_entries),
		TEST(goes_through_addresses),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
