/* SPDX-License-Identifier: ISC */
#include "dns/rr.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/wire.h"

#define HEADER_SIZE 12
#define CLASS_IN 1
#define TYPE_NS 2
#define TYPE_OPT 41

#define FLAG_QR 0x8000
#define FLAG_AA 0x0400
#define FLAG_TC 0x0200
#define FLAG_RD 0x0100
#define FLAG_RA 0x0080
#define FLAG_AD 0x0020
#define OPCODE_MASK 0x7800
#define RCODE_MASK 0x000f
#define RCODE_FORMERR 1
#define RCODE_NXDOMAIN 3
#define RCODE_BADVERS 16

#define LABEL_MAX 63
#define TEXT_MAX 253
#define ALIAS_MAX 16

/* A name of 255 bytes has no more labels: more pointers serve no purpose. */
#define POINTER_MAX 127

/* A name as on the wire, but for compression: labels, the root's too. */
struct name {
	unsigned char byte[255];
	size_t len;
};

struct record {
	struct name owner;
	unsigned type;
	unsigned class;
	uint32_t ttl;
	struct wire
	    data; /* ends where the data ends, starts with the message */
};

struct message {
	unsigned rcode; /* all 12 bits of it (RFC 6891 section 6.1.3) */
	bool is_authentic;
	bool is_referral; /* "ask those", from a server that does not itself */
	bool has_edns;
	struct wire answer; /* at the first record of the answer section */
	unsigned nanswer;
};

/* What one owner has in the answer section. */
struct finding {
	bool is_malformed;
	bool is_alias;
	struct name target;
	bool has_unusable; /* records of the type asked that were left out */
};

static bool
name_from_text(struct name *name, const char *text)
{
	size_t len = strlen(text), n;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len > TEXT_MAX)
		return false;
	name->len = 0;
	/* The root is no label at all; a lone dot is an empty label. */
	while (text[0] != '\0') {
		for (n = 0; n < len && text[n] != '.'; n++)
			;
		if (n == 0 || n > LABEL_MAX)
			return false;
		name->byte[name->len++] = (unsigned char)n;
		memcpy(name->byte + name->len, text, n);
		name->len += n;
		if (n == len)
			break;
		text += n + 1;
		len -= n + 1;
	}
	name->byte[name->len++] = 0;
	return true;
}

static size_t
escape(char *out, unsigned char c)
{
	if (c == '.' || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	if (c > 32 && c < 127) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = (char)('0' + c / 100);
	out[2] = (char)('0' + c / 10 % 10);
	out[3] = (char)('0' + c % 10);
	return 4;
}

static void
name_to_text(const struct name *name, char *text)
{
	char whole[4 * sizeof name->byte];
	const unsigned char *label = name->byte;
	size_t n = 0, i;

	for (; label[0] != 0; label += label[0] + 1) {
		if (n > 0)
			whole[n++] = '.';
		for (i = 1; i <= label[0]; i++)
			n += escape(whole + n, label[i]);
	}
	whole[n] = '\0';
	/* Cut, it could pass for another name. */
	(void)str_copy(text, DNS_NAME_SIZE, n < DNS_NAME_SIZE ? whole : "?");
}

/* ASCII case does not matter; lengths of labels are below all letters. */
static bool
name_equal(const struct name *a, const struct name *b)
{
	return a->len == b->len && str_case_equal((const char *)a->byte,
				       (const char *)b->byte, a->len);
}

/*
 * Goes where a compression pointer points, which must be before the place
 * where the labels read so far began: so every chain of pointers ends.
 */
static void
jump(struct wire *w, size_t offset, const unsigned char **began)
{
	if (w->bad || offset < HEADER_SIZE ||
	    offset >= (size_t)(*began - w->start)) {
		w->bad = true;
		return;
	}
	*began = w->at = w->start + offset;
}

/* Appends a label of n bytes if a root label can still follow. */
static void
read_label(struct wire *w, struct name *name, size_t n)
{
	const unsigned char *label = wire_bytes(w, n);

	if (label == NULL || n > LABEL_MAX ||
	    name->len + 1 + n + 1 > sizeof name->byte) {
		w->bad = true;
		return;
	}
	name->byte[name->len++] = (unsigned char)n;
	memcpy(name->byte + name->len, label, n);
	name->len += n;
}

static void
read_name(struct wire *w, struct name *name)
{
	const unsigned char *began = w->at, *after = NULL;
	unsigned n, offset, pointers = 0;

	name->len = 0;
	while ((n = wire_u8(w)) != 0) {
		if ((n & 0xc0) == 0xc0) {
			offset = (n & 0x3f) << 8 | wire_u8(w);
			if (after == NULL)
				after = w->at;
			jump(w, offset, &began);
			if (++pointers > POINTER_MAX)
				w->bad = true;
		} else {
			read_label(w, name, n);
		}
	}
	/* Bad reads give zero: the loop ends with them, on a whole name. */
	name->byte[name->len++] = 0;
	if (after != NULL && !w->bad)
		w->at = after;
}

static void
read_record(struct wire *w, struct record *record)
{
	const unsigned char *data;
	size_t n;

	read_name(w, &record->owner);
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

/* A name that fills the rest of the data. */
static bool
read_last_name(struct wire data, struct name *name)
{
	read_name(&data, name);
	return !data.bad && wire_left(&data) == 0;
}

/*
 * Reads header and question, and all records once, so that whoever reads
 * them again finds them whole.  False when the message is no answer.
 */
static bool
read_message(struct message *m, const struct name *asked, int type,
    const unsigned char *bytes, size_t n)
{
	struct wire w;
	struct record record;
	struct name name;
	unsigned flags, nquestion, nother, nadditional, i;

	wire_init(&w, bytes, n);
	(void)wire_u16(&w); /* the ID was the resolver's to compare */
	flags = wire_u16(&w);
	nquestion = wire_u16(&w);
	m->nanswer = wire_u16(&w);
	nother = wire_u16(&w);
	nadditional = wire_u16(&w);
	if (w.bad || (flags & FLAG_QR) == 0 || (flags & OPCODE_MASK) != 0 ||
	    (flags & FLAG_TC) != 0 || nquestion != 1)
		return false;

	read_name(&w, &name);
	if (wire_u16(&w) != type || wire_u16(&w) != CLASS_IN || w.bad ||
	    !name_equal(&name, asked))
		return false;

	m->rcode = flags & RCODE_MASK;
	m->is_authentic = (flags & FLAG_AD) != 0;
	m->is_referral = m->has_edns = false;
	m->answer = w;
	nother += m->nanswer;
	for (i = 0; i < nother + nadditional && !w.bad; i++) {
		read_record(&w, &record);
		if (i >= m->nanswer && i < nother && record.type == TYPE_NS &&
		    (flags & (FLAG_AA | FLAG_RA)) == 0)
			m->is_referral = true;
		if (i < nother || record.type != TYPE_OPT)
			continue;
		m->has_edns = true;
		m->rcode |= (record.ttl >> 24) << 4;
	}
	return !w.bad && wire_left(&w) == 0;
}

/* The place for one more record; of too many MX the worst gives way. */
static struct dns_rr *
place(struct dns_answer *answer, const struct dns_rr *rr)
{
	struct dns_rr *worst = answer->rr;
	size_t n = answer->nrr, i;

	if (n < DNS_RR_MAX) {
		if ((n & (n - 1)) == 0)
			answer->rr = mem_resize(answer->rr, n == 0 ? 1 : 2 * n,
			    sizeof *answer->rr);
		answer->nrr++;
		return &answer->rr[n];
	}
	for (i = 1; i < n; i++)
		if (answer->rr[i].preference >= worst->preference)
			worst = &answer->rr[i];
	return rr->preference < worst->preference ? worst : NULL;
}

/* Reads the data of an A, AAAA or MX record; false: not a usable one. */
static bool
read_data(struct dns_rr *rr, unsigned type, struct wire data, bool *malformed)
{
	struct name name;
	size_t n = wire_left(&data);

	memset(rr, 0, sizeof *rr);
	if (type == DNS_A && n == 4) {
		rr->ip = ip_from_v4(data.at);
		return true;
	}
	if (type == DNS_AAAA && n == 16) {
		rr->ip = ip_from_v6(data.at);
		return true;
	}
	if (type != DNS_MX || n < 3)
		return false;
	rr->preference = wire_u16(&data);
	if (!read_last_name(data, &name)) {
		*malformed = true;
		return false;
	}
	name_to_text(&name, rr->name);
	return true;
}

static void
note_record(struct dns_answer *answer, struct finding *found,
    const struct record *record)
{
	struct dns_rr rr, *kept;

	if (!read_data(&rr, record->type, record->data, &found->is_malformed)) {
		found->has_unusable = true;
		return;
	}
	kept = place(answer, &rr);
	if (kept != NULL)
		*kept = rr;
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

/* Takes the owner's records of the type out of the answer section. */
static struct finding
collect(struct dns_answer *answer, const struct message *m,
    const struct name *owner, unsigned type)
{
	struct finding found = { 0 };
	struct wire w = m->answer;
	struct record record;
	unsigned i;

	for (i = 0; i < m->nanswer && !found.is_malformed; i++) {
		read_record(&w, &record);
		if (record.class != CLASS_IN)
			continue;
		if (!name_equal(&record.owner, owner)) {
			if (record.type == type)
				found.has_unusable = true;
		} else if (record.type == type) {
			note_record(answer, &found, &record);
		} else if (record.type == DNS_CNAME) {
			note_alias(&found, &record);
		}
	}
	return found;
}

static enum dns_outcome
follow(struct dns_answer *answer, const struct message *m,
    const struct name *asked, unsigned type)
{
	struct name owner = *asked;
	struct finding found;
	unsigned aliases;

	for (aliases = 0; aliases <= ALIAS_MAX; aliases++) {
		found = collect(answer, m, &owner, type);
		if (found.is_malformed)
			break;
		if (answer->nrr > 0)
			return DNS_FOUND;
		/*
		 * Permanent failure needs a genuine "no data": records that
		 * are there and cannot be used are none.
		 */
		if (!found.is_alias)
			return found.has_unusable ? DNS_TEMPFAIL : DNS_NODATA;
		answer->is_alias = true;
		owner = found.target;
	}
	return DNS_TEMPFAIL;
}

void
dns_answer_parse(struct dns_answer *answer, const char *name, int type,
    const unsigned char *bytes, size_t n)
{
	struct message m;
	struct name asked;

	*answer = (struct dns_answer){ .outcome = DNS_TEMPFAIL };
	if (!name_from_text(&asked, name) ||
	    !read_message(&m, &asked, type, bytes, n))
		return;
	if (m.is_authentic)
		answer->security = DNS_SECURE;
	answer->refuses_edns = m.rcode == RCODE_BADVERS ||
			       (m.rcode == RCODE_FORMERR && !m.has_edns);
	if (m.rcode == RCODE_NXDOMAIN)
		answer->outcome = DNS_NXDOMAIN;
	else if (m.rcode == 0)
		answer->outcome = follow(answer, &m, &asked, (unsigned)type);
	/* "Ask somebody else" denies nothing. */
	if (answer->outcome == DNS_NODATA && m.is_referral)
		answer->outcome = DNS_TEMPFAIL;
	if (answer->outcome == DNS_TEMPFAIL)
		dns_answer_finish(answer);
}

void
dns_answer_finish(struct dns_answer *answer)
{
	free(answer->rr);
	answer->rr = NULL;
	answer->nrr = 0;
}

static size_t
put_u16(unsigned char *at, unsigned value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
	return 2;
}

/* It belongs to the root (RFC 6891 section 6.1.2); no flags, no data. */
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
    uint16_t id, bool with_edns)
{
	struct name name;
	size_t n = 0;

	if (!name_from_text(&name, text))
		return 0;
	n += put_u16(packet + n, id);
	n += put_u16(packet + n, FLAG_RD | FLAG_AD);
	n += put_u16(packet + n, 1); /* question */
	n += put_u16(packet + n, 0); /* answer */
	n += put_u16(packet + n, 0); /* authority */
	n += put_u16(packet + n, with_edns);

	memcpy(packet + n, name.byte, name.len);
	n += name.len;
	n += put_u16(packet + n, (unsigned)type);
	n += put_u16(packet + n, CLASS_IN);
	if (with_edns)
		n += put_opt(packet + n);
	return n;
}
