/* SPDX-License-Identifier: ISC */
#include "base/utf8.h"

#include "base/str.h"

#define SURROGATE_MIN 0xd800
#define SURROGATE_MAX 0xdfff
#define CHARACTER_MAX 0x10ffff

/* The smallest character that needs this many bytes. */
static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

/* The length that the first byte announces; 0 if it begins no character. */
static size_t
announced_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if ((first & 0xe0) == 0xc0)
		return 2;
	if ((first & 0xf0) == 0xe0)
		return 3;
	return (first & 0xf8) == 0xf0 ? 4 : 0;
}

static bool
is_character(uint32_t c, size_t len)
{
	return c >= smallest[len] && c <= CHARACTER_MAX &&
	       (c < SURROGATE_MIN || c > SURROGATE_MAX);
}

size_t
utf8_read(const char *s, size_t n, uint32_t *character)
{
	size_t len = n > 0 ? announced_length((unsigned char)s[0]) : 0;
	uint32_t c;

	if (len == 0 || len > n)
		return 0;
	/* Of a longer character the first byte has 7 - len bits. */
	c = (unsigned char)s[0] & (len == 1 ? 0x7fu : 0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		unsigned char next = (unsigned char)s[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (next & 0x3f);
	}
	*character = c;
	return is_character(c, len) ? len : 0;
}

size_t
utf8_write(char out[4], uint32_t c)
{
	static const unsigned char mark[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t len = 1;

	while (len < 4 && c >= smallest[len + 1])
		len++;
	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	out[0] = (char)(mark[len] | c);
	return len;
}

bool
utf8_is_ascii(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] > 127)
			return false;
	return true;
}

bool
utf8_is_valid(const char *s, size_t n)
{
	uint32_t c;

	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_read(s + i, n - i, &c);
		if (len == 0)
			return false;
	}
	return true;
}

bool
utf8_is_international(const char *s, size_t n)
{
	return !utf8_is_ascii(s, n) && utf8_is_valid(s, n);
}

bool
utf8_may_be_idn(const char *s, size_t n)
{
	static const char prefix[] = "xn--";
	const size_t len = sizeof prefix - 1;

	for (size_t i = 0; i + len <= n; i++)
		if (str_case_equal(s + i, prefix, len))
			return true;
	return !utf8_is_ascii(s, n);
}
