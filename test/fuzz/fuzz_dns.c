/* SPDX-License-Identifier: ISC */

/*
 * DNS answers.  A record that is found must be found by the C library's parser
 * too, and a message that the C library refuses never has a permanent result.
 */

#define _DEFAULT_SOURCE

#include <sys/types.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "dns/message.h"

#include "fuzz.h"

static const char long_name[] =
    "a23456789012345678901234567890123456789012345678901234567890123."
    "b23456789012345678901234567890123456789012345678901234567890123."
    "c23456789012345678901234567890123456789012345678901234567890123."
    "d234567890123456789012345678901234567890123456789012345678901";

static const struct {
	const char *name;
	int type;
} questions[] = {
	{ "example.org", DNS_MX },
	{ "example.org", DNS_A },
	{ "example.org", DNS_AAAA },
	{ "", DNS_MX },
	{ "a", DNS_A },
	{ long_name, DNS_MX },
	{ "mx.example.org.", DNS_AAAA },
	{ "Example.ORG", DNS_MX },
	{ "_25._tcp.mx.example.org", DNS_TLSA },
	{ "a", DNS_TLSA },
	{ "_mta-sts.example.org", DNS_TXT },
	{ "_smtp._tls.example.org", DNS_TXT },
	{ "a", DNS_TXT },
	{ "mx.example.org", DNS_CNAME },
	{ "a", DNS_CNAME },
	{ "", DNS_TXT },
};

/* Is there an MX record of this preference in the answer section? */
static bool
has_mx(ns_msg *message, const struct dns_mx *mx)
{
	for (int i = 0; i < ns_msg_count(*message, ns_s_an); i++) {
		const unsigned char *data;
		ns_rr record;

		if (ns_parserr(message, ns_s_an, i, &record) == -1 ||
		    ns_rr_type(record) != ns_t_mx || ns_rr_rdlen(record) < 3)
			continue;
		data = ns_rr_rdata(record);
		if ((data[0] << 8 | data[1]) == mx->preference)
			return true;
	}
	return false;
}

static bool
has_ip(ns_msg *message, int type, const struct ip *ip)
{
	for (int i = 0; i < ns_msg_count(*message, ns_s_an); i++) {
		const unsigned char *data;
		struct ip found;
		ns_rr record;

		if (ns_parserr(message, ns_s_an, i, &record) == -1 ||
		    (int)ns_rr_type(record) != type ||
		    ns_rr_rdlen(record) != (type == DNS_A ? 4 : 16))
			continue;
		data = ns_rr_rdata(record);
		found = type == DNS_A ? ip_from_v4(data) : ip_from_v6(data);
		if (ip_equal(&found, ip))
			return true;
	}
	return false;
}

/* Does a record of the answer section have this data, with strings joined? */
static bool
has_data(ns_msg *message, int type, const unsigned char *data, size_t n)
{
	for (int i = 0; i < ns_msg_count(*message, ns_s_an); i++) {
		struct buf joined = { 0 };
		const unsigned char *at;
		size_t left, len;
		ns_rr record;
		bool is_equal;

		if (ns_parserr(message, ns_s_an, i, &record) == -1 ||
		    (int)ns_rr_type(record) != type)
			continue;
		at = ns_rr_rdata(record);
		left = ns_rr_rdlen(record);
		if (type == DNS_TLSA)
			buf_append(&joined, at, left);
		while (type == DNS_TXT && left > 0) {
			len = *at < left ? *at : left - 1;
			buf_append(&joined, at + 1, len);
			at += len + 1;
			left -= len + 1;
		}
		is_equal =
		    joined.len == n && memcmp(buf_text(&joined), data, n) == 0;
		buf_finish(&joined);
		if (is_equal)
			return true;
	}
	return false;
}

static void
check_tlsa(ns_msg *message, const struct tlsa_set *set)
{
	CHECK(set->n <= TLSA_RECORDS_MAX && set->data.len <= TLSA_BYTES_MAX);
	for (size_t i = 0; i < set->n; i++) {
		const struct tlsa *r = &set->record[i];
		struct buf data = { 0 };

		CHECK(r->at <= set->data.len && r->n <= set->data.len - r->at);
		buf_putc(&data, (char)r->usage);
		buf_putc(&data, (char)r->selector);
		buf_putc(&data, (char)r->matching);
		buf_append(&data, tlsa_data(set, i), r->n);
		CHECK(has_data(message, DNS_TLSA,
		    (const unsigned char *)buf_text(&data), data.len));
		buf_finish(&data);
	}
}

static void
check_texts(ns_msg *message, const struct dns_answer *answer)
{
	CHECK(answer->ntext <= DNS_TEXT_MAX);
	for (size_t i = 0; i < answer->ntext; i++) {
		const struct buf *text = &answer->text[i];

		CHECK(text->len <= DNS_TEXT_SIZE_MAX);
		CHECK(buf_text(text)[text->len] == '\0');
		CHECK(has_data(message, DNS_TXT,
		    (const unsigned char *)buf_text(text), text->len));
	}
}

static void
check_name(const char *name)
{
	CHECK(memchr(name, '\0', DNS_NAME_SIZE));
	for (; *name; name++)
		CHECK(*name > ' ' && *name <= '~');
}

static void
check_answer(const struct dns_answer *answer, enum dns_reply reply, int type,
    const unsigned char *packet, size_t n)
{
	size_t nrecord =
	    answer->nmx + answer->nip + answer->tlsa.n + answer->ntext;
	ns_msg message;

	if (type == DNS_CNAME) {
		CHECK(nrecord == 0 && reply != DNS_REPLY_ALIAS);
		CHECK(answer->is_alias == (answer->outcome == DNS_FOUND));
	} else {
		CHECK((nrecord > 0) == (answer->outcome == DNS_FOUND));
	}
	CHECK(type == DNS_TLSA || answer->tlsa.n == 0);
	CHECK(type == DNS_TXT || answer->ntext == 0);
	CHECK(answer->nmx <= DNS_MX_MAX && (answer->mx || !answer->nmx));
	CHECK(answer->nip <= DNS_IP_MAX && (answer->ip || !answer->nip));
	CHECK((answer->outcome != DNS_TEMPFAIL) == (reply == DNS_REPLY_FINAL));
	CHECK(answer->is_alias || answer->canonical[0] == '\0');
	check_name(answer->canonical);
	CHECK(answer->ttl_s <= INT32_MAX);
	if (answer->security == DNS_SECURE)
		CHECK(n >= 12 && packet[3] & 0x20);
	if (reply == DNS_REPLY_TRUNCATED)
		CHECK(n >= 12 && packet[2] & 0x02);
	if (reply == DNS_REPLY_ALIAS)
		CHECK(answer->is_alias);
	if (reply != DNS_REPLY_FINAL)
		return;
	CHECK(ns_initparse(packet, (int)n, &message) == 0);
	CHECK(ns_msg_getflag(message, ns_f_qr));
	CHECK(!ns_msg_getflag(message, ns_f_tc));
	CHECK((ns_msg_getflag(message, ns_f_rcode) == ns_r_nxdomain) ==
	      (answer->outcome == DNS_NXDOMAIN));
	/* A message with records other than aliases denies nothing. */
	if (answer->outcome != DNS_FOUND && !answer->is_alias)
		CHECK(ns_msg_count(message, ns_s_an) == 0);
	for (size_t i = 0; i < answer->nmx; i++) {
		check_name(answer->mx[i].name);
		CHECK(has_mx(&message, &answer->mx[i]));
	}
	for (size_t i = 0; i < answer->nip; i++)
		CHECK(has_ip(&message, type, &answer->ip[i]));
	check_tlsa(&message, &answer->tlsa);
	check_texts(&message, answer);
}

/* A valid header and question, so that the rest is parsed. */
static void
begin_answer(struct buf *packet, const char *name, int type,
    struct fuzz_input *in)
{
	unsigned char question[DNS_QUESTION_SIZE];
	size_t n = dns_question_write(question, name, type, 0, 0);

	CHECK(n > 12);
	question[2] = 0x81;
	question[3] = fuzz_byte(in);
	question[7] = fuzz_byte(in);
	question[9] = fuzz_byte(in);
	question[11] = fuzz_byte(in);
	buf_append(packet, question, n);
}

static void
check_question(const char *s, size_t n)
{
	unsigned char *packet = malloc(DNS_QUESTION_SIZE);
	char *name = fuzz_string(s, n);
	struct dns_answer answer;
	ns_msg message;
	size_t len;

	CHECK(packet);
	if (dns_name_is_valid(name)) {
		len = dns_question_write(packet, name, DNS_MX, 1, DNS_EDNS);
		CHECK(len <= DNS_QUESTION_SIZE);
		CHECK(ns_initparse(packet, (int)len, &message) == 0);
		CHECK(ns_msg_count(message, ns_s_qd) == 1);
		/* Turned into an answer, it denies that there are records. */
		packet[2] |= 0x80;
		CHECK(dns_answer_parse(&answer, name, DNS_MX, packet, len) ==
		      DNS_REPLY_FINAL);
		CHECK(answer.outcome == DNS_NODATA && answer.nmx == 0);
		dns_answer_finish(&answer);
	}
	free(packet);
	free(name);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	unsigned char what = fuzz_byte(&in);
	/* The second half of the questions, if both bits are set. */
	size_t i = (what & 0x60) == 0x60 ? 8 + (what & 7) : what & 7;
	const char *name = questions[i].name;
	int type = questions[i].type;
	struct buf packet = { 0 };
	struct dns_answer answer;
	enum dns_reply reply;
	unsigned char *exact;

	check_question((const char *)in.at, in.left);
	if (what & 8)
		begin_answer(&packet, name, type, &in);
	buf_append(&packet, in.at, in.left);
	exact = malloc(packet.len + 1);
	CHECK(exact);
	exact[0] = 0;
	memcpy(exact + 1, buf_text(&packet), packet.len);
	reply = dns_answer_parse(&answer, name, type, exact + 1, packet.len);
	check_answer(&answer, reply, type, exact + 1, packet.len);
	dns_answer_finish(&answer);
	free(exact);
	buf_finish(&packet);
	return 0;
}
