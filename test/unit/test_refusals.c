/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <time.h>

#include "smtp/transaction.h"

#include "transact.h"

/* What a refusal refers to: a parameter, a command, or the mail. */

#define SIZE SMTP_EXT_SIZE
#define DECLARED "MAIL FROM:<s@x> SIZE=28\r\n"
#define PLAIN "MAIL FROM:<s@x>\r\n"
#define RCPT "RCPT TO:<0@x>\r\n"
#define DATA "DATA\r\n"
#define GROUP PLAIN RCPT DATA
#define FIRST DECLARED RCPT DATA
#define TAKEN ">250\r\n250\r\n354\r\n", ".", ">250 ok\r\n"
#define TAKEN_ALONE \
	">250\r\n", "<" RCPT, ">250\r\n", "<" DATA, ">354\r\n", ".", ">250\r\n"

struct refusal {
	const char *name;
	unsigned extensions;
	const char *script[12];
	enum smtp_end end;
	enum smtp_outcome outcome;
	int code; /* of the reply in the report; 0: not checked */
	const char *verdicts;
	const char *heard; /* NULL: as in the script */
};

static void
check(const struct refusal *c)
{
	struct peer p = peer_start(peer_play, c->script, 0);
	int fd = make_file(message, strlen(message)), end;
	struct buf heard = { 0 };
	struct smtp_result r;
	struct verdicts v;

	r = transact_with(&p, c->extensions, 1, fd, 30, &v);
	end = peer_end(&p, &heard);
	close(fd);
	if (r.end != c->end || r.outcome != c->outcome || r.in_doubt)
		fail_msg("%s: %s %s, in doubt is %d", c->name, end_name[r.end],
		    outcome_name[r.outcome], r.in_doubt);
	if (c->code && session.reply.code != c->code)
		fail_msg("%s: shows %d", c->name, session.reply.code);
	if (strcmp(v.seen, c->verdicts) != 0)
		fail_msg("%s: verdicts %s", c->name, v.seen);
	if (end != 0 || (c->heard && strcmp(buf_text(&heard), c->heard) != 0))
		fail_msg("%s: the peer (%d) heard %s", c->name, end,
		    buf_text(&heard));
	buf_finish(&heard);
}

/*
 * Codes that refuse the parameters: MAIL is sent once more without them, on the
 * same connection, and only its reply counts.
 */
static void
sends_mail_again_without_parameters(void **state)
{
	static const char *const codes[] = { "500", "501", "502", "504", "553",
		"555" };

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		char group[64], alone[16];
		const struct refusal in_group = { codes[i], SIZE | PIPE,
			{ "<" FIRST, group, "<" GROUP, TAKEN },
			SMTP_END_MAIL_DATA, DONE, 250, "2", NULL };
		const struct refusal one_by_one = { codes[i], SIZE,
			{ "<" DECLARED, alone, "<" PLAIN, TAKEN_ALONE },
			SMTP_END_MAIL_DATA, DONE, 250, "2", NULL };

		snprintf(group, sizeof group, ">%s no\r\n503 a\r\n503 b\r\n",
		    codes[i]);
		snprintf(alone, sizeof alone, ">%s no\r\n", codes[i]);
		check(&in_group);
		check(&one_by_one);
	}
}

static void
uses_the_second_reply(void **state)
{
	static const struct refusal cases[] = {
		{ "refused again", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n503\r\n503\r\n", "<" GROUP,
			">550\r\n503\r\n503\r\n" },
		    SMTP_END_MAIL, REFUSED, 550, "", FIRST GROUP },
		{ "with the same code", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n503\r\n503\r\n", "<" GROUP,
			">501\r\n503\r\n503\r\n" },
		    SMTP_END_MAIL, REFUSED, 501, "", FIRST GROUP },
		{ "put off", SIZE,
		    { "<" DECLARED, ">501\r\n", "<" PLAIN, ">451\r\n" },
		    SMTP_END_MAIL, REFUSED, 451, "", DECLARED PLAIN },
		{ "the recipient is refused", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n250\r\n503\r\n", "<" GROUP,
			">250\r\n550\r\n503\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 0, "5", FIRST GROUP },
		{ "hangs up", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n503\r\n503\r\n", "/" }, SMTP_END_MAIL,
		    DIED, 0, "", NULL },
		{ "hangs up before the rest", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n503\r\n", "/" }, SMTP_END_MAIL, DIED,
		    0, "", FIRST },
		{ "wants mail data all the same", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n250\r\n354\r\n" }, SMTP_END_MAIL,
		    DIED, 0, "", FIRST },
		{ "one reply too many", SIZE | PIPE,
		    { "<" FIRST, ">501\r\n503\r\n503\r\n250\r\n" },
		    SMTP_END_MAIL, BAD, 250, "", FIRST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(&cases[i]);
}

/* Other codes refuse the mail. */
static void
does_not_send_mail_again(void **state)
{
	static const char *const codes[] = { "503", "530", "550", "551", "552",
		"554", "556", "421", "450", "451", "452" };

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		char reply[16];
		const struct refusal c = { codes[i], SIZE,
			{ "<" DECLARED, reply }, SMTP_END_MAIL, REFUSED,
			atoi(codes[i]), "", DECLARED };

		snprintf(reply, sizeof reply, ">%s no\r\n", codes[i]);
		check(&c);
	}
}

/*
 * SMTPUTF8 says what the addresses are: it is no reason for a second MAIL, and
 * a second one has it.
 */
static void
repeats_mail_with_smtputf8(void **state)
{
	static const char *const alone[] = { "<MAIL FROM:<s@x> SMTPUTF8\r\n",
		">553 5.6.7 no\r\n", NULL };
	static const char *const beside[] = {
		"<MAIL FROM:<s@x> SIZE=28 SMTPUTF8\r\n", ">501\r\n",
		"<MAIL FROM:<s@x> SMTPUTF8\r\n", ">550\r\n", NULL
	};
	static const char *const paths[] = { "0@x" };

	(void)state;
	for (int with_size = 0; with_size <= 1; with_size++) {
		struct peer p =
		    peer_start(peer_play, with_size ? beside : alone, 0);
		int fd = make_file(message, strlen(message));
		struct verdicts v = { .is_in_order = true };
		struct smtp_envelope e = { .reverse_path = "s@x",
			.forward_path = paths,
			.nrecipient = 1,
			.needs_smtputf8 = true,
			.verdict = see_verdict,
			.context = &v };
		struct buf heard = { 0 };
		struct smtp_result r;

		smtp_session_init(&session, p.fd, 30);
		session.ehlo.extensions = SMTP_EXT_SMTPUTF8;
		if (with_size)
			session.ehlo.extensions |= SMTP_EXT_SIZE;
		smtp_message_open(&mail, fd,
		    smtp_transaction_measures(&session.ehlo));
		r = smtp_transaction(&session, &e, &mail);
		assert_int_equal(r.end, SMTP_END_MAIL);
		assert_int_equal(session.reply.code, with_size ? 550 : 553);
		if (peer_end(&p, &heard) != 0)
			fail_msg("heard %s", buf_text(&heard));
		close(fd);
		buf_finish(&heard);
	}
}

/* Without parameters there is no second MAIL. */
static void
does_not_repeat_mail_without_parameters(void **state)
{
	static const struct refusal c = { "501", 0, { "<" PLAIN, ">501\r\n" },
		SMTP_END_MAIL, REFUSED, 501, "", PLAIN };

	(void)state;
	check(&c);
}

/* The next transaction of the session sends no parameters either. */
static void
sends_no_parameters_in_the_next_transaction(void **state)
{
	static const char *const script[] = { "<" DECLARED, ">501\r\n",
		"<" PLAIN, ">550\r\n", "<" PLAIN, ">550\r\n", NULL };
	static const char *const paths[] = { "0@x" };
	struct peer p = peer_start(peer_play, script, 0);
	int fd = make_file(message, strlen(message));
	struct verdicts v;
	struct smtp_envelope e = { .reverse_path = "s@x",
		.forward_path = paths,
		.nrecipient = 1,
		.verdict = see_verdict,
		.context = &v };
	struct buf heard = { 0 };

	(void)state;
	(void)transact_with(&p, SIZE, 1, fd, 30, &v);
	(void)smtp_transaction(&session, &e, &mail);
	assert_int_equal(peer_end(&p, &heard), 0);
	assert_string_equal(buf_text(&heard), DECLARED PLAIN PLAIN);
	close(fd);
	buf_finish(&heard);
}

/*
 * "Bad sequence of commands": a fault of the server, or a refusal of the mail?
 */
static void
classifies_503(void **state)
{
	static const struct refusal cases[] = {
		{ "RCPT in a group", PIPE,
		    { "<" GROUP, ">250\r\n503 5.5.1 one by one\r\n503\r\n" },
		    SMTP_END_RCPT, BAD, 503, "?", GROUP },
		{ "RCPT in a group, not permitted", PIPE,
		    { "<" GROUP, ">250\r\n503 5.7.1 no\r\n503\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 503, "5", GROUP },
		{ "the same in lines", PIPE,
		    { "<" GROUP,
			">250\r\n503-5.7.1 no\r\n503 5.7.1 no\r\n503\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 503, "5", GROUP },
		{ "RCPT alone", 0,
		    { "<" PLAIN, ">250\r\n", "<" RCPT, ">503 no\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 503, "5", PLAIN RCPT },
		{ "DATA in a group", PIPE,
		    { "<" GROUP, ">250\r\n250\r\n503\r\n" }, SMTP_END_DATA, BAD,
		    503, "2", GROUP },
		{ "DATA in a group, not permitted", PIPE,
		    { "<" GROUP, ">250\r\n250\r\n503 5.7.0 no\r\n" },
		    SMTP_END_DATA, REFUSED, 503, "2", GROUP },
		{ "DATA in a group, nobody accepted", PIPE,
		    { "<" GROUP, ">250\r\n550\r\n503 5.5.1 RCPT first\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 503, "5", GROUP },
		{ "DATA alone", 0,
		    { "<" PLAIN, ">250\r\n", "<" RCPT, ">250\r\n", "<" DATA,
			">503 no\r\n" },
		    SMTP_END_DATA, REFUSED, 503, "2", GROUP },
		{ "MAIL in a group", PIPE,
		    { "<" GROUP, ">503\r\n503\r\n503\r\n" }, SMTP_END_MAIL,
		    REFUSED, 503, "", GROUP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(&cases[i]);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * All recipients were refused: the reply to DATA is waited for at most two
 * seconds, and not at all if the connection has ended.
 */
/* A line without a code, then a refusal that may belong to a later command. */
static void
defers_a_refusal_after_a_line_without_a_code(void **state)
{
	static const struct refusal cases[] = {
		{ "MAIL in a group", PIPE,
		    { "<" GROUP, ">abc\r\n503 a\r\n503 b\r\n" }, SMTP_END_MAIL,
		    BAD, 503, "", GROUP },
		{ "RCPT in a group", PIPE,
		    { "<" GROUP, ">250\r\nabc\r\n554 nobody\r\n" },
		    SMTP_END_RCPT, BAD, 554, "?", GROUP },
		{ "RCPT in a group, an empty line", PIPE,
		    { "<" GROUP, ">250\r\n\r\n550 a\r\n554 b\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 554, "5", GROUP },
		{ "DATA, with which nothing else is outstanding", PIPE,
		    { "<" GROUP, ">250\r\n250\r\nabc\r\n554 no\r\n" },
		    SMTP_END_DATA, REFUSED, 554, "2", GROUP },
		{ "RCPT alone", 0,
		    { "<" PLAIN, ">250\r\n", "<" RCPT, ">abc\r\n550 no\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, 550, "5", PLAIN RCPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(&cases[i]);
}

static void
needs_no_reply_to_data(void **state)
{
	static const struct {
		struct refusal r;
		double least, most;
	} cases[] = {
		{ { "silent", PIPE, { "<" GROUP, ">250\r\n550\r\n" },
		      SMTP_END_NONE_ACCEPTED, REFUSED, 0, "5", GROUP },
		    1.9, 15 },
		{ { "silent, half a reply", PIPE,
		      { "<" GROUP, ">250\r\n550\r\n50" },
		      SMTP_END_NONE_ACCEPTED, REFUSED, 0, "5", GROUP },
		    1.9, 15 },
		{ { "closes", PIPE, { "<" GROUP, ">250\r\n550\r\n", "/" },
		      SMTP_END_NONE_ACCEPTED, REFUSED, 0, "5", GROUP },
		    0, 1.8 },
		{ { "354 and closes", PIPE,
		      { "<" GROUP, ">250\r\n550\r\n354\r\n", "/" },
		      SMTP_END_NONE_ACCEPTED, REFUSED, 0, "5", NULL },
		    0, 1.8 },
		{ { "no word on the recipient", PIPE,
		      { "<" GROUP, ">250\r\n", "/" }, SMTP_END_RCPT, DIED, 0,
		      "", GROUP },
		    0, 1.8 },
		{ { "refused by something else", PIPE,
		      { "<" GROUP, ">250\r\n550\r\n250\r\n" }, SMTP_END_DATA,
		      BAD, 250, "5", GROUP },
		    0, 1.8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		double start = now(), took;

		check(&cases[i].r);
		took = now() - start;
		if (took < cases[i].least || took > cases[i].most)
			fail_msg("%s: took %.1f s", cases[i].r.name, took);
	}
}

/* MAIL is refused, and no other reply comes: QUIT does not wait long. */
static void
ends_soon_after_a_refused_mail(void **state)
{
	static const char *const script[] = { "<" GROUP, ">550\r\n", NULL };
	struct peer p = peer_start(peer_play, script, 0);
	int fd = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct verdicts v;
	double start = now(), took;
	struct smtp_result r = transact_with(&p, PIPE, 1, fd, 60, &v);

	(void)state;
	assert_int_equal(r.end, SMTP_END_MAIL);
	assert_int_equal(r.outcome, REFUSED);
	smtp_session_quit(&session);
	took = now() - start;
	peer_end(&p, &heard);
	close(fd);
	assert_string_equal(buf_text(&heard), GROUP);
	buf_finish(&heard);
	if (took < 1.9 || took > 15)
		fail_msg("took %.1f s", took);
}

/*
 * After 354 the peer first sends or does what the case says, and only then
 * writes the message, which is read from a pipe.  So nothing depends on timing.
 */
struct go_ahead {
	const char *name;
	const char *say; /* after the 354 */
	bool hang_up;    /* FIN */
	const char *end; /* the reply to the end of mail data, or NULL */
	enum smtp_outcome outcome;
	int write_fd;
};

static void
peer_go_ahead(int fd, int record, const void *context)
{
	const struct go_ahead *g = context;

	peer_hear_just(fd, record, GROUP);
	peer_say(fd, "250\r\n250\r\n354\r\n", 15);
	peer_say(fd, g->say, strlen(g->say));
	if (g->hang_up)
		shutdown(fd, SHUT_WR);
	peer_say(g->write_fd, "hello\n", 6);
	close(g->write_fd);
	if (g->end) {
		peer_hear_mail_data(fd, record);
		peer_say(fd, g->end, strlen(g->end));
	}
	peer_listen(fd, record);
}

/*
 * The end of mail data is sent only if there has been no input since the 354.
 */
static void
checks_input_before_the_end_of_mail_data(void **state)
{
	static const struct go_ahead cases[] = {
		{ "silence", "", false, "250 ok\r\n", DONE, -1 },
		{ "an empty line", "\r\n", false, "250 ok\r\n", DONE, -1 },
		{ "lines without a code", "go\r\n24: x\r\n", false,
		    "250 ok\r\n", DONE, -1 },
		{ "part of a line without a code", "go", false,
		    " on\r\n250 ok\r\n", DONE, -1 },
		{ "FIN", "", true, NULL, DIED, -1 },
		{ "an empty line and FIN", "\r\n", true, NULL, DIED, -1 },
		{ "250", "250 ok\r\n", false, NULL, BAD, -1 },
		{ "250 and FIN", "250 ok\r\n", true, NULL, BAD, -1 },
		{ "250 behind an empty line", "\r\n250 ok\r\n", false, NULL,
		    BAD, -1 },
		{ "552", "552 no\r\n", false, NULL, REFUSED, -1 },
		{ "552 and FIN", "552 no\r\n", true, NULL, REFUSED, -1 },
		{ "part of a reply and FIN", "25", true, NULL, DIED, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct go_ahead g = cases[i];
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;
		struct peer p;
		int pair[2];

		if (pipe(pair) == -1)
			peer_die("pipe");
		g.write_fd = pair[1];
		p = peer_start(peer_go_ahead, &g, 0);
		close(pair[1]);
		r = transact_with(&p, PIPE, 1, pair[0], 30, &v);
		peer_end(&p, &heard);
		close(pair[0]);
		/* Read together with the 354, it is one reply too many. */
		if (r.outcome != g.outcome &&
		    !(r.outcome == BAD && strpbrk(g.say, "25")))
			fail_msg("%s: %s %s", g.name, end_name[r.end],
			    outcome_name[r.outcome]);
		if (r.in_doubt)
			fail_msg("%s: in doubt", g.name);
		if (!strstr(buf_text(&heard), "\r\n.\r\n") != !g.end)
			fail_msg("%s: heard %s", g.name, buf_text(&heard));
		buf_finish(&heard);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_mail_again_without_parameters),
		cmocka_unit_test(uses_the_second_reply),
		cmocka_unit_test(does_not_send_mail_again),
		cmocka_unit_test(repeats_mail_with_smtputf8),
		cmocka_unit_test(does_not_repeat_mail_without_parameters),
		cmocka_unit_test(sends_no_parameters_in_the_next_transaction),
		cmocka_unit_test(classifies_503),
		cmocka_unit_test(defers_a_refusal_after_a_line_without_a_code),
		cmocka_unit_test(needs_no_reply_to_data),
		cmocka_unit_test(ends_soon_after_a_refused_mail),
		cmocka_unit_test(checks_input_before_the_end_of_mail_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
