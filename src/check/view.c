/* SPDX-License-Identifier: ISC */
#include "check/view.h"

#include <sys/stat.h>
#include <stdio.h>

const char *
view_left_out(enum plan_use use)
{
	static const char *const words[] = {
		[PLAN_USED] = "",
		[PLAN_OWN] = "it is this machine, or in control/ipme",
		[PLAN_NOT_BETTER] = "its MX host is no better than we are",
		[PLAN_FAMILY] = "control/ipfamily",
		[PLAN_POLICY] = "the TLS policy",
		[PLAN_SOURCE] =
		    "no connection can come from our address for it",
		[PLAN_DUPLICATE] = "a host before it has the same address",
		[PLAN_TOO_MANY] = "there are too many before it",
		[PLAN_TIMED_OUT] = "it timed out lately",
	};

	return words[use];
}

const char *
view_level(enum tls_level level)
{
	static const char *const words[] = {
		[TLS_LEVEL_NONE] = "clear text",
		[TLS_LEVEL_MAY] = "TLS where the server offers it, unverified",
		[TLS_LEVEL_ENCRYPT] = "TLS, unverified",
		[TLS_LEVEL_VERIFY] = "TLS, verified",
		[TLS_LEVEL_DANE] = "TLS, verified by TLSA records",
	};

	return words[level];
}

const char *
view_source(enum tls_source source)
{
	static const char *const words[] = {
		[TLS_FROM_STRICTNESS] = "control/tlsstrictness",
		[TLS_FROM_RULE] = "control/tlspolicy",
		[TLS_FROM_HOSTFILE] = "control/tlshosts or notlshosts",
		[TLS_FROM_DANE] = "DANE",
		[TLS_FROM_STS_ENFORCE] = "MTA-STS",
		[TLS_FROM_STS_TESTING] =
		    "control/tlsstrictness; MTA-STS is in testing mode",
		[TLS_FROM_PORT] = "port 465",
		[TLS_FROM_CREDENTIALS] = "the credentials for it",
	};

	return words[source];
}

void
view_dane(const struct setup *s, struct buf *text)
{
	const enum tlspolicy_level level = s->situation.rule.level;
	bool is_wanted = level == TLSPOLICY_DANE ||
			 level == TLSPOLICY_DANE_ONLY || s->control.dane > 0;

	if (!is_wanted)
		return;
	if (s->situation.wants_tlsa)
		buf_puts(text, "TLSA records are used");
	else if (!s->dns.is_trusted)
		buf_puts(text, "not used: the resolver is not trusted");
	else
		buf_puts(text, "not used: control/tlspolicy says otherwise");
}

void
view_sts(const struct setup *s, int64_t now, struct buf *text)
{
	static const char *const sources[] = {
		[STS_SOURCE_NONE] = "",
		[STS_SOURCE_CACHE] = "from the cache",
		[STS_SOURCE_FETCHED] = "just fetched",
	};
	const struct sts_lookup *l = &s->situation.sts;
	const struct sts_policy *policy = situation_sts(&s->situation);

	if (s->control.mtasts == 0)
		return;
	if (s->control.trustanchors.len == 0)
		buf_puts(text, "not used: there is no control/trustanchors");
	else if (s->situation.is_literal)
		buf_puts(text, "not used: the next hop is an address");
	else if (!s->situation.wants_sts)
		buf_puts(text, "not used: control/tlspolicy says otherwise");
	else if (policy != NULL)
		buf_printf(text,
		    "policy of mode %s, %s, for another %lld hours",
		    sts_mode_name(policy->mode), sources[l->source],
		    (long long)(l->expires - now) / 3600);
	else if (l->entry.failure.cause != STS_CAUSE_NONE)
		buf_printf(text, "no policy could be fetched: %s",
		    l->entry.failure.reason);
	else
		buf_puts(text, "the domain has no policy");
}

void
view_tlsa(const struct tlsa_set *set, size_t i, struct buf *text)
{
	const struct tlsa *r = &set->record[i];

	buf_printf(text, "%u %u %u ", r->usage, r->selector, r->matching);
	for (size_t k = 0; k < r->n; k++)
		buf_printf(text, "%02x", tlsa_data(set, i)[k]);
}

bool
view_is_exposed(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)) != 0;
}

void
view_exposed(const struct setup *s, struct buf *lines)
{
	const struct login *login = &s->route.login;
	const char *const path[] = { login->file, buf_text(&login->token) };

	if (!login_is_given(login))
		return;
	for (size_t i = 0; i < sizeof path / sizeof *path; i++)
		if (view_is_exposed(path[i]))
			buf_printf(lines, "%sall users can read %s",
			    lines->len > 0 ? "\n" : "", path[i]);
}

const char *
view_noted(enum memory_kind kind)
{
	static const char *const words[] = {
		[MEMORY_PIPELINING] = "commands one by one",
		[MEMORY_STALL] = "mail data stalled, tried last",
		[MEMORY_EHLO] = "EHLO fails, HELO is used",
		[MEMORY_TLS] = "the TLS handshake hangs",
	};

	return words[kind];
}

const char *
view_protection(const struct attempt *a)
{
	if (a->tls.status != TLS_STATUS_READY)
		return "clear text";
	return tls_result_is_verified(&a->tls)
		   ? "TLS, certificate verified"
		   : "TLS, certificate not verified";
}

void
view_tls(const struct attempt *a, char sentence[TLS_SENTENCE_SIZE])
{
	if (a->tls.status == TLS_STATUS_NONE)
		cleartext_describe(&a->cleartext, false, sentence);
	else
		attempt_describe_session(a, sentence);
}

void
view_put_server(const struct attempt *a)
{
	char text[IP_TEXT_SIZE];

	ip_format(&a->ip, text);
	if (a->host) {
		out_text(a->host);
		printf(" (%s)", text);
	} else
		out_text(text);
}
