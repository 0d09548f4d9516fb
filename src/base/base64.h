/* SPDX-License-Identifier: ISC */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Appends n bytes in base64 (RFC 4648 section 4), with padding and without line
 * ends.  The buffer grows at most once.
 */
void base64_encode(struct buf *, const char *, size_t n);

/* Whether the byte can be part of base64, padding included. */
bool base64_is_digit(char);

#endif
