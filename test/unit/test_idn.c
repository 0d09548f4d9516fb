/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/idn.h"
#include "base/utf8.h"

#define SIX(s) s s s s s s

struct idn_case {
	const char *domain;
	const char *ascii; /* NULL: refused */
};

static void
check(const struct idn_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *domain = cases[i].domain;
		const char *want = cases[i].ascii ? cases[i].ascii : "";
		struct buf b = { 0 };
		const char *fault;

		buf_puts(&b, "@");
		fault = idn_to_ascii(&b, domain, strlen(domain));
		if ((fault == NULL) != (cases[i].ascii != NULL) ||
		    strcmp(b.data + 1, want) != 0)
			fail_msg("case %zu, %s: %s, %s", i, domain, b.data,
			    fault ? fault : "no fault");
		buf_finish(&b);
	}
}

/* Whatever the labels are: what is wrong with them is not for this module. */
static void
copies_ascii(void **state)
{
	static const struct idn_case cases[] = {
		{ "", "" },
		{ ".", "." },
		{ "example", "example" },
		{ "Dst.Example.", "Dst.Example." },
		{ ".example", ".example" },
		{ "a..b", "a..b" },
		{ "-a-._b.c d", "-a-._b.c d" },
		{ "xn--bcher-kva", "xn--bcher-kva" },
		{ "XN--BCHER-KVA", "XN--BCHER-KVA" },
		/* No A-label, or not in the form that it should have. */
		{ "xn--a", "xn--a" },
		{ "xn--", "xn--" },
		{ "ab--cd", "ab--cd" },
		{ "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]" },
		{ SIX("0123456789") "0123", SIX("0123456789") "0123" },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

static void
converts_u_labels(void **state)
{
	static const struct idn_case cases[] = {
		{ u8"b\u00fccher.example", "xn--bcher-kva.example" },
		{ u8"WWW.b\u00fccher.DE.", "WWW.xn--bcher-kva.DE." },
		{ u8".b\u00fccher", ".xn--bcher-kva" },
		{ u8"\u00e9..\u00e9", "xn--9ca..xn--9ca" },
		/* Never ss, and never a final sigma by itself. */
		{ u8"stra\u00dfe", "xn--strae-oqa" },
		{ u8"fa\u00df.example", "xn--fa-hia.example" },
		{ u8"\u03b2\u03cc\u03bb\u03bf\u03c2", "xn--nxasmm1c" },
		{ u8"\u03b2\u03cc\u03bb\u03bf\u03c3", "xn--nxasmq6b" },
		/* Scripts. */
		{ u8"\u4f8b\u5b50.\u6d4b\u8bd5", "xn--fsqu00a.xn--0zwm56d" },
		{ u8"\u0e44\u0e17\u0e22", "xn--o3cw4h" },
		{ u8"\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
		    "xn--e1afmkfd.xn--p1ai" },
		{ u8"\u092d\u093e\u0930\u0924", "xn--h2brj9c" },
		{ u8"\ud55c\uae00", "xn--bj0bj06e" },
		/* Conjoining jamo are composed to the same by NFC. */
		{ u8"\u1112\u1161\u11ab\u1100\u1173\u11af", "xn--bj0bj06e" },
		/* Of its letters only the capitals are allowed. */
		{ u8"\u13e3\u13b3\u13a9", "xn--f9dt7l" },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

static void
converts_to_nfc_and_small_letters(void **state)
{
	static const struct idn_case cases[] = {
		{ u8"bu\u0308cher", "xn--bcher-kva" },
		{ u8"B\u00dcCHER", "xn--bcher-kva" },
		{ u8"BU\u0308cher", "xn--bcher-kva" },
		{ u8"\u00c9", "xn--9ca" },
		/* The Angstrom sign and the letter that it is in NFC. */
		{ u8"\u212b", "xn--5ca" },
		{ u8"\u00c5", "xn--5ca" },
		{ u8"A\u030a", "xn--5ca" },
		{ u8"\u2126", "xn--bya" },
		/* Two marks in the wrong order. */
		{ u8"q\u0307\u0323", "xn--q-9bb7f" },
		{ u8"q\u0323\u0307", "xn--q-9bb7f" },
		/* A letter by itself, wherever it is in a word. */
		{ u8"\u0392\u038c\u039b\u039f\u03a3", "xn--nxasmq6b" },
		/* A capital sharp s is a sharp s. */
		{ u8"STRA\u1e9eE", "xn--strae-oqa" },
		{ u8"\u10a0", "xn--rkj" },
		/* Composed only as small letters. */
		{ u8"J\u030c", "xn--ska" },
		{ u8"\u041f\u0420\u0418\u041c\u0415\u0420", "xn--e1afmkfd" },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

/* Nothing that IDNA2003 or UTS 46 would have turned into another name. */
static void
refuses_what_others_map(void **state)
{
	static const struct idn_case cases[] = {
		/* Dots that are not ASCII: ideographic, wide, half width. */
		{ u8"a\u3002example", NULL },
		{ u8"a\uff0eexample", NULL },
		{ u8"a\uff61example", NULL },
		{ u8"\u3002", NULL },
		/* Wide letters and digits. */
		{ u8"\uff45xample", NULL },
		{ u8"\uff25", NULL },
		{ u8"\uff11", NULL },
		/* Soft hyphen, word joiner, zero width space, BOM. */
		{ u8"a\u00adb", NULL },
		{ u8"a\u2060b", NULL },
		{ u8"a\u200bb", NULL },
		{ u8"\ufeff"
		  "ab",
		    NULL },
		/* The Kelvin sign, also beside other letters; dotted I. */
		{ u8"\u212a", NULL },
		{ u8"o\u212a", NULL },
		{ u8"\u212a\u00fc", NULL },
		{ u8"\u0130stanbul", NULL },
		/* ASCII in NFC. */
		{ u8"a\u037eb", NULL },
		{ u8"a\u1fef", NULL },
		/* Compatibility characters. */
		{ u8"\ufb01", NULL },
		{ u8"\u00aa", NULL },
		{ u8"a\u00b2", NULL },
		{ u8"\u2460", NULL },
		{ u8"\u2167", NULL },
		{ u8"\u01c4", NULL },
		{ u8"\u01c5", NULL },
		{ u8"\u2100", NULL },
		{ u8"\u33c2", NULL },
		{ u8"\u01f2", NULL },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

static void
refuses_what_idna2008_does_not_allow(void **state)
{
	static const struct idn_case cases[] = {
		{ u8"\u263a", NULL },
		{ u8"\U0001f600", NULL },
		{ u8"a\u2014b", NULL },
		{ u8"\u00a9", NULL },
		{ u8"a\u00a0b", NULL },
		{ u8"\u2028", NULL },
		{ u8"a\u202e", NULL },
		{ "\xc2\x85", NULL },
		{ u8"\ue000", NULL },
		{ u8"\uffff", NULL },
		{ u8"\U000e0061", NULL },
		/* ASCII beside other letters. */
		{ u8"\u00fc_", NULL },
		{ u8"\u00fc b", NULL },
		{ u8"\u00fc@", NULL },
		{ u8"[\u00fc]", NULL },
		{ "\xc3\xbc\x01", NULL },
		/* Hyphens. */
		{ u8"-\u00fc", NULL },
		{ u8"\u00fc-", NULL },
		{ u8"ab--\u00fc", NULL },
		{ u8"xn--\u00fc", NULL },
		{ u8"a-\u00fc", "xn--a--yka" },
		{ u8"a\u00fc--b", NULL },
		{ u8"ae\u00fc--b", "xn--ae--b-lva" },
		/* A combining mark at the start. */
		{ u8"\u0301a", NULL },
		/* Cherokee small letters. */
		{ u8"\uab70", NULL },
		/* No character of Unicode. */
		{ u8"\u0378", NULL },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

/* RFC 5892 appendix A. */
static void
keeps_the_rules_of_context(void **state)
{
	static const struct idn_case cases[] = {
		/* Joiners: behind a virama, or where letters join. */
		{ u8"\u0915\u094d\u200d\u0937", "xn--11b2ezcw70k" },
		{ u8"\u0915\u094d\u200c\u0937", "xn--11b2ezcs70k" },
		{ u8"\u0915\u200d\u0937", NULL },
		{ u8"a\u200db", NULL },
		{ u8"a\u200cb", NULL },
		{ u8"\u0646\u0627\u0645\u0647\u200c\u0627\u06cc",
		    "xn--mgba3gch31f060k" },
		{ u8"\u200d", NULL },
		/* Middle dot, keraia, geresh, Katakana middle dot. */
		{ u8"l\u00b7l", "xn--ll-0ea" },
		{ u8"a\u00b7l", NULL },
		{ u8"\u0375\u03b1", "xn--wva4j" },
		{ u8"\u03b1\u0375", NULL },
		{ u8"\u05d0\u05f3", "xn--4db4e" },
		{ u8"\u30a2\u30fb", "xn--cckzj" },
		{ u8"a\u30fb", NULL },
		/* Digits of Arabic, not with those of another form. */
		{ u8"\u0628\u0661", "xn--ngb8i" },
		{ u8"\u0628\u06f1", "xn--ngb61b" },
		{ u8"\u0628\u0661\u06f1", NULL },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

/* RFC 5893 section 2; labels are looked at one by one. */
static void
keeps_the_rule_for_right_to_left(void **state)
{
	static const struct idn_case cases[] = {
		{ u8"\u05d0\u05d1", "xn--4dbc" },
		{ u8"\u05d01", "xn--1-zhc" },
		{ u8"1\u05d0", NULL },
		{ u8"\u05d0a", NULL },
		{ u8"a\u05d0", NULL },
		{ u8"\u0661", NULL },
		{ u8"\u0661\u0628", NULL },
		{ u8"3com.\u05d0", "3com.xn--4db" },
		/* Digits of one kind; no hyphen at the end, before marks. */
		{ u8"\u05d01\u0661", NULL },
		{ u8"\u05d0\u0661", "xn--4db40a" },
		{ u8"\u05d0-\u05b0", NULL },
		{ u8"\u05d0-1\u05b0", "xn---1-5id9j" },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

static void
refuses_labels_that_become_too_long(void **state)
{
	static const struct idn_case cases[] = {
		/* 63 bytes, then 64. */
		{ u8"\u00fc" SIX("aaaaaaaaa") "a",
		    "xn--"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-"
		    "oxf" },
		{ u8"\u00fc" SIX("aaaaaaaaa") "aa", NULL },
		/* Many bytes, but few of them in the A-label. */
		{ SIX(SIX(u8"\u3042")) SIX(u8"\u3042"),
		    "xn--l8jaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
		{ SIX(SIX(SIX(u8"\u3042"))), NULL },
		{ SIX(SIX(SIX(u8"\u4f8b\u5b50"))), NULL },
	};

	(void)state;
	check(cases, sizeof cases / sizeof *cases);
}

static void
refuses_what_is_not_utf8(void **state)
{
	static const char with_nul[] = u8"\u00fc\0b";
	struct buf b = { 0 };

	(void)state;
	assert_non_null(idn_to_ascii(&b, "b\xfc", 2));
	assert_non_null(idn_to_ascii(&b, with_nul, sizeof with_nul - 1));
	assert_int_equal(b.len, 0);
	/* Only so many bytes are read. */
	assert_null(idn_to_ascii(&b, "ab\xff", 2));
	assert_string_equal(buf_text(&b), "ab");
	buf_finish(&b);
}

/* No single character is turned into a name of ASCII. */
static void
never_makes_an_ascii_label(void **state)
{
	(void)state;
	for (uint32_t c = 0x80; c <= 0x10ffff; c++) {
		struct buf b = { 0 };
		char label[4];
		size_t n = utf8_write(label, c);

		if (idn_to_ascii(&b, label, n) == NULL &&
		    (strncmp(b.data, "xn--", 4) != 0 || b.len < 6))
			fail_msg("U+%04x: %s", (unsigned)c, b.data);
		buf_finish(&b);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_ascii),
		cmocka_unit_test(converts_u_labels),
		cmocka_unit_test(converts_to_nfc_and_small_letters),
		cmocka_unit_test(refuses_what_others_map),
		cmocka_unit_test(refuses_what_idna2008_does_not_allow),
		cmocka_unit_test(keeps_the_rules_of_context),
		cmocka_unit_test(keeps_the_rule_for_right_to_left),
		cmocka_unit_test(refuses_labels_that_become_too_long),
		cmocka_unit_test(refuses_what_is_not_utf8),
		cmocka_unit_test(never_makes_an_ascii_label),
	};
	/* In a build without libidn2; see test_idn_none. */
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(copies_ascii),
		cmocka_unit_test(refuses_what_is_not_utf8),
	};

	return idn_is_supported() ? cmocka_run_group_tests(tests, NULL, NULL)
				  : cmocka_run_group_tests(others, NULL, NULL);
}
