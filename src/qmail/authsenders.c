/* SPDX-License-Identifier: ISC */
#include "qmail/authsenders.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"
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

/* Whether the key is the address, "@" and its domain, a suffix of it, or empty.
 */
static bool
matches(const struct line *l, const char *sender)
{
	const char *at = strrchr(sender, '@');
	size_t n = strlen(sender);
	const char *tail;

	if (l->nkey == 0)
		return true;
	if (l->nkey > n)
		return false;
	tail = sender + n - l->nkey;
	if (!str_case_equal(l->key, tail, l->nkey))
		return false;
	return tail == sender ||
	       (at != NULL && tail >= at && (*tail == '@' || *tail == '.'));
}

static struct line
find_line(struct lines *lines, const char *sender)
{
	struct line l, best = { .key = NULL };

	while (next_line(lines, &l))
		if (matches(&l, sender) && l.nkey >= best.nkey)
			best = l;
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

static int
refuse(const char *path, const char *reason, struct dsn *why)
{
	dsn_set(why, "4.3.0", "Unable to read control files.");
	return dsn_detail(why, "%s: %s", path, reason);
}

static int
refuse_line(const char *path, const struct line *l, const char *fault,
    struct dsn *why)
{
	struct buf reason = { 0 };

	buf_printf(&reason, "%s: ", fault);
	buf_append(&reason, l->key, l->nkey);
	refuse(path, buf_text(&reason), why);
	buf_finish(&reason);
	return -1;
}

int
authsenders_find(const char *path, const char *sender, struct route *r,
    struct dsn *why)
{
	struct line l = { .key = NULL };
	struct lines lines = { .number = 0 };
	const char *fault = NULL;
	int result = 0;

	if (lines_read(&lines, path) == -1)
		result = refuse(path, strerror(errno), why);
	else
		l = find_line(&lines, sender);
	if (l.key != NULL) {
		fault = parse_line(&l, r);
		r->file = r->login.file = path;
		buf_append(&r->key, l.key, l.nkey);
	}
	if (fault != NULL)
		result = refuse_line(path, &l, fault, why);
	lines_finish(&lines);
	return result;
}

int
authsenders_walk(const char *path,
    void (*each)(void *, size_t, const char *, const char *), void *data)
{
	struct lines lines = { .number = 0 };
	struct line l;
	int result = lines_read(&lines, path), saved = errno;

	while (result == 0 && next_line(&lines, &l)) {
		struct route r = { .port = 0 };
		const char *fault = parse_line(&l, &r);

		each(data, lines.number, fault, buf_text(&r.login.token));
		route_finish(&r);
	}
	lines_finish(&lines);
	errno = saved;
	return result;
}
