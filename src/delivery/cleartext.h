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
	CLEARTEXT_NO_REASON, /* TLS was not to be tried, or not offered */
	CLEARTEXT_REFUSED,   /* STARTTLS was */
	CLEARTEXT_NO_REPLY,
	CLEARTEXT_INVALID_REPLY,
	CLEARTEXT_HANDSHAKE, /* failed */
	CLEARTEXT_HELLO_REFUSED,
	CLEARTEXT_HELLO_INVALID,

	/* It failed in another delivery: STARTTLS was not sent. */
	CLEARTEXT_AVOIDS_EHLO,
	CLEARTEXT_AVOIDS_HANDSHAKE
};

struct cleartext {
	enum cleartext_reason reason;
	int code;                 /* of the reply that refused */
	char text[TLS_TEXT_SIZE]; /* of the handshake that failed */
	int64_t when;             /* that was, in Unix time */
};

/*
 * Writes the words: "handshake failed (no TLS version in common)", with ", sent
 * in clear text" behind it if the message is.  "" without a reason.
 */
void cleartext_describe(const struct cleartext *, bool is_sent,
    char sentence[TLS_SENTENCE_SIZE]);

#endif
