/* SPDX-License-Identifier: ISC */
#include "delivery/handshake.h"

#include <assert.h>
#include <string.h>

#include "base/str.h"

/* What the server has to prove. */
static void
set_verification(struct tls_helper *helper, const struct attempt_config *c,
    const struct tls_policy *policy)
{
	if (policy->level == TLS_LEVEL_VERIFY) {
		helper->anchors =
		    policy->anchors ? policy->anchors : c->anchors;
		helper->match = policy->names;
	} else if (policy->level == TLS_LEVEL_DANE) {
		helper->tlsa = policy->tlsa;
		helper->names = policy->names;
		if (policy->unusable.level == TLS_LEVEL_VERIFY &&
		    policy->unusable.skip == TLS_SKIP_NOT) {
			helper->anchors = c->anchors;
			helper->match = policy->unusable.name;
			helper->security = TLS_SECURITY_MAX;
		}
	}
}

/*
 * Who observes is told whether the certificate verifies, also where any
 * certificate will do; and so it is recorded for MTA-STS in testing mode.
 */
static void
ask_for_facts(struct tls_helper *helper, const struct attempt_config *c,
    struct tls_facts *facts)
{
	helper->facts = facts;
	helper->describe = helper->anchors ? TLS_DESCRIBE : TLS_DESCRIBE_ACCEPT;
	if (c->anchors[0] != '\0')
		helper->anchors = c->anchors;
}

/* Where TLS is mandatory, these are not enough. */
static bool
is_old(const struct tls_result *r)
{
	return strcmp(r->version, "TLSv1") == 0 ||
	       strcmp(r->version, "TLSv1.1") == 0;
}

static void
set_fault(struct handshake *h, enum attempt_fault fault, const char *text)
{
	h->test.fault = fault;
	(void)str_copy(h->test.text, sizeof h->test.text, text);
}

/* What the trust anchors say; the name is proved as if it had been demanded. */
static void
record_verdict(struct handshake *h, const struct tls_policy *policy)
{
	struct tls_result *r = &h->tls.result;

	if (h->facts.verdict != TLS_CAUSE_NONE) {
		set_fault(h, ATTEMPT_FAULT_CERTIFICATE,
		    h->facts.text[TLS_FACT_VERDICT]);
		h->test.cause = h->facts.verdict;
	} else if (r->proof == TLS_PROOF_NONE) {
		r->proof = TLS_PROOF_PKIX;
		(void)str_copy(r->verified, sizeof r->verified, policy->name);
	}
}

/* MTA-STS in testing mode: what the result would be in enforce mode. */
static void
record_test(struct handshake *h, const struct tls_policy *policy)
{
	if (policy->is_unlisted)
		set_fault(h, ATTEMPT_FAULT_UNLISTED,
		    tls_skip_text(TLS_SKIP_STS));
	else if (is_old(&h->tls.result))
		set_fault(h, ATTEMPT_FAULT_VERSION,
		    "TLS 1.2 or later is needed");
	else if (h->facts.is_known[TLS_FACT_VERDICT])
		record_verdict(h, policy);
}

/*
 * What the result means under the policy, beyond what the helper knows.  It is
 * the same whether it was seen without OpenSSL that no TLSA record can be used,
 * or is seen only now.
 */
static void
apply_policy(struct handshake *h, const struct tls_policy *policy)
{
	struct tls_result *r = &h->tls.result;

	if (policy->level == TLS_LEVEL_DANE && r->proof == TLS_PROOF_UNUSABLE)
		h->source = policy->unusable.source;
	if (h->source == TLS_FROM_STS_TESTING)
		record_test(h, policy);
	if (policy->is_without_usable)
		r->proof = TLS_PROOF_UNUSABLE;
}

static void
describe(struct handshake *h, const struct attempt_config *c,
    const struct tls_policy *policy)
{
	/* It is "", not NULL, without control/trustanchors. */
	assert(c->anchors != NULL);
	*h = (struct handshake){ .source = policy->source };
	h->helper = (struct tls_helper){
		.program = c->helper,
		.name = policy->name,
		.state = c->state,
		.clientcert = c->clientcert,
		.clientkey = c->clientkey,
		.security = tls_policy_security(policy),
		.timeout_s = c->timeout_handshake_s,
		.pass = c->pass,
		.pass_data = c->pass_data,
	};
	set_verification(&h->helper, c, policy);
	if (c->observer || policy->source == TLS_FROM_STS_TESTING)
		ask_for_facts(&h->helper, c, &h->facts);
}

void
handshake_make(struct handshake *h, const struct attempt_config *c,
    const struct tls_policy *policy, int connection)
{
	describe(h, c, policy);
	h->tls = tls_helper_start(&h->helper, connection);
	if (h->tls.result.status == TLS_STATUS_READY)
		apply_policy(h, policy);
}

void
handshake_prepare(struct handshake *h, const struct attempt_config *c,
    const struct tls_policy *policy, int connection)
{
	describe(h, c, policy);
	h->tls = tls_helper_prepare(&h->helper, connection);
}

void
handshake_perform(struct handshake *h, const struct tls_policy *policy,
    int connection)
{
	tls_helper_handshake(&h->helper, &h->tls, connection);
	if (h->tls.result.status == TLS_STATUS_READY)
		apply_policy(h, policy);
}

void
handshake_cancel(struct handshake *h)
{
	tls_helper_stop(&h->tls);
}
