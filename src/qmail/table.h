/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TABLE_H
#define QMAIL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * A control file of lines "key:value", in which a host is looked up.
 *
 * The keys tried are the whole host, each suffix of it that begins with a dot,
 * longest first, then the empty key; ASCII case does not matter; of lines with
 * the same key the last one counts.  A NUL separates entries within a line.
 *
 * A long list is compiled into an index (io/compiled.h), which only says
 * where to look: what is found has always been read from the list.
 */
struct table_files {
	const char *text;  /* control/NAME */
	const char *index; /* run/qmail-remote/NAME.cdb */
	const char *lock;  /* run/qmail-remote/NAME.lock */
};

/* The entry that decides, as it is in the file; valid when zeroed. */
struct table_entry {
	bool found; /* there is one */
	struct buf key, value;
};

/*
 * Finds the entry for host, and compiles the list anew when its index is out
 * of date.  No list is an empty list.  0, or -1 with errno when the list
 * cannot be read: EISDIR, EFBIG when it has more than 1 GB, ...
 */
int table_find(const struct table_files *, const char *host,
    struct table_entry *);
void table_entry_finish(struct table_entry *);

/*
 * The length of the part of n bytes that ends before the first colon; n when
 * there is none.  The colons of an IPv6 address literal are its own.
 */
size_t table_part_length(const char *, size_t n);

#endif
