/* SPDX-License-Identifier: ISC */

/*
 * Routes of arbitrary bytes for any host: the text, its index and a simple
 * implementation of the rule find the same entry.
 */

#include "compiled_now.h"

#include "qmail/table.c"
#include "qmail/route.c"

#include "fuzz.h"

static const struct table_files paths = {
	.text = "routes", .index = "cdb", .lock = "lock"
};

/* The last entry with exactly this key. */
static bool
find_last(const char *text, size_t size, const char *key, size_t keylen,
    struct entry *last)
{
	const char *at = text + control_bom_length(text, size), *line;
	struct buf space = { 0 };
	bool any = false;
	size_t n;

	while (control_next(&at, text + size, &line, &n)) {
		for (const char *end = line + n; line <= end;) {
			const char *nul =
			    memchr(line, '\0', (size_t)(end - line));
			const char *stop = nul ? nul : end;
			struct entry e;

			if (parse_entry(&e, line, (size_t)(stop - line)) &&
			    has_key(&e, key, keylen, &space)) {
				*last = e;
				any = true;
			}
			line = stop + 1;
		}
	}
	buf_finish(&space);
	return any;
}

static bool
find_plainly(const char *text, size_t size, const char *host, struct entry *e)
{
	size_t n = strlen(host);

	for (size_t i = 0; i <= n; i++)
		if ((i == 0 || i == n || host[i] == '.') &&
		    find_last(text, size, host + i, n - i, e))
			return true;
	return false;
}

static void
check_same(const struct table_entry *f, bool any, const void *value, size_t len)
{
	CHECK(f->found == any);
	if (any) {
		CHECK(f->value.len == len);
		CHECK(memcmp(buf_text(&f->value), value, len) == 0);
	}
}

static void
check_route(const char *host, struct buf *relay, uint16_t *port)
{
	struct route r = { 0 };
	struct dsn why = { 0 };

	buf_cut(relay, 0);
	*port = 0;
	if (route_find(host, &paths, &r, &why) == -1) {
		CHECK(strcmp(why.status, "4.4.1") == 0);
	} else {
		CHECK(r.port > 0);
		for (size_t i = 0; i < r.relay.len; i++)
			CHECK(str_is_alnum(r.relay.data[i]) ||
			      memchr("-_.[]:", r.relay.data[i], 6));
		buf_append(relay, buf_text(&r.relay), r.relay.len);
		*port = r.port;
	}
	route_finish(&r);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t n;
	const char *part = fuzz_part(&in, '\n', &n);
	char *host = fuzz_string(part, n);
	struct table_entry text = { 0 }, compiled = { 0 };
	struct buf relay = { 0 }, again = { 0 };
	uint16_t port, port_again;
	struct entry e = { 0 };
	struct stat st;
	bool any;
	int fd;

	fuzz_enter_directory();
	unlink("cdb");
	close(fuzz_write_file("routes", in.at, in.left));
	any = find_plainly((const char *)in.at, in.left, host, &e);
	fd = fdio_open_file("routes", &st);
	CHECK(fd != -1);
	CHECK(find_in_text(fd, &st, &paths, host, &text) == 0);
	check_same(&text, any, e.value, e.len);
	if (is_compilable(&paths, host, &st)) {
		bool has_index =
		    find_by_index(fd, &st, &paths, host, &compiled);

		/* Without libidn2 a text with keys in UTF-8 has none. */
		CHECK(has_index || !idn_is_supported());
		if (has_index)
			check_same(&compiled, any, e.value, e.len);
	}
	close(fd);
	check_route(host, &relay, &port);
	unlink("cdb");
	check_route(host, &again, &port_again);
	CHECK(port == port_again);
	CHECK(strcmp(buf_text(&relay), buf_text(&again)) == 0);
	table_entry_finish(&text);
	table_entry_finish(&compiled);
	buf_finish(&relay);
	buf_finish(&again);
	free(host);
	return 0;
}
