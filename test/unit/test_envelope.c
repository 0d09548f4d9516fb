/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/idn.h"
#include "delivery/envelope.h"
#include "smtp/transaction.h"

#define U_DOMAIN \
	"b\xc3\xbc" \
	"cher.example"
#define A_DOMAIN "xn--bcher-kva.example"
#define E "\xc3\xa9" /* a small e with an acute accent */
#define SIX(s) s s s s s s
#define LABEL_60 SIX("abcdefghij")

static void
converts_domains(void **state)
{
	static const struct {
		const char *domain;
		const char *ascii; /* NULL: refused */
	} cases[] = {
		{ "", "" },
		{ "Dst.Example.", "Dst.Example." },
		{ "a..b", "a..b" },
		{ LABEL_60 LABEL_60, LABEL_60 LABEL_60 },
		{ "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]" },
		{ "[" E "]", NULL },
		{ U_DOMAIN, A_DOMAIN },
		{ U_DOMAIN ".", A_DOMAIN "." },
		/* Not UTF-8: not ours to judge. */
		{ "b\xfc"
		  "cher.example",
		    "b\xfc"
		    "cher.example" },
		/* No domain, whatever its other characters are. */
		{ "a " E ".example", "a " E ".example" },
		{ E "\n", E "\n" },
		{ E "\x7f", E "\x7f" },
		/* Converted, they are too long for the DNS, or no name. */
		{ E LABEL_60, NULL },
		{ E "." LABEL_60 "abcd", NULL },
		{ E "." LABEL_60 "." LABEL_60 "." LABEL_60 "." LABEL_60 "abc",
		    NULL },
		{ E "..example", NULL },
		{ "." E, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf ascii = { 0 };
		struct dsn why = { 0 };
		int result;

		buf_puts(&ascii, "a@");
		result = envelope_append_domain(&ascii, cases[i].domain,
		    FAILURE_SENDER_UNSENDABLE, &why);
		if (result != (cases[i].ascii ? 0 : -1) ||
		    strcmp(ascii.data + 2,
			cases[i].ascii ? cases[i].ascii : "") != 0)
			fail_msg("%s: %s", cases[i].domain, ascii.data);
		assert_string_equal(why.status, cases[i].ascii ? "" : "5.1.3");
		assert_int_equal(strstr(why.text, "sender's") != NULL,
		    cases[i].ascii == NULL);
		assert_int_equal(why.detail[0] != '\0', cases[i].ascii == NULL);
		buf_finish(&ascii);
	}
}

static void
reads_addresses(void **state)
{
	static char ascii[] = "a@src.example", none[] = "", local[] = E "@x",
		    domain[] = "a@" U_DOMAIN, both[] = E "@" U_DOMAIN,
		    latin[] = "\xe9@x";
	static const struct {
		char *given[3];
		const char *address[3];
		bool needs_smtputf8;
	} cases[] = {
		{ { ascii, ascii }, { ascii, ascii }, false },
		{ { none, ascii }, { none, ascii }, false },
		{ { domain, ascii }, { "a@" A_DOMAIN, ascii }, false },
		{ { ascii, domain }, { ascii, "a@" A_DOMAIN }, false },
		{ { ascii, latin }, { ascii, latin }, false },
		{ { local, ascii }, { local, ascii }, true },
		{ { ascii, local }, { ascii, local }, true },
		{ { both, domain }, { E "@" A_DOMAIN, "a@" A_DOMAIN }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct envelope e;
		struct dsn why = { 0 };

		assert_int_equal(envelope_read(&e, cases[i].given, &why), 0);
		for (size_t k = 0; k < 2; k++)
			if (strcmp(e.address[k], cases[i].address[k]) != 0)
				fail_msg("case %zu: %s", i, e.address[k]);
		assert_null(e.address[2]);
		assert_int_equal(e.needs_smtputf8, cases[i].needs_smtputf8);
		envelope_finish(&e);
		assert_null(e.address);
		/* Nothing is left of it. */
		envelope_finish(&e);
	}
}

/* One recipient that can be sent is enough. */
static void
refuses_addresses_that_cannot_be_sent(void **state)
{
	static char good[] = "a@src.example", bad[] = "a\nb@src.example";
	static char no_domain[] = E "@\xe2\x98\xba";
	static char longer[SMTP_PATH_MAX + 2];
	static const struct {
		char *const envelope[4];
		const char *text; /* "": the addresses can be sent */
	} cases[] = {
		{ { good, good, NULL }, "" },
		{ { good, bad, good, NULL }, "" },
		{ { good, no_domain, good, NULL }, "" },
		{ { good, good, no_domain, NULL }, "" },
		{ { bad, good, NULL }, "sender's address" },
		{ { no_domain, good, NULL }, "sender's address" },
		{ { good, bad, NULL }, "that address" },
		{ { good, no_domain, NULL }, "that address" },
		{ { longer, good, NULL }, "sender's address" },
		{ { good, longer, bad, NULL }, "that address" },
	};

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	memcpy(longer, "a@", 2);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct envelope e;
		struct dsn why = { 0 };
		int result = envelope_read(&e, cases[i].envelope, &why);

		assert_int_equal(result, cases[i].text[0] ? -1 : 0);
		if (result == -1)
			assert_non_null(strstr(why.text, cases[i].text));
		if (result == -1)
			assert_string_equal(why.status, "5.1.3");
		/* Nor does it ask for SMTPUTF8 for others. */
		assert_false(e.needs_smtputf8);
		envelope_finish(&e);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(converts_domains),
		cmocka_unit_test(reads_addresses),
		cmocka_unit_test(refuses_addresses_that_cannot_be_sent),
	};

	static const struct CMUnitTest others[] = {
		cmocka_unit_test(refuses_addresses_that_cannot_be_sent),
	};

	return idn_is_supported() ? cmocka_run_group_tests(tests, NULL, NULL)
				  : cmocka_run_group_tests(others, NULL, NULL);
}
