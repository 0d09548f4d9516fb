/* SPDX-License-Identifier: ISC */

/* EHLO lines, compared with a simple parser; and formatted and parsed again. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/ehlo.h"

#include "fuzz.h"

static void
limit(uint64_t *least, const char *digits)
{
	uint64_t n = 0;

	if (*digits == '\0' || digits[strspn(digits, "0123456789")])
		return;
	for (; *digits; digits++) {
		uint64_t digit = (uint64_t)(*digits - '0');

		n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
	}
	if (n > 0 && (*least == 0 || n < *least))
		*least = n;
}

static void
mechanisms(struct smtp_ehlo *e, char *word)
{
	e->extensions |= SMTP_EXT_AUTH;
	for (; word; word = strtok(NULL, " \t")) {
		if (strcasecmp(word, "PLAIN") == 0)
			e->mechanisms |= SMTP_MECHANISM_PLAIN;
		if (strcasecmp(word, "LOGIN") == 0)
			e->mechanisms |= SMTP_MECHANISM_LOGIN;
		if (strcasecmp(word, "OAUTHBEARER") == 0)
			e->mechanisms |= SMTP_MECHANISM_OAUTHBEARER;
		if (strcasecmp(word, "XOAUTH2") == 0)
			e->mechanisms |= SMTP_MECHANISM_XOAUTH2;
	}
}

/* The reference; changes the line, which has no NULs. */
static void
add_reference(struct smtp_ehlo *e, char *line)
{
	char *word = line;

	if (strchr(" \t", *line))
		return;
	word = strtok(line, " \t");
	if (strcasecmp(word, "STARTTLS") == 0)
		e->extensions |= SMTP_EXT_STARTTLS;
	if (strcasecmp(word, "PIPELINING") == 0)
		e->extensions |= SMTP_EXT_PIPELINING;
	if (strcasecmp(word, "8BITMIME") == 0)
		e->extensions |= SMTP_EXT_8BITMIME;
	if (strcasecmp(word, "AUTH") == 0)
		mechanisms(e, strtok(NULL, " \t"));
	else if (strncasecmp(word, "AUTH=", 5) == 0)
		mechanisms(e, word + 5);
	else if (strcasecmp(word, "SIZE") == 0) {
		e->extensions |= SMTP_EXT_SIZE;
		word = strtok(NULL, " \t");
		limit(&e->size, word ? word : "");
	} else if (strcasecmp(word, "LIMITS") == 0) {
		e->extensions |= SMTP_EXT_LIMITS;
		while ((word = strtok(NULL, " \t")))
			if (strncasecmp(word, "RCPTMAX=", 8) == 0)
				limit(&e->rcptmax, word + 8);
			else if (strncasecmp(word, "MAILMAX=", 8) == 0)
				limit(&e->mailmax, word + 8);
	}
}

static void
check_same(const struct smtp_ehlo *a, const struct smtp_ehlo *b)
{
	CHECK(a->extensions == b->extensions && a->size == b->size);
	CHECK(a->rcptmax == b->rcptmax && a->mailmax == b->mailmax);
	CHECK(a->mechanisms == b->mechanisms);
}

static void
check_text(const struct smtp_ehlo *e)
{
	struct smtp_ehlo back = { 0 };
	struct buf text = { 0 };

	smtp_ehlo_format(e, &text);
	for (size_t i = 0; i < text.len; i++)
		CHECK(text.data[i] >= ' ' && text.data[i] <= '~');
	CHECK(text.len < 200);
	smtp_ehlo_parse(&back, buf_text(&text));
	check_same(e, &back);
	buf_finish(&text);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct smtp_ehlo e = { 0 }, reference = { 0 }, parsed = { 0 };
	char *whole = fuzz_string((const char *)data, size);

	while (in.left > 0) {
		size_t n;
		const char *part = fuzz_part(&in, '\n', &n);
		char *line = fuzz_string(part, n);

		if (n == strlen(line)) {
			smtp_ehlo_add(&e, line, n);
			add_reference(&reference, line);
			check_same(&e, &reference);
		}
		free(line);
	}
	check_text(&e);
	smtp_ehlo_parse(&parsed, whole);
	check_text(&parsed);
	free(whole);
	return 0;
}
