/* SPDX-License-Identifier: ISC */
#ifndef BASE_KEYWORD_H
#define BASE_KEYWORD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Arguments of the form key=value, by which one of our programs starts
 * another.
 *
 * One table describes them for both sides, so the two cannot disagree.
 */
struct keyword {
	const char *key;
	const char **text;     /* where the value is kept, if it is text */
	unsigned long *number; /* ... if it is a decimal number */
	unsigned long limit;   /* of the number; a greater one is refused */
	bool is_required;
};

/*
 * Writes one word for each of the n values that is set, and returns how many
 * words that were, at most n.  A value is set if its text is not NULL or its
 * number is not 0; one that is required is always written.  Each word is
 * allocated, and to be freed by the caller.
 */
size_t keyword_format(const struct keyword *, size_t n, char **words);

/*
 * Reads words[0..nword) into the places that the table names; text points
 * into the words.  False if a key is unknown, given twice or required and
 * missing, or a number is anything but decimal digits up to its limit.
 * Places of keys that are not given stay as they are.
 */
bool keyword_parse(const struct keyword *, size_t n, char *const *words,
    size_t nword);

#endif
