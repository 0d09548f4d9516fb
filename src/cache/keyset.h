/* SPDX-License-Identifier: ISC */
#ifndef CACHE_KEYSET_H
#define CACHE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A set of keys that can say in few bytes, as text, which keys are certainly
 * not in it (a Bloom filter with one hash).  If there are 50 keys in it, one in
 * ten of the others seems to be in it, too.  That costs no more than a question
 * to the broker, so it does not matter if somebody chooses keys to bring it
 * about.
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
