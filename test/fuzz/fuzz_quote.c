/* SPDX-License-Identifier: ISC */

/*
 * Whatever the address is, its command has one path and ends at the right
 * place.
 */

#include <stdlib.h>
#include <string.h>

#include "qmail/quote.h"

#include "fuzz.h"

/*
 * Parses a path as a server does (RFC 5321 section 4.1.2), without quotes and
 * their backslashes; *local is the end of the local part.
 */
static void
unquote(const struct buf *path, struct buf *plain, size_t *local)
{
	bool is_quoted = path->len > 0 && path->data[0] == '"';
	size_t i = is_quoted;

	for (; is_quoted && path->data[i] != '"'; i++) {
		i += path->data[i] == '\\';
		CHECK(i + 1 < path->len);
		buf_putc(plain, path->data[i]);
	}
	i += is_quoted;
	*local = plain->len;
	CHECK(!is_quoted || path->data[i] == '@');
	for (; i < path->len; i++) {
		unsigned char c = (unsigned char)path->data[i];

		CHECK(c > ' ' && c != 0x7f && c != '<' && c != '>');
		buf_putc(plain, (char)c);
	}
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char *address = fuzz_string((const char *)data, size);
	struct buf path = { 0 }, plain = { 0 };
	const char *at = strrchr(address, '@');
	/* Both ways, for any address. */
	bool knows_smtputf8 = size % 2;
	size_t local;

	if (quote_mailbox(&path, address, knows_smtputf8) == -1) {
		CHECK(path.len == 0);
	} else {
		CHECK(strlen(buf_text(&path)) == path.len);
		CHECK(!strpbrk(buf_text(&path), "\r\n"));
		if (!at) {
			/* As stock writes it, if that is safe. */
			CHECK(strcmp(buf_text(&path), address) == 0);
			CHECK(!strpbrk(address, "<> \t"));
		} else {
			unquote(&path, &plain, &local);
			CHECK(strcmp(buf_text(&plain), address) == 0);
			CHECK(path.data[0] != '"' ||
			      local == (size_t)(at - address));
		}
	}
	buf_finish(&path);
	buf_finish(&plain);
	free(address);
	return 0;
}
