/* SPDX-License-Identifier: ISC */
#include "delivery/handoff.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyword.h"
#include "base/mem.h"

#define KEYWORDS 15

#define FIRST_FD 3 /* the others are the message, the report and /dev/null */

static const char program_name[] = "qmail-remote-io";
static const char end_of_keywords[] = "--";

/* execve() only reads its arguments; their type is older than const. */
static char *
argument(const char *text)
{
	return (char *)(uintptr_t)text;
}

static void
describe(struct handoff *h, struct keyword k[KEYWORDS])
{
	const struct keyword table[KEYWORDS] = {
		{ "fd", .number = &h->fd, INT_MAX, .is_required = true },
		{ "address", .text = &h->address, .is_required = true },
		{ "host", .text = &h->host },
		{ "timeout", .number = &h->timeout_s, HANDOFF_TIMEOUT_MAX,
		    .is_required = true },
		{ "extensions", .text = &h->extensions },
		{ "tls", .text = &h->tls },
		{ "before", .text = &h->before },
		{ "memory", .number = &h->memory, INT_MAX },
		{ "helo", .number = &h->helo, 1 },
		{ "status", .number = &h->status, INT_MAX },
		{ "helper", .number = &h->helper, INT_MAX },
		{ "secrets", .number = &h->secrets, INT_MAX },
		{ "cache", .number = &h->cache, INT_MAX },
		{ "used", .number = &h->used, INT_MAX },
		{ "progress", .number = &h->progress, INT_MAX },
	};

	memcpy(k, table, sizeof table);
}

char **
handoff_format(const struct handoff *handoff)
{
	struct handoff h = *handoff;
	struct keyword k[KEYWORDS];
	size_t nenvelope = 0, n = 1;
	char **argv;

	while (h.envelope[nenvelope])
		nenvelope++;
	/* Name, keywords, their end, envelope, NULL. */
	argv = mem_alloc(KEYWORDS + nenvelope + 3, sizeof *argv);
	argv[0] = argument(program_name);
	describe(&h, k);
	n += keyword_format(k, KEYWORDS, argv + n);
	argv[n++] = argument(end_of_keywords);
	memcpy(argv + n, h.envelope, nenvelope * sizeof *argv);
	return argv;
}

void
handoff_free(char **argv)
{
	for (size_t i = 1; strcmp(argv[i], end_of_keywords) != 0; i++)
		free(argv[i]);
	free(argv);
}

/* A descriptor that may be left out. */
static bool
is_optional_fd(unsigned long fd)
{
	return fd == 0 || fd >= FIRST_FD;
}

/* A helper that is our child has a status pipe. */
static bool
is_consistent(const struct handoff *h)
{
	return h->fd >= FIRST_FD && (h->helper == 0 || h->status != 0) &&
	       is_optional_fd(h->status) && is_optional_fd(h->memory) &&
	       is_optional_fd(h->secrets) && is_optional_fd(h->cache) &&
	       is_optional_fd(h->progress);
}

bool
handoff_parse(struct handoff *h, int argc, char **argv)
{
	struct keyword k[KEYWORDS];
	int end = 1;

	*h = (struct handoff){ 0 };
	while (end < argc && strcmp(argv[end], end_of_keywords) != 0)
		end++;
	/* Behind it: a sender, and at least one recipient. */
	if (argc - end < 3)
		return false;
	h->envelope = argv + end + 1;
	describe(h, k);
	return keyword_parse(k, KEYWORDS, argv + 1, (size_t)end - 1) &&
	       is_consistent(h);
}
