/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "smtp/session.h"

/*
 * Transactions on a connection that was used before: what means that the
 * connection is not usable, and what is a result.
 *
 * The test is compiled with the module, so that it need not wait for 30
 * seconds, or for 2.
 */

static int64_t reused_ms;
static unsigned reused_waits; /* replies that were waited for that long */

static struct deadline
fake_deadline(const struct smtp_session *s)
{
	(void)s;
	reused_waits++;
	return deadline_in(reused_ms);
}

static int64_t closing_ms = SMTP_CLOSING_TIMEOUT_S * 1000;

static struct deadline
fake_closing(struct smtp_session *s)
{
	(void)s;
	return deadline_in(closing_ms);
}

#define smtp_session_reused_deadline fake_deadline
#define smtp_session_closing_deadline fake_closing
#include "smtp/transaction.c"

#include "transact.h"

#define SIZE SMTP_EXT_SIZE
#define MAIL "MAIL FROM:<s@x>\r\n"
#define TO(n) "RCPT TO:<" #n "@x>\r\n"
#define DATA "DATA\r\n"
#define QUIT "QUIT\r\n"
#define RSET "RSET\r\n"
#define RSET_OK "<" RSET, ">250\r\n"
#define GROUP MAIL TO(0) DATA
#define GROUP_OF_2 MAIL TO(0) TO(1) DATA
#define DECLARED "MAIL FROM:<s@x> SIZE=28\r\n"
#define FIRST DECLARED TO(0) DATA
#define TEXT "Subject: x\r\n\r\n..dot\r\n..\r\nend\r\n.\r\n"
#define GO_REPLIES "250\r\n250\r\n354\r\n"
#define GO ">" GO_REPLIES

struct reused {
	const char *name;
	unsigned extensions;
	size_t nrecipient;
	const char *script[10];
	enum smtp_end end;
	enum smtp_outcome outcome;
	enum smtp_outcome new; /* the outcome on a new connection */
	const char *heard;     /* and nothing else, with QUIT */
};

/* The file is -1 for a message that cannot be read. */
static struct smtp_result
run_reused(const struct reused *c, bool is_reused, int file, int progress,
    struct buf *heard)
{
	struct peer p = peer_start(peer_play, c->script, 0);
	struct pollfd input = { .fd = p.fd, .events = POLLIN };
	struct smtp_result r;
	struct verdicts v;

	/* What is said before MAIL has to be here. */
	if (c->script[0][0] != '<')
		assert_int_equal(poll(&input, 1, -1), 1);
	smtp_session_init(&session, p.fd, 1200);
	session.ehlo.extensions = c->extensions;
	session.mails = 5;
	session.is_reused = is_reused;
	session.progress = progress;
	r = transact_on(c->nrecipient, file, &v);
	assert_false(session.is_reused);
	smtp_session_quit(&session);
	/* Its script may be longer. */
	(void)peer_end(&p, heard);
	return r;
}

/* How many bytes there are, without waiting. */
static size_t
count_bytes(int fd)
{
	char bytes[10];
	ssize_t got;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	got = read(fd, bytes, sizeof bytes);
	return got > 0 ? (size_t)got : 0;
}

static bool
has_mail_data(const struct buf *heard)
{
	return heard->len > 0 && strstr(buf_text(heard), "Subject") != NULL;
}

static void
check_reused(const struct reused *c)
{
	int file = make_file(message, strlen(message)), progress[2];
	struct buf heard = { 0 };
	struct smtp_result r;

	assert_int_equal(pipe(progress), 0);
	r = run_reused(c, true, file, progress[1], &heard);
	if (r.end != c->end || r.outcome != c->outcome)
		fail_msg("%s: %s %s", c->name, end_name[r.end],
		    outcome_name[r.outcome]);
	if (strcmp(buf_text(&heard), c->heard) != 0)
		fail_msg("%s: heard %s", c->name, buf_text(&heard));
	if (count_bytes(progress[0]) != has_mail_data(&heard))
		fail_msg("%s: wrong number of bytes of progress", c->name);
	/* Such a result means that it can be sent again. */
	if (r.outcome == STALE && (has_mail_data(&heard) || r.in_doubt))
		fail_msg("%s: mail data was sent", c->name);
	close(progress[0]);
	close(progress[1]);

	lseek(file, 0, SEEK_SET);
	buf_cut(&heard, 0);
	r = run_reused(c, false, file, -1, &heard);
	if (r.outcome != c->new)
		fail_msg("%s: new: %s %s", c->name, end_name[r.end],
		    outcome_name[r.outcome]);
	close(file);
	buf_finish(&heard);
}

/* An old reply, and anything else that comes before MAIL is sent. */
static void
sends_nothing_if_there_is_input(void **state)
{
	static const struct reused cases[] = {
		{ "250", PIPE, 1, { ">250 old\r\n" }, SMTP_END_MAIL, STALE, BAD,
		    "" },
		{ "all replies", PIPE, 1, { ">250\r\n250\r\n354\r\n" },
		    SMTP_END_MAIL, STALE, BAD, "" },
		{ "part of a reply", PIPE, 1, { ">2" }, SMTP_END_MAIL, STALE,
		    BAD, "" },
		{ "421", 0, 1, { ">421 too slow\r\n", "/" }, SMTP_END_MAIL,
		    STALE, BAD, "" },
		{ "452", 0, 1, { ">452 full\r\n" }, SMTP_END_MAIL, STALE, BAD,
		    "" },
		{ "a line without a code", PIPE, 1,
		    { ">hello\r\n", "<" GROUP, GO, ".", ">250\r\n" },
		    SMTP_END_MAIL, STALE, DONE, "" },
		{ "closed", PIPE, 1, { "/" }, SMTP_END_MAIL, STALE, DIED, "" },
		{ "closed, one by one", 0, 1, { "!" }, SMTP_END_MAIL, STALE,
		    DIED, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
}

/* The server closes the connection, whatever it has accepted before. */
static void
is_stale_after_421(void **state)
{
	static const struct reused cases[] = {
		{ "MAIL", PIPE, 1, { "<" GROUP, ">421 enough\r\n", "/" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "MAIL, and the rest", PIPE, 1,
		    { "<" GROUP, ">421 enough\r\n421\r\n421\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "MAIL, one by one", 0, 1, { "<" MAIL, ">421 enough\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, MAIL },
		{ "RCPT", PIPE, 1, { "<" GROUP, ">250\r\n421\r\n503\r\n" },
		    SMTP_END_RCPT, STALE, REFUSED, GROUP },
		{ "RCPT, one by one", 0, 1,
		    { "<" MAIL, ">250\r\n", "<" TO(0), ">421\r\n" },
		    SMTP_END_RCPT, STALE, REFUSED, MAIL TO(0) },
		{ "the second RCPT, and the first is accepted", PIPE, 2,
		    { "<" GROUP_OF_2, ">250\r\n250\r\n421\r\n354\r\n", ".",
			">250\r\n" },
		    SMTP_END_RCPT, STALE, DONE, GROUP_OF_2 },
		{ "the second RCPT, and the first is refused", PIPE, 2,
		    { "<" GROUP_OF_2, ">250\r\n550\r\n421\r\n503\r\n" },
		    SMTP_END_RCPT, STALE, REFUSED, GROUP_OF_2 },
		{ "DATA", PIPE, 1, { "<" GROUP, ">250\r\n250\r\n421\r\n" },
		    SMTP_END_DATA, STALE, REFUSED, GROUP },
		{ "DATA, one by one", 0, 1,
		    { "<" MAIL, ">250\r\n", "<" TO(0), ">250\r\n", "<" DATA,
			">421\r\n" },
		    SMTP_END_DATA, STALE, REFUSED, GROUP },
		{ "DATA, and all are refused", PIPE, 1,
		    { "<" GROUP, ">250\r\n550\r\n421\r\n" }, SMTP_END_DATA,
		    STALE, REFUSED, GROUP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
}

/* It is not about the mail; with QUIT, because the server is in step. */
static void
is_stale_after_452_or_503_to_mail(void **state)
{
	static const struct reused cases[] = {
		{ "in a group", PIPE, 1,
		    { "<" GROUP, ">452 enough\r\n503\r\n503\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP QUIT },
		{ "one by one", 0, 1, { "<" MAIL, ">452 enough\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, MAIL QUIT },
		{ "and then 354", PIPE, 1,
		    { "<" GROUP, ">452 enough\r\n250\r\n354\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "503", PIPE, 1,
		    { "<" GROUP, ">503 5.5.1 EHLO first\r\n503\r\n503\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP QUIT },
		{ "503, one by one", 0, 1, { "<" MAIL, ">503\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, MAIL QUIT },
		{ "503, not permitted", 0, 1,
		    { "<" MAIL, ">503 5.7.1 no\r\n", RSET_OK }, SMTP_END_MAIL,
		    REFUSED, REFUSED, MAIL RSET QUIT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
}

static void
is_stale_if_the_dialogue_breaks(void **state)
{
	static const struct reused cases[] = {
		{ "closed, no reply", PIPE, 1, { "<" GROUP, "/" },
		    SMTP_END_MAIL, STALE, DIED, GROUP },
		{ "closed after MAIL", PIPE, 1, { "<" GROUP, ">250\r\n", "/" },
		    SMTP_END_RCPT, STALE, DIED, GROUP },
		{ "closed after MAIL, one by one", 0, 1,
		    { "<" MAIL, ">250\r\n", "<" TO(0), "/" }, SMTP_END_RCPT,
		    STALE, DIED, MAIL TO(0) },
		{ "closed after RCPT", PIPE, 1,
		    { "<" GROUP, ">250\r\n250\r\n", "/" }, SMTP_END_DATA, STALE,
		    DIED, GROUP },
		{ "part of a reply", PIPE, 1, { "<" GROUP, ">25", "/" },
		    SMTP_END_MAIL, STALE, DIED, GROUP },
		{ "two codes to MAIL", PIPE, 1,
		    { "<" GROUP, ">250-a\r\n251 b\r\n250\r\n354\r\n" },
		    SMTP_END_MAIL, STALE, BAD, GROUP },
		{ "354 to MAIL", PIPE, 1, { "<" GROUP, ">354\r\n" },
		    SMTP_END_MAIL, STALE, BAD, GROUP },
		{ "two codes to RCPT", PIPE, 1,
		    { "<" GROUP, ">250\r\n250-a\r\n550 b\r\n354\r\n" },
		    SMTP_END_RCPT, STALE, BAD, GROUP },
		{ "503 to RCPT, in a group", PIPE, 1,
		    { "<" GROUP, ">250\r\n503\r\n503\r\n" }, SMTP_END_RCPT,
		    STALE, BAD, GROUP },
		{ "250 to DATA", PIPE, 1,
		    { "<" GROUP, ">250\r\n250\r\n250\r\n" }, SMTP_END_DATA,
		    STALE, BAD, GROUP },
		{ "one reply too many", PIPE, 1, { "<" GROUP, GO "250\r\n" },
		    SMTP_END_DATA, STALE, BAD, GROUP },
		{ "one reply too many, one by one", 0, 1,
		    { "<" MAIL, ">250\r\n250\r\n" }, SMTP_END_RCPT, STALE, BAD,
		    MAIL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
}

/*
 * What the server said of the idle connection, as MAIL was sent: a reply that
 * is not the one to MAIL, so the group has one too few, or too many.
 */
static void
is_stale_after_a_refusal_of_the_connection(void **state)
{
	static const struct reused cases[] = {
		{ "closed", PIPE, 1, { "<" GROUP, ">451 idle\r\n", "/" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "permanent", PIPE, 1, { "<" GROUP, ">554 idle\r\n", "/" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "closed before the last reply", PIPE, 1,
		    { "<" GROUP, ">554\r\n503\r\n", "/" }, SMTP_END_MAIL, STALE,
		    REFUSED, GROUP },
		{ "closed within the last reply", PIPE, 1,
		    { "<" GROUP, ">554\r\n503\r\n503", "/" }, SMTP_END_MAIL,
		    STALE, REFUSED, GROUP },
		{ "421 in place of the rest", PIPE, 1,
		    { "<" GROUP, ">451\r\n421\r\n421\r\n" }, SMTP_END_MAIL,
		    STALE, REFUSED, GROUP },
		{ "250 to DATA", PIPE, 1,
		    { "<" GROUP, ">451\r\n250\r\n250\r\n" }, SMTP_END_MAIL,
		    STALE, REFUSED, GROUP },
		{ "no reply to RCPT", PIPE, 1,
		    { "<" GROUP, ">451\r\n250-a\r\n251 b\r\n354\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "the replies to the others are one behind", PIPE, 1,
		    { "<" GROUP, ">451\r\n" GO_REPLIES }, SMTP_END_MAIL, STALE,
		    REFUSED, GROUP },
		{ "one behind, and refused", PIPE, 1,
		    { "<" GROUP, ">451\r\n250\r\n550\r\n503\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, GROUP },
		{ "part of one more", PIPE, 1,
		    { "<" GROUP, ">450\r\n503\r\n503\r\n4" }, SMTP_END_MAIL,
		    STALE, REFUSED, GROUP },
		{ "one more, one by one", 0, 1, { "<" MAIL, ">451\r\n250\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, MAIL },
		{ "closed, one by one", 0, 1,
		    { "<" MAIL, ">554 idle\r\n", "/" }, SMTP_END_MAIL, STALE,
		    REFUSED, MAIL RSET },
		{ "421 to one more", 0, 1,
		    { "<" MAIL, ">554 idle\r\n", "<" RSET, ">421 bye\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, MAIL RSET },
		{ "closed amid one more reply", 0, 1,
		    { "<" MAIL, ">554 idle\r\n", "<" RSET, ">25", "/" },
		    SMTP_END_MAIL, STALE, REFUSED, MAIL RSET },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
}

/* All replies have come, or the server has not closed the connection. */
static void
takes_refusals_of_mail_as_results(void **state)
{
	static const struct reused cases[] = {
		{ "all replies", PIPE, 1,
		    { "<" GROUP, ">550\r\n503\r\n503\r\n" }, SMTP_END_MAIL,
		    REFUSED, REFUSED, GROUP QUIT },
		{ "all replies, 354", PIPE, 1,
		    { "<" GROUP, ">550\r\n250\r\n354\r\n" }, SMTP_END_MAIL,
		    REFUSED, REFUSED, GROUP },
		{ "all replies, and 421", PIPE, 1,
		    { "<" GROUP, ">550\r\n503\r\n503\r\n421 bye\r\n" },
		    SMTP_END_MAIL, REFUSED, REFUSED, GROUP QUIT },
		{ "one by one", 0, 1, { "<" MAIL, ">550 no\r\n", RSET_OK },
		    SMTP_END_MAIL, REFUSED, REFUSED, MAIL RSET QUIT },
		{ "one by one, and no RSET", 0, 1,
		    { "<" MAIL, ">550 no\r\n", "<" RSET, ">502\r\n" },
		    SMTP_END_MAIL, REFUSED, REFUSED, MAIL RSET QUIT },
	};
	static const struct reused silent[] = {
		{ "silent", PIPE, 1, { "<" GROUP, ">550 no\r\n503\r\n" },
		    SMTP_END_MAIL, REFUSED, REFUSED, GROUP },
		{ "silent, one by one", 0, 1, { "<" MAIL, ">550 no\r\n" },
		    SMTP_END_MAIL, REFUSED, REFUSED, MAIL RSET },
	};
	int file = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct smtp_result r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
	closing_ms = 100;
	for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
		r = run_reused(&silent[i], true, file, -1, &heard);
		assert_int_equal(r.end, SMTP_END_MAIL);
		assert_int_equal(r.outcome, REFUSED);
		assert_int_equal(session.reply.code, 550);
		assert_string_equal(buf_text(&heard), silent[i].heard);
		buf_cut(&heard, 0);
	}
	closing_ms = SMTP_CLOSING_TIMEOUT_S * 1000;
	buf_finish(&heard);
	close(file);
}

/* Everything else is reported as on a new connection. */
static void
takes_other_replies_as_results(void **state)
{
	static const struct reused cases[] = {
		{ "delivered", PIPE, 1, { "<" GROUP, GO, ".", ">250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, DONE, GROUP TEXT QUIT },
		{ "450 to MAIL", PIPE, 1,
		    { "<" GROUP, ">450\r\n503\r\n503\r\n" }, SMTP_END_MAIL,
		    REFUSED, REFUSED, GROUP QUIT },
		{ "451 to MAIL, one by one", 0, 1,
		    { "<" MAIL, ">451\r\n", RSET_OK }, SMTP_END_MAIL, REFUSED,
		    REFUSED, MAIL RSET QUIT },
		{ "552 to MAIL", 0, 1, { "<" MAIL, ">552\r\n", RSET_OK },
		    SMTP_END_MAIL, REFUSED, REFUSED, MAIL RSET QUIT },
		{ "452 to RCPT", PIPE, 1,
		    { "<" GROUP, ">250\r\n452\r\n503\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, REFUSED, GROUP QUIT },
		{ "452 to a RCPT", PIPE, 2,
		    { "<" GROUP_OF_2, ">250\r\n250\r\n452\r\n354\r\n", ".",
			">250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, DONE, GROUP_OF_2 TEXT QUIT },
		{ "452 to DATA", PIPE, 1,
		    { "<" GROUP, ">250\r\n250\r\n452\r\n" }, SMTP_END_DATA,
		    REFUSED, REFUSED, GROUP QUIT },
		{ "all are refused, and closed", PIPE, 1,
		    { "<" GROUP, ">250\r\n550\r\n", "/" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, REFUSED, GROUP },
		{ "all are refused, and 354", PIPE, 1,
		    { "<" GROUP, ">250\r\n550\r\n354\r\n", "<.\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, REFUSED,
		    GROUP ".\r\n" QUIT },
		{ "421 to mail data", PIPE, 1,
		    { "<" GROUP, GO, ".", ">421\r\n" }, SMTP_END_MAIL_DATA,
		    REFUSED, REFUSED, GROUP TEXT QUIT },
		{ "closed after mail data", PIPE, 1,
		    { "<" GROUP, GO, ".", "/" }, SMTP_END_MAIL_DATA, DIED, DIED,
		    GROUP TEXT },
		{ "no reply to mail data", PIPE, 1,
		    { "<" GROUP, GO, ".", ">354\r\n" }, SMTP_END_MAIL_DATA, BAD,
		    BAD, GROUP TEXT },
		{ "nobody to send it to", PIPE, 0, { "<" QUIT },
		    SMTP_END_NONE_ACCEPTED, REFUSED, REFUSED, QUIT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
}

/* MAIL is sent once more without parameters, and the same rules apply. */
static void
repeats_mail_without_parameters(void **state)
{
	static const struct reused cases[] = {
		{ "delivered", SIZE | PIPE, 1,
		    { "<" FIRST, ">555\r\n503\r\n503\r\n", "<" GROUP, GO, ".",
			">250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, DONE, FIRST GROUP TEXT QUIT },
		{ "refused", SIZE, 1,
		    { "<" DECLARED, ">555\r\n", "<" MAIL, ">550\r\n", RSET_OK },
		    SMTP_END_MAIL, REFUSED, REFUSED, DECLARED MAIL RSET QUIT },
		{ "421", SIZE | PIPE, 1,
		    { "<" FIRST, ">555\r\n503\r\n503\r\n", "<" GROUP,
			">421\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, FIRST GROUP },
		{ "452", SIZE, 1,
		    { "<" DECLARED, ">555\r\n", "<" MAIL, ">452\r\n" },
		    SMTP_END_MAIL, STALE, REFUSED, DECLARED MAIL QUIT },
		{ "closed before", SIZE | PIPE, 1,
		    { "<" FIRST, ">555\r\n503\r\n", "/" }, SMTP_END_MAIL, STALE,
		    DIED, FIRST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_reused(&cases[i]);
	/* Each MAIL counts (RFC 9422). */
	assert_int_equal(session.mails, 6);
	check_reused(&cases[0]);
	assert_int_equal(session.mails, 7);
}

/* The server has said how many messages it takes on a connection. */
static void
is_stale_at_mailmax(void **state)
{
	static const struct {
		uint64_t used;
		const char *script[5];
		enum smtp_outcome outcome;
		const char *heard;
	} cases[] = {
		{ 6, { "<" QUIT }, STALE, QUIT },
		{ 5, { "<" QUIT }, STALE, QUIT },
		{ 4, { "<" MAIL, ">550\r\n", RSET_OK }, REFUSED,
		    MAIL RSET QUIT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		int file = make_file(message, strlen(message));
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		smtp_session_init(&session, p.fd, 1200);
		session.ehlo.mailmax = 5;
		session.mails = cases[i].used;
		session.is_reused = true;
		r = transact_on(1, file, &v);
		smtp_session_quit(&session);
		(void)peer_end(&p, &heard);
		assert_int_equal(r.outcome, cases[i].outcome);
		assert_string_equal(buf_text(&heard), cases[i].heard);
		buf_finish(&heard);
		close(file);
	}
}

/*
 * A firewall that has forgotten the connection: the reply to MAIL is waited for
 * as long as SMTP_REUSED_TIMEOUT_S says, and not for timeoutremote.
 */
static void
does_not_wait_long_for_the_first_reply(void **state)
{
	static const struct reused silent = { "silent", PIPE, 1, { "<" GROUP },
		SMTP_END_MAIL, STALE, DIED, GROUP };
	static const struct reused usual = { "usual", PIPE, 1,
		{ "<" GROUP, GO, ".", ">250\r\n" }, SMTP_END_MAIL_DATA, DONE,
		DONE, GROUP TEXT QUIT };
	int file = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct smtp_result r;

	(void)state;
	reused_ms = 100;
	r = run_reused(&silent, true, file, -1, &heard);
	reused_ms = 60000;
	assert_int_equal(r.outcome, STALE);
	assert_int_equal(r.end, SMTP_END_MAIL);
	buf_cut(&heard, 0);

	/* The other replies may take their time. */
	reused_waits = 0;
	r = run_reused(&usual, true, file, -1, &heard);
	assert_int_equal(r.outcome, DONE);
	assert_int_equal(reused_waits, 1);
	buf_cut(&heard, 0);
	r = run_reused(&usual, false, file, -1, &heard);
	assert_int_equal(reused_waits, 1);
	buf_finish(&heard);
	close(file);
}

/* If nobody can be told that mail data leaves, none does. */
static void
sends_no_mail_data_without_progress(void **state)
{
	static const struct reused c = { "progress", PIPE, 1,
		{ "<" GROUP, GO, ".", ">250\r\n" }, SMTP_END_DATA, STALE, DONE,
		GROUP };
	int file = make_file(message, strlen(message)), progress[2];
	struct buf heard = { 0 };
	struct smtp_result r;

	(void)state;
	assert_int_equal(pipe(progress), 0);
	close(progress[0]);
	r = run_reused(&c, true, file, progress[1], &heard);
	assert_int_equal(r.outcome, STALE);
	assert_int_equal(r.end, SMTP_END_DATA);
	assert_string_equal(buf_text(&heard), GROUP);
	close(progress[1]);
	close(file);
	buf_finish(&heard);
}

/* What is not about the connection. */
static void
reports_faults_of_the_message(void **state)
{
	static const struct reused c = { "message", PIPE, 1, { "<" GROUP, GO },
		SMTP_END_MESSAGE, DIED, DIED, GROUP };
	struct buf heard = { 0 };
	struct smtp_result r;

	(void)state;
	r = run_reused(&c, true, -1, -1, &heard);
	assert_int_equal(r.end, SMTP_END_MESSAGE);
	assert_int_equal(r.outcome, DIED);
	buf_finish(&heard);
}

/* Only the first transaction is one that can be made elsewhere. */
static void
second_transaction_is_as_on_a_new_connection(void **state)
{
	static const char *const script[] = { "<" MAIL, ">550\r\n", RSET_OK,
		"<" MAIL, ">421\r\n", NULL };
	struct peer p = peer_start(peer_play, script, 0);
	int file = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct smtp_result r;
	struct verdicts v;

	(void)state;
	smtp_session_init(&session, p.fd, 1200);
	session.is_reused = true;
	r = transact_on(1, file, &v);
	assert_int_equal(r.outcome, REFUSED);
	r = transact_on(1, file, &v);
	assert_int_equal(r.outcome, REFUSED);
	assert_int_equal(r.end, SMTP_END_MAIL);
	assert_int_equal(peer_end(&p, &heard), 0);
	buf_finish(&heard);
	close(file);
}

static int
set_up(void **state)
{
	(void)state;
	reused_ms = 60000;
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_nothing_if_there_is_input),
		cmocka_unit_test(is_stale_after_421),
		cmocka_unit_test(is_stale_after_452_or_503_to_mail),
		cmocka_unit_test(is_stale_if_the_dialogue_breaks),
		cmocka_unit_test(is_stale_after_a_refusal_of_the_connection),
		cmocka_unit_test(takes_refusals_of_mail_as_results),
		cmocka_unit_test(takes_other_replies_as_results),
		cmocka_unit_test(repeats_mail_without_parameters),
		cmocka_unit_test(is_stale_at_mailmax),
		cmocka_unit_test(does_not_wait_long_for_the_first_reply),
		cmocka_unit_test(sends_no_mail_data_without_progress),
		cmocka_unit_test(reports_faults_of_the_message),
		cmocka_unit_test(second_transaction_is_as_on_a_new_connection),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
