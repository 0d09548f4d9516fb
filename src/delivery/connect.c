/* SPDX-License-Identifier: ISC */
#include "delivery/connect.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

void
connector_begin(struct connector *c, struct plan *plan,
    const struct tcpto *tcpto, unsigned long timeout_s, struct deadline until)
{
	size_t n = plan->naddress;

	c->plan = plan;
	c->tcpto = tcpto;
	c->timeout_ms =
	    timeout_s > INT_MAX / 1000 ? INT_MAX : (int)timeout_s * 1000;
	c->until = until;
	c->target = mem_alloc(n, sizeof *c->target);
	c->was_known = mem_alloc(n, sizeof *c->was_known);
	c->is_noted = mem_alloc(n, sizeof *c->is_noted);
	c->failure = mem_alloc(n, sizeof *c->failure);
	for (size_t i = 0; i < n; i++) {
		c->target[i].ip = plan->address[i].ip;
		c->target[i].port = plan->port;
		if (plan->address[i].use != PLAN_USED)
			c->target[i].state = DIAL_SKIPPED;
	}
}

static unsigned
preference(const struct connector *c, size_t i)
{
	return c->plan->host[c->plan->address[i].host].preference;
}

/* One past the last address with the preference of the one at start. */
static size_t
group_end(const struct connector *c, size_t start)
{
	size_t end = start;

	while (end < c->plan->naddress &&
	       preference(c, end) == preference(c, start))
		end++;
	return end;
}

static bool
has_failed(const struct dial_target *t)
{
	return t->state == DIAL_FAILED || t->state == DIAL_UNABLE;
}

/* What could not be connected to cannot be under another name either. */
static bool
copy_failure(struct connector *c, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (!has_failed(&c->target[k]) ||
		    !ip_equal(&c->target[k].ip, &c->target[i].ip))
			continue;
		c->target[i].state = c->target[k].state;
		c->target[i].error = c->target[k].error;
		c->is_noted[i] = true;
		return true;
	}
	return false;
}

/* Asked as late as possible: other deliveries learn things meanwhile. */
static void
skip_dead(struct connector *c, size_t start, size_t end)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = start; i < end; i++) {
		struct dial_target *t = &c->target[i];

		if (t->state != DIAL_UNTRIED || copy_failure(c, i))
			continue;
		if (tcpto_skips(c->tcpto, &t->ip, now, &c->was_known[i])) {
			t->state = DIAL_SKIPPED;
			c->plan->address[i].use = PLAN_TIMED_OUT;
		}
	}
}

static void
note(struct connector *c, size_t start, size_t end)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = start; i < end; i++) {
		const struct dial_target *t = &c->target[i];

		if (c->is_noted[i] ||
		    (t->state != DIAL_FAILED && t->state != DIAL_CONNECTED))
			continue;
		c->is_noted[i] = true;
		if (t->state == DIAL_FAILED && t->error == ETIMEDOUT)
			tcpto_timed_out(c->tcpto, &t->ip, now);
		else if (c->was_known[i])
			tcpto_answered(c->tcpto, &t->ip);
	}
}

bool
connector_next(struct connector *c, struct dialed *won)
{
	bool is_connected = false;

	*won = (struct dialed){ .fd = -1 };
	for (size_t start = 0, end; start < c->plan->naddress; start = end) {
		if (is_connected || deadline_passed(c->until))
			break;
		end = group_end(c, start);
		skip_dead(c, start, end);
		is_connected = dial_first(c->target + start, end - start,
		    c->timeout_ms, won);
		won->target += start;
		note(c, start, end);
	}
	return is_connected;
}

bool
connector_again(struct connector *c, size_t i, int *fd)
{
	struct dialed won;

	c->target[i].state = DIAL_UNTRIED;
	if (!dial_first(&c->target[i], 1, c->timeout_ms, &won))
		return false;
	*fd = won.fd;
	return true;
}

void
connector_failed(struct connector *c, size_t i, const char *reason)
{
	buf_cut(&c->failure[i], 0);
	buf_puts(&c->failure[i], reason);
}

const char *
connector_reason(const struct connector *c, size_t i)
{
	const struct dial_target *t = &c->target[i];

	if (c->failure[i].len > 0)
		return buf_text(&c->failure[i]);
	if (has_failed(t))
		return strerror(t->error);
	if (t->state == DIAL_CONNECTED)
		return NULL;
	if (c->plan->address[i].use == PLAN_TIMED_OUT)
		return "skipped, it timed out lately";
	return "not tried, the others took too long";
}

/* It was tried and failed, or was known to be dead. */
static bool
is_to_be_told(const struct connector *c, size_t i)
{
	return c->failure[i].len > 0 || has_failed(&c->target[i]) ||
	       c->plan->address[i].use == PLAN_TIMED_OUT;
}

static void
tell(const struct connector *c, size_t i, struct buf *lines)
{
	const struct plan_address *a = &c->plan->address[i];
	const struct plan_host *host = &c->plan->host[a->host];
	char text[IP_TEXT_SIZE];

	if (lines->len > 0)
		buf_putc(lines, '\n');
	ip_format(&a->ip, text);
	if (host->is_literal)
		buf_puts(lines, text);
	else
		buf_printf(lines, "%s (%s)", host->name, text);
	buf_printf(lines, ": %s", connector_reason(c, i));
}

/* The host of the first address that is to be told of, or of this one. */
static size_t
first_host(const struct connector *c, size_t i)
{
	size_t first = 0;

	while (first < i && !is_to_be_told(c, first))
		first++;
	return c->plan->address[first].host;
}

void
connector_tell(const struct connector *c, size_t i, struct buf *lines)
{
	size_t n = c->plan->naddress, start = n, told = 0;

	if (first_host(c, i) == c->plan->address[i].host)
		return;
	while (start > 0 && told < CONNECTOR_TOLD_MAX)
		if (is_to_be_told(c, --start))
			told++;
	for (; start < n; start++)
		if (is_to_be_told(c, start))
			tell(c, start, lines);
}

void
connector_finish(struct connector *c)
{
	for (size_t i = 0; i < c->plan->naddress; i++)
		buf_finish(&c->failure[i]);
	free(c->target);
	free(c->was_known);
	free(c->is_noted);
	free(c->failure);
	*c = (struct connector){ 0 };
}
