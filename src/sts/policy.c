/* SPDX-License-Identifier: ISC */
#include "sts/policy.h"

#include <string.h>

#include "base/ip.h"
#include "base/str.h"
#include "dns/name.h"

#define MAX_AGE_DIGITS 10

/* Some editors write it at the start of a UTF-8 file. */
static const char byte_order_mark[] = "\xef\xbb\xbf";

static const char *const modes[] = {
	[STS_MODE_NONE] = "none",
	[STS_MODE_TESTING] = "testing",
	[STS_MODE_ENFORCE] = "enforce",
};

const char *
sts_mode_name(enum sts_mode mode)
{
	return modes[mode];
}

bool
sts_mode_parse(enum sts_mode *mode, struct sts_text name)
{
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		if (!sts_text_is(name, modes[i]))
			continue;
		*mode = (enum sts_mode)i;
		return true;
	}
	return false;
}

static struct sts_text
without_last_dot(struct sts_text name)
{
	if (name.n > 0 && name.at[name.n - 1] == '.')
		name.n--;
	return name;
}

bool
sts_pattern_is_valid(struct sts_text pattern)
{
	char name[DNS_NAME_SIZE];
	struct ip ip;

	(void)sts_text_skip(&pattern, "*.");
	pattern = without_last_dot(pattern);
	if (pattern.n == 0 || pattern.n >= sizeof name ||
	    pattern.at[pattern.n - 1] == '.')
		return false;
	for (size_t i = 0; i < pattern.n; i++) {
		name[i] = pattern.at[i];
		if (!str_is_alnum(name[i]) &&
		    (name[i] == '\0' || !strchr("-_.", name[i])))
			return false;
	}
	name[pattern.n] = '\0';
	return dns_name_is_valid(name) && !ip_parse(name, pattern.n, &ip);
}

/* Which keys were given, the first time with which value. */
struct fields {
	bool has_version, has_mode, has_max_age;
	struct sts_text version, mode, max_age;
};

static void
note_first(bool *is_given, struct sts_text *first, struct sts_text value)
{
	if (!*is_given)
		*first = value;
	*is_given = true;
}

static void
read_line(struct sts_policy *p, struct fields *f, struct sts_text line)
{
	struct sts_text key, value = line;

	if (!sts_text_cut(&value, ':', &key))
		return;
	value = sts_text_trim(value);
	if (sts_text_is(key, "version"))
		note_first(&f->has_version, &f->version, value);
	else if (sts_text_is(key, "mode"))
		note_first(&f->has_mode, &f->mode, value);
	else if (sts_text_is(key, "max_age"))
		note_first(&f->has_max_age, &f->max_age, value);
	else if (sts_text_is(key, "mx") && sts_pattern_is_valid(value)) {
		buf_append(&p->mx, value.at, value.n);
		buf_putc(&p->mx, '\n');
	}
}

/* For a report: one line of printable text. */
static void
keep_line(struct sts_policy *p, struct sts_text line)
{
	if (line.n == 0)
		return;
	for (size_t i = 0; i < line.n; i++) {
		char c = line.at[i];

		buf_putc(&p->lines, c >= ' ' && c <= '~' ? c : '?');
	}
	buf_putc(&p->lines, '\n');
}

static bool
read_max_age(struct sts_policy *p, struct sts_text value)
{
	return value.n <= MAX_AGE_DIGITS &&
	       str_number(value.at, value.n, STS_MAX_AGE_S, &p->max_age_s) ==
		   value.n;
}

static int
read_fields(struct sts_policy *p, const struct fields *f,
    struct sts_failure *why)
{
	const char *fault = NULL;

	if (!f->has_version || !sts_text_is(f->version, "STSv1"))
		fault = "the policy has no version STSv1";
	else if (!f->has_mode || !sts_mode_parse(&p->mode, f->mode))
		fault = "the policy has no valid mode";
	else if (!f->has_max_age || f->max_age.n == 0 ||
		 !read_max_age(p, f->max_age))
		fault = "the policy has no valid max_age";
	else if (p->mode != STS_MODE_NONE && p->mx.len == 0)
		fault = "the policy has no valid mx";
	if (!fault)
		return 0;
	return sts_failure_set(why, STS_CAUSE_INVALID, "%s", fault);
}

int
sts_policy_parse(struct sts_policy *p, const char *body, size_t n,
    struct sts_failure *why)
{
	struct sts_text rest = { body, n }, line;
	struct fields f = { 0 };

	if (n > STS_BODY_MAX)
		return sts_failure_set(why, STS_CAUSE_INVALID,
		    "the policy is too long");
	(void)sts_text_skip(&rest, byte_order_mark);
	while (sts_text_line(&rest, &line)) {
		keep_line(p, line);
		read_line(p, &f, line);
	}
	if (read_fields(p, &f, why) == 0)
		return 0;
	sts_policy_finish(p);
	return -1;
}

static bool
is_same_name(struct sts_text a, struct sts_text b)
{
	a = without_last_dot(a);
	b = without_last_dot(b);
	return a.n == b.n && str_case_equal(a.at, b.at, a.n);
}

static bool
pattern_matches(struct sts_text pattern, struct sts_text host)
{
	struct sts_text label;

	if (sts_text_skip(&pattern, "*.") &&
	    (!sts_text_cut(&host, '.', &label) || label.n == 0))
		return false;
	return is_same_name(pattern, host);
}

bool
sts_policy_matches(const struct sts_policy *p, const char *host)
{
	struct sts_text rest = sts_text_of(&p->mx), pattern;

	while (sts_text_line(&rest, &pattern))
		if (pattern_matches(pattern,
			(struct sts_text){ host, strlen(host) }))
			return true;
	return false;
}

void
sts_policy_finish(struct sts_policy *p)
{
	buf_finish(&p->mx);
	buf_finish(&p->lines);
	*p = (struct sts_policy){ 0 };
}
