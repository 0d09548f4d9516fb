/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MESSAGE_H
#define SMTP_MESSAGE_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "smtp/body.h"
#include "smtp/measure.h"

/*
 * The message on its descriptor.
 *
 * A small one is held in memory; a larger one, if it is a regular file, can
 * be measured by reading it once more than it is sent, out of the kernel's
 * cache.  A regular file must give as many bytes as it has at the start: one
 * that shrinks while it is sent is never ended as if that were all of it.
 */

#define SMTP_MESSAGE_PIECE 65536 /* read at a time */
#define SMTP_MESSAGE_SMALL 32768 /* up to here it is held in memory */
/*
 * What one piece can become on the wire, and room for another short one, so
 * that a short last piece mostly leaves with the one before it.
 */
#define SMTP_MESSAGE_WIRE (SMTP_BODY_OUT(SMTP_MESSAGE_PIECE) + 32768)

struct smtp_message {
	int fd;
	off_t start;      /* where it begins; -1: not a regular file */
	off_t expected;   /* bytes from there, for a regular file */
	off_t taken;      /* bytes given out so far */
	bool is_buffered; /* all of it is in data */
	bool has_failed;  /* it could not be read to its end */
	bool is_measured;
	struct smtp_measure measure;
	size_t len;
	char data[SMTP_MESSAGE_PIECE]; /* all of it, or the last piece */
	char wire[SMTP_MESSAGE_WIRE];  /* for what is made of it */
};

/*
 * Looks at the message at fd, from its current offset on; measures it if
 * that is wanted and possible.  What cannot be read shows when it is read.
 */
void smtp_message_open(struct smtp_message *, int fd, bool is_wanted);

/*
 * The next piece, in *piece until the next call.  Its length, 0 at the end;
 * -1 when it cannot be read, or ends where it should not.
 */
ssize_t smtp_message_next(struct smtp_message *, const char **piece);

/* Back to the start.  0, or -1 when that is not possible. */
int smtp_message_rewind(struct smtp_message *);

#endif
