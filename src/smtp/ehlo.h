/* SPDX-License-Identifier: ISC */
#ifndef SMTP_EHLO_H
#define SMTP_EHLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * The extensions that a server offered (RFC 5321 section 4.1.1.1), as far as we
 * use them.
 */
enum smtp_extension {
	SMTP_EXT_STARTTLS = 1 << 0,   /* RFC 3207 */
	SMTP_EXT_PIPELINING = 1 << 1, /* RFC 2920 */
	SMTP_EXT_SIZE = 1 << 2,       /* RFC 1870 */
	SMTP_EXT_8BITMIME = 1 << 3,   /* RFC 6152 */
	SMTP_EXT_LIMITS = 1 << 4      /* RFC 9422 */
};

/*
 * Valid when zeroed: nothing is offered.  A limit of 0 means none: the server
 * said 0, said nothing, or said something that is not a number.  Of
 * contradicting lines the strictest limit counts.
 */
struct smtp_ehlo {
	unsigned extensions;
	uint64_t size;    /* octets in a message */
	uint64_t rcptmax; /* recipients in a transaction */
	uint64_t mailmax; /* transactions on a connection */
};

/*
 * Adds one line of an EHLO reply, without its code and line end.  An unknown
 * line is ignored.
 */
void smtp_ehlo_add(struct smtp_ehlo *, const char *line, size_t n);

/* Whether the server offered the extension. */
bool smtp_ehlo_has(const struct smtp_ehlo *, enum smtp_extension);

/*
 * Formats the extensions as one argument, the lines of an EHLO reply joined by
 * commas ("PIPELINING,SIZE 1000"); and parses it.
 */
void smtp_ehlo_format(const struct smtp_ehlo *, struct buf *);
void smtp_ehlo_parse(struct smtp_ehlo *, const char *);

#endif
