/* SPDX-License-Identifier: ISC */
#include "base/mask.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

struct mask_word {
	struct buf bytes;
	size_t least;   /* so many of them, from the start, are enough */
	bool is_whole;  /* not hidden where the text ends within it */
	bool is_base64; /* what is around it is hidden too */
};

static struct mask_word *
add_word(struct mask *m, size_t size)
{
	struct mask_word *w;

	m->word = mem_resize(m->word, m->n + 1, sizeof *m->word);
	w = &m->word[m->n++];
	*w = (struct mask_word){ 0 };
	(void)buf_reserve(&w->bytes, size);
	return w;
}

static size_t
prefix(size_t n)
{
	return n < MASK_PREFIX ? n : MASK_PREFIX;
}

/*
 * Adds the digits that a secret has in any base64 text in which its first byte
 * that is not skipped begins a group of three: those that do not depend on the
 * bytes behind it.
 */
static void
add_inside(struct mask *m, const char *p, size_t n, size_t skipped,
    bool is_whole)
{
	size_t rest, ndigit;
	struct mask_word *w;

	if (n <= skipped)
		return;
	rest = n - skipped;
	ndigit = rest / 3 * 4 + rest % 3;
	if (ndigit < MASK_LEAST)
		return;
	w = add_word(m, (rest + 2) / 3 * 4);
	base64_encode(&w->bytes, p + skipped, rest);
	buf_cut(&w->bytes, ndigit);
	w->least = is_whole ? ndigit : prefix(ndigit);
	w->is_whole = is_whole;
	w->is_base64 = true;
}

static void
add(struct mask *m, const char *p, size_t n, bool is_whole)
{
	struct mask_word *w;

	if (n < MASK_LEAST)
		return;
	w = add_word(m, n);
	buf_append(&w->bytes, p, n);
	w->least = is_whole ? n : prefix(n);
	w->is_whole = is_whole;
	for (size_t skipped = 0; skipped < 3; skipped++)
		add_inside(m, p, n, skipped, is_whole);
}

void
mask_add_secret(struct mask *m, const char *p, size_t n)
{
	add(m, p, n, false);
}

void
mask_add_name(struct mask *m, const char *p, size_t n)
{
	add(m, p, n, true);
}

void
mask_add_encoded(struct mask *m, const char *p, size_t n)
{
	struct mask_word *w;

	if (n == 0)
		return;
	w = add_word(m, n);
	buf_append(&w->bytes, p, n);
	w->least = prefix(n);
	w->is_base64 = true;
}

/* One digit of base64url is the same as the one of base64. */
static char
fold(char c)
{
	return c == '-' ? '+' : c == '_' ? '/' : str_lower(c);
}

/* How many bytes at the start of the text a word requires to be hidden. */
static size_t
match(const struct mask_word *w, const char *text, size_t n)
{
	const struct buf *b = &w->bytes;
	size_t same = 0;

	while (same < n && same < b->len &&
	       fold(text[same]) == fold(b->data[same]))
		same++;
	if (same >= w->least ||
	    (!w->is_whole && same == n && same >= MASK_LEAST))
		return same;
	return 0;
}

/* The longest match of any word; NULL if there is none. */
static const struct mask_word *
match_any(const struct mask *m, const char *text, size_t n, size_t *len)
{
	const struct mask_word *found = NULL;

	*len = 0;
	for (size_t i = 0; i < m->n; i++) {
		size_t same = match(&m->word[i], text, n);

		if (same <= *len)
			continue;
		*len = same;
		found = &m->word[i];
	}
	return found;
}

bool
mask_next(const struct mask *m, const char *text, size_t n, size_t *start,
    size_t *end)
{
	const size_t from = *end;

	for (size_t i = from; i < n; i++) {
		size_t len;
		const struct mask_word *w = match_any(m, text + i, n - i, &len);

		if (w == NULL)
			continue;
		*start = i;
		*end = i + len;
		while (w->is_base64 && *start > from &&
		       base64_is_digit(text[*start - 1]))
			--*start;
		while (w->is_base64 && *end < n && base64_is_digit(text[*end]))
			++*end;
		return true;
	}
	return false;
}

size_t
mask_apply(const struct mask *m, char *text, size_t n)
{
	size_t start, end = 0, last = 0, len = 0;

	if (n == 0)
		return 0;
	while (mask_next(m, text, n, &start, &end)) {
		memmove(text + len, text + last, start - last);
		len += start - last;
		text[len++] = '*';
		last = end;
	}
	memmove(text + len, text + last, n - last);
	return len + (n - last);
}

void
mask_finish(struct mask *m)
{
	for (size_t i = 0; i < m->n; i++)
		buf_wipe(&m->word[i].bytes);
	free(m->word);
	*m = (struct mask){ 0 };
}
