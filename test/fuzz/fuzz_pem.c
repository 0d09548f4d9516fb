/* SPDX-License-Identifier: ISC */

/*
 * PEM files of arbitrary bytes.  Blocks are in the file and in order, each is
 * found again by its place in an index, and its data is that of a simple
 * decoder.
 */

#include <stdlib.h>
#include <string.h>

#include "tlsd/pem.c"

#include "fuzz.h"

/* The reference: four characters at a time, by their index in the alphabet. */
static bool
decode_plainly(const char *s, const char *end, struct buf *data)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	struct buf text = { 0 };
	bool ok;

	for (; s < end; s++)
		if (!is_space(*s))
			buf_putc(&text, *s);
	ok = text.len % 4 == 0;
	for (size_t i = 0; ok && i < text.len; i += 4) {
		unsigned long bits = 0;
		size_t n = 4;

		if (i + 4 == text.len && text.data[i + 3] == '=')
			n = text.data[i + 2] == '=' ? 2 : 3;
		for (size_t k = 0; k < 4; k++) {
			const char *at =
			    k < n ? strchr(alphabet, text.data[i + k]) : NULL;

			if (k < n && (!at || *at == '\0'))
				ok = false;
			bits = bits << 6 |
			       (at ? (unsigned long)(at - alphabet) : 0);
		}
		for (size_t k = 0; k + 1 < n; k++)
			buf_putc(data, (char)(bits >> (16 - 8 * k) & 0xff));
	}
	buf_finish(&text);
	return ok;
}

static void
check_data(struct pem *p, const struct pem_block *b)
{
	struct buf data = { 0 }, plain = { 0 };
	const char *end = b->body + b->body_len;
	const char *start = skip_headers(b->body, end);
	bool ok = pem_decode(p, b, &data);

	CHECK(ok == (start && decode_plainly(start, end, &plain)));
	if (ok)
		CHECK(data.len == plain.len &&
		      memcmp(buf_text(&data), buf_text(&plain), data.len) == 0);
	else
		CHECK(p->where >= b->start && p->where < end + 1);
	buf_finish(&data);
	buf_finish(&plain);
}

/* Alone it is the same block, and nothing follows it. */
static void
check_again(const struct pem_block *b)
{
	struct pem_block again;
	struct pem p;

	pem_init(&p, b->start, b->len);
	CHECK(pem_next(&p, &again) == PEM_BLOCK);
	CHECK(again.start == b->start && again.len == b->len);
	CHECK(again.body == b->body && again.body_len == b->body_len);
	CHECK(pem_next(&p, &again) == PEM_END);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char *text = fuzz_string((const char *)data, size);
	const char *behind = text;
	struct pem_block b;
	enum pem_result result;
	struct pem p;

	pem_init(&p, text, size);
	while ((result = pem_next(&p, &b)) == PEM_BLOCK) {
		CHECK(b.start >= behind);
		behind = b.start + b.len;
		CHECK(behind <= text + size && p.at == behind);
		CHECK(b.body > b.label && b.body + b.body_len < behind);
		check_data(&p, &b);
		check_again(&b);
	}
	if (result == PEM_DAMAGED) {
		CHECK(p.where >= behind && p.where < text + size);
		CHECK(pem_fault_line(&p) > 0 && pem_fault_line(&p) <= size);
	}
	free(text);
	return 0;
}
