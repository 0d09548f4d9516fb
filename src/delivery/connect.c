/* SPDX-License-Identifier: ISC */
#include "delivery/connect.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

void
connector_begin(struct connector *c, struct plan *plan,
    const struct tcpto *tcpto, const struct gate *gate, unsigned long timeout_s,
    struct deadline until)
{
	size_t n = plan->naddress;

	c->plan = plan;
	c->tcpto = tcpto;
	c->gate = gate;
	c->answer = GATE_OPEN;
	c->why = NULL;
	c->timeout_ms =
	    timeout_s > INT_MAX / 1000 ? INT_MAX : (int)timeout_s * 1000;
	c->until = until;
	c->target = mem_alloc(n, sizeof *c->target);
	c->was_known = mem_alloc(n, sizeof *c->was_known);
	c->is_noted = mem_alloc(n, sizeof *c->is_noted);
	for (size_t i = 0; i < n; i++) {
		c->target[i].ip = plan->address[i].ip;
		c->target[i].own = plan_source(plan, &c->target[i].ip)->ip;
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

/*
 * Puts a question to the gate, and holds back what is not to be connected to
 * yet.  may is false for each address of the preference.
 */
static void
ask_gate(struct connector *c, size_t start, size_t end, bool *may)
{
	size_t nasked = 0, nheld = 0;

	for (size_t i = start; i < end; i++) {
		may[i - start] = c->target[i].state == DIAL_UNTRIED;
		nasked += may[i - start];
	}
	if (nasked == 0)
		return;
	c->answer =
	    c->gate->ask(c->gate->data, c->plan, start, end, may, &c->why);
	for (size_t i = start; i < end; i++) {
		if (may[i - start] || c->target[i].state != DIAL_UNTRIED)
			continue;
		c->target[i].state = DIAL_HELD;
		nheld++;
	}
	assert(c->answer != GATE_OPEN || nheld < nasked);
}

/* Whether the addresses of this preference that are not held can be tried. */
static bool
pass_gate(struct connector *c, size_t start, size_t end)
{
	bool *may;

	if (c->gate == NULL)
		return true;
	may = mem_alloc(end - start, sizeof *may);
	ask_gate(c, start, end, may);
	free(may);
	return c->answer == GATE_OPEN;
}

/* False if nothing was held back. */
static bool
release(struct connector *c, size_t start, size_t end)
{
	bool was_held = false;

	for (size_t i = start; i < end; i++) {
		if (c->target[i].state != DIAL_HELD)
			continue;
		c->target[i].state = DIAL_UNTRIED;
		was_held = true;
	}
	return was_held;
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

/* Connects to one of the addresses of a preference. */
static bool
try_group(struct connector *c, size_t start, size_t end, struct dialed *won)
{
	bool is_connected;

	skip_dead(c, start, end);
	if (!pass_gate(c, start, end))
		return false;
	is_connected =
	    dial_first(c->target + start, end - start, c->timeout_ms, won);
	won->target += start;
	note(c, start, end);
	return is_connected;
}

bool
connector_next(struct connector *c, struct dialed *won)
{
	bool is_connected = false;
	size_t start = 0;

	*won = (struct dialed){ .fd = -1 };
	while (start < c->plan->naddress && !is_connected) {
		size_t end = group_end(c, start);

		if (c->answer != GATE_OPEN || deadline_passed(c->until))
			break;
		is_connected = try_group(c, start, end, won);
		/* What was held back comes before a worse preference. */
		if (!release(c, start, end))
			start = end;
	}
	return is_connected;
}

bool
connector_again(struct connector *c, size_t i, struct dialed *won)
{
	c->target[i].state = DIAL_UNTRIED;
	if (!dial_first(&c->target[i], 1, c->timeout_ms, won))
		return false;
	won->target = i;
	return true;
}

bool
connector_return(struct connector *c, size_t i, struct dialed *won)
{
	enum dial_state before = c->target[i].state;

	c->target[i].state = DIAL_UNTRIED;
	if (pass_gate(c, i, i + 1))
		return connector_again(c, i, won);
	c->target[i].state = before;
	return false;
}

bool
connector_has_failed(const struct connector *c, size_t i)
{
	enum plan_use use = c->plan->address[i].use;

	return has_failed(&c->target[i]) || use == PLAN_TIMED_OUT ||
	       use == PLAN_POLICY || use == PLAN_SOURCE;
}

const char *
connector_reason(const struct connector *c, size_t i)
{
	const struct dial_target *t = &c->target[i];
	const struct plan_address *a = &c->plan->address[i];

	if (a->use == PLAN_POLICY)
		return tls_skip_text(c->plan->host[a->host].policy.skip);
	if (a->use == PLAN_SOURCE)
		return plan_source(c->plan, &a->ip)->fault;
	if (has_failed(t))
		return strerror(t->error);
	if (t->state == DIAL_CONNECTED)
		return NULL;
	if (a->use == PLAN_TIMED_OUT)
		return "skipped, it timed out lately";
	return "not tried, the others took too long";
}

void
connector_finish(struct connector *c)
{
	free(c->target);
	free(c->was_known);
	free(c->is_noted);
	*c = (struct connector){ 0 };
}
