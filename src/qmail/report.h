/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_REPORT_H
#define QMAIL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dsn.h"
#include "base/mask.h"

/*
 * Write the report for qmail-rspawn.
 *
 * Only this module knows the letters r h s K Z D.  A report is the recipient
 * records in order, then one message record; each is ended by a NUL.  NUL and
 * control bytes other than the line end become '?' in all text, so no reply,
 * name or certificate can forge a record.
 *
 * Nothing here allocates: once the outcome is known, running out of memory
 * cannot change it.
 */

#define REPORT_REPLY_MAX 5000 /* bytes of a remote reply, as in stock */

enum report_recipient { REPORT_ACCEPTED, REPORT_DEFERRED, REPORT_REFUSED };
enum report_message { REPORT_DELIVERED, REPORT_TEMPORARY, REPORT_PERMANENT };

/*
 * Begins a new report and discards one that was begun before.  Only for a test
 * that makes several in one process: otherwise there is one report.
 */
void report_begin(void);

/*
 * From now on the mask is applied to replies, and not to what is our own: a
 * user name may be part of the server's name.  Borrowed; NULL: none.
 */
void report_mask(const struct mask *);

/*
 * Begins the record of the next recipient, or of the message, and ends the
 * record before.  After the message record no record can begin.
 */
void report_recipient(enum report_recipient);
void report_message(enum report_message);

/* Add text to the current record; without one they do nothing. */
void report_puts(const char *);
void report_text(const char *, size_t);

/* Adds a separate line: label, text, line end. */
void report_line(const char *label, const char *);

/* Adds "Remote host said: " and the whole reply, at most REPORT_REPLY_MAX. */
void report_reply(const char *, size_t);

/*
 * Adds a complete message record for a failure: sentence, "(#x.y.z)", detail
 * lines.  The class of the status decides whether it is temporary or permanent.
 */
void report_failure(const struct dsn *);

/*
 * Ends the report and writes the rest of it to fd 1; waits for a slow reader.
 * A report without a message record gets a temporary one.
 */
void report_end(void);

/*
 * Whether n bytes are a whole report of another process: recipient records,
 * then one message record, and nothing more.
 */
bool report_is_whole(const char *, size_t n);

/* Writes such a report to fd 1, in place of one of this process. */
void report_forward(const char *, size_t n);

#endif
