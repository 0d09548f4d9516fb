/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "packet.h"

static const struct {
	const char *what;
	const char *name;
	int type;
	unsigned flags;
	struct record record[4];
	enum dns_outcome outcome;
	size_t nrr;
	bool is_alias;
} cases[] = {
	{ "an address", "a.example", DNS_A, ANSWER, { A("a.example") },
	    DNS_FOUND, 1, false },
	{ "an IPv6 address", "a.example", DNS_AAAA, ANSWER,
	    { AAAA("a.example") }, DNS_FOUND, 1, false },
	{ "other case", "a.EXAMPLE", DNS_A, ANSWER, { A("A.example") },
	    DNS_FOUND, 1, false },
	{ "a dot at the end", "a.example.", DNS_A, ANSWER, { A("a.example") },
	    DNS_FOUND, 1, false },
	{ "two MX", "a.example", DNS_MX, ANSWER,
	    { MX("a.example", 5, "m1.example"), MX("a.example", 7, "m2") },
	    DNS_FOUND, 2, false },
	{ "no such name", "a.example", DNS_A, NXDOMAIN, { { 0 } }, DNS_NXDOMAIN,
	    0, false },
	{ "no data", "a.example", DNS_A, ANSWER, { { 0 } }, DNS_NODATA, 0,
	    false },
	{ "alias", "a.example", DNS_A, ANSWER,
	    { CNAME("a.example", "b.example"), A("b.example") }, DNS_FOUND, 1,
	    true },
	{ "aliases in any order", "a", DNS_A, ANSWER,
	    { A("c"), CNAME("b", "C"), CNAME("A", "b") }, DNS_FOUND, 1, true },
	{ "alias of itself", "a", DNS_A, ANSWER, { CNAME("a", "a") },
	    DNS_TEMPFAIL, 0, true },
	{ "loop of two", "a", DNS_A, ANSWER,
	    { CNAME("a", "b"), CNAME("b", "a") }, DNS_TEMPFAIL, 0, true },
	{ "loop of three", "a", DNS_A, ANSWER,
	    { CNAME("b", "c"), CNAME("a", "b"), CNAME("c", "a"), A("d") },
	    DNS_TEMPFAIL, 0, true },
	{ "same alias twice", "a", DNS_A, ANSWER,
	    { CNAME("a", "b"), CNAME("a", "b"), A("b") }, DNS_FOUND, 1, true },
	{ "two aliases: the first", "a", DNS_A, ANSWER,
	    { CNAME("a", "b"), CNAME("a", "c"), A("b") }, DNS_FOUND, 1, true },
	{ "also of another owner", "a.example", DNS_A, ANSWER,
	    { A("b.example"), A("a.example"), A("xa.example") }, DNS_FOUND, 1,
	    false },
	{ "A of 3 bytes", "a", DNS_A, ANSWER, { DATA("a", DNS_A, "123") },
	    DNS_TEMPFAIL, 0, false },
	{ "A of 5 bytes among others", "a", DNS_A, ANSWER,
	    { DATA("a", DNS_A, "12345"), A("a") }, DNS_FOUND, 1, false },
	{ "AAAA of 15 bytes", "a", DNS_AAAA, ANSWER,
	    { DATA("a", DNS_AAAA, "123456789012345") }, DNS_TEMPFAIL, 0,
	    false },
	{ "AAAA of 17 bytes among others", "a", DNS_AAAA, ANSWER,
	    { AAAA("a"), DATA("a", DNS_AAAA, "12345678901234567") }, DNS_FOUND,
	    1, false },
	{ "MX of 2 bytes", "a", DNS_MX, ANSWER, { DATA("a", DNS_MX, "12") },
	    DNS_TEMPFAIL, 0, false },
	{ "MX of 2 bytes among others", "a", DNS_MX, ANSWER,
	    { DATA("a", DNS_MX, "12"), MX("a", 1, "b") }, DNS_FOUND, 1, false },
	{ "MX with more than a name", "a", DNS_MX, ANSWER,
	    { DATA("a", DNS_MX, "\0\1\1b\0x"), MX("a", 1, "b") }, DNS_TEMPFAIL,
	    0, false },
	{ "MX with less than a name", "a", DNS_MX, ANSWER,
	    { MX("a", 1, "b"), DATA("a", DNS_MX, "\0\1\1b") }, DNS_TEMPFAIL, 0,
	    false },
	{ "CNAME with more than a name", "a", DNS_A, ANSWER,
	    { DATA("a", DNS_CNAME, "\1b\0\0"), A("b") }, DNS_TEMPFAIL, 0,
	    false },
	{ "null MX", "a", DNS_MX, ANSWER, { MX("a", 0, "") }, DNS_FOUND, 1,
	    false },
	{ "FORMERR", "a", DNS_A, ANSWER | 1, { { 0 } }, DNS_TEMPFAIL, 0,
	    false },
	{ "SERVFAIL", "a", DNS_A, ANSWER | 2, { A("a") }, DNS_TEMPFAIL, 0,
	    false },
	{ "NOTIMP", "a", DNS_A, ANSWER | 4, { { 0 } }, DNS_TEMPFAIL, 0, false },
	{ "REFUSED", "a", DNS_A, ANSWER | 5, { { 0 } }, DNS_TEMPFAIL, 0,
	    false },
	{ "a question", "a", DNS_A, 0x0100, { { 0 } }, DNS_TEMPFAIL, 0, false },
	{ "not a query's answer", "a", DNS_A, ANSWER | 0x2000, { A("a") },
	    DNS_TEMPFAIL, 0, false },
};

static void
answers(void **state)
{
	struct packet p;
	struct dns_answer a;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (k = 0; k < 4 && cases[i].record[k].owner != NULL; k++)
			;
		begin(&p, cases[i].flags, (unsigned)k, cases[i].name,
		    cases[i].type);
		for (k = 0; k < 4 && cases[i].record[k].owner != NULL; k++)
			put_record(&p, &cases[i].record[k]);
		parse(&a, cases[i].name, cases[i].type, &p);
		check(cases[i].what, &a, cases[i].outcome, cases[i].nrr);
		if (a.is_alias != cases[i].is_alias)
			fail_msg("%s: alias", cases[i].what);
		dns_answer_finish(&a);
	}
}

/*
 * The owner of the SOA record is the zone.  "b" is the name asked for, with or
 * without the alias "a" before it.
 */
#define SOA(owner) \
	DATA(owner, 6, \
	    "\0\0" \
	    "0123456789abcdefghij")
#define NS(owner) \
	{ \
		owner, 2, 0, "ns", NULL, 0 \
	}
#define TXT(owner) DATA(owner, DNS_TXT, "\1x")

static const struct {
	const char *what;
	const char *name;
	int type;
	unsigned flags;
	struct record answer[4], authority[2], additional[1];
	enum dns_reply reply;
	enum dns_outcome outcome;
	const char *canonical;
} denials[] = {
	{ "nothing", "b", DNS_A, ANSWER, { { 0 } }, { { 0 } }, { { 0 } },
	    DNS_REPLY_FINAL, DNS_NODATA, "" },
	{ "a SOA record", "b", DNS_A, ANSWER, { { 0 } }, { SOA("") }, { { 0 } },
	    DNS_REPLY_FINAL, DNS_NODATA, "" },
	{ "a SOA record of another zone", "b", DNS_A, ANSWER, { { 0 } },
	    { SOA("c") }, { { 0 } }, DNS_REPLY_FINAL, DNS_NODATA, "" },
	{ "glue", "b", DNS_A, ANSWER, { { 0 } }, { NS("b") }, { A("ns") },
	    DNS_REPLY_FINAL, DNS_NODATA, "" },
	{ "no such name", "b", DNS_A, NXDOMAIN, { { 0 } }, { SOA("") },
	    { { 0 } }, DNS_REPLY_FINAL, DNS_NXDOMAIN, "" },

	{ "another type", "b", DNS_MX, ANSWER, { A("b") }, { { 0 } }, { { 0 } },
	    DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "another type, and SOA", "b", DNS_AAAA, ANSWER, { A("b"), TXT("b") },
	    { SOA("b") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "another owner", "b", DNS_A, ANSWER, { A("c") }, { SOA("") },
	    { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "another owner's alias", "b", DNS_A, ANSWER, { CNAME("c", "d") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "another owner's, and no such name", "b", DNS_A, NXDOMAIN, { A("c") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "the records, and no such name", "b", DNS_A, NXDOMAIN, { A("b") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "SOA in the answer section", "b", DNS_A, ANSWER, { SOA("b") },
	    { { 0 } }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "a DNAME and no alias", "x.b", DNS_A, ANSWER, { DNAME("b", "c") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "a DNAME of another owner", "b", DNS_A, ANSWER, { DNAME("c", "d") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "the records in the authority section", "b", DNS_A, ANSWER, { { 0 } },
	    { A("b") }, { { 0 } }, DNS_REPLY_FAILED, DNS_TEMPFAIL, "" },
	{ "the records in the additional section", "b", DNS_A, ANSWER,
	    { { 0 } }, { SOA("") }, { A("B") }, DNS_REPLY_FAILED, DNS_TEMPFAIL,
	    "" },
	{ "the records elsewhere, and no such name", "b", DNS_A, NXDOMAIN,
	    { { 0 } }, { SOA("") }, { A("b") }, DNS_REPLY_FAILED, DNS_TEMPFAIL,
	    "" },

	{ "alias only", "a", DNS_A, ANSWER, { CNAME("a", "B") }, { { 0 } },
	    { { 0 } }, DNS_REPLY_ALIAS, DNS_TEMPFAIL, "B" },
	{ "aliases only", "a", DNS_A, ANSWER,
	    { CNAME("b", "c"), CNAME("A", "B") }, { { 0 } }, { { 0 } },
	    DNS_REPLY_ALIAS, DNS_TEMPFAIL, "c" },
	{ "alias, SOA of the target's zone", "a", DNS_A, ANSWER,
	    { CNAME("a", "x.b") }, { SOA("B") }, { { 0 } }, DNS_REPLY_FINAL,
	    DNS_NODATA, "x.b" },
	{ "alias, SOA of the target", "a", DNS_A, ANSWER, { CNAME("a", "b") },
	    { SOA("b") }, { { 0 } }, DNS_REPLY_FINAL, DNS_NODATA, "b" },
	{ "alias, SOA of the root", "a", DNS_A, ANSWER, { CNAME("a", "b") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FINAL, DNS_NODATA, "b" },
	{ "alias, SOA of the alias", "a", DNS_A, ANSWER, { CNAME("a", "b") },
	    { SOA("a") }, { { 0 } }, DNS_REPLY_ALIAS, DNS_TEMPFAIL, "b" },
	{ "alias, SOA below the target", "a", DNS_A, ANSWER,
	    { CNAME("a", "b") }, { SOA("x.b") }, { { 0 } }, DNS_REPLY_ALIAS,
	    DNS_TEMPFAIL, "b" },
	{ "alias, SOA of a name that ends like it", "a", DNS_A, ANSWER,
	    { CNAME("a", "xb") }, { SOA("b") }, { { 0 } }, DNS_REPLY_ALIAS,
	    DNS_TEMPFAIL, "xb" },
	{ "alias, SOA in the additional section", "a", DNS_A, ANSWER,
	    { CNAME("a", "b") }, { { 0 } }, { SOA("b") }, DNS_REPLY_ALIAS,
	    DNS_TEMPFAIL, "b" },
	{ "alias, no such name", "a", DNS_A, NXDOMAIN, { CNAME("a", "b") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_FINAL, DNS_NXDOMAIN, "b" },
	{ "alias, no such name, no SOA", "a", DNS_A, NXDOMAIN,
	    { CNAME("a", "b") }, { { 0 } }, { { 0 } }, DNS_REPLY_ALIAS,
	    DNS_TEMPFAIL, "b" },
	{ "alias, referral", "a", DNS_A, 0x8100, { CNAME("a", "b") },
	    { NS("b") }, { A("ns") }, DNS_REPLY_ALIAS, DNS_TEMPFAIL, "b" },
	{ "alias, referral and SOA", "a", DNS_A, 0x8100, { CNAME("a", "b") },
	    { NS("b"), SOA("b") }, { { 0 } }, DNS_REPLY_ALIAS, DNS_TEMPFAIL,
	    "b" },
	{ "alias, another type of the target", "a", DNS_AAAA, ANSWER,
	    { CNAME("a", "b"), A("b") }, { SOA("") }, { { 0 } },
	    DNS_REPLY_ALIAS, DNS_TEMPFAIL, "b" },
	{ "alias, another owner", "a", DNS_A, ANSWER,
	    { CNAME("a", "b"), A("c") }, { SOA("") }, { { 0 } },
	    DNS_REPLY_ALIAS, DNS_TEMPFAIL, "b" },
	{ "two aliases of the same name", "a", DNS_A, ANSWER,
	    { CNAME("a", "b"), CNAME("a", "c") }, { SOA("") }, { { 0 } },
	    DNS_REPLY_ALIAS, DNS_TEMPFAIL, "b" },
	{ "alias, the records elsewhere", "a", DNS_A, ANSWER,
	    { CNAME("a", "b") }, { SOA("") }, { A("b") }, DNS_REPLY_ALIAS,
	    DNS_TEMPFAIL, "b" },
	{ "DNAME and its alias, SOA", "x.a", DNS_A, ANSWER,
	    { DNAME("a", "b"), CNAME("x.a", "x.b") }, { SOA("b") }, { { 0 } },
	    DNS_REPLY_FINAL, DNS_NODATA, "x.b" },
	{ "DNAME and its alias", "x.a", DNS_A, ANSWER,
	    { DNAME("a", "b"), CNAME("x.a", "x.b") }, { { 0 } }, { { 0 } },
	    DNS_REPLY_ALIAS, DNS_TEMPFAIL, "x.b" },
	{ "DNAME that leads on", "x.a", DNS_A, ANSWER,
	    { DNAME("a", "b"), CNAME("x.a", "x.b"), DNAME("b", "c") },
	    { SOA("") }, { { 0 } }, DNS_REPLY_ALIAS, DNS_TEMPFAIL, "x.b" },
	{ "DNAME and its alias, records", "x.a", DNS_A, ANSWER,
	    { DNAME("a", "b"), CNAME("x.a", "x.b"), A("x.b") }, { { 0 } },
	    { { 0 } }, DNS_REPLY_FINAL, DNS_FOUND, "x.b" },
};

static void
denials_of_all_kinds(void **state)
{
	struct packet p;
	struct dns_answer a;
	enum dns_reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof denials / sizeof denials[0]; i++) {
		begin(&p, denials[i].flags, 0, denials[i].name,
		    denials[i].type);
		p.byte[7] =
		    (unsigned char)put_records(&p, denials[i].answer, 4);
		p.byte[9] =
		    (unsigned char)put_records(&p, denials[i].authority, 2);
		p.byte[11] =
		    (unsigned char)put_records(&p, denials[i].additional, 1);
		reply = parse(&a, denials[i].name, denials[i].type, &p);
		check(denials[i].what, &a, denials[i].outcome,
		    denials[i].outcome == DNS_FOUND);
		if (reply != denials[i].reply)
			fail_msg("%s: %d", denials[i].what, (int)reply);
		if (strcmp(a.canonical, denials[i].canonical) != 0)
			fail_msg("%s: %s", denials[i].what, a.canonical);
		if (a.is_alias != (a.canonical[0] != '\0'))
			fail_msg("%s: alias", denials[i].what);
		dns_answer_finish(&a);
	}
}

static void
put_with_ttl(struct packet *p, const struct record *r, uint32_t ttl)
{
	size_t n = p->n + strlen(r->owner) + (r->owner[0] ? 2 : 1) + 4;

	put_record(p, r);
	for (int i = 0; i < 4; i++)
		p->byte[n + (size_t)i] = (unsigned char)(ttl >> (24 - 8 * i));
}

static void
the_least_ttl_counts(void **state)
{
	static const struct record alias = CNAME("a", "b"), v4 = A("b"),
				   other = A("c"),
				   soa = DATA("", 6,
				       "\0\0"
				       "0123456789abcdef\0\0\1\2");
	static const struct {
		uint32_t alias, v4, ttl;
	} ttls[] = { { 7, 9, 7 }, { 9, 7, 7 }, { 9, INT32_MAX, 9 },
		{ 9, UINT32_MAX, 0 }, { 0, 5, 0 } };
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof ttls / sizeof ttls[0]; i++) {
		begin(&p, ANSWER, 3, "a", DNS_A);
		put_with_ttl(&p, &alias, ttls[i].alias);
		put_with_ttl(&p, &v4, ttls[i].v4);
		put_with_ttl(&p, &other, 1);
		parse(&a, "a", DNS_A, &p);
		check("TTL", &a, DNS_FOUND, 1);
		assert_int_equal(a.ttl_s, ttls[i].ttl);
		dns_answer_finish(&a);
	}
	/*
	 * For a denial it is the TTL of the SOA record, or its minimum field.
	 */
	for (int i = 0; i < 3; i++) {
		static const uint32_t soa_ttl[] = { 200, 300 };

		begin(&p, ANSWER, 0, "a", DNS_A);
		p.byte[9] = i < 2;
		if (i < 2)
			put_with_ttl(&p, &soa, soa_ttl[i]);
		parse(&a, "a", DNS_A, &p);
		check("SOA", &a, DNS_NODATA, 0);
		assert_int_equal(a.ttl_s, i == 0 ? 200 : i == 1 ? 258 : 0);
	}
}

/*
 * The rest of a truncated message may be incomplete, but it answers our
 * question.
 */
static void
truncated_answers(void **state)
{
	static const struct record v4 = A("a");
	struct packet p;
	struct dns_answer a;

	(void)state;
	begin(&p, ANSWER | 0x200, 1, "a", DNS_A);
	put_record(&p, &v4);
	assert_int_equal(parse(&a, "a", DNS_A, &p), DNS_REPLY_TRUNCATED);
	check("whole", &a, DNS_TEMPFAIL, 0);
	p.n -= 3;
	assert_int_equal(parse(&a, "a", DNS_A, &p), DNS_REPLY_TRUNCATED);
	check("cut", &a, DNS_TEMPFAIL, 0);
	assert_int_equal(parse(&a, "b", DNS_A, &p), DNS_REPLY_FAILED);
	p.byte[2] &= 0x7f;
	assert_int_equal(parse(&a, "a", DNS_A, &p), DNS_REPLY_FAILED);
}

/* Records as raw bytes, after the question for the MX of a.example. */
#define RAW(what, count, data, outcome, nrr) \
	{ \
		what, count, data, sizeof data - 1, outcome, nrr \
	}
#define FIXED(rdlength) "\0\x0f\0\1\0\0\0\1" rdlength

/* The answer section begins at 12 + 11 + 4 = 27, its first data at 39. */
static const struct {
	const char *what;
	unsigned count;
	const char *data;
	size_t len;
	enum dns_outcome outcome;
	size_t nrr;
} raw_cases[] = {
	RAW("compressed", 1, Q_NAME FIXED("\0\6") "\0\1\1m" Q_NAME, DNS_FOUND,
	    1),
	RAW("compressed twice", 2,
	    Q_NAME FIXED("\0\6") "\0\1\1m" Q_NAME Q_NAME
		FIXED("\0\6") "\0\1\1x\xc0\x29",
	    DNS_FOUND, 2),
	RAW("self pointer as owner", 1,
	    "\xc0\x1b" FIXED("\0\6") "\0\1\1m" Q_NAME, DNS_TEMPFAIL, 0),
	RAW("self pointer as exchange", 1, Q_NAME FIXED("\0\4") "\0\1\xc0\x29",
	    DNS_TEMPFAIL, 0),
	RAW("pointer to the start of its own name", 1,
	    Q_NAME FIXED("\0\6") "\0\1\1m\xc0\x29", DNS_TEMPFAIL, 0),
	RAW("forward pointer", 1, "\xc0\x2a" FIXED("\0\6") "\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
	RAW("pointer out of the message", 1,
	    "\xff\xff" FIXED("\0\6") "\0\1\1m" Q_NAME, DNS_TEMPFAIL, 0),
	RAW("pointer into the header", 1,
	    "\xc0\x0b" FIXED("\0\6") "\0\1\1m" Q_NAME, DNS_TEMPFAIL, 0),
	RAW("half a pointer", 1, Q_NAME FIXED("\0\3") "\0\1\xc0", DNS_TEMPFAIL,
	    0),
	RAW("label type 01", 1, "\x41" FIXED("\0\6") "\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
	RAW("label type 10", 1, "\x80" FIXED("\0\6") "\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
	RAW("more records promised", 2, Q_NAME FIXED("\0\6") "\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
	RAW("fewer records promised", 0, Q_NAME FIXED("\0\6") "\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
	RAW("trailing garbage", 1, Q_NAME FIXED("\0\6") "\0\1\1m" Q_NAME "x",
	    DNS_TEMPFAIL, 0),
	RAW("data longer than the message", 1,
	    Q_NAME FIXED("\0\7") "\0\1\1m" Q_NAME, DNS_TEMPFAIL, 0),
	RAW("data of 65535 bytes", 1, Q_NAME FIXED("\xff\xff") "\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
	RAW("another class", 1, Q_NAME "\0\x0f\0\3\0\0\0\1\0\6\0\1\1m" Q_NAME,
	    DNS_TEMPFAIL, 0),
};

static void
raw_answers(void **state)
{
	struct packet p;
	struct dns_answer a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof raw_cases / sizeof raw_cases[0]; i++) {
		begin(&p, ANSWER, raw_cases[i].count, "a.example", DNS_MX);
		put(&p, raw_cases[i].data, raw_cases[i].len);
		parse(&a, "a.example", DNS_MX, &p);
		check(raw_cases[i].what, &a, raw_cases[i].outcome,
		    raw_cases[i].nrr);
		dns_answer_finish(&a);
	}
}

static void
records_are_read(void **state)
{
	static const struct record mx = MX("a", 258, "Mail.Example"),
				   v4 = A("a"), v6 = AAAA("a");
	char text[IP_TEXT_SIZE];
	struct packet p;
	struct dns_answer a;

	(void)state;
	begin(&p, ANSWER | 0x20, 1, "a", DNS_MX);
	put_record(&p, &mx);
	parse(&a, "a", DNS_MX, &p);
	check("MX", &a, DNS_FOUND, 1);
	assert_int_equal(a.mx[0].preference, 258);
	assert_string_equal(a.mx[0].name, "Mail.Example");
	assert_int_equal(a.security, DNS_SECURE);
	dns_answer_finish(&a);

	begin(&p, ANSWER, 1, "a", DNS_A);
	put_record(&p, &v4);
	parse(&a, "a", DNS_A, &p);
	check("A", &a, DNS_FOUND, 1);
	assert_string_equal(ip_format(&a.ip[0], text), "192.0.2.1");
	assert_int_equal(a.security, DNS_INSECURE);
	dns_answer_finish(&a);

	begin(&p, ANSWER, 1, "a", DNS_AAAA);
	put_record(&p, &v6);
	parse(&a, "a", DNS_AAAA, &p);
	check("AAAA", &a, DNS_FOUND, 1);
	assert_string_equal(ip_format(&a.ip[0], text), "2001:db8::9");
	dns_answer_finish(&a);
}

static void
the_question_must_be_ours(void **state)
{
	static const struct record v4 = A("a.example");
	static const struct {
		const char *name;
		int type;
	} asked[] = { { "b.example", DNS_A }, { "a.example", DNS_AAAA },
		{ "a", DNS_A }, { "", DNS_A }, { "a.example.x", DNS_A },
		{ "a..example", DNS_A } };
	struct packet p;
	struct dns_answer a;
	size_t i;

	(void)state;
	begin(&p, ANSWER, 1, "a.example", DNS_A);
	put_record(&p, &v4);
	for (i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		parse(&a, asked[i].name, asked[i].type, &p);
		check(asked[i].name, &a, DNS_TEMPFAIL, 0);
	}
	parse(&a, "a.example", DNS_A, &p);
	check("the same", &a, DNS_FOUND, 1);
	dns_answer_finish(&a);
	p.byte[5] = 0; /* no question */
	parse(&a, "a.example", DNS_A, &p);
	check("no question", &a, DNS_TEMPFAIL, 0);
	p.byte[5] = 2;
	parse(&a, "a.example", DNS_A, &p);
	check("two questions", &a, DNS_TEMPFAIL, 0);
	p.byte[5] = 1;
	p.byte[12 + 11 + 3] = 3; /* class CH */
	parse(&a, "a.example", DNS_A, &p);
	check("another class", &a, DNS_TEMPFAIL, 0);
}

static void
extended_rcode_counts(void **state)
{
	static const struct {
		const char *opt;
		enum dns_outcome outcome;
	} opts[] = {
		{ "\0\0\x29\x04\xd0\0\0\0\0\0\0", DNS_NODATA },
		{ "\0\0\x29\x04\xd0\1\0\0\0\0\0", DNS_TEMPFAIL },
		{ "\0\0\x29\x04\xd0\2\0\0\0\0\0", DNS_TEMPFAIL },
	};
	struct packet p;
	struct dns_answer a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof opts / sizeof opts[0]; i++) {
		begin(&p, ANSWER, 0, "a", DNS_A);
		p.byte[11] = 1;
		put(&p, opts[i].opt, 11);
		parse(&a, "a", DNS_A, &p);
		check("OPT", &a, opts[i].outcome, 0);
	}
}

static void
referral_denies_nothing(void **state)
{
	static const struct {
		unsigned flags;
		int type; /* in the authority section */
		bool has_answer;
		enum dns_outcome outcome;
	} answers[] = {
		{ 0x8100, 2, false, DNS_TEMPFAIL },
		{ 0x8100, 6, false, DNS_NODATA },
		{ 0x8500, 2, false, DNS_NODATA }, /* AA */
		{ 0x8180, 2, false, DNS_NODATA }, /* RA */
		{ 0x8100, 2, true, DNS_FOUND },
		{ 0x8103, 2, false, DNS_NXDOMAIN },
	};
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		struct record answer = A("a");
		struct record authority = DATA("", answers[i].type, "\1b\0");

		begin(&p, answers[i].flags, answers[i].has_answer, "a", DNS_A);
		p.byte[9] = 1;
		if (answers[i].has_answer)
			put_record(&p, &answer);
		put_record(&p, &authority);
		parse(&a, "a", DNS_A, &p);
		check("authority", &a, answers[i].outcome,
		    answers[i].has_answer);
		dns_answer_finish(&a);
	}
}

static void
chains_are_followed_16_times(void **state)
{
	struct packet p;
	struct dns_answer a;
	unsigned length, i;

	(void)state;
	for (length = 15; length <= 20; length++) {
		char owner[8], target[8];
		struct record cname = CNAME(owner, target), v4 = A(owner);

		begin(&p, ANSWER, length + 1, "n0", DNS_A);
		for (i = 0; i < length; i++) {
			(void)snprintf(owner, sizeof owner, "n%u", i);
			(void)snprintf(target, sizeof target, "n%u", i + 1);
			put_record(&p, &cname);
		}
		(void)snprintf(owner, sizeof owner, "n%u", i);
		put_record(&p, &v4);
		parse(&a, "n0", DNS_A, &p);
		check("chain", &a, length <= 16 ? DNS_FOUND : DNS_TEMPFAIL,
		    length <= 16);
		dns_answer_finish(&a);
	}
}

static void
questions_are_written(void **state)
{
	static const unsigned char want[] = "\x12\x34\x01\x20\0\1\0\0\0\0\0\1"
					    "\1a\7example\0\0\x0f\0\1"
					    "\0\0\x29\x04\xd0\0\0\0\0\0";
	unsigned char packet[DNS_QUESTION_SIZE];

	(void)state;
	assert_int_equal(dns_question_write(packet, "a.example", DNS_MX, 0x1234,
			     DNS_EDNS | DNS_AD),
	    sizeof want);
	assert_memory_equal(packet, want, sizeof want);
	assert_int_equal(dns_question_write(packet, "a.example.", DNS_MX,
			     0x1234, DNS_EDNS | DNS_AD),
	    sizeof want);
	assert_memory_equal(packet, want, sizeof want);
	assert_int_equal(dns_question_write(packet, "a.example", DNS_MX, 0, 0),
	    sizeof want - 11);
	assert_int_equal(packet[3], 0);
	assert_int_equal(packet[11], 0);
	assert_int_equal(dns_question_write(packet, "", DNS_A, 0, DNS_EDNS),
	    12 + 1 + 4 + 11);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(denials_of_all_kinds),
		cmocka_unit_test(the_least_ttl_counts),
		cmocka_unit_test(truncated_answers),
		cmocka_unit_test(raw_answers),
		cmocka_unit_test(records_are_read),
		cmocka_unit_test(the_question_must_be_ours),
		cmocka_unit_test(extended_rcode_counts),
		cmocka_unit_test(referral_denies_nothing),
		cmocka_unit_test(chains_are_followed_16_times),
		cmocka_unit_test(questions_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
