/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_CLEARTEXT_H
#define DELIVERY_CLEARTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "tls/status.h"

/*
 * Why a session is in clear text though TLS was to be tried: the reason, and
 * its words for the last line of the report.
 */
enum cleartext_reason {
	CLEARTEXT_NO_REASON,     /* TLS was not to be tried, or not offered */
	CLEARTEXT_REFUSED,       /* the server refused STARTTLS */
	CLEARTEXT_NO_REPLY,      /* to STARTTLS */
	CLEARTEXT_INVALID_REPLY, /* to STARTTLS */
	CLEARTEXT_HANDSHAKE,     /* the handshake failed */
	CLEARTEXT_HELLO_REFUSED, /* EHLO after the handshake: refused */
	CLEARTEXT_HELLO_INVALID, /* the same: no valid reply to it */

	/* STARTTLS was not sent, because this failed in another delivery. */
	CLEARTEXT_AVOIDS_EHLO,
	CLEARTEXT_AVOIDS_HANDSHAKE
};

struct cleartext {
	enum cleartext_reason reason;
	int code;                 /* of the reply that refused, or 0 */
	char text[TLS_TEXT_SIZE]; /* why the handshake failed, or "" */
	int64_t when; /* Unix time of the failure in another delivery */
};

/*
 * Writes the words: "handshake failed (no TLS version in common)", with ", sent
 * in clear text" behind it if the message is.  "" without a reason.
 */
void cleartext_describe(const struct cleartext *, bool is_sent,
    char sentence[TLS_SENTENCE_SIZE]);

#endif
