/* SPDX-License-Identifier: ISC */
#include "delivery/record.h"

#include <string.h>

#include "qmail/report.h"
#include "tls/helper.h"

static void
put_line(enum failure_cause cause, const char *address, const char *sizes,
    struct outcome_text reply)
{
	char text[FAILURE_TEXT_SIZE];

	report_puts(failure_line(text, cause, address, sizes));
	report_reply(reply.bytes, reply.len);
}

static void
record_recipients(const struct outcome *o, const char *address)
{
	struct outcome_recipient r;

	for (size_t i = 0; i < o->nverdict && outcome_recipient(o, i, &r);
	     i++) {
		report_recipient(r.kind);
		if (r.cause != FAILURE_NONE)
			put_line(r.cause, address, "", r.reply);
	}
}

/* That the connection died need not be the server's doing. */
static void
record_dead_helper(const struct handoff *h, struct smtp_session *s)
{
	char text[TLS_TEXT_SIZE];
	enum tls_end end;

	if (h->status == 0 || !smtp_session_has_ended(s))
		return;
	end = tls_helper_end((int)h->status, (pid_t)h->helper, text);
	if (end == TLS_END_NONE || end == TLS_END_LOCAL)
		report_line("", text);
}

/* A line for each server that failed before this one. */
static void
record_before(const char *lines)
{
	/* On the stack: running out of memory must not change the outcome. */
	char line[1000];

	while (*lines) {
		size_t n = strcspn(lines, "\n");
		size_t fits = n < sizeof line ? n : sizeof line - 1;

		memcpy(line, lines, fits);
		line[fits] = '\0';
		report_line("Tried before: ", line);
		lines += n + (lines[n] == '\n');
	}
}

void
record_outcome(const struct outcome *o, const struct handoff *h,
    struct smtp_session *s)
{
	struct outcome_message m;

	record_recipients(o, h->address);
	outcome_message(o, &m);
	report_message(m.kind);
	put_line(m.cause, h->address, m.sizes, m.reply);
	if (m.cause == FAILURE_CONNECTION_DIED ||
	    m.cause == FAILURE_CONNECTION_DIED_IN_DOUBT)
		record_dead_helper(h, s);
	if (h->host)
		report_line("Server: ", h->host);
	if (h->before)
		record_before(h->before);
	if (h->tls)
		report_line("TLS: ", h->tls);
}
