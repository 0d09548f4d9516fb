/* SPDX-License-Identifier: ISC */
#include "tls/policy.h"

static enum tls_level
choose_level(const struct tls_situation *s)
{
	if (!s->has_anchors)
		return TLS_LEVEL_NONE;
	if (s->strictness >= 2)
		return TLS_LEVEL_VERIFY;
	return s->strictness == 0 ? TLS_LEVEL_MAY : TLS_LEVEL_ENCRYPT;
}

struct tls_policy
tls_policy_choose(const struct tls_situation *s)
{
	return (struct tls_policy){ choose_level(s), s->name };
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
	return p->level == TLS_LEVEL_VERIFY;
}

bool
tls_policy_falls_back(const struct tls_policy *p)
{
	return p->level == TLS_LEVEL_MAY;
}

unsigned long
tls_policy_security(const struct tls_policy *p)
{
	if (p->level == TLS_LEVEL_VERIFY)
		return 2;
	return p->level == TLS_LEVEL_ENCRYPT ? 1 : 0;
}
