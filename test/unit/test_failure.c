/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "delivery/failure.h"

static void
writes_the_line_of_a_report(void **state)
{
	static const struct {
		enum failure_cause cause;
		const char *line;
	} cases[] = {
		{ FAILURE_NONE, "192.0.2.1 accepted message.\n" },
		{ FAILURE_HOST_UNCERTAIN, "Sorry, I couldn't find any host by "
					  "that name. (#4.1.2)\n" },
		{ FAILURE_CONNECTION_DIED,
		    "Connected to 192.0.2.1 but connection died. (#4.4.2)\n" },
		{ FAILURE_GREETING,
		    "Connected to 192.0.2.1 but greeting failed.\n" },
		{ FAILURE_MESSAGE_TOO_LARGE,
		    "192.0.2.1 takes messages of 5 bytes. (#5.3.4)\n" },
	};
	char text[FAILURE_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(failure_line(text, cases[i].cause,
					"192.0.2.1", "5 bytes"),
		    cases[i].line);
}

/* Each cause has a row, and its class matches its status. */
static void
has_a_complete_table(void **state)
{
	(void)state;
	for (int i = FAILURE_NONE; i <= FAILURE_RECIPIENT_IN_DOUBT; i++) {
		enum failure_cause cause = (enum failure_cause)i;
		enum report_message kind = failure_message_kind(cause, true);
		char text[FAILURE_TEXT_SIZE];
		const char *status =
		    strstr(failure_line(text, cause, "a", "b"), "(#");

		assert_true(strlen(text) > 10);
		assert_int_equal(text[strlen(text) - 1], '\n');
		assert_int_equal(kind == REPORT_DELIVERED, i == FAILURE_NONE);
		if (status != NULL)
			assert_int_equal(status[2],
			    kind == REPORT_PERMANENT ? '5' : '4');
	}
}

static void
cuts_what_does_not_fit(void **state)
{
	char text[FAILURE_TEXT_SIZE], name[2 * FAILURE_TEXT_SIZE];

	(void)state;
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	failure_line(text, FAILURE_HOST_UNKNOWN, name, "");
	assert_int_equal(strlen(text), FAILURE_TEXT_SIZE - 1);
}

static void
summarises_the_failure(void **state)
{
	char text[FAILURE_TEXT_SIZE];

	(void)state;
	assert_string_equal(failure_brief(text, FAILURE_GREETING),
	    "greeting failed");
	assert_string_equal(failure_brief(text, FAILURE_TLS), "TLS failed");
	/* The sentences of all causes of a session have one form. */
	for (int i = FAILURE_CONNECTION_DIED; i <= FAILURE_MEMORY_IN_SESSION;
	     i++) {
		char line[FAILURE_TEXT_SIZE], want[2 * FAILURE_TEXT_SIZE];
		enum failure_cause cause = (enum failure_cause)i;

		snprintf(want, sizeof want, "Connected to a but %s.",
		    failure_brief(text, cause));
		failure_line(line, cause, "a", "");
		assert_memory_equal(line, want, strlen(want));
	}
}

static void
lets_the_reply_decide_the_class(void **state)
{
	static const struct {
		enum failure_cause cause;
		enum report_message for_now, for_good;
	} cases[] = {
		{ FAILURE_NONE, REPORT_DELIVERED, REPORT_DELIVERED },
		{ FAILURE_MESSAGE_REFUSED, REPORT_TEMPORARY, REPORT_PERMANENT },
		{ FAILURE_GREETING, REPORT_TEMPORARY, REPORT_TEMPORARY },
		{ FAILURE_NONE_ACCEPTED, REPORT_PERMANENT, REPORT_PERMANENT },
	};
	static const enum report_recipient of_recipient[] = {
		[REPORT_DELIVERED] = REPORT_ACCEPTED,
		[REPORT_TEMPORARY] = REPORT_DEFERRED,
		[REPORT_PERMANENT] = REPORT_REFUSED,
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum failure_cause cause = cases[i].cause;

		assert_int_equal(failure_message_kind(cause, false),
		    cases[i].for_now);
		assert_int_equal(failure_message_kind(cause, true),
		    cases[i].for_good);
		assert_int_equal(failure_recipient_kind(cause, false),
		    of_recipient[cases[i].for_now]);
		assert_int_equal(failure_recipient_kind(cause, true),
		    of_recipient[cases[i].for_good]);
	}
}

static void
sets_status_and_sentence(void **state)
{
	struct dsn why = { .detail = "old" };

	(void)state;
	assert_int_equal(failure_set(&why, FAILURE_HOST_UNKNOWN, "x.example"),
	    -1);
	assert_string_equal(why.status, "5.1.2");
	assert_string_equal(why.text,
	    "Sorry, I couldn't find any host named x.example.");
	assert_string_equal(why.detail, "");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_line_of_a_report),
		cmocka_unit_test(has_a_complete_table),
		cmocka_unit_test(cuts_what_does_not_fit),
		cmocka_unit_test(summarises_the_failure),
		cmocka_unit_test(lets_the_reply_decide_the_class),
		cmocka_unit_test(sets_status_and_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
