/* SPDX-License-Identifier: ISC */

/* What is left of a text has no secret in it, plain or in base64. */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/mask.h"

#include "fuzz.h"

/* One byte of base64, or -1. */
static int
value_of(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
				     "pqrstuvwxyz0123456789+/";
	const char *found = c != '\0' ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) : -1;
}

static bool
is_same(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (tolower((unsigned char)a[i]) !=
		    tolower((unsigned char)b[i]))
			return false;
	return true;
}

static bool
has(const char *text, size_t n, const struct buf *secret)
{
	for (size_t i = 0; i + secret->len <= n; i++)
		if (is_same(text + i, secret->data, secret->len))
			return true;
	return false;
}

/* Decodes the digits from this place on, as far as there are any. */
static void
decode(const char *text, size_t n, struct buf *out)
{
	unsigned bits = 0;
	int nbit = 0;

	buf_cut(out, 0);
	for (size_t i = 0; i < n && value_of(text[i]) != -1; i++) {
		bits = bits << 6 | (unsigned)value_of(text[i]);
		nbit += 6;
		if (nbit >= 8) {
			nbit -= 8;
			buf_putc(out, (char)(bits >> nbit & 0xff));
		}
	}
}

static bool
has_encoded(const char *text, size_t n, const struct buf *secret)
{
	struct buf decoded = { 0 };
	bool found = false;

	for (size_t i = 0; i < n && !found; i++) {
		decode(text + i, n - i, &decoded);
		found = decoded.len >= secret->len &&
			memcmp(decoded.data, secret->data, secret->len) == 0;
	}
	buf_finish(&decoded);
	return found;
}

/*
 * The text: the byte 1 stands for the secret, 2 for base64 of it with the byte
 * that follows before it, that many times modulo 4.
 */
static void
make_text(struct fuzz_input *in, const struct buf *secret, struct buf *text)
{
	while (in->left > 0 && text->len < 2000) {
		struct buf raw = { 0 };
		unsigned char c = fuzz_byte(in);

		if (c == 1)
			buf_append(text, secret->data, secret->len);
		else if (c == 2) {
			c = fuzz_byte(in);
			for (int i = 0; i < c % 4; i++)
				buf_putc(&raw, (char)c);
			buf_append(&raw, secret->data, secret->len);
			base64_encode(text, raw.data, raw.len);
		} else
			buf_putc(text, (char)c);
		buf_finish(&raw);
	}
	buf_putc(text, '\n');
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct buf secret = { 0 }, text = { 0 };
	struct mask mask = { 0 };
	size_t n;
	const char *part = fuzz_part(&in, '\n', &n);

	/* From five bytes on it is found at each place in base64. */
	if (n < 5 || n > 100)
		return 0;
	buf_append(&secret, part, n);
	make_text(&in, &secret, &text);
	mask_add_secret(&mask, secret.data, secret.len);
	n = mask_apply(&mask, text.data, text.len);
	CHECK(n <= text.len && text.data[n - 1] == '\n');
	/* A '*' in it may come from the mask. */
	if (!memchr(secret.data, '*', secret.len)) {
		CHECK(!has(text.data, n, &secret));
		CHECK(!has_encoded(text.data, n, &secret));
		CHECK(mask_apply(&mask, text.data, n) == n);
	}
	mask_finish(&mask);
	buf_finish(&secret);
	buf_finish(&text);
	return 0;
}
