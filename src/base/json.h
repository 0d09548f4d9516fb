/* SPDX-License-Identifier: ISC */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stddef.h>

#include "base/buf.h"

/*
 * Appends n bytes as a JSON string with its quotes (RFC 8259 section 7).  Bytes
 * that are not printable ASCII become \u00XX, whatever their character set is.
 */
void json_string(struct buf *, const char *, size_t n);

#endif
