/* SPDX-License-Identifier: ISC */
#include "qmail/timeoutidle.h"

#include <stdbool.h>
#include <string.h>

#include "base/str.h"
#include "io/fdio.h"
#include "qmail/control.h"

#define TEXT_MAX ((size_t)1 << 20)

/*
 * A whole number, and nothing but a comment behind it.  Of an empty line, the
 * value does not change.
 */
static bool
parse_line(const char *s, size_t n, unsigned long limit, unsigned long *value)
{
	size_t digits;

	while (n > 0 && s[n - 1] == '\r')
		n--;
	if (control_blank_length(s, n) == n)
		return true;
	digits = str_number(s, n, limit, value);
	return digits > 0 && control_is_comment(s + digits, n - digits);
}

unsigned long
timeoutidle_parse(struct timeoutidle *t, const struct buf *text)
{
	const struct {
		unsigned long *value, limit;
	} lines[] = {
		{ &t->seconds, TIMEOUTIDLE_MAX },
		{ &t->total, TIMEOUTIDLE_CONNECTIONS_MAX },
		{ &t->per_key, TIMEOUTIDLE_CONNECTIONS_MAX },
	};
	const char *at = buf_text(text), *end = at + text->len;

	*t = (struct timeoutidle){ 0, TIMEOUTIDLE_TOTAL, TIMEOUTIDLE_PER_KEY };
	at += control_bom_length(at, text->len);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;

		if (!parse_line(at, (size_t)(stop - at), lines[i].limit,
			lines[i].value)) {
			t->seconds = 0;
			return i + 1;
		}
		at = newline ? newline + 1 : end;
	}
	return 0;
}

void
timeoutidle_read(struct timeoutidle *t, const char *path)
{
	struct buf text = { 0 };

	if (fdio_read_file(path, TEXT_MAX, &text) == -1)
		buf_cut(&text, 0);
	(void)timeoutidle_parse(t, &text);
	buf_finish(&text);
}
