/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TABLE_H
#define QMAIL_TABLE_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/fileid.h"

/*
 * Look up a host in a control file of lines "key:value".
 *
 * The keys tried are the whole host, each suffix of it that begins with a dot,
 * longest first, then the empty key.  ASCII case does not matter.  Of several
 * lines with the same key the last one counts.  A NUL separates entries within
 * a line.
 *
 * The host has A-labels; a key in UTF-8 is the same as one with A-labels
 * (base/idn.h).
 *
 * A long file is compiled into an index (io/compiled.h), which only says where
 * to look: what is found has always been read from the file itself.  The index
 * has keys and no values, so no password is in it; a key with a '|' or a blank
 * is not in it either.
 */
struct table_files {
	const char *text;  /* control/NAME */
	const char *index; /* run/qmail-remote/NAME.cdb */
	const char *lock;  /* run/qmail-remote/NAME.lock */
	bool is_read_only; /* never compile an index */

	/*
	 * A file of up to so many bytes is read without an index: it is read
	 * sooner than an index is opened and checked.
	 */
	off_t small;

	/*
	 * For entries that must not be overlooked.  Blanks before a key and a
	 * dot at its end do not count, and it ends at the first colon or blank,
	 * so a line that is not written as it has to be is an entry too.  An
	 * index could lack an entry, so a file of up to 64 KB is read whole
	 * each time.
	 */
	bool is_strict;

	/*
	 * Each value is an address; together with is_strict.  A line that is
	 * meant as an address without a key is the entry of the empty key, with
	 * lacks_colon: one that begins with an address, one without a colon,
	 * and one that looks like an IPv6 address with a mistake in it.  A
	 * line may be a comment with blanks before it.
	 */
	bool has_addresses;
};

/* The matching entry, as it is in the file; valid when zeroed. */
struct table_entry {
	bool found;       /* false: no entry matches */
	bool lacks_colon; /* the value follows the key; only if is_strict */
	struct buf key, value;
	struct fileid version; /* of the file that it is in */
	uint64_t offset;       /* of its key there, in bytes from the start */
};

/*
 * Finds the entry for host; compiles the file again if its index is out of
 * date.  A missing file is an empty one.  0, or -1 with errno if the file
 * cannot be read: EISDIR, EFBIG if it has more than 1 GB, ...
 */
int table_find(const struct table_files *, const char *host,
    struct table_entry *);

/* Appends the entry's line to buf, without the blanks around the key. */
void table_entry_line(const struct table_entry *, struct buf *);
void table_entry_finish(struct table_entry *);

/*
 * The same for a next hop: an address literal is looked up without its
 * brackets, an IPv4 address as 192.0.2.1, and a domain without a dot at its
 * end.  Whoever writes a recipient's address can write the same in another way.
 */
int table_find_next_hop(const struct table_files *, const char *next_hop,
    struct table_entry *);

/*
 * Calls the function for each entry of the file, in order; with a value of NULL
 * for a line that has no colon and needs one.  Text is borrowed, and valid
 * during the call.  0, or -1 with errno as table_find().
 */
int table_walk(const struct table_files *,
    void (*each)(void *data, const char *key, size_t nkey, const char *value,
	size_t nvalue),
    void *data);

#endif
