/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/reply.h"

/* The result of parsing, by the module or by the reference. */
struct verdict {
	enum smtp_reply_state state; /* MORE, DONE or MALFORMED */
	int code;
	size_t taken; /* text of a reply that is DONE */
};

static const char *const state_name[] = { "MORE", "LINE", "DONE", "MALFORMED" };

static const char *
show(const char *in, size_t n)
{
	static char text[512];
	size_t len = 0;

	for (size_t i = 0; i < n && len < sizeof text - 8; i++)
		if (in[i] > ' ' && in[i] <= '~')
			text[len++] = in[i];
		else
			len += (size_t)sprintf(text + len, "<%d>",
			    (unsigned char)in[i]);
	text[len] = '\0';
	return text;
}

static bool
is_digit(char c)
{
	return strchr("0123456789", c) && c != '\0';
}

#define NO_CODE (-2)

/*
 * Parses one line without its LF, or the beginning of one.  Returns the code, 0
 * if it is not complete, NO_CODE if there is none, -1 if no reply can have it.
 */
static int
reference_line(const char *p, size_t n, bool is_whole)
{
	for (size_t i = 0; i < n && i < 3; i++)
		if (!is_digit(p[i]))
			return NO_CODE;
	if (n < 3 || (n == 3 && !is_whole))
		return is_whole ? NO_CODE : 0;
	if ((n > 3 && is_digit(p[3])) || memcmp(p, "000", 3) == 0)
		return -1;
	return (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
}

/* The reference: reads whole lines, where the parser reads bytes. */
static struct verdict
reference(const char *in, size_t n)
{
	struct verdict v = { SMTP_REPLY_MORE, 0, 0 };
	size_t start = 0;

	while (start < n) {
		const char *lf = memchr(in + start, '\n', n - start);
		size_t len = lf ? (size_t)(lf - in) - start : n - start;
		int code = reference_line(in + start, len, lf);

		if (code == -1 || (code > 0 && v.code && code != v.code)) {
			v.state = SMTP_REPLY_MALFORMED;
			return v;
		}
		if (code > 0)
			v.code = code;
		if (!lf)
			return v;
		v.taken = start + len + 1;
		if (code > 0 && (len == 3 || in[start + 3] != '-')) {
			v.state = SMTP_REPLY_DONE;
			return v;
		}
		start = v.taken;
	}
	return v;
}

/* Feeds n bytes in pieces of at most size, until the reply has ended. */
static struct verdict
parse(struct smtp_reply *r, const char *in, size_t n, size_t size)
{
	struct verdict v = { SMTP_REPLY_MORE, 0, 0 };
	size_t at = 0;

	smtp_reply_reset(r);
	while (at < n &&
	       (v.state == SMTP_REPLY_MORE || v.state == SMTP_REPLY_LINE)) {
		size_t piece = n - at < size ? n - at : size;
		size_t took = smtp_reply_add(r, in + at, piece, &v.state);

		if (took == 0 || took > piece)
			fail_msg("%s: took %zu of %zu", show(in, n), took,
			    piece);
		if (v.state == SMTP_REPLY_MORE && took != piece)
			fail_msg("%s: left bytes", show(in, n));
		at += took;
	}
	if (v.state == SMTP_REPLY_LINE)
		v.state = SMTP_REPLY_MORE;
	v.code = r->code;
	v.taken = at;
	return v;
}

/* The text is all bytes taken, except for CRs and empty lines. */
static bool
has_text_of(const struct smtp_reply *r, const char *in, size_t n)
{
	size_t len = 0;
	char last = '\n';

	for (size_t i = 0; i < n; i++) {
		if (in[i] == '\r' || (in[i] == '\n' && last == '\n'))
			continue;
		last = in[i];
		if (len == r->len || r->text[len++] != in[i])
			return false;
	}
	return len == r->len;
}

static void
check(const char *in, size_t n)
{
	static struct smtp_reply r;
	struct verdict want = reference(in, n);

	for (int round = 0; round < 2; round++) {
		struct verdict got = parse(&r, in, n, round == 0 ? n : 1);
		const char *how = round == 0 ? "whole" : "byte by byte";

		if (got.state != want.state)
			fail_msg("%s: %s gives %s, not %s", show(in, n), how,
			    state_name[got.state], state_name[want.state]);
		if (want.state == SMTP_REPLY_MALFORMED)
			continue;
		if (got.code != want.code)
			fail_msg("%s: %s gives code %d", show(in, n), how,
			    got.code);
		if (want.state == SMTP_REPLY_DONE && got.taken != want.taken)
			fail_msg("%s: %s takes %zu bytes", show(in, n), how,
			    got.taken);
		if (!has_text_of(&r, in, got.taken))
			fail_msg("%s: %s keeps %s", show(in, n), how,
			    show(r.text, r.len));
	}
}

/* Every string up to some length, after the same first bytes. */
static void
check_all(const char *before, size_t longest)
{
	static const char alphabet[] = { '2', '5', '0', '-', ' ', '\r', '\n',
		'x', '\0' };
	size_t start = strlen(before), count = 1;
	char in[32];

	memcpy(in, before, start);
	for (size_t n = 0; n <= longest; n++, count *= sizeof alphabet) {
		for (size_t number = 0; number < count; number++) {
			size_t rest = number;

			for (size_t i = 0; i < n; i++) {
				in[start + i] =
				    alphabet[rest % sizeof alphabet];
				rest /= sizeof alphabet;
			}
			check(in, start + n);
		}
	}
}

static void
every_short_reply(void **state)
{
	(void)state;
	check_all("", 6);
}

static void
every_second_line(void **state)
{
	(void)state;
	check_all("250-\n", 5);
	check_all("250-x\r\n", 5);
	check_all("205-\r\n205-\n", 5);
}

#define ROW(name, in, state, code) \
	{ \
		name, in, sizeof in - 1, state, code \
	}
#define DONE SMTP_REPLY_DONE
#define MORE SMTP_REPLY_MORE
#define BAD SMTP_REPLY_MALFORMED

static void
parses_each_case(void **state)
{
	static const struct {
		const char *name;
		const char *in;
		size_t n;
		enum smtp_reply_state want;
		int code;
	} cases[] = {
		ROW("one line", "250 ok\r\n", DONE, 250),
		ROW("two lines", "250-a\r\n250 b\r\n", DONE, 250),
		ROW("B1 several lines", "220-a\r\n220-b\r\n220 c\r\n", DONE,
		    220),
		ROW("B1 no text", "220\r\n", DONE, 220),
		ROW("B2 LF only", "220 ok\n", DONE, 220),
		ROW("B2 LF only, no text", "220\n", DONE, 220),
		ROW("B7 HTTP", "HTTP/1.1 400 Bad Request\r\n", MORE, 0),
		ROW("B7 SSH", "SSH-2.0-x\r\n", MORE, 0),
		ROW("B7 TLS alert", "\x15\x03\x01\x00\x02\x02\x46", MORE, 0),
		ROW("B7 one byte of noise", "\xff", MORE, 0),
		ROW("no code: a letter", "2x0 a\r\n", MORE, 0),
		ROW("no code: a question mark", "1?0 a\r\n", MORE, 0),
		ROW("no code: a sign", "-20 a\r\n", MORE, 0),
		ROW("no code: a plus", "+20 a\r\n", MORE, 0),
		ROW("no code: blank first", " 220 a\r\n", MORE, 0),
		ROW("no code: two digits", "22\r\n", MORE, 0),
		ROW("no code: two digits and text", "24: queued\r\n", MORE, 0),
		ROW("four digits", "2500 a\r\n", BAD, 0),
		ROW("five digits", "22000\r\n", BAD, 0),
		ROW("no code: empty line", "\r\n", MORE, 0),
		ROW("no code: only LF", "\n", MORE, 0),
		ROW("no code: nothing", "", MORE, 0),
		ROW("no code: high bits", "\xb2\xb5\xb0 a\r\n", MORE, 0),
		ROW("no code: digits of another script", "\xd9\xa2\xd9\xa2\r\n",
		    MORE, 0),
		ROW("no code: the bytes around digits", "2/0 a\r\n", MORE, 0),
		ROW("no code: the bytes around digits", "2:0 a\r\n", MORE, 0),
		ROW("no code: before a reply", "\r\nhello\r\n220 a\r\n", DONE,
		    220),
		ROW("no code: inside a reply",
		    "250-a\r\n\r\n24: x\r\n250 b\r\n", DONE, 250),
		ROW("no code: before another code", "250-a\r\n\r\n554 b\r\n",
		    BAD, 0),
		ROW("no separator", "220text\r\n", DONE, 220),
		ROW("tab as separator", "220\ttext\r\n", DONE, 220),
		ROW("underscore as separator", "220_text\r\n", DONE, 220),
		ROW("NUL as separator", "220\0text\r\n", DONE, 220),
		ROW("B11 code changes", "220-a\r\n554 b\r\n", BAD, 0),
		ROW("B12 bytes in the text", "220 \0\x1b\xe9\r\n", DONE, 220),
		ROW("B14 part of it", "220-a\r\n", MORE, 220),
		ROW("C17 early end", "250-a\r\n250 b\r\n250-c\r\n", DONE, 250),
		ROW("H2 299", "299 a\r\n", DONE, 299),
		ROW("H2 199", "199 a\r\n", DONE, 199),
		ROW("H2 399", "399 a\r\n", DONE, 399),
		ROW("H2 850", "850 a\r\n", DONE, 850),
		ROW("H2 000", "000 a\r\n", BAD, 0),
		ROW("H2 001", "001 a\r\n", DONE, 1),
		ROW("H2 999", "999 a\r\n", DONE, 999),
		ROW("H22 5 in 2", "250-a\r\n550 b\r\n", BAD, 0),
		ROW("H22 2 in 5", "550-a\r\n250 b\r\n", BAD, 0),
		ROW("H22 last digit only", "250-a\r\n251 b\r\n", BAD, 0),
		ROW("H22 000 behind a code", "250-a\r\n000 b\r\n", BAD, 0),
		ROW("H23 250", "250\r\n", DONE, 250),
		ROW("H23 250 blank", "250 \r\n", DONE, 250),
		ROW("H23 250- and 250", "250-\r\n250\r\n", DONE, 250),
		ROW("I3 NUL in the text", "250 a\0b\r\n", DONE, 250),
		ROW("I4 forged records", "550 \0Kforged\0D\r\n", DONE, 550),
		ROW("I7 bare CR in the text", "250 a\rb\r\n", DONE, 250),
		ROW("I7 bare CR, then a code", "250-a\r250 b", MORE, 250),
		ROW("I7 bare LF splits the line", "250-a\nb\r\n", MORE, 250),
		ROW("I7 CR CR LF", "250 a\r\r\n", DONE, 250),
		ROW("I7 CR CR LF behind the code", "250\r\r\n", DONE, 250),
		ROW("I7 CR behind the code", "250\rx\r\n", DONE, 250),
		ROW("I7 CR before the code", "\r250 x\r\n", MORE, 0),
		ROW("I9 format letters", "550 %s%n\\\r\n", DONE, 550),
		ROW("short second line", "250-a\r\n25\r\n", MORE, 250),
		ROW("empty second line", "250-a\r\n\r\n250 b\r\n", DONE, 250),
		ROW("first of two replies", "250 a\r\n550 b\r\n", DONE, 250),
	};
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t size = 1; size <= cases[i].n + 1; size++) {
			struct verdict got =
			    parse(&r, cases[i].in, cases[i].n, size);

			if (got.state != cases[i].want ||
			    (got.state != BAD && got.code != cases[i].code))
				fail_msg("%s: in pieces of %zu: %s, %d",
				    cases[i].name, size, state_name[got.state],
				    got.code);
		}
		check(cases[i].in, cases[i].n);
	}
}

/* The whole malformed line is shown: it tells which kind of server it is. */
static void
shows_what_is_malformed(void **state)
{
	static const struct {
		const char *in;
		const char *text;
	} cases[] = {
		{ "220-a\r\n554 b\r\nmore\r\n", "220-a\n554 b\n" },
		{ "220-a\r\n554 b", "220-a\n554 b" },
		{ "hello\r\n220-a\r\nx\r\n554 b\r\n",
		    "hello\n220-a\nx\n554 b\n" },
		{ "000 a\r\nmore\r\n", "000 a\n" },
	};
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].in);

		if (parse(&r, cases[i].in, n, n).state != BAD)
			fail_msg("%s: not malformed", cases[i].in);
		if (r.len != strlen(cases[i].text) ||
		    memcmp(r.text, cases[i].text, r.len) != 0)
			fail_msg("%s: shows %s", cases[i].in,
			    show(r.text, r.len));
	}
}

/*
 * Lines with one code, each with this much text; the last one ends the reply.
 */
static char *
make_reply(size_t lines, size_t text, size_t *n)
{
	size_t line = 4 + text + 2;
	char *in = malloc(lines * line);

	assert_non_null(in);
	for (size_t i = 0; i < lines; i++) {
		memcpy(in + i * line, i + 1 < lines ? "250-" : "250 ", 4);
		memset(in + i * line + 4, 'x', text);
		memcpy(in + i * line + 4 + text, "\r\n", 2);
	}
	*n = lines * line;
	return in;
}

static void
has_limits(void **state)
{
	static const struct {
		const char *name;
		size_t lines, text;
		enum smtp_reply_state want;
		size_t kept;
	} cases[] = {
		{ "I1 line of 510", 1, 504, DONE, 509 },
		{ "I1 line of 511", 1, 505, DONE, 510 },
		{ "I1 line of 512", 1, 506, DONE, 511 },
		{ "I1 line of 513", 1, 507, DONE, 512 },
		{ "I1 line of 1000", 1, 994, DONE, 999 },
		{ "I1 line of 2048", 1, 2042, DONE, 2047 },
		{ "I1 line of 65536", 1, 65530, DONE, 5000 },
		{ "I1 text one below the limit", 1, 4994, DONE, 4999 },
		{ "I1 text at the limit", 1, 4995, DONE, 5000 },
		{ "I1 text one above the limit", 1, 4996, DONE, 5000 },
		{ "I1 many lines", 200, 100, DONE, 5000 },
		{ "C8 ten thousand lines", 10000, 30, DONE, 5000 },
		{ "C8 line of 60 KB", 1, 60000, DONE, 5000 },
		{ "B8 a MiB in one line", 1, (1 << 20) - 6, DONE, 5000 },
		{ "B8 more than a MiB in one line", 1, (1 << 20) - 5, BAD,
		    5000 },
		{ "B9 a MiB in lines", 1 << 14, 58, DONE, 5000 },
		{ "B9 more than a MiB in lines", (1 << 14) + 1, 58, BAD, 5000 },
	};
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static const size_t sizes[] = { 1, 7, 4096, SIZE_MAX };
		size_t n;
		char *in = make_reply(cases[i].lines, cases[i].text, &n);

		for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
			struct verdict got = parse(&r, in, n, sizes[j]);

			if (got.state != cases[i].want)
				fail_msg("%s: in pieces of %zu: %s",
				    cases[i].name, sizes[j],
				    state_name[got.state]);
			if (r.len != cases[i].kept)
				fail_msg("%s: in pieces of %zu: kept %zu",
				    cases[i].name, sizes[j], r.len);
		}
		free(in);
	}
}

/* An endless reply is malformed when it is too long, and not before. */
static void
limits_endless_replies(void **state)
{
	static const struct {
		const char *name;
		const char *first;
		const char *again;
	} cases[] = {
		{ "B8 endless line", "220 ", "x" },
		{ "B8 endless CRs", "220 ", "\r" },
		{ "B9 endless lines", "", "220-x\r\n" },
		{ "I2 no last line", "250-a\r\n", "250-\n" },
		{ "no code in an endless line", "", "x" },
		{ "no code in endless lines", "", "\r\n" },
		{ "no code in endless lines inside", "250-a\r\n", "x\r\n" },
	};
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *p = cases[i].first;
		enum smtp_reply_state now = MORE;
		size_t total = 0;

		smtp_reply_reset(&r);
		while (now != BAD && now != DONE &&
		       total <= SMTP_REPLY_MAX + 16) {
			if (!*p)
				p = cases[i].again;
			total += smtp_reply_add(&r, p++, 1, &now);
		}
		if (now != BAD || total != SMTP_REPLY_MAX + 1)
			fail_msg("%s: %s after %zu bytes", cases[i].name,
			    state_name[now], total);
		if (r.len > SMTP_REPLY_TEXT)
			fail_msg("%s: kept %zu bytes", cases[i].name, r.len);
	}
}

/* The current line: complete, without code and line end, or marked as cut. */
static void
keeps_a_line(void **state)
{
	static const size_t lengths[] = { 0, 1, 999, 1000, 1001, 4096 };
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		size_t n, want = lengths[i];
		char *in = make_reply(1, lengths[i], &n);
		bool is_cut = want > SMTP_REPLY_LINE_SIZE;

		if (is_cut)
			want = SMTP_REPLY_LINE_SIZE;
		if (parse(&r, in, n, 3).state != DONE)
			fail_msg("text of %zu: no reply", lengths[i]);
		if (r.linelen != want || r.line_is_cut != is_cut)
			fail_msg("text of %zu: kept %zu, %s", lengths[i],
			    r.linelen, r.line_is_cut ? "cut" : "whole");
		for (size_t j = 0; j < r.linelen; j++)
			if (r.line[j] != 'x')
				fail_msg("text of %zu: byte %zu", lengths[i],
				    j);
		free(in);
	}
}

/*
 * What is skipped while no reply is expected: whole lines without a code, and
 * the beginning of one, but nothing that may become a code.
 */
static void
skips_lines_without_a_code(void **state)
{
	static const struct {
		const char *in;
		size_t taken;
		const char *text; /* NULL: the bytes that were taken */
	} cases[] = {
		{ "\r\n", 2, "" },
		{ "\n\n", 2, "" },
		{ "\n\nx\n\ny\n", 7, "x\ny\n" },
		{ "hello\r\n", 7, NULL },
		{ "hel", 3, NULL },
		{ "\r", 1, NULL },
		{ "250 ok\r\n", 0, NULL },
		{ "250", 0, NULL },
		{ "25", 0, NULL },
		{ "2", 0, NULL },
		{ "25\r\n", 4, NULL },
		{ "2500 ok\r\n", 0, NULL },
		{ "000 ok\r\n", 0, NULL },
		{ "\r\n250 ok\r\n", 2, "" },
		{ "\r\n2", 2, "" },
		{ "x\r\n24: y\r\n250-a\r\n", 10, NULL },
	};
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *in = cases[i].in;
		size_t n = strlen(in), taken;
		enum smtp_reply_state now = MORE;

		smtp_reply_reset(&r);
		taken = smtp_reply_skip(&r, in, n);
		if (taken != cases[i].taken)
			fail_msg("%s: took %zu", show(in, n), taken);
		if (cases[i].text
			? !has_text_of(&r, cases[i].text, strlen(cases[i].text))
			: !has_text_of(&r, in, taken))
			fail_msg("%s: keeps %s", show(in, n),
			    show(r.text, r.len));
		/* The skipped text is part of the next reply. */
		if (taken < 1 || in[taken - 1] != '\n')
			continue;
		(void)smtp_reply_add(&r, "250 x\r\n", 7, &now);
		if (now != DONE || r.code != 250 || r.size != taken + 7)
			fail_msg("%s, then a reply: %s", show(in, n),
			    state_name[now]);
	}
}

/* The rest of a skipped line is not the beginning of a line. */
static void
skips_a_line_in_parts(void **state)
{
	static struct smtp_reply r;

	(void)state;
	smtp_reply_reset(&r);
	assert_int_equal(smtp_reply_skip(&r, "hello ", 6), 6);
	assert_int_equal(smtp_reply_skip(&r, "250 ok\r\n250", 11), 8);
	assert_false(r.code);
	assert_true(smtp_reply_has_no_code(&r));
}

static void
skips_no_more_than_a_reply_may_have(void **state)
{
	static struct smtp_reply r;
	enum smtp_reply_state now = MORE;
	size_t total = 0;

	(void)state;
	smtp_reply_reset(&r);
	while (smtp_reply_skip(&r, "x\r\n", 3) == 3)
		total += 3;
	assert_in_range(total, SMTP_REPLY_MAX - 3, SMTP_REPLY_MAX);
	while (now == MORE)
		(void)smtp_reply_add(&r, "x", 1, &now);
	assert_int_equal(now, BAD);
}

/* Lines were read, none of them with a code. */
static void
detects_text_without_a_code(void **state)
{
	static const struct {
		const char *in;
		bool is_none;
	} cases[] = {
		{ "", false },
		{ "SSH-2.0-x\r\n", true },
		{ "SSH-2.0-x", false },
		{ "25", false },
		{ "x\r\n25", true },
		{ "\r\n25", false },
		{ "\r\n250-a", false },
		{ "250-a\r\nb\r\n", false },
	};
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		parse(&r, cases[i].in, strlen(cases[i].in), 1);
		if (smtp_reply_has_no_code(&r) != cases[i].is_none)
			fail_msg("%s", cases[i].in);
	}
}

/* Nothing of one reply is left in the next (H21). */
static void
forgets_when_reset(void **state)
{
	static const char *const before[] = { "550-a\r\n550 b\r\n", "550-a",
		"x", "550\r", "250-a\r\n251", "55" };
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
		struct verdict got;

		parse(&r, before[i], strlen(before[i]), 1);
		got = parse(&r, "250 ok\r\n", 8, 8);
		if (got.state != DONE || got.code != 250 || r.lines != 1 ||
		    !has_text_of(&r, "250 ok\r\n", 8))
			fail_msg("after %s: %s, %d", before[i],
			    state_name[got.state], got.code);
	}
}

static void
has_a_class(void **state)
{
	static const struct {
		const char *in;
		int class;
	} cases[] = { { "250 a\n", 2 }, { "299 a\n", 2 }, { "354 a\n", 3 },
		{ "421 a\n", 4 }, { "599 a\n", 5 }, { "199 a\n", 1 },
		{ "850 a\n", 8 }, { "001 a\n", 0 } };
	static struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		parse(&r, cases[i].in, 6, 6);
		if (smtp_reply_class(&r) != cases[i].class)
			fail_msg("%s: class %d", cases[i].in,
			    smtp_reply_class(&r));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_each_case),
		cmocka_unit_test(every_short_reply),
		cmocka_unit_test(every_second_line),
		cmocka_unit_test(shows_what_is_malformed),
		cmocka_unit_test(has_limits),
		cmocka_unit_test(limits_endless_replies),
		cmocka_unit_test(keeps_a_line),
		cmocka_unit_test(skips_lines_without_a_code),
		cmocka_unit_test(skips_a_line_in_parts),
		cmocka_unit_test(skips_no_more_than_a_reply_may_have),
		cmocka_unit_test(detects_text_without_a_code),
		cmocka_unit_test(forgets_when_reset),
		cmocka_unit_test(has_a_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
