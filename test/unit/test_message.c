/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns/message.h"

#define ANSWER 0x8180 /* QR, RD, RA */
#define NXDOMAIN (ANSWER | 3)

/* Offsets for compression pointers in the raw cases. */
#define Q_NAME "\xc0\x0c" /* of the question */

#define TEN "xxxxxxxxxx"

struct packet {
	unsigned char byte[70000];
	size_t n;
};

static void
put(struct packet *p, const void *data, size_t n)
{
	if (p->n + n > sizeof p->byte)
		fail_msg("packet too large");
	memcpy(p->byte + p->n, data, n);
	p->n += n;
}

static void
put_u16(struct packet *p, unsigned value)
{
	unsigned char b[2] = { (unsigned char)(value >> 8),
		(unsigned char)value };

	put(p, b, sizeof b);
}

/* Labels end at dots; no compression. */
static void
put_name(struct packet *p, const char *text)
{
	unsigned char len;

	while (*text != '\0') {
		len = (unsigned char)strcspn(text, ".");
		put(p, &len, 1);
		put(p, text, len);
		text += len;
		text += *text == '.';
	}
	put(p, "", 1);
}

static void
begin(struct packet *p, unsigned flags, unsigned nanswer, const char *name,
    int type)
{
	p->n = 0;
	put_u16(p, 0x1234);
	put_u16(p, flags);
	put_u16(p, 1);
	put_u16(p, nanswer);
	put_u16(p, 0);
	put_u16(p, 0);
	put_name(p, name);
	put_u16(p, (unsigned)type);
	put_u16(p, 1);
}

/*
 * A record with a name as its data (after a preference for MX), or with bytes.
 */
struct record {
	const char *owner;
	int type;
	unsigned preference;
	const char *name;
	const char *data;
	size_t len;
};

#define MX(owner, preference, name) \
	{ \
		owner, DNS_MX, preference, name, NULL, 0 \
	}
#define CNAME(owner, name) \
	{ \
		owner, DNS_CNAME, 0, name, NULL, 0 \
	}
#define DATA(owner, type, data) \
	{ \
		owner, type, 0, NULL, data, sizeof data - 1 \
	}
#define A(owner) DATA(owner, DNS_A, "\xc0\x00\x02\x01")
#define AAAA(owner) \
	DATA(owner, DNS_AAAA, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09")

static void
put_record(struct packet *p, const struct record *r)
{
	size_t at;

	put_name(p, r->owner);
	put_u16(p, (unsigned)r->type);
	put_u16(p, 1);
	put_u16(p, 0);
	put_u16(p, 60);
	at = p->n;
	put_u16(p, (unsigned)r->len);
	if (r->name == NULL) {
		put(p, r->data, r->len);
		return;
	}
	if (r->type == DNS_MX)
		put_u16(p, r->preference);
	put_name(p, r->name);
	p->byte[at] = (unsigned char)((p->n - at - 2) >> 8);
	p->byte[at + 1] = (unsigned char)(p->n - at - 2);
}

static const char *const outcome_name[] = { "FOUND", "NODATA", "NXDOMAIN",
	"TEMPFAIL" };

static enum dns_reply
parse(struct dns_answer *a, const char *name, int type, const struct packet *p)
{
	enum dns_reply reply;

	/* On the heap, so that the sanitizer finds a read beyond it. */
	unsigned char *copy = malloc(p->n + 1);

	assert_non_null(copy);
	memcpy(copy + 1, p->byte, p->n);
	reply = dns_answer_parse(a, name, type, copy + 1, p->n);
	free(copy);
	assert_true((reply == DNS_REPLY_FINAL) == (a->outcome != DNS_TEMPFAIL));
	return reply;
}

static void
check(const char *what, const struct dns_answer *a, enum dns_outcome want,
    size_t nrr)
{
	size_t n = a->nmx + a->nip + a->tlsa.n + a->ntext;

	if (a->outcome != want || n != nrr)
		fail_msg("%s: %s with %zu records, not %s with %zu", what,
		    outcome_name[a->outcome], n, outcome_name[want], nrr);
	if ((want == DNS_FOUND) != (nrr > 0))
		fail_msg("%s: the case itself is wrong", what);
}

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
#define DNAME(owner, name) \
	{ \
		owner, 39, 0, name, NULL, 0 \
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

static unsigned
put_records(struct packet *p, const struct record *r, unsigned most)
{
	unsigned n = 0;

	while (n < most && r[n].owner != NULL)
		put_record(p, &r[n++]);
	return n;
}

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
put_data(struct packet *p, const char *owner, int type, const void *data,
    size_t n)
{
	struct record r = { owner, type, 0, NULL, data, n };

	put_record(p, &r);
}

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
			    outcome_name[a.outcome], a.tlsa.n + a.ntext,
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

static void
of_many_the_best_are_kept(void **state)
{
	struct packet p;
	struct dns_answer a;
	unsigned i;

	(void)state;
	/* 2000 MX, preferences falling from 1999 to 0, and rising again. */
	for (int is_rising = 0; is_rising < 2; is_rising++) {
		begin(&p, ANSWER, 2000, "a", DNS_MX);
		for (i = 0; i < 2000; i++) {
			put(&p, Q_NAME "\0\x0f\0\1\0\0\0\1\0\4", 12);
			put_u16(&p, is_rising ? i : 1999 - i);
			put(&p, Q_NAME, 2);
		}
		parse(&a, "a", DNS_MX, &p);
		check("MX", &a, DNS_FOUND, DNS_MX_MAX);
		for (i = 0; i < DNS_MX_MAX; i++)
			assert_true(a.mx[i].preference < DNS_MX_MAX);
		dns_answer_finish(&a);
	}

	begin(&p, ANSWER, 2000, "a", DNS_A);
	for (i = 0; i < 2000; i++) {
		put(&p, Q_NAME "\0\1\0\1\0\0\0\1\0\4", 12);
		put_u16(&p, 0x0a00);
		put_u16(&p, i);
	}
	parse(&a, "a", DNS_A, &p);
	check("A", &a, DNS_FOUND, DNS_IP_MAX);
	dns_answer_finish(&a);
}

/* 64 KB of pointers, each to the one before, and a chain of aliases. */
static void
hostile_answers_take_little_time(void **state)
{
	struct packet p;
	struct dns_answer a;
	unsigned i, n = 0;

	(void)state;
	begin(&p, ANSWER, 0, "a", DNS_A);
	while (p.n < 65000) {
		unsigned at = (unsigned)p.n;

		put_u16(&p, n < 120 && n > 0 ? 0xc000 | (at - 14) : 0xc00c);
		put(&p, "\0\5\0\1\0\0\0\1\0\2", 10);
		put(&p, Q_NAME, 2);
		n++;
	}
	p.byte[6] = (unsigned char)(n >> 8);
	p.byte[7] = (unsigned char)n;
	parse(&a, "a", DNS_A, &p);
	check("pointers", &a, DNS_TEMPFAIL, 0);

	/* More pointers than a name can have labels. */
	begin(&p, ANSWER, 1, "a", DNS_A);
	put(&p, "\0\0\1\0\1\0\0\0\1\x0b\xb8", 11);
	for (i = 0; i < 1500; i++)
		put_u16(&p, 0xc000 | (unsigned)(i == 0 ? 12 : p.n - 2));
	p.byte[7] = 2;
	put_u16(&p, 0xc000 | (unsigned)(p.n - 2));
	put(&p, "\0\1\0\1\0\0\0\1\0\4\x0a\0\0\1", 14);
	parse(&a, "a", DNS_A, &p);
	check("too many pointers", &a, DNS_TEMPFAIL, 0);
}

/* An alias and two records of the type. */
static void
sample(struct packet *p, int type)
{
	static const struct record alias = CNAME("a.example", "b.example"),
				   other = DATA("b.example", 99, "\3spf");
	static const struct record records[][2] = {
		{ MX("b.example", 10, "m1.example"),
		    MX("b.example", 20, "m2.example") },
		{ DATA("b.example", DNS_TLSA, "\3\1\1" TEN),
		    DATA("b.example", DNS_TLSA, "\2\0\0" TEN TEN) },
		{ DATA("b.example", DNS_TXT, "\3abc\2de"),
		    DATA("b.example", DNS_TXT, "\3txt") },
	};

	begin(p, ANSWER, 5, "a.example", type);
	put_record(p, &alias);
	for (size_t i = 0; i < 3; i++)
		if (records[i][0].type == type)
			put_records(p, records[i], 2);
	put_record(p, &other);
	put(p, "\xc0\x0e\0\x0f\0\1\0\0\0\1\0\6\0\1\1m" Q_NAME, 18);
	put(p, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
	p->byte[11] = 1;
}

static const int sampled[] = { DNS_MX, DNS_TLSA, DNS_TXT };

static void
every_truncation_is_temporary(void **state)
{
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		sample(&p, sampled[i]);
		parse(&a, "a.example", sampled[i], &p);
		check("whole", &a, DNS_FOUND, 2);
		dns_answer_finish(&a);
		while (p.n-- > 0) {
			parse(&a, "a.example", sampled[i], &p);
			check("truncated", &a, DNS_TEMPFAIL, 0);
		}
	}
}

static uint32_t
next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void
mutate(struct packet *p, const struct packet *whole, uint32_t *seed)
{
	unsigned k;

	memcpy(p->byte, whole->byte, whole->n);
	p->n = whole->n;
	for (k = next_random(seed) % 4 + 1; k > 0; k--)
		p->byte[next_random(seed) % p->n] =
		    (unsigned char)next_random(seed);
	if (next_random(seed) % 4 == 0)
		p->n = next_random(seed) % p->n;
}

/* Any result must be valid; the sanitizers find the rest. */
static void
mutations_do_no_harm(void **state)
{
	struct packet whole, p;
	struct dns_answer a;
	uint32_t seed = 1;
	unsigned i, k;

	(void)state;
	for (i = 0; i < 150000; i++) {
		if (i % 50000 == 0)
			sample(&whole, sampled[i / 50000]);
		mutate(&p, &whole, &seed);
		parse(&a, "a.example", sampled[i / 50000], &p);
		assert_true((a.outcome == DNS_FOUND) ==
			    (a.nmx + a.tlsa.n + a.ntext > 0));
		for (k = 0; k < a.nmx; k++)
			assert_true(strlen(a.mx[k].name) < DNS_NAME_SIZE);
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
		cmocka_unit_test(answers),
		cmocka_unit_test(denials_of_all_kinds),
		cmocka_unit_test(tlsa_records_of_the_rfc),
		cmocka_unit_test(answers_about_tls),
		cmocka_unit_test(strings_of_a_text_are_joined),
		cmocka_unit_test(texts_are_bounded),
		cmocka_unit_test(tlsa_sets_are_bounded),
		cmocka_unit_test(the_least_ttl_counts),
		cmocka_unit_test(truncated_answers),
		cmocka_unit_test(raw_answers),
		cmocka_unit_test(records_are_read),
		cmocka_unit_test(the_question_must_be_ours),
		cmocka_unit_test(extended_rcode_counts),
		cmocka_unit_test(referral_denies_nothing),
		cmocka_unit_test(chains_are_followed_16_times),
		cmocka_unit_test(names_become_text),
		cmocka_unit_test(of_many_the_best_are_kept),
		cmocka_unit_test(hostile_answers_take_little_time),
		cmocka_unit_test(every_truncation_is_temporary),
		cmocka_unit_test(mutations_do_no_harm),
		cmocka_unit_test(questions_are_written),
		cmocka_unit_test(names_are_valid_or_not),
		cmocka_unit_test(names_that_can_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
