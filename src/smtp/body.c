/* SPDX-License-Identifier: ISC */
#include "smtp/body.h"

#include <string.h>

static const char lone_cr[1] = { '\r' };

/* Copies [in, end), which has no line end; CRs become spaces. */
static char *
encode_text(struct smtp_body *b, const char *in, const char *end, char *out)
{
	size_t n = (size_t)(end - in);
	char *cr;

	if (n == 0)
		return out;
	if (!b->in_line && *in == '.')
		*out++ = '.';
	b->in_line = true;
	memcpy(out, in, n);
	for (cr = memchr(out, '\r', n); cr;
	     cr = memchr(cr, '\r', (size_t)(out + n - cr)))
		*cr = ' ';
	return out + n;
}

static char *
encode_line_end(struct smtp_body *b, char *out)
{
	b->in_line = false;
	*out++ = '\r';
	*out++ = '\n';
	return out;
}

size_t
smtp_body_encode(struct smtp_body *b, const char *in, size_t n, char *out)
{
	const char *end = in + n;
	char *start = out;

	if (n == 0)
		return 0;
	if (b->pending_cr && *in != '\n')
		out = encode_text(b, lone_cr, lone_cr + 1, out);
	b->pending_cr = false;
	while (in < end) {
		const char *lf = memchr(in, '\n', (size_t)(end - in));
		const char *text_end = lf ? lf : end;

		if (text_end > in && text_end[-1] == '\r') {
			text_end--;
			b->pending_cr = !lf;
		}
		out = encode_text(b, in, text_end, out);
		if (!lf)
			break;
		out = encode_line_end(b, out);
		in = lf + 1;
	}
	return (size_t)(out - start);
}

size_t
smtp_body_end(struct smtp_body *b, char *out)
{
	char *start = out;

	if (b->pending_cr)
		out = encode_text(b, lone_cr, lone_cr + 1, out);
	b->pending_cr = false;
	if (b->in_line)
		out = encode_line_end(b, out);
	return (size_t)(out - start);
}
