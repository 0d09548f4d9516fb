/* SPDX-License-Identifier: ISC */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stddef.h>

#include "base/buf.h"

/*
 * Appends n bytes as a JSON string with its quotes (RFC 8259 section 7).  What
 * is not printable ASCII is escaped: characters if all of it is UTF-8, else
 * each byte as \u00XX.
 */
void json_string(struct buf *, const char *, size_t n);

#endif
