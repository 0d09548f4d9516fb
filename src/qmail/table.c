/* SPDX-License-Identifier: ISC */
#include "qmail/table.h"

#include <sys/stat.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/compiled.h"
#include "io/fdio.h"
#include "base/idn.h"
#include "base/ip.h"
#include "base/str.h"
#include "base/utf8.h"
#include "qmail/control.h"

#define TEXT_MAX ((size_t)1 << 30)
#define MARK_MAX 3                        /* bytes of a byte order mark */
#define STRICT_TEXT_MAX ((off_t)64 << 10) /* bytes read without an index */

/* An entry, borrowed from the text. */
struct entry {
	const char *key;
	size_t keylen;
	const char *value;
	size_t len;
	bool lacks_colon;
};

/* The length of the address literal at the start of s, or 0. */
static size_t
literal_length(const char *s, size_t n)
{
	const char *close = n > 0 && *s == '[' ? memchr(s, ']', n) : NULL;
	size_t len = close ? (size_t)(close + 1 - s) : 0;
	struct ip ip;

	return len > 0 && ip_parse_literal(s, len, &ip) ? len : 0;
}

/*
 * The length of the part before the first colon; n if there is none.  Colons of
 * an IPv6 literal do not count: stock cannot parse them, so every line that
 * stock understands is read in the same way here.
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
	e->lacks_colon = false;
	return true;
}

/* A dot at the end of a domain name says nothing. */
static size_t
without_last_dot(const char *name, size_t n)
{
	return n > 1 && name[n - 1] == '.' ? n - 1 : n;
}

/* Without a colon behind the key, the value is all that follows. */
static bool
parse_strictly(struct entry *e, const char *s, size_t n)
{
	const char *end = s + n, *stop;

	s += control_blank_length(s, n);
	stop = s;
	while (stop < end && *stop != ':' && *stop != ' ' && *stop != '\t')
		stop++;
	e->key = s;
	e->keylen = without_last_dot(s, (size_t)(stop - s));
	e->lacks_colon = stop == end || *stop != ':';
	e->value = e->lacks_colon ? stop : stop + 1;
	e->len = (size_t)(end - e->value);
	return s < end;
}

/* One to four hexadecimal digits, a colon, and another one after it. */
static bool
looks_like_v6(const char *s, size_t n)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	size_t i = 0;

	while (i < n && memchr(digits, s[i], sizeof digits - 1) != NULL)
		i++;
	return i >= 1 && i <= 4 && i + 1 < n && s[i] == ':' &&
	       s[i + 1] != '[' && memchr(s + i + 1, ':', n - i - 1) != NULL;
}

/* Whether the first word of a line is meant as an address without a key. */
static bool
lacks_key(const char *s, size_t n)
{
	struct ip ip;

	return memchr(s, ':', n) == NULL || ip_parse(s, n, &ip) ||
	       ip_parse_literal(s, n, &ip) || looks_like_v6(s, n);
}

/* Blanks and a comment are no entry. */
static bool
parse_address(struct entry *e, const char *s, size_t n)
{
	size_t blanks = control_blank_length(s, n), word = blanks;

	if (blanks == n || s[blanks] == '#')
		return false;
	while (word < n && control_blank_length(s + word, 1) == 0)
		word++;
	if (!lacks_key(s + blanks, word - blanks))
		return parse_strictly(e, s, n);
	*e = (struct entry){
		.key = s + blanks,
		.value = s + blanks,
		.len = n - blanks,
		.lacks_colon = true,
	};
	return true;
}

static void
set_entry(struct table_entry *f, const struct entry *e, uint64_t offset)
{
	f->found = true;
	f->lacks_colon = e->lacks_colon;
	f->offset = offset;
	buf_append(&f->key, e->key, e->keylen);
	buf_append(&f->value, e->value, e->len);
}

/*
 * Goes through the entries of a text.  Still to be read are [at, end) of a
 * line, and everything from next on.
 */
struct cursor {
	const char *line; /* its start */
	const char *at, *end;
	const char *next, *stop;
	const struct table_files *files;
};

static void
cursor_init(struct cursor *c, const char *text, size_t n,
    const struct table_files *files)
{
	*c = (struct cursor){ .next = text, .stop = text + n, .files = files };
}

/*
 * The next part of a line.  A NUL separates entries within a line, as in stock.
 */
static bool
next_part(struct cursor *c, const char **part, size_t *n)
{
	const char *start = c->at, *nul;

	if (!start) {
		if (!control_next(&c->next, c->stop, &c->line, n))
			return false;
		c->at = start = c->line;
		c->end = start + *n;
	}
	nul = memchr(start, '\0', (size_t)(c->end - start));
	*part = start;
	*n = (size_t)((nul ? nul : c->end) - start);
	c->at = nul ? nul + 1 : NULL;
	return true;
}

static bool
parse_part(const struct cursor *c, const char *part, size_t n, struct entry *e)
{
	if (c->files->has_addresses)
		return parse_address(e, part, n);
	return c->files->is_strict ? parse_strictly(e, part, n)
				   : parse_entry(e, part, n);
}

static bool
next_entry(struct cursor *c, struct entry *e)
{
	const char *part;
	size_t n;

	while (next_part(c, &part, &n))
		if (parse_part(c, part, n, e))
			return true;
	return false;
}

/*
 * Replaces the key by one with A-labels, which is in space, if it is in UTF-8.
 * What IDNA2008 does not allow stays as it is, and is no key of any domain.
 */
static void
convert_key(struct entry *e, struct buf *space)
{
	buf_cut(space, 0);
	if (!utf8_is_international(e->key, e->keylen) ||
	    idn_to_ascii(space, e->key, e->keylen) != NULL)
		return;
	e->key = space->data;
	e->keylen = space->len;
}

static bool
has_key(const struct entry *e, const char *key, size_t n, struct buf *space)
{
	struct entry converted = *e;

	convert_key(&converted, space);
	return converted.keylen == n && str_case_equal(converted.key, key, n);
}

/*
 * Whether the key is the host, a suffix of it that begins with a dot, or empty.
 */
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
append_lower(struct buf *b, const char *s, size_t n)
{
	char *lower = buf_reserve(b, n);

	for (size_t i = 0; i < n; i++)
		lower[i] = str_lower(s[i]);
	b->len += n;
	b->data[b->len] = '\0';
}

/* Look-up in the file itself. */

/*
 * Whether an index has the key.  With one of these bytes it is no domain, but
 * perhaps the start of a line that lacks its first colon, so that a password
 * would be in the key.
 */
static bool
is_indexed(const char *key, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (key[i] == '|' || key[i] == ' ' || key[i] == '\t')
			return false;
	return true;
}

/* The place of an entry is its line. */
static void
compile_entry(struct compiling *out, const struct buf *text,
    const struct cursor *c, const struct entry *e, struct buf *key)
{
	const char *end = c->next;
	struct compiled_place place;

	if (!is_indexed(e->key, e->keylen))
		return;
	if (end[-1] == '\n')
		end--;
	place.offset = (uint64_t)(c->line - buf_text(text));
	place.length = (uint64_t)(end - c->line);
	buf_cut(key, 0);
	append_lower(key, e->key, e->keylen);
	compiling_add(out, buf_text(key), e->keylen, &place);
}

/* An index with it would hide it from a program that can convert it. */
static bool
is_inconvertible(const struct entry *e)
{
	return !idn_is_supported() && utf8_is_international(e->key, e->keylen);
}

/*
 * In one pass finds the entry for host (longest key, last of equal ones) and,
 * if out is not NULL, compiles all entries.  Whether the index can be used.
 */
static bool
scan(const struct buf *text, const char *host, const struct table_files *files,
    struct table_entry *f, struct compiling *out)
{
	const char *start = buf_text(text);
	size_t mark = control_bom_length(start, text->len);
	size_t n = strlen(host), length = 0;
	bool converts = out || utf8_may_be_idn(host, n), is_usable = true;
	struct entry e, best = { 0 };
	struct buf key = { 0 }, space = { 0 };
	struct cursor c;

	cursor_init(&c, start + mark, text->len - mark, files);
	while (next_entry(&c, &e)) {
		struct entry converted = e;

		if (converts)
			convert_key(&converted, &space);
		if (out)
			compile_entry(out, text, &c, &converted, &key);
		if (is_inconvertible(&e))
			is_usable = false;
		if (matches(&converted, host, n) &&
		    converted.keylen >= length) {
			best = e;
			length = converted.keylen;
		}
	}
	if (best.key)
		set_entry(f, &best, (uint64_t)(best.key - start));
	buf_finish(&key);
	buf_finish(&space);
	return is_usable;
}

/*
 * The index needs a look-up for each dot of the host.  For a host longer than
 * any that can get mail, one pass over the text is better; and for one with
 * bytes that no key in an index has, it is needed.
 */
static bool
is_compilable(const struct table_files *files, const char *host,
    const struct stat *st)
{
	off_t uncompiled = files->is_strict ? STRICT_TEXT_MAX : files->small;

	return st->st_size > uncompiled && strlen(host) <= COMPILED_KEY_MAX &&
	       is_indexed(host, strlen(host));
}

/* Reads the file, and compiles it if no other process does.  -1 with errno. */
static int
find_in_text(int fd, const struct stat *st, const struct table_files *files,
    const char *host, struct table_entry *f)
{
	struct compiling *out = NULL;
	struct buf text = { 0 };
	bool is_usable = false;
	int saved, result;

	if (is_compilable(files, host, st) && !files->is_read_only)
		out = compiling_begin(files->index, files->lock, fd, st);
	result = fdio_read_to_end(fd, st, TEXT_MAX, &text);
	saved = errno;
	if (result == 0)
		is_usable = scan(&text, host, files, f, out);
	/* If this fails, the text is used next time too. */
	if (out && is_usable)
		(void)compiling_end(out, fd);
	else if (out)
		compiling_abort(out);
	buf_finish(&text);
	errno = saved;
	return result;
}

/* Look-up by the index. */

/* Whether a line begins at s, which is at this offset of the file. */
static bool
begins_line(const char *s, size_t n, uint64_t offset)
{
	if (offset == 0)
		return control_bom_length(s, n) == 0;
	if (s[-1] == '\n')
		return true;
	return offset == MARK_MAX &&
	       control_bom_length(s - MARK_MAX, MARK_MAX) > 0;
}

/*
 * Reads the line at a place, with the bytes before and after it.  False if the
 * place is not exactly one line.
 */
static bool
read_line(int fd, const struct stat *st, const struct compiled_place *place,
    struct buf *b, const struct table_files *files, struct cursor *c)
{
	size_t before =
	    place->offset < MARK_MAX ? (size_t)place->offset : MARK_MAX;
	size_t n = (size_t)place->length;
	size_t behind = place->offset + n < (uint64_t)st->st_size;
	char *line = buf_reserve(b, before + n + behind) + before;

	if (fdio_read_at(fd, place->offset - before, b->data,
		before + n + behind) == -1)
		return false;
	cursor_init(c, line, n, files);
	return n > 0 && begins_line(line, n, place->offset) &&
	       !memchr(line, '\n', n) && (!behind || line[n] == '\n');
}

/*
 * Finds the last entry with this key in the line at a place.  False if there is
 * no such line or entry: then the index does not belong to this file.
 */
static bool
read_entry(int fd, const struct stat *st, const struct compiled_place *place,
    const char *key, const struct table_files *files, struct table_entry *f)
{
	size_t keylen = strlen(key);
	struct buf line = { 0 }, space = { 0 };
	struct cursor c = { 0 };
	struct entry e, last = { 0 };

	if (read_line(fd, st, place, &line, files, &c))
		while (next_entry(&c, &e))
			if (has_key(&e, key, keylen, &space))
				last = e;
	if (last.key)
		set_entry(f, &last,
		    place->offset + (uint64_t)(last.key - c.line));
	buf_finish(&line);
	buf_finish(&space);
	return f->found;
}

/* Looks up each key that can match, the longest first. */
static enum compiled_result
find_place(struct compiled *index, const char *host, const char **key,
    struct compiled_place *place)
{
	const char *end = host + strlen(host);

	for (*key = host;; (*key)++) {
		enum compiled_result result;

		if (*key > host && *key < end && **key != '.')
			continue;
		result =
		    compiled_find(index, *key, (size_t)(end - *key), 0, place);
		if (result != COMPILED_ABSENT || *key == end)
			return result;
	}
}

/* False if the index cannot be used and the file must be read. */
static bool
find_by_index(int fd, const struct stat *st, const struct table_files *files,
    const char *host, struct table_entry *f)
{
	struct compiled *index = compiled_open(files->index, st);
	struct buf lower = { 0 };
	struct compiled_place place;
	enum compiled_result result;
	const char *key;
	bool is_right;

	if (!index)
		return false;
	append_lower(&lower, host, strlen(host));
	result = find_place(index, buf_text(&lower), &key, &place);
	is_right = result == COMPILED_ABSENT ||
		   (result == COMPILED_FOUND &&
		       read_entry(fd, st, &place, key, files, f));
	compiled_close(index);
	buf_finish(&lower);
	return is_right;
}

int
table_find(const struct table_files *files, const char *host,
    struct table_entry *f)
{
	struct stat st;
	int fd = fdio_open_file(files->text, &st);
	int result = 0, saved;

	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	if (!is_compilable(files, host, &st) ||
	    !find_by_index(fd, &st, files, host, f))
		result = find_in_text(fd, &st, files, host, f);
	f->version = fileid_of(&st);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

/*
 * What is looked up.  There are several ways to write an address, and whoever
 * writes a recipient's may choose.
 */
static void
append_next_hop(struct buf *key, const char *s, size_t n)
{
	bool is_literal = n >= 2 && s[0] == '[' && s[n - 1] == ']';
	char text[IP_TEXT_SIZE];
	struct ip ip;

	if (ip_parse(s, n, &ip) || ip_parse_literal(s, n, &ip))
		buf_puts(key, ip_format(&ip, text));
	else
		buf_append(key, s + is_literal,
		    without_last_dot(s, n) - 2 * is_literal);
}

int
table_find_next_hop(const struct table_files *files, const char *next_hop,
    struct table_entry *f)
{
	struct buf key = { 0 };
	int result, saved;

	append_next_hop(&key, next_hop, strlen(next_hop));
	result = table_find(files, buf_text(&key), f);
	saved = errno;
	buf_finish(&key);
	errno = saved;
	return result;
}

void
table_entry_line(const struct table_entry *e, struct buf *line)
{
	buf_append(line, buf_text(&e->key), e->key.len);
	if (!e->lacks_colon)
		buf_putc(line, ':');
	buf_append(line, buf_text(&e->value), e->value.len);
}

void
table_entry_finish(struct table_entry *f)
{
	buf_finish(&f->key);
	buf_finish(&f->value);
}

int
table_walk(const struct table_files *files,
    void (*each)(void *, const char *, size_t, const char *, size_t),
    void *data)
{
	struct buf text = { 0 };
	struct cursor c;
	struct entry e;
	const char *part;
	size_t n;
	int saved;

	if (fdio_read_file(files->text, TEXT_MAX, &text) == -1) {
		saved = errno;
		buf_finish(&text);
		errno = saved;
		return errno == ENOENT ? 0 : -1;
	}
	n = control_bom_length(buf_text(&text), text.len);
	cursor_init(&c, buf_text(&text) + n, text.len - n, files);
	while (next_part(&c, &part, &n)) {
		bool is_entry = parse_part(&c, part, n, &e);

		if (is_entry && (!e.lacks_colon || files->has_addresses))
			each(data, e.key, e.keylen, e.value, e.len);
		else if (is_entry || !files->has_addresses)
			each(data, part, n, NULL, 0);
	}
	buf_finish(&text);
	return 0;
}
