/* SPDX-License-Identifier: ISC */
#include "delivery/keep.h"

#include <assert.h>
#include <stdio.h>

#include "io/fdio.h"
#include "io/pass.h"

static bool
is_delivered(const struct attempted *a)
{
	return a->result.end == SMTP_END_MAIL_DATA &&
	       a->result.outcome == SMTP_DONE;
}

/* Whether nothing is on its way but a reply to the next command. */
static bool
is_idle(struct smtp_session *s)
{
	return s->state.phase == SMTP_PHASE_READY &&
	       smtp_state_count(&s->state) == 0 &&
	       !stream_is_pending(&s->stream) &&
	       !smtp_session_is_within_line(s) && stream_is_quiet(&s->stream);
}

/* qmail-remote-tls says when it ends. */
static bool
is_helper_silent(const struct handoff *h)
{
	return h->status == 0 ||
	       fdio_wait((int)h->status, POLLIN, deadline_in(0)) == 0;
}

static bool
send_keep(const struct handoff *h, const struct smtp_session *s,
    char bytes[CACHE_MESSAGE_MAX])
{
	const struct cache_message message = {
		.kind = CACHE_KEEP,
		.session.used = (unsigned long)s->mails,
	};
	const int fd[] = {
		[CACHE_FD_SESSION] = (int)h->fd,
		[CACHE_FD_STATUS] = (int)h->status,
	};
	size_t n = cache_message_format(&message, bytes);

	assert(n > 0);
	return pass_send((int)h->cache, bytes, n, fd, h->status ? 2 : 1) == 0;
}

/* True if the number is in the pipe. */
static bool
write_used(const struct handoff *h, const struct smtp_session *s)
{
	char text[24];
	int n = snprintf(text, sizeof text, "%lu", (unsigned long)s->mails);

	return fdio_write((int)h->progress, text, (size_t)n) == n;
}

bool
keep_session(const struct handoff *h, struct smtp_session *s,
    const struct attempted *last, char bytes[CACHE_MESSAGE_MAX])
{
	if (!is_delivered(last) || s->has_refused_parameters || !is_idle(s) ||
	    !is_helper_silent(h))
		return false;
	if (h->progress != 0)
		return write_used(h, s);
	return h->cache != 0 && send_keep(h, s, bytes);
}
