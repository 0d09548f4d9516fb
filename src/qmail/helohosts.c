/* SPDX-License-Identifier: ISC */
#include "qmail/helohosts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/fdio.h"
#include "qmail/control.h"

#define LIST_SIZE_MAX ((size_t)1 << 20)

struct helohosts_entry {
	struct ip ip;
	size_t name; /* its place in the names */
};

static void
add(struct helohosts *h, const struct ip *ip, const char *name, size_t n)
{
	h->entry = mem_resize(h->entry, h->n + 1, sizeof *h->entry);
	h->entry[h->n].ip = *ip;
	h->entry[h->n++].name = h->names.len;
	buf_append(&h->names, name, n);
	buf_putc(&h->names, '\0');
}

/*
 * The place of the colon before the name, n if there is none: the last one
 * that is not within an address literal at the end.
 */
static size_t
colon_before_name(const char *s, size_t n)
{
	size_t at = n;

	if (n > 0 && s[n - 1] == ']')
		while (at > 0 && s[at - 1] != '[')
			at--;
	while (at > 0 && s[at - 1] != ':')
		at--;
	return at > 0 ? at - 1 : n;
}

/* Reads a line without its comment.  Returns what is wrong with it, or NULL. */
static const char *
read_words(struct helohosts *h, const char *s, size_t n)
{
	size_t colon = colon_before_name(s, n);
	const char *name = s + colon + 1;
	struct ip ip;

	if (colon == n)
		return "no colon behind the address";
	if (!ip_parse(s, colon, &ip) && !ip_parse_literal(s, colon, &ip))
		return "not an address";
	if (!control_is_helohost(name, n - colon - 1))
		return "not a host name";
	add(h, &ip, name, n - colon - 1);
	return NULL;
}

static const char *
read_line(struct helohosts *h, const char *s, size_t n)
{
	size_t blanks = control_blank_length(s, n), word;

	if (blanks == n || s[blanks] == '#')
		return NULL;
	s += blanks;
	n -= blanks;
	for (word = 0; word < n && control_blank_length(s + word, 1) == 0;)
		word++;
	if (!control_is_comment(s + word, n - word))
		return "text behind the name";
	return read_words(h, s, word);
}

/*
 * An invalid line is an error: mail would be sent under a name that the
 * receiver does not expect from that address.
 */
static int
read_text(struct helohosts *h, const char *path, const struct buf *text,
    struct dsn *why)
{
	const char *at = buf_text(text), *end = at + text->len, *line, *fault;
	size_t n;

	at += control_bom_length(at, text->len);
	while (control_next(&at, end, &line, &n)) {
		fault = read_line(h, line, n);
		if (fault)
			return control_refuse_line(path, fault, line, n, why);
	}
	return 0;
}

int
helohosts_read(struct helohosts *h, const char *path, struct dsn *why)
{
	struct buf text = { 0 };
	int result = 0;

	if (fdio_read_file(path, LIST_SIZE_MAX, &text) == 0)
		result = read_text(h, path, &text, why);
	else if (errno != ENOENT)
		result = control_refuse(path, strerror(errno), why);
	if (h->n > 0)
		(void)fileid_read(&h->version, path);
	buf_finish(&text);
	return result;
}

const char *
helohosts_find(const struct helohosts *h, const struct ip *ip)
{
	for (size_t i = h->n; i-- > 0;)
		if (ip_equal(&h->entry[i].ip, ip))
			return h->names.data + h->entry[i].name;
	return NULL;
}

void
helohosts_walk(const struct helohosts *h,
    void (*each)(void *, const struct ip *, const char *), void *data)
{
	for (size_t i = 0; i < h->n; i++)
		each(data, &h->entry[i].ip, h->names.data + h->entry[i].name);
}

void
helohosts_finish(struct helohosts *h)
{
	free(h->entry);
	buf_finish(&h->names);
	*h = (struct helohosts){ 0 };
}
