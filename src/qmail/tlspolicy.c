/* SPDX-License-Identifier: ISC */
#include "qmail/tlspolicy.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"
#include "qmail/control.h"

#define DOMAIN_MAX 253 /* bytes of a domain name, without a final dot */
#define LABEL_MAX 63

static const struct {
	const char *word;
	enum tlspolicy_level level;
} levels[] = {
	{ "none", TLSPOLICY_NONE },
	{ "may", TLSPOLICY_MAY },
	{ "encrypt", TLSPOLICY_ENCRYPT },
	{ "verify", TLSPOLICY_VERIFY },
	{ "dane", TLSPOLICY_DANE },
	{ "dane-only", TLSPOLICY_DANE_ONLY },
};

static bool
is_word(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* The number of bytes before the separator, or all n. */
static size_t
length_until(const char *s, size_t n, char separator)
{
	const char *stop = memchr(s, separator, n);

	return stop ? (size_t)(stop - s) : n;
}

static bool
parse_level(const char *s, size_t n, enum tlspolicy_level *level)
{
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (is_word(s, n, levels[i].word)) {
			*level = levels[i].level;
			return true;
		}
	return false;
}

static bool
is_label(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!str_is_alnum(s[i]) && s[i] != '-' && s[i] != '_')
			return false;
	return n > 0 && n <= LABEL_MAX;
}

/* A domain name, or a dot and a domain name. */
static bool
is_name(const char *s, size_t n)
{
	size_t at = n > 0 && *s == '.', label;

	if (n - at > DOMAIN_MAX)
		return false;
	for (;; at += label + 1) {
		label = length_until(s + at, n - at, '.');
		if (!is_label(s + at, label))
			return false;
		if (at + label == n)
			return true;
	}
}

static bool
is_list_of_names(const char *s, size_t n)
{
	size_t at = 0, name;

	for (;; at += name + 1) {
		name = length_until(s + at, n - at, ',');
		if (!is_name(s + at, name))
			return false;
		if (at + name == n)
			return true;
	}
}

/* Parses "attribute=value".  Returns what is wrong with it, or NULL. */
static const char *
parse_attribute(const char *s, size_t n, struct tlspolicy *p)
{
	size_t name = length_until(s, n, '=');
	size_t before = name < n ? name + 1 : n;
	const char *value = s + before;
	size_t len = n - before;
	bool is_match = is_word(s, name, "match");
	struct buf *place = is_match ? &p->match : &p->anchors;

	if (!is_match && !is_word(s, name, "anchors"))
		return "unknown attribute";
	if (p->level != TLSPOLICY_VERIFY)
		return "attribute that this level does not use";
	if (place->len > 0)
		return "attribute given twice";
	if (len == 0)
		return "attribute without a value";
	if (is_match && !is_list_of_names(value, len))
		return "not a list of names";
	buf_append(place, value, len);
	return NULL;
}

/* Parses the value without its comment. */
static const char *
parse_words(const char *s, size_t n, struct tlspolicy *p)
{
	size_t at = length_until(s, n, ':'), word;
	const char *fault = NULL;

	if (!parse_level(s, at, &p->level))
		return "unknown level";
	for (; at < n && !fault; at += word) {
		at++;
		word = length_until(s + at, n - at, ':');
		fault = parse_attribute(s + at, word, p);
	}
	return fault;
}

/* Parses the value of an entry.  Returns what is wrong with it, or NULL. */
static const char *
parse_value(const char *s, size_t n, struct tlspolicy *p)
{
	size_t words = 0;

	while (words < n && control_blank_length(s + words, 1) == 0)
		words++;
	if (words > TLSPOLICY_VALUE_MAX)
		return "too long";
	if (!control_is_comment(s + words, n - words))
		return "text behind the policy";
	return parse_words(s, words, p);
}

static int
refuse_line(const char *path, const struct table_entry *e, const char *fault,
    struct dsn *why)
{
	struct buf line = { 0 };

	table_entry_line(e, &line);
	control_refuse_line(path, fault, buf_text(&line), line.len, why);
	buf_finish(&line);
	return -1;
}

int
tlspolicy_find(struct tlspolicy *p, const struct table_files *files,
    const char *next_hop, struct dsn *why)
{
	struct table_entry e = { 0 };
	const char *fault = NULL;
	int result = 0;

	if (table_find_next_hop(files, next_hop, &e) == -1)
		result = control_refuse(files->text, strerror(errno), why);
	else if (e.lacks_colon)
		fault = "no colon behind the next hop";
	else if (e.found)
		fault = parse_value(buf_text(&e.value), e.value.len, p);
	if (fault)
		result = refuse_line(files->text, &e, fault, why);
	else if (e.found)
		buf_printf(&p->line, "%s:%s", buf_text(&e.key),
		    buf_text(&e.value));
	table_entry_finish(&e);
	return result;
}

void
tlspolicy_finish(struct tlspolicy *p)
{
	buf_finish(&p->match);
	buf_finish(&p->anchors);
	buf_finish(&p->line);
}

const char *
tlspolicy_fault(const char *value, size_t n)
{
	struct tlspolicy p = { .level = TLSPOLICY_ABSENT };
	const char *fault = parse_value(value, n, &p);

	tlspolicy_finish(&p);
	return fault;
}
