/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sts/entry.h"

#define NOW INT64_C(1795923600)
#define DOMAIN "dst.example"

#define HEAD "qmail-remote-sts 1\ndomain " DOMAIN "\n"
#define POLICY \
	"max-age 86400\nmode enforce\nmx *.dst.example\nmx b.example\n" \
	"text version: STSv1\ntext mode: enforce\n"
#define FULL \
	HEAD "id 20261129\nfetched 1795923600\ntried 1795923600 0\n" \
	     "used 1795923000\n" POLICY "end\n"
#define NEGATIVE \
	HEAD "tried 1795923600 2\nused 1795923600\n" \
	     "failed sts-policy-fetch-error the host replied 404\nend\n"
#define BOTH \
	HEAD "id 1\nfetched 1795000000\ntried 1795923600 1\n" \
	     "used 1795923600\nfailed sts-webpki-invalid \n" POLICY "end\n"

static struct sts_entry
parse(const char *text)
{
	struct sts_entry e = { .failures = 0 };

	if (sts_entry_parse(&e, DOMAIN, text, strlen(text)) == -1)
		fail_msg("%s", text);
	return e;
}

static void
is_formatted(struct sts_entry *e, const char *want)
{
	struct buf text = { 0 };

	sts_entry_format(e, &text);
	assert_string_equal(buf_text(&text), want);
	buf_finish(&text);
	sts_entry_finish(e);
}

static void
keeps_what_it_reads(void **state)
{
	static const char *const texts[] = { FULL, NEGATIVE, BOTH,
		HEAD "tried 0 0\nused 0\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nused 1\nmax-age 0\n"
		     "mode none\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nused 1\nmax-age 31557600\n"
		     "mode testing\nmx a\nend\n" };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct sts_entry e = parse(texts[i]);

		is_formatted(&e, texts[i]);
	}
}

static void
reads_each_value(void **state)
{
	struct sts_entry e = parse(FULL);

	(void)state;
	assert_string_equal(e.domain, DOMAIN);
	assert_true(e.has_policy);
	assert_string_equal(e.id, "20261129");
	assert_int_equal(e.fetched, NOW);
	assert_int_equal(e.tried, NOW);
	assert_int_equal(e.used, NOW - 600);
	assert_int_equal(e.failures, 0);
	assert_int_equal(e.policy.max_age_s, 86400);
	assert_int_equal(e.policy.mode, STS_MODE_ENFORCE);
	assert_string_equal(buf_text(&e.policy.mx),
	    "*.dst.example\nb.example\n");
	assert_string_equal(buf_text(&e.policy.lines),
	    "version: STSv1\nmode: enforce\n");
	sts_entry_finish(&e);

	e = parse(NEGATIVE);
	assert_false(e.has_policy);
	assert_int_equal(e.failures, 2);
	assert_int_equal(e.failure.cause, STS_CAUSE_FETCH);
	assert_string_equal(e.failure.reason, "the host replied 404");
	sts_entry_finish(&e);

	/* As the first version of the format had it. */
	e = parse(HEAD "tried 7 0\nend\n");
	assert_int_equal(e.used, 7);
	e = parse(HEAD "tried 99999999999999999999 0\nused 1\nend\n");
	assert_true(e.tried > NOW);
}

static void
refuses_all_others(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"end\n",
		"qmail-remote-sts 1\n",
		"qmail-remote-sts 2\ndomain " DOMAIN "\ntried 1 0\nend\n",
		"qmail-remote-sts 1\r\ndomain " DOMAIN "\ntried 1 0\nend\n",
		"qmail-remote-sts 1\ndomain a.example\ntried 1 0\nend\n",
		"qmail-remote-sts 1\ndomain " DOMAIN "x\ntried 1 0\nend\n",
		"qmail-remote-sts 1\ntried 1 0\nend\n",
		/* No end, or something after it. */
		HEAD,
		HEAD "tried 1 0\n",
		HEAD "tried 1 0\nend",
		HEAD "tried 1 0\nend\n\n",
		HEAD "tried 1 0\nend\nend\n",
		HEAD "tried 1 0\nends\n",
		/* Numbers. */
		HEAD "tried 0\nend\n",
		HEAD "tried 1 \nend\n",
		HEAD "tried  0\nend\n",
		HEAD "tried x 0\nend\n",
		HEAD "tried -1 0\nend\n",
		HEAD "tried 1 x\nend\n",
		HEAD "tried 1 0 \nend\n",
		HEAD "tried 1 0\nused\nend\n",
		HEAD "tried 1 0\nused x\nend\n",
		HEAD "used 1\nend\n",
		/* Failures. */
		HEAD "tried 1 1\nend\n",
		HEAD "tried 1 0\nfailed local x\nend\n",
		HEAD "tried 1 1\nfailed local\nend\n",
		HEAD "tried 1 1\nfailed what x\nend\n",
		HEAD "tried 1 1\nfailed local \x01\nend\n",
		HEAD "tried 1 1\nfailed local \x7f\nend\n",
		/* A policy. */
		HEAD "id \nfetched 1\ntried 1 0\nmax-age 1\nmode none\nend\n",
		HEAD "id -\nfetched 1\ntried 1 0\nmax-age 1\nmode none\nend\n",
		HEAD "id 1\ntried 1 0\nmax-age 1\nmode none\nend\n",
		HEAD "id 1\nfetched x\ntried 1 0\nmax-age 1\nmode none\nend\n",
		HEAD "id 1\nfetched 1\nmax-age 1\nmode none\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmode none\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age x\nmode none\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age \nmode none\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nmode x\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nmode enforce\n"
		     "end\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nmode enforce\n"
		     "mx 192.0.2.1\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nmode none\n"
		     "text \nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nmode none\n"
		     "text a\tb\nend\n",
		HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\nmode none\n"
		     "text a\nmx a\nend\n",
		HEAD "fetched 1\ntried 1 0\nend\n",
		HEAD "tried 1 0\nmax-age 1\nmode none\nend\n",
	};
	struct sts_entry e = { .failures = 0 };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		if (sts_entry_parse(&e, DOMAIN, texts[i], strlen(texts[i])) ==
		    0)
			fail_msg("%s", texts[i]);
		assert_true(e.domain[0] == '\0' && !e.has_policy);
		assert_true(e.policy.mx.data == NULL);
		assert_true(e.failures == 0 && e.tried == 0);
	}
}

/* Every truncation of a file is noticed. */
static void
refuses_a_part(void **state)
{
	static const char *const texts[] = { FULL, NEGATIVE, BOTH };
	struct sts_entry e = { .failures = 0 };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		for (size_t n = 0; n < strlen(texts[i]); n++)
			assert_int_equal(sts_entry_parse(&e, DOMAIN, texts[i],
					     n),
			    -1);
}

static void
limits_sizes(void **state)
{
	struct sts_entry e = { .failures = 0 };
	struct buf text = { 0 };
	char domain[STS_DOMAIN_SIZE + 1];

	(void)state;
	buf_puts(&text, HEAD "tried 1 1\nfailed local ");
	for (int i = 0; i < STS_REASON_SIZE - 1; i++)
		buf_putc(&text, 'x');
	buf_puts(&text, "\nend\n");
	assert_int_equal(sts_entry_parse(&e, DOMAIN, text.data, text.len), 0);
	sts_entry_finish(&e);
	buf_cut(&text, text.len - strlen("\nend\n"));
	buf_puts(&text, "x\nend\n");
	assert_int_equal(sts_entry_parse(&e, DOMAIN, text.data, text.len), -1);
	buf_cut(&text, 0);
	buf_puts(&text, HEAD "id 1\nfetched 1\ntried 1 0\nmax-age 1\n"
			     "mode none\n");
	while (text.len <= STS_ENTRY_MAX - 4)
		buf_puts(&text, "text a\n");
	buf_puts(&text, "end\n");
	assert_int_equal(sts_entry_parse(&e, DOMAIN, text.data, text.len), -1);
	buf_finish(&text);
	memset(domain, 'x', STS_DOMAIN_SIZE);
	domain[STS_DOMAIN_SIZE] = '\0';
	assert_int_equal(sts_entry_parse(&e, domain, FULL, strlen(FULL)), -1);
}

/* The largest policies fit into a file. */
static void
has_room_for_each_policy(void **state)
{
	static const char *const lines[] = { "a\n", "mx:a\n" };

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct sts_entry e = { .failures = 0 }, again = e;
		struct sts_policy p = { .max_age_s = 0 };
		struct sts_failure why;
		struct buf body = { 0 }, text = { 0 };

		buf_puts(&body, "version: STSv1\nmode: none\nmax_age: 1\n");
		while (body.len + strlen(lines[i]) <= STS_BODY_MAX)
			buf_puts(&body, lines[i]);
		assert_int_equal(sts_policy_parse(&p, body.data, body.len,
				     &why),
		    0);
		strcpy(e.domain, DOMAIN);
		sts_entry_succeed(&e, "1", &p, NOW);
		sts_entry_format(&e, &text);
		assert_int_equal(sts_entry_parse(&again, DOMAIN, text.data,
				     text.len),
		    0);
		assert_string_equal(again.policy.mx.data ? again.policy.mx.data
							 : "",
		    buf_text(&e.policy.mx));
		sts_entry_finish(&e);
		sts_entry_finish(&again);
		buf_finish(&body);
		buf_finish(&text);
	}
}

static void
knows_when_a_policy_expires(void **state)
{
	struct sts_entry e = parse(FULL), none = parse(NEGATIVE);

	(void)state;
	assert_int_equal(sts_entry_expires(&e, NOW + 5), NOW + 86400);
	assert_true(sts_entry_is_valid(&e, NOW));
	assert_true(sts_entry_is_valid(&e, NOW + 86400));
	assert_false(sts_entry_is_valid(&e, NOW + 86401));
	/* A clock that was set back makes no policy expire. */
	assert_true(sts_entry_is_valid(&e, 0));
	assert_int_equal(sts_entry_expires(&e, 100), 100 + 86400);
	assert_false(sts_entry_is_valid(&none, NOW));
	assert_false(sts_entry_is_older(&e, NOW + 300, 300));
	assert_true(sts_entry_is_older(&e, NOW + 301, 300));
	assert_false(sts_entry_is_older(&e, 0, 0));
	sts_entry_finish(&e);
	sts_entry_finish(&none);
}

static void
waits_longer_after_each_failure(void **state)
{
	static const int64_t waits[] = { 0, 300, 600, 1200, 2400, 3600, 3600 };
	struct sts_entry e = { .tried = NOW };

	(void)state;
	for (unsigned long n = 0; n < sizeof waits / sizeof *waits; n++) {
		e.failures = n;
		assert_false(sts_entry_is_waiting(&e, NOW + waits[n]));
		assert_int_equal(sts_entry_is_waiting(&e, NOW + waits[n] - 1),
		    n > 0);
		/* Written by another process since we looked at the clock. */
		assert_int_equal(sts_entry_is_waiting(&e, NOW - 70), n > 0);
		/* A clock was wrong. */
		assert_false(sts_entry_is_waiting(&e, NOW - 3601));
	}
	e.failures = 1000000;
	assert_true(sts_entry_is_waiting(&e, NOW + 3599));
	assert_false(sts_entry_is_waiting(&e, NOW + 3600));
}

enum { UNKNOWN, ABSENT, SAME, OTHER };

static const struct sts_record records[] = {
	[UNKNOWN] = { .is_known = false },
	[ABSENT] = { .is_known = true },
	[SAME] = { true, 1, "20261129" },
	[OTHER] = { true, 1, "20261130" },
};

static void
knows_what_a_delivery_needs(void **state)
{
	static const enum sts_need nothing = STS_NEED_NOTHING,
				   refresh = STS_NEED_REFRESH,
				   fetch = STS_NEED_FETCH;
	static const struct {
		const char *text;
		int64_t now;
		enum sts_need need[4];
	} rows[] = {
		/* A fresh policy, one of some age, an expired one. */
		{ FULL, NOW, { nothing, nothing, nothing, fetch } },
		{ FULL, NOW + 43200, { nothing, nothing, nothing, fetch } },
		{ FULL, NOW + 43201, { refresh, nothing, refresh, fetch } },
		{ FULL, NOW + 86400, { refresh, nothing, refresh, fetch } },
		{ FULL, NOW + 86401, { nothing, nothing, fetch, fetch } },
		/* From the future: a little, or from a wrong clock. */
		{ FULL, NOW - 3600, { nothing, nothing, nothing, fetch } },
		{ FULL, NOW - 3601, { refresh, nothing, refresh, fetch } },
		/* None, and the last try has failed. */
		{ NEGATIVE, NOW + 599, { nothing, nothing, nothing, nothing } },
		{ NEGATIVE, NOW + 600, { nothing, nothing, fetch, fetch } },
		/* Expired, and so on. */
		{ BOTH, NOW + 299, { nothing, nothing, nothing, nothing } },
		{ BOTH, NOW + 300, { nothing, nothing, fetch, fetch } },
		{ HEAD "tried 0 0\nend\n", NOW,
		    { nothing, nothing, fetch, fetch } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sts_entry e = parse(rows[i].text);

		for (int k = UNKNOWN; k <= OTHER; k++)
			if (sts_entry_need(&e, &records[k], rows[i].now) !=
			    rows[i].need[k])
				fail_msg("row %zu, record %d", i, k);
		sts_entry_finish(&e);
	}
}

static void
refreshes_at_the_latest_after_a_day(void **state)
{
	struct sts_entry e = parse(FULL);

	(void)state;
	e.policy.max_age_s = 31557600;
	assert_int_equal(sts_entry_need(&e, &records[SAME], NOW + 86400),
	    STS_NEED_NOTHING);
	assert_int_equal(sts_entry_need(&e, &records[SAME], NOW + 86401),
	    STS_NEED_REFRESH);
	sts_entry_finish(&e);
}

static void
keeps_fresh_what_is_used(void **state)
{
	struct sts_entry e = parse(FULL);

	(void)state;
	assert_false(sts_entry_is_due(&e, NOW));
	assert_true(sts_entry_is_due(&e, NOW + 43201));
	assert_false(sts_entry_is_due(&e, NOW + 86401));
	e.policy.max_age_s = 31557600;
	assert_true(sts_entry_is_due(&e, e.used + 30 * 86400));
	assert_false(sts_entry_is_due(&e, e.used + 30 * 86400 + 1));
	e.failures = 1;
	e.tried = NOW + 86400;
	assert_false(sts_entry_is_due(&e, NOW + 86401));
	sts_entry_finish(&e);
}

static void
finds_what_is_useless(void **state)
{
	struct sts_entry e = parse(FULL), none = parse(NEGATIVE);

	(void)state;
	assert_false(sts_entry_is_useless(&e, NOW + 86400));
	assert_true(sts_entry_is_useless(&e, NOW + 86401));
	assert_false(sts_entry_is_useless(&e, 0));
	assert_false(sts_entry_is_useless(&none, NOW + 86400));
	assert_true(sts_entry_is_useless(&none, NOW + 86401));
	assert_true(sts_entry_is_useless(&none, NOW - 3601));
	sts_entry_finish(&e);
	sts_entry_finish(&none);
}

static struct sts_policy
policy(unsigned long max_age_s)
{
	struct sts_policy p = { .max_age_s = max_age_s };

	buf_puts(&p.lines, "x\n");
	return p;
}

static void
notes_success(void **state)
{
	struct sts_entry e = parse(NEGATIVE);
	struct sts_policy p = policy(7);

	(void)state;
	sts_entry_succeed(&e, "abc", &p, NOW + 9);
	assert_true(p.lines.data == NULL);
	is_formatted(&e, HEAD "id abc\nfetched 1795923609\ntried 1795923609 0\n"
			      "used 1795923600\nmax-age 7\nmode none\n"
			      "text x\nend\n");
	/* The old policy goes. */
	e = parse(FULL);
	p = policy(8);
	sts_entry_succeed(&e, "abc", &p, NOW);
	assert_int_equal(e.policy.mx.len, 0);
	assert_int_equal(e.policy.max_age_s, 8);
	sts_entry_finish(&e);
}

static void
notes_failure(void **state)
{
	const struct sts_failure why = { STS_CAUSE_LOCAL, "y" };
	struct sts_entry e = parse(FULL);

	(void)state;
	/* A policy that is valid stays. */
	sts_entry_fail(&e, &why, NOW + 86400);
	assert_true(sts_entry_is_valid(&e, NOW + 86400));
	assert_string_equal(e.id, "20261129");
	assert_int_equal(e.failures, 1);
	/* An expired one goes. */
	sts_entry_fail(&e, &why, NOW + 86401);
	is_formatted(&e, HEAD "tried 1796010001 2\nused 1795923000\n"
			      "failed local y\nend\n");
	e.failures = 1000000;
	sts_entry_fail(&e, &why, NOW);
	assert_int_equal(e.failures, 1000000);
	sts_entry_finish(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_it_reads),
		cmocka_unit_test(reads_each_value),
		cmocka_unit_test(refuses_all_others),
		cmocka_unit_test(refuses_a_part),
		cmocka_unit_test(limits_sizes),
		cmocka_unit_test(has_room_for_each_policy),
		cmocka_unit_test(knows_when_a_policy_expires),
		cmocka_unit_test(waits_longer_after_each_failure),
		cmocka_unit_test(knows_what_a_delivery_needs),
		cmocka_unit_test(refreshes_at_the_latest_after_a_day),
		cmocka_unit_test(keeps_fresh_what_is_used),
		cmocka_unit_test(finds_what_is_useless),
		cmocka_unit_test(notes_success),
		cmocka_unit_test(notes_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
