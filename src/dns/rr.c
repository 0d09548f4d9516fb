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
	bool is_truncated;
	bool is_authentic;
	bool is_referral;    /* "ask those", from a server that does not */
	struct wire records; /* at the first one of the answer section */
	unsigned nanswer, nauthority, nadditional;
};

/* What one owner has in the answer section. */
struct finding {
	bool is_malformed;
	bool is_alias;
	struct name target;
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

/* Is it the zone's own name, or a name below it? */
static bool
name_is_within(const struct name *name, const struct name *zone)
{
	size_t at = 0;

	while (name->len - at > zone->len)
		at += name->byte[at] + 1u;
	return name->len - at == zone->len &&
	       str_case_equal((const char *)name->byte + at,
		   (const char *)zone->byte, zone->len);
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

/* Reads header and question.  False when the message is no answer to it. */
static bool
read_head(struct message *m, struct wire *w, const struct name *asked, int type)
{
	struct name name;
	unsigned flags, nquestion;

	(void)wire_u16(w); /* the ID was the resolver's to compare */
	flags = wire_u16(w);
	nquestion = wire_u16(w);
	m->nanswer = wire_u16(w);
	m->nauthority = wire_u16(w);
	m->nadditional = wire_u16(w);
	if (w->bad || (flags & FLAG_QR) == 0 || (flags & OPCODE_MASK) != 0 ||
	    nquestion != 1)
		return false;
	read_name(w, &name);
	if (wire_u16(w) != type || wire_u16(w) != CLASS_IN || w->bad ||
	    !name_equal(&name, asked))
		return false;

	m->records = *w;
	m->rcode = flags & RCODE_MASK;
	m->is_truncated = (flags & FLAG_TC) != 0;
	m->is_authentic = (flags & FLAG_AD) != 0;
	m->is_referral = (flags & (FLAG_AA | FLAG_RA)) == 0;
	return true;
}

/*
 * Reads all records once, so that whoever reads them again finds them whole.
 * False when they are not.
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

/* Room for one more record behind n of them. */
static void *
make_room(void *records, size_t n, size_t size)
{
	return (n & (n - 1)) == 0
		   ? mem_resize(records, n == 0 ? 1 : 2 * n, size)
		   : records;
}

/* Of too many records the best are kept. */
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
	struct name name;
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
	name_to_text(&name, mx->name);
}

static void
note_ip(struct dns_answer *answer, struct ip ip)
{
	if (answer->nip == DNS_IP_MAX)
		return;
	answer->ip = make_room(answer->ip, answer->nip, sizeof *answer->ip);
	answer->ip[answer->nip++] = ip;
}

/* Takes what the record has; nothing if its data cannot be used. */
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
	struct wire w = m->records;
	struct record record;
	unsigned i;

	for (i = 0; i < m->nanswer && !found.is_malformed; i++) {
		read_record(&w, &record);
		if (record.class != CLASS_IN ||
		    !name_equal(&record.owner, owner))
			continue;
		if (record.type == type)
			note_record(answer, &found, &record);
		else if (record.type == DNS_CNAME)
			note_alias(&found, &record);
	}
	return found;
}

/*
 * May this record be in an answer section that has nothing for the owner?  Of
 * aliases those that led to it, which the caller counts, and the DNAMEs that
 * they were made from (RFC 6672 section 3.1), but none that leads on.
 * Without aliases it is empty.
 */
static bool
fits_denial(const struct record *record, const struct name *owner,
    unsigned *aliases)
{
	if (record->class != CLASS_IN)
		return false;
	if (record->type == DNS_CNAME)
		return (*aliases)-- > 0;
	return record->type == TYPE_DNAME &&
	       !name_is_within(owner, &record->owner);
}

/* Does the message say that there are no records of the type? */
static bool
is_denial(const struct message *m, const struct name *owner, unsigned type,
    unsigned aliases)
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
		if (record.type == type && name_equal(&record.owner, owner))
			return false;
		if (i >= m->nanswer && i < m->nanswer + m->nauthority &&
		    record.type == TYPE_SOA &&
		    name_is_within(owner, &record.owner))
			has_soa = true;
	}
	return has_soa || !is_alias;
}

/* What to make of an answer without records for what the aliases led to. */
static enum dns_reply
conclude(struct dns_answer *answer, const struct message *m,
    const struct name *owner, unsigned type, unsigned aliases)
{
	bool is_denied = is_denial(m, owner, type, aliases);

	if (is_denied && m->rcode == RCODE_NXDOMAIN)
		answer->outcome = DNS_NXDOMAIN;
	else if (is_denied && !m->is_referral)
		answer->outcome = DNS_NODATA;
	else if (aliases > 0)
		return DNS_REPLY_ALIAS;
	return answer->outcome == DNS_TEMPFAIL ? DNS_REPLY_FAILED
					       : DNS_REPLY_FINAL;
}

static enum dns_reply
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
		if (answer->nmx + answer->nip > 0) {
			/* There are records, and there is no such name? */
			if (m->rcode != 0)
				break;
			answer->outcome = DNS_FOUND;
			return DNS_REPLY_FINAL;
		}
		if (!found.is_alias)
			return conclude(answer, m, &owner, type, aliases);
		owner = found.target;
		answer->is_alias = true;
		name_to_text(&owner, answer->canonical);
	}
	return DNS_REPLY_FAILED;
}

enum dns_reply
dns_answer_parse(struct dns_answer *answer, const char *name, int type,
    const unsigned char *bytes, size_t n)
{
	struct message m;
	struct name asked;
	struct wire w;
	enum dns_reply reply = DNS_REPLY_FAILED;

	*answer = (struct dns_answer){ .outcome = DNS_TEMPFAIL };
	wire_init(&w, bytes, n);
	if (!name_from_text(&asked, name) || !read_head(&m, &w, &asked, type))
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
	free(answer->mx);
	free(answer->ip);
	answer->mx = NULL;
	answer->ip = NULL;
	answer->nmx = answer->nip = 0;
}

bool
dns_name_is_valid(const char *text)
{
	struct name name;

	return name_from_text(&name, text);
}

bool
dns_name_is_askable(const char *name)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++)
		if (!str_is_alnum(name[i]) && strchr("-_./*", name[i]) == NULL)
			return false;
	return i > 0;
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
