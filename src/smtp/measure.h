/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MEASURE_H
#define SMTP_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Measure a message for the parameters of MAIL: its size (RFC 1870 section 4:
 * octets with line ends as CRLF, without doubled dots and the end of mail
 * data), and whether it has 8-bit bytes (RFC 6152).
 *
 * The size is exactly that of the output of smtp/body, without the doubled
 * dots.
 */
struct smtp_measure {
	uint64_t size;
	bool has_8bit;
	bool after_cr; /* the last byte was a CR */
	bool in_line;  /* the last byte did not end a line */
};

/* Adds n bytes of the message.  Start with a zeroed struct smtp_measure. */
void smtp_measure_add(struct smtp_measure *, const char *, size_t n);

/* Adds the line end that smtp_body_end() adds to a last line without one. */
void smtp_measure_end(struct smtp_measure *);

#endif
