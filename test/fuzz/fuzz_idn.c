/* SPDX-License-Identifier: ISC */

/*
 * Domains of arbitrary bytes: what is converted has as many labels as before,
 * all of it ASCII; labels in ASCII are the same, and no other becomes one.
 */

#include <string.h>

#include "base/idn.h"
#include "base/utf8.h"

#include "fuzz.h"

/* The label at *at; false behind the last one. */
static bool
next_label(const char **at, const char *end, const char **label, size_t *n)
{
	const char *dot;

	if (*at > end)
		return false;
	dot = memchr(*at, '.', (size_t)(end - *at));
	*label = *at;
	*n = (size_t)((dot ? dot : end) - *at);
	*at += *n + 1;
	return true;
}

static void
check_labels(const char *domain, size_t n, const struct buf *ascii)
{
	const char *from = domain, *to = buf_text(ascii), *a, *b;
	size_t na, nb;

	while (next_label(&from, domain + n, &a, &na)) {
		CHECK(next_label(&to, buf_text(ascii) + ascii->len, &b, &nb));
		if (utf8_is_ascii(a, na)) {
			CHECK(na == nb && memcmp(a, b, na) == 0);
		} else {
			CHECK(utf8_is_valid(a, na));
			CHECK(nb > 4 && nb <= 63 && memcmp(b, "xn--", 4) == 0);
		}
	}
	CHECK(!next_label(&to, buf_text(ascii) + ascii->len, &b, &nb));
}

/* Each character is written as it was read. */
static void
check_characters(const char *s, size_t n)
{
	bool is_valid = true;

	for (size_t i = 0, len; i < n && is_valid; i += len) {
		uint32_t c;
		char out[4];

		len = utf8_read(s + i, n - i, &c);
		is_valid = len > 0;
		CHECK(!is_valid || (utf8_write(out, c) == len &&
				       memcmp(out, s + i, len) == 0));
	}
	CHECK(utf8_is_valid(s, n) == is_valid);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	const char *domain = (const char *)data;
	struct buf ascii = { 0 }, again = { 0 };

	check_characters(domain, size);
	if (idn_to_ascii(&ascii, domain, size) == NULL) {
		CHECK(utf8_is_ascii(buf_text(&ascii), ascii.len));
		check_labels(domain, size, &ascii);
		CHECK(idn_to_ascii(&again, buf_text(&ascii), ascii.len) ==
		      NULL);
		CHECK(again.len == ascii.len &&
		      memcmp(buf_text(&again), buf_text(&ascii), ascii.len) ==
			  0);
	} else
		CHECK(ascii.len == 0);
	buf_finish(&ascii);
	buf_finish(&again);
	return 0;
}
