/* SPDX-License-Identifier: ISC */
#ifndef DNS_MESSAGE_H
#define DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "dns/name.h"

/*
 * DNS messages (RFC 1035 section 4): write a question, and turn the bytes of
 * an answer into records and a security status.
 */

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

#define DNS_MX_MAX 1000 /* records kept of one answer: the best ones */
#define DNS_IP_MAX 128  /* addresses kept of one answer: the first ones */

struct dns_mx {
	uint16_t preference;
	char name[DNS_NAME_SIZE]; /* the exchange; "" is the root */
};

/* The records are owned by the answer. */
struct dns_answer {
	enum dns_outcome outcome;
	enum dns_security security;    /* the AD bits of all its messages */
	uint32_t ttl_s;                /* for which all of it holds */
	bool is_alias;                 /* the name asked is a CNAME */
	char canonical[DNS_NAME_SIZE]; /* what aliases led to, or "" */
	struct dns_mx *mx;
	size_t nmx;
	struct ip *ip; /* A, AAAA */
	size_t nip;
};

/* What is to be done with a message that should answer a question. */
enum dns_reply {
	DNS_REPLY_FINAL,     /* nothing: the outcome is known */
	DNS_REPLY_ALIAS,     /* ask the same of answer->canonical */
	DNS_REPLY_TRUNCATED, /* ask over TCP */
	DNS_REPLY_FAILED     /* ask in another way, or another server */
};

#define DNS_QUESTION_SIZE 282 /* of the longest question */

/*
 * What fits into one packet on every path (DNS flag day 2020): a fragment
 * can be lost or forged.
 */
#define DNS_UDP_SIZE 1232

/* What a question has beyond the least. */
enum {
	DNS_EDNS = 1, /* an OPT record (RFC 6891) for replies of DNS_UDP_SIZE */
	DNS_AD = 2    /* the AD bit: tell whether it is secure (RFC 6840 5.7) */
};

/*
 * Writes the message that asks for (name, type), recursion desired, into
 * DNS_QUESTION_SIZE bytes.  The name is a valid one.  Returns the length.
 */
size_t dns_question_write(unsigned char *, const char *name, int type,
    uint16_t id, unsigned with);

/*
 * Parses a whole DNS message (RFC 1035 section 4) that answers the question
 * (name, type).  It is DNS_REPLY_FINAL with an outcome other than
 * DNS_TEMPFAIL, or something else with DNS_TEMPFAIL and no records.
 *
 * CNAMEs are followed inside the answer section, at most 16, from the name
 * asked to the owner of the records; records of other owners and addresses of
 * the wrong length are left out.  Where a chain ends without records, and
 * nothing shows that there are none, the last name is to be asked for.
 *
 * An answer denies that there are records by its rcode and by having none
 * (RFC 2308 section 2): with records of other types, owners or classes in its
 * answer section, or with the wanted ones in another section, it denies
 * nothing and is DNS_REPLY_FAILED.  What an alias leads to is denied only with
 * the SOA record of a zone that this name is in.  DNS_REPLY_FAILED is also
 * every other rcode, a referral by a server that neither is an authority nor
 * asks others, a loop of aliases, and what is malformed or answers another
 * question.
 *
 * Names in records are presented as text with RFC 1035 escapes only where a
 * byte is not a printable non-blank ASCII character other than '.' and '\';
 * a name whose escapes do not fit is "?".
 */
enum dns_reply dns_answer_parse(struct dns_answer *, const char *name, int type,
    const unsigned char *, size_t);
void dns_answer_finish(struct dns_answer *);

#endif
