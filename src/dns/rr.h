/* SPDX-License-Identifier: ISC */
#ifndef DNS_RR_H
#define DNS_RR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Turn an answer's bytes into records and a security status.
 */

#define DNS_NAME_SIZE 256 /* text of a name, no trailing dot, with its NUL */

enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_MX = 15,
	DNS_AAAA = 28,
};

enum dns_outcome {
	DNS_FOUND,
	DNS_NODATA,   /* the name exists, such records do not */
	DNS_NXDOMAIN, /* the name does not exist */
	DNS_TEMPFAIL  /* everything else */
};

enum dns_security { DNS_INSECURE, DNS_SECURE };

/* One record of the type that was asked for. */
struct dns_rr {
	uint16_t preference;      /* MX */
	char name[DNS_NAME_SIZE]; /* MX: exchange; "" is the root */
	struct ip ip;             /* A, AAAA */
};

struct dns_answer {
	enum dns_outcome outcome;
	enum dns_security security; /* the AD bit of this very answer */
	bool is_alias;              /* the name asked is a CNAME here */
	bool refuses_edns;          /* ask again without */
	struct dns_rr *rr;          /* owned by the answer */
	size_t nrr;
};

#define DNS_RR_MAX 1000       /* records kept of one answer, the best MX */
#define DNS_QUESTION_SIZE 282 /* of the longest question */

/*
 * What fits into one packet on every path (DNS flag day 2020): a fragment
 * can be lost or forged.
 */
#define DNS_UDP_SIZE 1232

/*
 * Writes the message that asks for (name, type), with RD and AD, into
 * DNS_QUESTION_SIZE bytes.  name is absolute, with or without a dot at its
 * end, "" for the root; its bytes are taken as they are, without escapes.
 * Returns the length, 0 when there can be no such name: an empty label, one
 * of more than 63 bytes, or more than 253 bytes in all.
 */
size_t dns_question_write(unsigned char *, const char *name, int type,
    uint16_t id, bool with_edns);

/*
 * Parses a whole DNS message (RFC 1035 section 4) that answers the question
 * (name, type).  CNAMEs are followed inside the answer, at most 16, from the
 * name asked to the owner of the records; records of other owners and
 * addresses of the wrong length are left out.  DNS_TEMPFAIL is an answer that
 * is malformed, truncated, to another question, or has records of the type
 * of which none can be used; so is every rcode other than 0 and 3, and a
 * referral by a server that neither is an authority nor asks others.
 * Names in records are presented as text with RFC 1035 escapes only where a
 * byte is not a printable non-blank ASCII character other than '.' and '\';
 * a name whose escapes do not fit is "?".
 */
void dns_answer_parse(struct dns_answer *, const char *name, int type,
    const unsigned char *, size_t);
void dns_answer_finish(struct dns_answer *);

#endif
