/* SPDX-License-Identifier: ISC */
#include "tlsd/error.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/*
 * The library's own 2000 texts take half a millisecond to load, so they are not
 * loaded.  Errors that servers are known to cause have a helpful text here,
 * others a number for "openssl errstr".
 */
static const struct {
	int reason;
	const char *text;
} reasons[] = {
	{ SSL_R_WRONG_VERSION_NUMBER, "the server does not speak TLS" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "no TLS version in common" },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "no TLS version in common" },
	{ SSL_R_NO_PROTOCOLS_AVAILABLE, "no TLS version in common" },
	{ SSL_R_UNEXPECTED_EOF_WHILE_READING, "connection closed" },
	{ SSL_R_DH_KEY_TOO_SMALL, "the server's DH key is too small" },
	{ SSL_R_EE_KEY_TOO_SMALL, "the certificate's key is too small" },
	{ SSL_R_CA_KEY_TOO_SMALL, "the issuer's key is too small" },
	{ SSL_R_CA_MD_TOO_WEAK, "a certificate's signature is too weak" },
	{ SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED,
	    "the server lacks secure renegotiation (RFC 5746)" },
	{ SSL_R_WRONG_SIGNATURE_TYPE, "signature type not offered by us" },
	{ SSL_R_WRONG_CIPHER_RETURNED, "cipher not offered by us" },
	{ SSL_R_UNEXPECTED_MESSAGE, "unexpected message" },
	{ SSL_R_RECORD_LENGTH_MISMATCH, "malformed record" },
	{ SSL_R_PACKET_LENGTH_TOO_LONG, "record too long" },
	{ SSL_R_ENCRYPTED_LENGTH_TOO_LONG, "record too long" },
	{ SSL_R_EXCESSIVE_MESSAGE_SIZE, "message too long" },
	{ SSL_R_LENGTH_MISMATCH, "malformed message" },
	{ SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "bad record" },
	{ SSL_R_BAD_SIGNATURE, "bad signature" },
	{ SSL_R_PRIVATE_KEY_MISMATCH, "key and certificate do not match" },
};

static const char *
find_reason(unsigned long code)
{
	int reason = ERR_GET_REASON(code);

	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		    reasons[i].reason == reason)
			return reasons[i].text;
	return NULL;
}

/* The number of the alert that the server sent (RFC 8446 section 6), or -1. */
static int
alert_of(unsigned long code)
{
	int reason = ERR_GET_REASON(code);

	if (ERR_GET_LIB(code) != ERR_LIB_SSL || reason < SSL_AD_REASON_OFFSET ||
	    reason >= SSL_AD_REASON_OFFSET + 256)
		return -1;
	return reason - SSL_AD_REASON_OFFSET;
}

int
tlsd_error_set(struct dsn *why, const char *status, const char *doing,
    unsigned long code)
{
	const char *text = find_reason(code);
	int alert = alert_of(code);

	if (text != NULL)
		return dsn_set(why, status, "%s%s", doing, text);
	if (alert != -1)
		return dsn_set(why, status, "%sthe server says: %s", doing,
		    SSL_alert_desc_string_long(alert));
	return dsn_set(why, status, "%sOpenSSL error %08lX", doing, code);
}

bool
tlsd_error_is_local(void)
{
	unsigned long code = ERR_peek_error();

	return ERR_GET_LIB(code) == ERR_LIB_RAND;
}

int
tlsd_error_set_local(struct dsn *why, const char *what)
{
	char doing[300];

	snprintf(doing, sizeof doing, "%s: ", what);
	return tlsd_error_set(why, TLSD_ERROR_LOCAL, doing,
	    ERR_peek_last_error());
}
