/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmail/tlspolicy.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

#define LABEL63 \
	"a23456789012345678901234567890123456789012345678901234567890123"
#define NAME253 \
	LABEL63 \
	"." LABEL63 "." LABEL63 \
	".a234567890123456789012345678901234567890123456789012345678901"

_Static_assert(sizeof LABEL63 == 64 && sizeof NAME253 == 254, "lengths");

static const struct table_files files = {
	.text = "tlspolicy",
	.index = "tlspolicy.cdb",
	.lock = "tlspolicy.lock",
	.is_strict = true,
};

static void
put(const char *text)
{
	home_put(files.text, text);
}

/* The policy as text, or the detail of a failure. */
static const char *
find(const char *next_hop)
{
	static const char *const words[] = { "absent", "none", "may", "encrypt",
		"verify", "dane", "dane-only" };
	static char text[1024];
	struct tlspolicy p = { .level = TLSPOLICY_ABSENT };
	struct dsn why = { 0 };

	if (tlspolicy_find(&p, &files, next_hop, &why) == -1) {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(text, sizeof text, "%s", why.detail);
	} else
		snprintf(text, sizeof text, "%s%s%s%s%s", words[p.level],
		    p.match.len > 0 ? " match " : "", buf_text(&p.match),
		    p.anchors.len > 0 ? " anchors " : "", buf_text(&p.anchors));
	tlspolicy_finish(&p);
	return text;
}

static void
uses_the_matching_line(void **state)
{
	static const struct {
		const char *text;
		const char *next_hop;
		const char *want;
	} cases[] = {
		{ "", "a", "absent" },
		{ "b:none\n", "a", "absent" },
		{ "a:none\n", "a", "none" },
		{ "a:may\n", "a", "may" },
		{ "a:encrypt\n", "a", "encrypt" },
		{ "a:verify\n", "a", "verify" },
		{ "a:dane\n", "a", "dane" },
		{ "a:dane-only\n", "a", "dane-only" },
		{ "A:dane\r\n", "a", "dane" },
		{ "a:dane \t\n", "a", "dane" },
		{ "a:may # their certificate is odd\n", "a", "may" },
		{ "a:may\t#\n", "a", "may" },
		{ " a:may\n", "a", "may" },
		{ "\ta:may\n", "a", "may" },
		/* Keys. */
		{ ":may\n.example:dane\n", "mx.example", "dane" },
		{ ":may\n.example:dane\n", "example", "may" },
		{ "a.example:none\n.example:dane\n", "a.example", "none" },
		{ "a:none\na:dane\n", "a", "dane" },
		{ "192.0.2.1:none\n", "[192.0.2.1]", "none" },
		{ "192.0.2.1:none\n", "192.0.2.1", "none" },
		{ "[192.0.2.1]:none\n", "[192.0.2.1]", "absent" },
		{ "[2001:db8::1]:none\n", "[IPv6:2001:db8::1]", "absent" },
		{ ":none\n", "[IPv6:2001:db8::1]", "none" },
		/* Attributes. */
		{ "a:verify:match=b\n", "a", "verify match b" },
		{ "a:verify:match=.b.example,c_d-e.example\n", "a",
		    "verify match .b.example,c_d-e.example" },
		{ "a:verify:match=" NAME253 ",." NAME253 "\n", "a",
		    "verify match " NAME253 ",." NAME253 },
		{ "a:verify:anchors=/etc/ssl/b.pem # c\n", "a",
		    "verify anchors /etc/ssl/b.pem" },
		{ "a:verify:anchors=control/b=c,d/:match=e\n", "a",
		    "verify match e anchors control/b=c,d/" },
		/* Other lines do not matter. */
		{ "b:nonsense\nb\nc d\na:may\n", "a", "may" },
		{ "a:nonsense\na:may\n", "a", "may" },
		{ "a\na:may\n", "a", "may" },
		{ "  # a comment\na:may\n", "a", "may" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		put(cases[i].text);
		if (strcmp(find(cases[i].next_hop), cases[i].want) != 0)
			fail_msg("%s, %s: %s", cases[i].text, cases[i].next_hop,
			    find(cases[i].next_hop));
	}
	assert_int_equal(unlink("tlspolicy"), 0);
}

/* Never a weaker level, and never another line. */
static void
refuses_a_malformed_line(void **state)
{
	static const struct {
		const char *line;
		const char *fault;
	} cases[] = {
		{ "a", "no colon behind the next hop" },
		{ "a verify", "no colon behind the next hop" },
		{ "a :verify", "no colon behind the next hop" },
		{ "a\t:verify", "no colon behind the next hop" },
		{ "a # verify", "no colon behind the next hop" },
		{ "a:", "unknown level" },
		{ "a:#", "unknown level" },
		{ "a:secure", "unknown level" },
		{ "a:Verify", "unknown level" },
		{ "a:verif", "unknown level" },
		{ "a:verify2", "unknown level" },
		{ "a:2", "unknown level" },
		{ "a:verify#x", "unknown level" },
		{ "a::verify", "unknown level" },
		{ "a: # comment", "unknown level" },
		{ "a: verify", "text behind the policy" },
		{ "a:verify x", "text behind the policy" },
		{ "a:verify match=b", "text behind the policy" },
		{ "a:verify:anchors=/a b", "text behind the policy" },
		{ "a:verify:", "unknown attribute" },
		{ "a:verify:x", "unknown attribute" },
		{ "a:verify:x=y", "unknown attribute" },
		{ "a:verify:matches=b", "unknown attribute" },
		{ "a:verify:Match=b", "unknown attribute" },
		{ "a:verify:match=b:", "unknown attribute" },
		{ "a:none:x", "unknown attribute" },
		{ "a:none:match=b", "attribute that this level does not use" },
		{ "a:may:match=b", "attribute that this level does not use" },
		{ "a:encrypt:anchors=/b",
		    "attribute that this level does not use" },
		{ "a:dane:match=b", "attribute that this level does not use" },
		{ "a:dane-only:anchors=/b",
		    "attribute that this level does not use" },
		{ "a:verify:match=b:match=c", "attribute given twice" },
		{ "a:verify:anchors=b:anchors=b", "attribute given twice" },
		{ "a:verify:match", "attribute without a value" },
		{ "a:verify:match=", "attribute without a value" },
		{ "a:verify:anchors", "attribute without a value" },
		{ "a:verify:anchors=:match=b", "attribute without a value" },
		{ "a:verify:match=,", "not a list of names" },
		{ "a:verify:match=b,", "not a list of names" },
		{ "a:verify:match=,b", "not a list of names" },
		{ "a:verify:match=b,,c", "not a list of names" },
		{ "a:verify:match=.", "not a list of names" },
		{ "a:verify:match=..b", "not a list of names" },
		{ "a:verify:match=b.", "not a list of names" },
		{ "a:verify:match=b..c", "not a list of names" },
		{ "a:verify:match=*.b", "not a list of names" },
		{ "a:verify:match=b|c", "not a list of names" },
		{ "a:verify:match=b\xc3\xa9", "not a list of names" },
	};
	struct buf want = { 0 }, text = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		buf_cut(&text, 0);
		buf_printf(&text, ":may\na:none\n%s\nb:none\n", cases[i].line);
		put(text.data);
		buf_cut(&want, 0);
		buf_printf(&want, "tlspolicy: %s: %s", cases[i].fault,
		    cases[i].line);
		for (char *s = want.data; *s; s++)
			if (*s < ' ' || *s > '~')
				*s = '?';
		if (strcmp(find("a"), want.data) != 0)
			fail_msg("%s: %s", cases[i].line, find("a"));
	}
	buf_finish(&want);
	buf_finish(&text);
	assert_int_equal(unlink("tlspolicy"), 0);
}

static const char *
fault_of(const char *value)
{
	const char *fault = tlspolicy_fault(value, strlen(value));

	return fault ? fault : "";
}

static void
limits_lengths(void **state)
{
	struct buf value = { 0 };

	(void)state;
	buf_puts(&value, "verify:anchors=");
	while (value.len < TLSPOLICY_VALUE_MAX)
		buf_putc(&value, 'x');
	assert_string_equal(fault_of(value.data), "");
	buf_puts(&value, " # and a comment");
	assert_string_equal(fault_of(value.data), "");
	buf_cut(&value, TLSPOLICY_VALUE_MAX);
	buf_putc(&value, 'x');
	assert_string_equal(fault_of(value.data), "too long");
	buf_finish(&value);
	assert_string_equal(fault_of("verify:match=" LABEL63), "");
	assert_string_equal(fault_of("verify:match=a" LABEL63),
	    "not a list of names");
	assert_string_equal(fault_of("verify:match=" NAME253 "b"),
	    "not a list of names");
}

static void
finds_the_fault_of_a_value(void **state)
{
	(void)state;
	assert_null(tlspolicy_fault("dane", 4));
	assert_null(tlspolicy_fault("dane-only", 4));
	assert_string_equal(tlspolicy_fault("", 0), "unknown level");
	assert_string_equal(tlspolicy_fault("none", 3), "unknown level");
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	(void)state;
	assert_string_equal(find("a"), "absent");
	assert_int_equal(symlink("/dev/null", "tlspolicy"), 0);
	assert_string_equal(find("a"), "absent");
	assert_int_equal(unlink("tlspolicy"), 0);
	assert_int_equal(mkdir("tlspolicy", 0700), 0);
	assert_string_equal(find("a"), "tlspolicy: Is a directory");
	assert_int_equal(rmdir("tlspolicy"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uses_the_matching_line),
		cmocka_unit_test(refuses_a_malformed_line),
		cmocka_unit_test(limits_lengths),
		cmocka_unit_test(finds_the_fault_of_a_value),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
