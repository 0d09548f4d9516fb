/* SPDX-License-Identifier: ISC */
#include "smtp/ehlo.h"

#include <string.h>

#include "base/str.h"

static const struct {
	const char *keyword;
	enum smtp_extension extension;
} known[] = {
	{ "STARTTLS", SMTP_EXT_STARTTLS },
	{ "PIPELINING", SMTP_EXT_PIPELINING },
};

#define NKNOWN (sizeof known / sizeof known[0])

/* Up to the first blank or tab: STARTTLSX and STARTTLS=1 are not STARTTLS. */
static size_t
keyword_length(const char *line, size_t n)
{
	size_t i = 0;

	while (i < n && line[i] != ' ' && line[i] != '\t')
		i++;
	return i;
}

void
smtp_ehlo_add(struct smtp_ehlo *e, const char *line, size_t n)
{
	size_t len = keyword_length(line, n);

	for (size_t i = 0; i < NKNOWN; i++)
		if (strlen(known[i].keyword) == len &&
		    str_case_equal(known[i].keyword, line, len))
			e->extensions |= known[i].extension;
}

bool
smtp_ehlo_has(const struct smtp_ehlo *e, enum smtp_extension extension)
{
	return e->extensions & extension;
}

void
smtp_ehlo_format(const struct smtp_ehlo *e, struct buf *b)
{
	const char *separator = "";

	for (size_t i = 0; i < NKNOWN; i++) {
		if (!smtp_ehlo_has(e, known[i].extension))
			continue;
		buf_puts(b, separator);
		buf_puts(b, known[i].keyword);
		separator = ",";
	}
}

void
smtp_ehlo_parse(struct smtp_ehlo *e, const char *word)
{
	while (*word) {
		size_t n = strcspn(word, ",");

		smtp_ehlo_add(e, word, n);
		word += n + (word[n] == ',');
	}
}
