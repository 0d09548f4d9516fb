/* SPDX-License-Identifier: ISC */
#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    "0123456789+/";

/* Up to three bytes, as four digits. */
static void
encode_group(char out[4], const char *p, size_t n)
{
	uint32_t bits = (uint32_t)(unsigned char)p[0] << 16;

	if (n > 1)
		bits |= (uint32_t)(unsigned char)p[1] << 8;
	if (n > 2)
		bits |= (unsigned char)p[2];
	out[0] = digits[bits >> 18];
	out[1] = digits[bits >> 12 & 63];
	out[2] = n > 1 ? digits[bits >> 6 & 63] : '=';
	out[3] = n > 2 ? digits[bits & 63] : '=';
}

void
base64_encode(struct buf *b, const char *p, size_t n)
{
	char group[4];

	(void)buf_reserve(b, (n + 2) / 3 * 4);
	while (n > 0) {
		size_t taken = n < 3 ? n : 3;

		encode_group(group, p, taken);
		buf_append(b, group, sizeof group);
		p += taken;
		n -= taken;
	}
}

bool
base64_is_digit(char c)
{
	return c != '\0' && (strchr(digits, c) || c == '=');
}
