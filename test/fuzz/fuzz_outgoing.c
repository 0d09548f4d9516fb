/* SPDX-License-Identifier: ISC */

/*
 * Arbitrary bytes as outgoingip or outgoingip6, for any next hop, and as
 * helohosts, for any address: the text, its index and a simple implementation
 * of the rules find the same, or refuse the same.
 */

#include "compiled_now.h"

#include "qmail/table.c"

#include "qmail/helohosts.h"
#include "qmail/outgoing.h"

#include "fuzz.h"

static const struct table_files paths = {
	.text = "list",
	.index = "cdb",
	.lock = "lock",
	.is_strict = true,
	.has_addresses = true,
};

static bool
is_white(char c)
{
	return c == ' ' || c == '\t';
}

/* The first word of a part, without the blanks before it; false: a comment. */
static bool
first_word(const char *s, size_t n, const char **word, size_t *nword)
{
	while (n > 0 && is_white(*s)) {
		s++;
		n--;
	}
	*word = s;
	*nword = 0;
	while (*nword < n && !is_white(s[*nword]))
		++*nword;
	return n > 0 && *s != '#';
}

/* Blanks, or a comment with a blank before it. */
static bool
is_rest(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && is_white(s[i]))
		i++;
	return i == n || (i > 0 && s[i] == '#');
}

static bool
is_address(const char *s, size_t n, struct ip *ip)
{
	return ip_parse(s, n, ip) || ip_parse_literal(s, n, ip);
}

/* What the line of a key says: the value, which is the whole part without. */
struct found {
	bool found;
	const char *value;
	size_t n;
};

static size_t
key_length(const char *word, size_t n)
{
	const char *colon = memchr(word, ':', n), *next;
	size_t len;
	struct ip ip;

	if (!colon || is_address(word, n, &ip))
		return 0;
	len = (size_t)(colon - word);
	next = memchr(colon + 1, ':', n - len - 1);
	if (next && colon[1] != '[' && len >= 1 && len <= 4) {
		size_t hex = 0;

		while (hex < len &&
		       strchr("0123456789abcdef", str_lower(word[hex])))
			hex++;
		if (hex == len)
			return 0;
	}
	return len;
}

/* Fills *f if the part is an entry with this key. */
static void
look_at(const char *part, size_t n, const char *key, size_t nkey,
    struct found *f)
{
	const char *word, *end = part + n;
	size_t nword, len;
	bool has_key;
	struct ip ip;

	if (!first_word(part, n, &word, &nword))
		return;
	len = key_length(word, nword);
	has_key = len > 0 ||
		  (nword > 0 && *word == ':' && !is_address(word, nword, &ip));
	f->value = f->value ? f->value : "";
	if (len > 1 && word[len - 1] == '.')
		len--;
	if (len != nkey || !str_case_equal(word, key, nkey))
		return;
	f->found = true;
	f->value = has_key ? (const char *)memchr(word, ':', nword) + 1 : word;
	f->n = (size_t)(end - f->value);
}

static struct found
find_last(const char *text, size_t size, const char *key, size_t nkey)
{
	const char *at = text + control_bom_length(text, size), *line;
	struct found f = { .found = false };
	size_t n;

	while (control_next(&at, text + size, &line, &n))
		for (const char *end = line + n; line <= end;) {
			const char *nul =
			    memchr(line, '\0', (size_t)(end - line));
			const char *stop = nul ? nul : end;

			look_at(line, (size_t)(stop - line), key, nkey, &f);
			line = stop + 1;
		}
	return f;
}

static struct found
find_plainly(const char *text, size_t size, const char *host)
{
	struct found f = { .found = false };
	size_t n = strlen(host);

	for (size_t i = 0; i <= n && !f.found; i++)
		if (i == 0 || i == n || host[i] == '.')
			f = find_last(text, size, host + i, n - i);
	return f;
}

/* What outgoing_find() should say: false if it should refuse. */
static bool
expect(const struct found *f, bool is_v4, bool *is_given, struct ip *ip)
{
	size_t word = 0;
	const unsigned char *b = ip->byte;
	char text[IP_TEXT_SIZE];

	*is_given = false;
	if (!f->found)
		return true;
	while (word < f->n && !is_white(f->value[word]))
		word++;
	if (!is_address(f->value, word, ip) ||
	    !is_rest(f->value + word, f->n - word) || ip_is_v4(ip) != is_v4)
		return false;
	if (is_v4 ? b[12] >= 224
		  : b[0] == 255 || (b[0] == 0xfe && b[1] >> 6 == 2))
		return false;
	ip_format(ip, text);
	*is_given = strcmp(text, "0.0.0.0") != 0 && strcmp(text, "::") != 0;
	return true;
}

static void
check_outgoing(const char *next_hop, bool is_v4, const struct found *f)
{
	struct outgoing o = { .is_given = false };
	struct dsn why = { 0 };
	struct ip ip = { { 0 } };
	bool is_given, ok = expect(f, is_v4, &is_given, &ip);
	int result = outgoing_find(&o, &paths, is_v4, next_hop, &why);

	CHECK(result == (ok ? 0 : -1));
	CHECK(!ok || o.is_given == is_given);
	CHECK(!ok || !is_given || ip_equal(&o.ip, &ip));
	CHECK(ok || (strcmp(why.status, "4.3.0") == 0 && why.detail[0]));
	CHECK(f->found == (o.line.len > 0));
	outgoing_finish(&o);
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
	close(fuzz_write_file(paths.text, b.data, b.len));
	buf_finish(&b);
}

/* The next hop as it is looked up. */
static char *
host_of(const char *next_hop)
{
	size_t n = strlen(next_hop);
	char text[IP_TEXT_SIZE];
	struct ip ip;

	if (is_address(next_hop, n, &ip)) {
		ip_format(&ip, text);
		return fuzz_string(text, strlen(text));
	}
	if (n >= 2 && next_hop[0] == '[' && next_hop[n - 1] == ']')
		return fuzz_string(next_hop + 1, n - 2);
	return fuzz_string(next_hop,
	    n > 1 && next_hop[n - 1] == '.' ? n - 1 : n);
}

/*
 * The name for ip in a line: 1 and *name, 0 if it is about another address or a
 * comment, -1 if the line is refused.
 */
static int
name_in(const char *line, size_t n, const struct ip *ip, char **name)
{
	const char *word, *at;
	size_t nword;
	struct ip its;

	if (!first_word(line, n, &word, &nword))
		return 0;
	if (!is_rest(word + nword, (size_t)(line + n - word) - nword))
		return -1;
	at = word + nword;
	if (at[-1] == ']')
		while (at > word && at[-1] != '[')
			at--;
	do
		if (at-- == word)
			return -1;
	while (*at != ':');
	if (!is_address(word, (size_t)(at - word), &its))
		return -1;
	nword -= (size_t)(++at - word);
	if (!control_is_helohost(at, nword))
		return -1;
	if (!ip_equal(&its, ip))
		return 0;
	free(*name);
	*name = fuzz_string(at, nword);
	return 1;
}

static void
check_names(const char *text, size_t size, const struct ip *ip)
{
	const char *at = text + control_bom_length(text, size), *line;
	struct helohosts h = { .n = 0 };
	struct dsn why = { 0 };
	const char *found;
	char *name = NULL;
	bool ok = true;
	size_t n;

	while (ok && control_next(&at, text + size, &line, &n))
		ok = name_in(line, n, ip, &name) != -1;
	close(fuzz_write_file("names", text, size));
	CHECK(helohosts_read(&h, "names", &why) == (ok ? 0 : -1));
	if (ok) {
		found = helohosts_find(&h, ip);
		CHECK(name ? found && strcmp(found, name) == 0 : !found);
	} else
		CHECK(strcmp(why.status, "4.3.0") == 0 && why.detail[0]);
	helohosts_finish(&h);
	free(name);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	bool is_v4 = fuzz_byte(&in) & 1;
	size_t n, left;
	const char *part = fuzz_part(&in, '\n', &n), *text;
	char *next_hop = fuzz_string(part, n), *host = host_of(next_hop);
	struct ip ip = { { 0 } };
	struct found f;

	left = in.left;
	text = fuzz_bytes(&in, &left);
	fuzz_enter_directory();
	unlink(paths.index);
	f = find_plainly(text, left, host);
	close(fuzz_write_file(paths.text, text, left));
	check_outgoing(next_hop, is_v4, &f);
	CHECK(access(paths.index, F_OK) == -1 || left > STRICT_TEXT_MAX);
	write_long(text, left);
	check_outgoing(next_hop, is_v4, &f);
	CHECK(access(paths.index, F_OK) == 0 || !idn_is_supported() ||
	      strlen(host) > COMPILED_KEY_MAX ||
	      !is_indexed(host, strlen(host)));
	check_outgoing(next_hop, is_v4, &f);
	(void)is_address(part, n, &ip);
	check_names(text, left, &ip);
	free(next_hop);
	free(host);
	return 0;
}
