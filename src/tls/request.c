/* SPDX-License-Identifier: ISC */
#include "tls/request.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyword.h"
#include "base/mem.h"

#define KEYWORDS 16
#define SERVICE_KEYWORDS 3

_Static_assert(TLS_REQUEST_ARGUMENTS == KEYWORDS + 1,
    "all keywords and the program");

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
		{ "version", .text = &r->version },
		{ "socket", .number = &r->socket, INT_MAX,
		    .is_required = true },
		{ "clear", .number = &r->clear, INT_MAX, .is_required = true },
		{ "status", .number = &r->status, INT_MAX,
		    .is_required = true },
	};

	memcpy(k, table, sizeof table);
}

static char **
format(const struct keyword *k, size_t n, const char *program)
{
	char **argv = mem_alloc(n + 2, sizeof *argv);

	/*
	 * posix_spawn() does not change it; its parameter type is older than
	 * const.
	 */
	argv[0] = (char *)(uintptr_t)program;
	(void)keyword_format(k, n, argv + 1);
	return argv;
}

char **
tls_request_format(const struct tls_request *request, const char *program)
{
	struct tls_request r = *request;
	struct keyword k[KEYWORDS];

	describe(&r, k);
	return format(k, KEYWORDS, program);
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

size_t
tls_request_join(char *const *argv, char bytes[TLS_MESSAGE_MAX])
{
	size_t n = 0;

	for (; *argv != NULL; argv++) {
		size_t size = strlen(*argv) + 1;

		if (size > TLS_MESSAGE_MAX - n)
			return 0;
		memcpy(bytes + n, *argv, size);
		n += size;
	}
	return n;
}

int
tls_request_split(char *bytes, size_t n, char *argv[TLS_REQUEST_ARGUMENTS + 1])
{
	int nword = 0;

	if (n == 0 || bytes[n - 1] != '\0')
		return 0;
	for (size_t i = 0; i < n; i += strlen(bytes + i) + 1) {
		if (nword == TLS_REQUEST_ARGUMENTS)
			return 0;
		argv[nword++] = bytes + i;
	}
	argv[nword] = NULL;
	return nword;
}

static void
describe_service(struct tls_service *s, struct keyword k[SERVICE_KEYWORDS])
{
	const struct keyword table[SERVICE_KEYWORDS] = {
		{ "serve", .number = &s->serve, INT_MAX, .is_required = true },
		{ "home", .text = &s->home, .is_required = true },
		{ "state", .text = &s->state, .is_required = true },
	};

	memcpy(k, table, sizeof table);
}

char **
tls_service_format(const struct tls_service *service, const char *program)
{
	struct tls_service s = *service;
	struct keyword k[SERVICE_KEYWORDS];

	describe_service(&s, k);
	return format(k, SERVICE_KEYWORDS, program);
}

bool
tls_service_parse(struct tls_service *s, int argc, char **argv)
{
	struct keyword k[SERVICE_KEYWORDS];

	*s = (struct tls_service){ 0 };
	describe_service(s, k);
	return argc > 1 &&
	       keyword_parse(k, SERVICE_KEYWORDS, argv + 1, (size_t)argc - 1);
}
