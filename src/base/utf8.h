/* SPDX-License-Identifier: ISC */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* UTF-8 (RFC 3629): the only form of text beyond ASCII in an address. */

/*
 * Reads the character at the start of n bytes.  Returns its length, 1 to 4; or
 * 0 if n is 0 or the bytes are not UTF-8: an overlong form, a surrogate, a
 * number above U+10FFFF, or a character that is cut off.
 */
size_t utf8_read(const char *, size_t n, uint32_t *character);

/* Writes a character of at most U+10FFFF, and returns its length. */
size_t utf8_write(char out[4], uint32_t character);

/* Whether none of the n bytes is above 127. */
bool utf8_is_ascii(const char *, size_t n);

/* Whether all of the n bytes are UTF-8, as ASCII is too. */
bool utf8_is_valid(const char *, size_t n);

/* Whether they are UTF-8, and not only ASCII. */
bool utf8_is_international(const char *, size_t n);

/*
 * Whether they are not only ASCII or have an A-label ("xn--") somewhere.  Else
 * they are not the same domain as any text in UTF-8.
 */
bool utf8_may_be_idn(const char *, size_t n);

#endif
