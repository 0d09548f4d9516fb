/* SPDX-License-Identifier: ISC */
#include "base/json.h"

#include "base/utf8.h"

/* Characters above U+FFFF are two surrogates. */
static void
put_escape(struct buf *json, uint32_t c)
{
	if (c > 0xffff) {
		c -= 0x10000;
		buf_printf(json, "\\u%04x", (unsigned)(0xd800 | c >> 10));
		c = 0xdc00 | (c & 0x3ff);
	}
	buf_printf(json, "\\u%04x", (unsigned)c);
}

void
json_string(struct buf *json, const char *s, size_t n)
{
	bool is_utf8 = utf8_is_valid(s, n);
	uint32_t c;

	buf_putc(json, '"');
	for (size_t i = 0, len; i < n; i += len) {
		c = (unsigned char)s[i];
		len = is_utf8 ? utf8_read(s + i, n - i, &c) : 1;
		if (c == '"' || c == '\\')
			buf_putc(json, '\\');
		if (c >= ' ' && c <= '~')
			buf_putc(json, (char)c);
		else
			put_escape(json, c);
	}
	buf_putc(json, '"');
}
