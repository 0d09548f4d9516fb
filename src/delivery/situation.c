/* SPDX-License-Identifier: ISC */
#include "delivery/situation.h"

#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "base/mem.h"
#include "base/str.h"
#include "qmail/tlsrequired.h"

static bool
is_literal(const char *next_hop)
{
	struct ip ip;
	size_t n = strlen(next_hop);

	return ip_parse(next_hop, n, &ip) || ip_parse_literal(next_hop, n, &ip);
}

/* A line of dane demands TLSA records whatever the message says. */
static bool
has_dane_rule(const struct situation *s)
{
	return s->rule.level == TLSPOLICY_DANE ||
	       s->rule.level == TLSPOLICY_DANE_ONLY;
}

static bool
may_use_sts(const struct situation *s)
{
	return s->rule.level == TLSPOLICY_ABSENT ||
	       s->rule.level == TLSPOLICY_DANE;
}

/* The header matters only for what it can switch off. */
static void
read_message(struct situation *s)
{
	const struct control *c = s->config->control;
	struct tlsrequired header = { 0 };

	if (s->config->message == -1 ||
	    (!c->dane && !c->mtasts && c->tlsrptsocket.len == 0) ||
	    c->tlsrequired == CONTROL_TLSREQUIRED_IGNORED)
		return;
	tlsrequired_read(&header, s->config->message);
	s->is_not_required = tlsrequired_is_obeyed(&header, c->tlsrequired);
}

/* MTA-STS fetches, and verifies, with the trust anchors. */
static void
decide_what_to_ask(struct situation *s)
{
	const struct control *c = s->config->control;
	bool is_off;

	s->is_literal = is_literal(s->config->next_hop);
	is_off = s->is_not_required || s->is_literal;
	s->wants_tlsa =
	    s->config->is_trusted &&
	    (has_dane_rule(s) || (s->rule.level == TLSPOLICY_ABSENT &&
				     c->dane && !s->is_not_required));
	s->wants_sts = c->mtasts > 0 && c->trustanchors.len > 0 &&
		       may_use_sts(s) && !is_off;
	s->wants_tlsrpt = c->tlsrptsocket.len > 0 && !is_off;
}

int
situation_read(struct situation *s, const struct situation_config *config,
    int64_t now, struct dsn *why)
{
	s->config = config;
	if (tlspolicy_find(&s->rule, config->policies, config->next_hop, why) ==
		-1 ||
	    tlshosts_inspect(&s->files, why) == -1)
		return -1;
	read_message(s);
	decide_what_to_ask(s);
	if (s->wants_sts)
		sts_lookup_begin(&s->sts, &config->sts, config->next_hop, now);
	return 0;
}

void
situation_want(struct situation *s, struct lookup *lookup)
{
	lookup->wants_tlsa = s->wants_tlsa;
	lookup->wants_sts = s->wants_sts && s->sts.domain[0] != '\0';
	lookup->wants_tlsrpt = s->wants_tlsrpt;
	lookup->sts_must_wait =
	    lookup->wants_sts && sts_lookup_policy(&s->sts) == NULL;
	lookup->texts = &s->texts;
}

static void
find_sts(struct situation *s)
{
	struct sts_record record = { 0 };

	if (!s->wants_sts)
		return;
	sts_record_read(&record, &s->texts.sts);
	sts_lookup_find(&s->sts, &record);
}

const struct sts_policy *
situation_sts(const struct situation *s)
{
	return s->wants_sts ? sts_lookup_policy(&s->sts) : NULL;
}

/* The same level, in the enum that tls/policy has for it. */
static enum tls_rule
rule_of(const struct situation *s)
{
	static const enum tls_rule rules[] = {
		[TLSPOLICY_ABSENT] = TLS_RULE_ABSENT,
		[TLSPOLICY_NONE] = TLS_RULE_NONE,
		[TLSPOLICY_MAY] = TLS_RULE_MAY,
		[TLSPOLICY_ENCRYPT] = TLS_RULE_ENCRYPT,
		[TLSPOLICY_VERIFY] = TLS_RULE_VERIFY,
		[TLSPOLICY_DANE] = TLS_RULE_DANE,
		[TLSPOLICY_DANE_ONLY] = TLS_RULE_DANE_ONLY,
	};

	return rules[s->rule.level];
}

static enum tls_hostfile
hostfile_of(enum tlshosts_kind kind)
{
	static const enum tls_hostfile files[] = {
		[TLSHOSTS_ABSENT] = TLS_HOSTFILE_ABSENT,
		[TLSHOSTS_CLEAR] = TLS_HOSTFILE_CLEAR,
		[TLSHOSTS_ENCRYPT] = TLS_HOSTFILE_ENCRYPT,
		[TLSHOSTS_VERIFY] = TLS_HOSTFILE_VERIFY,
	};

	return files[kind];
}

/* Names of the DNS may have any byte; a certificate has none of these names. */
static bool
is_host_name(const char *name)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!str_is_alnum(*c) && strchr("-_.", *c) == NULL)
			return false;
	return *name != '\0';
}

static void
add_name(struct buf *names, const char *name)
{
	if (!is_host_name(name))
		return;
	if (names->len > 0)
		buf_putc(names, ',');
	buf_puts(names, name);
}

/*
 * The reference identifiers for DANE-TA: the TLSA base domain and, if secure MX
 * records led to the host, the next hop and what it is an alias of (RFC 7672
 * section 3.2.2).
 */
static void
list_names(const struct situation *s, const struct mx_list *list,
    const struct mx_host *host, struct buf *names)
{
	add_name(names, host->tlsa.base);
	if (s->config->is_relay || list->is_implicit)
		return;
	add_name(names, s->config->next_hop);
	add_name(names, list->canonical);
}

static const char *
text_or_null(const struct buf *text)
{
	return text->len > 0 ? buf_text(text) : NULL;
}

static void
describe_dane(struct situation *s, const struct mx_list *list,
    const struct mx_host *host, size_t i)
{
	struct tls_situation *t = &s->of[i];

	switch (host->tlsa.outcome) {
	case DNS_TLSA_FOUND:
		t->dane = tls_dane_state(&host->tlsa.set);
		list_names(s, list, host, &s->host[i].names);
		t->tlsa = &host->tlsa.set;
		t->tlsa_base = host->tlsa.base;
		t->tlsa_names = text_or_null(&s->host[i].names);
		break;
	case DNS_TLSA_FAILED:
		t->dane = TLS_DANE_FAILED;
		break;
	default:
		t->dane = s->wants_tlsa ? TLS_DANE_ABSENT : TLS_DANE_OFF;
		break;
	}
}

static void
describe_sts(const struct situation *s, const struct mx_host *host,
    struct tls_situation *t)
{
	const struct sts_policy *policy = situation_sts(s);

	t->sts = TLS_STS_NONE;
	if (policy == NULL || policy->mode == STS_MODE_NONE)
		return;
	t->sts = policy->mode == STS_MODE_ENFORCE ? TLS_STS_ENFORCE
						  : TLS_STS_TESTING;
	t->is_listed = sts_policy_matches(policy, host->name);
}

static int
describe(struct situation *s, const struct mx_list *list, size_t i,
    struct dsn *why)
{
	const struct control *c = s->config->control;
	const struct mx_host *host = &list->host[i];
	struct tls_situation *t = &s->of[i];
	enum tlshosts_kind kind = TLSHOSTS_ABSENT;

	*t = (struct tls_situation){
		.has_anchors = c->trustanchors.len > 0,
		.strictness = c->tlsstrictness,
		.name = host->name,
		.rule = rule_of(s),
		.match = text_or_null(&s->rule.match),
		.anchors = text_or_null(&s->rule.anchors),
		.is_exhaustive = s->files.is_exhaustive,
		.is_not_required = s->is_not_required,
		.is_trusted = s->config->is_trusted,
		.is_implicit = s->config->is_implicit_tls,
		.has_credentials = s->config->has_credentials,
	};
	if (tlshosts_find(&s->files, host->name, &kind, &s->host[i].pem, why) ==
	    -1)
		return -1;
	t->hostfile = hostfile_of(kind);
	t->pem = text_or_null(&s->host[i].pem);
	describe_dane(s, list, host, i);
	describe_sts(s, host, t);
	return 0;
}

int
situation_find(struct situation *s, const struct mx_list *list, struct dsn *why)
{
	find_sts(s);
	s->n = list->nhost;
	s->host = mem_alloc(s->n, sizeof *s->host);
	s->of = mem_alloc(s->n, sizeof *s->of);
	for (size_t i = 0; i < s->n; i++)
		if (describe(s, list, i, why) == -1)
			return -1;
	return 0;
}

bool
situation_refetch(struct situation *s, const struct mx_list *list)
{
	if (!s->wants_sts || !sts_lookup_refetch(&s->sts))
		return false;
	for (size_t i = 0; i < s->n; i++)
		describe_sts(s, &list->host[i], &s->of[i]);
	return true;
}

void
situation_finish(struct situation *s)
{
	for (size_t i = 0; i < s->n; i++) {
		buf_finish(&s->host[i].pem);
		buf_finish(&s->host[i].names);
	}
	free(s->host);
	free(s->of);
	tlspolicy_finish(&s->rule);
	lookup_texts_finish(&s->texts);
	if (s->wants_sts)
		sts_lookup_finish(&s->sts);
	*s = (struct situation){ 0 };
}
