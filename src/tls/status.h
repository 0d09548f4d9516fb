/* SPDX-License-Identifier: ISC */
#ifndef TLS_STATUS_H
#define TLS_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The status records of qmail-remote-tls: one when the handshake has ended and,
 * if it has succeeded, a second one when the session has ended.  If it was
 * asked to describe certificates, records about them come before both.  A
 * record is one line of printable ASCII.
 *
 *	C FACT TEXT	about the certificates
 *	C verdict CODE TEXT
 *			one of them: whether the trust anchors verify it
 *	R VERSION CIPHER GROUP HOW NAME
 *			ready; HOW the certificate was verified: "none", "pkix",
 *			"dane-3-1-1" with the TLSA record that it matched, or
 *			"dane-unusable"; NAME that it was verified for; "-"
 *			stands for none
 *	F CODE TEXT	it failed: the fault of the peer
 *	L TEXT		it failed for a reason of ours: no memory, a key that
 *			cannot be read
 *	E CODE TEXT	the session has ended
 *
 * Both programs use this module: one formats records, the other parses them.
 * tls_result_describe() makes the line of a report of it, in qmail-remote,
 * which knows the policy that the line names.
 */

#define TLS_RECORD_SIZE 512 /* bytes of a record with its NUL */
#define TLS_WORD_SIZE 64
#define TLS_NAME_SIZE 256
#define TLS_TEXT_SIZE 256

enum tls_status {
	TLS_STATUS_READY,
	TLS_STATUS_FAILED,
	TLS_STATUS_LOCAL,
	TLS_STATUS_NONE /* no valid record: the helper has died */
};

/*
 * Why the handshake failed: the result types of RFC 8460 section 4.3, and one
 * more that is known apart, since deliveries remember it.  Decisions depend on
 * these, and never on a text.
 */
enum tls_cause {
	TLS_CAUSE_HANDSHAKE,   /* validation-failure: any other reason */
	TLS_CAUSE_TIMED_OUT,   /* the same: it did not end in its time */
	TLS_CAUSE_NAME,        /* certificate-host-mismatch */
	TLS_CAUSE_EXPIRED,     /* certificate-expired */
	TLS_CAUSE_NOT_TRUSTED, /* certificate-not-trusted */

	/* Only of a verdict, see struct tls_facts: */
	TLS_CAUSE_LOCAL, /* not known, for a reason of ours */
	TLS_CAUSE_NONE   /* it verifies */
};

/* How the certificate was verified. */
enum tls_proof {
	TLS_PROOF_NONE,
	TLS_PROOF_PKIX, /* for a name, by a chain to our trust anchors */
	TLS_PROOF_DANE, /* by a TLSA record (RFC 7672) */
	/*
	 * No TLSA record was usable (RFC 7672 section 2.2): not at all or, if
	 * there is a name, as with PKIX.
	 */
	TLS_PROOF_UNUSABLE
};

/* The result of a handshake. */
struct tls_result {
	enum tls_status status;

	/* For READY: */
	char version[TLS_WORD_SIZE];
	char cipher[TLS_WORD_SIZE];
	char group[TLS_WORD_SIZE]; /* "": the key exchange has none */
	enum tls_proof proof;
	uint8_t usage, selector, matching; /* for DANE: what it matched */
	char verified[TLS_NAME_SIZE];      /* for PKIX and DANE-TA: the name */

	/* For FAILED; for LOCAL only the text: */
	enum tls_cause cause;
	char text[TLS_TEXT_SIZE];
};

/* How a session ended. */
enum tls_end {
	TLS_END_NONE,   /* no valid record: the helper has died */
	TLS_END_SERVER, /* the server sent close_notify */
	TLS_END_CLIENT, /* our side closed the clear text */
	TLS_END_BROKEN, /* the connection or the TLS protocol broke */
	TLS_END_LOCAL   /* a failure of ours: no memory */
};

/* Whether the certificate of a session that is READY was verified. */
bool tls_result_is_verified(const struct tls_result *);

/*
 * Format a record; return its length without the NUL.  Bytes that are not
 * printable become '?', and text that does not fit is cut off.
 */
size_t tls_result_format(char record[TLS_RECORD_SIZE],
    const struct tls_result *);
size_t tls_end_format(char record[TLS_RECORD_SIZE], enum tls_end,
    const char *text);

/*
 * Parse a record of n bytes.  A record that is not of the form above is NONE.
 * The text is cleaned again, because the helper has talked to the network.
 */
enum tls_status tls_result_parse(struct tls_result *, const char *record,
    size_t n);
enum tls_end tls_end_parse(const char *record, size_t n,
    char text[TLS_TEXT_SIZE]);

/* What is told of certificates, for a person. */
enum tls_fact {
	TLS_FACT_NAMES,       /* the subjectAltNames of the server's */
	TLS_FACT_ISSUER,      /* of the server's, as RFC 4514 writes it */
	TLS_FACT_EXPIRES,     /* the server's: "2027-01-31 12:00:00 UTC" */
	TLS_FACT_VERDICT,     /* of PKIX: "" if it verifies, or why not */
	TLS_FACT_DANE,        /* the same of DANE */
	TLS_FACT_TLSA,        /* the record that it matches: "3 1 1" */
	TLS_FACT_OWN_EXPIRES, /* ours */
	TLS_FACTS
};

struct tls_facts {
	bool is_known[TLS_FACTS];
	char text[TLS_FACTS][TLS_TEXT_SIZE];
	enum tls_cause verdict; /* what TLS_FACT_VERDICT says */
};

/* The same for a record about certificates; false if it is not one. */
size_t tls_fact_format(char record[TLS_RECORD_SIZE], const struct tls_facts *,
    enum tls_fact);
bool tls_fact_parse(struct tls_facts *, const char *record, size_t n);

#define TLS_SENTENCE_SIZE 640

/*
 * Describes the result for the last line of a report: "VERSION CIPHER GROUP,",
 * the name of the policy and a comma if it is not "", and how the certificate
 * was verified ("certificate not verified", "certificate verified for NAME",
 * "DANE (3 1 1)", "DANE records unusable, certificate not verified"), or why
 * the handshake failed.
 */
void tls_result_describe(const struct tls_result *, const char *policy,
    char sentence[TLS_SENTENCE_SIZE]);

#endif
