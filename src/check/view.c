/* SPDX-License-Identifier: ISC */
#include "check/view.h"

#include <stdio.h>

const char *
view_left_out(enum plan_use use)
{
	static const char *const words[] = {
		[PLAN_USED] = "",
		[PLAN_OWN] = "it is this machine, or in control/ipme",
		[PLAN_NOT_BETTER] = "its MX host is no better than we are",
		[PLAN_FAMILY] = "control/ipfamily",
		[PLAN_DUPLICATE] = "a host before it has the same address",
		[PLAN_TOO_MANY] = "there are too many before it",
		[PLAN_TIMED_OUT] = "it timed out lately",
	};

	return words[use];
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
		tls_result_describe(&a->tls, sentence);
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
