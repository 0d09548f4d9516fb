/* SPDX-License-Identifier: ISC */
#include "tls/status.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/* The first byte of a record; in the order of enum tls_status. */
static const char letters[] = { 'R', 'F', 'L' };

static char
clean(char c)
{
	return c >= ' ' && c <= '~' ? c : '?';
}

size_t
tls_status_format(char record[TLS_STATUS_SIZE], enum tls_status status,
    const char *text)
{
	size_t n = 0;

	assert(status < TLS_STATUS_NONE);
	record[n++] = letters[status];
	while (*text != '\0' && n < TLS_STATUS_SIZE - 2)
		record[n++] = clean(*text++);
	record[n++] = '\n';
	record[n] = '\0';
	return n;
}

/*
 * The one line end must be the last byte: a record that goes on after it was
 * not written by tls_status_format(), and its writer is not to be believed.
 */
static bool
is_complete(const char *record, size_t n)
{
	return n >= 2 && n < TLS_STATUS_SIZE &&
	       memchr(record, '\n', n) == record + n - 1;
}

enum tls_status
tls_status_parse(const char *record, size_t n, char text[TLS_STATUS_SIZE])
{
	const char *letter;
	size_t i;

	text[0] = '\0';
	if (!is_complete(record, n))
		return TLS_STATUS_NONE;
	letter = memchr(letters, record[0], sizeof(letters));
	if (letter == NULL)
		return TLS_STATUS_NONE;
	for (i = 0; i + 2 < n; i++)
		text[i] = clean(record[i + 1]);
	text[i] = '\0';
	return (enum tls_status)(letter - letters);
}
