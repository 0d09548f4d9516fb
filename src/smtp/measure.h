/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MEASURE_H
#define SMTP_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a server may want to know of a message before it comes: its size
 * (RFC 1870 section 4: octets with line ends as CRLF, without the dots of
 * transparency and the end of mail data) and whether it has 8-bit bytes
 * (RFC 6152).
 *
 * It counts just what smtp/body makes of the same bytes.
 */
struct smtp_measure {
	uint64_t size;
	bool has_8bit;
	bool after_cr; /* the last byte was a CR */
	bool in_line;  /* the last byte did not end a line */
};

/* Adds n bytes of message.  Start with a zeroed struct smtp_measure. */
void smtp_measure_add(struct smtp_measure *, const char *, size_t n);

/* Adds the line end that a last line without one gets. */
void smtp_measure_end(struct smtp_measure *);

#endif
