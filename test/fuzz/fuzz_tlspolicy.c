/* SPDX-License-Identifier: ISC */

/*
 * A tlspolicy of arbitrary bytes for any next hop: the text, its index and a
 * simple implementation of the rules find the same policy, or refuse the same
 * line.
 */

#include "compiled_now.h"

#include "qmail/table.c"
#include "qmail/tlspolicy.c"

#include "fuzz.h"

static const struct table_files paths = {
	.text = "tlspolicy",
	.index = "cdb",
	.lock = "lock",
	.is_strict = true,
};

/*
 * The simple implementation of finding a line.
 */

struct found {
	const char *key, *rest; /* rest begins with a colon, if it is valid */
	size_t nkey, nrest;
};

static bool
is_white(char c)
{
	return c == ' ' || c == '\t';
}

/* Whether a key of n bytes is this one, which has A-labels. */
static bool
is_same_key(const char *s, size_t n, const char *key, size_t nkey)
{
	struct buf labels = { 0 };
	bool is_same;

	if (!utf8_is_international(s, n) || idn_to_ascii(&labels, s, n) != NULL)
		buf_append(&labels, s, n);
	is_same =
	    labels.len == nkey && str_case_equal(buf_text(&labels), key, nkey);
	buf_finish(&labels);
	return is_same;
}

/* Whether the n bytes of a part are an entry with this key; fills *f if so. */
static bool
has_this_key(const char *s, size_t n, const char *key, size_t nkey,
    struct found *f)
{
	size_t start = 0, end, len;

	while (start < n && is_white(s[start]))
		start++;
	end = start;
	while (end < n && !is_white(s[end]) && s[end] != ':')
		end++;
	len = end - start;
	if (len > 1 && s[end - 1] == '.')
		len--;
	if (start == n || !is_same_key(s + start, len, key, nkey))
		return false;
	*f = (struct found){ s + start, s + end, len, n - end };
	return true;
}

static bool
find_last(const char *text, size_t size, const char *key, size_t nkey,
    struct found *f)
{
	const char *at = text + control_bom_length(text, size), *line;
	bool any = false;
	size_t n;

	while (control_next(&at, text + size, &line, &n))
		for (const char *end = line + n; line <= end;) {
			const char *nul =
			    memchr(line, '\0', (size_t)(end - line));
			const char *stop = nul ? nul : end;

			any = has_this_key(line, (size_t)(stop - line), key,
				  nkey, f) ||
			      any;
			line = stop + 1;
		}
	return any;
}

static bool
find_plainly(const char *text, size_t size, const char *host, struct found *f)
{
	size_t n = strlen(host);

	for (size_t i = 0; i <= n; i++)
		if ((i == 0 || i == n || host[i] == '.') &&
		    find_last(text, size, host + i, n - i, f))
			return true;
	return false;
}

/*
 * The simple implementation of reading it.
 */

static bool
is_plain_name(const char *s)
{
	size_t label = 0, n = strlen(s);

	if (n == 0 || n > 253 || s[n - 1] == '.')
		return false;
	for (; *s; s++) {
		if (*s == '.' && label == 0)
			return false;
		label = *s == '.' ? 0 : label + 1;
		if (label > 63 ||
		    (*s != '.' && !str_is_alnum(*s) && *s != '-' && *s != '_'))
			return false;
	}
	return true;
}

static bool
is_plain_list(const char *value)
{
	char *copy = fuzz_string(value, strlen(value));
	bool ok = true;

	for (char *s = copy; s && ok;) {
		char *comma = strchr(s, ',');

		if (comma)
			*comma = '\0';
		ok = is_plain_name(*s == '.' ? s + 1 : s);
		s = comma ? comma + 1 : NULL;
	}
	free(copy);
	return ok;
}

/* Reads ":level:attribute..." without its comment; false if it is refused. */
static bool
read_plainly(char *words, struct tlspolicy *p)
{
	static const char *const names[] = { "", "none", "may", "encrypt",
		"verify", "dane", "dane-only" };
	char *next = strchr(words + 1, ':');
	int level = 0;

	if (next)
		*next++ = '\0';
	for (int i = 1; i < 7; i++)
		if (strcmp(words + 1, names[i]) == 0)
			level = i;
	p->level = (enum tlspolicy_level)level;
	while (level && next) {
		char *word = next, *value;
		struct buf *place;

		next = strchr(word, ':');
		if (next)
			*next++ = '\0';
		value = strchr(word, '=');
		if (!value || level != TLSPOLICY_VERIFY)
			return false;
		*value++ = '\0';
		place = strcmp(word, "match") == 0 ? &p->match : &p->anchors;
		if (place == &p->anchors && strcmp(word, "anchors") != 0)
			return false;
		if (place->len > 0 || !*value)
			return false;
		if (place == &p->match && !is_plain_list(value))
			return false;
		buf_puts(place, value);
	}
	return level > 0;
}

/* What the policy should be; false if the line is to be refused. */
static bool
expect(const char *text, size_t size, const char *host, struct tlspolicy *p)
{
	struct found f = { 0 };
	size_t words = 0, blanks;
	char *copy;
	bool ok;

	if (!find_plainly(text, size, host, &f))
		return true;
	if (f.nrest == 0 || f.rest[0] != ':')
		return false;
	while (words < f.nrest && !is_white(f.rest[words]))
		words++;
	blanks = words;
	while (blanks < f.nrest && is_white(f.rest[blanks]))
		blanks++;
	if (words > TLSPOLICY_VALUE_MAX + 1 ||
	    (blanks < f.nrest && (blanks == words || f.rest[blanks] != '#')))
		return false;
	copy = fuzz_string(f.rest, words);
	ok = read_plainly(copy, p);
	free(copy);
	return ok;
}

static void
check_same(const struct tlspolicy *a, const struct tlspolicy *b)
{
	CHECK(a->level == b->level);
	CHECK(strcmp(buf_text(&a->match), buf_text(&b->match)) == 0);
	CHECK(strcmp(buf_text(&a->anchors), buf_text(&b->anchors)) == 0);
}

/* By tlspolicy_find(). */
static void
check_policy(const char *next_hop, bool is_valid, const struct tlspolicy *want)
{
	struct tlspolicy p = { .level = TLSPOLICY_ABSENT };
	struct dsn why = { 0 };
	int result = tlspolicy_find(&p, &paths, next_hop, &why);

	CHECK(result == (is_valid ? 0 : -1));
	if (is_valid)
		check_same(&p, want);
	else
		CHECK(strcmp(why.status, "4.3.0") == 0 && why.detail[0]);
	tlspolicy_finish(&p);
}

static void
check_value(const char *value, size_t n)
{
	struct tlspolicy p = { .level = TLSPOLICY_ABSENT };
	const char *fault = parse_value(value, n, &p);

	CHECK(fault == tlspolicy_fault(value, n));
	CHECK(fault || p.level != TLSPOLICY_ABSENT);
	CHECK(p.level == TLSPOLICY_VERIFY || fault ||
	      (p.match.len == 0 && p.anchors.len == 0));
	CHECK(!strpbrk(buf_text(&p.match), ": \t/"));
	CHECK(!strpbrk(buf_text(&p.anchors), ": \t"));
	tlspolicy_finish(&p);
}

/* Writes the text with a comment behind it that makes it long. */
static void
write_long(const char *text, size_t n)
{
	static char comment[STRICT_TEXT_MAX + 2];
	struct buf b = { 0 };

	memset(comment, 'x', sizeof comment);
	comment[0] = '\n';
	comment[1] = '#';
	buf_append(&b, text, n);
	buf_append(&b, comment, sizeof comment);
	close(fuzz_write_file("tlspolicy", b.data, b.len));
	buf_finish(&b);
}

/* The next hop as it is looked up. */
static char *
host_of(const char *next_hop)
{
	size_t n = strlen(next_hop);
	char text[IP_TEXT_SIZE];
	struct ip ip;

	if (ip_parse(next_hop, n, &ip) || ip_parse_literal(next_hop, n, &ip)) {
		ip_format(&ip, text);
		return fuzz_string(text, strlen(text));
	}
	if (n >= 2 && next_hop[0] == '[' && next_hop[n - 1] == ']')
		return fuzz_string(next_hop + 1, n - 2);
	return fuzz_string(next_hop,
	    n > 1 && next_hop[n - 1] == '.' ? n - 1 : n);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t n, left;
	const char *part = fuzz_part(&in, '\n', &n), *text;
	char *next_hop = fuzz_string(part, n), *host;
	struct tlspolicy want = { .level = TLSPOLICY_ABSENT };
	bool is_valid;

	left = in.left;
	text = fuzz_bytes(&in, &left);
	host = host_of(next_hop);
	fuzz_enter_directory();
	unlink("cdb");
	is_valid = expect(text, left, host, &want);
	close(fuzz_write_file("tlspolicy", text, left));
	check_policy(next_hop, is_valid, &want);
	CHECK(access("cdb", F_OK) == -1 || left > STRICT_TEXT_MAX);
	write_long(text, left);
	check_policy(next_hop, is_valid, &want);
	CHECK(access("cdb", F_OK) == 0 || !idn_is_supported() ||
	      strlen(host) > COMPILED_KEY_MAX ||
	      !is_indexed(host, strlen(host)));
	check_policy(next_hop, is_valid, &want);
	check_value(text, left);
	tlspolicy_finish(&want);
	free(next_hop);
	free(host);
	return 0;
}
