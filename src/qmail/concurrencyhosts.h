/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_CONCURRENCYHOSTS_H
#define QMAIL_CONCURRENCYHOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "io/fileid.h"

/*
 * Read control/concurrencyhosts: how many sessions there may be at a time with
 * MX hosts, and relays, of these names.
 *
 * A line "key:n": a key that begins with a dot matches each name that ends in
 * it, any other key the name that it is.  ASCII case does not matter, nor does
 * a dot at the end, nor how an address is written.  A key in UTF-8 is the same
 * as one with A-labels (base/idn.h).  The longest key that matches counts; of
 * several lines with the same key the last.  There is no empty key.  n is a
 * whole number of 1 or more; one above CONCURRENCYHOSTS_N_MAX is this.  A line
 * "wait n": a delivery waits this many seconds for a place, at most
 * CONCURRENCYHOSTS_WAIT_MAX.  Of several such lines the last one counts.
 *
 * Blanks before a line do not count, and a comment may follow the number.  A
 * line that is none of these limits nothing.
 */

#define CONCURRENCYHOSTS_N_MAX 100000
#define CONCURRENCYHOSTS_WAIT 10       /* seconds, without a line */
#define CONCURRENCYHOSTS_WAIT_MAX 3600 /* seconds */

/* Valid when zeroed: nothing is limited. */
struct concurrencyhosts {
	struct concurrencyhosts_line {
		/*
		 * In lower case, without a dot at its end, with A-labels; an
		 * address without brackets.
		 */
		char *key;
		unsigned long n;
	} * line;
	size_t nline;
	unsigned long wait_s;
	bool has_version; /* there is a file */
	struct fileid version;
};

/*
 * Reads the file; a missing one limits nothing.  -1 with 4.3.0 if it cannot be
 * read, or has more than 1 MB.
 */
int concurrencyhosts_read(struct concurrencyhosts *, const char *path,
    struct dsn *why);

/*
 * The line for a host: the name of an MX host as the DNS has it, or of a relay,
 * or an address, as written.  NULL: there is none.
 */
const struct concurrencyhosts_line *
concurrencyhosts_find(const struct concurrencyhosts *, const char *host);

/* What a line of the file is. */
enum concurrencyhosts_kind {
	CONCURRENCYHOSTS_LIMIT,
	CONCURRENCYHOSTS_TIME,
	CONCURRENCYHOSTS_NONSENSE
};

/*
 * Calls the function for each line of a file's text, in order, for warnings:
 * with the line without blanks around it, which is borrowed, and its number
 * from 1.
 */
void concurrencyhosts_walk(const struct buf *text,
    void (*each)(void *data, enum concurrencyhosts_kind, const char *line,
	size_t n, unsigned long number),
    void *data);

void concurrencyhosts_finish(struct concurrencyhosts *);

#endif
