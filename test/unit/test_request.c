/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/tlsa.h"
#include "tls/request.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int
count(char **argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static void
assert_same_text(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_ptr_equal(a, b);
}

static void
comes_through(void **state)
{
	static const struct tls_request cases[] = {
		{ .socket = 3,
		    .clear = 4,
		    .status = 5,
		    .seconds = 60,
		    .security = 0,
		    .name = "mx.example" },
		{ .socket = 6,
		    .clear = 7,
		    .status = 8,
		    .seconds = TLS_SECONDS_MAX,
		    .security = TLS_SECURITY_MAX,
		    .name = "",
		    .anchors = "/etc/ssl/certs/",
		    .state = "/run",
		    .cert = "/c=d",
		    .key = "/k" },
		{ .socket = 3,
		    .clear = 4,
		    .status = 5,
		    .seconds = 60,
		    .security = 1,
		    .name = "mx.example",
		    .tlsa = "3-1-1-00,2-0-0-",
		    .names = "a.example,example",
		    .describe = TLS_DESCRIBE },
		{ .socket = 3,
		    .clear = 4,
		    .status = 5,
		    .seconds = 60,
		    .security = 2,
		    .name = "mx.example",
		    .tlsa = "3-1-1-00",
		    .anchors = "/a",
		    .match = ".example,a=b",
		    .describe = TLS_DESCRIBE_ACCEPT,
		    .wait = 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct tls_request *r = &cases[i];
		char **argv = tls_request_format(r, "/bin/helper");
		struct tls_request back;

		assert_string_equal(argv[0], "/bin/helper");
		assert_true(tls_request_parse(&back, count(argv), argv));
		assert_int_equal(back.socket, r->socket);
		assert_int_equal(back.clear, r->clear);
		assert_int_equal(back.status, r->status);
		assert_int_equal(back.seconds, r->seconds);
		assert_int_equal(back.security, r->security);
		assert_int_equal(back.describe, r->describe);
		assert_int_equal(back.wait, r->wait);
		assert_same_text(back.name, r->name);
		assert_same_text(back.tlsa, r->tlsa);
		assert_same_text(back.names, r->names);
		assert_same_text(back.anchors, r->anchors);
		assert_same_text(back.match, r->match);
		assert_same_text(back.state, r->state);
		assert_same_text(back.cert, r->cert);
		assert_same_text(back.key, r->key);
		tls_request_free(argv);
	}
}

#define FINE "socket=3", "clear=4", "status=5", "security=0"

/* As many records as a set may have fit one argument. */
static void
takes_many_records(void **state)
{
	static unsigned char data[TLSA_BYTES_MAX / TLSA_RECORDS_MAX];
	struct tls_request r = { .socket = 3,
		.clear = 4,
		.status = 5,
		.seconds = 60,
		.security = 1,
		.name = "mx.example" };
	struct tlsa_set set = { 0 }, back = { 0 };
	struct buf word = { 0 };
	char **argv;

	(void)state;
	while (tlsa_add(&set, 3, 0, 0, data, sizeof data))
		data[0]++;
	assert_int_equal(set.n, TLSA_RECORDS_MAX);
	assert_int_equal(set.data.len, TLSA_BYTES_MAX);
	tlsa_format(&set, &word);
	/* The limit of Linux for one argument (execve(2)). */
	assert_true(word.len < 131072);
	r.tlsa = buf_text(&word);
	argv = tls_request_format(&r, "/bin/helper");
	buf_finish(&word);
	assert_true(tls_request_parse(&r, count(argv), argv));
	assert_true(tlsa_parse(&back, r.tlsa));
	assert_int_equal(back.n, set.n);
	assert_memory_equal(tlsa_data(&back, 0), tlsa_data(&set, 0),
	    TLSA_BYTES_MAX);
	tls_request_free(argv);
	tlsa_finish(&set);
	tlsa_finish(&back);
}

static void
refuses_nonsense(void **state)
{
	static const struct {
		const char *name;
		const char *argv[12];
	} cases[] = {
		{ "nothing", { NULL } },
		{ "only a name", { "helper" } },
		{ "no seconds", { "helper", FINE } },
		{ "no time", { "helper", FINE, "seconds=0" } },
		{ "too long a time", { "helper", FINE, "seconds=604801" } },
		{ "no socket", { "helper", "seconds=1", "clear=4", "status=5",
				   "security=0" } },
		{ "no clear", { "helper", "seconds=1", "socket=4", "status=5",
				  "security=0" } },
		{ "no status", { "helper", "seconds=1", "socket=4", "clear=5",
				   "security=0" } },
		{ "no security", { "helper", "seconds=1", "socket=4", "clear=5",
				     "status=6" } },
		{ "unknown security",
		    { "helper", "seconds=1", "socket=4", "clear=5", "status=6",
			"security=3" } },
		{ "certificate without key",
		    { "helper", FINE, "seconds=1", "cert=/c" } },
		{ "key without certificate",
		    { "helper", FINE, "seconds=1", "key=/k" } },
		{ "unknown way to describe",
		    { "helper", FINE, "seconds=1", "describe=3" } },
		{ "records without a name",
		    { "helper", "socket=3", "clear=4", "status=5", "security=1",
			"seconds=1", "tlsa=3-1-1-00" } },
		{ "records at the level of clear text",
		    { "helper", FINE, "seconds=1", "tlsa=3-1-1-00",
			"name=mx.example" } },
		{ "names without records",
		    { "helper", FINE, "seconds=1", "name=mx.example",
			"names=example" } },
		{ "names to match without anchors",
		    { "helper", FINE, "seconds=1", "name=mx.example",
			"match=example" } },
		{ "unknown key", { "helper", FINE, "seconds=1", "color=red" } },
		{ "the arguments of 0.1.0",
		    { "helper", "-t", "60", "-n", "mx", "3", "4", "5" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char **argv = (char **)(uintptr_t)cases[i].argv;
		struct tls_request r;

		if (tls_request_parse(&r, count(argv), argv))
			fail_msg("%s: taken", cases[i].name);
	}
}

/* What a service gets is what a helper would have got. */
static void
comes_through_as_a_message(void **state)
{
	static char bytes[TLS_MESSAGE_MAX];
	struct tls_request r = { .socket = 3,
		.clear = 4,
		.status = 5,
		.seconds = 60,
		.name = "",
		.anchors = "/a b",
		.wait = 1 };
	char **argv = tls_request_format(&r, "helper");
	char *words[TLS_REQUEST_ARGUMENTS + 1];
	size_t n = tls_request_join(argv, bytes);
	int argc = tls_request_split(bytes, n, words);

	(void)state;
	assert_int_equal(argc, count(argv));
	assert_null(words[argc]);
	for (int i = 0; i < argc; i++)
		assert_string_equal(words[i], argv[i]);
	tls_request_free(argv);
}

static void
joins_what_fits(void **state)
{
	static char bytes[TLS_MESSAGE_MAX + 1], word[TLS_MESSAGE_MAX];
	char helper[] = "helper";
	char *argv[] = { helper, word, NULL };

	(void)state;
	memset(word, 'x', sizeof word - 8);
	assert_int_equal(tls_request_join(argv, bytes), TLS_MESSAGE_MAX);
	word[sizeof word - 8] = 'x';
	bytes[TLS_MESSAGE_MAX] = '!';
	assert_int_equal(tls_request_join(argv, bytes), 0);
	assert_int_equal(bytes[TLS_MESSAGE_MAX], '!');
}

static void
refuses_messages(void **state)
{
	char *argv[TLS_REQUEST_ARGUMENTS + 1];
	char full[2 * TLS_REQUEST_ARGUMENTS + 2], open[] = { 'a', '\0', 'b' };

	(void)state;
	for (size_t i = 0; i < sizeof full; i++)
		full[i] = i % 2 == 0 ? 'a' : '\0';
	assert_int_equal(tls_request_split(full, 0, argv), 0);
	assert_int_equal(tls_request_split(open, sizeof open, argv), 0);
	assert_int_equal(tls_request_split(full, sizeof full - 2, argv),
	    TLS_REQUEST_ARGUMENTS);
	assert_int_equal(tls_request_split(full, sizeof full, argv), 0);
}

static void
describes_a_service(void **state)
{
	static const struct tls_service service = { 7, "/home", "/state" };
	static const struct {
		const char *argv[6];
	} refused[] = {
		{ { "helper" } },
		{ { "helper", "home=/h", "state=/s" } },
		{ { "helper", "serve=3", "state=/s" } },
		{ { "helper", "serve=3", "home=/h" } },
		{ { "helper", "serve=-1", "home=/h", "state=/s" } },
		{ { "helper", "serve=3", "home=/h", "state=/s", "name=x" } },
	};
	char **argv = tls_service_format(&service, "helper");
	struct tls_service s;

	(void)state;
	assert_true(tls_service_parse(&s, count(argv), argv));
	assert_int_equal(s.serve, 7);
	assert_string_equal(s.home, "/home");
	assert_string_equal(s.state, "/state");
	tls_request_free(argv);
	for (size_t i = 0; i < COUNT(refused); i++) {
		argv = (char **)(uintptr_t)refused[i].argv;
		assert_false(tls_service_parse(&s, count(argv), argv));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_through),
		cmocka_unit_test(takes_many_records),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(comes_through_as_a_message),
		cmocka_unit_test(joins_what_fits),
		cmocka_unit_test(refuses_messages),
		cmocka_unit_test(describes_a_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
