/* SPDX-License-Identifier: ISC */
#include "sts/request.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyword.h"
#include "base/mem.h"

#define KEYWORDS 5

static void
describe(struct sts_request *r, struct keyword k[KEYWORDS])
{
	const struct keyword table[KEYWORDS] = {
		{ "domain", .text = &r->domain, .is_required = true },
		{ "id", .text = &r->id, .is_required = true },
		{ "lock", .number = &r->lock, INT_MAX },
		{ "place", .number = &r->place, INT_MAX },
		{ "out", .number = &r->out, INT_MAX },
	};

	memcpy(k, table, sizeof table);
}

char **
sts_request_format(const struct sts_request *request, const char *program)
{
	struct sts_request r = *request;
	struct keyword k[KEYWORDS];
	char **argv = mem_alloc(KEYWORDS + 2, sizeof *argv);

	/*
	 * posix_spawn() does not change it; its parameter type is older than
	 * const.
	 */
	argv[0] = (char *)(uintptr_t)program;
	describe(&r, k);
	(void)keyword_format(k, KEYWORDS, argv + 1);
	return argv;
}

void
sts_request_free(char **argv)
{
	for (char **word = argv + 1; *word != NULL; word++)
		free(*word);
	free(argv);
}

/* 0 to 2 are the standard descriptors; 0 stands for none. */
static bool
is_descriptor(unsigned long fd)
{
	return fd == 0 || fd > 2;
}

bool
sts_request_parse(struct sts_request *r, int argc, char **argv)
{
	struct keyword k[KEYWORDS];

	*r = (struct sts_request){ 0 };
	describe(r, k);
	return argc > 1 &&
	       keyword_parse(k, KEYWORDS, argv + 1, (size_t)argc - 1) &&
	       is_descriptor(r->lock) && is_descriptor(r->place) &&
	       is_descriptor(r->out);
}
