/* SPDX-License-Identifier: ISC */
#include "tls/request.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyword.h"
#include "base/mem.h"

#define KEYWORDS 15

static void
describe(struct tls_request *r, struct keyword k[KEYWORDS])
{
	const struct keyword table[KEYWORDS] = {
		{ "seconds", .number = &r->seconds, TLS_SECONDS_MAX,
		    .is_required = true },
		{ "security", .number = &r->security, TLS_SECURITY_MAX,
		    .is_required = true },
		{ "name", .text = &r->name },
		{ "tlsa", .text = &r->tlsa },
		{ "names", .text = &r->names },
		{ "anchors", .text = &r->anchors },
		{ "match", .text = &r->match },
		{ "describe", .number = &r->describe, TLS_DESCRIBE_ACCEPT },
		{ "state", .text = &r->state },
		{ "cert", .text = &r->cert },
		{ "key", .text = &r->key },
		{ "wait", .number = &r->wait, 1 },
		{ "socket", .number = &r->socket, INT_MAX,
		    .is_required = true },
		{ "clear", .number = &r->clear, INT_MAX, .is_required = true },
		{ "status", .number = &r->status, INT_MAX,
		    .is_required = true },
	};

	memcpy(k, table, sizeof table);
}

char **
tls_request_format(const struct tls_request *request, const char *program)
{
	struct tls_request r = *request;
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
tls_request_free(char **argv)
{
	for (char **word = argv + 1; *word != NULL; word++)
		free(*word);
	free(argv);
}

/* Whether each argument has those that it makes no sense without. */
static bool
is_consistent(const struct tls_request *r)
{
	if (r->tlsa != NULL && (r->name == NULL || r->security == 0))
		return false;
	if (r->names != NULL && r->tlsa == NULL)
		return false;
	if (r->match != NULL && r->anchors == NULL)
		return false;
	return r->seconds > 0 && (r->cert == NULL) == (r->key == NULL);
}

bool
tls_request_parse(struct tls_request *r, int argc, char **argv)
{
	struct keyword k[KEYWORDS];

	*r = (struct tls_request){ 0 };
	describe(r, k);
	return argc > 1 &&
	       keyword_parse(k, KEYWORDS, argv + 1, (size_t)argc - 1) &&
	       is_consistent(r);
}
