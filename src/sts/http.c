/* SPDX-License-Identifier: ISC */
#include "sts/http.h"

#include <string.h>

#include "base/str.h"
#include "sts/policy.h"
#include "sts/text.h"

enum step {
	STATUS,     /* a status line */
	HEADER,     /* a header line, or the empty line after them */
	BODY,       /* bytes of a body of known length */
	REST,       /* bytes of a body that ends with the connection */
	CHUNK_SIZE, /* a line with the size of the next chunk */
	CHUNK,      /* bytes of a chunk */
	CHUNK_END,  /* the line end after it */
	TRAILER     /* a header line after the last chunk, or the empty line */
};

static void
fail(struct sts_http *h, const char *text)
{
	h->state = STS_HTTP_FAILED;
	(void)sts_failure_set(&h->why, STS_CAUSE_FETCH, "%s", text);
}

static void
begin_data(struct sts_http *h, enum step step, size_t n)
{
	h->step = (int)step;
	h->left = n;
	if (n > STS_BODY_MAX - h->body.len)
		fail(h, "the reply is too long");
	else if (n == 0)
		h->state = STS_HTTP_DONE;
}

/* "HTTP/1.1 200 OK": the text may be missing, and is not looked at. */
static void
read_status(struct sts_http *h, struct sts_text line)
{
	unsigned long minor = 0, status = 0;

	if (!sts_text_skip(&line, "HTTP/1.") || line.n < 5 ||
	    str_number(line.at, 1, 9, &minor) != 1 || line.at[1] != ' ' ||
	    str_number(line.at + 2, line.n - 2, 1000, &status) != 3 ||
	    (line.n > 5 && line.at[5] != ' ')) {
		fail(h, "the reply is not of HTTP/1");
		return;
	}
	h->status = (unsigned)status;
	h->step = HEADER;
	if (status != 200 && (status < 100 || status > 199 || status == 101)) {
		h->state = STS_HTTP_FAILED;
		(void)sts_failure_set(&h->why, STS_CAUSE_FETCH,
		    "the host replied %lu", status);
	}
}

/* The media type without its parameters. */
static void
read_type(struct sts_http *h, struct sts_text value)
{
	struct sts_text type;

	(void)sts_text_cut(&value, ';', &type);
	h->is_text =
	    !h->has_type && sts_text_is_like(sts_text_trim(type), "text/plain");
	h->has_type = true;
}

/* A length that is told twice must be the same. */
static void
read_length(struct sts_http *h, struct sts_text value)
{
	unsigned long length = 0;

	if (value.n == 0 ||
	    str_number(value.at, value.n, STS_BODY_MAX + 1, &length) !=
		value.n ||
	    (h->has_length && h->length != length))
		fail(h, "the reply has no valid Content-Length");
	h->has_length = true;
	h->length = length;
}

static void
read_coding(struct sts_http *h, struct sts_text value)
{
	if (h->is_chunked || !sts_text_is_like(value, "chunked"))
		fail(h, "the reply has an unknown Transfer-Encoding");
	h->is_chunked = true;
}

/* A name is not empty, and has no blanks: none at its start, either. */
static bool
is_name(struct sts_text name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.at[i] <= ' ' || name.at[i] > '~')
			return false;
	return name.n > 0;
}

static void
read_header(struct sts_http *h, struct sts_text line)
{
	struct sts_text name, value = line;

	if (!sts_text_cut(&value, ':', &name) || !is_name(name)) {
		fail(h, "the reply has a malformed header");
		return;
	}
	value = sts_text_trim(value);
	if (h->status != 200)
		return;
	if (sts_text_is_like(name, "Content-Type"))
		read_type(h, value);
	else if (sts_text_is_like(name, "Content-Length"))
		read_length(h, value);
	else if (sts_text_is_like(name, "Transfer-Encoding"))
		read_coding(h, value);
	else if (sts_text_is_like(name, "Content-Encoding") &&
		 !sts_text_is_like(value, "identity"))
		fail(h, "the reply has a Content-Encoding");
}

/* After the empty line. */
static void
begin_body(struct sts_http *h)
{
	if (h->status != 200)
		h->step = STATUS;
	else if (!h->is_text)
		fail(h, "the reply is not text/plain");
	else if (h->is_chunked && h->has_length)
		fail(h, "the reply tells its length in two ways");
	else if (h->is_chunked)
		h->step = CHUNK_SIZE;
	else if (h->has_length)
		begin_data(h, BODY, h->length);
	else
		h->step = REST;
}

static int
hex_digit(char c)
{
	if (str_is_digit(c))
		return c - '0';
	c = str_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The size is in hexadecimal; extensions after it are ignored. */
static void
read_chunk_size(struct sts_http *h, struct sts_text line)
{
	struct sts_text digits;
	size_t size = 0;

	(void)sts_text_cut(&line, ';', &digits);
	digits = sts_text_trim(digits);
	for (size_t i = 0; i < digits.n; i++) {
		int digit = hex_digit(digits.at[i]);

		if (digit == -1) {
			digits.n = 0;
			break;
		}
		size = size * 16 + (size_t)digit;
		if (size > STS_BODY_MAX)
			size = STS_BODY_MAX + 1;
	}
	if (digits.n == 0)
		fail(h, "the reply has a malformed chunk");
	else if (size == 0)
		h->step = TRAILER;
	else
		begin_data(h, CHUNK, size);
}

static void
read_line(struct sts_http *h, struct sts_text line)
{
	switch ((enum step)h->step) {
	case STATUS:
		read_status(h, line);
		break;
	case HEADER:
		if (line.n > 0)
			read_header(h, line);
		else
			begin_body(h);
		break;
	case CHUNK_SIZE:
		read_chunk_size(h, line);
		break;
	case CHUNK_END:
		h->step = CHUNK_SIZE;
		if (line.n > 0)
			fail(h, "the reply has a malformed chunk");
		break;
	default: /* TRAILER */
		if (line.n == 0)
			h->state = STS_HTTP_DONE;
	}
}

static bool
expects_line(const struct sts_http *h)
{
	return h->step != BODY && h->step != REST && h->step != CHUNK;
}

/* Takes bytes up to the end of a line, and reads the line if it is complete. */
static void
add_to_line(struct sts_http *h, struct sts_text *in)
{
	struct sts_text piece, line;
	size_t before = in->n;
	bool is_complete = sts_text_cut(in, '\n', &piece);

	h->head += before - in->n;
	if (piece.n > sizeof h->line - h->nline ||
	    h->head > STS_HTTP_HEAD_MAX) {
		fail(h, "the reply has too long a header");
		return;
	}
	memcpy(h->line + h->nline, piece.at, piece.n);
	h->nline += piece.n;
	if (!is_complete)
		return;
	line = (struct sts_text){ h->line, h->nline };
	if (line.n > 0 && line.at[line.n - 1] == '\r')
		line.n--;
	h->nline = 0;
	read_line(h, line);
}

static void
add_to_body(struct sts_http *h, struct sts_text *in)
{
	bool is_limited = h->step != REST;
	size_t n = is_limited && h->left < in->n ? h->left : in->n;

	if (n > STS_BODY_MAX - h->body.len) {
		fail(h, "the reply is too long");
		return;
	}
	buf_append(&h->body, in->at, n);
	in->at += n;
	in->n -= n;
	if (!is_limited)
		return;
	h->left -= n;
	if (h->left > 0)
		return;
	if (h->step == BODY)
		h->state = STS_HTTP_DONE;
	h->step = CHUNK_END;
}

enum sts_http_state
sts_http_add(struct sts_http *h, const char *bytes, size_t n)
{
	struct sts_text in = { bytes, n };

	while (in.n > 0 && h->state == STS_HTTP_MORE) {
		if (expects_line(h))
			add_to_line(h, &in);
		else
			add_to_body(h, &in);
	}
	return h->state;
}

enum sts_http_state
sts_http_end(struct sts_http *h, bool was_closed)
{
	if (h->state != STS_HTTP_MORE)
		return h->state;
	if (h->step == REST && was_closed)
		h->state = STS_HTTP_DONE;
	else
		fail(h, "the reply was cut off");
	return h->state;
}

void
sts_http_finish(struct sts_http *h)
{
	buf_finish(&h->body);
	*h = (struct sts_http){ .step = STATUS };
}
