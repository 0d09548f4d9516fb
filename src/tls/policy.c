/* SPDX-License-Identifier: ISC */
#include "tls/policy.h"

#include <stddef.h>

/* The decision, without what it borrows. */
struct choice {
	enum tls_level level;
	enum tls_source source;
	enum tls_skip skip;
	bool is_without_usable;
};

static struct choice
use(enum tls_level level, enum tls_source source)
{
	return (struct choice){ level, source, TLS_SKIP_NOT, false };
}

/* The level is what is demanded: a caller that goes on all the same is safe. */
static struct choice
skip(enum tls_skip reason, enum tls_level level, enum tls_source source)
{
	return (struct choice){ level, source, reason, false };
}

static struct choice
choose_verify(const struct tls_situation *s, enum tls_source source)
{
	if (!s->has_anchors)
		return skip(TLS_SKIP_ANCHORS, TLS_LEVEL_VERIFY, source);
	return use(TLS_LEVEL_VERIFY, source);
}

/* MTA-STS verifies the policy host and MX hosts by control/trustanchors. */
static bool
has_sts(const struct tls_situation *s, enum tls_sts mode)
{
	return s->sts == mode && s->has_anchors && !s->is_not_required;
}

static bool
has_pem(const struct tls_situation *s)
{
	return s->hostfile == TLS_HOSTFILE_ENCRYPT ||
	       s->hostfile == TLS_HOSTFILE_VERIFY;
}

/*
 * is_tried: STARTTLS is tried although there is no control/trustanchors.
 */
static struct choice
choose_by_strictness(const struct tls_situation *s, bool is_tried)
{
	enum tls_source source = has_sts(s, TLS_STS_TESTING)
				     ? TLS_FROM_STS_TESTING
				     : TLS_FROM_STRICTNESS;

	if (s->is_exhaustive && !has_pem(s))
		return use(TLS_LEVEL_NONE, TLS_FROM_HOSTFILE);
	if (!s->has_anchors && !is_tried)
		return use(TLS_LEVEL_NONE, source);
	if (s->strictness >= 2)
		return choose_verify(s, source);
	return use(s->strictness == 0 ? TLS_LEVEL_MAY : TLS_LEVEL_ENCRYPT,
	    source);
}

static struct choice
choose_without_dane(const struct tls_situation *s, bool is_tried)
{
	if (!has_sts(s, TLS_STS_ENFORCE))
		return choose_by_strictness(s, is_tried);
	if (!s->is_listed)
		return skip(TLS_SKIP_STS, TLS_LEVEL_VERIFY,
		    TLS_FROM_STS_ENFORCE);
	return use(TLS_LEVEL_VERIFY, TLS_FROM_STS_ENFORCE);
}

/* The administrator has said that this host may do without TLS. */
static bool
may_be_clear(const struct tls_situation *s)
{
	if (s->rule == TLS_RULE_ABSENT)
		return s->hostfile == TLS_HOSTFILE_CLEAR;
	return s->rule == TLS_RULE_NONE || s->rule == TLS_RULE_MAY;
}

static struct choice
raise_for_credentials(const struct tls_situation *s, struct choice c)
{
	enum tls_source source =
	    c.source == TLS_FROM_STS_TESTING ? c.source : TLS_FROM_CREDENTIALS;

	if (c.level >= TLS_LEVEL_VERIFY || s->rule == TLS_RULE_ENCRYPT)
		return c;
	if (may_be_clear(s))
		return skip(TLS_SKIP_CREDENTIALS, TLS_LEVEL_VERIFY, c.source);
	if (!s->has_anchors)
		return skip(TLS_SKIP_UNVERIFIED, TLS_LEVEL_VERIFY, source);
	return use(TLS_LEVEL_VERIFY, source);
}

/*
 * A server on a port with implicit TLS expects TLS from the first byte, so
 * there is no clear text with it, whatever the policy allows.
 */
static struct choice
raise_for_port(struct choice c)
{
	if (c.level >= TLS_LEVEL_ENCRYPT)
		return c;
	return use(TLS_LEVEL_ENCRYPT,
	    c.source == TLS_FROM_STS_TESTING ? c.source : TLS_FROM_PORT);
}

/* What is demanded besides what the administrator and the DNS say. */
static struct choice
raise(const struct tls_situation *s, struct choice c)
{
	bool is_without_usable = c.is_without_usable;

	if (c.skip != TLS_SKIP_NOT)
		return c;
	if (s->has_credentials)
		c = raise_for_credentials(s, c);
	if (s->is_implicit)
		c = raise_for_port(c);
	c.is_without_usable = is_without_usable;
	return c;
}

/*
 * There are TLSA records, so the server has TLS, but they prove nothing (RFC
 * 7672 section 2.2).
 */
static struct choice
choose_without_usable(const struct tls_situation *s)
{
	struct choice c;

	if (s->rule == TLS_RULE_DANE_ONLY)
		return skip(TLS_SKIP_DANE_UNUSABLE, TLS_LEVEL_DANE,
		    TLS_FROM_RULE);
	c = choose_without_dane(s, true);
	if (c.level < TLS_LEVEL_VERIFY)
		c = use(TLS_LEVEL_ENCRYPT, TLS_FROM_DANE);
	c.is_without_usable = true;
	return c;
}

static struct choice
choose_by_dane(const struct tls_situation *s)
{
	switch (s->dane) {
	case TLS_DANE_USABLE:
		return use(TLS_LEVEL_DANE, TLS_FROM_DANE);
	case TLS_DANE_UNUSABLE:
		return choose_without_usable(s);
	case TLS_DANE_FAILED:
		return skip(TLS_SKIP_DANE_FAILED, TLS_LEVEL_DANE,
		    TLS_FROM_DANE);
	default:
		if (s->rule == TLS_RULE_DANE_ONLY)
			return skip(TLS_SKIP_DANE_ABSENT, TLS_LEVEL_DANE,
			    TLS_FROM_RULE);
		return choose_without_dane(s, s->rule == TLS_RULE_DANE);
	}
}

static struct choice
choose_by_hostfile(const struct tls_situation *s)
{
	switch (s->hostfile) {
	case TLS_HOSTFILE_CLEAR:
		return use(TLS_LEVEL_NONE, TLS_FROM_HOSTFILE);
	case TLS_HOSTFILE_ENCRYPT:
		return use(TLS_LEVEL_ENCRYPT, TLS_FROM_HOSTFILE);
	case TLS_HOSTFILE_VERIFY:
		return use(TLS_LEVEL_VERIFY, TLS_FROM_HOSTFILE);
	default:
		if (s->is_not_required || !s->is_trusted)
			return choose_without_dane(s, false);
		return choose_by_dane(s);
	}
}

static struct choice
choose(const struct tls_situation *s)
{
	switch (s->rule) {
	case TLS_RULE_NONE:
		return use(TLS_LEVEL_NONE, TLS_FROM_RULE);
	case TLS_RULE_MAY:
		return use(TLS_LEVEL_MAY, TLS_FROM_RULE);
	case TLS_RULE_ENCRYPT:
		return use(TLS_LEVEL_ENCRYPT, TLS_FROM_RULE);
	case TLS_RULE_VERIFY:
		return s->anchors ? use(TLS_LEVEL_VERIFY, TLS_FROM_RULE)
				  : choose_verify(s, TLS_FROM_RULE);
	case TLS_RULE_DANE:
	case TLS_RULE_DANE_ONLY:
		if (!s->is_trusted)
			return skip(TLS_SKIP_RESOLVER, TLS_LEVEL_DANE,
			    TLS_FROM_RULE);
		return choose_by_dane(s);
	default:
		return choose_by_hostfile(s);
	}
}

static bool
is_unlisted(const struct tls_situation *s, enum tls_source source)
{
	return source == TLS_FROM_STS_TESTING && !s->is_listed;
}

static void
add_dane(struct tls_policy *p, const struct tls_situation *s)
{
	struct choice c = raise(s, choose_without_usable(s));

	p->name = s->tlsa_base;
	p->names = s->tlsa_names;
	p->tlsa = s->tlsa;
	p->is_unlisted = is_unlisted(s, c.source);
	p->unusable =
	    (struct tls_unusable){ c.level, c.source, c.skip, s->name };
}

struct tls_policy
tls_policy_choose(const struct tls_situation *s)
{
	struct choice c = raise(s, choose(s));
	struct tls_policy p = { .level = c.level,
		.name = s->name,
		.source = c.source,
		.skip = c.skip,
		.is_implicit = s->is_implicit };

	p.is_unlisted = is_unlisted(s, c.source);
	if (c.skip != TLS_SKIP_NOT)
		return p;
	p.is_without_usable = c.is_without_usable;
	if (c.level == TLS_LEVEL_DANE)
		add_dane(&p, s);
	else if (c.level == TLS_LEVEL_VERIFY && c.source == TLS_FROM_RULE) {
		p.names = s->match;
		p.anchors = s->anchors;
	} else if (c.level == TLS_LEVEL_VERIFY && c.source == TLS_FROM_HOSTFILE)
		p.anchors = s->pem;
	return p;
}

enum tls_dane
tls_dane_state(const struct tlsa_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		if (tlsa_is_usable(set, i))
			return TLS_DANE_USABLE;
	return set->n > 0 ? TLS_DANE_UNUSABLE : TLS_DANE_ABSENT;
}

bool
tls_policy_tries(const struct tls_policy *p)
{
	return p->level != TLS_LEVEL_NONE;
}

bool
tls_policy_requires(const struct tls_policy *p)
{
	return p->level >= TLS_LEVEL_ENCRYPT;
}

bool
tls_policy_verifies(const struct tls_policy *p)
{
	return p->level >= TLS_LEVEL_VERIFY;
}

bool
tls_policy_falls_back(const struct tls_policy *p)
{
	return p->level == TLS_LEVEL_MAY;
}

bool
tls_policy_allows_clear(const struct tls_policy *p)
{
	if (p->level == TLS_LEVEL_ENCRYPT)
		return !p->is_implicit &&
		       (p->source == TLS_FROM_STRICTNESS ||
			   p->source == TLS_FROM_STS_TESTING);
	return p->level < TLS_LEVEL_ENCRYPT;
}

unsigned long
tls_policy_security(const struct tls_policy *p)
{
	switch (p->level) {
	case TLS_LEVEL_VERIFY:
		return 2;
	case TLS_LEVEL_DANE:
	case TLS_LEVEL_ENCRYPT:
		return 1;
	default:
		return 0;
	}
}

const char *
tls_skip_text(enum tls_skip reason)
{
	switch (reason) {
	case TLS_SKIP_RESOLVER:
		return "control/tlspolicy demands DANE, and no resolver is "
		       "trusted";
	case TLS_SKIP_DANE_FAILED:
		return "its TLSA records could not be looked up";
	case TLS_SKIP_DANE_ABSENT:
		return "control/tlspolicy demands DANE, and it has no secure "
		       "TLSA records";
	case TLS_SKIP_DANE_UNUSABLE:
		return "control/tlspolicy demands DANE, and none of its TLSA "
		       "records can be used";
	case TLS_SKIP_STS:
		return "the MTA-STS policy of the domain does not list it";
	case TLS_SKIP_ANCHORS:
		return "its certificate has to be verified, and there are no "
		       "trust anchors";
	case TLS_SKIP_CREDENTIALS:
		return "credentials are sent in TLS only, and "
		       "control/tlspolicy or control/notlshosts does without";
	case TLS_SKIP_UNVERIFIED:
		return "credentials are sent to a verified server only, and "
		       "there are no trust anchors";
	default:
		return "";
	}
}
