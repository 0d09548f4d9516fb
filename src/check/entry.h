/* SPDX-License-Identifier: ISC */
#ifndef CHECK_ENTRY_H
#define CHECK_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "check/view.h"

/*
 * An entry of the listing, while it is made: what a delivery uses, where that
 * comes from, and what does not do what it seems to.
 */

#define ENTRY_WARNINGS_MAX 20 /* shown; the others are counted */

/* Zeroed before use. */
struct entry {
	struct buf value, source, warnings;
	size_t nwarning;
};

/* Adds a warning: n bytes without a line end, or a C string. */
void entry_warn_bytes(struct entry *, const char *, size_t n);
void entry_warn(struct entry *, const char *);

/* Shows it under this name, and frees it.  False if it had a warning. */
bool entry_show(struct entry *, struct view *, const char *name);

#endif
