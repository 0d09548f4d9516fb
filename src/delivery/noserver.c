/* SPDX-License-Identifier: ISC */
#include "delivery/noserver.h"

#include <string.h>

#define TOLD_MAX 10 /* addresses in a report */

/* Some host must not have the mail in clear text, whatever the others do. */
static bool
demands_tls(const struct plan *plan)
{
	for (size_t i = 0; i < plan->nhost; i++)
		if (!tls_policy_allows_clear(&plan->host[i].policy))
			return true;
	return false;
}

/* "host (address): reason", for all that failed but this address. */
static void
record_others(const struct search *s, size_t address)
{
	struct buf lines = { 0 };
	char *line;

	history_append_others(&s->history, &s->connector, address, &lines);
	for (line = lines.data; line != NULL;) {
		char *end = strchr(line, '\n');

		if (end != NULL)
			*end++ = '\0';
		report_line("Also tried: ", line);
		line = end;
	}
	buf_finish(&lines);
}

static void
record_attempt(const struct search *s, const struct attempt *a)
{
	char text[FAILURE_TEXT_SIZE], address[IP_TEXT_SIZE];
	char tls[TLS_SENTENCE_SIZE];

	report_message(failure_message_kind(a->cause, false));
	ip_format(&a->ip, address);
	report_puts(failure_line(text, a->cause, address, ""));
	report_reply(a->reply, a->nreply);
	if (a->host)
		report_line("Server: ", a->host);
	/*
	 * Who demands TLS has to know what is wrong with each host, and not
	 * only with the last one.
	 */
	if (demands_tls(s->connector.plan))
		record_others(s, a->address);
	attempt_describe_tls(a, tls);
	if (tls[0] != '\0')
		report_line("TLS: ", tls);
}

/* An address of ours that was chosen may be the reason why it failed. */
static void
record_address(const struct connector *c, size_t i)
{
	const struct plan_address *a = &c->plan->address[i];
	const struct ip *own = plan_source(c->plan, &a->ip)->ip;
	char text[IP_TEXT_SIZE];

	report_puts(ip_format(&a->ip, text));
	report_puts(": ");
	report_puts(connector_reason(c, i));
	if (own != NULL && a->use == PLAN_USED) {
		report_puts(" (from ");
		report_puts(ip_format(own, text));
		report_puts(")");
	}
	report_puts("\n");
}

static void
record_unconnected(const struct connector *c)
{
	char text[FAILURE_TEXT_SIZE];
	size_t told = 0;

	report_message(failure_message_kind(FAILURE_NOT_CONNECTED, false));
	report_puts(failure_line(text, FAILURE_NOT_CONNECTED, "", ""));
	for (size_t i = 0; i < c->plan->naddress && told < TOLD_MAX; i++) {
		const struct plan_address *a = &c->plan->address[i];

		if (a->use != PLAN_USED && a->use != PLAN_TIMED_OUT &&
		    a->use != PLAN_POLICY && a->use != PLAN_SOURCE)
			continue;
		record_address(c, i);
		told++;
	}
}

static void
record_closed(const struct search *s)
{
	const enum failure_cause cause = FAILURE_TOO_MANY_CONNECTIONS;
	char text[FAILURE_TEXT_SIZE];

	report_message(failure_message_kind(cause, false));
	report_puts(failure_line(text, cause, s->connector.why, ""));
	record_others(s, s->connector.plan->naddress);
}

void
noserver_record(const struct search *s)
{
	const struct attempt *a = history_decisive(&s->history);

	if (s->connector.answer == GATE_CLOSED)
		record_closed(s);
	else if (a != NULL)
		record_attempt(s, a);
	else
		record_unconnected(&s->connector);
}
