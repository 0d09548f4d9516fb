/* SPDX-License-Identifier: ISC */
#ifndef SMTP_AUTH_H
#define SMTP_AUTH_H

#include "base/credentials.h"
#include "base/mask.h"
#include "smtp/session.h"

/*
 * Authenticate to the server (RFC 4954): PLAIN or LOGIN with a password,
 * OAUTHBEARER or XOAUTH2 with an access token.
 *
 * The caller makes sure that the session is in TLS, and that the server is one
 * that may have the credentials.
 */

/*
 * The mechanism to use for such credentials with a server that offered these
 * extensions: the first of PLAIN and LOGIN, or of OAUTHBEARER and XOAUTH2, that
 * it has; NONE if it has neither of the two.
 */
enum smtp_mechanism smtp_auth_choose(const struct smtp_ehlo *,
    enum credentials_kind);

/*
 * Sends AUTH, and what the server asks for.  DONE if it accepted the
 * credentials, REFUSED for 4yz or 5yz, MALFORMED for any other reply, also a
 * challenge that the mechanism does not have.  There are at most three commands
 * and replies, each under its own deadline.
 *
 * The first response is sent with AUTH where the line has at most 512 octets
 * with it, and after the server's 334 otherwise (RFC 4954 section 4).  A server
 * that refuses an access token says why in a challenge, which is answered
 * (RFC 7628 section 3.2.3); the reply after that is the one that counts.
 */
enum smtp_outcome smtp_auth(struct smtp_session *, enum smtp_mechanism,
    const struct credentials *);

/*
 * Adds to the mask what a server may repeat: user and secret, and each response
 * that smtp_auth() can send.
 */
void smtp_auth_hide(const struct credentials *, struct mask *);

#endif
