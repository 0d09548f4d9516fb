/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sts/http.h"
#include "sts/policy.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define TEXT OK "Content-Type: text/plain\r\n"
#define CHUNKS TEXT "Transfer-Encoding: chunked\r\n\r\n"

/*
 * A reply, and its body or the reason of a failure.  At its end the host closes
 * the connection, unless it was cut off.
 */
static const struct {
	const char *name, *reply, *want;
	enum { CLOSED, CUT_OFF } end;
} cases[] = {
	{ "length", TEXT "Content-Length: 5\r\n\r\nhello", "hello", CUT_OFF },
	{ "length, in lower case",
	    "HTTP/1.1 200 OK\r\ncontent-type:text/plain\r\n"
	    "content-length:5\r\n\r\nhello",
	    "hello", CUT_OFF },
	{ "more than the length", TEXT "Content-Length: 5\r\n\r\nhello more",
	    "hello", CUT_OFF },
	{ "length 0", TEXT "Content-Length: 0\r\n\r\nx", "", CUT_OFF },
	{ "length twice",
	    TEXT "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "hi",
	    CUT_OFF },
	{ "line ends without CR",
	    "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: "
	    "2\n\nhi",
	    "hi", CUT_OFF },
	{ "to the end", TEXT "\r\nhello", "hello", CLOSED },
	{ "to the end, empty", TEXT "\r\n", "", CLOSED },
	{ "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhi",
	    "hi", CLOSED },
	{ "no text after the status",
	    "HTTP/1.1 200\r\nContent-Type: text/plain\r\n\r\nhi", "hi",
	    CLOSED },
	{ "parameters of the type",
	    OK "Content-Type: Text/Plain; charset=utf-8\r\n\r\nhi", "hi",
	    CLOSED },
	{ "other headers",
	    TEXT "Server: x:y\r\nSet-Cookie:\r\nContent-Encoding: Identity\r\n"
		 "\r\nhi",
	    "hi", CLOSED },
	{ "interim replies",
	    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
	    "Content-Type: text/html\r\nContent-Length: 7\r\n\r\n" TEXT
	    "\r\nhi",
	    "hi", CLOSED },
	{ "chunks", CHUNKS "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!",
	    CUT_OFF },
	{ "no chunks", CHUNKS "0\r\n\r\n", "", CUT_OFF },
	{ "sizes in any form",
	    CHUNKS "00001;a=b\r\na\r\n A \r\n"
		   "0123456789\r\nb\r\nabcdefghijk\r\n"
		   "0;x\r\n\r\n",
	    "a0123456789abcdefghijk", CUT_OFF },
	{ "trailers", CHUNKS "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "x",
	    CUT_OFF },
	{ "a line end in a chunk", CHUNKS "2\r\n\r\n\r\n0\r\n\r\n", "\r\n",
	    CUT_OFF },

	{ "nothing", "", "the reply was cut off", CLOSED },
	{ "half a status", "HTTP/1.1 20", "the reply was cut off", CLOSED },
	{ "half a header", TEXT "Content-", "the reply was cut off", CLOSED },
	{ "no end of the header", TEXT, "the reply was cut off", CLOSED },
	{ "less than the length", TEXT "Content-Length: 6\r\n\r\nhello",
	    "the reply was cut off", CLOSED },
	{ "to the end, but cut off", TEXT "\r\nhello", "the reply was cut off",
	    CUT_OFF },
	{ "no last chunk", CHUNKS "5\r\nhello\r\n", "the reply was cut off",
	    CLOSED },
	{ "half a chunk", CHUNKS "5\r\nhel", "the reply was cut off", CLOSED },
	{ "no end of a chunk", CHUNKS "5\r\nhello", "the reply was cut off",
	    CLOSED },
	{ "no end after the last chunk", CHUNKS "1\r\nx\r\n0\r\n",
	    "the reply was cut off", CLOSED },
	{ "only interim replies", "HTTP/1.1 100 Continue\r\n\r\n",
	    "the reply was cut off", CLOSED },

	{ "301", "HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n",
	    "the host replied 301", CLOSED },
	{ "204", "HTTP/1.1 204 No Content\r\n\r\n", "the host replied 204",
	    CLOSED },
	{ "404", "HTTP/1.1 404\r\n\r\n", "the host replied 404", CLOSED },
	{ "500", "HTTP/1.1 500 x\r\n\r\n", "the host replied 500", CLOSED },
	{ "101", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
	    "the host replied 101", CLOSED },
	{ "099", "HTTP/1.1 099 x\r\n\r\n", "the host replied 99", CLOSED },
	{ "206", "HTTP/1.1 206 Partial Content\r\n\r\n", "the host replied 206",
	    CLOSED },

	{ "HTTP/0.9", "version: STSv1\r\n", "the reply is not of HTTP/1",
	    CLOSED },
	{ "HTTP/2", "HTTP/2 200\r\n\r\n", "the reply is not of HTTP/1",
	    CLOSED },
	{ "empty line first", "\r\nHTTP/1.1 200 OK\r\n",
	    "the reply is not of HTTP/1", CLOSED },
	{ "no status", "HTTP/1.1\r\n", "the reply is not of HTTP/1", CLOSED },
	{ "short status", "HTTP/1.1 20\r\n", "the reply is not of HTTP/1",
	    CLOSED },
	{ "long status", "HTTP/1.1 2000\r\n", "the reply is not of HTTP/1",
	    CLOSED },
	{ "short status and a text", "HTTP/1.1 20 OK\r\n",
	    "the reply is not of HTTP/1", CLOSED },
	{ "bytes after the status", "HTTP/1.1 200OK\r\n",
	    "the reply is not of HTTP/1", CLOSED },
	{ "no blank before the status", "HTTP/1.1-200 OK\r\n",
	    "the reply is not of HTTP/1", CLOSED },
	{ "no minor version", "HTTP/1.x 200 OK\r\n",
	    "the reply is not of HTTP/1", CLOSED },
	{ "lower case", "http/1.1 200 OK\r\n", "the reply is not of HTTP/1",
	    CLOSED },

	{ "no type", OK "Content-Length: 2\r\n\r\nhi",
	    "the reply is not text/plain", CLOSED },
	{ "HTML", OK "Content-Type: text/html\r\n\r\nhi",
	    "the reply is not text/plain", CLOSED },
	{ "longer type", OK "Content-Type: text/plainx\r\n\r\nhi",
	    "the reply is not text/plain", CLOSED },
	{ "empty type", OK "Content-Type:\r\n\r\nhi",
	    "the reply is not text/plain", CLOSED },
	{ "two types", TEXT "Content-Type: text/plain\r\n\r\nhi",
	    "the reply is not text/plain", CLOSED },
	{ "gzip", TEXT "Content-Encoding: gzip\r\n\r\nhi",
	    "the reply has a Content-Encoding", CLOSED },
	{ "other transfer coding",
	    TEXT "Transfer-Encoding: gzip, chunked\r\n\r\nhi",
	    "the reply has an unknown Transfer-Encoding", CLOSED },
	{ "chunked twice",
	    TEXT "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
		 "\r\n",
	    "the reply has an unknown Transfer-Encoding", CLOSED },
	{ "both lengths",
	    TEXT "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
	    "the reply tells its length in two ways", CLOSED },
	{ "two lengths",
	    TEXT "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
	    "the reply has no valid Content-Length", CLOSED },
	{ "empty length", TEXT "Content-Length:\r\n\r\nhi",
	    "the reply has no valid Content-Length", CLOSED },
	{ "negative length", TEXT "Content-Length: -1\r\n\r\nhi",
	    "the reply has no valid Content-Length", CLOSED },
	{ "list of lengths", TEXT "Content-Length: 2, 2\r\n\r\nhi",
	    "the reply has no valid Content-Length", CLOSED },
	{ "great length", TEXT "Content-Length: 65537\r\n\r\nhi",
	    "the reply is too long", CLOSED },
	{ "greatest length",
	    TEXT "Content-Length: 99999999999999999999999999\r\n\r\nhi",
	    "the reply is too long", CLOSED },
	{ "no colon", TEXT "what\r\n\r\nhi", "the reply has a malformed header",
	    CLOSED },
	{ "no name", TEXT ": x\r\n\r\nhi", "the reply has a malformed header",
	    CLOSED },
	{ "blank before the colon", TEXT "Content-Length : 2\r\n\r\nhi",
	    "the reply has a malformed header", CLOSED },
	{ "folded header", TEXT "A: b\r\n c: d\r\n\r\nhi",
	    "the reply has a malformed header", CLOSED },
	{ "8-bit name", TEXT "\xc3\xa4: b\r\n\r\nhi",
	    "the reply has a malformed header", CLOSED },
	{ "control byte in a name", TEXT "A\x7f: b\r\n\r\nhi",
	    "the reply has a malformed header", CLOSED },
	{ "malformed interim reply", "HTTP/1.1 100 Continue\r\nx\r\n",
	    "the reply has a malformed header", CLOSED },
	{ "no size of a chunk", CHUNKS "\r\n",
	    "the reply has a malformed chunk", CLOSED },
	{ "only an extension", CHUNKS ";a=b\r\n",
	    "the reply has a malformed chunk", CLOSED },
	{ "size with other bytes", CHUNKS "1g\r\n",
	    "the reply has a malformed chunk", CLOSED },
	{ "negative size", CHUNKS "-1\r\n", "the reply has a malformed chunk",
	    CLOSED },
	{ "size as C has it", CHUNKS "0x1\r\n",
	    "the reply has a malformed chunk", CLOSED },
	{ "bytes after a chunk", CHUNKS "1\r\nxy\r\n",
	    "the reply has a malformed chunk", CLOSED },
	{ "great chunk", CHUNKS "10001\r\nx", "the reply is too long", CLOSED },
	{ "greatest chunk", CHUNKS "ffffffffffffffffffffffff\r\nx",
	    "the reply is too long", CLOSED },
	{ "chunks that are too long together", CHUNKS "1\r\nx\r\n10000\r\n",
	    "the reply is too long", CLOSED },
};

/* Feeds the bytes in pieces of this size. */
static enum sts_http_state
feed(struct sts_http *h, const char *bytes, size_t n, size_t size)
{
	enum sts_http_state state = STS_HTTP_MORE;

	for (size_t at = 0; at < n; at += size)
		state =
		    sts_http_add(h, bytes + at, n - at < size ? n - at : size);
	return state;
}

static void
judge(size_t i, struct sts_http *h)
{
	const char *said = buf_text(&h->body);

	if (h->state == STS_HTTP_FAILED) {
		assert_int_equal(h->why.cause, STS_CAUSE_FETCH);
		said = h->why.reason;
	}
	if (h->state == STS_HTTP_MORE || strcmp(said, cases[i].want) != 0)
		fail_msg("%s: %s", cases[i].name, said);
}

static void
parses_replies(void **state)
{
	static struct sts_http h;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *reply = cases[i].reply;

		for (size_t size = 1; size < 200; size += size < 8 ? 1 : 37) {
			(void)feed(&h, reply, strlen(reply), size);
			(void)sts_http_end(&h, cases[i].end == CLOSED);
			judge(i, &h);
			sts_http_finish(&h);
		}
	}
}

/* No reply is taken for complete before its end. */
static void
needs_all_of_a_reply(void **state)
{
	static struct sts_http h;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *reply = cases[i].reply;

		if (cases[i].end != CUT_OFF || strstr(cases[i].name, "more") ||
		    strstr(cases[i].name, "cut off") ||
		    strstr(cases[i].name, "length 0"))
			continue;
		for (size_t n = 0; n < strlen(reply); n++) {
			assert_int_not_equal(feed(&h, reply, n, n),
			    STS_HTTP_DONE);
			sts_http_finish(&h);
		}
	}
}

static void
limits_the_body(void **state)
{
	static struct sts_http h;
	static char piece[STS_BODY_MAX + 1];

	(void)state;
	memset(piece, 'x', sizeof piece);
	(void)feed(&h, TEXT "\r\n", strlen(TEXT "\r\n"), 1000);
	assert_int_equal(sts_http_add(&h, piece, STS_BODY_MAX), STS_HTTP_MORE);
	assert_int_equal(sts_http_add(&h, "x", 1), STS_HTTP_FAILED);
	assert_string_equal(h.why.reason, "the reply is too long");
	assert_int_equal(sts_http_add(&h, "x", 1), STS_HTTP_FAILED);
	sts_http_finish(&h);

	(void)feed(&h, TEXT "\r\n", strlen(TEXT "\r\n"), 1000);
	assert_int_equal(sts_http_add(&h, piece, STS_BODY_MAX), STS_HTTP_MORE);
	assert_int_equal(sts_http_end(&h, true), STS_HTTP_DONE);
	assert_int_equal(h.body.len, STS_BODY_MAX);
	assert_int_equal(sts_http_end(&h, false), STS_HTTP_DONE);
	sts_http_finish(&h);

	(void)feed(&h, CHUNKS "10000\r\n", strlen(CHUNKS "10000\r\n"), 1000);
	assert_int_equal(sts_http_add(&h, piece, STS_BODY_MAX), STS_HTTP_MORE);
	assert_int_equal(sts_http_add(&h, "\r\n0\r\n\r\n", 7), STS_HTTP_DONE);
	sts_http_finish(&h);
}

static void
limits_the_header(void **state)
{
	static struct sts_http h;
	static char line[STS_HTTP_LINE_MAX];
	size_t n = 0;

	(void)state;
	memset(line, 'x', sizeof line);
	line[1] = ':';
	(void)feed(&h, OK, strlen(OK), 1000);
	assert_int_equal(sts_http_add(&h, line, sizeof line), STS_HTTP_MORE);
	assert_int_equal(sts_http_add(&h, "\n", 1), STS_HTTP_MORE);
	assert_int_equal(sts_http_add(&h, line, sizeof line), STS_HTTP_MORE);
	assert_int_equal(sts_http_add(&h, "x", 1), STS_HTTP_FAILED);
	assert_string_equal(h.why.reason, "the reply has too long a header");
	sts_http_finish(&h);

	/* All lines together, also those of interim replies. */
	while (feed(&h, "HTTP/1.1 100 x\r\n\r\n", 18, 100) == STS_HTTP_MORE)
		n += 18;
	assert_true(n <= STS_HTTP_HEAD_MAX && n > STS_HTTP_HEAD_MAX - 18);
	assert_string_equal(h.why.reason, "the reply has too long a header");
	sts_http_finish(&h);

	/* Chunks of one byte, too. */
	(void)feed(&h, CHUNKS, strlen(CHUNKS), 1000);
	for (n = 0; feed(&h, "1\r\nx\r\n", 6, 6) == STS_HTTP_MORE; n++)
		;
	assert_true(n > 6000 && n < 7000);
	sts_http_finish(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_replies),
		cmocka_unit_test(needs_all_of_a_reply),
		cmocka_unit_test(limits_the_body),
		cmocka_unit_test(limits_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
