/* SPDX-License-Identifier: ISC */
#include "base/tlsa.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define FIELDS 3 /* usage, selector, matching type */

static const char digits[] = "0123456789abcdef";

bool
tlsa_add(struct tlsa_set *set, uint8_t usage, uint8_t selector,
    uint8_t matching, const void *data, size_t n)
{
	if (set->n == TLSA_RECORDS_MAX || n > TLSA_BYTES_MAX - set->data.len)
		return false;
	set->record = mem_resize(set->record, set->n + 1, sizeof *set->record);
	set->record[set->n++] =
	    (struct tlsa){ usage, selector, matching, set->data.len, n };
	buf_append(&set->data, data, n);
	return true;
}

const unsigned char *
tlsa_data(const struct tlsa_set *set, size_t i)
{
	return (const unsigned char *)buf_text(&set->data) + set->record[i].at;
}

bool
tlsa_is_usable(const struct tlsa_set *set, size_t i)
{
	static const size_t length[] = { 0, 32, 64 };
	const struct tlsa *r = &set->record[i];

	if (r->usage != TLSA_USAGE_TA && r->usage != TLSA_USAGE_EE)
		return false;
	if (r->selector > 1 || r->matching > 2)
		return false;
	return r->matching == 0 ? r->n > 0 : r->n == length[r->matching];
}

void
tlsa_format(const struct tlsa_set *set, struct buf *word)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct tlsa *r = &set->record[i];
		const unsigned char *data = tlsa_data(set, i);

		buf_printf(word, "%s%u-%u-%u-", i > 0 ? "," : "", r->usage,
		    r->selector, r->matching);
		for (size_t k = 0; k < r->n; k++) {
			buf_putc(word, digits[data[k] >> 4]);
			buf_putc(word, digits[data[k] & 15]);
		}
	}
}

/* Parses a number of at most 255 and the '-' after it. */
static bool
take_field(const char **at, uint8_t *field)
{
	unsigned long number;
	size_t n = str_number(*at, strlen(*at), 256, &number);

	if (n == 0 || number > 255 || (*at)[n] != '-')
		return false;
	*field = (uint8_t)number;
	*at += n + 1;
	return true;
}

static int
value_of(char c)
{
	const char *digit = c != '\0' ? strchr(digits, c) : NULL;

	return digit != NULL ? (int)(digit - digits) : -1;
}

/* Appends the bytes up to the next comma or the end. */
static bool
take_data(const char **at, struct buf *data)
{
	while (**at != '\0' && **at != ',') {
		int high = value_of((*at)[0]);
		int low = high != -1 ? value_of((*at)[1]) : -1;

		if (low == -1)
			return false;
		buf_putc(data, (char)(high << 4 | low));
		*at += 2;
	}
	return true;
}

static bool
take_record(struct tlsa_set *set, const char **at)
{
	uint8_t field[FIELDS];
	struct buf data = { 0 };
	bool ok = true;

	for (size_t i = 0; i < FIELDS && ok; i++)
		ok = take_field(at, &field[i]);
	ok = ok && take_data(at, &data) &&
	     tlsa_add(set, field[0], field[1], field[2], buf_text(&data),
		 data.len);
	buf_finish(&data);
	return ok;
}

bool
tlsa_parse(struct tlsa_set *set, const char *word)
{
	bool ok = take_record(set, &word);

	while (ok && *word == ',') {
		word++;
		ok = take_record(set, &word);
	}
	return ok;
}

void
tlsa_finish(struct tlsa_set *set)
{
	free(set->record);
	buf_finish(&set->data);
	*set = (struct tlsa_set){ 0 };
}
