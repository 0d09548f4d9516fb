/* SPDX-License-Identifier: ISC */
#ifndef IO_RANDOM_H
#define IO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Unpredictable numbers, from the kernel. */

#define RANDOM_MAX 256 /* bytes per call */

/* Fills n bytes, at most RANDOM_MAX.  0, or -1 if there is no source. */
int random_bytes(void *, size_t n);

/* A number from 0 to n-1, all equally likely; 0 if there is no source. */
size_t random_below(size_t n);

#endif
