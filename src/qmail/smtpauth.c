/* SPDX-License-Identifier: ISC */
#include "qmail/smtpauth.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/ip.h"
#include "base/str.h"
#include "qmail/control.h"
#include "qmail/lines.h"
#include "qmail/route.h"

/* What a line is for, from the least to the most particular. */
enum rank { OTHER, ALL, ALL_ON_PORT, RELAY, RELAY_ON_PORT };

/* Borrowed. */
struct line {
	const char *text;
	size_t n;
	size_t name; /* the length of the relay */
};

/* A dot at the end of a domain name says nothing. */
static size_t
without_last_dot(const char *name, size_t n)
{
	return n > 1 && name[n - 1] == '.' ? n - 1 : n;
}

static bool
is_address(const char *s, size_t n, struct ip *ip)
{
	return ip_parse(s, n, ip) || ip_parse_literal(s, n, ip);
}

static bool
is_same_relay(const char *a, size_t na, const char *b, size_t nb)
{
	struct ip ipa, ipb;

	if (is_address(a, na, &ipa) && is_address(b, nb, &ipb))
		return ip_equal(&ipa, &ipb);
	na = without_last_dot(a, na);
	nb = without_last_dot(b, nb);
	return na == nb && str_case_equal(a, b, na);
}

/*
 * Whether the text behind a relay begins with this port.  One that is no number
 * may have been meant so.
 */
static bool
has_port(const char *s, size_t n, uint16_t port)
{
	unsigned long number = 0;
	size_t digits = str_number(s, n, ROUTE_PORT_MAX + 1, &number);

	if (digits == 0 || number == 0 || number > ROUTE_PORT_MAX ||
	    (digits < n && s[digits] != '|'))
		return true;
	return number == port;
}

static enum rank
rank_of(const struct line *l, const char *relay, uint16_t port)
{
	size_t n = strlen(relay), behind = l->name + 1;

	if (l->name > 0 && !is_same_relay(l->text, l->name, relay, n))
		return OTHER;
	if (l->name == l->n ||
	    (l->text[l->name] != ';' && l->text[l->name] != ':'))
		return l->name > 0 ? RELAY : ALL;
	if (!has_port(l->text + behind, l->n - behind, port))
		return OTHER;
	return l->name > 0 ? RELAY_ON_PORT : ALL_ON_PORT;
}

static bool
next_line(struct lines *lines, struct line *l)
{
	if (!lines_next(lines, &l->text, &l->n))
		return false;
	l->name = route_relay_length(l->text, l->n);
	return true;
}

/* The line for the relay; its text is NULL if there is none. */
static struct line
find_line(struct lines *lines, const char *relay, uint16_t port)
{
	struct line l, best = { .text = NULL };
	enum rank best_rank = ALL;

	while (next_line(lines, &l)) {
		enum rank rank = rank_of(&l, relay, port);

		if (rank < best_rank)
			continue;
		best = l;
		best_rank = rank;
	}
	return best;
}

/* Parses a line; returns what is wrong with it, or NULL. */
static const char *
parse_line(const struct line *l, struct login *login)
{
	struct route r = { .port = 0 };
	const char *fault = route_parse(l->text, l->n, &r);

	if (fault == NULL && !login_is_given(&r.login))
		fault = "no '|' behind the relay";
	if (fault == NULL) {
		*login = r.login;
		r.login = (struct login){ .file = NULL };
	}
	route_finish(&r);
	return fault;
}

int
smtpauth_find(const char *path, const char *relay, uint16_t port,
    struct login *login, struct dsn *why)
{
	struct line l = { .text = NULL };
	struct lines lines = { .ncounted = 0 };
	const char *fault = NULL;
	int result = 0;

	if (lines_read(&lines, path) == -1)
		result = control_refuse(path, strerror(errno), why);
	else
		l = find_line(&lines, relay, port);
	if (l.text != NULL) {
		fault = parse_line(&l, login);
		login->file = path;
		login->version = lines.version;
		login->offset = lines_offset(&lines, l.text);
	}
	if (fault != NULL)
		result = control_refuse_line(path, fault, l.text, l.name, why);
	lines_finish(&lines);
	return result;
}

int
smtpauth_walk(const char *path,
    void (*each)(void *, size_t, const char *, const char *), void *data)
{
	struct lines lines = { .ncounted = 0 };
	struct line l;
	int result = lines_read(&lines, path), saved = errno;

	while (result == 0 && next_line(&lines, &l)) {
		struct login login = { .file = NULL };
		const char *fault = parse_line(&l, &login);

		each(data, lines_number(&lines), fault, buf_text(&login.token));
		login_finish(&login);
	}
	lines_finish(&lines);
	errno = saved;
	return result;
}
