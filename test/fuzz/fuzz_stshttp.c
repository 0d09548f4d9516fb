/* SPDX-License-Identifier: ISC */

/*
 * The reply of a policy host, of any bytes: the result does not depend on how
 * it is cut into pieces, and there is a body only of a complete reply.
 */

#include <stdlib.h>
#include <string.h>

#include "sts/http.h"
#include "sts/policy.h"

#include "fuzz.h"

static void
feed(struct sts_http *h, struct fuzz_cuts cuts, const char *bytes, size_t size)
{
	size_t at = 0;

	while (at < size) {
		size_t n = fuzz_cuts_next(&cuts, size - at);
		char *piece = fuzz_string(bytes + at, n);
		enum sts_http_state state = sts_http_add(h, piece, n);

		CHECK(state == h->state);
		at += n;
		free(piece);
	}
	CHECK(h->body.len <= STS_BODY_MAX);
}

static void
check_end(struct sts_http *h, bool was_closed)
{
	enum sts_http_state before = h->state;

	(void)sts_http_end(h, was_closed);
	CHECK(h->state != STS_HTTP_MORE);
	/* An end that somebody else may have caused completes nothing. */
	if (h->state == STS_HTTP_DONE)
		CHECK(before == STS_HTTP_DONE || was_closed);
	if (h->state == STS_HTTP_FAILED) {
		CHECK(h->why.cause == STS_CAUSE_FETCH);
		CHECK(h->why.reason[0] != '\0');
	}
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct sts_http whole, pieces;
	struct fuzz_input in = { data, size };
	bool was_closed = fuzz_byte(&in) & 1;
	struct fuzz_cuts cuts = fuzz_cuts_read(&in), none = { 0, 0, { 0 } };
	const char *bytes = (const char *)in.at;

	feed(&whole, none, bytes, in.left);
	feed(&pieces, cuts, bytes, in.left);
	CHECK(whole.state == pieces.state);
	check_end(&whole, was_closed);
	check_end(&pieces, was_closed);
	CHECK(whole.state == pieces.state);
	if (whole.state == STS_HTTP_DONE) {
		CHECK(whole.body.len == pieces.body.len);
		CHECK(memcmp(buf_text(&whole.body), buf_text(&pieces.body),
			  whole.body.len) == 0);
	}
	sts_http_finish(&whole);
	sts_http_finish(&pieces);
	return 0;
}
