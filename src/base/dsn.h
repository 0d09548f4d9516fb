/* SPDX-License-Identifier: ISC */
#ifndef BASE_DSN_H
#define BASE_DSN_H

#include <stdbool.h>

/*
 * Why something failed: an enhanced status code (RFC 3463) and a sentence.
 *
 * The class of the code (4 or 5) says whether trying again can help.  The
 * sentence is printable and does not contain the code; it has line ends where a
 * report has several lines.  detail is more information for the administrator,
 * or "".
 */
struct dsn {
	char status[12]; /* "4.4.1"; empty while nothing has gone wrong */
	char text[512];
	char detail[1024];
};

/*
 * Sets status and sentence and clears the detail.  Bytes other than printable
 * ASCII and '\n' become '?'.  Text that does not fit is cut off.  Always
 * returns -1, so that a caller can write: return dsn_set(why, ...);
 */
int dsn_set(struct dsn *, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the detail, cleaned and cut in the same way.  Always returns -1. */
int dsn_detail(struct dsn *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether trying again can help: the class is not 5. */
bool dsn_is_temporary(const struct dsn *);

#endif
