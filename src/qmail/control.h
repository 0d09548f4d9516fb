/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_CONTROL_H
#define QMAIL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/dsn.h"

/*
 * Control files, with qmail's defaulting rules (qmail-control(5)).
 *
 * All paths are relative to QMAIL_HOME, the current directory.
 */

enum control_result { CONTROL_FOUND, CONTROL_MISSING, CONTROL_UNREADABLE };

/*
 * The length of the byte order mark that the n bytes of a control file begin
 * with, 0 for none.  It is no part of the first line.
 */
size_t control_bom_length(const char *text, size_t n);

/*
 * Reads the first line of a file into *line, which is replaced, without a byte
 * order mark before it and blanks, tabs and CRs at its end.  An empty file is
 * CONTROL_FOUND with an empty line.  CONTROL_UNREADABLE sets errno.
 */
enum control_result control_line(const char *path, struct buf *line);

/*
 * Reads the decimal digits at the start of the first line, clamped to
 * [minimum, maximum]; a file that is missing or has no number gives
 * fallback.  CONTROL_UNREADABLE leaves *value unchanged.
 */
struct control_range {
	unsigned long minimum, maximum, fallback;
};
enum control_result control_number(const char *path, struct control_range,
    unsigned long *value);

/*
 * Steps through the lines of a list file held in memory: blanks, tabs and CRs
 * at the end are cut; empty lines and those that begin with '#' or NUL are
 * left out.  *at moves from the start of the text, behind its byte order
 * mark, to end; false when none is left.
 */
bool control_next(const char **at, const char *end, const char **line,
    size_t *len);

/* The control files of one line. */
struct control {
	struct buf helohost;          /* name for EHLO; never empty */
	unsigned long timeoutconnect; /* seconds */
	unsigned long timeoutremote;  /* seconds */
	unsigned long timeoutdns;     /* seconds; 0: no limit of ours */
	struct buf trustanchors;      /* a path, or empty: never STARTTLS */
	struct buf clientcert;        /* a path, or empty */
	struct buf clientkey;         /* a path, or empty */
	unsigned long tlsstrictness;  /* 0, 1, 2 */
};

/*
 * Reads them all in stock's order.  -1 with 4.3.0 "Unable to read control
 * files." when one cannot be read, when both helohost and me are missing, or
 * when the name is empty or not allowed in a command (a control byte, a blank,
 * an 8-bit byte, more than 255 bytes); the detail has the file and the reason.
 */
int control_read(struct control *, struct dsn *why);
void control_finish(struct control *);

#endif
