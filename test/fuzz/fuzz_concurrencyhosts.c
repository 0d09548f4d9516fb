/* SPDX-License-Identifier: ISC */

/*
 * A concurrencyhosts of arbitrary bytes, for any host: a simple implementation
 * of the rules finds the same line and the same time to wait.  The same bytes
 * as timeoutidle are three numbers, or nothing is kept.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "io/fdio.h"

static int read_virtual(const char *path, size_t limit, struct buf *);

#define fdio_read_file read_virtual
#include "qmail/concurrencyhosts.c"
#undef TEXT_MAX
#define parse_line parse_idle_line
#include "qmail/timeoutidle.c"
#undef parse_line
#undef fdio_read_file

#include "fuzz.h"

static struct {
	const char *data;
	size_t len;
} file;

static int
read_virtual(const char *path, size_t limit, struct buf *b)
{
	(void)path;
	if (file.len > limit) {
		errno = EFBIG;
		return -1;
	}
	buf_append(b, file.data, file.len);
	return 0;
}

static bool
is_white(char c)
{
	return c == ' ' || c == '\t';
}

/* The value of a line from its number on; 0 if it is none. */
static unsigned long
number_at(const char *s, size_t n, unsigned long limit, bool *is_number)
{
	unsigned long value = 0;
	size_t i = 0, digits;

	for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
		value = value * 10 + (unsigned long)(s[i] - '0');
		value = value > limit ? limit : value;
	}
	digits = i;
	while (i < n && is_white(s[i]))
		i++;
	*is_number = digits > 0 && (i == n || (i > digits && s[i] == '#'));
	return *is_number ? value : 0;
}

/* A line by the rules of the header: its key, which is NULL for "wait". */
struct rule {
	char *key;
	unsigned long n;
	bool is_valid;
};

static char *
key_of(const char *s, size_t n)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	struct buf b = { 0 };
	struct ip ip;
	char *key = NULL;

	append_name(&b, s, n);
	if (b.len > 0 && strlen(b.data) == b.len && strcmp(b.data, ".") != 0 &&
	    (strspn(b.data, allowed) == b.len || ip_parse(b.data, b.len, &ip)))
		key = fuzz_string(b.data, b.len);
	buf_finish(&b);
	return key;
}

static struct rule
rule_of(const char *s, size_t n)
{
	struct rule r = { NULL, 0, false };
	size_t word = 0, colon = 0;

	while (word < n && !is_white(s[word]))
		word++;
	for (size_t i = 0; i < word; i++)
		if (s[i] == ':')
			colon = i + 1;
	if (word == 4 && memcmp(s, "wait", 4) == 0) {
		while (word < n && is_white(s[word]))
			word++;
		r.n = number_at(s + word, n - word, 3600, &r.is_valid);
	} else if (colon > 0) {
		r.key = key_of(s, colon - 1);
		r.n = number_at(s + colon, n - colon, 100000, &r.is_valid);
		r.is_valid = r.key != NULL && r.n > 0;
	}
	return r;
}

/* What the lines say: of this key, or, if it is NULL, of the time. */
static unsigned long
last_value(const char *key, unsigned long otherwise)
{
	const char *at = file.data, *end = at + file.len, *line;
	unsigned long value = otherwise;
	size_t n;

	at += control_bom_length(at, file.len);
	while (control_next(&at, end, &line, &n)) {
		struct rule r;

		while (n > 0 && is_white(*line)) {
			line++;
			n--;
		}
		r = rule_of(line, n);
		if (r.is_valid && (key == NULL) == (r.key == NULL) &&
		    (key == NULL || strcmp(key, r.key) == 0))
			value = r.n;
		free(r.key);
	}
	return value;
}

/* The host itself, then each end of it that begins with a dot. */
static void
check_host(const struct concurrencyhosts *c, const char *host)
{
	const struct concurrencyhosts_line *line =
	    concurrencyhosts_find(c, host);
	struct buf name = { 0 };
	unsigned long n = 0;
	const char *s;

	append_name(&name, host, strlen(host));
	for (s = buf_text(&name); *s != '\0' && n == 0; s++)
		if (s == name.data || *s == '.')
			n = last_value(s, 0);
	CHECK((n > 0) == (line != NULL));
	CHECK(n == 0 || (line->n == n && strcmp(line->key, s - 1) == 0));
	buf_finish(&name);
}

struct walk {
	size_t limits;
	unsigned long number;
};

static void
count(void *data, enum concurrencyhosts_kind kind, const char *line, size_t n,
    unsigned long number)
{
	struct walk *w = data;

	CHECK(number > w->number);
	CHECK(n > 0 && line >= file.data && line + n <= file.data + file.len);
	w->number = number;
	w->limits += kind == CONCURRENCYHOSTS_LIMIT;
}

static void
check_walk(const struct concurrencyhosts *c)
{
	const struct buf text = { .data = (char *)(size_t)file.data,
		.len = file.len };
	struct walk w = { 0, 0 };

	concurrencyhosts_walk(&text, count, &w);
	CHECK(w.limits == c->nline);
}

static void
check_idle(void)
{
	struct timeoutidle t;
	struct buf text = { 0 };
	unsigned long fault;

	buf_append(&text, file.data, file.len);
	fault = timeoutidle_parse(&t, &text);
	CHECK(t.seconds <= TIMEOUTIDLE_MAX && fault <= 3);
	CHECK(fault == 0 || t.seconds == 0);
	CHECK(t.total <= TIMEOUTIDLE_CONNECTIONS_MAX);
	CHECK(t.per_key <= TIMEOUTIDLE_CONNECTIONS_MAX);
	buf_finish(&text);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct concurrencyhosts c;
	struct dsn why;
	size_t n;
	const char *part = fuzz_part(&in, '\n', &n);
	char *host = fuzz_string(part, n);

	file.len = in.left;
	file.data = fuzz_bytes(&in, &file.len);
	CHECK(concurrencyhosts_read(&c, "file", &why) == 0);
	CHECK(c.wait_s == last_value(NULL, CONCURRENCYHOSTS_WAIT));
	check_host(&c, host);
	check_walk(&c);
	check_idle();
	concurrencyhosts_finish(&c);
	free(host);
	return 0;
}
