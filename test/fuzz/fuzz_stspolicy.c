/* SPDX-License-Identifier: ISC */

/*
 * A policy file of any bytes, after a line with the name of an MX host: what is
 * accepted is a policy that can be kept, and its patterns match as they should.
 */

#include <stdlib.h>
#include <string.h>

#include "sts/entry.h"

#include "fuzz.h"

static void
check_printable(const struct buf *lines)
{
	for (size_t i = 0; i < lines->len; i++)
		CHECK((lines->data[i] >= ' ' && lines->data[i] <= '~') ||
		      lines->data[i] == '\n');
}

/* Of the policy alone: does this host match? */
static bool
matches(struct sts_text pattern, const char *host)
{
	struct sts_policy p = { .max_age_s = 0 };
	bool result;

	buf_append(&p.mx, pattern.at, pattern.n);
	buf_putc(&p.mx, '\n');
	result = sts_policy_matches(&p, host);
	sts_policy_finish(&p);
	return result;
}

static void
check_wildcard(struct sts_text pattern, struct sts_text name)
{
	char *base = fuzz_string(name.at, name.n);
	struct buf host = { 0 };

	CHECK(!matches(pattern, base));
	buf_printf(&host, "a.%s", base);
	CHECK(matches(pattern, buf_text(&host)));
	buf_cut(&host, 0);
	buf_printf(&host, "b.a.%s", base);
	CHECK(!matches(pattern, buf_text(&host)));
	buf_cut(&host, 0);
	buf_printf(&host, ".%s", base);
	CHECK(!matches(pattern, buf_text(&host)));
	buf_finish(&host);
	free(base);
}

static void
check_patterns(const struct sts_policy *p, const char *host)
{
	struct sts_text rest = sts_text_of(&p->mx), pattern;
	bool any = false;

	while (sts_text_line(&rest, &pattern)) {
		struct sts_text name = pattern;
		char *itself = fuzz_string(pattern.at, pattern.n);

		CHECK(sts_pattern_is_valid(pattern));
		CHECK(strlen(itself) == pattern.n);
		CHECK(matches(pattern, itself));
		any = any || matches(pattern, host);
		if (sts_text_skip(&name, "*."))
			check_wildcard(pattern, name);
		free(itself);
	}
	CHECK(sts_policy_matches(p, host) == any);
}

/* The cache keeps it as it is. */
static void
check_kept(struct sts_policy *p)
{
	struct sts_entry e = { .domain = "dst.example" },
			 again = { .failures = 0 };
	struct buf text = { 0 };

	sts_entry_succeed(&e, "1", p, 7);
	sts_entry_format(&e, &text);
	CHECK(sts_entry_parse(&again, "dst.example", text.data, text.len) == 0);
	CHECK(again.policy.mode == e.policy.mode);
	CHECK(again.policy.max_age_s == e.policy.max_age_s);
	CHECK(strcmp(buf_text(&again.policy.mx), buf_text(&e.policy.mx)) == 0);
	CHECK(strcmp(buf_text(&again.policy.lines),
		  buf_text(&e.policy.lines)) == 0);
	buf_finish(&text);
	sts_entry_finish(&e);
	sts_entry_finish(&again);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct sts_policy p = { .max_age_s = 0 };
	struct sts_failure why = { .cause = STS_CAUSE_NONE };
	size_t n;
	const char *line = fuzz_part(&in, '\n', &n);
	char *host = fuzz_string(line, n);
	char *body = fuzz_string((const char *)in.at, in.left);

	if (sts_policy_parse(&p, body, in.left, &why) == 0) {
		CHECK(p.max_age_s <= STS_MAX_AGE_S);
		CHECK(p.mode == STS_MODE_NONE || p.mx.len > 0);
		check_printable(&p.mx);
		check_printable(&p.lines);
		check_patterns(&p, host);
		check_kept(&p);
	} else {
		CHECK(why.cause == STS_CAUSE_INVALID && p.mx.len == 0);
		CHECK(p.lines.len == 0);
	}
	sts_policy_finish(&p);
	free(body);
	free(host);
	return 0;
}
