/* SPDX-License-Identifier: ISC */

/*
 * Replies, cut into any pieces, compared with a parser that has all bytes at
 * once.
 */

#include <string.h>

#include "smtp/session.h"

#include "fuzz.h"

#define INPUT_MAX 8000 /* everything fits into the stream's buffer */

struct expected {
	enum smtp_reply_state state;
	int code;
	size_t lines;
	size_t size; /* its length, if it is DONE */
};

/*
 * The code of a line without its LF, or of the beginning of one: 0 if it is not
 * complete, NO_CODE if there is none.
 */
#define NO_CODE (-1)

static int
line_code(const char *s, size_t n, bool is_whole)
{
	size_t digits = 0;

	while (digits < n && digits < 3 && s[digits] >= '0' && s[digits] <= '9')
		digits++;
	if (digits == n && !is_whole)
		return 0;
	if (digits != 3)
		return NO_CODE;
	return (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
}

/* Three digits that cannot be a code, or not in this reply. */
static bool
is_wrong(const char *s, size_t n, int here, int code)
{
	if (n > 3 && s[3] >= '0' && s[3] <= '9')
		return true;
	return memcmp(s, "000", 3) == 0 || (code > 0 && here != code);
}

static struct expected
read_reply(const char *s, size_t n)
{
	struct expected e = { .state = SMTP_REPLY_MORE };
	const char *at = s, *end = s + n;

	for (;;) {
		const char *line = at;
		const char *lf =
		    at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
		size_t len = (size_t)((lf ? lf : end) - line);
		int here = line_code(line, len, lf);
		bool has_code = here != NO_CODE && (here > 0 || len > 3 || lf);

		if (has_code && is_wrong(line, len, here, e.code)) {
			e.state = SMTP_REPLY_MALFORMED;
			return e;
		}
		if (!lf)
			return e;
		at = lf + 1;
		if (!has_code)
			continue;
		e.code = here;
		e.lines++;
		e.size = (size_t)(at - s);
		if (len == 3 || line[3] != '-') {
			e.state = SMTP_REPLY_DONE;
			return e;
		}
	}
}

/*
 * The text of a reply is its bytes without CRs and empty lines, cut off at the
 * limit.
 */
static void
check_text(const struct smtp_reply *r, const char *s, size_t n)
{
	size_t kept = 0;
	char last = '\n';

	for (size_t i = 0; i < n && kept < sizeof r->text; i++) {
		if (s[i] == '\r' || (s[i] == '\n' && last == '\n'))
			continue;
		last = s[i];
		CHECK(kept < r->len && r->text[kept] == s[i]);
		kept++;
	}
	CHECK(r->len == kept);
}

static void
give(struct stream *stream, const char *s, size_t n)
{
	CHECK(n <= sizeof stream->in - stream->in_end);
	memcpy(stream->in + stream->in_end, s, n);
	stream->in_end += n;
}

/* The same bytes at once must give the same lines to EHLO. */
static struct smtp_ehlo
ehlo_of(const char *s, size_t n)
{
	static struct smtp_session session;
	struct smtp_ehlo ehlo = { 0 };

	smtp_session_init(&session, -1, 1);
	give(&session.stream, s, n);
	(void)smtp_session_parse(&session, &ehlo);
	return ehlo;
}

static void
check_ehlo(const struct smtp_ehlo *a, const struct smtp_ehlo *b)
{
	CHECK(a->extensions == b->extensions && a->size == b->size);
	CHECK(a->rcptmax == b->rcptmax && a->mailmax == b->mailmax);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct smtp_session session;
	struct fuzz_input in = { data, size };
	struct fuzz_cuts cuts = fuzz_cuts_read(&in);
	const char *start = (const char *)in.at, *at = start;
	struct smtp_ehlo ehlo = { 0 }, whole;
	struct expected e;

	if (in.left == 0 || in.left > INPUT_MAX)
		return 0;
	smtp_session_init(&session, -1, 1);
	e = read_reply(start, in.left);
	while (in.left > 0) {
		size_t n = fuzz_cuts_next(&cuts, in.left);
		enum smtp_reply_state state = SMTP_REPLY_MORE;
		size_t left = n;

		give(&session.stream, fuzz_bytes(&in, &n), n);
		while (left > 0) {
			state = smtp_session_parse(&session, &ehlo);
			(void)stream_input(&session.stream, &left);
			if (state != SMTP_REPLY_DONE)
				break;
			CHECK(e.state == SMTP_REPLY_DONE);
			CHECK(session.reply.code == e.code);
			CHECK(session.reply.lines == e.lines);
			CHECK(session.reply.size == e.size);
			CHECK(smtp_reply_class(&session.reply) == e.code / 100);
			check_text(&session.reply, at, e.size);
			whole = ehlo_of(at, e.size);
			check_ehlo(&ehlo, &whole);
			ehlo = (struct smtp_ehlo){ 0 };
			at += e.size;
			e = read_reply(at, left + in.left);
		}
		CHECK(state != SMTP_REPLY_LINE);
		if (state == SMTP_REPLY_MALFORMED) {
			CHECK(e.state == SMTP_REPLY_MALFORMED);
			return 0;
		}
	}
	CHECK(e.state == SMTP_REPLY_MORE);
	return 0;
}
