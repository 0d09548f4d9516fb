/* SPDX-License-Identifier: ISC */
#include "qmail/concurrencyhosts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/idn.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/fdio.h"
#include "qmail/control.h"

#define TEXT_MAX ((size_t)1 << 20)

static const char wait_word[] = "wait";

/* A dot at the end of a domain name says nothing. */
static size_t
without_last_dot(const char *name, size_t n)
{
	return n > 0 && name[n - 1] == '.' ? n - 1 : n;
}

/*
 * Appends a host name or a key in the form in which they are compared: an
 * address in its one form, a name with A-labels and in lower case.
 */
static void
append_name(struct buf *b, const char *s, size_t n)
{
	char text[IP_TEXT_SIZE];
	struct ip ip;

	if (ip_parse(s, n, &ip) || ip_parse_literal(s, n, &ip)) {
		buf_puts(b, ip_format(&ip, text));
		return;
	}
	n = without_last_dot(s, n);
	if (idn_to_ascii(b, s, n) != NULL)
		buf_append(b, s, n);
	for (size_t i = 0; i < b->len; i++)
		b->data[i] = str_lower(b->data[i]);
}

/* Whether there can be a host with such a name. */
static bool
is_key(const struct buf *key)
{
	struct ip ip;

	if (ip_parse(buf_text(key), key->len, &ip))
		return true;
	for (size_t i = 0; i < key->len; i++)
		if (!str_is_alnum(key->data[i]) &&
		    memchr("-_.", key->data[i], 3) == NULL)
			return false;
	return key->len > 1 || (key->len == 1 && key->data[0] != '.');
}

/* A whole number, and nothing but a comment behind it. */
static bool
parse_number(const char *s, size_t n, unsigned long limit, unsigned long *value)
{
	size_t digits = str_number(s, n, limit, value);

	return digits > 0 && control_is_comment(s + digits, n - digits);
}

/* An address may have colons in it, so the last one is before the number. */
static bool
parse_limit(const char *s, size_t word, size_t n, struct buf *key,
    unsigned long *value)
{
	size_t colon = word;

	while (colon > 0 && s[colon - 1] != ':')
		colon--;
	if (colon == 0)
		return false;
	append_name(key, s, colon - 1);
	return is_key(key) &&
	       parse_number(s + colon, n - colon, CONCURRENCYHOSTS_N_MAX,
		   value) &&
	       *value > 0;
}

/* Parses a line without the blanks at its start; of a limit, the key too. */
static enum concurrencyhosts_kind
parse_line(const char *s, size_t n, struct buf *key, unsigned long *value)
{
	size_t word = 0;

	while (word < n && control_blank_length(s + word, 1) == 0)
		word++;
	if (word == strlen(wait_word) && memcmp(s, wait_word, word) == 0) {
		word += control_blank_length(s + word, n - word);
		return parse_number(s + word, n - word,
			   CONCURRENCYHOSTS_WAIT_MAX, value)
			   ? CONCURRENCYHOSTS_TIME
			   : CONCURRENCYHOSTS_NONSENSE;
	}
	return parse_limit(s, word, n, key, value) ? CONCURRENCYHOSTS_LIMIT
						   : CONCURRENCYHOSTS_NONSENSE;
}

/* The next line that is no comment, without the blanks at its start. */
static bool
next_line(const char **at, const char *end, const char **line, size_t *n)
{
	while (control_next(at, end, line, n)) {
		size_t blanks = control_blank_length(*line, *n);

		*line += blanks;
		*n -= blanks;
		if (**line != '#')
			return true;
	}
	return false;
}

static void
take_line(struct concurrencyhosts *c, const char *s, size_t n)
{
	struct buf key = { 0 };
	unsigned long value = 0;

	switch (parse_line(s, n, &key, &value)) {
	case CONCURRENCYHOSTS_LIMIT:
		c->line = mem_resize(c->line, c->nline + 1, sizeof *c->line);
		c->line[c->nline].n = value;
		c->line[c->nline++].key = key.data;
		return;
	case CONCURRENCYHOSTS_TIME:
		c->wait_s = value;
		break;
	case CONCURRENCYHOSTS_NONSENSE:
		break;
	}
	buf_finish(&key);
}

int
concurrencyhosts_read(struct concurrencyhosts *c, const char *path,
    struct dsn *why)
{
	const char *at, *end, *line;
	struct buf text = { 0 };
	size_t n;

	*c = (struct concurrencyhosts){ .wait_s = CONCURRENCYHOSTS_WAIT };
	if (fdio_read_file(path, TEXT_MAX, &text) == 0) {
		c->has_version = fileid_read(&c->version, path) == 0;
	} else if (errno != ENOENT) {
		control_refuse(path, strerror(errno), why);
		buf_finish(&text);
		return -1;
	}
	at = buf_text(&text);
	end = at + text.len;
	at += control_bom_length(at, text.len);
	while (next_line(&at, end, &line, &n))
		take_line(c, line, n);
	buf_finish(&text);
	return 0;
}

/* Whether a key applies to a name; both are in the form of append_name(). */
static bool
matches(const char *key, size_t nkey, const struct buf *name)
{
	if (key[0] != '.')
		return nkey == name->len && memcmp(key, name->data, nkey) == 0;
	return nkey <= name->len &&
	       memcmp(key, name->data + name->len - nkey, nkey) == 0;
}

const struct concurrencyhosts_line *
concurrencyhosts_find(const struct concurrencyhosts *c, const char *host)
{
	const struct concurrencyhosts_line *found = NULL;
	struct buf name = { 0 };
	size_t longest = 0;

	if (c->nline == 0)
		return NULL;
	append_name(&name, host, strlen(host));
	for (size_t i = 0; i < c->nline; i++) {
		size_t n = strlen(c->line[i].key);

		if (n < longest || !matches(c->line[i].key, n, &name))
			continue;
		found = &c->line[i];
		longest = n;
	}
	buf_finish(&name);
	return found;
}

void
concurrencyhosts_walk(const struct buf *text,
    void (*each)(void *, enum concurrencyhosts_kind, const char *, size_t,
	unsigned long),
    void *data)
{
	const char *at = buf_text(text), *end = at + text->len, *line;
	const char *counted = at;
	unsigned long number = 1;
	size_t n;

	at += control_bom_length(at, text->len);
	while (next_line(&at, end, &line, &n)) {
		struct buf key = { 0 };
		unsigned long value = 0;

		for (; counted < line; counted++)
			number += *counted == '\n';
		each(data, parse_line(line, n, &key, &value), line, n, number);
		buf_finish(&key);
	}
}

void
concurrencyhosts_finish(struct concurrencyhosts *c)
{
	for (size_t i = 0; i < c->nline; i++)
		free(c->line[i].key);
	free(c->line);
	*c = (struct concurrencyhosts){ .nline = 0 };
}
