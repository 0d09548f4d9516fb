/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TLSREQUIRED_H
#define QMAIL_TLSREQUIRED_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What the header of a message says about TLS.
 *
 * "TLS-Required: no" (RFC 8689 section 3) asks that the message be sent even if
 * TLS with the destination fails.  It is for reports about such failures, but
 * some mail clients write it into all that they send.
 */

/* How many bytes of a message are looked at. */
#define TLSREQUIRED_HEADER_MAX 65536

/* Valid when zeroed: neither. */
struct tlsrequired {
	bool is_no; /* TLS-Required: no */

	/*
	 * The message is a TLS report (RFC 8460 section 5.3): of the type
	 * multipart/report with report-type "tlsrpt", and with the fields
	 * TLS-Report-Domain and TLS-Report-Submitter.
	 */
	bool is_report;
};

/*
 * Parses the header section at the start of n bytes of a message, with LF or
 * CRLF as line end.  It ends at an empty line, or at a line that is no field of
 * RFC 5322.  If is_whole is false, the message goes on after the n bytes, and a
 * field that does not end within them is not looked at.
 */
void tlsrequired_parse(struct tlsrequired *, const char *, size_t n,
    bool is_whole);

/*
 * Reads the header section from fd, from its current offset on, which does not
 * change.  Of a header of more than TLSREQUIRED_HEADER_MAX bytes, and of a
 * message that cannot be read or is not a file, only what was read counts: a
 * field that is not found never weakens a policy.
 */
void tlsrequired_read(struct tlsrequired *, int fd);

/*
 * Whether "TLS-Required: no" is there and is obeyed; setting is that of
 * control/tlsrequired (enum control_tlsrequired).
 */
bool tlsrequired_is_obeyed(const struct tlsrequired *, unsigned long setting);

#endif
