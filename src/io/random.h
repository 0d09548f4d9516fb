/* SPDX-License-Identifier: ISC */
#ifndef IO_RANDOM_H
#define IO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Unpredictable numbers.
 */

#define RANDOM_MAX 256 /* bytes of one call */

/* Fills n bytes, at most RANDOM_MAX.  0, or -1 when there is no source. */
int random_bytes(void *, size_t n);

/* A number from 0 to n-1, all equally likely; 0 when there is no source. */
size_t random_below(size_t n);

#endif
