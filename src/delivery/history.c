/* SPDX-License-Identifier: ISC */
#include "delivery/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void
history_begin_pass(struct history *h)
{
	h->pass = h->n;
}

struct attempt *
history_add(struct history *h)
{
	h->attempt = mem_resize(h->attempt, h->n + 1, sizeof *h->attempt);
	h->attempt[h->n] = (struct attempt){ 0 };
	return &h->attempt[h->n++];
}

static bool
has_replied(const struct attempt *a)
{
	return a->phase > ATTEMPT_IN_GREETING ||
	       a->cause != FAILURE_CONNECTION_DIED;
}

/*
 * After EHLO was refused, HELO was tried on a new connection, which died: the
 * refusal says more.
 */
static bool
is_explained_by(const struct attempt *a, const struct attempt *before)
{
	return a->used_helo && a->cause == FAILURE_CONNECTION_DIED &&
	       before->nreply > 0 && ip_equal(&a->ip, &before->ip);
}

/* Of two failures, whether the later one is what a report is about. */
static bool
says_more(const struct attempt *a, const struct attempt *before)
{
	if (before == NULL || a->is_local)
		return true;
	return has_replied(a) >= has_replied(before) &&
	       !is_explained_by(a, before);
}

const struct attempt *
history_decisive(const struct history *h)
{
	const struct attempt *decisive = NULL;

	for (size_t i = 0; i < h->n; i++) {
		const struct attempt *a = &h->attempt[i];

		if (a->cause != FAILURE_NONE && says_more(a, decisive))
			decisive = a;
	}
	return decisive;
}

/* The same among the attempts with one address, none of which was ready. */
static const struct attempt *
decisive_of(const struct history *h, size_t address)
{
	const struct attempt *decisive = NULL;

	for (size_t i = h->pass; i < h->n; i++) {
		const struct attempt *a = &h->attempt[i];

		if (a->address == address && says_more(a, decisive))
			decisive = a;
	}
	return decisive;
}

/* "greeting failed: 421 too busy" */
static void
explain(const struct attempt *a, struct buf *lines)
{
	char text[FAILURE_TEXT_SIZE], tls[TLS_SENTENCE_SIZE];
	const char *line_end;

	buf_puts(lines, failure_brief(text, a->cause));
	attempt_describe_tls(a, tls);
	if (a->nreply > 0) {
		line_end = memchr(a->reply, '\n', a->nreply);
		buf_puts(lines, ": ");
		buf_append(lines, a->reply,
		    line_end ? (size_t)(line_end - a->reply) : a->nreply);
	} else if (tls[0] != '\0')
		buf_printf(lines, ": %s", tls);
}

static bool
has_failed(const struct history *h, const struct connector *c, size_t address)
{
	return connector_has_failed(c, address) ||
	       decisive_of(h, address) != NULL;
}

static void
append_line(const struct history *h, const struct connector *c, size_t address,
    struct buf *lines)
{
	const struct plan_address *a = &c->plan->address[address];
	const struct plan_host *host = &c->plan->host[a->host];
	char text[IP_TEXT_SIZE];

	if (lines->len > 0)
		buf_putc(lines, '\n');
	ip_format(&a->ip, text);
	if (host->is_literal)
		buf_printf(lines, "%s: ", text);
	else
		buf_printf(lines, "%s (%s): ", host->name, text);
	if (connector_has_failed(c, address))
		buf_puts(lines, connector_reason(c, address));
	else
		explain(decisive_of(h, address), lines);
}

/* The host of the first address that has failed, or else of this one. */
static size_t
first_host(const struct history *h, const struct connector *c, size_t address)
{
	size_t first = 0;

	while (first < address && !has_failed(h, c, first))
		first++;
	return c->plan->address[first].host;
}

void
history_append_others(const struct history *h, const struct connector *c,
    size_t address, struct buf *lines)
{
	size_t n = c->plan->naddress, start = n, told = 0;

	while (start > 0 && told < HISTORY_LINES_MAX)
		if (--start != address && has_failed(h, c, start))
			told++;
	for (; start < n; start++)
		if (start != address && has_failed(h, c, start))
			append_line(h, c, start, lines);
}

bool
history_has_lines(const struct history *h, const struct connector *c,
    size_t address)
{
	return first_host(h, c, address) != c->plan->address[address].host;
}

void
history_append_lines(const struct history *h, const struct connector *c,
    size_t address, struct buf *lines)
{
	if (history_has_lines(h, c, address))
		history_append_others(h, c, address, lines);
}

void
history_finish(struct history *h)
{
	for (size_t i = 0; i < h->n; i++)
		attempt_finish(&h->attempt[i]);
	free(h->attempt);
	*h = (struct history){ 0 };
}
