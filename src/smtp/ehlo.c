/* SPDX-License-Identifier: ISC */
#include "smtp/ehlo.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"

static const struct {
	const char *keyword;
	enum smtp_extension extension;
} known[] = {
	{ "STARTTLS", SMTP_EXT_STARTTLS },
	{ "PIPELINING", SMTP_EXT_PIPELINING },
	{ "SIZE", SMTP_EXT_SIZE },
	{ "8BITMIME", SMTP_EXT_8BITMIME },
	{ "LIMITS", SMTP_EXT_LIMITS },
	{ "AUTH", SMTP_EXT_AUTH },
	{ "SMTPUTF8", SMTP_EXT_SMTPUTF8 },
};

#define NKNOWN (sizeof known / sizeof known[0])

static const struct {
	const char *name;
	enum smtp_mechanism mechanism;
} mechanisms[] = {
	{ "PLAIN", SMTP_MECHANISM_PLAIN },
	{ "LOGIN", SMTP_MECHANISM_LOGIN },
	{ "OAUTHBEARER", SMTP_MECHANISM_OAUTHBEARER },
	{ "XOAUTH2", SMTP_MECHANISM_XOAUTH2 },
};

#define NMECHANISM (sizeof mechanisms / sizeof mechanisms[0])

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next word of a line; its length is 0 at the end.  *at moves past it. */
static const char *
next_word(const char **at, const char *end, size_t *len)
{
	const char *word;

	while (*at < end && is_blank(**at))
		++*at;
	word = *at;
	while (*at < end && !is_blank(**at))
		++*at;
	*len = (size_t)(*at - word);
	return word;
}

/* Lowers a limit, if the whole word is digits. */
static void
add_limit(uint64_t *limit, const char *digits, size_t n)
{
	uint64_t value = 0;

	if (n == 0 || str_number64(digits, n, UINT64_MAX, &value) != n)
		return;
	if (value > 0 && (*limit == 0 || value < *limit))
		*limit = value;
}

static void
add_named_limit(struct smtp_ehlo *e, const char *word, size_t n)
{
	static const char rcptmax[] = "RCPTMAX=", mailmax[] = "MAILMAX=";
	const size_t prefix = sizeof rcptmax - 1;

	if (n <= prefix)
		return;
	if (str_case_equal(word, rcptmax, prefix))
		add_limit(&e->rcptmax, word + prefix, n - prefix);
	else if (str_case_equal(word, mailmax, prefix))
		add_limit(&e->mailmax, word + prefix, n - prefix);
}

static bool
is_word(const char *known_word, const char *word, size_t n)
{
	return strlen(known_word) == n && str_case_equal(known_word, word, n);
}

static void
add_mechanism(struct smtp_ehlo *e, const char *word, size_t n)
{
	for (size_t i = 0; i < NMECHANISM; i++)
		if (is_word(mechanisms[i].name, word, n))
			e->mechanisms |= mechanisms[i].mechanism;
}

static void
add_parameters(struct smtp_ehlo *e, enum smtp_extension extension,
    const char *at, const char *end)
{
	size_t n;
	const char *word;

	if (extension == SMTP_EXT_SIZE) {
		word = next_word(&at, end, &n);
		add_limit(&e->size, word, n);
	} else if (extension == SMTP_EXT_LIMITS) {
		while (word = next_word(&at, end, &n), n > 0)
			add_named_limit(e, word, n);
	} else if (extension == SMTP_EXT_AUTH) {
		while (word = next_word(&at, end, &n), n > 0)
			add_mechanism(e, word, n);
	}
}

/* "AUTH=LOGIN": the keyword ends at the '=', and a parameter follows it. */
static bool
is_old_auth(const char *keyword, size_t n)
{
	static const char old[] = "AUTH=";

	return n >= sizeof old - 1 &&
	       str_case_equal(keyword, old, sizeof old - 1);
}

/*
 * The keyword is the whole first word of the line: STARTTLSX and STARTTLS=1 are
 * not STARTTLS.
 */
void
smtp_ehlo_add(struct smtp_ehlo *e, const char *line, size_t n)
{
	const char *at = line, *end = line + n;
	size_t len;
	const char *keyword = next_word(&at, end, &len);

	if (keyword != line)
		return;
	if (is_old_auth(keyword, len)) {
		len = strlen("AUTH");
		at = keyword + len + 1;
	}
	for (size_t i = 0; i < NKNOWN; i++) {
		if (!is_word(known[i].keyword, keyword, len))
			continue;
		e->extensions |= known[i].extension;
		add_parameters(e, known[i].extension, at, end);
	}
}

const char *
smtp_mechanism_name(enum smtp_mechanism mechanism)
{
	size_t i = 0;

	while (i + 1 < NMECHANISM && mechanisms[i].mechanism != mechanism)
		i++;
	return mechanisms[i].name;
}

bool
smtp_ehlo_has(const struct smtp_ehlo *e, enum smtp_extension extension)
{
	return e->extensions & extension;
}

static void
format_parameters(const struct smtp_ehlo *e, enum smtp_extension extension,
    struct buf *b)
{
	if (extension == SMTP_EXT_SIZE && e->size > 0)
		buf_printf(b, " %" PRIu64, e->size);
	if (extension == SMTP_EXT_LIMITS && e->rcptmax > 0)
		buf_printf(b, " RCPTMAX=%" PRIu64, e->rcptmax);
	if (extension == SMTP_EXT_LIMITS && e->mailmax > 0)
		buf_printf(b, " MAILMAX=%" PRIu64, e->mailmax);
	for (size_t i = 0; extension == SMTP_EXT_AUTH && i < NMECHANISM; i++)
		if (e->mechanisms & mechanisms[i].mechanism)
			buf_printf(b, " %s", mechanisms[i].name);
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
		format_parameters(e, known[i].extension, b);
		separator = ",";
	}
}

void
smtp_ehlo_parse(struct smtp_ehlo *e, const char *lines)
{
	while (*lines) {
		size_t n = strcspn(lines, ",");

		smtp_ehlo_add(e, lines, n);
		lines += n + (lines[n] == ',');
	}
}
