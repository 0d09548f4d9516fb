/* SPDX-License-Identifier: ISC */
#include "sts/text.h"

#include <string.h>

#include "base/str.h"

struct sts_text
sts_text_of(const struct buf *b)
{
	return (struct sts_text){ buf_text(b), b->len };
}

static void
drop(struct sts_text *t, size_t n)
{
	t->at += n;
	t->n -= n;
}

bool
sts_text_cut(struct sts_text *rest, char separator, struct sts_text *part)
{
	const char *end = memchr(rest->at, separator, rest->n);

	*part = *rest;
	if (end)
		part->n = (size_t)(end - rest->at);
	drop(rest, end ? part->n + 1 : rest->n);
	return end;
}

bool
sts_text_line(struct sts_text *rest, struct sts_text *line)
{
	if (rest->n == 0)
		return false;
	if (sts_text_cut(rest, '\n', line) && line->n > 0 &&
	    line->at[line->n - 1] == '\r')
		line->n--;
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct sts_text
sts_text_trim(struct sts_text t)
{
	while (t.n > 0 && is_blank(t.at[0]))
		drop(&t, 1);
	while (t.n > 0 && is_blank(t.at[t.n - 1]))
		t.n--;
	return t;
}

bool
sts_text_is(struct sts_text t, const char *word)
{
	return t.n == strlen(word) && memcmp(t.at, word, t.n) == 0;
}

bool
sts_text_is_like(struct sts_text t, const char *word)
{
	return t.n == strlen(word) && str_case_equal(t.at, word, t.n);
}

bool
sts_text_skip(struct sts_text *t, const char *word)
{
	size_t n = strlen(word);

	if (t->n < n || memcmp(t->at, word, n) != 0)
		return false;
	drop(t, n);
	return true;
}
