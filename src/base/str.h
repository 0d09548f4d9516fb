/* SPDX-License-Identifier: ISC */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ASCII text, independent of the locale: case, digits, bounded copies. */

/* One byte: in lower case; whether it is a digit; whether a letter or digit. */
char str_lower(char);
bool str_is_digit(char);
bool str_is_alnum(char);

/* Whether both have the same n bytes, apart from ASCII case. */
bool str_case_equal(const char *, const char *, size_t n);

/*
 * Parses the decimal digits at the start of n bytes into *value; a number above
 * limit becomes limit.  Returns how many bytes were digits.  0 means that there
 * is no number, and *value does not change.
 */
size_t str_number(const char *, size_t n, unsigned long limit,
    unsigned long *value);

/* The same with 64 bits on every machine, for sizes. */
size_t str_number64(const char *, size_t n, uint64_t limit, uint64_t *value);

/*
 * Goes on with a hash, FNV-1a of 64 bits, over a text.  It protects from nobody
 * who can choose the texts, unless the start is secret.
 */
#define STR_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t str_hash(uint64_t start, const char *);

/*
 * Copies src with its NUL into dst of size bytes.  Returns 0, or -1 if it does
 * not fit; then dst has as much as fits, and a NUL.
 */
int str_copy(char *dst, size_t size, const char *src);

#endif
