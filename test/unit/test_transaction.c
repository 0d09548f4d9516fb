/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>

#include "base/mem.h"
#include "smtp/transaction.h"

#include "transact.h"

/* How a server reads commands and sends replies. */
enum manner {
	SINGLE,  /* no PIPELINING */
	GROUP,   /* reads the whole group; one reply for each write */
	AT_ONCE, /* the same, all replies in one write */
	BYTES,   /* the same, one byte a write */
	NMANNER
};

static const char *const manner_name[] = { "single", "group", "at once",
	"bytes" };

/* The server's replies to MAIL, two RCPTs, DATA and the end of mail data. */
#define NCOMMAND 4

struct dialogue {
	const char *name;
	const char
	    *reply[NCOMMAND + 1]; /* "!" closes, "~" at once; NULL is silence */
	enum smtp_end end;
	enum smtp_outcome outcome;
	bool in_doubt;
	const char *verdicts;
	size_t commands;       /* commands sent without PIPELINING */
	const char *mail_data; /* NULL: none */
	enum manner manner;
};

static void
peer_talk(int fd, int record, const void *context)
{
	const struct dialogue *d = context;
	struct buf held = { 0 };

	for (size_t i = 0; d->manner != SINGLE && i < NCOMMAND; i++)
		hear_line(fd, record);
	for (size_t i = 0; i <= NCOMMAND && d->reply[i]; i++) {
		bool is_last = i == NCOMMAND || !d->reply[i + 1] ||
			       strchr("!~", d->reply[i + 1][0]) ||
			       i == NCOMMAND - 1;

		if (d->reply[i][0] == '~')
			_exit(0);
		if (i == NCOMMAND)
			peer_hear_mail_data(fd, record);
		else if (d->manner == SINGLE && !hear_line(fd, record))
			_exit(0);
		if (d->reply[i][0] == '!')
			_exit(0);
		buf_puts(&held, d->reply[i]);
		if (d->manner == AT_ONCE && !is_last)
			continue;
		for (size_t j = 0; d->manner == BYTES && j < held.len; j++)
			peer_say(fd, held.data + j, 1);
		if (d->manner != BYTES)
			peer_say(fd, held.data, held.len);
		buf_cut(&held, 0);
	}
	peer_listen(fd, record);
}

/* Everything that the server must have received. */
static void
expect_heard(struct buf *b, const struct dialogue *d)
{
	static const char *const command[NCOMMAND] = { "MAIL FROM:<s@x>\r\n",
		"RCPT TO:<0@x>\r\n", "RCPT TO:<1@x>\r\n", "DATA\r\n" };
	size_t n = d->manner == SINGLE ? d->commands : NCOMMAND;

	for (size_t i = 0; i < n; i++)
		buf_puts(b, command[i]);
	if (d->mail_data && n == NCOMMAND)
		buf_puts(b, d->mail_data);
}

static void
check_dialogue(const struct dialogue *wanted, enum manner manner)
{
	struct dialogue d = *wanted;
	struct buf heard = { 0 }, want = { 0 };
	struct verdicts v;
	struct smtp_result r;
	struct peer p;
	int fd = make_file(message, strlen(message));
	int end;

	d.manner = manner;
	p = peer_start(peer_talk, &d, 0);
	r = transact(&p, manner != SINGLE, 2, fd, 30, &v);
	end = peer_end(&p, &heard);
	close(fd);
	if (r.end != d.end || r.outcome != d.outcome)
		fail_msg("%s, %s: %s %s", d.name, manner_name[manner],
		    end_name[r.end], outcome_name[r.outcome]);
	if (r.in_doubt != d.in_doubt)
		fail_msg("%s, %s: in doubt is %d", d.name, manner_name[manner],
		    r.in_doubt);
	if (strcmp(v.seen, d.verdicts) != 0 || !v.is_in_order)
		fail_msg("%s, %s: verdicts %s", d.name, manner_name[manner],
		    v.seen);
	expect_heard(&want, &d);
	/* 2: we closed before it had sent everything. */
	if ((end != 0 && end != 2) ||
	    strcmp(buf_text(&heard), buf_text(&want)) != 0)
		fail_msg("%s, %s: the peer (%d) heard %s", d.name,
		    manner_name[manner], end, buf_text(&heard));
	buf_finish(&heard);
	buf_finish(&want);
}

#define OK "250 ok\r\n"
#define NO "550 no\r\n"
#define LATER "450 later\r\n"
#define GO "354 go\r\n"
/* The results are the same, however the server reads and writes. */
static void
runs_each_case(void **state)
{
	static const struct dialogue cases[] = {
		{ "accepted", { OK, OK, OK, GO, OK }, SMTP_END_MAIL_DATA, DONE,
		    false, "22", 4, mail_data, 0 },
		{ "several lines",
		    { "250-a\r\n250 b\r\n", "250-a\r\n250-b\r\n250 c\r\n", OK,
			"354-a\r\n354\r\n", "250-a\r\n250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "22", 4, mail_data, 0 },
		{ "LF only, no text",
		    { "250\n", "250\n", "250-\n250\n", "354\n", "250\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "22", 4, mail_data, 0 },
		{ "H2 other 2yz",
		    { "299 a\r\n", "251 a\r\n", "252 a\r\n", GO, "255 a\r\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "22", 4, mail_data, 0 },

		{ "H1 MAIL 4yz", { LATER }, SMTP_END_MAIL, REFUSED, false, "",
		    1, NULL, 0 },
		{ "H1 MAIL 5yz", { NO }, SMTP_END_MAIL, REFUSED, false, "", 1,
		    NULL, 0 },
		{ "H2 MAIL 1yz", { "199 a\r\n" }, SMTP_END_MAIL, BAD, false, "",
		    1, NULL, 0 },
		{ "H2 MAIL 3yz", { "354 a\r\n" }, SMTP_END_MAIL, BAD, false, "",
		    1, NULL, 0 },
		{ "H2 MAIL 850", { "850 a\r\n" }, SMTP_END_MAIL, BAD, false, "",
		    1, NULL, 0 },
		{ "MAIL garbage", { "what?\r\n", "~" }, SMTP_END_MAIL, DIED,
		    false, "", 1, NULL, 0 },
		{ "MAIL 000", { "000 what?\r\n" }, SMTP_END_MAIL, BAD, false,
		    "", 1, NULL, 0 },
		{ "H22 MAIL changes its code", { "250-a\r\n550 b\r\n" },
		    SMTP_END_MAIL, BAD, false, "", 1, NULL, 0 },
		{ "H22 MAIL changes its code", { "550-a\r\n250 b\r\n" },
		    SMTP_END_MAIL, BAD, false, "", 1, NULL, 0 },

		{ "H3 4yz first", { OK, LATER, OK, GO, OK }, SMTP_END_MAIL_DATA,
		    DONE, false, "42", 4, mail_data, 0 },
		{ "H3 5yz last", { OK, OK, NO, GO, OK }, SMTP_END_MAIL_DATA,
		    DONE, false, "25", 4, mail_data, 0 },
		{ "H5 452", { OK, OK, "452 many\r\n", GO, OK },
		    SMTP_END_MAIL_DATA, DONE, false, "24", 4, mail_data, 0 },
		{ "H2 RCPT 1yz", { OK, "199 a\r\n" }, SMTP_END_RCPT, BAD, false,
		    "?", 2, NULL, 0 },
		{ "H2 RCPT 3yz", { OK, OK, "399 a\r\n" }, SMTP_END_RCPT, BAD,
		    false, "2?", 3, NULL, 0 },
		{ "H2 RCPT 850", { OK, "850 a\r\n" }, SMTP_END_RCPT, BAD, false,
		    "?", 2, NULL, 0 },
		{ "H17 354 for RCPT", { OK, GO }, SMTP_END_RCPT, BAD, false,
		    "?", 2, NULL, 0 },
		{ "RCPT garbage", { OK, OK, "2x0 ok\r\n", "~" }, SMTP_END_RCPT,
		    DIED, false, "2", 3, NULL, 0 },
		{ "RCPT 503 5.7.1", { OK, "503 5.7.1 no\r\n", OK, GO, OK },
		    SMTP_END_MAIL_DATA, DONE, false, "52", 4, mail_data, 0 },
		{ "all RCPT 503 5.7.1",
		    { OK, "503 5.7.1 no\r\n",
			"503-5.7.1 no\r\n503 5.7.1 no\r\n",
			"503 5.5.1 RCPT first\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "55", 3, NULL, 0 },
		{ "refusal behind an empty line",
		    { OK, "\r\n550 no\r\n", OK, GO, OK }, SMTP_END_MAIL_DATA,
		    DONE, false, "52", 4, mail_data, 0 },
		{ "lines without a code",
		    { "\r\n250 ok\r\n", "24: x\r\n" OK,
			"250-a\r\n\r\n250 b\r\n",
			"x\r\n354-a\r\ny\r\n354 b\r\n",
			"1?0\r\n\xb2\xb5\xb0 x\r\n" OK },
		    SMTP_END_MAIL_DATA, DONE, false, "22", 4, mail_data, 0 },
		{ "any separator",
		    { "250ok\r\n", "250\tok\r\n", "250_ok\r\n", "354go\r\n",
			"250ok\r\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "22", 4, mail_data, 0 },
		{ "H22 RCPT changes its code", { OK, "250-a\r\n550 b\r\n" },
		    SMTP_END_RCPT, BAD, false, "?", 2, NULL, 0 },

		{ "H4 all 5yz", { OK, NO, NO, "554 none\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "55", 3, NULL, 0 },
		{ "H4 all 4yz", { OK, LATER, LATER, "503 none\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "44", 3, NULL, 0 },
		{ "H4 a 4yz and a 5yz", { OK, LATER, NO, "421 bye\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "45", 3, NULL, 0 },
		{ "H8 all refused, yet 354", { OK, NO, NO, GO, OK },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "55", 3, ".\r\n",
		    0 },
		{ "H8 all refused, yet 354, then 5yz", { OK, NO, NO, GO, NO },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "55", 3, ".\r\n",
		    0 },
		{ "H8 all refused, yet 354, then garbage",
		    { OK, LATER, LATER, GO, "000\r\n" }, SMTP_END_NONE_ACCEPTED,
		    REFUSED, false, "44", 3, ".\r\n", 0 },
		{ "DATA 4yz", { OK, OK, OK, "451 a\r\n" }, SMTP_END_DATA,
		    REFUSED, false, "22", 4, NULL, 0 },
		{ "DATA 5yz", { OK, OK, NO, "554 a\r\n" }, SMTP_END_DATA,
		    REFUSED, false, "25", 4, NULL, 0 },
		{ "H7 DATA 250", { OK, OK, OK, OK }, SMTP_END_DATA, BAD, false,
		    "22", 4, NULL, 0 },
		{ "H7 DATA 355", { OK, OK, OK, "355 a\r\n" }, SMTP_END_DATA,
		    BAD, false, "22", 4, NULL, 0 },
		{ "DATA 1yz", { OK, OK, OK, "154 a\r\n" }, SMTP_END_DATA, BAD,
		    false, "22", 4, NULL, 0 },
		{ "DATA 000", { OK, OK, OK, "000 go ahead\r\n" }, SMTP_END_DATA,
		    BAD, false, "22", 4, NULL, 0 },
		{ "H22 DATA changes its code",
		    { OK, OK, OK, "354-a\r\n554 b\r\n" }, SMTP_END_DATA, BAD,
		    false, "22", 4, NULL, 0 },

		{ "H9 end 4yz", { OK, OK, OK, GO, "451 a\r\n" },
		    SMTP_END_MAIL_DATA, REFUSED, false, "22", 4, mail_data, 0 },
		{ "H9 end 5yz", { OK, OK, OK, GO, "554 a\r\n" },
		    SMTP_END_MAIL_DATA, REFUSED, false, "22", 4, mail_data, 0 },
		{ "H9 end 354", { OK, OK, OK, GO, GO }, SMTP_END_MAIL_DATA, BAD,
		    true, "22", 4, mail_data, 0 },
		{ "H9 end 1yz", { OK, OK, OK, GO, "150 a\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "22", 4, mail_data, 0 },
		{ "H9 end 000", { OK, OK, OK, GO, "000 ok\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "22", 4, mail_data, 0 },
		{ "H22 end 2 in 5", { OK, OK, OK, GO, "550-a\r\n250 b\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "22", 4, mail_data, 0 },
		{ "H22 end 5 in 2", { OK, OK, OK, GO, "250-a\r\n550 b\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "22", 4, mail_data, 0 },

		{ "H24 MAIL 421", { "421 bye\r\n" }, SMTP_END_MAIL, REFUSED,
		    false, "", 1, NULL, 0 },
		{ "H24 DATA 421", { OK, OK, OK, "421 bye\r\n" }, SMTP_END_DATA,
		    REFUSED, false, "22", 4, NULL, 0 },
		{ "H24 end 421", { OK, OK, OK, GO, "421 bye\r\n" },
		    SMTP_END_MAIL_DATA, REFUSED, false, "22", 4, mail_data, 0 },

		{ "H33 hangs up at MAIL", { "!" }, SMTP_END_MAIL, DIED, false,
		    "", 1, NULL, 0 },
		{ "H33 hangs up at RCPT", { OK, "!" }, SMTP_END_RCPT, DIED,
		    false, "", 2, NULL, 0 },
		{ "H33 hangs up at the second RCPT", { OK, NO, "!" },
		    SMTP_END_RCPT, DIED, false, "5", 3, NULL, 0 },
		{ "H33 hangs up at DATA", { OK, OK, OK, "!" }, SMTP_END_DATA,
		    DIED, false, "22", 4, NULL, 0 },
		{ "H11 hangs up at the end", { OK, OK, OK, GO, "!" },
		    SMTP_END_MAIL_DATA, DIED, true, "22", 4, mail_data, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int manner = 0; manner < NMANNER; manner++)
			check_dialogue(&cases[i], (enum manner)manner);
}

/* All combinations of replies to three recipients. */
static void
every_mix_of_verdicts(void **state)
{
	static const char *const reply[] = { ">250 a\r\n", ">251 b\r\n",
		">450 c\r\n", ">552 d\r\n" };
	static const char digit[] = "2245";

	(void)state;
	for (size_t mix = 0; mix < 2 * 64; mix++) {
		bool pipelined = mix >= 64;
		const char *r[3] = { reply[mix & 3], reply[mix >> 2 & 3],
			reply[mix >> 4 & 3] };
		char want[4] = { digit[mix & 3], digit[mix >> 2 & 3],
			digit[mix >> 4 & 3], 0 };
		size_t accepted = 0;
		const char *one_by_one[] = { "<MAIL FROM:<s@x>\r\n", ">250\r\n",
			"<RCPT TO:<0@x>\r\n", r[0], "<RCPT TO:<1@x>\r\n", r[1],
			"<RCPT TO:<2@x>\r\n", r[2], "<DATA\r\n", ">354\r\n",
			".", ">250\r\n", NULL };
		const char *group[] = {
			"<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\n"
			"RCPT TO:<1@x>\r\nRCPT TO:<2@x>\r\nDATA\r\n",
			">250\r\n", r[0], r[1], r[2], ">354\r\n", ".",
			">250\r\n", NULL
		};
		struct buf heard = { 0 };
		struct smtp_result got;
		struct verdicts v;
		struct peer p;
		int fd = make_file(message, strlen(message)), end;

		for (size_t i = 0; i < 3; i++)
			accepted += want[i] == '2';
		if (accepted == 0)
			one_by_one[8] = NULL;
		p = peer_start(peer_play, pipelined ? group : one_by_one, 0);
		got = transact(&p, pipelined, 3, fd, 30, &v);
		end = peer_end(&p, &heard);
		close(fd);
		if (end == 2 && accepted == 0)
			end = 0; /* not waited for */
		if (end != 0 || got.accepted != accepted || !v.is_in_order ||
		    strcmp(v.seen, want) != 0)
			fail_msg("%s: %s, %zu accepted, peer %d", want, v.seen,
			    got.accepted, end);
		if (is_delivered(&got) != (accepted > 0) || got.in_doubt ||
		    (accepted == 0 && got.end != SMTP_END_NONE_ACCEPTED))
			fail_msg("%s: %s %s", want, end_name[got.end],
			    outcome_name[got.outcome]);
		if (!strstr(buf_text(&heard), mail_data) != (accepted == 0))
			fail_msg("%s: heard %s", want, buf_text(&heard));
		buf_finish(&heard);
	}
}

/* Unsolicited replies: whatever their code, nothing is delivered. */
static void
rejects_unsolicited_replies(void **state)
{
	static const struct {
		const char *name;
		const char *script[12];
		bool pipelined;
		const char *heard;
	} cases[] = {
		{ "before MAIL is answered twice",
		    { "<MAIL FROM:<s@x>\r\n", ">250 a\r\n250 b\r\n" }, false,
		    "MAIL FROM:<s@x>\r\n" },
		{ "all replies at once",
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n250\r\n354\r\n250\r\n" },
		    false, "MAIL FROM:<s@x>\r\n" },
		{ "a half one", { "<MAIL FROM:<s@x>\r\n", ">250 a\r\n2" },
		    false, "MAIL FROM:<s@x>\r\n" },
		{ "RCPT answered twice",
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">250 a\r\n354 b\r\n" },
		    false, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\n" },
		{ "H14 250 along with 354",
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">250\r\n", "<DATA\r\n", ">354\r\n250 ok\r\n" },
		    false, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n" },
		{ "H16 one too many in the group",
		    { "<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n250\r\n250\r\n354\r\n" },
		    true, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n" },
		{ "H14 250 along with 354 in a group",
		    { "<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n250\r\n354\r\n250 ok\r\n" },
		    true, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n" },
		{ "H15 a refusal in the place of a line without a code",
		    { "<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n24: x\r\n554 nobody\r\n" },
		    true, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n" },
		{ "H17 out of order",
		    { "<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n354\r\n250\r\n" },
		    true, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		int fd = make_file(message, strlen(message)), end;
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		r = transact(&p, cases[i].pipelined, 1, fd, 30, &v);
		end = peer_end(&p, &heard);
		close(fd);
		if (r.outcome != BAD || r.in_doubt ||
		    r.end == SMTP_END_MAIL_DATA)
			fail_msg("%s: %s %s", cases[i].name, end_name[r.end],
			    outcome_name[r.outcome]);
		if (end != 0 || strcmp(buf_text(&heard), cases[i].heard) != 0)
			fail_msg("%s: the peer (%d) heard %s", cases[i].name,
			    end, buf_text(&heard));
		buf_finish(&heard);
	}
}

/* Input between EHLO and MAIL is not the reply to MAIL. */
static void
rejects_unsolicited_input_before_mail(void **state)
{
	for (int pipelined = 0; pipelined < 2; pipelined++) {
		static const char *const script[] = { ">250 a\r\n", "/", NULL };
		struct peer p = peer_start(peer_play, script, 0);
		struct pollfd ready = { .fd = p.fd, .events = POLLIN };
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		(void)state;
		poll(&ready, 1, -1);
		r = transact(&p, pipelined, 1, -1, 30, &v);
		peer_end(&p, &heard);
		if (r.end != SMTP_END_MAIL || r.outcome != BAD || heard.len > 0)
			fail_msg("%s: %s %s, heard %s", manner_name[pipelined],
			    end_name[r.end], outcome_name[r.outcome],
			    buf_text(&heard));
		buf_finish(&heard);
	}
}

/*
 * A reply that never comes, or never ends: in doubt only at the end of mail
 * data.
 */
static void
has_deadlines(void **state)
{
	static const struct {
		const char *name;
		const char *script[8];
		enum smtp_end end;
		bool in_doubt;
	} cases[] = {
		{ "silent at MAIL", { NULL }, SMTP_END_MAIL, false },
		{ "H15 one reply missing", { ">250\r\n" }, SMTP_END_RCPT,
		    false },
		{ "half a reply to DATA", { ">250\r\n250\r\n35" },
		    SMTP_END_DATA, false },
		{ "H11 silent at the end",
		    { ">250\r\n250\r\n354\r\n", ".", NULL }, SMTP_END_MAIL_DATA,
		    true },
		{ "H11 half a reply at the end",
		    { ">250\r\n250\r\n354\r\n", ".", ">250-ok\r\n250" },
		    SMTP_END_MAIL_DATA, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *script[10] = {
			"<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n"
		};
		struct peer p;
		int fd = make_file(message, strlen(message));
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		for (size_t j = 0; cases[i].script[j]; j++)
			script[j + 1] = cases[i].script[j];
		p = peer_start(peer_play, script, 0);
		r = transact(&p, true, 1, fd, 1, &v);
		peer_end(&p, &heard);
		buf_finish(&heard);
		close(fd);
		if (r.end != cases[i].end || r.outcome != DIED ||
		    r.in_doubt != cases[i].in_doubt)
			fail_msg("%s: %s %s, in doubt is %d", cases[i].name,
			    end_name[r.end], outcome_name[r.outcome],
			    r.in_doubt);
	}
}

/*
 * The rest of a reply is read although the server has closed the connection
 * (H12, H43).
 */
static void
uses_a_reply_before_the_close(void **state)
{
	static const char *const last[] = { ">250 ok\r\n",
		">250-a\r\n250 b\r\n", ">250 ok\r\n421 bye\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
		const char *script[] = {
			"<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n250\r\n354\r\n", ".", last[i], "!", NULL
		};
		struct peer p = peer_start(peer_play, script, 0);
		int fd = make_file(message, strlen(message));
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		r = transact(&p, true, 1, fd, 30, &v);
		smtp_session_quit(&session);
		peer_end(&p, &heard);
		buf_finish(&heard);
		close(fd);
		if (!is_delivered(&r) || r.in_doubt)
			fail_msg("%s: %s %s", last[i], end_name[r.end],
			    outcome_name[r.outcome]);
	}
}

/*
 * Replies to each command before it reads the next, with long replies: it does
 * not read while its replies are not read.
 */
static void
peer_insist(int fd, int record, const void *context)
{
	const size_t *nrecipient = context;
	char reply[400];

	memset(reply, 'x', sizeof reply);
	memcpy(reply, "250 ", 4);
	memcpy(reply + sizeof reply - 2, "\r\n", 2);
	for (size_t i = 0; i <= *nrecipient; i++) {
		if (!hear_line(fd, record))
			_exit(7);
		peer_say(fd, reply, sizeof reply);
	}
	hear_line(fd, record);
	peer_say(fd, "354\r\n", 5);
	peer_hear_mail_data(fd, record);
	peer_say(fd, "250\r\n", 5);
	peer_listen(fd, record);
}

/* C15, H19: small windows, and much data in both directions. */
static void
does_not_deadlock(void **state)
{
	static const struct {
		const char *name;
		bool pipelined;
		size_t nrecipient;
	} cases[] = {
		{ "1000, one by one", false, 1000 },
		{ "1000, pipelined", true, 1000 },
		{ "10000, pipelined", true, 10000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = cases[i].nrecipient;
		struct peer p = peer_start(peer_insist, &n, 1);
		int fd = make_file(message, strlen(message)), end;
		struct buf heard = { 0 }, want = { 0 };
		struct smtp_result r;
		struct verdicts v;

		r = transact(&p, cases[i].pipelined, n, fd, 30, &v);
		end = peer_end(&p, &heard);
		close(fd);
		if (end != 0 || !is_delivered(&r) || r.accepted != n ||
		    v.n != n || !v.is_in_order)
			fail_msg("%s: %s %s, peer %d, %zu verdicts",
			    cases[i].name, end_name[r.end],
			    outcome_name[r.outcome], end, v.n);
		buf_puts(&want, "MAIL FROM:<s@x>\r\n");
		for (size_t j = 0; j < n; j++)
			buf_printf(&want, "RCPT TO:<%zu@x>\r\n", j);
		buf_puts(&want, "DATA\r\n");
		buf_puts(&want, mail_data);
		if (strcmp(buf_text(&heard), buf_text(&want)) != 0)
			fail_msg("%s: the peer heard something else",
			    cases[i].name);
		buf_finish(&heard);
		buf_finish(&want);
	}
}

/* No line is cut or left out, however long its path is. */
static void
sends_long_paths(void **state)
{
	static char path[SMTP_PATH_MAX + 1];
	const char *paths[] = { path, path, path, path };
	struct buf group = { 0 }, heard = { 0 };
	const char *script[] = { NULL, ">250\r\n250\r\n250\r\n250\r\n250\r\n",
		">354\r\n", ".", ">250\r\n", NULL };
	struct smtp_envelope e = { .reverse_path = path,
		.forward_path = paths,
		.nrecipient = 4,
		.verdict = see_verdict };
	struct verdicts v = { .is_in_order = true };
	struct smtp_result r;
	struct peer p;
	int fd = make_file(message, strlen(message)), end;

	(void)state;
	memset(path, 'x', SMTP_PATH_MAX);
	buf_printf(&group, "<MAIL FROM:<%s>\r\n", path);
	for (int i = 0; i < 4; i++)
		buf_printf(&group, "RCPT TO:<%s>\r\n", path);
	buf_puts(&group, "DATA\r\n");
	script[0] = group.data;
	p = peer_start(peer_play, script, 0);
	smtp_session_init(&session, p.fd, 30);
	session.ehlo.extensions = SMTP_EXT_PIPELINING;
	e.context = &v;
	smtp_message_open(&mail, fd, false);
	r = smtp_transaction(&session, &e, &mail);
	end = peer_end(&p, &heard);
	close(fd);
	if (end != 0 || !is_delivered(&r) || v.n != 4)
		fail_msg("%s %s, peer %d", end_name[r.end],
		    outcome_name[r.outcome], end);
	buf_finish(&group);
	buf_finish(&heard);
}

/*
 * A 354 for a DATA that is still in our output buffer: the peer has read only
 * the first command.
 */
static void
rejects_an_early_354(void **state)
{
	const size_t nrecipient = 700;
	struct buf said = { 0 }, heard = { 0 };
	const char *script[] = { "<MAIL FROM:<s@x>\r\n", NULL, "-", NULL };
	int fd = make_file(message, strlen(message));
	struct smtp_result r;
	struct verdicts v;
	struct peer p;

	(void)state;
	buf_puts(&said, ">");
	for (size_t i = 0; i <= nrecipient; i++)
		buf_puts(&said, "250\r\n");
	buf_puts(&said, "354\r\n");
	script[1] = buf_text(&said);
	p = peer_start(peer_play, script, 1);
	r = transact(&p, true, nrecipient, fd, 30, &v);
	kill(p.pid, SIGTERM);
	peer_end(&p, &heard);
	if (r.end != SMTP_END_DATA || r.outcome != BAD || r.in_doubt)
		fail_msg("%s %s, in doubt is %d", end_name[r.end],
		    outcome_name[r.outcome], r.in_doubt);
	assert_int_equal(v.n, nrecipient);
	assert_null(strstr(buf_text(&heard), "DATA\r\n"));
	buf_finish(&heard);
	buf_finish(&said);
	close(fd);
}

#define UTF8 SMTP_EXT_SMTPUTF8

/* The parameters of MAIL; and a message too large for SIZE is not sent. */
static void
sends_size_and_body(void **state)
{
	static const struct {
		const char *name;
		unsigned extensions;
		uint64_t size;
		const char *message;
		const char *mail; /* NULL: nothing is sent */
		bool needs_smtputf8;
	} cases[] = {
		{ "nothing", 0, 0, "a\xe9\n", "MAIL FROM:<s@x>\r\n", false },
		{ "SIZE", SMTP_EXT_SIZE, 0, "a\n.\n",
		    "MAIL FROM:<s@x> SIZE=6\r\n", false },
		{ "SIZE that just fits", SMTP_EXT_SIZE, 6, "a\n.\n",
		    "MAIL FROM:<s@x> SIZE=6\r\n", false },
		{ "N12 SIZE too small", SMTP_EXT_SIZE, 5, "a\n.\n", NULL,
		    false },
		{ "SIZE with the last line end", SMTP_EXT_SIZE, 0, "a",
		    "MAIL FROM:<s@x> SIZE=3\r\n", false },
		{ "8BITMIME, 7-bit", SMTP_EXT_8BITMIME, 0, "a\n",
		    "MAIL FROM:<s@x>\r\n", false },
		{ "8BITMIME, 8-bit", SMTP_EXT_8BITMIME, 0, "\xe9\n",
		    "MAIL FROM:<s@x> BODY=8BITMIME\r\n", false },
		{ "both", SMTP_EXT_SIZE | SMTP_EXT_8BITMIME, 0, "\xe9\n",
		    "MAIL FROM:<s@x> SIZE=3 BODY=8BITMIME\r\n", false },
		/* SMTPUTF8 is asked for by addresses, never by the message. */
		{ "SMTPUTF8, 8-bit message", SMTP_EXT_8BITMIME | UTF8, 0,
		    "To: <\xc3\xa9@x>\n\n", "MAIL FROM:<s@x> BODY=8BITMIME\r\n",
		    false },
		{ "SMTPUTF8, 7-bit message", SMTP_EXT_8BITMIME | UTF8, 0, "a\n",
		    "MAIL FROM:<s@x> SMTPUTF8\r\n", true },
		{ "SMTPUTF8 and others",
		    SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | UTF8, 0, "\xe9\n",
		    "MAIL FROM:<s@x> SIZE=3 BODY=8BITMIME SMTPUTF8\r\n", true },
		{ "SMTPUTF8 alone", UTF8, 0, "\xe9\n",
		    "MAIL FROM:<s@x> SMTPUTF8\r\n", true },
		{ "no SMTPUTF8", SMTP_EXT_8BITMIME, 0, "a\n",
		    "MAIL FROM:<s@x>\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static const char *const script[] = { "<MAIL FROM:<s@x>",
			NULL };
		static const char *const silent[] = { NULL };
		struct peer p =
		    peer_start(peer_play, cases[i].mail ? script : silent, 0);
		int fd = make_file(cases[i].message, strlen(cases[i].message));
		const char *path = "0@x";
		struct verdicts v = { .is_in_order = true };
		struct smtp_envelope e = { .reverse_path = "s@x",
			.forward_path = &path,
			.nrecipient = 1,
			.needs_smtputf8 = cases[i].needs_smtputf8,
			.verdict = see_verdict,
			.context = &v };
		struct buf heard = { 0 };
		struct smtp_result r;

		smtp_session_init(&session, p.fd, 0);
		session.ehlo.extensions = cases[i].extensions;
		session.ehlo.size = cases[i].size;
		smtp_message_open(&mail, fd,
		    smtp_transaction_measures(&session.ehlo));
		r = smtp_transaction(&session, &e, &mail);
		peer_end(&p, &heard);
		close(fd);
		if ((r.end == SMTP_END_TOO_LARGE) != !cases[i].mail ||
		    strcmp(buf_text(&heard),
			cases[i].mail ? cases[i].mail : "") != 0)
			fail_msg("%s: %s, %s", cases[i].name, end_name[r.end],
			    buf_text(&heard));
		buf_finish(&heard);
	}
}

/*
 * Two transactions in one session, the first of which fails: a late reply of
 * the server is not the reply to the second, and no MAIL is sent inside a
 * transaction.
 */
#define GROUP_OF_3 "<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n"
#define DELIVERED GROUP_OF_3, ">250\r\n250\r\n354\r\n", ".", ">250 ok\r\n"

static void
runs_after_a_failed_transaction(void **state)
{
	static const struct {
		const char *name;
		const char *script[12];
		unsigned extensions;
		enum smtp_end first;
	} cases[] = {
		{ "MAIL refused, the rest of the group later",
		    { GROUP_OF_3, ">550 no\r\n", ">503 a\r\n503 b\r\n",
			DELIVERED },
		    SMTP_EXT_PIPELINING, SMTP_END_MAIL },
		{ "MAIL refused, and the rest accepted",
		    { GROUP_OF_3, ">550 no\r\n250 a\r\n503 b\r\n", DELIVERED },
		    SMTP_EXT_PIPELINING, SMTP_END_MAIL },
		{ "no recipient accepted",
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">550\r\n", "<RSET\r\n", ">250\r\n",
			"<MAIL FROM:<s@x>\r\n", ">550\r\n" },
		    0, SMTP_END_NONE_ACCEPTED },
		{ "no recipient accepted, but DATA",
		    { GROUP_OF_3, ">250\r\n550\r\n354\r\n", "<.\r\n",
			">554 to nobody\r\n", "<RSET\r\n", ">250\r\n",
			DELIVERED },
		    SMTP_EXT_PIPELINING, SMTP_END_NONE_ACCEPTED },
		{ "DATA refused",
		    { GROUP_OF_3, ">250\r\n250\r\n451\r\n", "<RSET\r\n",
			">250\r\n", DELIVERED },
		    SMTP_EXT_PIPELINING, SMTP_END_DATA },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static const char *const paths[] = { "0@x" };
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		int fd = make_file(message, strlen(message)), end;
		struct verdicts v;
		struct smtp_envelope e = { .reverse_path = "s@x",
			.forward_path = paths,
			.nrecipient = 1,
			.verdict = see_verdict,
			.context = &v };
		struct buf heard = { 0 };
		struct smtp_result r =
		    transact_with(&p, cases[i].extensions, 1, fd, 30, &v);

		if (r.end != cases[i].first || r.outcome != SMTP_REFUSED)
			fail_msg("%s: first %s %s", cases[i].name,
			    end_name[r.end], outcome_name[r.outcome]);
		v = (struct verdicts){ .is_in_order = true };
		assert_int_equal(smtp_message_rewind(&mail), 0);
		r = smtp_transaction(&session, &e, &mail);
		end = peer_end(&p, &heard);
		close(fd);
		if (end != 0 || (cases[i].extensions && !is_delivered(&r)) ||
		    r.outcome == SMTP_DIED)
			fail_msg("%s: second %s %s, the peer (%d) heard %s",
			    cases[i].name, end_name[r.end],
			    outcome_name[r.outcome], end, buf_text(&heard));
		buf_finish(&heard);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_each_case),
		cmocka_unit_test(every_mix_of_verdicts),
		cmocka_unit_test(rejects_unsolicited_replies),
		cmocka_unit_test(rejects_unsolicited_input_before_mail),
		cmocka_unit_test(has_deadlines),
		cmocka_unit_test(uses_a_reply_before_the_close),
		cmocka_unit_test(does_not_deadlock),
		cmocka_unit_test(sends_long_paths),
		cmocka_unit_test(runs_after_a_failed_transaction),
		cmocka_unit_test(rejects_an_early_354),
		cmocka_unit_test(sends_size_and_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
