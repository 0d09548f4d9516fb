/* SPDX-License-Identifier: ISC */
#include "smtp/transaction.h"

#include <sys/stat.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "smtp/body.h"

#define READ_SIZE 65536 /* of the message, at a time */

static const char end_of_mail_data[] = ".\r\n";

/* Commands are numbered: 0 is MAIL, then the recipients, then DATA. */
struct group {
	struct smtp_session *session;
	const struct smtp_envelope *envelope;
	size_t sent;
	size_t answered;
	struct smtp_result result;
};

static size_t
data_command(const struct group *g)
{
	return g->envelope->nrecipient + 1;
}

static struct deadline
reply_deadline(const struct smtp_session *s)
{
	return deadline_in(1000 * (int64_t)s->timeout_s);
}

static size_t
path_command(char *out, const char *verb, const char *path)
{
	size_t verb_len = strlen(verb), path_len = strlen(path);

	memcpy(out, verb, verb_len);
	memcpy(out + verb_len, path, path_len);
	memcpy(out + verb_len + path_len, ">\r\n", 3);
	return verb_len + path_len + 3;
}

/* Puts the next command into the output, if there is room for it. */
static bool
put_command(struct group *g)
{
	char line[SMTP_PATH_MAX + 32];
	const struct smtp_envelope *e = g->envelope;
	size_t n;

	if (g->sent == 0) {
		n = path_command(line, "MAIL FROM:<", e->reverse_path);
	} else if (g->sent < data_command(g)) {
		n = path_command(line, "RCPT TO:<",
		    e->forward_path[g->sent - 1]);
	} else {
		n = strlen("DATA\r\n");
		memcpy(line, "DATA\r\n", n);
	}
	if (n > stream_room(&g->session->stream))
		return false;
	stream_put(&g->session->stream, line, n);
	g->sent++;
	return true;
}

static bool
may_send(const struct group *g)
{
	if (g->sent > data_command(g))
		return false;
	return g->sent == g->answered ||
	       smtp_ehlo_has(&g->session->ehlo, SMTP_EXT_PIPELINING);
}

/* Sets the result and says that the group is over. */
static bool
end(struct group *g, enum smtp_end where, enum smtp_outcome outcome)
{
	g->result.end = where;
	g->result.outcome = outcome;
	return false;
}

static enum smtp_outcome
classify(const struct smtp_reply *r)
{
	switch (smtp_reply_class(r)) {
	case 2:
		return SMTP_DONE;
	case 4:
	case 5:
		return SMTP_REFUSED;
	default:
		return SMTP_MALFORMED;
	}
}

static bool
judge_recipient(struct group *g, enum smtp_outcome outcome)
{
	const struct smtp_envelope *e = g->envelope;

	if (outcome == SMTP_DONE)
		g->result.accepted++;
	e->verdict(e->context, g->answered - 1, outcome, &g->session->reply);
	if (outcome == SMTP_MALFORMED)
		return end(g, SMTP_END_RCPT, outcome);
	g->answered++;

	/* Not pipelined, and nobody to send to: DATA need not be asked. */
	if (g->answered == data_command(g) && g->result.accepted == 0 &&
	    g->sent == g->answered)
		return end(g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	return true;
}

static bool
judge_data(struct group *g, bool well_formed)
{
	const struct smtp_reply *r = &g->session->reply;

	g->answered++;
	if (well_formed && r->code == 354)
		return true;
	if (g->result.accepted == 0 && well_formed)
		return end(g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	if (!well_formed || classify(r) != SMTP_REFUSED)
		return end(g, SMTP_END_DATA, SMTP_MALFORMED);
	return end(g, SMTP_END_DATA, SMTP_REFUSED);
}

/* The reply to the command that waits longest for one; false ends it all. */
static bool
judge(struct group *g, bool well_formed)
{
	enum smtp_outcome outcome =
	    well_formed ? classify(&g->session->reply) : SMTP_MALFORMED;

	if (g->answered == 0) {
		if (outcome != SMTP_DONE)
			return end(g, SMTP_END_MAIL, outcome);
		g->answered++;
		return true;
	}
	if (g->answered < data_command(g))
		return judge_recipient(g, outcome);
	return judge_data(g, well_formed);
}

static enum smtp_end
where(const struct group *g)
{
	if (g->answered == 0)
		return SMTP_END_MAIL;
	return g->answered < data_command(g) ? SMTP_END_RCPT : SMTP_END_DATA;
}

static bool
has_unread_input(const struct smtp_session *s)
{
	size_t n;

	(void)stream_input(&s->stream, &n);
	return n > 0;
}

/*
 * Sends the commands and judges the replies, up to the 354 for DATA.
 * False when it ended before, with the result set.
 */
static bool
run_group(struct group *g)
{
	struct smtp_session *s = g->session;
	struct deadline until = reply_deadline(s);

	while (g->answered <= data_command(g)) {
		enum smtp_reply_state state;

		if (g->answered == g->sent && stream_has_input(&s->stream))
			return end(g, where(g), smtp_session_unasked(s));
		while (may_send(g) && put_command(g))
			;
		state = smtp_session_parse(s, NULL);
		if (state != SMTP_REPLY_MORE) {
			if (!judge(g, state == SMTP_REPLY_DONE))
				return false;
			until = reply_deadline(s);
			continue;
		}
		if (stream_move(&s->stream, until) != STREAM_OK)
			return end(g, where(g), SMTP_DIED);
	}
	if (has_unread_input(s))
		return end(g, SMTP_END_DATA, smtp_session_unasked(s));
	return true;
}

/*
 * DATA was accepted though no recipient was: RFC 2920 section 3.1 asks for
 * the end of mail data alone, and for its reply to be ignored.
 */
static void
send_nothing(struct smtp_session *s)
{
	(void)stream_send(&s->stream, end_of_mail_data,
	    strlen(end_of_mail_data), 1000 * (int64_t)s->timeout_s);
}

/* What a server said before the mail data had ended: never "delivered". */
static struct smtp_result
early_reply(struct smtp_session *s, struct smtp_result r)
{
	r.outcome = smtp_session_reply(s, reply_deadline(s), NULL);
	if (r.outcome == SMTP_DONE)
		r.outcome = classify(&s->reply);
	if (r.outcome == SMTP_DONE)
		r.outcome = SMTP_MALFORMED;
	return r;
}

static struct smtp_result
final_reply(struct smtp_session *s, struct smtp_result r)
{
	r.outcome = smtp_session_reply(s, reply_deadline(s), NULL);
	if (r.outcome == SMTP_DONE)
		r.outcome = classify(&s->reply);
	r.in_doubt = r.outcome == SMTP_MALFORMED || r.outcome == SMTP_DIED;
	return r;
}

/* Sends encoded mail data; true when all of it went out unanswered. */
static bool
send_piece(struct smtp_session *s, const char *p, size_t n,
    struct smtp_result *r)
{
	switch (stream_send(&s->stream, p, n, 1000 * (int64_t)s->timeout_s)) {
	case STREAM_OK:
		return true;
	case STREAM_SPOKE:
		*r = early_reply(s, *r);
		return false;
	default:
		r->outcome = SMTP_DIED;
		return false;
	}
}

/* The last of the mail data and its end: doubt begins when all of it left. */
static struct smtp_result
send_end(struct smtp_session *s, const char *p, size_t n, struct smtp_result r)
{
	if (stream_has_input(&s->stream))
		return early_reply(s, r);
	return send_piece(s, p, n, &r) ? final_reply(s, r) : r;
}

/* Bytes that a regular file still has, -1 for what has no size. */
static off_t
bytes_left(int fd)
{
	struct stat st;
	off_t at;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		return -1;
	at = lseek(fd, 0, SEEK_CUR);
	return at == -1 || at > st.st_size ? -1 : st.st_size - at;
}

/*
 * A piece is kept back until the next read has shown that it is not the
 * last, so that the end of mail data leaves together with what precedes it.
 */
static struct smtp_result
send_message(struct smtp_session *s, int fd, struct smtp_result r)
{
	static char in[READ_SIZE];
	static char out[SMTP_BODY_OUT(READ_SIZE) + READ_SIZE / 2];
	struct smtp_body body = { 0 };
	off_t expected = bytes_left(fd), total = 0;
	size_t n = 0;
	ssize_t got;

	r.end = SMTP_END_MAIL_DATA;
	while ((got = fdio_read(fd, in, sizeof in)) > 0) {
		total += got;
		if (SMTP_BODY_OUT((size_t)got) + 8 > sizeof out - n) {
			if (!send_piece(s, out, n, &r))
				return r;
			n = 0;
		}
		n += smtp_body_encode(&body, in, (size_t)got, out + n);
	}
	if (got == -1 || (expected != -1 && total != expected)) {
		r.end = SMTP_END_MESSAGE;
		r.outcome = SMTP_DIED; /* amid mail data there is no QUIT */
		return r;
	}
	n += smtp_body_end(&body, out + n);
	memcpy(out + n, end_of_mail_data, strlen(end_of_mail_data));
	return send_end(s, out, n + strlen(end_of_mail_data), r);
}

struct smtp_result
smtp_transaction(struct smtp_session *s, const struct smtp_envelope *envelope,
    int fd)
{
	struct group g = { .session = s, .envelope = envelope };

	if (!run_group(&g))
		return g.result;
	if (g.result.accepted == 0) {
		send_nothing(s);
		end(&g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
		return g.result;
	}
	return send_message(s, fd, g.result);
}
