/* SPDX-License-Identifier: ISC */

/* Mail data, cut into any pieces, compared with an encoder of 20 lines. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "smtp/body.h"
#include "smtp/measure.h"

#include "fuzz.h"

/* Returns how many dots were doubled. */
static size_t
encode(struct buf *out, const char *s, size_t n)
{
	bool in_line = false;
	size_t dots = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\r' && i + 1 < n && s[i + 1] == '\n')
			continue;
		if (s[i] == '\n') {
			buf_puts(out, "\r\n");
			in_line = false;
			continue;
		}
		if (s[i] == '.' && !in_line) {
			buf_putc(out, '.');
			dots++;
		}
		buf_putc(out, s[i] == '\r' ? ' ' : s[i]);
		in_line = true;
	}
	if (in_line)
		buf_puts(out, "\r\n");
	return dots;
}

/* Each piece is encoded into memory of exactly the documented size. */
static void
run(struct fuzz_input in, struct fuzz_cuts cuts)
{
	const char *all = (const char *)in.at;
	size_t size = in.left, dots, n;
	struct smtp_body body = { 0 };
	struct smtp_measure measure = { 0 };
	struct buf out = { 0 }, expected = { 0 };
	bool has_8bit = false;
	char last[3];

	while (in.left > 0) {
		const char *piece;
		char *room;

		n = fuzz_cuts_next(&cuts, in.left);
		piece = fuzz_bytes(&in, &n);
		room = malloc(SMTP_BODY_OUT(n));
		CHECK(room);
		buf_append(&out, room, smtp_body_encode(&body, piece, n, room));
		free(room);
		smtp_measure_add(&measure, piece, n);
	}
	buf_append(&out, last, smtp_body_end(&body, last));
	smtp_measure_end(&measure);

	dots = encode(&expected, all, size);
	CHECK(out.len == expected.len);
	CHECK(out.len == 0 || memcmp(out.data, expected.data, out.len) == 0);
	for (size_t i = 0; i < size; i++)
		has_8bit = has_8bit || (unsigned char)all[i] >= 0x80;
	CHECK(measure.has_8bit == has_8bit);
	CHECK(measure.size + dots == out.len);
	buf_finish(&out);
	buf_finish(&expected);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct fuzz_cuts cuts = fuzz_cuts_read(&in);

	run(in, cuts);
	return 0;
}
