/* SPDX-License-Identifier: ISC */
#include "dns/dane.h"

#include <stdio.h>

#include "base/str.h"

#define PREFIX_SIZE (sizeof "_65535._tcp." - 1)

/* Which questions decide whether the host has TLSA records. */
enum course {
	NO_DANE,  /* none: it has no address, or is insecure */
	OWN,      /* it is not an alias */
	EXPANDED, /* it is an alias, and secure */
	LINK      /* it is an alias, and its addresses are insecure */
};

static bool
is_secure(const struct dns_answer *a)
{
	return a->outcome != DNS_TEMPFAIL && a->security == DNS_SECURE;
}

/* The secure answer for its addresses, best one that has some; or NULL. */
static const struct dns_answer *
secure_answer(const struct dane_lookup *d)
{
	if (is_secure(d->v6) && d->v6->outcome == DNS_FOUND)
		return d->v6;
	if (is_secure(d->v4))
		return d->v4;
	return is_secure(d->v6) ? d->v6 : NULL;
}

static enum course
course_of(const struct dane_lookup *d)
{
	const struct dns_answer *secure = secure_answer(d);

	if (d->v6->outcome != DNS_FOUND && d->v4->outcome != DNS_FOUND)
		return NO_DANE;
	if (secure != NULL)
		return secure->is_alias ? EXPANDED : OWN;
	return d->v6->is_alias || d->v4->is_alias ? LINK : NO_DANE;
}

/*
 * Any answer but NOERROR and NXDOMAIN is a failure (RFC 7672 section 2.1.1):
 * who can suppress the records must not get the mail.
 */
static enum dns_tlsa_outcome
outcome_of(const struct dns_answer *tlsa)
{
	if (tlsa->outcome == DNS_TEMPFAIL)
		return DNS_TLSA_FAILED;
	if (tlsa->outcome == DNS_FOUND && tlsa->security == DNS_SECURE)
		return DNS_TLSA_FOUND;
	return DNS_TLSA_NONE;
}

static void
ask_tlsa(const struct dane_lookup *d, const char *name, struct dns_answer *into)
{
	char owner[PREFIX_SIZE + DNS_NAME_SIZE];

	(void)snprintf(owner, sizeof owner, "_%u._tcp.%s", d->port, name);
	dns_resolver_ask(d->resolver, owner, DNS_TLSA, into);
}

static void
give_up(const struct dane_lookup *d, struct dns_answer *a)
{
	if (a->is_pending)
		dns_resolver_forget(d->resolver, a);
}

void
dane_ask(struct dane_lookup *d)
{
	/* Until they are asked for. */
	d->expanded.outcome = d->link.outcome = DNS_TEMPFAIL;
	ask_tlsa(d, d->name, &d->own);
}

bool
dane_is_waiting(const struct dane_lookup *d)
{
	switch (course_of(d)) {
	case NO_DANE:
		break;
	case OWN:
		return d->own.is_pending;
	case EXPANDED:
		return d->expanded.is_pending ||
		       (outcome_of(&d->expanded) == DNS_TLSA_NONE &&
			   d->own.is_pending);
	case LINK:
		return d->link.is_pending ||
		       (is_secure(&d->link) && d->own.is_pending);
	}
	return false;
}

bool
dane_ask_more(struct dane_lookup *d)
{
	const char *expanded;

	switch (course_of(d)) {
	case NO_DANE:
	case OWN:
		break;
	case EXPANDED:
		expanded = secure_answer(d)->canonical;
		/* Otherwise the question has failed. */
		if (!dns_name_is_askable(expanded))
			break;
		ask_tlsa(d, expanded, &d->expanded);
		return true;
	case LINK:
		dns_resolver_ask(d->resolver, d->name, DNS_CNAME, &d->link);
		return true;
	}
	give_up(d, &d->own);
	return false;
}

static uint32_t
lesser(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The records at a name are the result. */
static void
take(struct dns_tlsa *result, struct dns_answer *tlsa, const char *name)
{
	result->outcome = outcome_of(tlsa);
	result->ttl_s = lesser(result->ttl_s, tlsa->ttl_s);
	if (result->outcome != DNS_TLSA_NONE)
		(void)str_copy(result->base, sizeof result->base, name);
	if (result->outcome != DNS_TLSA_FOUND)
		return;
	result->set = tlsa->tlsa;
	tlsa->tlsa = (struct tlsa_set){ 0 };
}

/* The name itself counts if its link is secure, wherever that leads. */
static void
take_link(struct dns_tlsa *result, struct dane_lookup *d)
{
	if (d->link.outcome == DNS_TEMPFAIL) {
		take(result, &d->link, d->name);
	} else if (is_secure(&d->link)) {
		result->ttl_s = d->link.ttl_s;
		take(result, &d->own, d->name);
	}
}

static void
decide(struct dane_lookup *d, struct dns_tlsa *result)
{
	switch (course_of(d)) {
	case NO_DANE:
		break;
	case OWN:
		take(result, &d->own, d->name);
		break;
	case EXPANDED:
		take(result, &d->expanded, secure_answer(d)->canonical);
		if (result->outcome == DNS_TLSA_NONE)
			take(result, &d->own, d->name);
		break;
	case LINK:
		take_link(result, d);
		break;
	}
}

void
dane_end(struct dane_lookup *d, struct dns_tlsa *result)
{
	struct dns_answer *answers[] = { &d->own, &d->expanded, &d->link };

	*result = (struct dns_tlsa){ .ttl_s = INT32_MAX };
	decide(d, result);
	if (result->outcome == DNS_TLSA_UNASKED)
		result->ttl_s = 0;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		give_up(d, answers[i]);
		dns_answer_finish(answers[i]);
	}
}
