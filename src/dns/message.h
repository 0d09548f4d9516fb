/* SPDX-License-Identifier: ISC */
#ifndef DNS_MESSAGE_H
#define DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ip.h"
#include "base/tlsa.h"
#include "dns/name.h"

/*
 * DNS messages (RFC 1035 section 4): write a question, and turn the bytes of an
 * answer into records and a security status.
 */

enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_TLSA = 52,
};

enum dns_outcome {
	DNS_FOUND,
	DNS_NODATA,   /* the name exists, such records do not */
	DNS_NXDOMAIN, /* the name does not exist */
	DNS_TEMPFAIL  /* everything else */
};

enum dns_security { DNS_INSECURE, DNS_SECURE };

#define DNS_MX_MAX 1000 /* best records kept of one answer */
#define DNS_IP_MAX 128  /* first addresses kept of one answer */
#define DNS_TEXT_MAX 16 /* first TXT records kept of one answer */
#define DNS_TEXT_SIZE_MAX ((size_t)4096) /* bytes of one that is kept */

struct dns_mx {
	uint16_t preference;
	char name[DNS_NAME_SIZE]; /* the MX host; "" is the root */
};

/* What an answer says.  It owns its records; see dns_answer_finish(). */
struct dns_answer {
	bool is_pending; /* asked, and no result yet; see dns_resolver_ask() */
	enum dns_outcome outcome;
	enum dns_security security;    /* SECURE: all its messages had AD set */
	uint32_t ttl_s;                /* the least TTL of all its records */
	bool is_alias;                 /* the name asked for is a CNAME */
	char canonical[DNS_NAME_SIZE]; /* target of the aliases, or "" */
	struct tlsa_set tlsa;
	struct buf *text; /* TXT; any bytes, with a NUL after them */
	size_t ntext;
	struct dns_mx *mx;
	size_t nmx;
	struct ip *ip; /* A, AAAA */
	size_t nip;
};

/* What to do after a message that should answer a question. */
enum dns_reply {
	DNS_REPLY_FINAL,     /* nothing: the outcome is known */
	DNS_REPLY_ALIAS,     /* ask the same of answer->canonical */
	DNS_REPLY_TRUNCATED, /* ask over TCP */
	DNS_REPLY_FAILED     /* ask in another way, or another server */
};

#define DNS_QUESTION_SIZE 282 /* bytes of the longest question */

/*
 * What fits into one packet on every path (DNS flag day 2020): a fragment can
 * be lost or forged.
 */
#define DNS_UDP_SIZE 1232

/* Optional parts of a question. */
enum {
	DNS_EDNS = 1, /* OPT record (RFC 6891): replies up to DNS_UDP_SIZE */
	DNS_AD = 2    /* AD bit: ask for the security status (RFC 6840 5.7) */
};

/*
 * Writes the message that asks for (name, type), with recursion desired, into
 * DNS_QUESTION_SIZE bytes.  with is a set of DNS_EDNS and DNS_AD.  Returns the
 * length, or 0 if the name is not valid.
 */
size_t dns_question_write(unsigned char *, const char *name, int type,
    uint16_t id, unsigned with);

/*
 * Parses a whole DNS message (RFC 1035 section 4) that answers the question
 * (name, type).  The result is DNS_REPLY_FINAL with an outcome other than
 * DNS_TEMPFAIL, or one of the others with DNS_TEMPFAIL and no records.
 *
 * The character-strings of a TXT record are joined.  A longer record than
 * DNS_TEXT_SIZE_MAX is left out whole, because a part of it could mean
 * something else.  TLSA records are kept in the order of the answer; if they do
 * not fit into a set, the answer is DNS_REPLY_FAILED.  The answer for type
 * CNAME is the alias itself: it is not followed, and its target is in
 * canonical.
 *
 * CNAMEs are followed inside the answer section, at most 16, from the name
 * asked for to the owner of the records.  Records of other owners and addresses
 * of the wrong length are ignored; a malformed record of any other type asked
 * for spoils the answer.  If a chain ends without records, and nothing shows
 * that there are none, the last name is to be asked for.
 *
 * An answer denies that there are records by its rcode and by having none (RFC
 * 2308 section 2).  An answer that has records of other types, owners or
 * classes in its answer section, or the wanted records in another section,
 * denies nothing and is DNS_REPLY_FAILED.  For the target of an alias a denial
 * also needs the SOA record of a zone that contains this name.
 *
 * DNS_REPLY_FAILED is also the result of any other rcode, of a referral by a
 * server that is neither authoritative nor recursive, of a loop of aliases, and
 * of a message that is malformed or answers another question.
 *
 * Names in records are text.  RFC 1035 escapes are used only for '.', '\' and
 * bytes other than printable non-blank ASCII; a name whose escapes do not fit
 * is "?".
 */
enum dns_reply dns_answer_parse(struct dns_answer *, const char *name, int type,
    const unsigned char *, size_t);

/* Frees the records. */
void dns_answer_finish(struct dns_answer *);

#endif
