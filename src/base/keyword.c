/* SPDX-License-Identifier: ISC */
#include "base/keyword.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define KEYWORDS_MAX 32 /* in one table: one bit of a long for each */

bool
keyword_is_set(const struct keyword *k)
{
	return k->is_required || (k->text ? *k->text != NULL : *k->number != 0);
}

size_t
keyword_write(const struct keyword *k, char *at, size_t size)
{
	char digits[24];
	const char *value = k->text ? *k->text : digits;
	size_t nkey = strlen(k->key), nvalue;

	if (!k->text)
		snprintf(digits, sizeof digits, "%lu", *k->number);
	nvalue = strlen(value);
	if (nkey + nvalue + 2 <= size) {
		memcpy(at, k->key, nkey);
		at[nkey] = '=';
		memcpy(at + nkey + 1, value, nvalue + 1);
	}
	return nkey + nvalue + 2;
}

static char *
format_word(const struct keyword *k)
{
	size_t size = keyword_write(k, NULL, 0);
	char *word = mem_resize(NULL, 1, size);

	(void)keyword_write(k, word, size);
	return word;
}

size_t
keyword_format(const struct keyword *k, size_t n, char **words)
{
	size_t nword = 0;

	for (size_t i = 0; i < n; i++)
		if (keyword_is_set(&k[i]))
			words[nword++] = format_word(&k[i]);
	return nword;
}

/* The value in a word with this key, or NULL. */
static const char *
value_of(const char *word, const char *key)
{
	size_t n = strlen(key);

	return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1
							    : NULL;
}

static bool
parse_number(const char *value, unsigned long limit, unsigned long *number)
{
	size_t n = strlen(value);
	unsigned long parsed;

	if (n == 0 || str_number(value, n, ULONG_MAX, &parsed) != n ||
	    parsed > limit)
		return false;
	*number = parsed;
	return true;
}

static bool
parse_value(const struct keyword *k, const char *value)
{
	if (k->number)
		return parse_number(value, k->limit, k->number);
	*k->text = value;
	return true;
}

/* In *seen, bit i is set once keyword i was given. */
static bool
parse_word(const struct keyword *k, size_t n, const char *word,
    unsigned long *seen)
{
	for (size_t i = 0; i < n; i++) {
		const char *value = value_of(word, k[i].key);

		if (!value)
			continue;
		if (*seen & 1UL << i)
			return false;
		*seen |= 1UL << i;
		return parse_value(&k[i], value);
	}
	return false;
}

bool
keyword_parse(const struct keyword *k, size_t n, char *const *words,
    size_t nword)
{
	unsigned long seen = 0;

	if (n > KEYWORDS_MAX)
		return false;
	for (size_t i = 0; i < nword; i++)
		if (!parse_word(k, n, words[i], &seen))
			return false;
	for (size_t i = 0; i < n; i++)
		if (k[i].is_required && !(seen & 1UL << i))
			return false;
	return true;
}
