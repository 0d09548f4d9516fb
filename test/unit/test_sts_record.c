/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sts/record.h"

#define ID32 "abcdefghijklmnopqrstuvwxyz012345"
#define NAME32 "a_-.efghijklmnopqrstuvwxyz012345"

/* Records, separated by '|', and the id that they tell. */
static const struct {
	const char *name, *records, *id;
	unsigned n;
} cases[] = {
	{ "plain", "v=STSv1; id=20160831085700Z;", "20160831085700Z", 1 },
	{ "no last semicolon", "v=STSv1; id=1", "1", 1 },
	{ "no blanks", "v=STSv1;id=1", "1", 1 },
	{ "many blanks", "v=STSv1 \t; \tid=1 \t; \t", "1", 1 },
	{ "blanks at the end", "v=STSv1; id=1  ", "1", 1 },
	{ "longest id", "v=STSv1; id=" ID32 ";", ID32, 1 },
	{ "upper and lower case", "v=STSv1; id=aZ09", "aZ09", 1 },
	{ "other fields", "v=STSv1; x-y_z.1=!/@~; id=1; b=2;", "1", 1 },
	{ "longest name", "v=STSv1; " NAME32 "=1; id=1", "1", 1 },
	{ "second id", "v=STSv1; id=1; id=2;", "1", 1 },
	{ "second id, malformed", "v=STSv1; id=1; id=!;", "1", 1 },

	{ "no records", "", "", 0 },
	{ "two", "v=STSv1; id=1;|v=STSv1; id=1;", "", 2 },
	{ "two, one malformed", "v=STSv1; id=1;|v=STSv1; id=;", "", 2 },
	{ "one and others", "v=spf1 -all|v=STSv1; id=1;||x", "1", 1 },
	{ "other version", "v=STSv2; id=2;|v=STSv1; id=1;", "1", 1 },
	{ "longer version", "v=STSv12; id=2;", "", 0 },
	{ "version alone", "v=STSv1", "", 0 },
	{ "version in lower case", "v=stsv1; id=1;", "", 0 },
	{ "blank before the version", " v=STSv1; id=1;", "", 0 },
	{ "word after the version", "v=STSv1 x; id=1;", "", 0 },
	{ "id first", "id=1; v=STSv1;", "", 0 },

	{ "no field", "v=STSv1;", "", 1 },
	{ "only a blank", "v=STSv1; ", "", 1 },
	{ "no id", "v=STSv1; x=1;", "", 1 },
	{ "empty field", "v=STSv1;; id=1;", "", 1 },
	{ "empty field at the end", "v=STSv1; id=1;;", "", 1 },
	{ "no equals sign", "v=STSv1; id;", "", 1 },
	{ "empty id", "v=STSv1; id=;", "", 1 },
	{ "id too long", "v=STSv1; id=" ID32 "6;", "", 1 },
	{ "id with other bytes", "v=STSv1; id=2016-08;", "", 1 },
	{ "id in quotes", "v=STSv1; id=\"1\";", "", 1 },
	{ "id in upper case", "v=STSv1; ID=1;", "", 1 },
	{ "blank before the equals sign", "v=STSv1; id =1;", "", 1 },
	{ "blank after the equals sign", "v=STSv1; id= 1;", "", 1 },
	{ "two equals signs", "v=STSv1; id=1; x=1=2;", "", 1 },
	{ "no value", "v=STSv1; id=1; x=;", "", 1 },
	{ "no name", "v=STSv1; id=1; =x;", "", 1 },
	{ "name too long", "v=STSv1; id=1; " NAME32 "6=x;", "", 1 },
	{ "name begins with a dot", "v=STSv1; id=1; .x=1;", "", 1 },
	{ "name with other bytes", "v=STSv1; id=1; x!=1;", "", 1 },
	{ "control byte in a value", "v=STSv1; id=1; x=\x01;", "", 1 },
	{ "DEL in a value", "v=STSv1; id=1; x=\x7f;", "", 1 },
	{ "8-bit byte in a value", "v=STSv1; id=1; x=\xc3\xa4;", "", 1 },
};

static struct sts_record
read_records(const char *records)
{
	struct sts_record r = { .is_known = true };
	struct sts_text rest = { records, strlen(records) }, record;

	while (rest.n > 0) {
		(void)sts_text_cut(&rest, '|', &record);
		sts_record_add(&r, record);
	}
	return r;
}

static void
tells_the_id(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sts_record r = read_records(cases[i].records);

		if (r.n != cases[i].n ||
		    strcmp(sts_record_id(&r), cases[i].id) != 0)
			fail_msg("%s: %u records, id '%s'", cases[i].name, r.n,
			    sts_record_id(&r));
	}
}

static void
takes_any_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} records[] = {
		{ "v=STSv1; id=a\0b;", 17 },
		{ "v=STSv1; i\0d=ab;", 17 },
		{ "v=STSv1; id=ab\0", 16 },
		{ "v=STSv1; \0=1; id=a", 19 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
		struct sts_record r = { .is_known = true };

		sts_record_add(&r,
		    (struct sts_text){ records[i].bytes, records[i].n });
		assert_int_equal(r.n, 1);
		assert_string_equal(sts_record_id(&r), "");
	}
}

static void
reads_an_answer(void **state)
{
	struct buf text[2] = { { 0 }, { 0 } };
	struct dns_answer answer = {
		.outcome = DNS_FOUND, .text = text, .ntext = 2
	};
	struct sts_record r = { .is_known = false }, none = r, unknown = r;

	(void)state;
	buf_puts(&text[0], "v=spf1 -all");
	buf_puts(&text[1], "v=STSv1; id=7");
	sts_record_read(&r, &answer);
	assert_string_equal(sts_record_id(&r), "7");
	buf_finish(&text[0]);
	buf_finish(&text[1]);
	answer = (struct dns_answer){ .outcome = DNS_NODATA };
	sts_record_read(&none, &answer);
	assert_true(none.is_known && none.n == 0);
	answer.outcome = DNS_TEMPFAIL;
	sts_record_read(&unknown, &answer);
	assert_false(unknown.is_known);
}

static void
has_no_id_without_an_answer(void **state)
{
	struct sts_record r = read_records("v=STSv1; id=1;");

	(void)state;
	r.is_known = false;
	assert_string_equal(sts_record_id(&r), "");
	assert_false(sts_id_is_valid((struct sts_text){ "", 0 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_id),
		cmocka_unit_test(takes_any_bytes),
		cmocka_unit_test(reads_an_answer),
		cmocka_unit_test(has_no_id_without_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
