/* SPDX-License-Identifier: ISC */
#ifndef SMTP_EHLO_H
#define SMTP_EHLO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * The set of extensions a server offered (RFC 5321 section 4.1.1.1), as far
 * as we use them.
 */
enum smtp_extension {
	SMTP_EXT_STARTTLS = 1 << 0,   /* RFC 3207 */
	SMTP_EXT_PIPELINING = 1 << 1, /* RFC 2920 */
};

/* Valid when zeroed: nothing is offered. */
struct smtp_ehlo {
	unsigned extensions;
};

/* Adds one line of an EHLO reply, without its code and line end. */
void smtp_ehlo_add(struct smtp_ehlo *, const char *line, size_t n);

bool smtp_ehlo_has(const struct smtp_ehlo *, enum smtp_extension);

/*
 * The extensions as one word for an argument vector, keywords joined by
 * commas; and back from there.
 */
void smtp_ehlo_format(const struct smtp_ehlo *, struct buf *);
void smtp_ehlo_parse(struct smtp_ehlo *, const char *word);

#endif
