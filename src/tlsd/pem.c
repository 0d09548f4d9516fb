/* SPDX-License-Identifier: ISC */
#include "tlsd/pem.h"

#include <string.h>

#define DASHES "-----"
#define LABEL_MAX 64

static const char byte_order_mark[] = "\xef\xbb\xbf";

static bool
begins_with(const char *s, const char *end, const char *prefix)
{
	size_t n = strlen(prefix);

	return (size_t)(end - s) >= n && memcmp(s, prefix, n) == 0;
}

static bool
is_line_end(char c)
{
	return c == '\n' || c == '\r';
}

static bool
is_space(char c)
{
	return is_line_end(c) || c == ' ' || c == '\t' || c == '\v' ||
	       c == '\f';
}

/* Skips line ends, blanks and byte order marks. */
static const char *
skip_blank(const char *s, const char *end)
{
	for (;;) {
		if (begins_with(s, end, byte_order_mark))
			s += sizeof byte_order_mark - 1;
		else if (s < end && is_space(*s))
			s++;
		else
			return s;
	}
}

static const char *
skip_line(const char *s, const char *end)
{
	while (s < end && !is_line_end(*s))
		s++;
	return s;
}

/*
 * Parses a marker such as "-----BEGIN LABEL-----" at s, and its label.  Returns
 * its end; NULL if there is none.
 */
static const char *
parse_marker(const char *s, const char *end, const char *word,
    struct pem_block *b)
{
	const char *label, *at;

	if (!begins_with(s, end, word))
		return NULL;
	label = at = s + strlen(word);
	while (!begins_with(at, end, DASHES)) {
		if (at == end || *at < ' ' || *at > '~' ||
		    at - label == LABEL_MAX)
			return NULL;
		at++;
	}
	b->label = label;
	b->label_len = (size_t)(at - label);
	return at + strlen(DASHES);
}

static const char *
parse_begin(const char *s, const char *end, struct pem_block *b)
{
	return parse_marker(s, end, DASHES "BEGIN ", b);
}

static const char *
parse_end(const char *s, const char *end, struct pem_block *b)
{
	return parse_marker(s, end, DASHES "END ", b);
}

void
pem_init(struct pem *p, const char *text, size_t n)
{
	*p = (struct pem){ .text = text, .at = text, .end = text + n };
}

static enum pem_result
damaged(struct pem *p, const char *fault, const char *where)
{
	p->fault = fault;
	p->where = where;
	return PEM_DAMAGED;
}

static bool
has_same_label(const struct pem_block *a, const struct pem_block *b)
{
	return a->label_len == b->label_len &&
	       memcmp(a->label, b->label, a->label_len) == 0;
}

/* Reads the rest of a block after its BEGIN. */
static enum pem_result
finish_block(struct pem *p, struct pem_block *b)
{
	struct pem_block last;
	const char *at = b->body;

	while ((at = memchr(at, '-', (size_t)(p->end - at)))) {
		const char *stop = parse_end(at, p->end, &last);

		if (stop) {
			if (!has_same_label(b, &last))
				return damaged(p, "END of another block", at);
			b->body_len = (size_t)(at - b->body);
			b->len = (size_t)(stop - b->start);
			p->at = stop;
			return PEM_BLOCK;
		}
		if (parse_begin(at, p->end, &last))
			break;
		at++;
	}
	return damaged(p, "a block without END", b->start);
}

/* An END alone on its line.  One inside other text is not a marker. */
static bool
is_stray_end(const char *s, const char *end)
{
	struct pem_block unused;
	const char *stop = parse_end(s, end, &unused);

	return stop && skip_line(stop, end) <= skip_blank(stop, end);
}

enum pem_result
pem_next(struct pem *p, struct pem_block *b)
{
	/* p->at is at the start of a line, or directly after a block. */
	for (p->at = skip_blank(p->at, p->end); p->at < p->end;
	     p->at = skip_blank(skip_line(p->at, p->end), p->end)) {
		b->start = p->at;
		b->body = parse_begin(p->at, p->end, b);
		if (b->body)
			return finish_block(p, b);
		if (is_stray_end(p->at, p->end))
			return damaged(p, "END without BEGIN", p->at);
	}
	return PEM_END;
}

bool
pem_has_label(const struct pem_block *b, const char *label)
{
	return b->label_len == strlen(label) &&
	       memcmp(b->label, label, b->label_len) == 0;
}

/*
 * Skips header lines, "Name: value", and the empty line after them; NULL if
 * that is missing.  A line with a colon is a header: base64 has no colon.
 */
static const char *
skip_headers(const char *s, const char *end)
{
	const char *stop;

	s = skip_blank(s, end);
	stop = skip_line(s, end);
	if (!memchr(s, ':', (size_t)(stop - s)))
		return s;
	while (stop < end) {
		s = stop + (begins_with(stop, end, "\r\n") ? 2 : 1);
		stop = skip_line(s, end);
		if (stop < skip_blank(s, end))
			return s;
	}
	return NULL;
}

/* -1 for a character that is not in the alphabet (RFC 4648 section 4). */
static int
digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Appends the bytes of a group of two to four characters. */
static void
append_group(struct buf *data, unsigned long bits, unsigned digits)
{
	const unsigned char bytes[] = {
		bits >> 16 & 0xff,
		bits >> 8 & 0xff,
		bits & 0xff,
	};

	buf_append(data, bytes, digits - 1);
}

bool
pem_decode(struct pem *p, const struct pem_block *b, struct buf *data)
{
	const char *end = b->body + b->body_len;
	unsigned long bits = 0;
	unsigned digits = 0, pads = 0;
	const char *s = skip_headers(b->body, end);

	buf_cut(data, 0);
	for (; s && s < end; s++) {
		int value = digit_value(*s);

		if (is_space(*s))
			continue;
		if (*s == '=' && digits >= 2 && digits + pads < 4) {
			pads++;
			continue;
		}
		if (value == -1 || pads > 0)
			break;
		bits = bits << 6 | (unsigned long)value;
		if (++digits == 4) {
			append_group(data, bits, digits);
			bits = digits = 0;
		}
	}
	if (s == end && (digits + pads == 0 || digits + pads == 4)) {
		if (digits > 0)
			append_group(data, bits << 6 * pads, digits);
		return true;
	}
	(void)damaged(p, "broken base64", s && s < end ? s : b->start);
	return false;
}

size_t
pem_fault_line(const struct pem *p)
{
	size_t line = 1;

	for (const char *s = p->text; s < p->where; s++)
		if (*s == '\n' || (*s == '\r' && s[1] != '\n'))
			line++;
	return line;
}
