/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/lesson.h"

#define NONE (-1)

static void
learns_from_how_a_session_ended(void **state)
{
	static const struct {
		const char *name;
		enum smtp_end end;
		enum smtp_outcome outcome;
		bool in_doubt, was_pipelined, has_ended, used_helo;
		int kind; /* the one that is noted */
	} cases[] = {
		{ "delivered", SMTP_END_MAIL_DATA, SMTP_DONE, 0, 1, 0, 0,
		    NONE },
		{ "delivered after HELO", SMTP_END_MAIL_DATA, SMTP_DONE, 0, 0,
		    0, 1, MEMORY_EHLO },
		{ "refused after HELO", SMTP_END_MAIL_DATA, SMTP_REFUSED, 0, 0,
		    0, 1, NONE },
		{ "no recipient after HELO", SMTP_END_NONE_ACCEPTED,
		    SMTP_REFUSED, 0, 0, 0, 1, NONE },
		{ "dead before MAIL is answered", SMTP_END_MAIL, SMTP_DIED, 0,
		    1, 1, 0, MEMORY_PIPELINING },
		{ "dead among recipients", SMTP_END_RCPT, SMTP_DIED, 0, 1, 1, 0,
		    MEMORY_PIPELINING },
		{ "silent after the first reply", SMTP_END_RCPT, SMTP_DIED, 0,
		    1, 0, 0, MEMORY_PIPELINING },
		{ "out of step", SMTP_END_RCPT, SMTP_MALFORMED, 0, 1, 0, 0,
		    MEMORY_PIPELINING },
		{ "503 to DATA", SMTP_END_DATA, SMTP_MALFORMED, 0, 1, 0, 0,
		    MEMORY_PIPELINING },
		{ "dead when nobody was accepted", SMTP_END_NONE_ACCEPTED,
		    SMTP_DIED, 0, 1, 1, 0, MEMORY_PIPELINING },
		{ "the same one by one", SMTP_END_RCPT, SMTP_DIED, 0, 0, 1, 0,
		    NONE },
		{ "refused in the group", SMTP_END_MAIL, SMTP_REFUSED, 0, 1, 0,
		    0, NONE },
		{ "too large", SMTP_END_TOO_LARGE, SMTP_DIED, 0, 1, 0, 0,
		    NONE },
		{ "no message", SMTP_END_MESSAGE, SMTP_DIED, 0, 1, 0, 0, NONE },
		{ "mail data stalled", SMTP_END_MAIL_DATA, SMTP_DIED, 0, 1, 0,
		    0, MEMORY_STALL },
		{ "reset amid mail data", SMTP_END_MAIL_DATA, SMTP_DIED, 0, 1,
		    1, 0, NONE },
		{ "no reply to the end", SMTP_END_MAIL_DATA, SMTP_DIED, 1, 1, 0,
		    0, MEMORY_STALL },
		{ "closed at the end", SMTP_END_MAIL_DATA, SMTP_DIED, 1, 0, 1,
		    0, MEMORY_STALL },
		{ "nonsense for a reply", SMTP_END_MAIL_DATA, SMTP_MALFORMED, 1,
		    1, 0, 0, NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct smtp_result result = { .end = cases[i].end,
			.outcome = cases[i].outcome,
			.in_doubt = cases[i].in_doubt };
		const struct lesson l = { .result = &result,
			.was_pipelined = cases[i].was_pipelined,
			.has_ended = cases[i].has_ended,
			.used_helo = cases[i].used_helo };

		for (int kind = 0; kind < MEMORY_KINDS; kind++)
			if (lesson_has(&l, (enum memory_kind)kind) !=
			    (kind == cases[i].kind))
				fail_msg("%s: %d", cases[i].name, kind);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns_from_how_a_session_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
