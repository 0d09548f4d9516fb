/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TIMEOUTIDLE_H
#define QMAIL_TIMEOUTIDLE_H

#include "base/buf.h"

/*
 * Read control/timeoutidle: how long, and how many, connections are kept for
 * the next message.
 *
 * Its lines, in order: seconds; connections in all; connections with one key.
 * An empty line is as one that is not there; without the first one, nothing is
 * kept.  A comment may follow a number, and what follows the third line does
 * not matter.  A line that is no whole number makes it 0 seconds, so nothing is
 * kept, and so does a file that is missing or cannot be read: it does not
 * concern the mail.
 */

#define TIMEOUTIDLE_MAX 300   /* seconds; a greater number is this */
#define TIMEOUTIDLE_TOTAL 20  /* without a second line; at most 1000 */
#define TIMEOUTIDLE_PER_KEY 2 /* without a third line; at most 1000 */
#define TIMEOUTIDLE_CONNECTIONS_MAX 1000

struct timeoutidle {
	unsigned long seconds; /* 0: nothing is kept */
	unsigned long total;
	unsigned long per_key;
};

void timeoutidle_read(struct timeoutidle *, const char *path);

/*
 * The same for the text of the file.  Returns the number, from 1, of the first
 * line that is no whole number, or 0.
 */
unsigned long timeoutidle_parse(struct timeoutidle *, const struct buf *text);

#endif
