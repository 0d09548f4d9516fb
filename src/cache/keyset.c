/* SPDX-License-Identifier: ISC */
#include "cache/keyset.h"

#include <assert.h>
#include <string.h>

#include "base/str.h"

static const char digits[] = "0123456789abcdef";

/*
 * The upper half of the hash hardly depends on the last bytes of the key, the
 * lower half does.
 */
static size_t
bit_of(const char *key)
{
	uint64_t h = str_hash(STR_HASH_START, key);

	return (size_t)((h ^ h >> 32) % KEYSET_BITS);
}

void
keyset_init(struct keyset *set)
{
	memset(set->count, 0, sizeof set->count);
	memset(set->text, '0', sizeof set->text - 1);
	set->text[sizeof set->text - 1] = '\0';
}

/* The digit that this bit is in, as its four counts say. */
static void
write_digit(struct keyset *set, size_t bit)
{
	size_t first = bit / 4 * 4;
	unsigned value = 0;

	for (unsigned i = 0; i < 4; i++)
		value |= (unsigned)(set->count[first + i] > 0) << i;
	set->text[bit / 4] = digits[value];
}

void
keyset_add(struct keyset *set, const char *key)
{
	size_t bit;

	if (key == NULL)
		return;
	bit = bit_of(key);
	assert(set->count[bit] < UINT16_MAX);
	set->count[bit]++;
	write_digit(set, bit);
}

void
keyset_remove(struct keyset *set, const char *key)
{
	size_t bit;

	if (key == NULL)
		return;
	bit = bit_of(key);
	assert(set->count[bit] > 0);
	set->count[bit]--;
	write_digit(set, bit);
}

bool
keyset_may_have(const char *text, const char *key)
{
	size_t bit = bit_of(key);
	const char *digit;

	if (strlen(text) != KEYSET_SIZE - 1)
		return true;
	digit = memchr(digits, text[bit / 4], sizeof digits - 1);
	return digit == NULL || ((digit - digits) >> bit % 4 & 1) != 0;
}
