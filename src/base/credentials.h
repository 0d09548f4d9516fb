/* SPDX-License-Identifier: ISC */
#ifndef BASE_CREDENTIALS_H
#define BASE_CREDENTIALS_H

#include "base/buf.h"

/*
 * What a client shows to a server in an AUTH command (RFC 4954): a user name,
 * with a password or with an OAuth 2.0 access token.  The bytes are as the
 * administrator wrote them.
 *
 * Who reads them from a file makes sure that user and secret have 1 to
 * CREDENTIALS_USER_MAX and CREDENTIALS_SECRET_MAX bytes, so that a line of AUTH
 * can hold them (RFC 4954 section 4: 12288 octets of base64), and no NUL or
 * line end; a token has only printable ASCII without blanks (RFC 6750 section
 * 2.1).
 *
 * Valid when zeroed: no credentials.
 */
#define CREDENTIALS_USER_MAX 255 /* RFC 4616 section 2 */
#define CREDENTIALS_SECRET_MAX 8192

enum credentials_kind {
	CREDENTIALS_NONE,
	CREDENTIALS_PASSWORD,
	CREDENTIALS_TOKEN
};

struct credentials {
	enum credentials_kind kind;
	struct buf user;
	struct buf secret; /* the password or the token */
};

/* Overwrites and frees user and secret; there are no credentials then. */
void credentials_finish(struct credentials *);

#endif
