/* SPDX-License-Identifier: ISC */
#include "qmail/route.h"

#include <sys/stat.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/compiled.h"
#include "base/fdio.h"
#include "base/ip.h"
#include "base/str.h"
#include "qmail/control.h"

#define SMTP_PORT 25
#define PORT_MAX 65535

#define TEXT_MAX ((off_t)1 << 30)
#define TEXT_PIECE ((size_t)1 << 16)

#define COMPILED_HOST_MAX 1024

/* A line of the file, as it is there. */
struct entry {
	const char *key;
	size_t keylen;
	const char *value;
	size_t len;
};

/* The line that decides, if any. */
struct found {
	bool any;
	struct buf key, value;
};

static void
found_set(struct found *f, const struct entry *e)
{
	f->any = true;
	buf_append(&f->key, e->key, e->keylen);
	buf_append(&f->value, e->value, e->len);
}

/* The length of the address literal that s begins with, 0 for none. */
static size_t
literal_length(const char *s, size_t n)
{
	const char *close = n > 0 && *s == '[' ? memchr(s, ']', n) : NULL;
	size_t len = close ? (size_t)(close + 1 - s) : 0;
	struct ip ip;

	return len > 0 && ip_parse_literal(s, len, &ip) ? len : 0;
}

/*
 * The part before the colon that separates; n when there is none.  The
 * colons of an IPv6 literal are its own: stock could not make sense of
 * those, so no line that it understood is read in another way.
 */
static size_t
part_length(const char *s, size_t n)
{
	size_t len = literal_length(s, n);
	const char *colon;

	if (len > 0 && (len == n || s[len] == ':'))
		return len;
	colon = memchr(s, ':', n);
	return colon ? (size_t)(colon - s) : n;
}

static bool
parse_entry(struct entry *e, const char *s, size_t n)
{
	e->key = s;
	e->keylen = part_length(s, n);
	if (e->keylen == n)
		return false;
	e->value = s + e->keylen + 1;
	e->len = n - e->keylen - 1;
	return true;
}

/*
 * Walks through the text from its end, so that the first line seen with a
 * key is the one that counts.  What is left: of the line [line, end), and
 * all before it.
 */
struct cursor {
	const char *text;
	const char *line;
	const char *end;
};

static void
previous_line(struct cursor *c)
{
	const char *stop = c->line;
	const char *start, *at;
	size_t n;

	if (stop[-1] == '\n')
		stop--;
	for (start = stop; start > c->text && start[-1] != '\n'; start--)
		;
	c->line = c->end = at = start;
	if (control_next(&at, stop, &start, &n))
		c->end = start + n;
}

/* A NUL separates entries within a line, as in stock. */
static bool
previous_entry(struct cursor *c, struct entry *e)
{
	do {
		const char *start;
		size_t n;

		while (c->end == c->line) {
			if (c->line == c->text)
				return false;
			previous_line(c);
		}
		for (start = c->end; start > c->line && start[-1]; start--)
			;
		n = (size_t)(c->end - start);
		c->end = start > c->line ? start - 1 : start;
		if (parse_entry(e, start, n))
			return true;
	} while (true);
}

static bool
has_same_key(const struct entry *a, const struct entry *b)
{
	return a->keylen == b->keylen &&
	       str_case_equal(a->key, b->key, a->keylen);
}

/* The key is the host, a suffix of it that begins with a dot, or empty. */
static bool
matches(const struct entry *e, const char *host, size_t n)
{
	if (e->keylen > n)
		return false;
	if (e->keylen < n && e->keylen > 0 && e->key[0] != '.')
		return false;
	return str_case_equal(e->key, host + n - e->keylen, e->keylen);
}

static void
compile_entry(struct compiling *c, const struct entry *e, struct buf *key)
{
	char *lower;

	buf_cut(key, 0);
	lower = buf_reserve(key, e->keylen);
	for (size_t i = 0; i < e->keylen; i++)
		lower[i] = str_lower(e->key[i]);
	compiling_add(c, lower, e->keylen, e->value, e->len);
}

/*
 * One pass finds the entry for host, of the longest key and the last of
 * those, and compiles, where compiling is not NULL.
 */
static void
scan(const struct buf *text, const char *host, struct found *f,
    struct compiling *compiling)
{
	struct cursor c = { .text = buf_text(text) };
	const char *end = c.text + text->len;
	size_t n = strlen(host);
	struct entry e, before = { 0 }, best = { 0 };
	struct buf key = { 0 };

	c.text += control_mark(c.text, text->len);
	c.line = c.end = end;
	for (; previous_entry(&c, &e); before = e) {
		/*
		 * A list that says the same a hundred thousand times would be
		 * one very long chain in a hash table.
		 */
		if (before.key && has_same_key(&e, &before))
			continue;
		if (compiling)
			compile_entry(compiling, &e, &key);
		if (matches(&e, host, n) &&
		    (!best.key || e.keylen > best.keylen))
			best = e;
	}
	if (best.key)
		found_set(f, &best);
	buf_finish(&key);
}

/* Up to the end, though the file may grow meanwhile. */
static int
read_text(int fd, struct buf *text)
{
	ssize_t got;

	do {
		got = fdio_read(fd, buf_reserve(text, TEXT_PIECE), TEXT_PIECE);
		if (got == -1)
			return -1;
		text->len += (size_t)got;
		buf_cut(text, text->len);
		if ((off_t)text->len > TEXT_MAX) {
			errno = EFBIG;
			return -1;
		}
	} while (got > 0);
	return 0;
}

static int
open_text(const char *path, struct stat *st)
{
	int fd = fdio_open_file(path, st);

	if (fd == -1 || st->st_size <= TEXT_MAX)
		return fd;
	close(fd);
	errno = EFBIG;
	return -1;
}

/*
 * There would be a look-up for each dot of the host.  No mail gets to one so
 * long: it is not worth them, one pass over the text is enough.
 */
static bool
is_compilable(const char *host, const struct stat *st)
{
	return st->st_size > 0 && strlen(host) <= COMPILED_HOST_MAX;
}

/*
 * By the text, which is compiled on the way if nobody else does.  -1 with
 * errno.
 */
static int
find_in_text(const char *host, const struct route_files *files, struct found *f)
{
	struct compiling *compiling = NULL;
	struct buf text = { 0 };
	struct stat st;
	int fd = open_text(files->text, &st);
	int saved, result;

	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	if (is_compilable(host, &st))
		compiling = compiling_begin(files->cdb, files->lock, &st);
	result = read_text(fd, &text);
	saved = errno;
	if (result == 0)
		scan(&text, host, f, compiling);
	/* Where it cannot be put in place, the text will do next time too. */
	if (compiling && result == 0)
		(void)compiling_end(compiling, fd);
	else if (compiling)
		compiling_abort(compiling);
	buf_finish(&text);
	close(fd);
	errno = saved;
	return result;
}

/* Looks up each key that may match in turn, the longest first. */
static enum compiled_result
find_key(struct compiled *c, const char *host, struct entry *e)
{
	const char *end = host + strlen(host);

	for (e->key = host;; e->key++) {
		const void *value;
		enum compiled_result result;

		if (e->key > host && e->key < end && *e->key != '.')
			continue;
		e->keylen = (size_t)(end - e->key);
		result =
		    compiled_find(c, e->key, e->keylen, 0, &value, &e->len);
		e->value = value;
		if (result != COMPILED_ABSENT || e->key == end)
			return result;
	}
}

/* False when the compiled routes cannot be used and the text must be. */
static bool
find_compiled(const char *host, const char *path, const struct stat *st,
    struct found *f)
{
	struct compiled *c;
	struct buf lower = { 0 };
	struct entry e;
	enum compiled_result result;

	c = compiled_open(path, st);
	if (!c)
		return false;
	for (const char *p = host; *p; p++)
		buf_putc(&lower, str_lower(*p));
	result = find_key(c, buf_text(&lower), &e);
	if (result == COMPILED_FOUND)
		found_set(f, &e);
	compiled_close(c);
	buf_finish(&lower);
	return result != COMPILED_DAMAGED;
}

static int
find_entry(const char *host, const struct route_files *files, struct found *f)
{
	struct stat st;

	if (stat(files->text, &st) == -1)
		return errno == ENOENT ? 0 : -1;
	if (is_compilable(host, &st) && find_compiled(host, files->cdb, &st, f))
		return 0;
	return find_in_text(host, files, f);
}

/* Meant for an IPv4 address: no top-level domain is a number. */
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

/* The bytes at the start that a host name in the DNS may have. */
static size_t
name_length(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && (str_is_alnum(s[i]) || (s[i] && strchr("-_.", s[i]))))
		i++;
	return i;
}

/*
 * Why a relay could never be connected to; NULL if it could.  Stock takes
 * it for a name that does not exist, and bounces the mail.
 */
static const char *
relay_fault(const char *s, size_t n)
{
	struct ip ip;

	if (n > 0 && *s == '[')
		return literal_length(s, n) == n ? NULL : "not an address";
	if (is_dotted_quad(s, n) && !ip_parse(s, n, &ip))
		return "not an address";
	return name_length(s, n) == n ? NULL : "not a host name";
}

/*
 * Why the n bytes behind the relay's colon are no port; NULL if they are one.
 * Other programs have credentials there, and stock sends the mail without
 * using them; the server then refuses it for good.
 */
static const char *
parse_port(const char *s, size_t n, uint16_t *port)
{
	unsigned long number = 0;
	size_t at = str_number(s, n, PORT_MAX + 1, &number);

	if (number == 0 || number > PORT_MAX)
		return "no usable port";
	*port = (uint16_t)number;
	if (at == n)
		return NULL;
	if (s[at] != ' ' && s[at] != '\t')
		return "text behind the port";
	while (s[at] == ' ' || s[at] == '\t')
		at++;
	return s[at] == '#' ? NULL : "text behind the port";
}

/* NULL when all is well, else what is wrong with the value. */
static const char *
parse_value(const char *s, size_t n, struct route *r)
{
	size_t relay = part_length(s, n);
	const char *fault = relay_fault(s, relay);
	struct ip ip;

	/* Its last group might be meant for a port. */
	if (ip_parse(s, n, &ip) && memchr(s, ':', n))
		return "IPv6 address without brackets";
	if (!fault && relay < n)
		fault = parse_port(s + relay + 1, n - relay - 1, &r->port);
	if (!fault)
		buf_append(&r->relay, s, relay);
	return fault;
}

/*
 * The line as far as its relay's name goes: what follows may be a password,
 * and reports are logged and sent to others.
 */
static void
show_line(const struct found *f, struct buf *shown)
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
refuse_file(const char *path, struct dsn *why)
{
	const char *reason = strerror(errno);

	dsn_set(why, "4.3.0", "Unable to read control files.");
	return dsn_detail(why, "%s: %s", path, reason);
}

static int
refuse_line(const char *path, const struct found *f, const char *fault,
    struct dsn *why)
{
	struct buf line = { 0 };

	show_line(f, &line);
	dsn_set(why, "4.4.1",
	    "Sorry, I wasn't able to establish an SMTP connection.");
	dsn_detail(why, "%s: %s: %s", path, fault, buf_text(&line));
	buf_finish(&line);
	return -1;
}

int
route_find(const char *host, const struct route_files *files, struct route *r,
    struct dsn *why)
{
	struct found f = { 0 };
	const char *fault = NULL;
	int result = 0;

	buf_cut(&r->relay, 0);
	r->port = SMTP_PORT;
	if (find_entry(host, files, &f) == -1)
		result = refuse_file(files->text, why);
	else if (f.any)
		fault = parse_value(buf_text(&f.value), f.value.len, r);
	if (fault)
		result = refuse_line(files->text, &f, fault, why);
	buf_finish(&f.key);
	buf_finish(&f.value);
	return result;
}

void
route_finish(struct route *r)
{
	buf_finish(&r->relay);
}
