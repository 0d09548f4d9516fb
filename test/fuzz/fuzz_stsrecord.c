/* SPDX-License-Identifier: ISC */

/* TXT records of any bytes, one in a line: there is one good id, or none. */

#include <stdlib.h>
#include <string.h>

#include "sts/record.h"

#include "fuzz.h"

static void
check_id(const struct sts_record *r, unsigned added)
{
	const char *id = sts_record_id(r);

	CHECK(r->n <= added);
	CHECK(id[0] == '\0' || r->n == 1);
	CHECK(id[0] == '\0' ||
	      sts_id_is_valid((struct sts_text){ id, strlen(id) }));
}

static bool
has_word(struct sts_text text, const char *word)
{
	for (; text.n > 0; text.at++, text.n--) {
		struct sts_text rest = text;

		if (sts_text_skip(&rest, word))
			return true;
	}
	return false;
}

/* An id that was found is in the record. */
static void
check_alone(struct sts_text text)
{
	struct sts_record r = { .is_known = true }, again = r;
	struct buf b = { 0 };

	sts_record_add(&r, text);
	check_id(&r, 1);
	if (sts_record_id(&r)[0] == '\0')
		return;
	buf_printf(&b, "v=STSv1;id=%s", sts_record_id(&r));
	sts_record_add(&again, sts_text_of(&b));
	CHECK(strcmp(sts_record_id(&again), sts_record_id(&r)) == 0);
	CHECK(has_word(text, sts_record_id(&r)));
	/* A second one takes it away. */
	sts_record_add(&again, text);
	CHECK(sts_record_id(&again)[0] == '\0');
	buf_finish(&b);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct sts_record r = { .is_known = true };
	unsigned added = 0;

	while (in.left > 0) {
		size_t n;
		const char *part = fuzz_part(&in, '\n', &n);
		/* In an allocation of its own, for the sanitizer. */
		char *copy = fuzz_string(part, n);
		struct sts_text text = { copy, n };

		sts_record_add(&r, text);
		check_id(&r, ++added);
		check_alone(text);
		free(copy);
	}
	r.is_known = false;
	CHECK(sts_record_id(&r)[0] == '\0');
	return 0;
}
