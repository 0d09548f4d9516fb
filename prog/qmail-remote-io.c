/* SPDX-License-Identifier: ISC */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mask.h"
#include "delivery/batch.h"
#include "delivery/handoff.h"
#include "delivery/keep.h"
#include "delivery/lesson.h"
#include "delivery/record.h"
#include "delivery/secrets.h"
#include "io/sandbox.h"
#include "io/spawn.h"
#include "qmail/memory.h"
#include "qmail/quote.h"
#include "qmail/report.h"
#include "smtp/auth.h"
#include "tls/helper.h"

#include "start.h"
#include "version.h"

#define MEMORY_MAX ((size_t)64 << 20) /* for the longest of envelopes */

/* What the server must not repeat in the report. */
static bool
hide_secrets(const struct handoff *h)
{
	static struct mask mask;
	struct credentials credentials = { .kind = CREDENTIALS_NONE };

	if (h->secrets == 0)
		return true;
	if (!secrets_take((int)h->secrets, &credentials))
		return false;
	smtp_auth_hide(&credentials, &mask);
	credentials_finish(&credentials);
	report_mask(&mask);
	return true;
}

/* qmail-remote has looked at all of it before. */
static bool
is_invoked_properly(int argc, char **argv, struct handoff *h,
    struct smtp_ehlo *ehlo, struct buf *reverse_path)
{
	if (!handoff_parse(h, argc, argv))
		return false;
	if (h->extensions)
		smtp_ehlo_parse(ehlo, h->extensions);
	return quote_sender(reverse_path, h->envelope[0],
		   smtp_ehlo_has(ehlo, SMTP_EXT_SMTPUTF8)) == 0 &&
	       reverse_path->len <= SMTP_PATH_MAX;
}

static int
refuse_invocation(void)
{
	struct dsn why = { 0 };

	failure_set(&why, FAILURE_USAGE_IO, "");
	report_failure(&why);
	report_end();
	return 0;
}

static size_t
count(char *const *argument)
{
	size_t n = 0;

	while (argument[n])
		n++;
	return n;
}

/* For the next delivery to this address. */
static void
leave_notes(const struct handoff *h, const struct batch *batch,
    struct smtp_session *session)
{
	const struct lesson lesson = {
		.result = &batch_last(batch)->result,
		.was_pipelined =
		    smtp_ehlo_has(&session->ehlo, SMTP_EXT_PIPELINING),
		.has_ended = smtp_session_has_ended(session),
		.used_helo = h->helo,
	};
	struct ip ip;

	if (h->memory == 0 || !ip_parse(h->address, strlen(h->address), &ip))
		return;
	for (int kind = 0; kind < MEMORY_KINDS; kind++)
		if (lesson_has(&lesson, (enum memory_kind)kind))
			memory_note((int)h->memory, &ip, (enum memory_kind)kind,
			    (int64_t)time(NULL));
}

static void
set_session(struct smtp_session *s, const struct handoff *h,
    const struct smtp_ehlo *ehlo)
{
	smtp_session_init(s, (int)h->fd, h->timeout_s);
	s->is_through_helper = h->status > 0;
	s->ehlo = *ehlo;
	s->mails = h->used;
	s->is_reused = h->progress > 0;
	if (h->progress > 0)
		s->progress = (int)h->progress;
}

/*
 * Ends the session.  The connection is closed when qmail-remote-tls has ended,
 * which takes it a moment, wherever it was started.  Until then this delivery
 * keeps its place under control/concurrencyhosts.
 */
static void
close_session(const struct handoff *h, struct smtp_session *session)
{
	smtp_session_quit(session);
	close((int)h->fd);
	if (h->status > 0)
		tls_helper_await_end((int)h->status,
		    deadline_in(TLS_HELPER_END_MS));
}

/*
 * Lets the next delivery have the session, or ends it.  If it lives on, so does
 * qmail-remote-tls; otherwise that is waited for: by qmail-remote, if that is
 * there and has the connection, too.
 */
static void
end_session(const struct handoff *h, struct smtp_session *session,
    const struct batch *batch)
{
	/* Too large for the stack. */
	static char bytes[CACHE_MESSAGE_MAX];

	if (keep_session(h, session, batch_last(batch), bytes))
		return;
	if (h->progress > 0) {
		smtp_session_quit(session);
		return;
	}
	close_session(h, session);
	end_helpers();
}

/* The connection is not usable, and qmail-remote can make another one. */
static int
give_back(struct smtp_session *session)
{
	smtp_session_quit(session);
	return HANDOFF_EXIT_AGAIN;
}

/* Returns the exit code. */
static int
deliver(const struct handoff *h, const struct smtp_ehlo *ehlo,
    const char *reverse_path)
{
	const struct batch_sender sender = {
		.path = reverse_path,
		.needs_smtputf8 = quote_needs_smtputf8(h->envelope[0]),
	};
	/* Too large for the stack. */
	static struct smtp_session session;
	static struct smtp_message message;
	struct batch batch;
	struct outcome outcome;

	set_session(&session, h, ehlo);
	batch_prepare(&batch, h->envelope + 1, count(h->envelope + 1), ehlo);
	smtp_message_open(&message, 0, smtp_transaction_measures(ehlo));
	batch_run(&batch, &sender, &session, &message);
	if (batch_last(&batch)->result.outcome == SMTP_STALE)
		return give_back(&session);
	outcome = batch_outcome(&batch, &session, &message);
	record_outcome(&outcome, h, &session);
	report_end();
	leave_notes(h, &batch, &session);
	end_session(h, &session, &batch);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct buf reverse_path;
	struct smtp_ehlo ehlo = { 0 };
	struct handoff h;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-io"));
	start_program();
	if (!is_invoked_properly(argc, argv, &h, &ehlo, &reverse_path) ||
	    !hide_secrets(&h))
		return refuse_invocation();
	/*
	 * If qmail-remote has died, the message is tried again.  One that has
	 * died before this is noticed at the latest when progress is written.
	 */
	if (h.progress > 0)
		spawn_end_with_parent();
	sandbox_enter_bytes(MEMORY_MAX, h.cache > 0 ? (int)h.cache : -1);
	return deliver(&h, &ehlo, buf_text(&reverse_path));
}
