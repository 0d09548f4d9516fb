/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>

#include "smtp/transaction.h"

#include "transact.h"

/* Mail data in chunks (CHUNKING, RFC 3030). */

#define START "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\n"
#define CHUNK "BDAT 28 LAST\r\nSubject: x\r\n\r\n.dot\r\n.\r\nend\r\n"
#define ALL START CHUNK

/* CHUNKING: a small message is part of the group. */
static void
sends_a_chunk(void **state)
{
	static const struct {
		const char *name;
		unsigned extensions;
		const char *script[12];
		enum smtp_end end;
		enum smtp_outcome outcome;
		bool in_doubt;
		const char *verdicts;
		const char *heard;
	} cases[] = {
		{ "accepted", PIPE, { "<" ALL, ">250\r\n250\r\n250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "2", ALL },
		{ "one by one", 0,
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">250\r\n", "<" CHUNK, ">250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "2", ALL },
		{ "one by one, none accepted", 0,
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">550\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "5", START },
		{ "MAIL refused", PIPE, { "<" ALL, ">550\r\n503\r\n503\r\n" },
		    SMTP_END_MAIL, REFUSED, false, "", ALL },
		{ "none accepted", PIPE, { "<" ALL, ">250\r\n550\r\n503\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "5", ALL },
		{ "none accepted, yet 250", PIPE,
		    { "<" ALL, ">250\r\n550\r\n250\r\n" }, SMTP_END_MAIL_DATA,
		    BAD, true, "5", ALL },
		{ "4yz", PIPE, { "<" ALL, ">250\r\n250\r\n452\r\n" },
		    SMTP_END_MAIL_DATA, REFUSED, false, "2", ALL },
		{ "5yz", PIPE, { "<" ALL, ">250\r\n250\r\n554\r\n" },
		    SMTP_END_MAIL_DATA, REFUSED, false, "2", ALL },
		{ "354", PIPE, { "<" ALL, ">250\r\n250\r\n354\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "2", ALL },
		{ "garbage", PIPE, { "<" ALL, ">250\r\n250\r\nok\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "2", ALL },
		{ "code changes", PIPE,
		    { "<" ALL, ">250\r\n250\r\n250-a\r\n550 b\r\n" },
		    SMTP_END_MAIL_DATA, BAD, true, "2", ALL },
		{ "RCPT garbage", PIPE, { "<" ALL, ">250\r\n2x0\r\n250\r\n" },
		    SMTP_END_RCPT, BAD, true, "?", ALL },
		{ "hangs up, no word", PIPE, { "<" ALL, "!" }, SMTP_END_MAIL,
		    DIED, true, "", ALL },
		{ "resets, no word", PIPE, { "<MAIL FROM:<s@x>\r\n", "!" },
		    SMTP_END_MAIL, DIED, true, "", "MAIL FROM:<s@x>\r\n" },
		{ "hangs up at RCPT", PIPE, { "<" ALL, ">250\r\n", "!" },
		    SMTP_END_RCPT, DIED, true, "", ALL },
		{ "hangs up at the end", PIPE,
		    { "<" ALL, ">250\r\n250\r\n", "!" }, SMTP_END_MAIL_DATA,
		    DIED, true, "2", ALL },
		{ "hangs up at the end, one by one", 0,
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">250\r\n", "<" CHUNK, "!" },
		    SMTP_END_MAIL_DATA, DIED, true, "2", ALL },
		{ "hangs up before, one by one", 0,
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			"!" },
		    SMTP_END_RCPT, DIED, false, "", START },
		{ "answered twice before", 0,
		    { "<MAIL FROM:<s@x>\r\n", ">250\r\n", "<RCPT TO:<0@x>\r\n",
			">250\r\n250\r\n" },
		    SMTP_END_MAIL_DATA, BAD, false, "2", START },
		{ "BDAT unknown, DATA instead", PIPE,
		    { "<" ALL, ">250\r\n250\r\n502 what\r\n", "<RSET\r\n",
			">250\r\n", "<" START "DATA\r\n",
			">250\r\n250\r\n354\r\n", ".", ">250\r\n" },
		    SMTP_END_MAIL_DATA, DONE, false, "2", NULL },
		{ "BDAT unknown, and the recipient another time", PIPE,
		    { "<" ALL, ">250\r\n250\r\n502 what\r\n", "<RSET\r\n",
			">250\r\n", "<" START "DATA\r\n",
			">250\r\n450\r\n503\r\n" },
		    SMTP_END_NONE_ACCEPTED, REFUSED, false, "4", NULL },
		{ "closes after nobody was accepted", PIPE,
		    { "<" ALL, ">250\r\n421\r\n", "!" }, SMTP_END_MAIL_DATA,
		    DIED, false, "4", NULL },
		{ "BDAT unknown, RSET too", PIPE,
		    { "<" ALL, ">250\r\n250\r\n502 what\r\n", "<RSET\r\n",
			">502 what\r\n" },
		    SMTP_END_MAIL_DATA, DIED, false, "2", NULL },
		{ "BDAT unknown, its bytes taken for commands", PIPE,
		    { "<" ALL,
			">250\r\n250\r\n502 what\r\n500 what\r\n500 what\r\n" },
		    SMTP_END_MAIL_DATA, DIED, false, "2", ALL },
		{ "BDAT unknown, hangs up at RSET", PIPE,
		    { "<" ALL, ">250\r\n250\r\n502 what\r\n", "<RSET\r\n",
			"!" },
		    SMTP_END_MAIL_DATA, DIED, false, "2", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		int fd = make_file(message, strlen(message)), end;
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		r = transact_with(&p, cases[i].extensions | BDAT, 1, fd, 30,
		    &v);
		end = peer_end(&p, &heard);
		close(fd);
		if (r.end != cases[i].end || r.outcome != cases[i].outcome ||
		    r.in_doubt != cases[i].in_doubt)
			fail_msg("%s: %s %s, in doubt is %d", cases[i].name,
			    end_name[r.end], outcome_name[r.outcome],
			    r.in_doubt);
		if (strcmp(v.seen, cases[i].verdicts) != 0)
			fail_msg("%s: verdicts %s", cases[i].name, v.seen);
		if (end != 0 || (cases[i].heard && strcmp(buf_text(&heard),
						       cases[i].heard) != 0))
			fail_msg("%s: the peer (%d) heard %s", cases[i].name,
			    end, buf_text(&heard));
		buf_finish(&heard);
	}
}

/* Takes its time for a chunk in the group, and says all replies last. */
static void
peer_takes_a_chunk_slowly(int fd, int record, const void *context)
{
	static char piece[2048];
	const size_t *total = context;

	for (size_t n = 0; n < *total;) {
		ssize_t got = peer_hear(fd, record, piece, sizeof piece);

		if (got < 1)
			_exit(7);
		n += (size_t)got;
		poll(NULL, 0, 100);
	}
	peer_say(fd, "250\r\n250\r\n250\r\n", 15);
	peer_listen(fd, record);
}

static void
each_piece_of_a_chunk_has_its_time(void **state)
{
	static const char head[] = "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\n"
				   "BDAT 30000 LAST\r\n";
	static char text[30000 - 1];
	size_t total = strlen(head) + 30000;
	struct peer p;
	struct buf heard = { 0 };
	struct smtp_result r;
	struct verdicts v;
	int fd;

	(void)state;
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\n';
	fd = make_file(text, sizeof text);
	p = peer_start(peer_takes_a_chunk_slowly, &total, 4096);
	r = transact_with(&p, PIPE | BDAT, 1, fd, 1, &v);
	assert_int_equal(peer_end(&p, &heard), 0);
	close(fd);
	assert_true(is_delivered(&r));
	assert_int_equal(heard.len, total);
	assert_memory_equal(heard.data, head, strlen(head));
	buf_finish(&heard);
}

/*
 * A word about a chunk of which part is still in our output is one about the
 * chunk, with or without PIPELINING.
 */
static void
hears_of_a_chunk_before_its_end(void **state)
{
	static const struct {
		const char *last;
		enum smtp_outcome outcome;
	} cases[] = {
		{ ">552 too much\r\n", REFUSED },
		{ ">452 later\r\n", REFUSED },
		{ ">250 ok\r\n", BAD },
	};
	char *text = make_message(30000);

	(void)state;
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		const char *last = cases[i / 2].last;
		const char *group[] = { "<MAIL FROM:<s@x>\r\n",
			"<RCPT TO:<0@x>\r\n", "<BDAT 30600 LAST\r\n",
			">250\r\n250\r\n", last, "-", NULL };
		const char *alone[] = { "<MAIL FROM:<s@x>\r\n", ">250\r\n",
			"<RCPT TO:<0@x>\r\n", ">250\r\n",
			"<BDAT 30600 LAST\r\n", last, "-", NULL };
		bool is_group = i % 2;
		struct peer p =
		    peer_start(peer_play, is_group ? group : alone, 4096);
		struct buf heard = { 0 };
		struct verdicts v;
		int fd = make_file(text, 30000);
		struct smtp_result r = transact_with(&p,
		    is_group ? BDAT | PIPE : BDAT, 1, fd, 30, &v);

		kill(p.pid, SIGTERM);
		peer_end(&p, &heard);
		close(fd);
		buf_finish(&heard);
		if (r.end != SMTP_END_MAIL_DATA ||
		    r.outcome != cases[i / 2].outcome || r.in_doubt)
			fail_msg("%s %s: %s %s", last,
			    is_group ? "in a group" : "alone", end_name[r.end],
			    outcome_name[r.outcome]);
	}
	free(text);
}

/*
 * H14 with CHUNKING: all replies, when the server has seen MAIL only.  What
 * is delivered is delivered only if all of it has left.
 */
static void
believes_no_early_reply(void **state)
{
	static const struct {
		const char *name;
		size_t message_size;
		const char *say;
		bool hang_up;
		unsigned long timeout_s;
		enum smtp_outcome outcome;
	} cases[] = {
		{ "reads no more", 30000, ">250\r\n250\r\n250\r\n", false, 1,
		    BAD },
		{ "hangs up", 30000, ">250\r\n250\r\n250\r\n", true, 30, BAD },
		{ "no word", 30000, ">", false, 1, DIED },
		{ "no word about the message", 30000, ">250\r\n250\r\n", false,
		    1, DIED },
		{ "no word, hangs up", 30000, ">", true, 30, DIED },
		{ "5yz to all, hangs up", 30000, ">554\r\n554\r\n554\r\n", true,
		    30, REFUSED },
		{ "short, reads no more", 10000, ">250\r\n250\r\n250\r\n",
		    false, 1, BAD },
		{ "short, hangs up", 10000, ">250\r\n250\r\n250\r\n", true, 30,
		    BAD },
		{ "short, no word", 10000, ">", false, 1, DIED },
		{ "short, no word about the message", 10000, ">250\r\n250\r\n",
		    false, 1, DIED },
		{ "short, no word, hangs up", 10000, ">", true, 30, DIED },
		{ "short, 5yz to all, hangs up", 10000,
		    ">554\r\n554\r\n554\r\n", true, 30, REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *script[] = { "<MAIL FROM:<s@x>\r\n", cases[i].say,
			cases[i].hang_up ? "!" : "-", NULL };
		char *text = make_message(cases[i].message_size);
		int fd = make_file(text, cases[i].message_size);
		struct peer p = peer_start(peer_play, script, 1);
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;

		r = transact_with(&p, PIPE | BDAT, 1, fd, cases[i].timeout_s,
		    &v);
		kill(p.pid, SIGTERM);
		peer_end(&p, &heard);
		buf_finish(&heard);
		close(fd);
		free(text);
		if (r.outcome != cases[i].outcome || r.in_doubt)
			fail_msg("%s: %s %s, in doubt is %d", cases[i].name,
			    end_name[r.end], outcome_name[r.outcome],
			    r.in_doubt);
	}
}

/* Takes chunks; replies[i] is to the i-th, the last of them to all others. */
static void
peer_take_chunks(int fd, int record, const void *context)
{
	const char *const *reply = context;
	bool is_last = false;

	for (int i = 0; i < 2; i++) {
		hear_line(fd, record);
		peer_say(fd, "250\r\n", 5);
	}
	while (!is_last) {
		static char piece[1 << 17];
		char line[64];
		size_t n = 0;

		do
			if (n == sizeof line - 1 ||
			    peer_hear(fd, record, line + n, 1) != 1)
				_exit(0);
		while (line[n++] != '\n');
		line[n] = '\0';
		is_last = strstr(line, " LAST\r\n");
		if (strncmp(line, "BDAT ", 5) != 0)
			_exit(7);
		for (n = (size_t)atol(line + 5); n > 0;) {
			ssize_t got = peer_hear(fd, record, piece,
			    n < sizeof piece ? n : sizeof piece);

			if (got < 1)
				_exit(0);
			n -= (size_t)got;
		}
		if (**reply == '!')
			_exit(0);
		peer_say(fd, *reply, strlen(*reply));
		if (reply[1])
			reply++;
	}
	peer_listen(fd, record);
}

/* What the chunks add up to; empty when they are not well-formed. */
static struct buf
join_chunks(const struct buf *heard)
{
	struct buf all = { 0 };
	const char *at = heard->data + strlen(START);
	const char *end = heard->data + heard->len;

	while (at < end) {
		size_t n = (size_t)atol(at + 5);
		const char *lf = memchr(at, '\n', (size_t)(end - at));

		if (strncmp(at, "BDAT ", 5) != 0 || !lf ||
		    n > (size_t)(end - lf) - 1)
			break;
		buf_append(&all, lf + 1, n);
		at = lf + 1 + n;
	}
	if (at != end)
		buf_cut(&all, 0);
	return all;
}

/* The message itself has small letters only. */
static size_t
count_chunks(const struct buf *heard)
{
	size_t n = 0;

	for (size_t i = 0; i + 5 < heard->len; i++)
		n += memcmp(heard->data + i, "BDAT ", 5) == 0;
	return n;
}

static void
sends_many_chunks(void **state)
{
	static const struct {
		const char *name;
		size_t message_size;
		const char *reply[4];
		enum smtp_outcome outcome;
		bool in_doubt;
		bool is_whole; /* all of it was sent */
	} cases[] = {
		{ "held, at its limit", 32768, { "250\r\n" }, DONE, false,
		    true },
		{ "just not held", 32769, { "250\r\n" }, DONE, false, true },
		{ "one piece", 65536, { "250\r\n" }, DONE, false, true },
		{ "one piece and a byte", 65537, { "250\r\n" }, DONE, false,
		    true },
		{ "many pieces", 1000000, { "250\r\n" }, DONE, false, true },
		{ "first refused", 1000000, { "552 big\r\n" }, REFUSED, false,
		    false },
		{ "first put off", 1000000, { "452 full\r\n" }, REFUSED, false,
		    false },
		{ "second refused", 1000000, { "250\r\n", "552 big\r\n" },
		    REFUSED, false, false },
		{ "last refused", 131072, { "250\r\n", "552 big\r\n" }, REFUSED,
		    false, true },
		{ "last garbage", 131072, { "250\r\n", "ok\r\n" }, BAD, true,
		    true },
		{ "last 354", 131072, { "250\r\n", "354\r\n" }, BAD, true,
		    true },
		{ "first 354", 1000000, { "354\r\n" }, BAD, false, false },
		{ "first garbage", 1000000, { "ok\r\n" }, BAD, false, false },
		{ "first answered twice", 1000000, { "250\r\n250\r\n" }, BAD,
		    false, false },
		{ "answered at the end", 200000,
		    { "250\r\n", "", "250\r\n250\r\n" }, DONE, false, true },
		{ "second refused at the end", 200000,
		    { "250\r\n", "", "552\r\n250\r\n" }, REFUSED, false, true },
		{ "last refused at the end", 200000,
		    { "250\r\n", "", "250\r\n552\r\n" }, REFUSED, false, true },
		{ "garbage at the end", 200000,
		    { "250\r\n", "", "ok\r\n250\r\n" }, BAD, true, true },
		{ "hangs up at the end", 200000, { "250\r\n", "", "!" }, DIED,
		    true, true },
		{ "hangs up at the end, one word short", 200000,
		    { "250\r\n", "250\r\n", "!" }, DIED, true, true },
		{ "hangs up at the second", 1000000, { "250\r\n", "!" }, DIED,
		    false, false },
	};

	(void)state;
	for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
		size_t c = i / 2, size = cases[c].message_size;
		unsigned extensions = i % 2 ? BDAT | PIPE : BDAT;
		struct buf heard = { 0 }, got, want = { 0 };
		struct smtp_result r;
		struct verdicts v;
		struct peer p;
		char *text;
		int fd;

		/* Without PIPELINING each chunk waits for its reply. */
		if (cases[c].reply[1] && !*cases[c].reply[1] && i % 2 == 0)
			continue;
		text = make_message(size);
		fd = make_file(text, size);
		p = peer_start(peer_take_chunks, cases[c].reply, 4096);
		r = transact_with(&p, extensions, 1, fd, 30, &v);
		peer_end(&p, &heard);
		close(fd);
		for (size_t j = 0; j < size; j++) {
			if (text[j] == '\n')
				buf_putc(&want, '\r');
			buf_putc(&want, text[j]);
		}
		if (text[size - 1] != '\n')
			buf_puts(&want, "\r\n");
		got = join_chunks(&heard);
		if (r.end != SMTP_END_MAIL_DATA ||
		    r.outcome != cases[c].outcome ||
		    r.in_doubt != cases[c].in_doubt)
			fail_msg("%s, %s: %s %s, in doubt is %d", cases[c].name,
			    i % 2 ? "pipelined" : "one by one", end_name[r.end],
			    outcome_name[r.outcome], r.in_doubt);
		/* The first one is waited for: it may be the only one. */
		if (cases[c].reply[0][0] != '2' && count_chunks(&heard) != 1)
			fail_msg("%s, %s: %zu chunks", cases[c].name,
			    i % 2 ? "pipelined" : "one by one",
			    count_chunks(&heard));
		if (cases[c].is_whole !=
		    (got.len == want.len &&
			memcmp(got.data, want.data, got.len) == 0))
			fail_msg("%s, %s: %zu of %zu bytes", cases[c].name,
			    i % 2 ? "pipelined" : "one by one", got.len,
			    want.len);
		free(text);
		buf_finish(&heard);
		buf_finish(&got);
		buf_finish(&want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_a_chunk),
		cmocka_unit_test(each_piece_of_a_chunk_has_its_time),
		cmocka_unit_test(hears_of_a_chunk_before_its_end),
		cmocka_unit_test(believes_no_early_reply),
		cmocka_unit_test(sends_many_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
