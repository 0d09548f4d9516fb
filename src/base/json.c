/* SPDX-License-Identifier: ISC */
#include "base/json.h"

void
json_string(struct buf *json, const char *s, size_t n)
{
	buf_putc(json, '"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"' || s[i] == '\\')
			buf_putc(json, '\\');
		if (s[i] >= ' ' && s[i] <= '~')
			buf_putc(json, s[i]);
		else
			buf_printf(json, "\\u%04x", (unsigned char)s[i]);
	}
	buf_putc(json, '"');
}
