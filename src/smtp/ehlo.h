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
	SMTP_EXT_LIMITS = 1 << 4,     /* RFC 9422 */
	SMTP_EXT_AUTH = 1 << 5,       /* RFC 4954 */
	SMTP_EXT_SMTPUTF8 = 1 << 6    /* RFC 6531 */
};

/* The mechanisms of AUTH that we know. */
enum smtp_mechanism {
	SMTP_MECHANISM_NONE = 0,
	SMTP_MECHANISM_PLAIN = 1 << 0,       /* RFC 4616 */
	SMTP_MECHANISM_LOGIN = 1 << 1,       /* no RFC, but widespread */
	SMTP_MECHANISM_OAUTHBEARER = 1 << 2, /* RFC 7628 */
	SMTP_MECHANISM_XOAUTH2 = 1 << 3      /* before that RFC, the same */
};

/*
 * Valid when zeroed: nothing is offered.  A limit of 0 means none: the server
 * said 0, said nothing, or said something that is not a number.  Of
 * contradicting lines the strictest limit counts.
 */
struct smtp_ehlo {
	unsigned extensions;
	uint64_t size;       /* octets in a message */
	uint64_t rcptmax;    /* recipients in a transaction */
	uint64_t mailmax;    /* transactions on a connection */
	unsigned mechanisms; /* of AUTH: enum smtp_mechanism */
};

/*
 * Adds one line of an EHLO reply, without its code and line end.  An unknown
 * line is ignored.  "AUTH=LOGIN", of a draft that became RFC 2554 and still
 * offered beside or in place of "AUTH LOGIN", is the same as that.
 */
void smtp_ehlo_add(struct smtp_ehlo *, const char *line, size_t n);

/* Whether the server offered the extension. */
bool smtp_ehlo_has(const struct smtp_ehlo *, enum smtp_extension);

/* The name of a mechanism as in AUTH; not for NONE. */
const char *smtp_mechanism_name(enum smtp_mechanism);

/*
 * Formats the extensions as one argument, the lines of an EHLO reply joined by
 * commas ("PIPELINING,SIZE 1000"); and parses it.
 */
void smtp_ehlo_format(const struct smtp_ehlo *, struct buf *);
void smtp_ehlo_parse(struct smtp_ehlo *, const char *);

#endif
