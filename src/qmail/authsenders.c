/* SPDX-License-Identifier: ISC */
#include "qmail/authsenders.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/idn.h"
#include "base/str.h"
#include "base/utf8.h"
#include "qmail/control.h"
#include "qmail/lines.h"

/* Borrowed. */
struct line {
	const char *key;
	size_t nkey;
	const char *value; /* NULL: there is neither a colon nor a '|' */
	size_t nvalue;
};

static bool
next_line(struct lines *lines, struct line *l)
{
	const char *s;
	size_t n, i = 0;

	if (!lines_next(lines, &s, &n))
		return false;
	while (i < n && s[i] != ':' && s[i] != '|' &&
	       control_blank_length(s + i, 1) == 0)
		i++;
	*l = (struct line){ .key = s, .nkey = i };
	if (i < n && (s[i] == ':' || s[i] == '|')) {
		/* Credentials without a relay need no colon. */
		i += s[i] == ':';
		l->value = s + i;
		l->nvalue = n - i;
	}
	return true;
}

/*
 * Appends an address or a key with A-labels in its domain, or as it is if IDNA
 * does not allow the domain.
 */
static void
append_converted(struct buf *b, const char *s, size_t n)
{
	size_t local = n;

	while (local > 0 && s[local - 1] != '@')
		local--;
	if (local == 0 && (n == 0 || *s != '.'))
		local = n;
	buf_append(b, s, local);
	if (idn_to_ascii(b, s + local, n - local) != NULL)
		buf_append(b, s + local, n - local);
}

/* Whether a key is the address, "@" and its domain, a suffix of it, or "". */
static bool
matches(const char *key, size_t nkey, const struct buf *sender)
{
	const char *end = sender->data + sender->len, *tail, *at;

	if (nkey == 0)
		return true;
	if (nkey > sender->len)
		return false;
	tail = end - nkey;
	if (!str_case_equal(key, tail, nkey))
		return false;
	at = strrchr(sender->data, '@');
	return nkey == sender->len ||
	       (at != NULL && tail >= at && (*tail == '@' || *tail == '.'));
}

/*
 * Domains are compared as A-labels.  For a sender without one no key needs to
 * be converted.
 */
static struct line
find_line(struct lines *lines, const char *sender)
{
	struct buf address = { 0 }, key = { 0 };
	struct line l, best = { .key = NULL };
	size_t length = 0;
	bool converts = utf8_may_be_idn(sender, strlen(sender));

	append_converted(&address, sender, strlen(sender));
	while (next_line(lines, &l)) {
		const char *k = l.key;
		size_t n = l.nkey;

		if (converts && utf8_is_international(k, n)) {
			buf_cut(&key, 0);
			append_converted(&key, k, n);
			k = buf_text(&key);
			n = key.len;
		}
		if (n < length || !matches(k, n, &address))
			continue;
		best = l;
		length = n;
	}
	buf_finish(&address);
	buf_finish(&key);
	return best;
}

/* Parses a line; returns what is wrong with it, or NULL. */
static const char *
parse_line(const struct line *l, struct route *r)
{
	const char *fault;

	if (l->value == NULL)
		return "no colon behind the sender";
	fault = route_parse(l->value, l->nvalue, r);
	if (fault == NULL && r->relay.len == 0 && r->has_port)
		fault = "a port without a relay";
	return fault;
}

int
authsenders_find(const char *path, const char *sender, struct route *r,
    struct dsn *why)
{
	struct line l = { .key = NULL };
	struct lines lines = { .ncounted = 0 };
	const char *fault = NULL;
	int result = 0;

	if (lines_read(&lines, path) == -1)
		result = control_refuse(path, strerror(errno), why);
	else
		l = find_line(&lines, sender);
	if (l.key != NULL) {
		fault = parse_line(&l, r);
		r->file = r->login.file = path;
		r->login.version = lines.version;
		r->login.offset = lines_offset(&lines, l.key);
		buf_append(&r->key, l.key, l.nkey);
	}
	if (fault != NULL)
		result = control_refuse_line(path, fault, l.key, l.nkey, why);
	lines_finish(&lines);
	return result;
}

int
authsenders_walk(const char *path,
    void (*each)(void *, size_t, const char *, const char *), void *data)
{
	struct lines lines = { .ncounted = 0 };
	struct line l;
	int result = lines_read(&lines, path), saved = errno;

	while (result == 0 && next_line(&lines, &l)) {
		struct route r = { .port = 0 };
		const char *fault = parse_line(&l, &r);

		each(data, lines_number(&lines), fault,
		    buf_text(&r.login.token));
		route_finish(&r);
	}
	lines_finish(&lines);
	errno = saved;
	return result;
}
