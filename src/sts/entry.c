/* SPDX-License-Identifier: ISC */
#include "sts/entry.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"

#define FIRST_LINE "qmail-remote-sts 1"
#define LAST_LINE "end"

#define TIME_MAX UINT64_C(253402300799) /* the end of the year 9999 */
#define FAILURES_MAX 1000000UL

/*
 * Seconds.  A delivery compares with the time of its start; meanwhile another
 * may have written an entry.  What is further in the future is from a wrong
 * clock.
 */
#define SKEW_S 3600

/*
 * Writing.
 */

static void
put_lines(struct buf *b, const char *key, const struct buf *lines)
{
	struct sts_text rest = sts_text_of(lines), line;

	while (sts_text_line(&rest, &line)) {
		buf_puts(b, key);
		buf_append(b, line.at, line.n);
		buf_putc(b, '\n');
	}
}

void
sts_entry_format(const struct sts_entry *e, struct buf *b)
{
	buf_printf(b, FIRST_LINE "\ndomain %s\n", e->domain);
	if (e->has_policy)
		buf_printf(b, "id %s\nfetched %" PRId64 "\n", e->id,
		    e->fetched);
	buf_printf(b, "tried %" PRId64 " %lu\nused %" PRId64 "\n", e->tried,
	    e->failures, e->used);
	if (e->failures > 0)
		buf_printf(b, "failed %s %s\n",
		    sts_cause_name(e->failure.cause), e->failure.reason);
	if (e->has_policy) {
		buf_printf(b, "max-age %lu\nmode %s\n", e->policy.max_age_s,
		    sts_mode_name(e->policy.mode));
		put_lines(b, "mx ", &e->policy.mx);
		put_lines(b, "text ", &e->policy.lines);
	}
	buf_puts(b, LAST_LINE "\n");
}

/*
 * Reading.
 */

/*
 * Takes the next line if it begins with the key; the value is what follows.
 * Every line, also the last, has a line end, and none has a CR.
 */
static bool
take(struct sts_text *rest, const char *key, struct sts_text *value)
{
	struct sts_text after = *rest;

	if (!sts_text_cut(&after, '\n', value) || !sts_text_skip(value, key))
		return false;
	*rest = after;
	return true;
}

static bool
take_line(struct sts_text *rest, const char *text)
{
	struct sts_text value;

	return take(rest, text, &value) && value.n == 0;
}

static bool
read_time(struct sts_text text, int64_t *when)
{
	uint64_t value;

	if (text.n == 0 ||
	    str_number64(text.at, text.n, TIME_MAX, &value) != text.n)
		return false;
	*when = (int64_t)value;
	return true;
}

static bool
read_number(struct sts_text text, unsigned long limit, unsigned long *value)
{
	return text.n > 0 &&
	       str_number(text.at, text.n, limit, value) == text.n;
}

static bool
is_printable(struct sts_text text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.at[i] < ' ' || text.at[i] > '~')
			return false;
	return true;
}

/* The line after "domain", if there is a policy. */
static bool
read_id(struct sts_entry *e, struct sts_text *rest)
{
	struct sts_text value;

	if (!take(rest, "id ", &value))
		return true;
	if (!sts_id_is_valid(value))
		return false;
	memcpy(e->id, value.at, value.n);
	e->has_policy = true;
	return take(rest, "fetched ", &value) && read_time(value, &e->fetched);
}

static bool
read_tried(struct sts_entry *e, struct sts_text *rest)
{
	struct sts_text value, when;

	if (!take(rest, "tried ", &value) ||
	    !sts_text_cut(&value, ' ', &when) || !read_time(when, &e->tried) ||
	    !read_number(value, FAILURES_MAX, &e->failures))
		return false;
	e->used = e->tried;
	return !take(rest, "used ", &value) || read_time(value, &e->used);
}

static bool
read_failure(struct sts_entry *e, struct sts_text *rest)
{
	struct sts_text value, name;

	if (!take(rest, "failed ", &value))
		return e->failures == 0;
	if (e->failures == 0 || !sts_text_cut(&value, ' ', &name) ||
	    !sts_cause_parse(&e->failure.cause, name) ||
	    value.n >= sizeof e->failure.reason || !is_printable(value))
		return false;
	memcpy(e->failure.reason, value.at, value.n);
	return true;
}

static bool
read_policy(struct sts_policy *p, struct sts_text *rest)
{
	struct sts_text value;

	if (!take(rest, "max-age ", &value) ||
	    !read_number(value, STS_MAX_AGE_S, &p->max_age_s) ||
	    !take(rest, "mode ", &value) || !sts_mode_parse(&p->mode, value))
		return false;
	while (take(rest, "mx ", &value)) {
		if (!sts_pattern_is_valid(value))
			return false;
		buf_append(&p->mx, value.at, value.n);
		buf_putc(&p->mx, '\n');
	}
	while (take(rest, "text ", &value)) {
		if (value.n == 0 || !is_printable(value))
			return false;
		buf_append(&p->lines, value.at, value.n);
		buf_putc(&p->lines, '\n');
	}
	return p->mode == STS_MODE_NONE || p->mx.len > 0;
}

static bool
read_entry(struct sts_entry *e, const char *domain, struct sts_text rest)
{
	struct sts_text value;

	if (!take_line(&rest, FIRST_LINE) || !take(&rest, "domain ", &value) ||
	    !sts_text_is(value, domain) || !read_id(e, &rest) ||
	    !read_tried(e, &rest) || !read_failure(e, &rest))
		return false;
	if (e->has_policy && !read_policy(&e->policy, &rest))
		return false;
	return take_line(&rest, LAST_LINE) && rest.n == 0;
}

int
sts_entry_parse(struct sts_entry *e, const char *domain, const char *text,
    size_t n)
{
	if (n <= STS_ENTRY_MAX &&
	    str_copy(e->domain, sizeof e->domain, domain) == 0 &&
	    read_entry(e, domain, (struct sts_text){ text, n }))
		return 0;
	sts_entry_finish(e);
	return -1;
}

void
sts_entry_finish(struct sts_entry *e)
{
	sts_policy_finish(&e->policy);
	*e = (struct sts_entry){ 0 };
}

/*
 * Times.
 */

static int64_t
age_of(int64_t when, int64_t now)
{
	return when < now ? now - when : 0;
}

static bool
is_from_wrong_clock(int64_t when, int64_t now)
{
	return when > now + SKEW_S;
}

int64_t
sts_entry_expires(const struct sts_entry *e, int64_t now)
{
	int64_t fetched = e->fetched < now ? e->fetched : now;

	return fetched + (int64_t)e->policy.max_age_s;
}

bool
sts_entry_is_valid(const struct sts_entry *e, int64_t now)
{
	return e->has_policy && now <= sts_entry_expires(e, now);
}

bool
sts_entry_is_older(const struct sts_entry *e, int64_t now, int64_t s)
{
	return age_of(e->fetched, now) > s;
}

bool
sts_entry_is_waiting(const struct sts_entry *e, int64_t now)
{
	int64_t wait = STS_BACKOFF_S;

	if (e->failures == 0 || is_from_wrong_clock(e->tried, now))
		return false;
	for (unsigned long i = 1; i < e->failures && wait < STS_BACKOFF_MAX_S;
	     i++)
		wait *= 2;
	if (wait > STS_BACKOFF_MAX_S)
		wait = STS_BACKOFF_MAX_S;
	return age_of(e->tried, now) < wait;
}

/* A time from a wrong clock says nothing of the age. */
static bool
is_old(const struct sts_entry *e, int64_t now)
{
	int64_t half = (int64_t)e->policy.max_age_s / 2;

	return is_from_wrong_clock(e->fetched, now) ||
	       sts_entry_is_older(e, now,
		   half < STS_REFRESH_S ? half : STS_REFRESH_S);
}

enum sts_need
sts_entry_need(const struct sts_entry *e, const struct sts_record *record,
    int64_t now)
{
	const char *id = sts_record_id(record);
	bool is_valid = sts_entry_is_valid(e, now);

	if (sts_entry_is_waiting(e, now))
		return STS_NEED_NOTHING;
	if (id[0] != '\0' && (!is_valid || strcmp(id, e->id) != 0))
		return STS_NEED_FETCH;
	if (is_valid && is_old(e, now) && (id[0] != '\0' || !record->is_known))
		return STS_NEED_REFRESH;
	return STS_NEED_NOTHING;
}

bool
sts_entry_is_due(const struct sts_entry *e, int64_t now)
{
	return sts_entry_is_valid(e, now) && is_old(e, now) &&
	       !sts_entry_is_waiting(e, now) &&
	       age_of(e->used, now) <= STS_UNUSED_S;
}

bool
sts_entry_is_useless(const struct sts_entry *e, int64_t now)
{
	return !sts_entry_is_valid(e, now) &&
	       (is_from_wrong_clock(e->tried, now) ||
		   age_of(e->tried, now) > STS_USELESS_S);
}

/*
 * Results.
 */

void
sts_entry_succeed(struct sts_entry *e, const char *id,
    struct sts_policy *policy, int64_t now)
{
	sts_policy_finish(&e->policy);
	e->policy = *policy;
	*policy = (struct sts_policy){ 0 };
	e->has_policy = true;
	(void)str_copy(e->id, sizeof e->id, id);
	e->fetched = e->tried = now;
	e->failures = 0;
	e->failure = (struct sts_failure){ 0 };
}

void
sts_entry_fail(struct sts_entry *e, const struct sts_failure *why, int64_t now)
{
	if (!sts_entry_is_valid(e, now)) {
		sts_policy_finish(&e->policy);
		e->has_policy = false;
		e->id[0] = '\0';
		e->fetched = 0;
	}
	e->tried = now;
	if (e->failures < FAILURES_MAX)
		e->failures++;
	e->failure = *why;
}
