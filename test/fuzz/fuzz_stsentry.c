/* SPDX-License-Identifier: ISC */

/*
 * An entry of the cache, of any bytes: what is accepted is written again as it
 * was read, and decisions at any time do not contradict each other.
 */

#include <stdlib.h>
#include <string.h>

#include "sts/entry.h"

#include "fuzz.h"

#define DOMAIN "dst.example"

static void
check_times(const struct sts_entry *e, int64_t now)
{
	static const struct sts_record unknown = { .is_known = false };
	static const struct sts_record absent = { .is_known = true };
	struct sts_record same = { true, 1, "1" };
	bool is_valid = sts_entry_is_valid(e, now);
	enum sts_need need;

	CHECK(!is_valid || e->has_policy);
	CHECK(!is_valid || !sts_entry_is_useless(e, now));
	CHECK(!is_valid || sts_entry_expires(e, now) >= now);
	CHECK(!is_valid ||
	      sts_entry_expires(e, now) <= now + (int64_t)STS_MAX_AGE_S);
	/* A policy that is valid now was so before. */
	CHECK(!is_valid || now == 0 || sts_entry_is_valid(e, now - 1));
	CHECK(sts_entry_need(e, &absent, now) == STS_NEED_NOTHING);
	CHECK(sts_entry_need(e, &unknown, now) != STS_NEED_FETCH);
	if (e->has_policy)
		memcpy(same.id, e->id, sizeof same.id);
	need = sts_entry_need(e, &same, now);
	if (sts_entry_is_waiting(e, now))
		CHECK(need == STS_NEED_NOTHING && e->failures > 0);
	else
		CHECK(is_valid == (need != STS_NEED_FETCH));
	/* Nothing waits for ever. */
	CHECK(!sts_entry_is_waiting(e, e->tried + STS_BACKOFF_MAX_S));
	CHECK(!sts_entry_is_due(e, now) || need == STS_NEED_REFRESH);
}

static void
check_results(struct sts_entry *e, int64_t now)
{
	const struct sts_failure why = { STS_CAUSE_FETCH, "x" };
	struct sts_policy p = { .max_age_s = 1 };
	bool was_valid = sts_entry_is_valid(e, now);

	sts_entry_fail(e, &why, now);
	CHECK(sts_entry_is_valid(e, now) == was_valid);
	CHECK(e->has_policy == was_valid && sts_entry_is_waiting(e, now));
	sts_entry_succeed(e, "2", &p, now);
	CHECK(sts_entry_is_valid(e, now) && !sts_entry_is_waiting(e, now));
	CHECK(!sts_entry_is_valid(e, now + 2));
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct sts_entry e = { .failures = 0 }, again = { .failures = 0 };
	struct buf first = { 0 }, second = { 0 };
	int64_t now = 0;
	char *text;

	for (int i = 0; i < 5; i++)
		now = now << 8 | fuzz_byte(&in);
	text = fuzz_string((const char *)in.at, in.left);
	if (sts_entry_parse(&e, DOMAIN, text, in.left) == 0) {
		sts_entry_format(&e, &first);
		CHECK(sts_entry_parse(&again, DOMAIN, first.data, first.len) ==
		      0);
		sts_entry_format(&again, &second);
		CHECK(first.len == second.len &&
		      memcmp(first.data, second.data, first.len) == 0);
		check_times(&e, now);
		check_times(&e, e.fetched);
		check_times(&e, e.tried + 1);
		check_results(&e, now);
	} else
		CHECK(!e.has_policy && e.domain[0] == '\0');
	sts_entry_finish(&e);
	sts_entry_finish(&again);
	buf_finish(&first);
	buf_finish(&second);
	free(text);
	return 0;
}
