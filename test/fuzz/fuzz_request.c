/* SPDX-License-Identifier: ISC */

/*
 * Lines as the argument vector of qmail-remote-tls: a valid one is formatted
 * and parsed again.
 */

#include <stdlib.h>
#include <string.h>

#include "tls/request.h"

#include "fuzz.h"

#define ARGUMENTS 20

static void
check_text(const char *a, const char *b)
{
	CHECK((a == NULL) == (b == NULL));
	CHECK(!a || strcmp(a, b) == 0);
}

static void
check_parsed(const struct tls_request *r)
{
	char **argv = tls_request_format(r, "helper");
	struct tls_request back;
	int n = 0;

	CHECK(r->seconds > 0 && r->seconds <= TLS_SECONDS_MAX);
	CHECK(r->security <= TLS_SECURITY_MAX && !r->cert == !r->key);
	CHECK(r->describe <= TLS_DESCRIBE_ACCEPT);
	CHECK(!r->tlsa || (r->name && r->security > 0));
	CHECK((!r->names || r->tlsa) && (!r->match || r->anchors));
	while (argv[n])
		n++;
	CHECK(tls_request_parse(&back, n, argv));
	CHECK(r->socket == back.socket && r->clear == back.clear);
	CHECK(r->status == back.status && r->seconds == back.seconds);
	CHECK(r->security == back.security && r->describe == back.describe);
	check_text(r->name, back.name);
	check_text(r->tlsa, back.tlsa);
	check_text(r->names, back.names);
	check_text(r->anchors, back.anchors);
	check_text(r->match, back.match);
	check_text(r->state, back.state);
	check_text(r->cert, back.cert);
	check_text(r->key, back.key);
	tls_request_free(argv);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	char *argv[ARGUMENTS + 1] = { fuzz_string("helper", 6) };
	struct tls_request r;
	int argc = 1;

	while (in.left > 0 && argc < ARGUMENTS) {
		size_t n;
		const char *part = fuzz_part(&in, '\n', &n);

		argv[argc++] = fuzz_string(part, n);
	}
	if (tls_request_parse(&r, argc, argv))
		check_parsed(&r);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
