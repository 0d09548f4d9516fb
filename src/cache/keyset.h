/* SPDX-License-Identifier: ISC */
#ifndef CACHE_KEYSET_H
#define CACHE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A set of keys that can say in few bytes, as text, which keys are certainly
 * not in it.  It may say of a key that is not in it that it may be: of one in
 * ten, if there are 50 others.  Who does not like that cannot profit from it,
 * so the hash is a plain one.
 */

#define KEYSET_BITS 512
#define KEYSET_SIZE (KEYSET_BITS / 4 + 1) /* of its text, with the NUL */

struct keyset {
	uint16_t count[KEYSET_BITS]; /* of keys, for each bit */
	char text[KEYSET_SIZE];      /* hexadecimal digits, four bits each */
};

void keyset_init(struct keyset *);

/* A key, or NULL for none.  It may be added more than once ... */
void keyset_add(struct keyset *, const char *key);

/* ... and is to be removed as often. */
void keyset_remove(struct keyset *, const char *key);

/* Whether a key may be in the set with this text; true if that is no text. */
bool keyset_may_have(const char *text, const char *key);

#endif
