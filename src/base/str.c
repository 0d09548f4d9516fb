/* SPDX-License-Identifier: ISC */
#include "base/str.h"

#include <string.h>

char
str_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
str_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
str_is_alnum(char c)
{
	char lower = str_lower(c);

	return str_is_digit(c) || (lower >= 'a' && lower <= 'z');
}

bool
str_case_equal(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_lower(a[i]) != str_lower(b[i]))
			return false;
	return true;
}

size_t
str_number64(const char *s, size_t n, uint64_t limit, uint64_t *value)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < n && str_is_digit(s[i]); i++) {
		uint64_t digit = (uint64_t)(s[i] - '0');

		if (digit > limit || sum > (limit - digit) / 10)
			sum = limit;
		else
			sum = sum * 10 + digit;
	}
	if (i > 0)
		*value = sum;
	return i;
}

size_t
str_number(const char *s, size_t n, unsigned long limit, unsigned long *value)
{
	uint64_t wide = *value;
	size_t digits = str_number64(s, n, limit, &wide);

	/* It fits: it is no greater than limit. */
	*value = (unsigned long)wide;
	return digits;
}

uint64_t
str_hash(uint64_t start, const char *text)
{
	uint64_t h = start;

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}

int
str_copy(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);
	size_t fits = n < size ? n : size - 1;

	memcpy(dst, src, fits);
	dst[fits] = '\0';
	return fits == n ? 0 : -1;
}
