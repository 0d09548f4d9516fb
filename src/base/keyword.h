/* SPDX-License-Identifier: ISC */
#ifndef BASE_KEYWORD_H
#define BASE_KEYWORD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Arguments of the form key=value, by which one of our programs starts another.
 *
 * One table describes them for both programs, so the two cannot disagree.
 */
struct keyword {
	const char *key;
	const char **text;     /* where a text value is stored */
	unsigned long *number; /* where a decimal number is stored */
	unsigned long limit;   /* greatest number allowed */
	bool is_required;
};

/*
 * Whether a value is to be written: text if it is not NULL, a number if it is
 * not 0, and what is required in any case.
 */
bool keyword_is_set(const struct keyword *);

/*
 * Writes a value as one word, ended by NUL.  Returns its size, with the NUL; if
 * that is more than the size given, nothing was written.
 */
size_t keyword_write(const struct keyword *, char *at, size_t size);

/*
 * Formats each of the n values that is to be written as one word.  Returns the
 * number of words, at most n.  The caller frees each word.
 */
size_t keyword_format(const struct keyword *, size_t n, char **words);

/*
 * Parses words[0..nword) into the places that the table names; text points into
 * the words.  False if a key is unknown, is given twice, or is required and
 * missing, or if a number is not all decimal digits or is above its limit.
 * Places of keys that are not given do not change.
 */
bool keyword_parse(const struct keyword *, size_t n, char *const *words,
    size_t nword);

#endif
