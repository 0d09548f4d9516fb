/* SPDX-License-Identifier: ISC */
#include "dns/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/wire.h"

#define CLASS_IN 1
#define TYPE_NS 2
#define TYPE_SOA 6
#define TYPE_DNAME 39
#define TYPE_OPT 41

#define FLAG_QR 0x8000
#define FLAG_AA 0x0400
#define FLAG_TC 0x0200
#define FLAG_RD 0x0100
#define FLAG_RA 0x0080
#define FLAG_AD 0x0020
#define OPCODE_MASK 0x7800
#define RCODE_MASK 0x000f
#define RCODE_NXDOMAIN 3

#define ALIAS_MAX 16

struct record {
	struct dns_name owner;
	unsigned type;
	unsigned class;
	uint32_t ttl;     /* in an OPT record: more of the rcode, and flags */
	struct wire data; /* from the start of the message to the data's end */
};

struct message {
	unsigned rcode; /* all 12 bits (RFC 6891 section 6.1.3) */
	bool is_truncated;
	bool is_authentic;
	bool is_referral;    /* neither AA nor RA, and NS records */
	struct wire records; /* begins with the answer section */
	unsigned nanswer, nauthority, nadditional;
};

/* A TTL above 2^31 - 1 is one of 0 (RFC 2181 section 8). */
static void
limit_ttl(struct dns_answer *answer, uint32_t ttl_s)
{
	if (ttl_s > INT32_MAX)
		ttl_s = 0;
	if (ttl_s < answer->ttl_s)
		answer->ttl_s = ttl_s;
}

/* What the answer section has for one owner. */
struct finding {
	bool is_malformed; /* or has more TLSA records than can be kept */
	bool is_alias;
	struct dns_name target;
};

static void
read_record(struct wire *w, struct record *record)
{
	const unsigned char *data;
	size_t n;

	dns_name_read(w, &record->owner);
	record->type = wire_u16(w);
	record->class = wire_u16(w);
	record->ttl = wire_u32(w);
	n = wire_u16(w);
	data = wire_bytes(w, n);
	record->data = *w;
	if (data != NULL) {
		record->data.at = data;
		record->data.end = data + n;
	}
}

/* Reads a name that must fill the rest of the data. */
static bool
read_last_name(struct wire data, struct dns_name *name)
{
	dns_name_read(&data, name);
	return !data.bad && wire_left(&data) == 0;
}

/* Reads header and question.  False if it is not an answer to this question. */
static bool
read_head(struct message *m, struct wire *w, const struct dns_name *asked,
    int type)
{
	struct dns_name name;
	unsigned flags, nquestion;

	(void)wire_u16(w); /* the transport has compared the ID */
	flags = wire_u16(w);
	nquestion = wire_u16(w);
	m->nanswer = wire_u16(w);
	m->nauthority = wire_u16(w);
	m->nadditional = wire_u16(w);
	if (w->bad || (flags & FLAG_QR) == 0 || (flags & OPCODE_MASK) != 0 ||
	    nquestion != 1)
		return false;
	dns_name_read(w, &name);
	if (wire_u16(w) != type || wire_u16(w) != CLASS_IN || w->bad ||
	    !dns_name_equal(&name, asked))
		return false;

	m->records = *w;
	m->rcode = flags & RCODE_MASK;
	m->is_truncated = (flags & FLAG_TC) != 0;
	m->is_authentic = (flags & FLAG_AD) != 0;
	m->is_referral = (flags & (FLAG_AA | FLAG_RA)) == 0;
	return true;
}

/*
 * Reads all records once, so that later readers find them complete.  False if
 * they are not.
 */
static bool
read_records(struct message *m, struct wire *w)
{
	unsigned nother = m->nanswer + m->nauthority, i;
	bool has_ns = false;
	struct record record;

	for (i = 0; i < nother + m->nadditional && !w->bad; i++) {
		read_record(w, &record);
		if (i >= m->nanswer && i < nother && record.type == TYPE_NS)
			has_ns = true;
		if (i >= nother && record.type == TYPE_OPT)
			m->rcode |= (record.ttl >> 24) << 4;
	}
	m->is_referral = m->is_referral && has_ns;
	return !w->bad && wire_left(w) == 0;
}

/* Makes room for one more record behind n of them. */
static void *
make_room(void *records, size_t n, size_t size)
{
	return (n & (n - 1)) == 0
		   ? mem_resize(records, n == 0 ? 1 : 2 * n, size)
		   : records;
}

/*
 * The place for a record.  If there are too many, the best ones are kept: NULL
 * if this one is not among them.
 */
static struct dns_mx *
place_mx(struct dns_answer *answer, unsigned preference)
{
	struct dns_mx *worst = answer->mx;
	size_t n = answer->nmx, i;

	if (n < DNS_MX_MAX) {
		answer->mx = make_room(answer->mx, n, sizeof *answer->mx);
		answer->nmx++;
		return &answer->mx[n];
	}
	for (i = 1; i < n; i++)
		if (answer->mx[i].preference >= worst->preference)
			worst = &answer->mx[i];
	return preference < worst->preference ? worst : NULL;
}

static void
note_mx(struct dns_answer *answer, struct finding *found, struct wire data)
{
	struct dns_name name;
	struct dns_mx *mx;
	unsigned preference;

	if (wire_left(&data) < 3)
		return;
	preference = wire_u16(&data);
	if (!read_last_name(data, &name)) {
		found->is_malformed = true;
		return;
	}
	mx = place_mx(answer, preference);
	if (mx == NULL)
		return;
	mx->preference = (uint16_t)preference;
	dns_name_to_text(&name, mx->name);
}

static void
note_ip(struct dns_answer *answer, struct ip ip)
{
	if (answer->nip == DNS_IP_MAX)
		return;
	answer->ip = make_room(answer->ip, answer->nip, sizeof *answer->ip);
	answer->ip[answer->nip++] = ip;
}

/*
 * RFC 6698 section 2.1.  If one of them were left out, the others could demand
 * less than all of them do.
 */
static void
note_tlsa(struct dns_answer *answer, struct finding *found, struct wire data)
{
	uint8_t usage = wire_u8(&data), selector = wire_u8(&data);
	uint8_t matching = wire_u8(&data);

	if (data.bad || !tlsa_add(&answer->tlsa, usage, selector, matching,
			    data.at, wire_left(&data)))
		found->is_malformed = true;
}

/* Joins the character-strings, one or more (RFC 1035 section 3.3.14). */
static bool
read_text(struct wire data, struct buf *text)
{
	const unsigned char *string;
	size_t n;

	do {
		n = wire_u8(&data);
		string = wire_bytes(&data, n);
		if (string != NULL)
			buf_append(text, string, n);
	} while (!data.bad && wire_left(&data) > 0);
	return !data.bad;
}

static void
note_text(struct dns_answer *answer, struct finding *found, struct wire data)
{
	struct buf text = { 0 };

	if (!read_text(data, &text))
		found->is_malformed = true;
	if (found->is_malformed || answer->ntext == DNS_TEXT_MAX ||
	    text.len > DNS_TEXT_SIZE_MAX) {
		buf_finish(&text);
		return;
	}
	answer->text =
	    make_room(answer->text, answer->ntext, sizeof *answer->text);
	answer->text[answer->ntext++] = text;
}

/* Stores the data of the record; ignores data that cannot be used. */
static void
note_record(struct dns_answer *answer, struct finding *found,
    const struct record *record)
{
	size_t n = wire_left(&record->data);

	if (record->type == DNS_A && n == 4)
		note_ip(answer, ip_from_v4(record->data.at));
	else if (record->type == DNS_AAAA && n == 16)
		note_ip(answer, ip_from_v6(record->data.at));
	else if (record->type == DNS_MX)
		note_mx(answer, found, record->data);
	else if (record->type == DNS_TLSA)
		note_tlsa(answer, found, record->data);
	else if (record->type == DNS_TXT)
		note_text(answer, found, record->data);
}

static void
note_alias(struct finding *found, const struct record *record)
{
	/* A name has one CNAME (RFC 1034 section 3.6.2): the first counts. */
	if (found->is_alias)
		return;
	found->is_alias = true;
	if (!read_last_name(record->data, &found->target))
		found->is_malformed = true;
}

/* Collects the owner's records of the type from the answer section. */
static struct finding
collect(struct dns_answer *answer, const struct message *m,
    const struct dns_name *owner, unsigned type)
{
	struct finding found = { 0 };
	struct wire w = m->records;
	struct record record;
	unsigned i;

	for (i = 0; i < m->nanswer && !found.is_malformed; i++) {
		read_record(&w, &record);
		if (record.class != CLASS_IN ||
		    !dns_name_equal(&record.owner, owner))
			continue;
		if (record.type == DNS_CNAME)
			note_alias(&found, &record);
		else if (record.type == type)
			note_record(answer, &found, &record);
		else
			continue;
		limit_ttl(answer, record.ttl);
	}
	return found;
}

/*
 * May this record be in the answer section of a denial for the owner?  Allowed
 * are the aliases that led to the owner, counted by the caller, and the DNAMEs
 * that they were made from (RFC 6672 section 3.1), but no alias that leads on.
 * Without aliases the section is empty.
 */
static bool
fits_denial(const struct record *record, const struct dns_name *owner,
    unsigned *aliases)
{
	if (record->class != CLASS_IN)
		return false;
	if (record->type == DNS_CNAME)
		return (*aliases)-- > 0;
	return record->type == TYPE_DNAME &&
	       !dns_name_is_within(owner, &record->owner);
}

/* A SOA record says how long a denial is valid (RFC 2308 section 5). */
static void
note_soa(struct dns_answer *answer, const struct record *record)
{
	struct wire minimum = record->data;

	limit_ttl(answer, record->ttl);
	if (wire_left(&minimum) >= 4)
		minimum.at = minimum.end - 4;
	limit_ttl(answer, wire_u32(&minimum));
}

/* Does the message say that the owner has no records of the type? */
static bool
is_denial(struct dns_answer *answer, const struct message *m,
    const struct dns_name *owner, unsigned type, unsigned aliases)
{
	bool is_alias = aliases > 0, has_soa = false;
	struct wire w = m->records;
	struct record record;
	unsigned i;

	for (i = 0; i < m->nanswer + m->nauthority + m->nadditional; i++) {
		read_record(&w, &record);
		if (i < m->nanswer &&
		    (!is_alias || !fits_denial(&record, owner, &aliases)))
			return false;
		if (record.type == type && dns_name_equal(&record.owner, owner))
			return false;
		if (i >= m->nanswer && i < m->nanswer + m->nauthority &&
		    record.type == TYPE_SOA &&
		    dns_name_is_within(owner, &record.owner)) {
			has_soa = true;
			note_soa(answer, &record);
		}
	}
	if (!has_soa && !is_alias)
		answer->ttl_s = 0;
	return has_soa || !is_alias;
}

/*
 * The result for an answer without records for the owner, which the aliases led
 * to.
 */
static enum dns_reply
conclude(struct dns_answer *answer, const struct message *m,
    const struct dns_name *owner, unsigned type, unsigned aliases)
{
	bool is_denied = is_denial(answer, m, owner, type, aliases);

	if (is_denied && m->rcode == RCODE_NXDOMAIN)
		answer->outcome = DNS_NXDOMAIN;
	else if (is_denied && !m->is_referral)
		answer->outcome = DNS_NODATA;
	else if (aliases > 0)
		return DNS_REPLY_ALIAS;
	return answer->outcome == DNS_TEMPFAIL ? DNS_REPLY_FAILED
					       : DNS_REPLY_FINAL;
}

static bool
has_records(const struct dns_answer *answer)
{
	return answer->nmx + answer->nip + answer->tlsa.n + answer->ntext > 0;
}

static void
set_target(struct dns_answer *answer, const struct dns_name *target)
{
	answer->is_alias = true;
	dns_name_to_text(target, answer->canonical);
}

static enum dns_reply
follow(struct dns_answer *answer, const struct message *m,
    const struct dns_name *asked, unsigned type)
{
	struct dns_name owner = *asked;
	struct finding found;
	unsigned aliases;
	bool is_target; /* the alias is what was asked for */

	for (aliases = 0; aliases <= ALIAS_MAX; aliases++) {
		found = collect(answer, m, &owner, type);
		if (found.is_malformed)
			break;
		is_target = found.is_alias && type == DNS_CNAME;
		if (has_records(answer) || is_target) {
			/* An error code contradicts the records. */
			if (m->rcode != 0)
				break;
			if (is_target)
				set_target(answer, &found.target);
			answer->outcome = DNS_FOUND;
			return DNS_REPLY_FINAL;
		}
		if (!found.is_alias)
			return conclude(answer, m, &owner, type, aliases);
		owner = found.target;
		set_target(answer, &owner);
	}
	return DNS_REPLY_FAILED;
}

enum dns_reply
dns_answer_parse(struct dns_answer *answer, const char *name, int type,
    const unsigned char *bytes, size_t n)
{
	struct message m;
	struct dns_name asked;
	struct wire w;
	enum dns_reply reply = DNS_REPLY_FAILED;

	*answer =
	    (struct dns_answer){ .outcome = DNS_TEMPFAIL, .ttl_s = INT32_MAX };
	wire_init(&w, bytes, n);
	if (!dns_name_from_text(&asked, name) ||
	    !read_head(&m, &w, &asked, type))
		return DNS_REPLY_FAILED;
	if (m.is_truncated)
		return DNS_REPLY_TRUNCATED;
	if (!read_records(&m, &w))
		return DNS_REPLY_FAILED;
	if (m.is_authentic)
		answer->security = DNS_SECURE;
	if (m.rcode == 0 || m.rcode == RCODE_NXDOMAIN)
		reply = follow(answer, &m, &asked, (unsigned)type);
	if (answer->outcome == DNS_TEMPFAIL)
		dns_answer_finish(answer);
	return reply;
}

void
dns_answer_finish(struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->ntext; i++)
		buf_finish(&answer->text[i]);
	free(answer->text);
	free(answer->mx);
	free(answer->ip);
	tlsa_finish(&answer->tlsa);
	answer->text = NULL;
	answer->mx = NULL;
	answer->ip = NULL;
	answer->nmx = answer->nip = answer->ntext = 0;
}

static size_t
put_u16(unsigned char *at, unsigned value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
	return 2;
}

/* Its owner is the root (RFC 6891 section 6.1.2); no flags, no data. */
static size_t
put_opt(unsigned char *at)
{
	memset(at, 0, 11);
	put_u16(at + 1, TYPE_OPT);
	put_u16(at + 3, DNS_UDP_SIZE);
	return 11;
}

size_t
dns_question_write(unsigned char *packet, const char *text, int type,
    uint16_t id, unsigned with)
{
	struct dns_name name;
	size_t n = 0;

	if (!dns_name_from_text(&name, text))
		return 0;
	n += put_u16(packet + n, id);
	n += put_u16(packet + n, FLAG_RD | (with & DNS_AD ? FLAG_AD : 0));
	n += put_u16(packet + n, 1); /* question */
	n += put_u16(packet + n, 0); /* answer */
	n += put_u16(packet + n, 0); /* authority */
	n += put_u16(packet + n, (with & DNS_EDNS) != 0);

	memcpy(packet + n, name.byte, name.len);
	n += name.len;
	n += put_u16(packet + n, (unsigned)type);
	n += put_u16(packet + n, CLASS_IN);
	if (with & DNS_EDNS)
		n += put_opt(packet + n);
	return n;
}
