/* SPDX-License-Identifier: ISC */
#include "delivery/noserver.h"

#define TOLD_MAX 10 /* addresses in a report */

static void
record_attempt(const struct attempt *a)
{
	char text[FAILURE_TEXT_SIZE], address[IP_TEXT_SIZE];
	char tls[TLS_SENTENCE_SIZE];

	report_message(failure_message_kind(a->cause, false));
	ip_format(&a->ip, address);
	report_puts(failure_line(text, a->cause, address, ""));
	report_reply(a->reply, a->nreply);
	if (a->host)
		report_line("Server: ", a->host);
	attempt_describe_tls(a, tls);
	if (tls[0] != '\0')
		report_line("TLS: ", tls);
}

static void
record_unconnected(const struct connector *c)
{
	char text[FAILURE_TEXT_SIZE], address[IP_TEXT_SIZE];
	size_t told = 0;

	report_message(failure_message_kind(FAILURE_NOT_CONNECTED, false));
	report_puts(failure_line(text, FAILURE_NOT_CONNECTED, "", ""));
	for (size_t i = 0; i < c->plan->naddress && told < TOLD_MAX; i++) {
		const struct plan_address *a = &c->plan->address[i];

		if (a->use != PLAN_USED && a->use != PLAN_TIMED_OUT &&
		    a->use != PLAN_POLICY)
			continue;
		report_puts(ip_format(&a->ip, address));
		report_puts(": ");
		report_puts(connector_reason(c, i));
		report_puts("\n");
		told++;
	}
}

void
noserver_record(const struct search *s)
{
	const struct attempt *a = history_decisive(&s->history);

	if (a != NULL)
		record_attempt(a);
	else
		record_unconnected(&s->connector);
}
