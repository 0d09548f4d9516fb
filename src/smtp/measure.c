/* SPDX-License-Identifier: ISC */
#include "smtp/measure.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static bool
has_high_bit(const char *p, size_t n)
{
	uint64_t all = 0;
	size_t i;

	for (i = 0; n - i >= sizeof all; i += sizeof all) {
		uint64_t word;

		memcpy(&word, p + i, sizeof word);
		all |= word;
	}
	for (; i < n; i++)
		all |= (unsigned char)p[i];
	return all & HIGH_BITS;
}

/* LF is sent as two bytes, and a CR before it is not counted. */
void
smtp_measure_add(struct smtp_measure *m, const char *p, size_t n)
{
	const char *end = p + n;
	const char *lf;

	if (n == 0)
		return;
	m->has_8bit = m->has_8bit || has_high_bit(p, n);
	m->size += n;
	if (*p == '\n' && m->after_cr)
		m->size--;
	for (lf = memchr(p, '\n', n); lf;
	     lf = memchr(lf + 1, '\n', (size_t)(end - lf - 1)))
		m->size += lf > p && lf[-1] == '\r' ? 0 : 1;
	m->after_cr = end[-1] == '\r';
	m->in_line = end[-1] != '\n';
}

void
smtp_measure_end(struct smtp_measure *m)
{
	if (m->in_line)
		m->size += 2;
	m->in_line = false;
}
