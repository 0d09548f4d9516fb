/* SPDX-License-Identifier: ISC */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * ASCII text, whatever the locale: case, digits, bounded copies.
 */

char str_lower(char);
bool str_is_digit(char);
bool str_is_alnum(char);

/* Equal except for ASCII case, both n bytes long. */
bool str_case_equal(const char *, const char *, size_t n);

/*
 * Reads the decimal digits at the start of n bytes; a number greater than
 * limit gives limit.  Returns how many bytes were digits: 0 means that there
 * was no number, and *value is unchanged.
 */
size_t str_number(const char *, size_t n, unsigned long limit,
    unsigned long *value);

/* The same for sizes, which are 64 bits wide on every machine. */
size_t str_number64(const char *, size_t n, uint64_t limit, uint64_t *value);

/*
 * Copies src with its NUL into dst of the given size.  Returns 0, or -1 when
 * it does not fit; then dst contains as much as fits, ended by a NUL.
 */
int str_copy(char *dst, size_t size, const char *src);

#endif
