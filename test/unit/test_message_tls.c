/* SPDX-License-Identifier: ISC */
/* The records that TLS depends on: TLSA, TXT and CNAME. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet.h"

/* RFC 6698 section 2.3; the certificate of the last one is cut there. */
static void
tlsa_records_of_the_rfc(void **state)
{
	static const unsigned char ca[] = { 0, 0, 1, 0xd2, 0xab, 0xde, 0x24,
		0x0d, 0x7c, 0xd3, 0xee, 0x6b, 0x4b, 0x28, 0xc5, 0x4d, 0xf0,
		0x34, 0xb9, 0x79, 0x83, 0xa1, 0xd1, 0x6e, 0x8a, 0x41, 0x0e,
		0x45, 0x61, 0xcb, 0x10, 0x66, 0x18, 0xe9, 0x71 },
				   key[] = { 1, 1, 2, 0x92, 0x00, 0x3b, 0xa3,
					   0x49, 0x42, 0xdc, 0x74, 0x15, 0x2e,
					   0x2f, 0x2c, 0x40, 0x8d, 0x29, 0xec,
					   0xa5, 0xa5, 0x20, 0xe7, 0xf2, 0xe0,
					   0x6b, 0xb9, 0x44, 0xf4, 0xdc, 0xa3,
					   0x46, 0xba, 0xf6, 0x3c, 0x1b, 0x17,
					   0x76, 0x15, 0xd4, 0x66, 0xf6, 0xc4,
					   0xb7, 0x1c, 0x21, 0x6a, 0x50, 0x29,
					   0x2b, 0xd5, 0x8c, 0x9e, 0xbd, 0xd2,
					   0xf7, 0x4e, 0x38, 0xfe, 0x51, 0xff,
					   0xd4, 0x8c, 0x43, 0x32, 0x6c, 0xbc },
				   whole[] = { 3, 0, 0, 0x30, 0x82, 0x03, 0x07,
					   0x30, 0x82, 0x01, 0xef, 0xa0, 0x03,
					   0x02, 0x01, 0x02, 0x02 };
	static const char name[] = "_443._tcp.www.example.com";
	static const struct {
		const unsigned char *data;
		size_t n;
	} records[] = { { ca, sizeof ca }, { key, sizeof key },
		{ whole, sizeof whole } };
	struct packet p;
	struct dns_answer a;

	(void)state;
	begin(&p, ANSWER | 0x20, 3, name, DNS_TLSA);
	for (size_t i = 0; i < 3; i++)
		put_data(&p, name, DNS_TLSA, records[i].data, records[i].n);
	parse(&a, name, DNS_TLSA, &p);
	check("TLSA", &a, DNS_FOUND, 3);
	assert_int_equal(a.security, DNS_SECURE);
	assert_int_equal(a.ttl_s, 60);
	for (size_t i = 0; i < 3; i++) {
		const struct tlsa *r = &a.tlsa.record[i];

		assert_int_equal(r->usage, records[i].data[0]);
		assert_int_equal(r->selector, records[i].data[1]);
		assert_int_equal(r->matching, records[i].data[2]);
		assert_int_equal(r->n, records[i].n - 3);
		assert_memory_equal(tlsa_data(&a.tlsa, i), records[i].data + 3,
		    r->n);
	}
	dns_answer_finish(&a);
}

#define TLSA(owner) DATA(owner, DNS_TLSA, "\3\1\1" TEN)
#define TEXT(owner, data) DATA(owner, DNS_TXT, data)

static const struct {
	const char *what;
	const char *name;
	int type;
	unsigned flags;
	struct record record[4];
	enum dns_outcome outcome;
	size_t nrr;
	const char *canonical;
} tls_cases[] = {
	{ "TLSA of nothing", "a", DNS_TLSA, ANSWER, { DATA("a", DNS_TLSA, "") },
	    DNS_TEMPFAIL, 0, "" },
	{ "TLSA of 1 byte", "a", DNS_TLSA, ANSWER,
	    { DATA("a", DNS_TLSA, "\3") }, DNS_TEMPFAIL, 0, "" },
	{ "TLSA of 2 bytes", "a", DNS_TLSA, ANSWER,
	    { DATA("a", DNS_TLSA, "\3\1") }, DNS_TEMPFAIL, 0, "" },
	{ "TLSA without data", "a", DNS_TLSA, ANSWER,
	    { DATA("a", DNS_TLSA, "\3\1\1") }, DNS_FOUND, 1, "" },
	{ "a bad TLSA after good ones", "a", DNS_TLSA, ANSWER,
	    { TLSA("a"), TLSA("a"), DATA("a", DNS_TLSA, "\3\1") }, DNS_TEMPFAIL,
	    0, "" },
	{ "a bad TLSA before a good one", "a", DNS_TLSA, ANSWER,
	    { DATA("a", DNS_TLSA, "\3\1"), TLSA("a") }, DNS_TEMPFAIL, 0, "" },
	{ "a bad TLSA of another owner", "a", DNS_TLSA, ANSWER,
	    { DATA("b", DNS_TLSA, "\3\1"), TLSA("a") }, DNS_FOUND, 1, "" },
	{ "the owner is an alias", "a", DNS_TLSA, ANSWER,
	    { CNAME("a", "b"), TLSA("b"), TLSA("c") }, DNS_FOUND, 1, "b" },
	{ "a SERVFAIL with TLSA", "a", DNS_TLSA, ANSWER | 2, { TLSA("a") },
	    DNS_TEMPFAIL, 0, "" },
	{ "no TLSA", "a", DNS_TLSA, ANSWER, { { 0 } }, DNS_NODATA, 0, "" },
	{ "no such name", "a", DNS_TLSA, NXDOMAIN, { { 0 } }, DNS_NXDOMAIN, 0,
	    "" },

	{ "TXT of nothing", "a", DNS_TXT, ANSWER, { TEXT("a", "") },
	    DNS_TEMPFAIL, 0, "" },
	{ "TXT of an empty string", "a", DNS_TXT, ANSWER, { TEXT("a", "\0") },
	    DNS_FOUND, 1, "" },
	{ "TXT longer than its data", "a", DNS_TXT, ANSWER,
	    { TEXT("a", "\4abc") }, DNS_TEMPFAIL, 0, "" },
	{ "a second string longer than the data", "a", DNS_TXT, ANSWER,
	    { TEXT("a", "\3abc\1") }, DNS_TEMPFAIL, 0, "" },
	{ "a bad TXT after a good one", "a", DNS_TXT, ANSWER,
	    { TEXT("a", "\3abc"), TEXT("a", "\xff") }, DNS_TEMPFAIL, 0, "" },
	{ "TXT of an alias", "a", DNS_TXT, ANSWER,
	    { CNAME("a", "b"), TEXT("b", "\1x"), TEXT("b", "\1y") }, DNS_FOUND,
	    2, "b" },
	{ "no TXT", "a", DNS_TXT, ANSWER, { { 0 } }, DNS_NODATA, 0, "" },

	{ "CNAME is not followed", "a", DNS_CNAME, ANSWER,
	    { CNAME("a", "b"), CNAME("b", "c"), A("c") }, DNS_FOUND, 0, "b" },
	{ "CNAME in any order", "A", DNS_CNAME, ANSWER,
	    { CNAME("b", "c"), CNAME("a", "b") }, DNS_FOUND, 0, "b" },
	{ "CNAME of itself", "a", DNS_CNAME, ANSWER, { CNAME("a", "a") },
	    DNS_FOUND, 0, "a" },
	{ "CNAME of a DNAME", "x.a", DNS_CNAME, ANSWER,
	    { DNAME("a", "b"), CNAME("x.a", "x.b") }, DNS_FOUND, 0, "x.b" },
	{ "CNAME and no such name", "a", DNS_CNAME, NXDOMAIN,
	    { CNAME("a", "b") }, DNS_TEMPFAIL, 0, "" },
	{ "a bad CNAME", "a", DNS_CNAME, ANSWER,
	    { DATA("a", DNS_CNAME, "\1b\0\0") }, DNS_TEMPFAIL, 0, "" },
	{ "CNAME of another name", "a", DNS_CNAME, ANSWER, { CNAME("b", "c") },
	    DNS_TEMPFAIL, 0, "" },
	{ "no CNAME", "a", DNS_CNAME, ANSWER, { { 0 } }, DNS_NODATA, 0, "" },
};

static void
answers_about_tls(void **state)
{
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof tls_cases / sizeof *tls_cases; i++) {
		begin(&p, tls_cases[i].flags, 0, tls_cases[i].name,
		    tls_cases[i].type);
		p.byte[7] =
		    (unsigned char)put_records(&p, tls_cases[i].record, 4);
		parse(&a, tls_cases[i].name, tls_cases[i].type, &p);
		if (a.outcome != tls_cases[i].outcome ||
		    a.tlsa.n + a.ntext != tls_cases[i].nrr ||
		    a.nmx + a.nip != 0 ||
		    strcmp(a.canonical, tls_cases[i].canonical) != 0)
			fail_msg("%s: %s, %zu, %s", tls_cases[i].what,
			    outcome_name(a.outcome), a.tlsa.n + a.ntext,
			    a.canonical);
		assert_int_equal(a.is_alias, a.canonical[0] != '\0');
		dns_answer_finish(&a);
	}
}

static void
strings_of_a_text_are_joined(void **state)
{
	static const struct record records[] = {
		TEXT("a", "\10v=STSv1;\6 id=1;"),
		TEXT("a", "\0\0"),
		TEXT("a", "\1x\0\3y\0z"),
	};
	struct packet p;
	struct dns_answer a;

	(void)state;
	begin(&p, ANSWER, 3, "a", DNS_TXT);
	put_records(&p, records, 3);
	parse(&a, "a", DNS_TXT, &p);
	check("TXT", &a, DNS_FOUND, 3);
	assert_string_equal(buf_text(&a.text[0]), "v=STSv1; id=1;");
	assert_string_equal(buf_text(&a.text[1]), "");
	assert_int_equal(a.text[1].len, 0);
	assert_int_equal(a.text[2].len, 4);
	assert_memory_equal(a.text[2].data, "xy\0z", 5);
	dns_answer_finish(&a);
}

/* n bytes, as character-strings of up to 255. */
static void
put_text(struct packet *p, size_t n)
{
	unsigned char data[70000];
	size_t at = 0, part;

	for (; n > 0; n -= part) {
		part = n < 255 ? n : 255;
		data[at++] = (unsigned char)part;
		memset(data + at, 'x', part);
		at += part;
	}
	put_data(p, "a", DNS_TXT, data, at);
}

static void
texts_are_bounded(void **state)
{
	static const struct {
		size_t length[4];
		enum dns_outcome outcome;
		size_t nrr;
	} texts[] = {
		{ { DNS_TEXT_SIZE_MAX, 1 }, DNS_FOUND, 2 },
		{ { DNS_TEXT_SIZE_MAX + 1, 1 }, DNS_FOUND, 1 },
		{ { 1, 60000, 1 }, DNS_FOUND, 2 },
		/* They exist, but cannot be used. */
		{ { DNS_TEXT_SIZE_MAX + 1 }, DNS_TEMPFAIL, 0 },
		{ { 60000 }, DNS_TEMPFAIL, 0 },
	};
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		begin(&p, ANSWER, 0, "a", DNS_TXT);
		for (; texts[i].length[p.byte[7]] > 0; p.byte[7]++)
			put_text(&p, texts[i].length[p.byte[7]]);
		parse(&a, "a", DNS_TXT, &p);
		check("long", &a, texts[i].outcome, texts[i].nrr);
		dns_answer_finish(&a);
	}

	begin(&p, ANSWER, 20, "a", DNS_TXT);
	for (size_t i = 1; i <= 20; i++)
		put_text(&p, i);
	parse(&a, "a", DNS_TXT, &p);
	check("many", &a, DNS_FOUND, DNS_TEXT_MAX);
	for (size_t i = 0; i < DNS_TEXT_MAX; i++)
		assert_int_equal(a.text[i].len, i + 1);
	dns_answer_finish(&a);
	p.byte[7]++;
	put_data(&p, "a", DNS_TXT, "\2x", 2);
	parse(&a, "a", DNS_TXT, &p);
	check("many, and a bad one", &a, DNS_TEMPFAIL, 0);
}

/* If some of the records were left out, the others might prove less. */
static void
tlsa_sets_are_bounded(void **state)
{
	static const unsigned char data[60003] = { 3, 1, 0 };
	static const struct {
		const char *name;
		size_t length[4];
		size_t nrr; /* 0: the lookup fails */
	} sets[] = {
		{ "as large as a set",
		    { 20003, 20003, TLSA_BYTES_MAX - 40000 + 3, 3 }, 4 },
		{ "a byte more",
		    { 20003, 20003, TLSA_BYTES_MAX - 40000 + 3, 4 }, 0 },
		{ "a large one first", { 60003, 4 }, 0 },
		{ "a large one", { TLSA_BYTES_MAX + 4 }, 0 },
	};
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		begin(&p, ANSWER, 0, "a", DNS_TLSA);
		for (; p.byte[7] < 4 && sets[i].length[p.byte[7]]; p.byte[7]++)
			put_data(&p, "a", DNS_TLSA, data,
			    sets[i].length[p.byte[7]]);
		parse(&a, "a", DNS_TLSA, &p);
		check(sets[i].name, &a,
		    sets[i].nrr > 0 ? DNS_FOUND : DNS_TEMPFAIL, sets[i].nrr);
		dns_answer_finish(&a);
	}

	begin(&p, ANSWER, TLSA_RECORDS_MAX, "a", DNS_TLSA);
	for (unsigned char i = 0; i < TLSA_RECORDS_MAX; i++)
		put_data(&p, "a", DNS_TLSA, (unsigned char[]){ 3, 1, 1, i }, 4);
	parse(&a, "a", DNS_TLSA, &p);
	check("as many as in a set", &a, DNS_FOUND, TLSA_RECORDS_MAX);
	for (size_t i = 0; i < TLSA_RECORDS_MAX; i++)
		assert_int_equal(tlsa_data(&a.tlsa, i)[0], i);
	dns_answer_finish(&a);
	p.byte[7]++;
	put_data(&p, "a", DNS_TLSA, (unsigned char[]){ 3, 1, 1, 0 }, 4);
	parse(&a, "a", DNS_TLSA, &p);
	check("one more", &a, DNS_TEMPFAIL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tlsa_records_of_the_rfc),
		cmocka_unit_test(answers_about_tls),
		cmocka_unit_test(strings_of_a_text_are_joined),
		cmocka_unit_test(texts_are_bounded),
		cmocka_unit_test(tlsa_sets_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
