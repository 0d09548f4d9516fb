/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_LOGIN_H
#define QMAIL_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/credentials.h"
#include "base/dsn.h"
#include "io/fileid.h"

/*
 * Credentials as a line of a control file has them: user|password, or
 * user|token=path, where the first line of the file at the path is an OAuth 2.0
 * access token.
 *
 * All bytes behind the '|' are the password, so it may have a '|' itself.
 */

/* Valid when zeroed: no credentials. */
struct login {
	/* Of CREDENTIALS_TOKEN there is no secret before login_read_token(). */
	struct credentials credentials;
	struct buf token;            /* the path of its file; else empty */
	struct fileid token_version; /* of that file */

	/* Where the line is.  Set by who has read it. */
	const char *file;      /* the control file */
	struct fileid version; /* of that file */
	uint64_t offset;       /* of the line, in bytes from its start */
};

/* Whether there are credentials. */
bool login_is_given(const struct login *);

/*
 * Parses n bytes into *login, which is empty.  Returns what is wrong with them,
 * without any of them, or NULL: a user name or secret is missing or too long,
 * the name has a control byte, or the password a NUL.
 */
const char *login_parse(struct login *, const char *, size_t n);

/*
 * Reads the token, if there is to be one.  -1 with 4.3.0 if its file is
 * missing or cannot be read, or if the line is empty, too long, or has a byte
 * that is not printable ASCII.  The detail has the path and the reason.
 */
int login_read_token(struct login *, struct dsn *why);

/* Overwrites and frees all; there are no credentials then. */
void login_finish(struct login *);

#endif
