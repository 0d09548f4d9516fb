/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MESSAGE_H
#define SMTP_MESSAGE_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "smtp/body.h"
#include "smtp/measure.h"

/*
 * Read the message from its descriptor.
 *
 * A small message is kept in memory.  A larger one, if it is a regular file,
 * can be measured by reading it twice; the second time it is in the kernel's
 * cache.  A regular file must have as many bytes as at the start: if it shrinks
 * or grows while it is sent, the end of mail data is not sent.
 */

#define SMTP_MESSAGE_PIECE 65536 /* bytes read at once */
#define SMTP_MESSAGE_SMALL 32768 /* bytes; up to here it is kept in memory */
/*
 * Room for the mail data of one piece and of another short one, so that a short
 * last piece is usually sent together with the one before it.
 */
#define SMTP_MESSAGE_WIRE (SMTP_BODY_OUT(SMTP_MESSAGE_PIECE) + 32768)

struct smtp_message {
	int fd;
	off_t start;      /* offset of the message; -1: not a regular file */
	off_t expected;   /* its bytes, for a regular file */
	off_t taken;      /* bytes returned so far */
	bool is_buffered; /* the whole message is in data */
	bool has_failed;  /* could not be read to its end */
	bool is_measured;
	struct smtp_measure measure;
	size_t len;
	char
	    data[SMTP_MESSAGE_PIECE]; /* the whole message, or the last piece */
	char wire[SMTP_MESSAGE_WIRE]; /* for the caller: encoded mail data */
};

/*
 * Opens the message at fd, from its current offset on; fd is borrowed.
 * Measures it if is_wanted and if it is a regular file.  A read error is
 * reported by smtp_message_next().
 */
void smtp_message_open(struct smtp_message *, int fd, bool is_wanted);

/*
 * Reads the next piece; *piece is valid until the next call.  Returns its
 * length, 0 at the end, or -1 if it cannot be read or ends at the wrong place.
 */
ssize_t smtp_message_next(struct smtp_message *, const char **piece);

/* Goes back to the start.  0, or -1 if that is not possible (a pipe). */
int smtp_message_rewind(struct smtp_message *);

#endif
