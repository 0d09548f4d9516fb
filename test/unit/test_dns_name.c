/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet.h"

/* A label of len bytes, all of them c. */
static void
put_label(struct packet *p, size_t len, unsigned char c)
{
	unsigned char b[64];

	b[0] = (unsigned char)len;
	memset(b + 1, c, len);
	put(p, b, len + 1);
}

static void
put_mx_head(struct packet *p, unsigned rdlength)
{
	put(p, "\1a\0\0\x0f\0\1\0\0\0\1", 11);
	put_u16(p, rdlength);
	put_u16(p, 1);
}

static void
names_become_text(void **state)
{
	struct packet p;
	struct dns_answer a;
	size_t i;

	(void)state;
	begin(&p, ANSWER, 1, "a", DNS_MX);
	put_mx_head(&p, 2 + 13);
	put(&p, "\7a .\\\0\x7f\xff\3/_-\0", 13);
	parse(&a, "a", DNS_MX, &p);
	check("odd bytes", &a, DNS_FOUND, 1);
	assert_string_equal(a.mx[0].name, "a\\032\\.\\\\\\000\\127\\255./_-");
	dns_answer_finish(&a);

	/*
	 * 255 bytes on the wire are 253 bytes of text; with escapes they do not
	 * fit.
	 */
	for (i = 0; i < 2; i++) {
		begin(&p, ANSWER, 1, "a", DNS_MX);
		put_mx_head(&p, 2 + 255);
		put_label(&p, 63, 'x');
		put_label(&p, 63, 'x');
		put_label(&p, 63, 'x');
		put_label(&p, 61, i == 0 ? 'y' : ' ');
		put(&p, "", 1);
		parse(&a, "a", DNS_MX, &p);
		check("long", &a, DNS_FOUND, 1);
		if (i == 0)
			assert_int_equal(strlen(a.mx[0].name), 253);
		else
			assert_string_equal(a.mx[0].name, "?");
		dns_answer_finish(&a);
	}

	begin(&p, ANSWER, 1, "a", DNS_MX);
	put_mx_head(&p, 2 + 256);
	put_label(&p, 63, 'x');
	put_label(&p, 63, 'x');
	put_label(&p, 63, 'x');
	put_label(&p, 62, 'x');
	put(&p, "", 1);
	parse(&a, "a", DNS_MX, &p);
	check("256 bytes", &a, DNS_TEMPFAIL, 0);
}

#define FORTYNINE TEN TEN TEN TEN "xxxxxxxxx"

static void
names_are_valid_or_not(void **state)
{
	static const struct {
		const char *name;
		bool is_valid;
	} names[] = {
		{ "", true },
		{ "x", true },
		{ "x.", true },
		{ ".", false },
		{ "..", false },
		{ ".x", false },
		{ "a..b", false },
		{ "a..", false },
		{ "\xff \\.b", true },
		{ TEN TEN TEN TEN TEN TEN "xxx.b", true },
		{ TEN TEN TEN TEN TEN TEN "xxxx.b", false },
		{ "b." TEN TEN TEN TEN TEN TEN "xxxx", false },
		/* 249 + 4 bytes; a dot more; a byte more */
		{ FORTYNINE "." FORTYNINE "." FORTYNINE "." FORTYNINE
			    "." FORTYNINE ".abc",
		    true },
		{ FORTYNINE "." FORTYNINE "." FORTYNINE "." FORTYNINE
			    "." FORTYNINE ".abc.",
		    true },
		{ FORTYNINE "." FORTYNINE "." FORTYNINE "." FORTYNINE
			    "." FORTYNINE ".abcd",
		    false },
	};
	unsigned char packet[DNS_QUESTION_SIZE];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (dns_name_is_valid(names[i].name) != names[i].is_valid)
			fail_msg("%s", names[i].name);
		n = dns_question_write(packet, names[i].name, DNS_A, 0,
		    DNS_EDNS);
		if ((n == 0) == names[i].is_valid || n > sizeof packet)
			fail_msg("%s: %zu bytes", names[i].name, n);
	}
}

static void
names_that_can_be_asked_for(void **state)
{
	(void)state;
	assert_true(dns_name_is_askable("Mail-1_a/b*.example"));
	assert_true(dns_name_is_askable("a"));
	assert_false(dns_name_is_askable(""));
	assert_false(dns_name_is_askable("a\\032b"));
	assert_false(dns_name_is_askable("a b"));
	assert_false(dns_name_is_askable("?"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_become_text),
		cmocka_unit_test(names_are_valid_or_not),
		cmocka_unit_test(names_that_can_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
