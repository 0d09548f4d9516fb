/* SPDX-License-Identifier: ISC */
/* Messages that are damaged, or made to take much memory or time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet.h"

static void
of_many_the_best_are_kept(void **state)
{
	struct packet p;
	struct dns_answer a;
	unsigned i;

	(void)state;
	/* 2000 MX, preferences falling from 1999 to 0, and rising again. */
	for (int is_rising = 0; is_rising < 2; is_rising++) {
		begin(&p, ANSWER, 2000, "a", DNS_MX);
		for (i = 0; i < 2000; i++) {
			put(&p, Q_NAME "\0\x0f\0\1\0\0\0\1\0\4", 12);
			put_u16(&p, is_rising ? i : 1999 - i);
			put(&p, Q_NAME, 2);
		}
		parse(&a, "a", DNS_MX, &p);
		check("MX", &a, DNS_FOUND, DNS_MX_MAX);
		for (i = 0; i < DNS_MX_MAX; i++)
			assert_true(a.mx[i].preference < DNS_MX_MAX);
		dns_answer_finish(&a);
	}

	begin(&p, ANSWER, 2000, "a", DNS_A);
	for (i = 0; i < 2000; i++) {
		put(&p, Q_NAME "\0\1\0\1\0\0\0\1\0\4", 12);
		put_u16(&p, 0x0a00);
		put_u16(&p, i);
	}
	parse(&a, "a", DNS_A, &p);
	check("A", &a, DNS_FOUND, DNS_IP_MAX);
	dns_answer_finish(&a);
}

/* 64 KB of pointers, each to the one before, and a chain of aliases. */
static void
hostile_answers_take_little_time(void **state)
{
	struct packet p;
	struct dns_answer a;
	unsigned i, n = 0;

	(void)state;
	begin(&p, ANSWER, 0, "a", DNS_A);
	while (p.n < 65000) {
		unsigned at = (unsigned)p.n;

		put_u16(&p, n < 120 && n > 0 ? 0xc000 | (at - 14) : 0xc00c);
		put(&p, "\0\5\0\1\0\0\0\1\0\2", 10);
		put(&p, Q_NAME, 2);
		n++;
	}
	p.byte[6] = (unsigned char)(n >> 8);
	p.byte[7] = (unsigned char)n;
	parse(&a, "a", DNS_A, &p);
	check("pointers", &a, DNS_TEMPFAIL, 0);

	/* More pointers than a name can have labels. */
	begin(&p, ANSWER, 1, "a", DNS_A);
	put(&p, "\0\0\1\0\1\0\0\0\1\x0b\xb8", 11);
	for (i = 0; i < 1500; i++)
		put_u16(&p, 0xc000 | (unsigned)(i == 0 ? 12 : p.n - 2));
	p.byte[7] = 2;
	put_u16(&p, 0xc000 | (unsigned)(p.n - 2));
	put(&p, "\0\1\0\1\0\0\0\1\0\4\x0a\0\0\1", 14);
	parse(&a, "a", DNS_A, &p);
	check("too many pointers", &a, DNS_TEMPFAIL, 0);
}

/* An alias and two records of the type. */
static void
sample(struct packet *p, int type)
{
	static const struct record alias = CNAME("a.example", "b.example"),
				   other = DATA("b.example", 99, "\3spf");
	static const struct record records[][2] = {
		{ MX("b.example", 10, "m1.example"),
		    MX("b.example", 20, "m2.example") },
		{ DATA("b.example", DNS_TLSA, "\3\1\1" TEN),
		    DATA("b.example", DNS_TLSA, "\2\0\0" TEN TEN) },
		{ DATA("b.example", DNS_TXT, "\3abc\2de"),
		    DATA("b.example", DNS_TXT, "\3txt") },
	};

	begin(p, ANSWER, 5, "a.example", type);
	put_record(p, &alias);
	for (size_t i = 0; i < 3; i++)
		if (records[i][0].type == type)
			put_records(p, records[i], 2);
	put_record(p, &other);
	put(p, "\xc0\x0e\0\x0f\0\1\0\0\0\1\0\6\0\1\1m" Q_NAME, 18);
	put(p, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
	p->byte[11] = 1;
}

static const int sampled[] = { DNS_MX, DNS_TLSA, DNS_TXT };

static void
every_truncation_is_temporary(void **state)
{
	struct packet p;
	struct dns_answer a;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		sample(&p, sampled[i]);
		parse(&a, "a.example", sampled[i], &p);
		check("whole", &a, DNS_FOUND, 2);
		dns_answer_finish(&a);
		while (p.n-- > 0) {
			parse(&a, "a.example", sampled[i], &p);
			check("truncated", &a, DNS_TEMPFAIL, 0);
		}
	}
}

static uint32_t
next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void
mutate(struct packet *p, const struct packet *whole, uint32_t *seed)
{
	unsigned k;

	memcpy(p->byte, whole->byte, whole->n);
	p->n = whole->n;
	for (k = next_random(seed) % 4 + 1; k > 0; k--)
		p->byte[next_random(seed) % p->n] =
		    (unsigned char)next_random(seed);
	if (next_random(seed) % 4 == 0)
		p->n = next_random(seed) % p->n;
}

/* Any result must be valid; the sanitizers find the rest. */
static void
mutations_do_no_harm(void **state)
{
	struct packet whole, p;
	struct dns_answer a;
	uint32_t seed = 1;
	unsigned i, k;

	(void)state;
	for (i = 0; i < 150000; i++) {
		if (i % 50000 == 0)
			sample(&whole, sampled[i / 50000]);
		mutate(&p, &whole, &seed);
		parse(&a, "a.example", sampled[i / 50000], &p);
		assert_true((a.outcome == DNS_FOUND) ==
			    (a.nmx + a.tlsa.n + a.ntext > 0));
		for (k = 0; k < a.nmx; k++)
			assert_true(strlen(a.mx[k].name) < DNS_NAME_SIZE);
		dns_answer_finish(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_many_the_best_are_kept),
		cmocka_unit_test(hostile_answers_take_little_time),
		cmocka_unit_test(every_truncation_is_temporary),
		cmocka_unit_test(mutations_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
