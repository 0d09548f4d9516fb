/* SPDX-License-Identifier: ISC */
#ifndef BASE_MASK_H
#define BASE_MASK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Hide secrets in text from somebody who knows them, and may repeat them.
 *
 * A secret is found as it is, and in base64 text, wherever it begins there.
 * ASCII case does not matter.  In base64 the whole word around it is hidden,
 * which may have more secrets in it.  The first MASK_PREFIX bytes of a secret
 * are enough, because a command that is repeated may be cut; so are the first
 * MASK_LEAST at the end of the text, which may be cut too.  A secret of fewer
 * than MASK_LEAST bytes is not looked for: hiding each "a" would tell it.
 *
 * Not found is what was changed otherwise: other encodings, or a line end in
 * the middle.
 */
#define MASK_PREFIX 8
#define MASK_LEAST 4

struct mask_word;

/* Valid when zeroed: nothing is hidden. */
struct mask {
	struct mask_word *word; /* allocated */
	size_t n;
};

/* Hides these n bytes, and what has them inside of base64. */
void mask_add_secret(struct mask *, const char *, size_t n);

/*
 * The same for a name, but only where all of it is there: its first part may be
 * an ordinary word.
 */
void mask_add_name(struct mask *, const char *, size_t n);

/* Hides n bytes of base64 that were sent, also fewer than MASK_LEAST. */
void mask_add_encoded(struct mask *, const char *, size_t n);

/*
 * Finds the next range to hide in n bytes of text, from *end on: *start to
 * *end.  False if there is none.
 */
bool mask_next(const struct mask *, const char *text, size_t n, size_t *start,
    size_t *end);

/* Puts one '*' in place of each range.  Returns how many bytes are left. */
size_t mask_apply(const struct mask *, char *text, size_t n);

/* Overwrites and frees what was added. */
void mask_finish(struct mask *);

#endif
