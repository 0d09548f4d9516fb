/* SPDX-License-Identifier: ISC */
#include "delivery/prestart.h"

#include <string.h>

#include "cache/client.h"

#define KIND "tls" /* what comes before the request in the message */

bool
prestart_pass(void *data, const char *request, size_t n, const int fd[TLS_FDS])
{
	struct cache_client *client = data;
	/* The program: the message has another first word. */
	size_t skipped = strlen(request) + 1;
	struct cache_message m = { .kind = CACHE_TLS,
		.request = request + skipped,
		.nrequest = n - skipped };

	return sizeof KIND + m.nrequest <= CACHE_REQUEST_MAX &&
	       cache_client_tell(client, &m, fd, TLS_FDS);
}
