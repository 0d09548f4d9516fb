/* SPDX-License-Identifier: ISC */
#include "qmail/route.h"

#include <errno.h>
#include <string.h>

#include "base/ip.h"
#include "base/str.h"
#include "qmail/control.h"

/*
 * Three dots and digits are meant as an IPv4 address, because no top-level
 * domain is a number.
 */
static bool
is_dotted_quad(const char *s, size_t n)
{
	size_t dots = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '.')
			dots++;
		else if (!str_is_digit(s[i]))
			return false;
	}
	return dots == 3;
}

static bool
is_v6(const char *s, size_t n)
{
	struct ip ip;

	return ip_parse(s, n, &ip) && memchr(s, ':', n) != NULL;
}

/* The number of bytes at the start that are allowed in a host name. */
static size_t
name_length(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && (str_is_alnum(s[i]) || (s[i] && strchr("-_.", s[i]))))
		i++;
	return i;
}

/*
 * What is wrong with a relay; NULL if it is valid.  Stock takes an invalid one
 * for a name that does not exist, and bounces the mail.
 */
static const char *
relay_fault(const char *s, size_t n)
{
	struct ip ip;

	if (n > 0 && *s == '[')
		return ip_parse_literal(s, n, &ip) ? NULL : "not an address";
	/* Its last group could be a port. */
	if (is_v6(s, n))
		return "IPv6 address without brackets";
	if (is_dotted_quad(s, n) && !ip_parse(s, n, &ip))
		return "not an address";
	return name_length(s, n) == n ? NULL : "not a host name";
}

/* The bytes up to a semicolon, '|' or blank. */
static size_t
length_with_colons(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] != ';' && s[i] != '|' &&
	       control_blank_length(s + i, 1) == 0)
		i++;
	return i;
}

size_t
route_relay_length(const char *s, size_t n)
{
	const char *close = n > 0 && *s == '[' ? memchr(s, ']', n) : NULL;
	size_t inside = close != NULL ? (size_t)(close - s) : 0;
	size_t end = inside + length_with_colons(s + inside, n - inside);
	const char *colon = memchr(s + inside, ':', end - inside);

	return colon != NULL && !is_v6(s, end) ? (size_t)(colon - s) : end;
}

/* Parses the port at the start of n bytes; returns its length, or 0. */
static size_t
parse_port(const char *s, size_t n, struct route *r)
{
	unsigned long number = 0;
	size_t digits = str_number(s, n, ROUTE_PORT_MAX + 1, &number);

	if (number == 0 || number > ROUTE_PORT_MAX)
		return 0;
	r->port = (uint16_t)number;
	r->has_port = true;
	return digits;
}

/* Parses what is behind relay and port: credentials, or a comment. */
static const char *
parse_rest(const char *s, size_t n, struct route *r)
{
	if (n == 0)
		return NULL;
	if (*s == '|')
		return login_parse(&r->login, s + 1, n - 1);
	if (!r->has_port)
		return "text behind the relay";
	return control_is_comment(s, n) ? NULL : "text behind the port";
}

const char *
route_parse(const char *s, size_t n, struct route *r)
{
	size_t relay = route_relay_length(s, n), at = relay, digits;
	const char *fault = relay_fault(s, relay);

	if (fault)
		return fault;
	r->port = ROUTE_PORT;
	if (at < n && (s[at] == ':' || s[at] == ';')) {
		at++;
		digits = parse_port(s + at, n - at, r);
		if (digits == 0)
			return "no usable port";
		at += digits;
	}
	buf_append(&r->relay, s, relay);
	return parse_rest(s + at, n - at, r);
}

/* The same for an entry of smtproutes. */
static const char *
parse_value(const char *s, size_t n, struct route *r)
{
	const char *fault = route_parse(s, n, r);

	if (!fault && r->relay.len == 0 && login_is_given(&r->login))
		fault = "credentials without a relay";
	return fault;
}

/*
 * Appends the line up to the end of the relay's name.  What follows may be a
 * password, and reports are logged and sent to others.
 */
static void
show_line(const struct table_entry *f, struct buf *shown)
{
	const char *value = buf_text(&f->value);
	size_t n = f->value.len;
	size_t bracket = n > 0 && *value == '[';

	buf_append(shown, buf_text(&f->key), f->key.len);
	buf_putc(shown, ':');
	buf_append(shown, value,
	    bracket + name_length(value + bracket, n - bracket));
}

static int
refuse_line(const char *path, const struct table_entry *f, const char *fault,
    struct dsn *why)
{
	struct buf line = { 0 };

	show_line(f, &line);
	dsn_set(why, ROUTE_STATUS, "%s", ROUTE_SENTENCE);
	dsn_detail(why, "%s: %s: %s", path, fault, buf_text(&line));
	buf_finish(&line);
	return -1;
}

int
route_find(const char *host, const struct table_files *files, struct route *r,
    struct dsn *why)
{
	struct table_entry f = { 0 };
	const char *fault = NULL;
	int result = 0;

	route_finish(r);
	r->port = ROUTE_PORT;
	if (table_find(files, host, &f) == -1)
		result = control_refuse(files->text, strerror(errno), why);
	else if (f.found) {
		fault = parse_value(buf_text(&f.value), f.value.len, r);
		r->file = r->login.file = files->text;
		r->login.version = f.version;
		r->login.offset = f.offset;
		buf_append(&r->key, buf_text(&f.key), f.key.len);
	}
	if (fault)
		result = refuse_line(files->text, &f, fault, why);
	buf_wipe(&f.value);
	table_entry_finish(&f);
	return result;
}

void
route_finish(struct route *r)
{
	buf_finish(&r->relay);
	buf_finish(&r->key);
	buf_finish(&r->unread);
	login_finish(&r->login);
	*r = (struct route){ .port = 0 };
}

const char *
route_fault(const char *value, size_t n)
{
	struct route r = { .port = ROUTE_PORT };
	const char *fault = parse_value(value, n, &r);

	route_finish(&r);
	return fault;
}
