/* SPDX-License-Identifier: ISC */

/*
 * Lines as the argument vector of qmail-remote-tls, for one session or for
 * many, and of qmail-remote-sts: a valid one is formatted and parsed again. The
 * same bytes as the message that has an argument vector: its words make the
 * message again.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sts/request.h"
#include "tls/request.h"

#include "fuzz.h"

#define ARGUMENTS 20

static void
check_text(const char *a, const char *b)
{
	CHECK((a == NULL) == (b == NULL));
	CHECK(!a || strcmp(a, b) == 0);
}

static int
count(char *const *argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static void
check_parsed(const struct tls_request *r)
{
	char **argv = tls_request_format(r, "helper");
	struct tls_request back;

	CHECK(r->seconds > 0 && r->seconds <= TLS_SECONDS_MAX);
	CHECK(r->security <= TLS_SECURITY_MAX && !r->cert == !r->key);
	CHECK(r->describe <= TLS_DESCRIBE_ACCEPT);
	CHECK(!r->tlsa || (r->name && r->security > 0));
	CHECK((!r->names || r->tlsa) && (!r->match || r->anchors));
	CHECK(tls_request_parse(&back, count(argv), argv));
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

static void
check_service(const struct tls_service *s)
{
	char **argv = tls_service_format(s, "helper");
	struct tls_service back;

	CHECK(s->home && s->state && s->serve <= INT_MAX);
	CHECK(tls_service_parse(&back, count(argv), argv));
	CHECK(s->serve == back.serve);
	check_text(s->home, back.home);
	check_text(s->state, back.state);
	tls_request_free(argv);
}

static bool
is_descriptor(unsigned long fd)
{
	return fd == 0 || (fd > 2 && fd <= INT_MAX);
}

static void
check_fetch(const struct sts_request *r)
{
	char **argv = sts_request_format(r, "fetch");
	struct sts_request back;

	CHECK(r->domain && r->id && is_descriptor(r->lock));
	CHECK(is_descriptor(r->place) && is_descriptor(r->out));
	CHECK(sts_request_parse(&back, count(argv), argv));
	CHECK(r->lock == back.lock && r->place == back.place);
	CHECK(r->out == back.out);
	check_text(r->domain, back.domain);
	check_text(r->id, back.id);
	sts_request_free(argv);
}

/* What another process sends to the service. */
static void
check_message(const unsigned char *data, size_t size)
{
	static char joined[TLS_MESSAGE_MAX];
	char *argv[TLS_REQUEST_ARGUMENTS + 1];
	char *bytes = malloc(size > 0 ? size : 1);
	struct tls_request r;
	int argc;

	CHECK(bytes);
	if (size > 0)
		memcpy(bytes, data, size);
	argc = tls_request_split(bytes, size, argv);
	CHECK(argc >= 0 && argc <= TLS_REQUEST_ARGUMENTS);
	if (argc > 0) {
		CHECK(count(argv) == argc);
		CHECK(tls_request_join(argv, joined) ==
		      (size <= sizeof joined ? size : 0));
		CHECK(size > sizeof joined || memcmp(joined, data, size) == 0);
		if (tls_request_parse(&r, argc, argv))
			check_parsed(&r);
	}
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	char *argv[ARGUMENTS + 1] = { fuzz_string("helper", 6) };
	struct tls_request r;
	struct tls_service service;
	struct sts_request fetch;
	int argc = 1;

	check_message(data, size);
	while (in.left > 0 && argc < ARGUMENTS) {
		size_t n;
		const char *part = fuzz_part(&in, '\n', &n);

		argv[argc++] = fuzz_string(part, n);
	}
	if (tls_request_parse(&r, argc, argv))
		check_parsed(&r);
	if (tls_service_parse(&service, argc, argv))
		check_service(&service);
	if (sts_request_parse(&fetch, argc, argv))
		check_fetch(&fetch);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
