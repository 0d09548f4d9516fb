/* SPDX-License-Identifier: ISC */

/*
 * A message between a delivery and qmail-remote-cache: a valid one is formatted
 * and parsed again.
 */

#include <stdlib.h>
#include <string.h>

#include "cache/message.h"

#include "fuzz.h"

static void
check_text(const char *a, const char *b)
{
	CHECK((a == NULL) == (b == NULL));
	CHECK(!a || strcmp(a, b) == 0);
}

static void
check_session(const struct cache_session *a, const struct cache_session *b)
{
	check_text(a->key1, b->key1);
	check_text(a->key2, b->key2);
	check_text(a->address, b->address);
	check_text(a->host, b->host);
	check_text(a->extensions, b->extensions);
	check_text(a->tls, b->tls);
	CHECK(a->used == b->used && a->lives == b->lives &&
	      a->mailmax == b->mailmax);
}

static void
check_same(const struct cache_message *a, const struct cache_message *b)
{
	CHECK(a->kind == b->kind);
	check_text(a->version, b->version);
	check_session(&a->session, &b->session);
	CHECK(a->wait == b->wait && a->chosen == b->chosen);
	CHECK(a->seconds == b->seconds);
	check_text(a->limit, b->limit);
	CHECK(a->n == b->n && a->waiting == b->waiting);
	CHECK(memcmp(&a->counters, &b->counters, sizeof a->counters) == 0);
	CHECK(a->nrequest == b->nrequest &&
	      (a->nrequest == 0 ||
		  memcmp(a->request, b->request, a->nrequest) == 0));
	CHECK(a->ncandidate == b->ncandidate);
	for (size_t i = 0; i < a->ncandidate; i++) {
		check_text(a->candidate[i].key, b->candidate[i].key);
		check_text(a->candidate[i].limit, b->candidate[i].limit);
		CHECK(a->candidate[i].n == b->candidate[i].n);
	}
}

static void
check_parsed(const struct cache_message *m, size_t size)
{
	static char bytes[CACHE_MESSAGE_MAX], again[CACHE_MESSAGE_MAX];
	struct cache_message back;
	size_t n = cache_message_format(m, bytes);

	CHECK((m->kind == CACHE_CHOOSE) == (m->ncandidate > 0));
	CHECK((m->kind == CACHE_TLS) == (m->nrequest > 0));
	CHECK(m->ncandidate <= CACHE_CANDIDATES);
	CHECK(m->chosen < CACHE_CANDIDATES && m->wait <= CACHE_WAIT_MAX);
	/* Only zeros in front of a number are lost. */
	CHECK(n <= size && (n > 0 || size > CACHE_MESSAGE_MAX));
	if (n == 0)
		return;
	CHECK(cache_message_format(m, again) == n);
	CHECK(memcmp(bytes, again, n) == 0);
	CHECK(cache_message_parse(&back, bytes, n));
	check_same(m, &back);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct cache_message m;
	/* Without the NUL that fuzz_string() adds. */
	char *bytes = malloc(size > 0 ? size : 1);

	CHECK(bytes);
	if (size > 0)
		memcpy(bytes, data, size);
	if (cache_message_parse(&m, bytes, size))
		check_parsed(&m, size);
	free(bytes);
	return 0;
}
