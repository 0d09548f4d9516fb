/* SPDX-License-Identifier: ISC */
#ifndef SMTP_BODY_H
#define SMTP_BODY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Convert message text to mail data: line ends and transparency (RFC 5321
 * sections 2.3.8 and 4.5.2).
 *
 * LF becomes CRLF, and a dot at the start of a line is doubled.  A CR just
 * before LF belongs to that line end; any other CR is sent as a space.  So the
 * output has no CR and no LF except in CRLF, and no line that is a single dot:
 * no message can end its own mail data early, on any server.
 */
struct smtp_body {
	bool in_line;    /* the current line is not empty */
	bool pending_cr; /* the last byte was a CR */
};

/* Most bytes that n bytes of message can become, with a pending CR. */
#define SMTP_BODY_OUT(n) (2 * (n) + 2)

/*
 * Encodes n bytes into out, which must have room for SMTP_BODY_OUT(n).  Returns
 * how many bytes were written.  Start with a zeroed struct smtp_body.
 */
size_t smtp_body_encode(struct smtp_body *, const char *in, size_t n,
    char *out);

/*
 * Ends the last line if it has no line end; out needs room for 3 bytes.
 * Returns how many bytes were written.
 */
size_t smtp_body_end(struct smtp_body *, char *out);

#endif
