/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cache/message.h"

#include "tcppair.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* In texts of these tests '|' stands for the NUL that ends a word. */

static void
assert_bytes(const char *bytes, size_t n, const char *expected)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < n; i++)
		buf_putc(&text, bytes[i] == '\0' ? '|' : bytes[i]);
	assert_string_equal(buf_text(&text), expected);
	buf_finish(&text);
}

/* The bytes, in an allocation of just this size. */
static char *
bytes_of(const char *text, size_t *n)
{
	char *bytes;

	*n = strlen(text);
	bytes = malloc(*n > 0 ? *n : 1);
	assert_non_null(bytes);
	for (size_t i = 0; i < *n; i++)
		bytes[i] = text[i];
	for (size_t i = 0; i < *n; i++)
		if (bytes[i] == '|')
			bytes[i] = '\0';
	return bytes;
}

static void
assert_same_text(const char *a, const char *b)
{
	assert_int_equal(a == NULL, b == NULL);
	if (a)
		assert_string_equal(a, b);
}

static void
assert_same(const struct cache_message *a, const struct cache_message *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_same_text(a->version, b->version);
	assert_same_text(a->session.key1, b->session.key1);
	assert_same_text(a->session.key2, b->session.key2);
	assert_same_text(a->session.address, b->session.address);
	assert_same_text(a->session.host, b->session.host);
	assert_same_text(a->session.extensions, b->session.extensions);
	assert_same_text(a->session.tls, b->session.tls);
	assert_int_equal(a->session.used, b->session.used);
	assert_int_equal(a->session.lives, b->session.lives);
	assert_int_equal(a->session.mailmax, b->session.mailmax);
	assert_int_equal(a->wait, b->wait);
	assert_int_equal(a->chosen, b->chosen);
	assert_int_equal(a->seconds, b->seconds);
	assert_same_text(a->keys, b->keys);
	assert_same_text(a->limit, b->limit);
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->waiting, b->waiting);
	assert_memory_equal(&a->counters, &b->counters, sizeof a->counters);
	assert_int_equal(a->nrequest, b->nrequest);
	if (a->nrequest > 0)
		assert_memory_equal(a->request, b->request, a->nrequest);
	assert_int_equal(a->ncandidate, b->ncandidate);
	for (size_t i = 0; i < a->ncandidate; i++) {
		assert_string_equal(a->candidate[i].key, b->candidate[i].key);
		assert_string_equal(a->candidate[i].limit,
		    b->candidate[i].limit);
		assert_int_equal(a->candidate[i].n, b->candidate[i].n);
	}
}

#define ALL \
	"key1=host a%0A\n|key2=k=2|address=192.0.2.1|host=mx.example|" \
	"extensions=PIPELINING\nSIZE 1000|tls=TLSv1.3, verified|used=7|" \
	"lives=300|"
#define ALL_OF_IT \
	{ \
		"host a%0A\n", "k=2", "192.0.2.1", "mx.example", \
		    "PIPELINING\nSIZE 1000", "TLSv1.3, verified", 7, 300, 0 \
	}

static const struct {
	struct cache_message message;
	const char *text;
} cases[] = {
	{ { .kind = CACHE_ASK, .session.key1 = "host a\n" },
	    "ask|key1=host a\n|" },
	{ { .kind = CACHE_ASK, .session.key1 = "" }, "ask|key1=|" },
	{ { .kind = CACHE_CHOOSE,
	      .wait = 10,
	      .ncandidate = 3,
	      .candidate = { { "k", ".example", 5 }, { "", "", 0 },
		  { "--", "wait=1", ULONG_MAX } } },
#if ULONG_MAX > 0xffffffff
	    "choose|wait=10|--|k|.example|5|||0|--|wait=1|"
	    "18446744073709551615|" },
#else
	    "choose|wait=10|--|k|.example|5|||0|--|wait=1|4294967295|" },
#endif
	{ { .kind = CACHE_CHOOSE,
	      .ncandidate = 1,
	      .candidate = { { "", "", 0 } } },
	    "choose|wait=0|--|||0|" },
	{ { .kind = CACHE_READY, .session = ALL_OF_IT }, "ready|" ALL },
	{ { .kind = CACHE_READY, .session = { .address = "::1" } },
	    "ready|address=::1|used=0|lives=0|" },
	{ { .kind = CACHE_READY,
	      .session = { .address = "::1", .mailmax = 9 } },
	    "ready|address=::1|used=0|lives=0|mailmax=9|" },
	{ { .kind = CACHE_READY,
	      .session = { .address = "::1" },
	      .ncandidate = 2,
	      .candidate = { { "k", "", 0 }, { "", "", 0 } } },
	    "ready|address=::1|used=0|lives=0|--|k||0|||0|" },
	{ { .kind = CACHE_GONE }, "gone|" },
	{ { .kind = CACHE_KEEP, .session.used = 2 }, "keep|used=2|" },
	{ { .kind = CACHE_LIST }, "list|" },
	{ { .kind = CACHE_TLS, .request = "socket=3\0\0--", .nrequest = 13 },
	    "tls|socket=3||--|" },
	{ { .kind = CACHE_HIT,
	      .version = "0.2.0",
	      .session = ALL_OF_IT,
	      .chosen = 63 },
	    "hit|version=0.2.0|" ALL "chosen=63|" },
	{ { .kind = CACHE_HIT, .session = { .address = "::1" } },
	    "hit|address=::1|used=0|lives=0|chosen=0|" },
	{ { .kind = CACHE_MISS }, "miss|" },
	{ { .kind = CACHE_MISS, .version = "0.2.0", .keys = "01" },
	    "miss|version=0.2.0|keys=01|" },
	{ { .kind = CACHE_PLACE, .chosen = 1 }, "place|chosen=1|" },
	{ { .kind = CACHE_QUEUED, .version = "" }, "queued|version=|" },
	{ { .kind = CACHE_FULL, .limit = ".example" }, "full|limit=.example|" },
	{ { .kind = CACHE_ENTRY, .session = ALL_OF_IT, .seconds = 12 },
	    "entry|" ALL "seconds=12|" },
	{ { .kind = CACHE_LIMIT, .limit = "mx.example", .n = 3, .waiting = 4 },
	    "limit|limit=mx.example|n=3|waiting=4|" },
	{ { .kind = CACHE_COUNTERS,
	      .version = "1",
	      .counters = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 0 } },
	    "counters|version=1|hits=1|misses=2|kept=3|server=4|idleness=5|"
	    "age=6|use=7|room=8|limit=9|unwanted=0|" },
};

static void
writes_and_reads_each_kind(void **state)
{
	static char bytes[CACHE_MESSAGE_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cache_message back;
		size_t n = cache_message_format(&cases[i].message, bytes);
		char *copy;

		assert_bytes(bytes, n, cases[i].text);
		copy = bytes_of(cases[i].text, &n);
		assert_true(cache_message_parse(&back, copy, n));
		assert_same(&back, &cases[i].message);
		free(copy);
	}
}

/* Whatever a message has beside them is not told to the other side. */
static void
writes_only_what_the_kind_has(void **state)
{
	static const struct cache_message all = { .kind = CACHE_KEEP,
		.version = "0.2.0",
		.session = ALL_OF_IT,
		.keys = "0",
		.wait = 1,
		.chosen = 2,
		.seconds = 3,
		.limit = "x",
		.n = 4,
		.waiting = 5,
		.counters = { .hits = 6 },
		.ncandidate = 1,
		.candidate = { { "a", "b", 1 } } };
	static char bytes[CACHE_MESSAGE_MAX];
	struct cache_message m = all;

	(void)state;
	assert_bytes(bytes, cache_message_format(&m, bytes), "keep|used=7|");
	m.kind = CACHE_LIST;
	assert_bytes(bytes, cache_message_format(&m, bytes), "list|");
	m.kind = CACHE_MISS;
	assert_bytes(bytes, cache_message_format(&m, bytes),
	    "miss|version=0.2.0|keys=0|");
}

static void
refuses_nonsense(void **state)
{
	static const char *const texts[] = {
		"",
		"|",
		"list",
		"LIST|",
		"lists|",
		"lis|",
		"list||",
		"list|--|",
		"list|version=1|",
		"keep|",
		"keep|used=|",
		"keep|used=1|used=1|",
		"keep|used=-1|",
		"keep|used=1|lives=1|",
		"keep|used=1",
		"ask|",
		"ask|key2=x|",
		"ask|key1=x|version=1|",
		"ask|key1=x|--|k|l|1|",
		"ready|key1=x|used=0|lives=0|",
		"ready|address=x|used=0|lives=0|version=1|",
		"ready|address=x|used=0|",
		"ready|address=x|used=0|lives=0|--|",
		"ready|address=x|used=0|lives=0|--|k||",
		"ready|address=x|used=0|lives=0|--|k|l|0|",
		"gone|key1=x|",
		"gone|--|k||0|",
		"ask|key1=x|keys=0|",
		"place|chosen=0|keys=0|",
		"hit|address=x|used=0|lives=0|",
		"hit|address=x|used=0|lives=0|chosen=64|",
		"place|",
		"place|chosen=64|",
		"place|chosen=0|wait=1|",
		"full|",
		"entry|address=x|used=0|lives=0|",
		"limit|limit=x|n=1|",
		"counters|",
		("counters|hits=1|misses=2|kept=3|server=4|idleness=5|age=6|"
		 "use=7|room=8|limit=9|"),
		"choose|",
		"choose|wait=1|",
		"choose|wait=1|--|",
		"choose|wait=1|k|l|1|",
		"choose|--|k|l|1|",
		"choose|wait=3601|--|k|l|1|",
		"choose|wait=1|chosen=1|--|k|l|1|",
		"choose|wait=1|--|k|l|",
		"choose|wait=1|--|k|l|1|k|",
		"choose|wait=1|--|k|l||",
		"choose|wait=1|--|k|l|x|",
		"choose|wait=1|--|k|l|1x|",
		/* A limit of none, or none of a limit. */
		"choose|wait=1|--|k|l|0|",
		"choose|wait=1|--|k||1|",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct cache_message m;
		size_t n;
		char *bytes = bytes_of(texts[i], &n);

		if (cache_message_parse(&m, bytes, n))
			fail_msg("taken: %s", texts[i]);
		free(bytes);
	}
}

/* As a message of n candidates has it. */
static char *
candidates(size_t ncandidate, size_t *n)
{
	struct buf text = { 0 };
	char *bytes;

	buf_puts(&text, "choose|wait=3600|--|");
	for (size_t i = 0; i < ncandidate; i++)
		buf_printf(&text, "key%zu|limit|%zu|", i, i + 1);
	bytes = bytes_of(buf_text(&text), n);
	buf_finish(&text);
	return bytes;
}

static void
counts_the_candidates(void **state)
{
	static char again[CACHE_MESSAGE_MAX];
	struct cache_message m;
	size_t n;
	char *bytes = candidates(CACHE_CANDIDATES, &n);

	(void)state;
	assert_true(cache_message_parse(&m, bytes, n));
	assert_int_equal(m.ncandidate, CACHE_CANDIDATES);
	assert_int_equal(m.wait, 3600);
	assert_string_equal(m.candidate[63].key, "key63");
	assert_string_equal(m.candidate[63].limit, "limit");
	assert_int_equal(m.candidate[63].n, 64);
	assert_int_equal(cache_message_format(&m, again), n);
	free(bytes);
	for (size_t i = 1; i < 20; i++) {
		bytes = candidates(CACHE_CANDIDATES + i, &n);
		assert_false(cache_message_parse(&m, bytes, n));
		free(bytes);
	}
}

static void
refuses_to_write_too_much(void **state)
{
	static char bytes[CACHE_MESSAGE_MAX], key[CACHE_MESSAGE_MAX];
	struct cache_message m = { .kind = CACHE_ASK, .session.key1 = key };
	struct cache_message back;
	const size_t most = CACHE_MESSAGE_MAX - sizeof "ask" - sizeof "key1=";

	(void)state;
	memset(key, 'k', most);
	assert_int_equal(cache_message_format(&m, bytes), CACHE_MESSAGE_MAX);
	assert_true(cache_message_parse(&back, bytes, CACHE_MESSAGE_MAX));
	assert_string_equal(back.session.key1, key);
	key[most] = 'k';
	assert_int_equal(cache_message_format(&m, bytes), 0);

	/* Neither when words that would still fit come after it. */
	m = (struct cache_message){ .kind = CACHE_CHOOSE,
		.ncandidate = 1,
		.candidate = { { key, "", 0 } } };
	memset(key, 'k', sizeof key - 1);
	assert_int_equal(cache_message_format(&m, bytes), 0);

	m = (struct cache_message){ .kind = CACHE_TLS,
		.request = key,
		.nrequest = CACHE_MESSAGE_MAX - sizeof "tls" };
	assert_int_equal(cache_message_format(&m, bytes), CACHE_MESSAGE_MAX);
	m.nrequest++;
	assert_int_equal(cache_message_format(&m, bytes), 0);
}

static void
knows_the_descriptors_of_a_session(void **state)
{
	int tcp[2], local[2], listening;

	(void)state;
	tcp_pair(tcp, &listening);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, local), 0);
	{
		const struct {
			const char *name;
			int fd[PASS_MAX];
			size_t n;
			bool is_session, is_tls_start;
		} sets[] = {
			{ "clear text", { tcp[0] }, 1, true, false },
			{ "TLS", { local[0], local[1] }, 2, true, false },
			{ "none", { 0 }, 0, false, false },
			{ "TLS without status", { local[0] }, 1, false, false },
			{ "not connected", { listening }, 1, false, false },
			{ "two connections", { tcp[0], tcp[1] }, 2, false,
			    false },
			{ "TCP as status", { local[0], tcp[0] }, 2, false,
			    false },
			{ "status of TCP", { tcp[0], local[0] }, 2, false,
			    false },
			{ "three", { local[0], local[1], local[1] }, 3, false,
			    false },
			{ "to start TLS", { tcp[0], local[0], local[1] }, 3,
			    false, true },
			{ "no connection", { local[0], local[1], local[1] }, 3,
			    false, false },
			{ "two connections and a local one",
			    { tcp[0], tcp[1], local[1] }, 3, false, false },
			{ "TCP as the last", { tcp[0], local[0], tcp[1] }, 3,
			    false, false },
			{ "one too few", { tcp[0], local[0] }, 2, false,
			    false },
		};

		for (size_t i = 0; i < COUNT(sets); i++)
			if (cache_is_session(sets[i].fd, sets[i].n) !=
				sets[i].is_session ||
			    cache_is_tls_start(sets[i].fd, sets[i].n) !=
				sets[i].is_tls_start)
				fail_msg("%s", sets[i].name);
	}
	pass_close(tcp, 2);
	pass_close(local, 2);
	close(listening);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_and_reads_each_kind),
		cmocka_unit_test(writes_only_what_the_kind_has),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(counts_the_candidates),
		cmocka_unit_test(refuses_to_write_too_much),
		cmocka_unit_test(knows_the_descriptors_of_a_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
