/* SPDX-License-Identifier: ISC */
#ifndef TEST_PACKET_H
#define TEST_PACKET_H

#include <stdlib.h>
#include <string.h>

#include "dns/message.h"

/* Messages of the DNS as a name server sends them, and what is read in them. */

#define ANSWER 0x8180 /* QR, RD, RA */
#define NXDOMAIN (ANSWER | 3)

/* Offsets for compression pointers in the raw cases. */
#define Q_NAME "\xc0\x0c" /* of the question */

#define TEN "xxxxxxxxxx"

struct packet {
	unsigned char byte[70000];
	size_t n;
};

static inline void
put(struct packet *p, const void *data, size_t n)
{
	if (p->n + n > sizeof p->byte)
		fail_msg("packet too large");
	memcpy(p->byte + p->n, data, n);
	p->n += n;
}

static inline void
put_u16(struct packet *p, unsigned value)
{
	unsigned char b[2] = { (unsigned char)(value >> 8),
		(unsigned char)value };

	put(p, b, sizeof b);
}

/* Labels end at dots; no compression. */
static inline void
put_name(struct packet *p, const char *text)
{
	unsigned char len;

	while (*text != '\0') {
		len = (unsigned char)strcspn(text, ".");
		put(p, &len, 1);
		put(p, text, len);
		text += len;
		text += *text == '.';
	}
	put(p, "", 1);
}

/* The header and the question; then come nanswer records. */
static inline void
begin(struct packet *p, unsigned flags, unsigned nanswer, const char *name,
    int type)
{
	p->n = 0;
	put_u16(p, 0x1234);
	put_u16(p, flags);
	put_u16(p, 1);
	put_u16(p, nanswer);
	put_u16(p, 0);
	put_u16(p, 0);
	put_name(p, name);
	put_u16(p, (unsigned)type);
	put_u16(p, 1);
}

/*
 * A record with a name as its data (after a preference for MX), or with bytes.
 */
struct record {
	const char *owner;
	int type;
	unsigned preference;
	const char *name;
	const char *data;
	size_t len;
};

#define MX(owner, preference, name) \
	{ \
		owner, DNS_MX, preference, name, NULL, 0 \
	}
#define CNAME(owner, name) \
	{ \
		owner, DNS_CNAME, 0, name, NULL, 0 \
	}
#define DATA(owner, type, data) \
	{ \
		owner, type, 0, NULL, data, sizeof data - 1 \
	}
#define A(owner) DATA(owner, DNS_A, "\xc0\x00\x02\x01")
#define AAAA(owner) \
	DATA(owner, DNS_AAAA, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09")
#define DNAME(owner, name) \
	{ \
		owner, 39, 0, name, NULL, 0 \
	}

static inline void
put_record(struct packet *p, const struct record *r)
{
	size_t at;

	put_name(p, r->owner);
	put_u16(p, (unsigned)r->type);
	put_u16(p, 1);
	put_u16(p, 0);
	put_u16(p, 60);
	at = p->n;
	put_u16(p, (unsigned)r->len);
	if (r->name == NULL) {
		put(p, r->data, r->len);
		return;
	}
	if (r->type == DNS_MX)
		put_u16(p, r->preference);
	put_name(p, r->name);
	p->byte[at] = (unsigned char)((p->n - at - 2) >> 8);
	p->byte[at + 1] = (unsigned char)(p->n - at - 2);
}

/* The packet as an answer to this question. */
static inline enum dns_reply
parse(struct dns_answer *a, const char *name, int type, const struct packet *p)
{
	enum dns_reply reply;

	/* On the heap, so that the sanitizer finds a read beyond it. */
	unsigned char *copy = malloc(p->n + 1);

	assert_non_null(copy);
	memcpy(copy + 1, p->byte, p->n);
	reply = dns_answer_parse(a, name, type, copy + 1, p->n);
	free(copy);
	assert_true((reply == DNS_REPLY_FINAL) == (a->outcome != DNS_TEMPFAIL));
	return reply;
}

static inline const char *
outcome_name(enum dns_outcome outcome)
{
	static const char *const names[] = { "FOUND", "NODATA", "NXDOMAIN",
		"TEMPFAIL" };

	return names[outcome];
}

/* Fails, with the name of the case, if the outcome or the number of records is
 * another. */
static inline void
check(const char *what, const struct dns_answer *a, enum dns_outcome want,
    size_t nrr)
{
	size_t n = a->nmx + a->nip + a->tlsa.n + a->ntext;

	if (a->outcome != want || n != nrr)
		fail_msg("%s: %s with %zu records, not %s with %zu", what,
		    outcome_name(a->outcome), n, outcome_name(want), nrr);
	if ((want == DNS_FOUND) != (nrr > 0))
		fail_msg("%s: the case itself is wrong", what);
}

/* Up to an empty one, or this many; returns how many there were. */
static inline unsigned
put_records(struct packet *p, const struct record *r, unsigned most)
{
	unsigned n = 0;

	while (n < most && r[n].owner != NULL)
		put_record(p, &r[n++]);
	return n;
}

static inline void
put_data(struct packet *p, const char *owner, int type, const void *data,
    size_t n)
{
	struct record r = { owner, type, 0, NULL, data, n };

	put_record(p, &r);
}

#endif
