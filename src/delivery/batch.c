/* SPDX-License-Identifier: ISC */
#include "delivery/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "qmail/quote.h"

/*
 * How far what is kept may be filled: the reply to the first message that was
 * delivered always has room, and so has one to a message that was refused.
 */
#define ROOM_DELIVERED BATCH_KEPT_MAX
#define ROOM_REFUSED (ROOM_DELIVERED - SMTP_REPLY_TEXT)
#define ROOM_RECIPIENT (ROOM_REFUSED - SMTP_REPLY_TEXT)

/* A path as it goes out; NULL if no command can hold it. */
static char *
quote(const char *recipient, const struct smtp_ehlo *ehlo)
{
	bool knows_smtputf8 = smtp_ehlo_has(ehlo, SMTP_EXT_SMTPUTF8);
	struct buf path = { 0 };

	if (quote_mailbox(&path, recipient, knows_smtputf8) == -1 ||
	    path.len > SMTP_PATH_MAX) {
		buf_finish(&path);
		return NULL;
	}
	/* An empty path needs a NUL at its end, too. */
	*buf_reserve(&path, 1) = '\0';
	return path.data;
}

static void
quote_recipients(struct batch *b, char *const *recipient,
    const struct smtp_ehlo *ehlo)
{
	for (size_t i = 0; i < b->nrecipient; i++) {
		char *path = quote(recipient[i], ehlo);

		if (!path) {
			b->verdict[i].kind = VERDICT_UNSENDABLE;
			continue;
		}
		b->path[b->npath] = path;
		b->needs_smtputf8[b->npath] =
		    quote_needs_smtputf8(recipient[i]);
		b->place[b->npath++] = i;
	}
}

/* Which transaction each recipient is to be in. */
static void
divide(struct batch *b, uint64_t rcptmax)
{
	b->at_a_time = b->npath;
	if (rcptmax > 0 && rcptmax < b->npath)
		b->at_a_time = (size_t)rcptmax;
	for (size_t i = 0; i < b->npath; i++)
		b->verdict[b->place[i]].attempt = i / b->at_a_time;
	b->nattempted = 1;
	if (b->npath > 0)
		b->nattempted = (b->npath - 1) / b->at_a_time + 1;
}

void
batch_prepare(struct batch *b, char *const *recipient, size_t nrecipient,
    const struct smtp_ehlo *ehlo)
{
	*b = (struct batch){ .nrecipient = nrecipient };
	b->verdict = mem_alloc(nrecipient, sizeof *b->verdict);
	b->path = mem_alloc(nrecipient, sizeof *b->path);
	b->place = mem_alloc(nrecipient, sizeof *b->place);
	b->needs_smtputf8 = mem_alloc(nrecipient, sizeof *b->needs_smtputf8);
	quote_recipients(b, recipient, ehlo);
	divide(b, ehlo->rcptmax);
	b->attempted = mem_alloc(b->nattempted, sizeof *b->attempted);
	/* Not zeroed: most replies are short, and take one page of it. */
	b->kept = mem_resize(NULL, BATCH_KEPT_MAX, 1);
}

/* A copy of the reply's text, or none where that is too much. */
static struct outcome_text
keep(struct batch *b, const struct smtp_reply *reply, size_t room)
{
	struct outcome_text text = { .bytes = b->kept + b->kept_len };

	if (reply->len + b->kept_len > room)
		return text;
	memcpy(b->kept + b->kept_len, reply->text, reply->len);
	b->kept_len += reply->len;
	text.len = reply->len;
	return text;
}

/*
 * After others were accepted 552 says that these are enough for one message
 * (RFC 5321 section 4.5.3.1.10); alone, that a mailbox is full.
 */
static void
take_verdict(void *context, size_t i, enum smtp_outcome outcome,
    const struct smtp_reply *reply)
{
	struct batch *b = context;
	struct verdict *v = &b->verdict[b->place[b->first + i]];

	if (outcome == SMTP_DONE) {
		v->kind = VERDICT_ACCEPTED;
		b->has_accepted = true;
		return;
	}
	v->kind = VERDICT_REFUSED;
	v->is_permanent = outcome_is_permanent(outcome, reply->code) &&
			  !(reply->code == 552 && b->has_accepted);
	v->reply = keep(b, reply, ROOM_RECIPIENT);
}

/* Whether an address of the transaction under way needs SMTPUTF8. */
static bool
needs_smtputf8(const struct batch *b, const struct batch_sender *sender,
    size_t count)
{
	bool needs = sender->needs_smtputf8;

	for (size_t i = 0; i < count && !needs; i++)
		needs = b->needs_smtputf8[b->first + i];
	return needs;
}

static void
run_one(struct batch *b, const struct batch_sender *sender, size_t count,
    struct attempted *a, struct smtp_session *s, struct smtp_message *m)
{
	struct smtp_envelope envelope = {
		.reverse_path = sender->path,
		.forward_path = (const char *const *)b->path + b->first,
		.nrecipient = count,
		.needs_smtputf8 = needs_smtputf8(b, sender, count),
		.verdict = take_verdict,
		.context = b,
	};

	a->has_run = true;
	if (smtp_message_rewind(m) == -1) {
		a->result.end = SMTP_END_MESSAGE;
		return;
	}
	a->result = smtp_transaction(s, &envelope, m);
}

/* Nothing was sent, so there is no reply to it. */
static bool
is_unsent(const struct attempted *a)
{
	return a->result.end == SMTP_END_TOO_LARGE ||
	       a->result.end == SMTP_END_LIMIT ||
	       a->result.end == SMTP_END_MESSAGE;
}

/* What has been read last is that of the transaction that has ended. */
static void
take_reply(struct attempted *a, const struct smtp_reply *reply)
{
	/* Part of a reply says nothing, lines without a code do. */
	if (is_unsent(a) ||
	    (a->result.outcome == SMTP_DIED && !smtp_reply_has_no_code(reply)))
		return;
	a->code = reply->code;
	a->reply = (struct outcome_text){ reply->text, reply->len };
}

/* Another transaction follows, whose replies go over this one. */
static void
keep_reply(struct batch *b, struct attempted *a, const struct smtp_reply *reply)
{
	bool is_delivered = a->result.outcome == SMTP_DONE;

	if (a->reply.len == 0 || (is_delivered && b->has_delivered))
		a->reply.len = 0;
	else
		a->reply = keep(b, reply,
		    is_delivered ? ROOM_DELIVERED : ROOM_REFUSED);
	b->has_delivered = b->has_delivered || is_delivered;
}

static bool
is_in_step(const struct attempted *a)
{
	return a->result.outcome == SMTP_DONE ||
	       a->result.outcome == SMTP_REFUSED;
}

/* A connection that was used before: a new one takes more transactions. */
static bool
has_too_few_left(const struct batch *b, const struct smtp_session *s)
{
	return s->is_reused && s->ehlo.mailmax > 0 &&
	       s->mails + b->nattempted > s->ehlo.mailmax;
}

void
batch_run(struct batch *b, const struct batch_sender *sender,
    struct smtp_session *s, struct smtp_message *m)
{
	bool goes_on = !has_too_few_left(b, s);

	if (!goes_on)
		b->attempted[0].result = (struct smtp_result){
			.end = SMTP_END_LIMIT,
			.outcome = SMTP_STALE,
		};
	for (size_t i = 0; goes_on && i < b->nattempted; i++) {
		struct attempted *a = &b->attempted[i];
		size_t left = b->npath - b->first;
		size_t count = left < b->at_a_time ? left : b->at_a_time;

		run_one(b, sender, count, a, s, m);
		b->first += count;
		take_reply(a, &s->reply);
		goes_on = is_in_step(a);
		if (goes_on && i + 1 < b->nattempted)
			keep_reply(b, a, &s->reply);
	}
}

struct outcome
batch_outcome(const struct batch *b, const struct smtp_session *s,
    const struct smtp_message *m)
{
	return (struct outcome){
		.verdict = b->verdict,
		.nverdict = b->nrecipient,
		.attempted = b->attempted,
		.nattempted = b->nattempted,
		.is_pipelined = smtp_ehlo_has(&s->ehlo, SMTP_EXT_PIPELINING),
		.size_limit = s->ehlo.size,
		.size = m->measure.size,
	};
}

const struct attempted *
batch_last(const struct batch *b)
{
	size_t i = b->nattempted;

	while (i > 1 && !b->attempted[i - 1].has_run)
		i--;
	return &b->attempted[i - 1];
}

void
batch_finish(struct batch *b)
{
	for (size_t i = 0; i < b->npath; i++)
		free(b->path[i]);
	free(b->path);
	free(b->place);
	free(b->needs_smtputf8);
	free(b->verdict);
	free(b->attempted);
	free(b->kept);
}
