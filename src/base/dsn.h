/* SPDX-License-Identifier: ISC */
#ifndef BASE_DSN_H
#define BASE_DSN_H

#include <stdbool.h>

/*
 * Why an attempt failed: an enhanced status code (RFC 3463) and a sentence.
 *
 * The class of the code (4 or 5) says whether trying again can help.  The
 * sentence is printable and does not hold the code; it may hold line ends
 * where a report has more than one line.  detail is what an administrator
 * wants to know beyond the sentence, "" when there is nothing to add.
 */
struct dsn {
	char status[12]; /* "4.4.1"; empty while nothing has gone wrong */
	char text[512];
	char detail[256];
};

/*
 * Both set the sentence and forget the detail.  Bytes that are not printable
 * ASCII become '?', but for '\n'.  What does not fit is cut.
 * Always -1, so that a caller can write: return dsn_set(why, ...);
 */
int dsn_set(struct dsn *, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds the detail, cleaned and cut likewise.  Always -1. */
int dsn_detail(struct dsn *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Trying again can help (class 4). */
bool dsn_is_temporary(const struct dsn *);

#endif
