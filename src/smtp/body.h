/* SPDX-License-Identifier: ISC */
#ifndef SMTP_BODY_H
#define SMTP_BODY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Message text to wire text: line ends and transparency (RFC 5321 sections
 * 2.3.8 and 4.5.2).
 *
 * LF becomes CRLF, and a dot that begins a line is doubled.  A CR just before
 * LF belongs to that line end; every other CR is sent as a blank.  So what
 * leaves here has no CR and no LF but in CRLF, and no line that is a single
 * dot: no message can end its own mail data early, on any server.
 */
struct smtp_body {
	bool in_line;    /* the line under way has bytes already */
	bool pending_cr; /* a CR whose next byte is not known yet */
};

/* Bytes that n bytes of message can become, with what was pending. */
#define SMTP_BODY_OUT(n) (2 * (n) + 2)

/*
 * Encodes n bytes into out, which must have room for SMTP_BODY_OUT(n).
 * Returns how many it wrote.  Start with a zeroed struct smtp_body.
 */
size_t smtp_body_encode(struct smtp_body *, const char *in, size_t n,
    char *out);

/* Ends the last line if it has no line end; needs room for 3 bytes. */
size_t smtp_body_end(struct smtp_body *, char *out);

#endif
