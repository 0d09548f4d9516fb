/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/situation.h"

/* A fake of the policy that applies. */
static const struct sts_policy *fake_sts(const struct situation *);

#define situation_sts fake_sts
#include "delivery/tlsrpt.c"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define HOSTS_MAX 3
#define ATTEMPTS_MAX 6

static struct {
	const struct sts_policy *sts;
} world;

static const struct sts_policy *
fake_sts(const struct situation *s)
{
	assert_string_equal(s->config->next_hop, "dst.example");
	return world.sts;
}

/*
 * A delivery is written as two strings.
 *
 * The policies of the hosts a, b and c, one letter for each:
 *	n by control/tlsstrictness, c no TLS,
 *	d TLSA records, u TLSA records that are all unusable, v the same at
 *	strictness 2,
 *	s MTA-STS, t the same in testing mode;
 * and of hosts that are left out:
 *	S not listed by MTA-STS, F the look-up of TLSA records failed, A there
 *	are none, though they are required, U all are unusable, R no resolver
 *	is trusted, N there are no trust anchors.
 *
 * The attempts as words: the host, the last digit of its address, and what
 * became of it:
 *	in TLS: + ready, u ready without a usable record, N E T M what MTA-STS
 *	would have refused: the name, the time, the issuer, the host; O an old
 *	version, Z an issuer, in words that we have for faults of ours; A what
 *	we could not find out;
 *	the handshake failed: x somehow, s it hung, n e t as above, X Y the same
 *	with a text, l our own fault, U V no record can be used;
 *	no TLS: - not offered, r refused, g refused at the greeting, d died;
 *	ready in clear text: c no STARTTLS, and after what failed before: R
 *	refused, p no reply, i no valid reply, h handshake, H EHLO in TLS, I no
 *	valid reply to it; k and K, known from other deliveries: EHLO,
 *handshake; L an address literal. A '/' begins the second pass.
 */
static struct {
	struct control control;
	struct situation_config config;
	struct situation situation;
	struct buf texts[3];
	struct mx_host host[HOSTS_MAX];
	struct plan_host plan_host[HOSTS_MAX];
	struct attempt attempt[ATTEMPTS_MAX];
	struct mx_list list;
	struct plan plan;
	struct search search;
} delivery;

static const char *const names[] = { "a", "b", "c" };

static const char record[] = "v=TLSRPTv1; rua=mailto:r@dst.example";

static struct tls_policy
policy_of(char letter)
{
	static const struct {
		char letter;
		struct tls_policy policy;
	} policies[] = {
		{ 'n',
		    { .level = TLS_LEVEL_MAY, .source = TLS_FROM_STRICTNESS } },
		{ 'c', { .level = TLS_LEVEL_NONE, .source = TLS_FROM_RULE } },
		{ 'd', { .level = TLS_LEVEL_DANE, .source = TLS_FROM_DANE } },
		{ 'u',
		    { .level = TLS_LEVEL_ENCRYPT, .source = TLS_FROM_DANE } },
		{ 'v', { .level = TLS_LEVEL_VERIFY,
			   .source = TLS_FROM_STRICTNESS,
			   .is_without_usable = true } },
		{ 's', { .level = TLS_LEVEL_VERIFY,
			   .source = TLS_FROM_STS_ENFORCE } },
		{ 't', { .level = TLS_LEVEL_MAY,
			   .source = TLS_FROM_STS_TESTING } },
		{ 'S', { .level = TLS_LEVEL_VERIFY,
			   .source = TLS_FROM_STS_ENFORCE,
			   .skip = TLS_SKIP_STS } },
		{ 'F', { .level = TLS_LEVEL_DANE,
			   .source = TLS_FROM_DANE,
			   .skip = TLS_SKIP_DANE_FAILED } },
		{ 'A', { .level = TLS_LEVEL_DANE,
			   .source = TLS_FROM_RULE,
			   .skip = TLS_SKIP_DANE_ABSENT } },
		{ 'U', { .level = TLS_LEVEL_DANE,
			   .source = TLS_FROM_RULE,
			   .skip = TLS_SKIP_DANE_UNUSABLE } },
		{ 'R', { .level = TLS_LEVEL_DANE,
			   .source = TLS_FROM_RULE,
			   .skip = TLS_SKIP_RESOLVER } },
		{ 'N', { .level = TLS_LEVEL_VERIFY,
			   .source = TLS_FROM_STRICTNESS,
			   .skip = TLS_SKIP_ANCHORS } },
	};

	for (size_t i = 0; i < COUNT(policies); i++)
		if (policies[i].letter == letter)
			return policies[i].policy;
	fail_msg("%c is no policy", letter);
	return policies[0].policy;
}

static void
add_host(char letter)
{
	struct mx_host *host = &delivery.host[delivery.list.nhost];
	struct plan_host *h = &delivery.plan_host[delivery.plan.nhost];

	strcpy(host->name, names[delivery.list.nhost]);
	h->name = host->name;
	h->policy = policy_of(letter);
	if (strchr("duvFU", letter) != NULL)
		strcpy(host->tlsa.base, "base.example");
	if (strchr("duvU", letter) != NULL) {
		tlsa_add(&host->tlsa.set, 3, 1, 1, "\x00\xab", 2);
		tlsa_add(&host->tlsa.set, 2, 0, 2, "\x7f", 1);
	}
	delivery.list.nhost++;
	delivery.plan.nhost++;
}

/* What follows from the letter of an attempt. */
static const struct {
	char letter;
	enum failure_cause cause;
	enum tls_status status;
	enum tls_proof proof;
	enum tls_cause tls;
	enum cleartext_reason reason;
	const char *text; /* what a test of MTA-STS or the handshake said */
} outcomes[] = {
#define READY TLS_STATUS_READY
#define FAILED TLS_STATUS_FAILED
#define NO_TLS TLS_STATUS_NONE
	{ '+', 0, READY, TLS_PROOF_NONE, 0, 0, "" },
	{ 'u', 0, READY, TLS_PROOF_UNUSABLE, 0, 0, "" },
	{ 'N', 0, READY, TLS_PROOF_NONE, TLS_CAUSE_NAME, 0, "name mismatch" },
	{ 'E', 0, READY, TLS_PROOF_NONE, TLS_CAUSE_EXPIRED, 0,
	    "certificate has expired" },
	{ 'T', 0, READY, TLS_PROOF_NONE, TLS_CAUSE_NOT_TRUSTED, 0,
	    "self-signed certificate" },
	{ 'O', 0, READY, TLS_PROOF_NONE, 0, 0, "TLS 1.2 or later is needed" },
	{ 'A', 0, READY, TLS_PROOF_NONE, TLS_CAUSE_LOCAL, 0,
	    "no certificate in /x" },
	{ 'Z', 0, READY, TLS_PROOF_NONE, TLS_CAUSE_NOT_TRUSTED, 0,
	    "cannot be verified" },
	{ 'M', 0, READY, TLS_PROOF_NONE, 0, 0, "it does not list it" },
	{ 'x', FAILURE_TLS, FAILED, 0, TLS_CAUSE_HANDSHAKE, 0, "" },
	{ 's', FAILURE_TLS, FAILED, 0, TLS_CAUSE_TIMED_OUT, 0, "" },
	{ 'n', FAILURE_TLS, FAILED, 0, TLS_CAUSE_NAME, 0, "" },
	{ 'e', FAILURE_TLS, FAILED, 0, TLS_CAUSE_EXPIRED, 0, "" },
	{ 't', FAILURE_TLS, FAILED, 0, TLS_CAUSE_NOT_TRUSTED, 0, "" },
	{ 'U', FAILURE_TLS, FAILED, TLS_PROOF_UNUSABLE, TLS_CAUSE_HANDSHAKE, 0,
	    "" },
	{ 'X', FAILURE_TLS, FAILED, 0, TLS_CAUSE_HANDSHAKE, 0,
	    "no \"shared\" cipher" },
	{ 'Y', FAILURE_TLS, FAILED, 0, TLS_CAUSE_NAME, 0,
	    "certificate verify failed: name mismatch" },
	{ 'V', FAILURE_TLS, FAILED, TLS_PROOF_UNUSABLE, TLS_CAUSE_HANDSHAKE, 0,
	    "control/tlspolicy demands DANE" },
	{ 'l', FAILURE_TLS_SETUP, TLS_STATUS_LOCAL, 0, 0, 0, "" },
	{ '-', FAILURE_STARTTLS_NOT_OFFERED, NO_TLS, 0, 0, 0, "" },
	{ 'r', FAILURE_STARTTLS_REFUSED, NO_TLS, 0, 0, 0, "" },
	{ 'g', FAILURE_GREETING, NO_TLS, 0, 0, 0, "" },
	{ 'd', FAILURE_CONNECTION_DIED, NO_TLS, 0, 0, 0, "" },
	{ 'c', 0, NO_TLS, 0, 0, CLEARTEXT_NO_REASON, "" },
	{ 'R', 0, NO_TLS, 0, 0, CLEARTEXT_REFUSED, "" },
	{ 'p', 0, NO_TLS, 0, 0, CLEARTEXT_NO_REPLY, "" },
	{ 'i', 0, NO_TLS, 0, 0, CLEARTEXT_INVALID_REPLY, "" },
	{ 'h', 0, NO_TLS, 0, 0, CLEARTEXT_HANDSHAKE, "" },
	{ 'H', 0, NO_TLS, 0, 0, CLEARTEXT_HELLO_REFUSED, "" },
	{ 'I', 0, NO_TLS, 0, 0, CLEARTEXT_HELLO_INVALID, "" },
	{ 'k', 0, NO_TLS, 0, 0, CLEARTEXT_AVOIDS_EHLO, "" },
	{ 'K', 0, NO_TLS, 0, 0, CLEARTEXT_AVOIDS_HANDSHAKE, "" },
	{ 'L', 0, NO_TLS, 0, 0, CLEARTEXT_NO_REASON, "" },
};

static struct ip
address(unsigned char last)
{
	return ip_from_v4((const unsigned char[]){ 192, 0, 2, last });
}

/* What MTA-STS in testing mode misses. */
static enum attempt_fault
fault_of(char letter)
{
	if (letter == 'M')
		return ATTEMPT_FAULT_UNLISTED;
	if (letter == 'O')
		return ATTEMPT_FAULT_VERSION;
	return strchr("NETAZ", letter) != NULL ? ATTEMPT_FAULT_CERTIFICATE
					       : ATTEMPT_FAULT_NONE;
}

static void
add_attempt(const char *word)
{
	struct attempt *a = &delivery.attempt[delivery.search.history.n++];
	size_t i = 0;

	while (i < COUNT(outcomes) && outcomes[i].letter != word[2])
		i++;
	assert_true(i < COUNT(outcomes));
	a->host = word[2] == 'L' ? NULL : names[word[0] - 'a'];
	a->ip = address((unsigned char)(word[1] - '0'));
	a->own = address(99);
	a->cause = outcomes[i].cause;
	a->tls.status = outcomes[i].status;
	a->tls.proof = outcomes[i].proof;
	a->cleartext.reason = outcomes[i].reason;
	if (outcomes[i].status == READY) {
		a->test.fault = fault_of(outcomes[i].letter);
		a->test.cause = outcomes[i].tls;
		strcpy(a->test.text, outcomes[i].text);
	} else {
		a->tls.cause = outcomes[i].tls;
		strcpy(a->tls.text, outcomes[i].text);
	}
}

static void
set_up(const char *policies, const char *attempts)
{
	struct history *h = &delivery.search.history;

	memset(&delivery, 0, sizeof delivery);
	delivery.config.next_hop = "dst.example";
	delivery.config.control = &delivery.control;
	delivery.situation.config = &delivery.config;
	delivery.situation.wants_tlsrpt = true;
	delivery.situation.texts.tlsrpt.text = delivery.texts;
	delivery.situation.texts.tlsrpt.ntext = 1;
	buf_puts(&delivery.texts[0], record);
	delivery.list.host = delivery.host;
	delivery.plan.host = delivery.plan_host;
	h->attempt = delivery.attempt;
	for (; *policies != '\0'; policies++)
		add_host(*policies);
	for (; *attempts != '\0';
	     attempts += strcspn(attempts, " "), attempts += *attempts == ' ') {
		if (*attempts == '/')
			h->pass = h->n;
		else
			add_attempt(attempts);
	}
}

static void
finish(void)
{
	for (size_t i = 0; i < COUNT(delivery.texts); i++)
		buf_finish(&delivery.texts[i]);
	for (size_t i = 0; i < HOSTS_MAX; i++)
		tlsa_finish(&delivery.host[i].tlsa.set);
}

/*
 * A check of the syntax (RFC 8259): moves *at behind one value, or returns
 * false.
 */
static bool skip_value(const char **at);

static void
skip_blanks(const char **at)
{
	*at += strspn(*at, " ");
}

static bool
skip_byte(const char **at, char c)
{
	skip_blanks(at);
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static bool
skip_string(const char **at)
{
	if (!skip_byte(at, '"'))
		return false;
	for (; **at != '"'; (*at)++) {
		if (**at < ' ' || **at > '~')
			return false;
		if (**at != '\\')
			continue;
		(*at)++;
		if (**at == 'u' && strspn(*at + 1, "0123456789abcdef") >= 4)
			*at += 4;
		else if (**at != '"' && **at != '\\')
			return false;
	}
	(*at)++;
	return true;
}

static bool
skip_members(const char **at, char end, bool has_keys)
{
	if (skip_byte(at, end))
		return true;
	do {
		if (has_keys && (!skip_string(at) || !skip_byte(at, ':')))
			return false;
		if (!skip_value(at))
			return false;
	} while (skip_byte(at, ','));
	return skip_byte(at, end);
}

static bool
skip_value(const char **at)
{
	size_t digits;

	skip_blanks(at);
	if (**at == '"')
		return skip_string(at);
	if (skip_byte(at, '{'))
		return skip_members(at, '}', true);
	if (skip_byte(at, '['))
		return skip_members(at, ']', false);
	digits = strspn(*at, "0123456789");
	*at += digits;
	return digits > 0;
}

static size_t
count(const char *text, size_t n, const char *what)
{
	size_t found = 0;

	for (size_t i = 0; i + strlen(what) <= n; i++)
		found += strncmp(text + i, what, strlen(what)) == 0;
	return found;
}

/* In each policy "t" is the number of its failure-details. */
static void
check_counts(const char *json)
{
	static const char begin[] = "{\"policy-type\":";
	const char *policy = strstr(json, begin);

	while (policy != NULL) {
		const char *next = strstr(policy + 1, begin);
		size_t n = next ? (size_t)(next - policy) : strlen(policy);
		char want[40];

		snprintf(want, sizeof want,
		    ",\"t\":%zu,\"f\":", count(policy, n, "{\"c\":"));
		if (count(policy, n, want) != 1)
			fail_msg("not %s: %s", want, policy);
		policy = next;
	}
}

static const char *
format(void)
{
	static char text[200000];
	struct buf json = { 0 };
	const char *at = text;

	tlsrpt_format(&json, &delivery.situation, &delivery.list,
	    &delivery.plan, &delivery.search);
	assert_int_equal(strlen(buf_text(&json)), json.len);
	assert_true(json.len < sizeof text);
	strcpy(text, buf_text(&json));
	buf_finish(&json);
	if (text[0] == '\0')
		return text;
	if (!skip_value(&at) || *at != '\0')
		fail_msg("no JSON, at %s: %s", at, text);
	check_counts(text);
	return text;
}

/* The list of policies in it; "" if nothing is sent. */
static const char *
format_policies(const char *policies, const char *attempts)
{
	static const char begin[] =
	    "{\"d\": \"dst.example\",\"pr\": \"v=TLSRPTv1; "
	    "rua=mailto:r@dst.example\",\"policies\":[";
	static char text[20000];
	const char *json;
	size_t n;

	set_up(policies, attempts);
	json = format();
	finish();
	if (*json == '\0')
		return json;
	n = strlen(json);
	if (strncmp(json, begin, sizeof begin - 1) != 0 ||
	    strcmp(json + n - 2, "]}") != 0)
		fail_msg("%s", json);
	snprintf(text, sizeof text, "%.*s", (int)(n - 2 - (sizeof begin - 1)),
	    json + sizeof begin - 1);
	return text;
}

/* The text of a policy and of a failure, as libtlsrpt writes them. */
#define POLICY(type, domain) \
	"{\"policy-type\":" #type ",\"policy-domain\": \"" domain "\""
#define NO_POLICY POLICY(9, "dst.example")
#define TLSA \
	POLICY(1, "base.example") \
	",\"policy-string\":[\"3 1 1 00ab\",\"2 0 2 7f\"]"
#define STS \
	POLICY(2, "dst.example") \
	",\"policy-string\":[\"version: STSv1\",\"mode: enforce\"]," \
	"\"mx-host\":[\"*.example\",\"a\"]"

#define FAILURES(list) ",\"failure-details\":[" list "]"
#define FAILURE(code, mx, ip, more) \
	"{\"c\":" #code ",\"s\": \"192.0.2.99\",\"n\": \"" mx "\"," \
	"\"r\": \"192.0.2." #ip "\"" more "}"
#define REASON(text) ",\"f\": \"" text "\""
#define SKIPPED(code, mx, more) "{\"c\":" #code ",\"n\": \"" mx "\"" more "}"
#define RESULT(failed, failures) ",\"t\":" #failures ",\"f\":" #failed "}"

#define GOOD RESULT(0, 0)
#define ONE(code, ip) FAILURES(FAILURE(code, "a", ip, "")) RESULT(1, 1)

struct report_case {
	const char *policies, *attempts, *report;
};

static void
check(const struct report_case *cases, size_t n)
{
	static char lines[] = "version: STSv1\nmode: enforce\n";
	static char mx[] = "*.example\na\n";
	static const struct sts_policy sts = {
		.mode = STS_MODE_ENFORCE,
		.lines = { lines, sizeof lines - 1, sizeof lines },
		.mx = { mx, sizeof mx - 1, sizeof mx },
	};

	world.sts = &sts;
	for (size_t i = 0; i < n; i++) {
		const struct report_case *c = &cases[i];
		const char *report = format_policies(c->policies, c->attempts);

		if (strcmp(report, c->report) != 0)
			fail_msg("%s, %s:\n%s\nnot\n%s", c->policies,
			    c->attempts, report, c->report);
	}
	world.sts = NULL;
}

/* All of it once, without macros. */
static void
formats_a_datagram(void **state)
{
	static char lines[] = "version: STSv1\nmx: \"x\"\\";
	static const struct sts_policy sts = {
		.lines = { lines, sizeof lines - 1, sizeof lines }
	};

	(void)state;
	world.sts = &sts;
	set_up("dsn", "a1t b2+ c3x c4c");
	assert_string_equal(format(),
	    "{\"d\": \"dst.example\",\"pr\": \"v=TLSRPTv1; "
	    "rua=mailto:r@dst.example\",\"policies\":["
	    "{\"policy-type\":1,\"policy-domain\": \"base.example\","
	    "\"policy-string\":[\"3 1 1 00ab\",\"2 0 2 7f\"],"
	    "\"failure-details\":[{\"c\":203,\"s\": \"192.0.2.99\","
	    "\"n\": \"a\",\"r\": \"192.0.2.1\"}],\"t\":1,\"f\":1},"
	    "{\"policy-type\":2,\"policy-domain\": \"dst.example\","
	    "\"policy-string\":[\"version: STSv1\",\"mx: \\\"x\\\"\\\\\"],"
	    "\"mx-host\":[],\"t\":0,\"f\":0},"
	    "{\"policy-type\":9,\"policy-domain\": \"dst.example\","
	    "\"failure-details\":[{\"c\":205,\"s\": \"192.0.2.99\","
	    "\"n\": \"c\",\"r\": \"192.0.2.3\"},"
	    "{\"c\":201,\"s\": \"192.0.2.99\","
	    "\"n\": \"c\",\"r\": \"192.0.2.4\"}],\"t\":2,\"f\":1}"
	    "]}");
	finish();
	world.sts = NULL;
}

static void
tells_how_tls_went(void **state)
{
	static const struct report_case cases[] = {
		{ "n", "a1+", NO_POLICY GOOD },
		{ "d", "a1+", TLSA GOOD },
		{ "s", "a1+", STS GOOD },
		{ "t", "a1+", STS GOOD },
		/* starttls-not-supported. */
		{ "n", "a1c", NO_POLICY ONE(201, 1) },
		{ "n", "a1-", NO_POLICY ONE(201, 1) },
		{ "n", "a1r", NO_POLICY ONE(201, 1) },
		{ "n", "a1R", NO_POLICY ONE(201, 1) },
		{ "n", "a1p", NO_POLICY ONE(201, 1) },
		{ "n", "a1i", NO_POLICY ONE(201, 1) },
		{ "n", "a1k", NO_POLICY ONE(201, 1) },
		{ "d", "a1-", TLSA ONE(201, 1) },
		{ "d", "a1r", TLSA ONE(201, 1) },
		{ "s", "a1-", STS ONE(201, 1) },
		{ "t", "a1c", STS ONE(201, 1) },
		/* The handshake failed, and the server is not used. */
		{ "s", "a1n", STS ONE(202, 1) },
		{ "s", "a1t", STS ONE(203, 1) },
		{ "s", "a1e", STS ONE(204, 1) },
		{ "s", "a1x", STS ONE(205, 1) },
		{ "s", "a1s", STS ONE(205, 1) },
		{ "d", "a1n", TLSA ONE(202, 1) },
		{ "d", "a1t", TLSA ONE(203, 1) },
		{ "d", "a1e", TLSA ONE(204, 1) },
		{ "d", "a1x", TLSA ONE(205, 1) },
		{ "n", "a1x", NO_POLICY ONE(205, 1) },
		{ "n", "a1X",
		    NO_POLICY FAILURES(FAILURE(205, "a", 1,
			REASON("no \\\"shared\\\" cipher"))) RESULT(1, 1) },
		{ "s", "a1Y",
		    STS FAILURES(FAILURE(202, "a", 1,
			REASON("certificate verify failed: name mismatch")))
			RESULT(1, 1) },
		/* It failed with this server in another delivery. */
		{ "n", "a1K", NO_POLICY ONE(205, 1) },
		/* tlsa-invalid: the mail goes all the same, or not. */
		{ "d", "a1u",
		    TLSA FAILURES(FAILURE(304, "a", 1, "")) RESULT(0, 1) },
		{ "u", "a1u",
		    TLSA FAILURES(FAILURE(304, "a", 1, "")) RESULT(0, 1) },
		/* The same at strictness 2. */
		{ "v", "a1u",
		    TLSA FAILURES(FAILURE(304, "a", 1, "")) RESULT(0, 1) },
		{ "v", "a1t", TLSA ONE(203, 1) },
		{ "d", "a1U", TLSA ONE(304, 1) },
		/* Files of ours are no business of the domain. */
		{ "d", "a1V", TLSA ONE(304, 1) },
		{ "u", "a1-", TLSA ONE(201, 1) },
		/* MTA-STS in testing mode: the mail goes. */
		{ "t", "a1N",
		    STS FAILURES(FAILURE(202, "a", 1, REASON("name mismatch")))
			RESULT(1, 1) },
		{ "t", "a1T",
		    STS FAILURES(FAILURE(203, "a", 1,
			REASON("self-signed certificate"))) RESULT(1, 1) },
		/* The cause decides, and not what the text looks like. */
		{ "t", "a1Z",
		    STS FAILURES(FAILURE(203, "a", 1,
			REASON("cannot be verified"))) RESULT(1, 1) },
		{ "t", "a1E",
		    STS FAILURES(FAILURE(204, "a", 1,
			REASON("certificate has expired"))) RESULT(1, 1) },
		{ "t", "a1O",
		    STS FAILURES(FAILURE(205, "a", 1,
			REASON("TLS 1.2 or later is needed"))) RESULT(1, 1) },
		{ "t", "a1M",
		    STS FAILURES(FAILURE(205, "a", 1, REASON("mx-mismatch")))
			RESULT(1, 1) },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
tells_nothing_of_what_is_not_known(void **state)
{
	static const struct report_case cases[] = {
		{ "n", "", "" },
		{ "", "", "" },
		/* No server got as far as STARTTLS. */
		{ "n", "a1g", "" },
		{ "s", "a1d", "" },
		{ "n", "a1g a2+", NO_POLICY GOOD },
		{ "nn", "a1d b2+", NO_POLICY GOOD },
		/* TLS was not to be tried. */
		{ "c", "a1c", "" },
		{ "cn", "a1d b2+", NO_POLICY GOOD },
		/* Our own fault. */
		{ "n", "a1l", "" },
		{ "t", "a1A", "" },
		{ "R", "", "" },
		{ "N", "", "" },
		/* An address literal. */
		{ "n", "a1L", "" },
		{ "S", "a1L",
		    STS FAILURES(SKIPPED(205, "a", REASON("mx-mismatch")))
			RESULT(1, 1) },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
tells_of_several_attempts(void **state)
{
	static const struct report_case cases[] = {
		/* The last one decides. */
		{ "s", "a1n a2+",
		    STS FAILURES(FAILURE(202, "a", 1, "")) RESULT(0, 1) },
		{ "s", "a1n a2t",
		    STS FAILURES(FAILURE(202, "a", 1, "") "," FAILURE(203, "a",
			2, "")) RESULT(1, 2) },
		{ "s", "a1+ a2n",
		    STS FAILURES(FAILURE(202, "a", 2, "")) RESULT(1, 1) },
		{ "d", "a1u a2+",
		    TLSA FAILURES(FAILURE(304, "a", 1, "")) RESULT(0, 1) },
		/* What shows nothing of TLS does not count. */
		{ "s", "a1n a2g", STS ONE(202, 1) },
		{ "s", "a1+ a2d", STS GOOD },
		{ "n", "a1d a1c", NO_POLICY ONE(201, 1) },
		/* The same connection in clear text tells nothing new. */
		{ "n", "a1x a1h", NO_POLICY ONE(205, 1) },
		{ "n", "a1n a1h", NO_POLICY ONE(202, 1) },
		{ "n", "a1r a1R", NO_POLICY ONE(201, 1) },
		{ "n", "a1d a1p", NO_POLICY ONE(201, 1) },
		{ "n", "a1+ a1H", NO_POLICY ONE(205, 1) },
		{ "n", "a1+ a1I", NO_POLICY ONE(205, 1) },
		{ "t", "a1N a1H",
		    STS FAILURES(FAILURE(202, "a", 1, REASON("name mismatch")))
			RESULT(1, 1) },
		{ "n", "a1x a1d", NO_POLICY ONE(205, 1) },
		{ "n", "a1x a2x a2h",
		    NO_POLICY FAILURES(FAILURE(205, "a", 1, "") "," FAILURE(205,
			"a", 2, "")) RESULT(1, 2) },
		/* So does the second pass. */
		{ "n", "a1- / a1c", NO_POLICY ONE(201, 1) },
		{ "n", "a1x a2- / a1d a2h",
		    NO_POLICY FAILURES(FAILURE(205, "a", 1, "") "," FAILURE(201,
			"a", 2, "")) RESULT(1, 2) },
		/* The same address under two names. */
		{ "nn", "a1x a1d b1h",
		    NO_POLICY ONE(205, 1) "," NO_POLICY FAILURES(FAILURE(205,
			"b", 1, "")) RESULT(1, 1) },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
tells_of_several_hosts(void **state)
{
	static const struct report_case cases[] = {
		{ "sd", "a1n b2+", STS ONE(202, 1) "," TLSA GOOD },
		{ "nsd", "a1x a1d b2e c3x",
		    NO_POLICY ONE(205,
			1) "," STS FAILURES(FAILURE(204, "b", 2, ""))
			RESULT(1, 1) "," TLSA FAILURES(FAILURE(205, "c", 3, ""))
			    RESULT(1, 1) },
		/* In the order of the plan. */
		{ "nn", "b2+ a1c", NO_POLICY ONE(201, 1) "," NO_POLICY GOOD },
		/* One that was not tried is not told of. */
		{ "ns", "a1+", NO_POLICY GOOD },
		{ "ns", "b1+", STS GOOD },
	};

	(void)state;
	check(cases, COUNT(cases));
}

#define DNSSEC_INVALID(mx) \
	POLICY(1, "base.example") \
	",\"policy-string\":[]" FAILURES(SKIPPED(305, mx, "")) RESULT(1, 1)
#define DANE_REQUIRED(mx) \
	POLICY(1, mx) \
	",\"policy-string\":[]" FAILURES(SKIPPED(306, mx, "")) RESULT(1, 1)

static void
tells_of_hosts_that_are_left_out(void **state)
{
	static const struct report_case cases[] = {
		{ "S", "",
		    STS FAILURES(SKIPPED(205, "a", REASON("mx-mismatch")))
			RESULT(1, 1) },
		{ "F", "", DNSSEC_INVALID("a") },
		{ "A", "", DANE_REQUIRED("a") },
		{ "U", "", TLSA FAILURES(SKIPPED(304, "a", "")) RESULT(1, 1) },
		{ "FRA", "", DNSSEC_INVALID("a") "," DANE_REQUIRED("c") },
		{ "Fn", "b1+", DNSSEC_INVALID("a") "," NO_POLICY GOOD },
		{ "Fs", "b2n",
		    DNSSEC_INVALID("a") "," STS FAILURES(FAILURE(202, "b", 2,
			"")) RESULT(1, 1) },
		/* Behind the server that is ready nobody looks at them. */
		{ "nF", "a1+", NO_POLICY GOOD },
		{ "nF", "a1c", NO_POLICY ONE(201, 1) },
		{ "FnF", "b1+", DNSSEC_INVALID("a") "," NO_POLICY GOOD },
		{ "nnF", "a1d b1+", NO_POLICY GOOD },
		/* But if there is none, or only in a second pass. */
		{ "nF", "a1d", DNSSEC_INVALID("b") },
		{ "nF", "a1x", NO_POLICY ONE(205, 1) "," DNSSEC_INVALID("b") },
		{ "nF", "a1- / a1c",
		    NO_POLICY ONE(201, 1) "," DNSSEC_INVALID("b") },
	};

	(void)state;
	check(cases, COUNT(cases));
}

/* As if the policy had changed its mind; it must be valid JSON all the same. */
static void
tells_of_no_policy_if_there_is_none_any_more(void **state)
{
	(void)state;
	assert_string_equal(format_policies("s", "a1+"), NO_POLICY GOOD);
	assert_string_equal(format_policies("S", ""),
	    NO_POLICY FAILURES(SKIPPED(205, "a", REASON("mx-mismatch")))
		RESULT(1, 1));
}

static void
formats_lines_as_elements(void **state)
{
	static const struct {
		const char *lines, *elements;
	} cases[] = {
		{ "", "" },
		{ "x", "\"x\"" },
		{ "x\n", "\"x\"" },
		{ "x\n\ny\n", "\"x\",\"\",\"y\"" },
		{ "\"\\\t\xc3", "\"\\\"\\\\\\u0009\\u00c3\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sts_policy sts = { .mode = STS_MODE_ENFORCE };
		char want[200];

		buf_puts(&sts.lines, cases[i].lines);
		buf_puts(&sts.mx, "m\n");
		world.sts = &sts;
		snprintf(want, sizeof want,
		    POLICY(2, "dst.example") ",\"policy-string\":[%s],"
					     "\"mx-host\":[\"m\"]" GOOD,
		    cases[i].elements);
		assert_string_equal(format_policies("s", "a1+"), want);
		sts_policy_finish(&sts);
	}
	world.sts = NULL;
}

/* Whatever the policy is, the first host's fits into a datagram. */
static void
tells_of_the_first_hosts_if_the_policy_is_long(void **state)
{
	static const char worst[] = "\"\n";
	struct sts_policy sts = { .mode = STS_MODE_ENFORCE };
	size_t n;

	(void)state;
	buf_puts(&sts.mx, "m\n");
	while (sts.lines.len < STS_BODY_MAX)
		buf_puts(&sts.lines, worst);
	world.sts = &sts;
	set_up("S", "");
	n = strlen(format());
	finish();
	assert_in_range(n, 2 * STS_BODY_MAX, 200000);
	set_up("SS", "");
	assert_int_equal(strlen(format()), n);
	finish();
	sts_policy_finish(&sts);
	world.sts = NULL;
}

/* An address that is not known is left out, and IPv6 is as text. */
static void
formats_addresses(void **state)
{
	(void)state;
	set_up("n", "a1c");
	delivery.attempt[0].own = (struct ip){ .byte = { 0 } };
	assert_true(ip_parse("2001:db8::1", 11, &delivery.attempt[0].ip));
	assert_non_null(strstr(format(),
	    "[{\"c\":201,\"n\": \"a\",\"r\": \"2001:db8::1\"}]"));
	delivery.attempt[0].own = delivery.attempt[0].ip;
	assert_non_null(strstr(format(),
	    "[{\"c\":201,\"s\": \"2001:db8::1\",\"n\": \"a\","
	    "\"r\": \"2001:db8::1\"}]"));
	finish();
}

/* The mail goes without the policy, or with an older one. */
static void
tells_why_no_policy_was_fetched(void **state)
{
	static const struct {
		enum sts_cause cause;
		const char *reason, *detail; /* "": none */
	} cases[] = {
		{ STS_CAUSE_NONE, "", "" },
		{ STS_CAUSE_LOCAL, "out of memory", "" },
		{ STS_CAUSE_FETCH, "HTTP status 404",
		    "{\"c\":301,\"f\": \"HTTP status 404\"}" },
		{ STS_CAUSE_INVALID, "the policy has no valid mode",
		    "{\"c\":302,\"f\": \"the policy has no valid mode\"}" },
		{ STS_CAUSE_WEBPKI, "name mismatch",
		    "{\"c\":303,\"f\": \"name mismatch\"}" },
		{ STS_CAUSE_FETCH, "", "{\"c\":301}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sts_failure *f;
		char want[300];

		set_up("n", "a1+");
		f = &delivery.situation.sts.entry.failure;
		f->cause = cases[i].cause;
		strcpy(f->reason, cases[i].reason);
		/* What is in the cache does not matter without MTA-STS. */
		assert_null(strstr(format(), "\"policy-type\":2"));
		delivery.situation.wants_sts = true;
		if (cases[i].detail[0] == '\0') {
			assert_null(strstr(format(), "\"policy-type\":2"));
			finish();
			continue;
		}
		snprintf(want, sizeof want,
		    "\"policies\":[" POLICY(2, "dst.example") FAILURES("%s")
			RESULT(0, 1) "," NO_POLICY GOOD "]}",
		    cases[i].detail);
		assert_non_null(strstr(format(), want));
		/* Also if no host was found. */
		delivery.plan.nhost = 0;
		snprintf(want, sizeof want,
		    "\"policies\":[" POLICY(2, "dst.example") FAILURES("%s")
			RESULT(0, 1) "]}",
		    cases[i].detail);
		assert_non_null(strstr(format(), want));
		finish();
	}
}

static void
needs_one_record(void **state)
{
	static const struct {
		const char *texts[3];
		const char *record; /* as JSON; NULL: nothing is sent */
	} cases[] = {
		{ { NULL }, NULL },
		{ { "v=TLSRPTv1; rua=mailto:a" },
		    "\"v=TLSRPTv1; rua=mailto:a\"" },
		{ { "v=TLSRPTv1;rua=https://a/\"" },
		    "\"v=TLSRPTv1;rua=https://a/\\\"\"" },
		{ { "other", "v=TLSRPTv1;x", "" }, "\"v=TLSRPTv1;x\"" },
		{ { "v=TLSRPTv1;x", "v=TLSRPTv1;y" }, NULL },
		{ { "v=TLSRPTv1;x", "other", "v=TLSRPTv1;x" }, NULL },
		{ { "v=TLSRPTv1" }, NULL },
		{ { "v=TLSRPTv12;" }, NULL },
		{ { " v=TLSRPTv1;" }, NULL },
		{ { "V=TLSRPTv1;" }, NULL },
		{ { "" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dns_answer *a = &delivery.situation.texts.tlsrpt;
		char want[100];

		set_up("n", "a1+");
		buf_cut(&delivery.texts[0], 0);
		for (a->ntext = 0;
		     a->ntext < 3 && cases[i].texts[a->ntext] != NULL;
		     a->ntext++)
			buf_puts(&a->text[a->ntext], cases[i].texts[a->ntext]);
		if (cases[i].record == NULL) {
			assert_string_equal(format(), "");
		} else {
			snprintf(want, sizeof want, ",\"pr\": %s,\"policies\"",
			    cases[i].record);
			assert_non_null(strstr(format(), want));
		}
		/* And the wish to tell. */
		delivery.situation.wants_tlsrpt = false;
		assert_string_equal(format(), "");
		finish();
	}
}

/* A NUL in it neither ends the record nor the datagram. */
static void
keeps_any_byte_of_the_record(void **state)
{
	(void)state;
	set_up("n", "a1+");
	buf_append(&delivery.texts[0], "\0\n\xff", 3);
	assert_non_null(strstr(format(), "dst.example\\u0000\\u000a\\u00ff\""));
	finish();
}

/* What was in the buffer is the caller's. */
static void
appends_nothing_or_all(void **state)
{
	struct buf json = { 0 };

	(void)state;
	set_up("n", "");
	tlsrpt_format(&json, &delivery.situation, &delivery.list,
	    &delivery.plan, &delivery.search);
	assert_int_equal(json.len, 0);
	buf_finish(&json);
	finish();
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_a_datagram),
		cmocka_unit_test(tells_how_tls_went),
		cmocka_unit_test(tells_nothing_of_what_is_not_known),
		cmocka_unit_test(tells_of_several_attempts),
		cmocka_unit_test(tells_of_several_hosts),
		cmocka_unit_test(tells_of_hosts_that_are_left_out),
		cmocka_unit_test(tells_of_no_policy_if_there_is_none_any_more),
		cmocka_unit_test(formats_lines_as_elements),
		cmocka_unit_test(
		    tells_of_the_first_hosts_if_the_policy_is_long),
		cmocka_unit_test(formats_addresses),
		cmocka_unit_test(tells_why_no_policy_was_fetched),
		cmocka_unit_test(needs_one_record),
		cmocka_unit_test(keeps_any_byte_of_the_record),
		cmocka_unit_test(appends_nothing_or_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
