/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "delivery/outcome.h"

#define TEXT(s) \
	{ \
		s, sizeof s - 1 \
	}
#define NO_TEXT \
	{ \
		NULL, 0 \
	}

static void
decides_what_is_permanent(void **state)
{
	static const struct {
		enum smtp_outcome outcome;
		int code;
		bool want;
	} cases[] = {
		{ SMTP_REFUSED, 550, true },
		{ SMTP_REFUSED, 599, true },
		{ SMTP_REFUSED, 530, false }, /* authentication required */
		{ SMTP_REFUSED, 533, true },
		{ SMTP_REFUSED, 534, false },
		{ SMTP_REFUSED, 535, false },
		{ SMTP_REFUSED, 538, false },
		{ SMTP_REFUSED, 450, false },
		{ SMTP_REFUSED, 650, false },
		{ SMTP_MALFORMED, 550, false },
		{ SMTP_DIED, 550, false },
		{ SMTP_DONE, 250, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (outcome_is_permanent(cases[i].outcome, cases[i].code) !=
		    cases[i].want)
			fail_msg("%d, outcome %d", cases[i].code,
			    cases[i].outcome);
}

static bool
is_text(struct outcome_text text, const char *want)
{
	return text.len == strlen(want) &&
	       (text.len == 0 || memcmp(text.bytes, want, text.len) == 0);
}

/* The message record of a single transaction. */
static void
makes_a_message_record(void **state)
{
	static const struct {
		const char *name;
		struct smtp_result result;
		int code;
		enum report_message kind;
		const char *line;
		bool has_reply;
	} cases[] = {
		{ "delivered", { SMTP_END_MAIL_DATA, SMTP_DONE, false, 1 }, 250,
		    REPORT_DELIVERED, "@ accepted message.\n", true },
		{ "refused at the end",
		    { SMTP_END_MAIL_DATA, SMTP_REFUSED, false, 1 }, 554,
		    REPORT_PERMANENT, "@ failed after I sent the message.\n",
		    true },
		{ "put off at the end",
		    { SMTP_END_MAIL_DATA, SMTP_REFUSED, false, 1 }, 451,
		    REPORT_TEMPORARY, "@ failed after I sent the message.\n",
		    true },
		{ "a strange reply at the end",
		    { SMTP_END_MAIL_DATA, SMTP_MALFORMED, true, 1 }, 354,
		    REPORT_TEMPORARY,
		    "Connected to @ but connection died. Possible duplicate! "
		    "(#4.4.2)\n",
		    true },
		{ "a reply before the end",
		    { SMTP_END_MAIL_DATA, SMTP_MALFORMED, false, 1 }, 250,
		    REPORT_TEMPORARY,
		    "Connected to @ but connection died. (#4.4.2)\n", true },
		{ "no reply at the end",
		    { SMTP_END_MAIL_DATA, SMTP_DIED, true, 1 }, 0,
		    REPORT_TEMPORARY,
		    "Connected to @ but connection died. Possible duplicate! "
		    "(#4.4.2)\n",
		    true },
		{ "died in mail data",
		    { SMTP_END_MAIL_DATA, SMTP_DIED, false, 1 }, 0,
		    REPORT_TEMPORARY,
		    "Connected to @ but connection died. (#4.4.2)\n", true },
		{ "sender refused", { SMTP_END_MAIL, SMTP_REFUSED, false, 0 },
		    550, REPORT_PERMANENT,
		    "Connected to @ but sender was rejected.\n", true },
		{ "authentication wanted",
		    { SMTP_END_MAIL, SMTP_REFUSED, false, 0 }, 530,
		    REPORT_TEMPORARY,
		    "Connected to @ but sender was rejected.\n", true },
		{ "a strange reply to MAIL",
		    { SMTP_END_MAIL, SMTP_MALFORMED, false, 0 }, 354,
		    REPORT_TEMPORARY,
		    "Connected to @ but sender was rejected.\n", true },
		{ "died at MAIL", { SMTP_END_MAIL, SMTP_DIED, false, 0 }, 0,
		    REPORT_TEMPORARY,
		    "Connected to @ but connection died. (#4.4.2)\n", true },
		{ "a strange reply to RCPT",
		    { SMTP_END_RCPT, SMTP_MALFORMED, false, 0 }, 354,
		    REPORT_TEMPORARY,
		    "Connected to @ but connection died. (#4.4.2)\n", true },
		{ "DATA refused", { SMTP_END_DATA, SMTP_REFUSED, false, 1 },
		    554, REPORT_PERMANENT, "@ failed on DATA command.\n",
		    true },
		{ "a strange reply to DATA",
		    { SMTP_END_DATA, SMTP_MALFORMED, false, 1 }, 250,
		    REPORT_TEMPORARY, "@ failed on DATA command.\n", true },
		{ "nobody accepted",
		    { SMTP_END_NONE_ACCEPTED, SMTP_REFUSED, false, 0 }, 554,
		    REPORT_PERMANENT, "Giving up on @.\n", false },
		{ "message unreadable",
		    { SMTP_END_MESSAGE, SMTP_DIED, false, 1 }, 0,
		    REPORT_TEMPORARY, "Unable to read message. (#4.3.0)\n",
		    false },
		{ "MAILMAX used up", { SMTP_END_LIMIT, SMTP_REFUSED, false, 0 },
		    0, REPORT_TEMPORARY,
		    "@ takes no more messages on this connection. (#4.5.3)\n",
		    false },
		{ "too large", { SMTP_END_TOO_LARGE, SMTP_REFUSED, false, 0 },
		    0, REPORT_PERMANENT,
		    "@ takes messages of 5000000000 bytes, this one has "
		    "18446744073709551615. (#5.3.4)\n",
		    false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct attempted a = {
			.has_run = true,
			.result = cases[i].result,
			.code = cases[i].code,
			.reply = TEXT("the reply\n"),
		};
		struct outcome o = {
			.attempted = &a,
			.nattempted = 1,
			.size_limit = 5000000000,
			.size = UINT64_MAX,
		};
		struct outcome_message m;
		char line[FAILURE_TEXT_SIZE];

		memset(&m, 0xff, sizeof m);
		outcome_message(&o, &m);
		failure_line(line, m.cause, "@", m.sizes);
		if (m.kind != cases[i].kind || strcmp(line, cases[i].line) != 0)
			fail_msg("%s: %d, %s", cases[i].name, m.kind, line);
		if (!is_text(m.reply, cases[i].has_reply ? "the reply\n" : ""))
			fail_msg("%s: %.*s", cases[i].name, (int)m.reply.len,
			    m.reply.bytes);
	}
}

static const struct attempted delivered = { true,
	{ SMTP_END_MAIL_DATA, SMTP_DONE, false, 1 }, 250, TEXT("250 ok\n") };
static const struct attempted refused = { true,
	{ SMTP_END_MAIL_DATA, SMTP_REFUSED, false, 1 }, 554, TEXT("554 no\n") };
static const struct attempted put_off = { true,
	{ SMTP_END_DATA, SMTP_REFUSED, false, 1 }, 451, TEXT("451 later\n") };
static const struct attempted too_large = { true,
	{ SMTP_END_TOO_LARGE, SMTP_REFUSED, false, 0 }, 0, NO_TEXT };
static const struct attempted in_doubt = { true,
	{ SMTP_END_MAIL_DATA, SMTP_DIED, true, 1 }, 0, TEXT("x\n") };
static const struct attempted malformed = { true,
	{ SMTP_END_RCPT, SMTP_MALFORMED, false, 1 }, 354, TEXT("354 go\n") };
static const struct attempted left_out = { false,
	{ SMTP_END_RCPT, SMTP_DIED, false, 0 }, 0, NO_TEXT };

/*
 * Of several transactions the first delivered one counts, otherwise the last
 * that ran.
 */
static void
finds_the_transaction_that_decides(void **state)
{
	static const struct {
		const struct attempted *a[3];
		const char *reply;
		enum report_message kind;
	} cases[] = {
		{ { &delivered }, "250 ok\n", REPORT_DELIVERED },
		{ { &refused, &delivered, &refused }, "250 ok\n",
		    REPORT_DELIVERED },
		{ { &delivered, &in_doubt, &left_out }, "250 ok\n",
		    REPORT_DELIVERED },
		{ { &refused, &put_off }, "451 later\n", REPORT_TEMPORARY },
		{ { &put_off, &refused }, "554 no\n", REPORT_PERMANENT },
		{ { &refused, &malformed, &left_out }, "354 go\n",
		    REPORT_TEMPORARY },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct attempted a[3];
		struct outcome o = { .attempted = a };
		struct outcome_message m;

		for (; o.nattempted < 3 && cases[i].a[o.nattempted];
		     o.nattempted++)
			a[o.nattempted] = *cases[i].a[o.nattempted];
		outcome_message(&o, &m);
		if (m.kind != cases[i].kind ||
		    !is_text(m.reply, cases[i].reply))
			fail_msg("case %zu: %d, %.*s", i, m.kind,
			    (int)m.reply.len, m.reply.bytes);
	}
}

#define LIKE "@ does not like recipient.\n"
#define TAKE "@ did not take the message.\n"
#define MAY "@ may have the message. Possible duplicate!\n"

/* A recipient of the only transaction, or of one of several. */
static void
makes_recipient_records(void **state)
{
	static const struct verdict accepted = { VERDICT_ACCEPTED, false, 0,
		NO_TEXT };
	static const struct verdict for_good = { VERDICT_REFUSED, true, 0,
		TEXT("550 no\n") };
	static const struct verdict for_now = { VERDICT_REFUSED, false, 0,
		TEXT("450 no\n") };
	static const struct verdict unsendable = { VERDICT_UNSENDABLE, false, 0,
		NO_TEXT };
	static const struct verdict none = { VERDICT_NONE, false, 0, NO_TEXT };
	static const struct {
		const char *name;
		const struct verdict *v;
		const struct attempted *a;
		bool is_pipelined, is_one_of_several;
		bool has_record;
		enum report_recipient kind;
		const char *line;
		const char *reply;
	} cases[] = {
		{ "accepted, delivered", &accepted, &delivered, true, false,
		    true, REPORT_ACCEPTED, "", "" },
		{ "accepted, refused at the end", &accepted, &refused, true,
		    false, true, REPORT_ACCEPTED, "", "" },
		{ "refused for good", &for_good, &delivered, true, false, true,
		    REPORT_REFUSED, LIKE, "550 no\n" },
		{ "refused for now", &for_now, &delivered, true, false, true,
		    REPORT_DEFERRED, LIKE, "450 no\n" },
		{ "refused, replies out of step", &for_good, &malformed, true,
		    false, true, REPORT_DEFERRED, LIKE, "550 no\n" },
		{ "refused, one by one", &for_good, &malformed, false, false,
		    true, REPORT_REFUSED, LIKE, "550 no\n" },
		{ "no reply", &none, &malformed, true, false, false, 0, "",
		    "" },
		{ "unsendable", &unsendable, &malformed, true, false, true,
		    REPORT_REFUSED,
		    "Sorry, that address cannot be sent by SMTP. (#5.1.3)\n",
		    "" },
		{ "several: delivered", &accepted, &delivered, true, true, true,
		    REPORT_ACCEPTED, "", "" },
		{ "several: refused at the end", &accepted, &refused, true,
		    true, true, REPORT_REFUSED, TAKE, "554 no\n" },
		{ "several: put off", &accepted, &put_off, true, true, true,
		    REPORT_DEFERRED, TAKE, "451 later\n" },
		{ "several: in doubt", &accepted, &in_doubt, true, true, true,
		    REPORT_DEFERRED, MAY, "" },
		{ "several: too large", &none, &too_large, true, true, true,
		    REPORT_REFUSED, TAKE, "" },
		{ "several: left out", &none, &left_out, true, true, true,
		    REPORT_DEFERRED, TAKE, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct attempted a[2] = { *cases[i].a, delivered };
		struct outcome o = {
			.verdict = cases[i].v,
			.nverdict = 1,
			.attempted = a,
			.nattempted = cases[i].is_one_of_several ? 2 : 1,
			.is_pipelined = cases[i].is_pipelined,
		};
		struct outcome_recipient r;
		char line[FAILURE_TEXT_SIZE] = "";

		if (outcome_recipient(&o, 0, &r) != cases[i].has_record)
			fail_msg("%s: record", cases[i].name);
		if (!cases[i].has_record)
			continue;
		if (r.cause != FAILURE_NONE)
			failure_line(line, r.cause, "@", "");
		if (r.kind != cases[i].kind || strcmp(line, cases[i].line) != 0)
			fail_msg("%s: %d, %s", cases[i].name, r.kind, line);
		if (!is_text(r.reply, cases[i].reply))
			fail_msg("%s: %.*s", cases[i].name, (int)r.reply.len,
			    r.reply.bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides_what_is_permanent),
		cmocka_unit_test(makes_a_message_record),
		cmocka_unit_test(finds_the_transaction_that_decides),
		cmocka_unit_test(makes_recipient_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
