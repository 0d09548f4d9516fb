/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "delivery/cleartext.h"

static void
says_why_a_session_has_no_tls(void **state)
{
	static const struct {
		struct cleartext why;
		const char *failed, *sent;
	} cases[] = {
		{ { .reason = CLEARTEXT_NO_REASON }, "", "" },
		{ { .reason = CLEARTEXT_REFUSED, .code = 454 },
		    "STARTTLS refused (454)",
		    "STARTTLS refused (454), sent in clear text" },
		{ { .reason = CLEARTEXT_NO_REPLY }, "no reply to STARTTLS",
		    "no reply to STARTTLS, sent in clear text" },
		{ { .reason = CLEARTEXT_HANDSHAKE, .text = "timed out" },
		    "handshake failed (timed out)",
		    "handshake failed (timed out), sent in clear text" },
		{ { .reason = CLEARTEXT_AVOIDS_EHLO, .when = 1700000000 },
		    "not tried, EHLO had no usable reply at 22:13",
		    "not tried, EHLO had no usable reply at 22:13" },
		{ { .reason = CLEARTEXT_AVOIDS_HANDSHAKE, .when = 1700000060 },
		    "not tried, the handshake hung at 22:14",
		    "not tried, the handshake hung at 22:14" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[TLS_SENTENCE_SIZE] = "old";

		cleartext_describe(&cases[i].why, false, text);
		assert_string_equal(text, cases[i].failed);
		cleartext_describe(&cases[i].why, true, text);
		assert_string_equal(text, cases[i].sent);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_why_a_session_has_no_tls),
	};

	setenv("TZ", "UTC0", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
