/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>
#include <time.h>

#include "smtp/session.h"

#include "peer.h"

#define TLS SMTP_EXT_STARTTLS
#define PIPE SMTP_EXT_PIPELINING
#define HI ">220 hi\r\n"
#define EHLO "<EHLO me.example\r\n"
#define HELO "<HELO me.example\r\n"
#define STARTTLS "<STARTTLS\r\n"

static const char *const outcome_name[] = { "DIED", "MALFORMED", "UNSOLICITED",
	"REFUSED", "DONE" };

static struct smtp_session session;

/* Fill it with garbage: smtp_session_init() must set everything. */
static void
begin(int fd, unsigned long timeout_s)
{
	memset(&session, 0xff, sizeof session);
	smtp_session_init(&session, fd, timeout_s);
}

static enum smtp_outcome
starttls(void)
{
	struct deadline until = smtp_session_hello_deadline(&session);
	enum smtp_outcome outcome = smtp_session_send_starttls(&session, until);

	return outcome == SMTP_DONE
		   ? smtp_session_starttls_reply(&session, until)
		   : outcome;
}

/* g greeting, e EHLO, h HELO, s STARTTLS, q QUIT. */
static enum smtp_outcome
take_step(char step)
{
	switch (step) {
	case 'g':
		return smtp_session_greeting(&session);
	case 'e':
		return smtp_session_ehlo(&session, "me.example");
	case 'h':
		return smtp_session_helo(&session, "me.example");
	case 's':
		return starttls();
	default:
		smtp_session_quit(&session);
		return SMTP_DONE;
	}
}

/* All steps except the last must be DONE; returns the outcome of the last. */
static enum smtp_outcome
take_steps(const char *name, const char *steps)
{
	for (; steps[1]; steps++)
		if (take_step(*steps) != SMTP_DONE)
			fail_msg("%s: step %c failed", name, *steps);
	return take_step(*steps);
}

static bool
shows(const char *text)
{
	return session.reply.len == strlen(text) &&
	       memcmp(session.reply.text, text, strlen(text)) == 0;
}

static void
runs_each_step(void **state)
{
	static const struct {
		const char *name;
		const char *script[10];
		const char *steps;
		enum smtp_outcome want;
		const char *shown; /* NULL: not checked */
		unsigned extensions;
	} cases[] = {
		{ "greeting", { HI }, "g", SMTP_DONE, "220 hi\n", 0 },
		{ "B1 lines", { ">220-a\r\n220 b\r\n" }, "g", SMTP_DONE,
		    "220-a\n220 b\n", 0 },
		{ "B1 no text", { ">220\r\n" }, "g", SMTP_DONE, "220\n", 0 },
		{ "B2 single bytes",
		    { ">2", ">2", ">0", ">-", ">\r", ">\n", ">220\r", ">\n" },
		    "g", SMTP_DONE, "220-\n220\n", 0 },
		{ "B2 LF only", { ">220 hi\n" }, "g", SMTP_DONE, "220 hi\n",
		    0 },
		{ "B3 421", { ">421 busy\r\n" }, "g", SMTP_REFUSED,
		    "421 busy\n", 0 },
		{ "B4 554", { ">554 no\r\n" }, "g", SMTP_REFUSED, "554 no\n",
		    0 },
		{ "B5 521", { ">521 no\r\n" }, "g", SMTP_REFUSED, "521 no\n",
		    0 },
		{ "another 2yz", { ">250 hi\r\n" }, "g", SMTP_REFUSED,
		    "250 hi\n", 0 },
		{ "B7 SSH", { ">SSH-2.0-x\r\n", "/" }, "g", SMTP_DIED,
		    "SSH-2.0-x\n", 0 },
		{ "lines without a code before it",
		    { ">2x0 hi\r\n\r\n220 hi\r\n" }, "g", SMTP_DONE,
		    "2x0 hi\n220 hi\n", 0 },
		{ "no separator", { ">220hi\r\n" }, "g", SMTP_DONE, "220hi\n",
		    0 },
		{ "lines without a code behind it",
		    { ">220 hi\r\n\r\nx\r\n", EHLO, ">250 x\r\n" }, "ge",
		    SMTP_DONE, NULL, 0 },
		{ "lines without a code before 220 to STARTTLS",
		    { HI, EHLO, ">250-x\r\n250 STARTTLS\r\n", STARTTLS,
			">\r\nx\r\n220 go\r\n" },
		    "ges", SMTP_DONE, "x\n220 go\n", TLS },
		{ "keywords without a code",
		    { HI, EHLO, ">250-x\r\nSTARTTLS\r\n250 PIPELINING\r\n" },
		    "ge", SMTP_DONE, NULL, PIPE },
		{ "B11 code changes", { ">220-a\r\n554 b\r\n" }, "g",
		    SMTP_MALFORMED, "220-a\n554 b\n", 0 },
		{ "B14 part of it", { ">220-a\r\n", "!" }, "g", SMTP_DIED, NULL,
		    0 },
		{ "H33 nothing", { "!" }, "g", SMTP_DIED, NULL, 0 },
		{ "no more to come", { ">220 hi", "/" }, "g", SMTP_DIED, NULL,
		    0 },

		{ "EHLO", { HI, EHLO, ">250 x\r\n" }, "ge", SMTP_DONE,
		    "250 x\n", 0 },
		{ "EHLO with keywords",
		    { HI, EHLO,
			">250-x\r\n250-STARTTLS\r\n250 PIPELINING\r\n" },
		    "ge", SMTP_DONE, NULL, TLS | PIPE },
		{ "C4 odd case",
		    { HI, EHLO,
			">250-x\r\n250-StartTLS \r\n250 pipelining\t\r\n" },
		    "ge", SMTP_DONE, NULL, TLS | PIPE },
		{ "C4 LF only", { HI, EHLO, ">250-x\n250-STARTTLS\n250 X\n" },
		    "ge", SMTP_DONE, NULL, TLS },
		{ "the first line is no keyword",
		    { HI, EHLO, ">250-STARTTLS\r\n250 PIPELINING\r\n" }, "ge",
		    SMTP_DONE, NULL, PIPE },
		{ "the only line is no keyword",
		    { HI, EHLO, ">250 STARTTLS\r\n" }, "ge", SMTP_DONE, NULL,
		    0 },
		{ "C9 twice",
		    { HI, EHLO, ">250-x\r\n250-STARTTLS\r\n250 STARTTLS\r\n" },
		    "ge", SMTP_DONE, NULL, TLS },
		{ "C16 limits",
		    { HI, EHLO,
			">250-x\r\n250-LIMITS RCPTMAX=1\r\n250 STARTTLS\r\n" },
		    "ge", SMTP_DONE, NULL, TLS | SMTP_EXT_LIMITS },
		{ "CR in a keyword",
		    { HI, EHLO, ">250-x\r\n250 START\rTLSX\r\n" }, "ge",
		    SMTP_DONE, NULL, 0 },
		{ "keywords of a refusal",
		    { HI, EHLO, ">550-x\r\n550 STARTTLS\r\n" }, "ge",
		    SMTP_REFUSED, NULL, 0 },
		{ "keywords of what breaks off",
		    { HI, EHLO, ">250-x\r\n250-STARTTLS\r\n", "!" }, "ge",
		    SMTP_DIED, NULL, 0 },
		{ "keywords of what is malformed",
		    { HI, EHLO,
			">250-x\r\n250-STARTTLS\r\n251 PIPELINING\r\n" },
		    "ge", SMTP_MALFORMED, NULL, 0 },

		{ "C1 refused", { HI, EHLO, ">502 what\r\n" }, "ge",
		    SMTP_REFUSED, "502 what\n", 0 },
		{ "C2 4yz", { HI, EHLO, ">451 later\r\n" }, "ge", SMTP_REFUSED,
		    "451 later\n", 0 },
		{ "C2 421", { HI, EHLO, ">421 bye\r\n", "!" }, "ge",
		    SMTP_REFUSED, "421 bye\n", 0 },
		{ "another 2yz", { HI, EHLO, ">220 hi\r\n" }, "ge",
		    SMTP_REFUSED, "220 hi\n", 0 },
		{ "C2 hangs up", { HI, EHLO, "!" }, "ge", SMTP_DIED, NULL, 0 },
		{ "HELO", { HI, HELO, ">250 x\r\n" }, "gh", SMTP_DONE,
		    "250 x\n", 0 },
		{ "HELO has no keywords",
		    { HI, HELO, ">250-x\r\n250 STARTTLS\r\n" }, "gh", SMTP_DONE,
		    NULL, 0 },
		{ "HELO refused", { HI, HELO, ">550 no\r\n" }, "gh",
		    SMTP_REFUSED, "550 no\n", 0 },
		{ "HELO hangs up", { HI, HELO, "!" }, "gh", SMTP_DIED, NULL,
		    0 },

		{ "STARTTLS",
		    { HI, EHLO, ">250-x\r\n250 STARTTLS\r\n", STARTTLS,
			">220 go\r\n" },
		    "ges", SMTP_DONE, "220 go\n", TLS },
		{ "STARTTLS refused for now",
		    { HI, EHLO, ">250 x\r\n", STARTTLS, ">454 later\r\n" },
		    "ges", SMTP_REFUSED, "454 later\n", 0 },
		{ "STARTTLS refused",
		    { HI, EHLO, ">250 x\r\n", STARTTLS, ">502 what\r\n" },
		    "ges", SMTP_REFUSED, "502 what\n", 0 },
		{ "STARTTLS, another 2yz",
		    { HI, EHLO, ">250 x\r\n", STARTTLS, ">250 go\r\n" }, "ges",
		    SMTP_REFUSED, "250 go\n", 0 },
		{ "STARTTLS, hangs up",
		    { HI, EHLO, ">250 x\r\n", STARTTLS, "!" }, "ges", SMTP_DIED,
		    NULL, 0 },
		{ "C11 the second EHLO counts",
		    { HI, EHLO, ">250-x\r\n250-STARTTLS\r\n250 PIPELINING\r\n",
			EHLO, ">250-x\r\n250 X\r\n" },
		    "gee", SMTP_DONE, NULL, 0 },
		{ "C11 a second EHLO that fails",
		    { HI, EHLO, ">250-x\r\n250 PIPELINING\r\n", EHLO,
			">550 no\r\n" },
		    "gee", SMTP_REFUSED, NULL, 0 },
		{ "C11 HELO behind EHLO",
		    { HI, EHLO, ">250-x\r\n250 PIPELINING\r\n", HELO,
			">250 x\r\n" },
		    "geh", SMTP_DONE, NULL, 0 },
		{ "QUIT", { HI, "<QUIT\r\n" }, "gq", SMTP_DONE, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		struct buf heard = { 0 };
		enum smtp_outcome got;
		int end;

		begin(p.fd, 30);
		got = take_steps(cases[i].name, cases[i].steps);
		end = peer_end(&p, &heard);
		if (got != cases[i].want)
			fail_msg("%s: %s", cases[i].name, outcome_name[got]);
		if (end != 0)
			fail_msg("%s: the peer failed (%d), having heard %s",
			    cases[i].name, end, buf_text(&heard));
		if (cases[i].shown && !shows(cases[i].shown))
			fail_msg("%s: shows %.*s", cases[i].name,
			    (int)session.reply.len, session.reply.text);
		if (session.ehlo.extensions != cases[i].extensions)
			fail_msg("%s: extensions %u", cases[i].name,
			    session.ehlo.extensions);
		buf_finish(&heard);
	}
}

/* Nothing else is sent, whatever the server replies. */
static void
sends_nothing_else(void **state)
{
	static const struct {
		const char *name;
		const char *script[6];
		const char *steps;
		const char *heard;
	} cases[] = {
		{ "bad greeting", { ">554 no\r\n" }, "g", "" },
		{ "garbage", { ">hello\r\n", "/" }, "g", "" },
		{ "more than a greeting", { ">220 a\r\n250 b\r\n" }, "ge", "" },
		{ "EHLO put off", { HI, EHLO, ">421 b\r\n" }, "ge",
		    "EHLO me.example\r\n" },
		{ "EHLO malformed", { HI, EHLO, ">550-a\r\n250 b\r\n" }, "ge",
		    "EHLO me.example\r\n" },
		{ "EHLO answered twice", { HI, EHLO, ">250 a\r\n250 b\r\n" },
		    "ge", "EHLO me.example\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		struct buf heard = { 0 };

		begin(p.fd, 30);
		take_steps(cases[i].name, cases[i].steps);
		if (peer_end(&p, &heard) != 0 ||
		    strcmp(buf_text(&heard), cases[i].heard) != 0)
			fail_msg("%s: said %s", cases[i].name,
			    buf_text(&heard));
		buf_finish(&heard);
	}
}

/* Appends lines with the code and filler, with this length in all. */
static void
make_reply(struct buf *b, const char *code, size_t len)
{
	for (; len > 200; len -= 100)
		buf_printf(b, "%s-%0*d\r\n", code, 94, 0);
	buf_printf(b, "%s %0*d\r\n", code, (int)len - 6, 0);
}

/*
 * B13, C17, CVE-2011-0411: more than one reply to a step.  The length of the
 * reply makes our first read end at each offset of the extra bytes, so they are
 * found in the buffer, in the socket, or in both.
 */
static void
rejects_a_second_reply(void **state)
{
	static const struct {
		const char *name;
		const char *before[4];
		const char *code;
		const char *steps; /* the last one finds it */
		char late;         /* or this one, if it came later */
		enum smtp_outcome want;
	} cases[] = {
		{ "greeting, then EHLO", { 0 }, "220", "ge", 0,
		    SMTP_UNSOLICITED },
		{ "EHLO, then EHLO", { HI, EHLO }, "250", "ge", 'e',
		    SMTP_UNSOLICITED },
		{ "EHLO, then STARTTLS", { HI, EHLO }, "250", "ge", 's',
		    SMTP_UNSOLICITED },
		{ "HELO, then HELO", { HI, HELO }, "250", "gh", 'h',
		    SMTP_UNSOLICITED },
		{ "STARTTLS", { HI, STARTTLS }, "220", "gs", 0,
		    SMTP_MALFORMED },
	};
	static const char extra[] = "250 injected\r\n";

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t at = 0; at < sizeof extra; at++) {
			struct buf step = { 0 }, heard = { 0 };
			const char *script[6] = { 0 };
			enum smtp_outcome got;
			struct peer p;
			size_t n = 0;

			for (; cases[i].before[n]; n++)
				script[n] = cases[i].before[n];
			buf_puts(&step, ">");
			make_reply(&step, cases[i].code, STREAM_IN_SIZE - at);
			buf_puts(&step, extra);
			script[n] = step.data;

			p = peer_start(peer_play, script, 0);
			begin(p.fd, 30);
			got = take_steps(cases[i].name, cases[i].steps);
			/* It may not have been in the socket before. */
			if (got == SMTP_DONE && at == 0 && cases[i].late)
				got = take_step(cases[i].late);
			if (peer_end(&p, &heard) != 0)
				fail_msg("%s, %zu read: the peer failed",
				    cases[i].name, at);
			if (got != cases[i].want)
				fail_msg("%s, %zu read: %s", cases[i].name, at,
				    outcome_name[got]);
			buf_finish(&step);
			buf_finish(&heard);
		}
	}
}

/* One byte after the 220 of STARTTLS is one too many, whatever it is. */
static void
rejects_any_byte_after_starttls(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char go[] = ">220 go\r\n?";
		const char *script[] = { HI, STARTTLS, go, NULL };
		struct buf heard = { 0 };
		enum smtp_outcome got;
		struct peer p;

		go[sizeof go - 2] = (char)c;
		p = peer_start(peer_play, script, 0);
		begin(p.fd, 30);
		got = take_steps("STARTTLS", "gs");
		peer_end(&p, &heard);
		buf_finish(&heard);
		if (got != SMTP_MALFORMED)
			fail_msg("byte %d: %s", c, outcome_name[got]);
	}
}

/* C7: a keyword at each position around the end of the text that is kept. */
static void
reads_keywords_after_the_kept_text(void **state)
{
	(void)state;
	for (size_t start = 4960; start < 5010; start++) {
		struct buf step = { 0 }, heard = { 0 };
		const char *script[] = { HI, EHLO, NULL, NULL };
		struct peer p;

		buf_puts(&step, ">250-x\r\n");
		while (step.len + 400 < start)
			buf_printf(&step, "250-%0*d\r\n", 200, 0);
		buf_printf(&step, "250-%0*d\r\n", (int)(start - step.len), 0);
		buf_puts(&step, "250-STARTTLS\r\n250 PIPELINING\r\n");
		script[2] = step.data;
		p = peer_start(peer_play, script, 0);
		begin(p.fd, 30);
		if (take_steps("EHLO", "ge") != SMTP_DONE ||
		    session.ehlo.extensions != (TLS | PIPE))
			fail_msg("at %zu: extensions %u", start,
			    session.ehlo.extensions);
		peer_end(&p, &heard);
		buf_finish(&step);
		buf_finish(&heard);
	}
}

/* C8: a very long list is read completely, and its end is not kept. */
static void
long_lists(void **state)
{
	static const struct {
		const char *name;
		size_t lines;
		int length;
		enum smtp_outcome want;
	} cases[] = {
		{ "C8 ten thousand keywords", 10000, 20, SMTP_DONE },
		{ "C8 a keyword of 60 KB", 1, 60000, SMTP_DONE },
		{ "B9 too many", 60000, 20, SMTP_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf step = { 0 }, heard = { 0 };
		const char *script[] = { HI, EHLO, NULL, NULL };
		enum smtp_outcome got;
		struct peer p;

		buf_puts(&step, ">250-x\r\n");
		for (size_t j = 0; j < cases[i].lines; j++)
			buf_printf(&step, "250-X%0*d\r\n", cases[i].length, 0);
		buf_puts(&step, "250 PIPELINING\r\n");
		script[2] = step.data;
		p = peer_start(peer_play, script, 0);
		begin(p.fd, 30);
		got = take_steps(cases[i].name, "ge");
		peer_end(&p, &heard);
		if (got != cases[i].want)
			fail_msg("%s: %s", cases[i].name, outcome_name[got]);
		if (session.ehlo.extensions != (got == SMTP_DONE ? PIPE : 0))
			fail_msg("%s: extensions %u", cases[i].name,
			    session.ehlo.extensions);
		buf_finish(&step);
		buf_finish(&heard);
	}
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
limits_the_wait_on_a_used_connection(void **state)
{
	static const struct {
		unsigned long timeout_s;
		int64_t want_s;
	} cases[] = { { 1200, 30 }, { 31, 30 }, { 30, 30 }, { 7, 7 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct deadline before, got, after;

		smtp_session_init(&session, -1, cases[i].timeout_s);
		before = deadline_in(1000 * cases[i].want_s);
		got = smtp_session_reused_deadline(&session);
		after = deadline_in(1000 * cases[i].want_s);
		assert_true(before.at <= got.at && got.at <= after.at);
	}
}

struct drip {
	const char *first;
	const char *again; /* sent again; NULL: silence */
};

static void
peer_drip(int fd, int record, const void *context)
{
	const struct drip *drip = context;

	peer_say(fd, drip->first, strlen(drip->first));
	while (drip->again) {
		peer_say(fd, drip->again, strlen(drip->again));
		poll(NULL, 0, 100);
	}
	peer_listen(fd, record);
}

static void
has_one_deadline_for_a_reply(void **state)
{
	static const struct {
		const char *name;
		struct drip drip;
	} cases[] = {
		{ "B6 silence", { "", NULL } },
		{ "B6 silence in a line", { "220 ", NULL } },
		{ "J1 a byte now and then", { "220 ", "x" } },
		{ "J2 a line now and then", { "", "220-x\r\n" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_drip, &cases[i].drip, 0);
		struct buf heard = { 0 };
		double start = now(), took;
		enum smtp_outcome got;

		begin(p.fd, 1);
		got = smtp_session_greeting(&session);
		took = now() - start;
		peer_end(&p, &heard);
		buf_finish(&heard);
		if (got != SMTP_DIED)
			fail_msg("%s: %s", cases[i].name, outcome_name[got]);
		if (took < 0.9 || took > 5)
			fail_msg("%s: took %.1f s", cases[i].name, took);
	}
}

/* QUIT is sent only if that is possible without waiting. */
static void
quits_without_waiting(void **state)
{
	static const char much[STREAM_OUT_SIZE];
	int pair[2];
	double start;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	begin(pair[0], 30);
	while (write(pair[0], much, sizeof much) > 0)
		;
	start = now();
	smtp_session_quit(&session);
	smtp_session_quit(&session);
	close(pair[1]);
	smtp_session_quit(&session);
	if (now() - start > 1)
		fail_msg("QUIT took %.1f s", now() - start);
	close(pair[0]);
}

/* Replies left by a transaction are read before the next one. */
static void
reads_outstanding_replies(void **state)
{
	static const struct {
		const char *name;
		const char *script[4];
		size_t rcpt, data; /* outstanding */
		enum smtp_phase phase;
		enum smtp_outcome want;
	} cases[] = {
		{ "nothing", { NULL }, 0, 0, SMTP_PHASE_READY, SMTP_DONE },
		{ "replies of any kind", { ">250 r\r\n550-a\r\n550 b\r\n" }, 1,
		    1, SMTP_PHASE_READY, SMTP_DONE },
		{ "RSET", { ">250 r\r\n", "<RSET\r\n", ">250 ok\r\n" }, 1, 0,
		    SMTP_PHASE_OPEN, SMTP_DONE },
		{ "RSET refused", { "<RSET\r\n", ">500 no\r\n" }, 0, 0,
		    SMTP_PHASE_OPEN, SMTP_DIED },
		{ "RSET, and no reply", { "<RSET\r\n", "/" }, 0, 0,
		    SMTP_PHASE_OPEN, SMTP_DIED },
		{ "one too few", { ">250 r\r\n", "/" }, 2, 0, SMTP_PHASE_READY,
		    SMTP_DIED },
		{ "one too many", { ">250 r\r\n250 r\r\n" }, 1, 0,
		    SMTP_PHASE_OPEN, SMTP_DIED },
		{ "no reply", { ">250 r\r\n250-a\r\n550 b\r\n" }, 2, 0,
		    SMTP_PHASE_READY, SMTP_DIED },
		{ "mail data is awaited", { ">250 r\r\n354 go\r\n" }, 1, 1,
		    SMTP_PHASE_OPEN, SMTP_DIED },
		{ "in mail data", { NULL }, 0, 0, SMTP_PHASE_MAIL_DATA,
		    SMTP_DIED },
		{ "out of step", { NULL }, 0, 0, SMTP_PHASE_LOST, SMTP_DIED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		struct buf heard = { 0 };
		enum smtp_outcome got;

		begin(p.fd, 5);
		session.state.outstanding[SMTP_COMMAND_RCPT] = cases[i].rcpt;
		session.state.outstanding[SMTP_COMMAND_DATA] = cases[i].data;
		session.state.phase = cases[i].phase;
		got = smtp_session_make_ready(&session);
		if (got == SMTP_DIED)
			smtp_session_quit(&session);
		peer_end(&p, &heard);
		if (got != cases[i].want)
			fail_msg("%s: %s", cases[i].name, outcome_name[got]);
		if (heard.len > 0 && strcmp(buf_text(&heard), "RSET\r\n") != 0)
			fail_msg("%s: heard %s", cases[i].name,
			    buf_text(&heard));
		buf_finish(&heard);
	}
}

/*
 * Before QUIT only the reply to DATA is waited for, and not for long: after a
 * 354 QUIT would be mail data.
 */
static void
waits_two_seconds_at_quit(void **state)
{
	static const struct {
		const char *name;
		const char *script[3];
		size_t rcpt, data; /* outstanding */
		bool quits;
		double least, most;
	} cases[] = {
		{ "RCPT only", { NULL }, 3, 0, true, 0, 1.5 },
		{ "DATA refused", { ">550\r\n503\r\n" }, 1, 1, true, 0, 1.5 },
		{ "DATA accepted", { ">550\r\n354\r\n" }, 1, 1, false, 0, 1.5 },
		{ "no reply", { NULL }, 1, 1, false, 1.9, 10 },
		{ "one reply only", { ">550\r\n" }, 1, 1, false, 1.9, 10 },
		{ "closed", { "/" }, 1, 1, false, 0, 1.5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		struct buf heard = { 0 };
		double start = now(), took;

		begin(p.fd, 60);
		session.state.outstanding[SMTP_COMMAND_RCPT] = cases[i].rcpt;
		session.state.outstanding[SMTP_COMMAND_DATA] = cases[i].data;
		session.state.phase = SMTP_PHASE_OPEN;
		smtp_session_quit(&session);
		took = now() - start;
		peer_end(&p, &heard);
		if (took < cases[i].least || took > cases[i].most)
			fail_msg("%s: took %.1f s", cases[i].name, took);
		if ((heard.len > 0) != cases[i].quits)
			fail_msg("%s: heard %s", cases[i].name,
			    buf_text(&heard));
		buf_finish(&heard);
	}
}

/* Sends it after the deadline. */
static void
peer_speak_late(int fd, int record, const void *context)
{
	poll(NULL, 0, 1150);
	peer_say(fd, context, strlen(context));
	peer_listen(fd, record);
}

/*
 * Through a helper a reply may be on this machine and not readable here yet, if
 * all our processes were stopped until the deadline had passed.
 */
static void
waits_longer_through_a_helper(void **state)
{
	(void)state;
	for (int through = 0; through < 2; through++) {
		struct peer p = peer_start(peer_speak_late, "220 hi\r\n", 0);
		struct buf heard = { 0 };
		enum smtp_outcome got;

		begin(p.fd, 1);
		session.is_through_helper = through;
		got = smtp_session_greeting(&session);
		peer_end(&p, &heard);
		buf_finish(&heard);
		if (got != (through ? SMTP_DONE : SMTP_DIED))
			fail_msg("%d: %s", through, outcome_name[got]);
	}
}

/*
 * The extra time is for data that is there, not for a server that sends slowly.
 */
static void
gives_no_extra_time_to_a_slow_server(void **state)
{
	static const struct drip drip = { "220 ", "x" };
	struct peer p = peer_start(peer_drip, &drip, 0);
	struct buf heard = { 0 };
	double start = now();

	(void)state;
	begin(p.fd, 1);
	session.is_through_helper = true;
	assert_int_equal(smtp_session_greeting(&session), SMTP_DIED);
	assert_true(now() - start < 8);
	peer_end(&p, &heard);
	buf_finish(&heard);
}

/*
 * We are stopped until the deadline has passed, and the reply is there: it
 * counts.
 */
static void
looks_once_more_after_the_deadline(void **state)
{
	static const char *const script[] = { HI, NULL };
	struct peer p = peer_start(peer_play, script, 0);
	struct pollfd ready = { .fd = p.fd, .events = POLLIN };
	struct smtp_wait wait = { .until = deadline_in(-1000) };
	struct buf heard = { 0 };

	(void)state;
	begin(p.fd, 30);
	poll(&ready, 1, -1);
	assert_int_equal(smtp_session_move(&session, &wait), STREAM_OK);
	assert_int_equal(smtp_session_parse(&session, NULL), SMTP_REPLY_DONE);
	wait.until = deadline_in(-1000);
	assert_int_equal(smtp_session_move(&session, &wait), STREAM_TIMEOUT);
	peer_end(&p, &heard);
	buf_finish(&heard);
}

/* Input while no reply is outstanding. */
static void
expects_silence(void **state)
{
	static const struct {
		const char *name;
		const char *script[3];
		enum smtp_outcome want;
		const char *shown; /* followed by a reply */
	} cases[] = {
		{ "an empty line", { ">\r\n" }, SMTP_DONE, "250 x\n" },
		{ "lines without a code", { ">hello\r\n24: x\r\n" }, SMTP_DONE,
		    "hello\n24: x\n250 x\n" },
		{ "part of one", { ">hello" }, SMTP_DONE, NULL },
		{ "a reply", { ">250 ok\r\n" }, SMTP_MALFORMED, NULL },
		{ "part of a reply", { ">2" }, SMTP_MALFORMED, NULL },
		{ "a reply behind a line", { ">\r\n250 ok\r\n" },
		    SMTP_MALFORMED, NULL },
		{ "the end", { "!" }, SMTP_DIED, NULL },
		{ "a line and the end", { ">\r\n", "!" }, SMTP_DIED, NULL },
		{ "a reply and the end", { ">421 bye\r\n", "!" },
		    SMTP_MALFORMED, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		struct pollfd ready = { .fd = p.fd, .events = POLLIN };
		struct buf heard = { 0 };
		enum smtp_outcome got;

		begin(p.fd, 30);
		/* The whole script and its end have arrived. */
		if (cases[i].script[1] || cases[i].script[0][0] == '!')
			waitid(P_PID, (id_t)p.pid, &(siginfo_t){ 0 },
			    WEXITED | WNOWAIT);
		poll(&ready, 1, -1);
		got = smtp_session_expect_silence(&session);
		if (got != cases[i].want)
			fail_msg("%s: %s", cases[i].name, outcome_name[got]);
		if (cases[i].shown) {
			memcpy(session.stream.in, "250 x\r\n", 7);
			session.stream.in_end = 7;
			(void)smtp_session_parse(&session, NULL);
			if (!shows(cases[i].shown))
				fail_msg("%s: shows %.*s", cases[i].name,
				    (int)session.reply.len, session.reply.text);
		}
		peer_end(&p, &heard);
		buf_finish(&heard);
	}
}

/* C14: a command that does not fit is not sent in part. */
static void
sends_no_part_of_a_command(void **state)
{
	static char name[STREAM_OUT_SIZE];
	const char *script[] = { NULL };
	struct buf heard = { 0 };
	struct peer p = peer_start(peer_play, script, 0);

	(void)state;
	memset(name, 'x', sizeof name - 1);
	begin(p.fd, 30);
	assert_int_equal(smtp_session_ehlo(&session, name), SMTP_DIED);
	peer_end(&p, &heard);
	assert_int_equal(heard.len, 0);
	buf_finish(&heard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_each_step),
		cmocka_unit_test(sends_nothing_else),
		cmocka_unit_test(rejects_a_second_reply),
		cmocka_unit_test(rejects_any_byte_after_starttls),
		cmocka_unit_test(reads_keywords_after_the_kept_text),
		cmocka_unit_test(long_lists),
		cmocka_unit_test(limits_the_wait_on_a_used_connection),
		cmocka_unit_test(has_one_deadline_for_a_reply),
		cmocka_unit_test(quits_without_waiting),
		cmocka_unit_test(reads_outstanding_replies),
		cmocka_unit_test(waits_two_seconds_at_quit),
		cmocka_unit_test(waits_longer_through_a_helper),
		cmocka_unit_test(gives_no_extra_time_to_a_slow_server),
		cmocka_unit_test(looks_once_more_after_the_deadline),
		cmocka_unit_test(expects_silence),
		cmocka_unit_test(sends_no_part_of_a_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
