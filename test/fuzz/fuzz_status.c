/* SPDX-License-Identifier: ISC */

/* The status channel of the TLS helper: both its sides agree. */

#include <stdlib.h>
#include <string.h>

#include "tls/status.h"

#include "fuzz.h"

static void
check_printable(const char *s)
{
	for (; *s; s++)
		CHECK(*s >= ' ' && *s <= '~');
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char text[TLS_STATUS_SIZE], again[TLS_STATUS_SIZE];
	char record[TLS_STATUS_SIZE];
	char *s = fuzz_string((const char *)data, size);
	enum tls_status status = tls_status_parse(s, size, text);
	size_t n;

	check_printable(text);
	if (status == TLS_STATUS_NONE) {
		CHECK(text[0] == '\0');
	} else {
		CHECK(memchr(s, '\n', size) == s + size - 1);
		CHECK(strlen(text) == size - 2);
		n = tls_status_format(record, status, text);
		CHECK(n == size && record[0] == s[0]);
	}
	for (status = TLS_STATUS_READY; status < TLS_STATUS_NONE; status++) {
		n = tls_status_format(record, status, s);
		CHECK(n < TLS_STATUS_SIZE && record[n] == '\0');
		CHECK(tls_status_parse(record, n, again) == status);
		CHECK(strlen(again) == n - 2);
		CHECK(memcmp(again, record + 1, n - 2) == 0);
		check_printable(again);
		/* Not a byte less makes a record. */
		CHECK(tls_status_parse(record, n - 1, again) ==
		      TLS_STATUS_NONE);
	}
	free(s);
	return 0;
}
