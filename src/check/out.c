/* SPDX-License-Identifier: ISC */
#include "check/out.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

static const char *const colours[] = {
	[OUT_PLAIN] = "\033[0m",
	[OUT_GREEN] = "\033[32m",
	[OUT_YELLOW] = "\033[33m",
	[OUT_RED] = "\033[31m",
};

static bool
is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

void
out_bytes(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		putchar(is_printable(s[i]) ? s[i] : '?');
}

void
out_text(const char *s)
{
	out_bytes(s, strlen(s));
}

void
out_begin(struct out *out)
{
	if (out->is_waiting)
		fputs("\r\033[K", stdout);
	out->is_waiting = false;
}

static void
flush(const struct out *out)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		out->failed();
}

void
out_end(struct out *out)
{
	putchar('\n');
	flush(out);
}

void
out_wait(struct out *out, const char *what)
{
	if (!out->is_terminal)
		return;
	out_begin(out);
	printf("... %s", what);
	out->is_waiting = true;
	flush(out);
}

void
out_colour(const struct out *out, enum out_colour colour)
{
	if (out->is_coloured)
		fputs(colours[colour], stdout);
}

static void
put_key(struct out *out, const char *key)
{
	if (out->needs_comma)
		putchar(',');
	out->needs_comma = true;
	if (key != NULL)
		printf("\"%s\":", key);
}

void
out_open(struct out *out, const char *key, char bracket)
{
	put_key(out, key);
	putchar(bracket);
	out->needs_comma = false;
}

void
out_close(struct out *out, char bracket)
{
	putchar(bracket);
	out->needs_comma = true;
	flush(out);
}

void
out_json_bytes(struct out *out, const char *key, const char *s, size_t n)
{
	struct buf string = { 0 };

	put_key(out, key);
	json_string(&string, s, n);
	fputs(buf_text(&string), stdout);
	buf_finish(&string);
}

void
out_json_text(struct out *out, const char *key, const char *s)
{
	out_json_bytes(out, key, s, strlen(s));
}

void
out_json_number(struct out *out, const char *key, long long n)
{
	put_key(out, key);
	printf("%lld", n);
}

void
out_json_bool(struct out *out, const char *key, bool is_true)
{
	put_key(out, key);
	fputs(is_true ? "true" : "false", stdout);
}

void
out_json_lines(struct out *out, const char *key, const char *s, size_t n)
{
	const char *end = s + n;

	out_open(out, key, '[');
	while (s < end) {
		const char *line_end = memchr(s, '\n', (size_t)(end - s));

		if (line_end == NULL)
			line_end = end;
		out_json_bytes(out, NULL, s, (size_t)(line_end - s));
		s = line_end + 1;
	}
	out_close(out, ']');
}
