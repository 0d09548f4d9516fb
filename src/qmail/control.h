/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_CONTROL_H
#define QMAIL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/dsn.h"

/*
 * Read control files by qmail's rules (qmail-control(5)).
 *
 * All paths are relative to QMAIL_HOME, the current directory.
 */

enum control_result { CONTROL_FOUND, CONTROL_MISSING, CONTROL_UNREADABLE };

/*
 * The length of the UTF-8 byte order mark at the start of the n bytes, or 0.
 * It is not part of the first line.
 */
size_t control_bom_length(const char *text, size_t n);

/*
 * Reads the first line of a file into *line, whose old contents are replaced.
 * A byte order mark at the start and blanks, tabs and CRs at the end are
 * removed.  An empty file is CONTROL_FOUND with an empty line.
 * CONTROL_UNREADABLE sets errno: EFBIG for a file of more than 1 MB, ...
 */
enum control_result control_line(const char *path, struct buf *line);

/*
 * Reads the decimal digits at the start of the first line as a number.  Values
 * outside [minimum, maximum] are replaced by the nearest limit; a missing file,
 * or one without a number, gives fallback.  CONTROL_UNREADABLE sets errno and
 * does not change *value.
 */
struct control_range {
	unsigned long minimum, maximum, fallback;
};
enum control_result control_number(const char *path, struct control_range,
    unsigned long *value);

/*
 * Returns the next line of a list file in memory.  Blanks, tabs and CRs at the
 * end of a line are removed; empty lines and lines that begin with '#' or NUL
 * are skipped.  *at starts after the byte order mark of the text and moves to
 * end.  The line is borrowed.  False if no line is left.
 */
bool control_next(const char **at, const char *end, const char **line,
    size_t *len);

/* The number of blanks and tabs at the start of n bytes. */
size_t control_blank_length(const char *, size_t n);

/*
 * Whether the n bytes after a value in a list file are nothing, blanks, or a
 * comment: '#' with a blank before it.
 */
bool control_is_comment(const char *, size_t n);

/*
 * For a control file that cannot be used: 4.3.0, with its path and the reason
 * as detail.  The second function is for one of its lines, or the part of it
 * that may be shown, after what is wrong with it.  Both return -1.
 */
int control_refuse(const char *path, const char *reason, struct dsn *why);
int control_refuse_line(const char *path, const char *fault, const char *line,
    size_t n, struct dsn *why);

/*
 * Whether the n bytes may be sent as our name in EHLO: 1 to 255 printable ASCII
 * bytes without blanks.
 */
bool control_is_helohost(const char *, size_t n);

/* What control/tlsrequired says of the header field TLS-Required: no. */
enum control_tlsrequired {
	CONTROL_TLSREQUIRED_IGNORED,
	CONTROL_TLSREQUIRED_OBEYED,
	CONTROL_TLSREQUIRED_REPORTS /* obeyed in TLS reports only */
};

/* The control files that have one line. */
struct control {
	struct buf helohost;          /* our name in EHLO; never empty */
	unsigned long timeoutconnect; /* seconds */
	unsigned long timeoutremote;  /* seconds */
	unsigned long timeoutdns;     /* seconds; 0: as in resolv.conf */
	struct buf trustanchors;      /* a path, or empty */
	struct buf clientcert;        /* a path, or empty */
	struct buf clientkey;         /* a path, or empty */
	unsigned long tlsstrictness;  /* 0, 1, 2 */
	unsigned long dane;           /* 0, 1 */
	unsigned long mtasts;         /* seconds; 0: no MTA-STS */
	unsigned long tlsrequired;    /* enum control_tlsrequired */
	struct buf tlsrptsocket;      /* a path, or empty */
};

/*
 * Reads them all, in stock's order, into the struct, which has to be zeroed.
 * -1 with 4.3.0 "Unable to read control files." if one cannot be read, if both
 * helohost and me are missing, or if the name is empty or not allowed in a
 * command (a control byte, a blank, an 8-bit byte, more than 255 bytes).  So it
 * is if a file that was meant to be a policy has no number, or one without a
 * meaning: tlsstrictness, dane, mtasts, tlsrequired; and in the last three of
 * them, if anything but a comment follows the number.  The detail has the file
 * and the reason.
 *
 * A tlsrptsocket that cannot be read is none: it does not concern the mail.
 */
int control_read(struct control *, struct dsn *why);

/* Frees the contents, also after a failure. */
void control_finish(struct control *);

#endif
