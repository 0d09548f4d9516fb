/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"

/*
 * Text in an allocation of exactly its size, so that the sanitizer finds a read
 * beyond it.
 */
static bool
parse(bool (*parser)(const char *, size_t, struct ip *), const char *text,
    size_t n, char *out)
{
	char *exact = malloc(n ? n : 1);
	struct ip ip;
	bool ok;

	assert_non_null(exact);
	memcpy(exact, text, n);
	ok = parser(exact, n, &ip);
	free(exact);
	if (ok)
		ip_format(&ip, out);
	return ok;
}

struct text_case {
	const char *in;
	const char *out; /* NULL: not an address */
};

static void
check(bool (*parser)(const char *, size_t, struct ip *),
    const struct text_case *c, size_t n)
{
	for (; n > 0; n--, c++) {
		char out[IP_TEXT_SIZE] = "";
		bool ok = parse(parser, c->in, strlen(c->in), out);

		if (ok != (c->out != NULL))
			fail_msg("%s: %s", c->in, ok ? out : "refused");
		if (ok && strcmp(out, c->out) != 0)
			fail_msg("%s: %s, not %s", c->in, out, c->out);
	}
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
parses_addresses(void **state)
{
	static const struct text_case cases[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "127.000.000.001", "127.0.0.1" },
		{ "010.0.0.08", "10.0.0.8" },
		{ "0000000000000000000000000127.0.0.1", "127.0.0.1" },
		{ "256.0.0.1", NULL },
		{ "383.0.0.1", NULL },
		{ "4294967297.0.0.1", NULL },
		{ "18446744073709551617.0.0.1", NULL },
		{ "1.2.3", NULL },
		{ "1.2.3.", NULL },
		{ ".1.2.3", NULL },
		{ "1..2.3", NULL },
		{ "1.2.3.4.", NULL },
		{ "1.2.3.4.5", NULL },
		{ "1.2.3.4 ", NULL },
		{ " 1.2.3.4", NULL },
		{ "1.2.3.-4", NULL },
		{ "0x7f.0.0.1", NULL },
		{ "2130706433", NULL },
		{ "", NULL },
		{ ".", NULL },
		{ "[1.2.3.4]", NULL },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "1::", "1::" },
		{ "2001:DB8::1", "2001:db8::1" },
		{ "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
		{ "0:0:1:1:1:0:0:1", "::1:1:1:0:0:1" },
		{ "1:2:3:4:5:6:0:0", "1:2:3:4:5:6::" },
		{ "1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0" },
		{ "0:2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "::FFFF:c000:201", "192.0.2.1" },
		{ "0:0:0:0:0:ffff:255.255.255.255", "255.255.255.255" },
		{ "64:ff9b::192.0.2.1", "64:ff9b::c000:201" },
		{ "::1.2.3.4", "::102:304" },
		{ "::fffe:1.2.3.4", "::fffe:102:304" },
		{ "fe80::1", "fe80::1" },
		{ "fe80::1%eth0", NULL },
		{ "1:2:3:4:5:6:7", NULL },
		{ "1:2:3:4:5:6:7:8:9", NULL },
		{ "1::2::3", NULL },
		{ "12345::", NULL },
		{ ":1", NULL },
		{ ":", NULL },
		{ "g::", NULL },
		{ "::1 ", NULL },
		{ "::1/128", NULL },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL },
	};

	(void)state;
	check(ip_parse, cases, COUNT(cases));
}

static void
parses_literals(void **state)
{
	static const struct text_case cases[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "[192.0.2.1]", "192.0.2.1" },
		{ "[192.000.002.001]", "192.0.2.1" },
		{ "[IPv6:2001:db8::1]", "2001:db8::1" },
		{ "[ipV6:2001:db8::1]", "2001:db8::1" },
		{ "[2001:db8::1]", "2001:db8::1" },
		{ "[IPv6:::ffff:192.0.2.1]", "192.0.2.1" },
		{ "[::ffff:192.0.2.1]", "192.0.2.1" },
		{ "[IPv6:::]", "::" },
		{ "[IPv6:192.0.2.1]", NULL },
		{ "[IPv4:192.0.2.1]", NULL },
		{ "[IPv6:]", NULL },
		{ "[IPv6]", NULL },
		{ "[IPv6: ::1]", NULL },
		{ "2001:db8::1", NULL },
		{ "IPv6:2001:db8::1", NULL },
		{ "[192.0.2.1]x", NULL },
		{ "[192.0.2.1", NULL },
		{ "192.0.2.1]", NULL },
		{ "[[192.0.2.1]]", NULL },
		{ "[192.0.2.1 ]", NULL },
		{ "[]", NULL },
		{ "[", NULL },
		{ "]", NULL },
		{ "", NULL },
		{ "[fe80::1%eth0]", NULL },
		{ "mx.example", NULL },
	};

	(void)state;
	check(ip_parse_literal, cases, COUNT(cases));
}

static void
refuses_a_nul(void **state)
{
	static const char text[] = "::1\0x";
	char out[IP_TEXT_SIZE];

	(void)state;
	assert_false(parse(ip_parse, text, sizeof text - 1, out));
	assert_false(parse(ip_parse, "1.2.3.4\0", 8, out));
}

static void
distinguishes_v4_from_v6(void **state)
{
	static const unsigned char v4[4] = { 192, 0, 2, 1 };
	static const unsigned char v6[16] = { 0x20, 0x01, [15] = 1 };
	static const unsigned char map[16] = {
		[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1
	};
	struct ip a = ip_from_v4(v4), b = ip_from_v6(v6), c = ip_from_v6(map);

	(void)state;
	assert_true(ip_is_v4(&a));
	assert_false(ip_is_v4(&b));
	assert_true(ip_is_v4(&c));
	assert_true(ip_equal(&a, &c));
	assert_false(ip_equal(&a, &b));
}

static void
fills_socket_addresses(void **state)
{
	struct sockaddr_storage ss;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	char text[IP_TEXT_SIZE];
	struct ip ip;

	(void)state;
	assert_true(ip_parse("192.0.2.1", 9, &ip));
	assert_int_equal(ip_sockaddr(&ip, 25, &ss), sizeof v4);
	memcpy(&v4, &ss, sizeof v4);
	assert_int_equal(v4.sin_family, AF_INET);
	assert_int_equal(ntohs(v4.sin_port), 25);
	assert_non_null(inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text));
	assert_string_equal(text, "192.0.2.1");

	assert_true(ip_parse("2001:db8::1", 11, &ip));
	assert_int_equal(ip_sockaddr(&ip, 65535, &ss), sizeof v6);
	memcpy(&v6, &ss, sizeof v6);
	assert_int_equal(v6.sin6_family, AF_INET6);
	assert_int_equal(ntohs(v6.sin6_port), 65535);
	assert_int_equal(v6.sin6_scope_id, 0);
	assert_non_null(inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text));
	assert_string_equal(text, "2001:db8::1");
}

/* A formatted address is parsed as the same one, wherever its zeros are. */
static void
reads_what_it_writes(void **state)
{
	(void)state;
	for (unsigned zeros = 0; zeros < 256; zeros++) {
		char text[IP_TEXT_SIZE];
		struct ip ip, back;

		for (unsigned i = 0; i < 16; i++)
			ip.byte[i] = zeros >> (i / 2) & 1 ? 0 : 0x10;
		ip_format(&ip, text);
		if (!ip_parse(text, strlen(text), &back) ||
		    !ip_equal(&ip, &back))
			fail_msg("%s: not the same again", text);
	}
}

static void
reads_socket_addresses(void **state)
{
	static const char *const texts[] = { "192.0.2.1", "0.0.0.0",
		"2001:db8::1", "::", "::ffff:192.0.2.1" };
	struct sockaddr_storage ss;
	struct ip ip, back;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		assert_true(ip_parse(texts[i], strlen(texts[i]), &ip));
		ip_sockaddr(&ip, 25, &ss);
		memset(&back, 0xff, sizeof back);
		assert_true(ip_from_sockaddr((const struct sockaddr *)&ss,
		    &back));
		assert_true(ip_equal(&ip, &back));
	}
}

/* A mapped address in a socket address of IPv6 is the IPv4 address in it. */
static void
reads_a_mapped_socket_address(void **state)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(25) };
	char text[IP_TEXT_SIZE];
	struct ip ip;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr),
	    1);
	assert_true(ip_from_sockaddr((const struct sockaddr *)&v6, &ip));
	assert_string_equal(ip_format(&ip, text), "192.0.2.1");
}

static void
refuses_other_socket_addresses(void **state)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNIX };
	const struct sockaddr *sa = (const struct sockaddr *)&ss;
	struct ip ip;

	(void)state;
	assert_false(ip_from_sockaddr(NULL, &ip));
	assert_false(ip_from_sockaddr(sa, &ip));
	ss.ss_family = AF_UNSPEC;
	assert_false(ip_from_sockaddr(sa, &ip));
}

static bool
parse_net(const char *text, struct ip_net *net)
{
	size_t n = strlen(text);
	char *exact = malloc(n ? n : 1);
	bool ok;

	assert_non_null(exact);
	memcpy(exact, text, n);
	ok = ip_parse_net(exact, n, net);
	free(exact);
	return ok;
}

static void
reads_networks(void **state)
{
	static const struct {
		const char *in;
		const char *ip; /* NULL: not a network */
		unsigned bits;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", 128 },
		{ "[192.0.2.1]", "192.0.2.1", 128 },
		{ "2001:db8::1", "2001:db8::1", 128 },
		{ "[2001:db8::1]", "2001:db8::1", 128 },
		{ "[IPv6:2001:db8::1]", "2001:db8::1", 128 },
		{ "192.0.2.1/32", "192.0.2.1", 128 },
		{ "192.0.2.1/024", "192.0.2.1", 120 },
		{ "192.0.2.1/1", "192.0.2.1", 97 },
		{ "[192.0.2.0]/24", "192.0.2.0", 120 },
		{ "[192.0.2.0/24]", "192.0.2.0", 120 },
		{ "2001:db8::/32", "2001:db8::", 32 },
		{ "2001:db8::/128", "2001:db8::", 128 },
		{ "[2001:db8::]/32", "2001:db8::", 32 },
		{ "[2001:db8::/32]", "2001:db8::", 32 },
		{ "[IPv6:2001:db8::]/32", "2001:db8::", 32 },
		{ "[ipv6:2001:db8::/32]", "2001:db8::", 32 },
		{ "::ffff:192.0.2.0/120", "192.0.2.0", 120 },
		{ "::/1", "::", 1 },
		{ "", NULL, 0 },
		{ "/", NULL, 0 },
		{ "/24", NULL, 0 },
		{ "[/24]", NULL, 0 },
		{ "[/]", NULL, 0 },
		{ "[]", NULL, 0 },
		{ "[]/24", NULL, 0 },
		{ "192.0.2.0/", NULL, 0 },
		{ "192.0.2.0/0", NULL, 0 },
		{ "192.0.2.0/33", NULL, 0 },
		{ "192.0.2.0/256", NULL, 0 },
		{ "192.0.2.0/4294967320", NULL, 0 },
		{ "192.0.2.0/24x", NULL, 0 },
		{ "192.0.2.0/-1", NULL, 0 },
		{ "192.0.2.0/ 24", NULL, 0 },
		{ "192.0.2.0/24/24", NULL, 0 },
		{ "192.0.2.0/255.255.255.0", NULL, 0 },
		{ "192.0.2/24", NULL, 0 },
		{ "[192.0.2.0/24", NULL, 0 },
		{ "192.0.2.0/24]", NULL, 0 },
		{ "[192.0.2.0/]", NULL, 0 },
		{ "[192.0.2.0]/", NULL, 0 },
		{ "::/0", NULL, 0 },
		{ "::/129", NULL, 0 },
		{ "IPv6:2001:db8::/32", NULL, 0 },
		{ "2001:db8::%lo/32", NULL, 0 },
		{ "mail.example/24", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ip_net net;
		char text[IP_TEXT_SIZE];
		bool ok = parse_net(cases[i].in, &net);

		if (ok != (cases[i].ip != NULL))
			fail_msg("%s: %d", cases[i].in, ok);
		if (!ok)
			continue;
		assert_string_equal(ip_format(&net.ip, text), cases[i].ip);
		assert_int_equal(net.bits, cases[i].bits);
	}
}

static void
decides_what_is_in_a_network(void **state)
{
	static const struct {
		const char *net;
		const char *ip;
		bool in;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.77/24", "192.0.2.0", true },
		{ "192.0.2.77/24", "192.0.2.255", true },
		{ "192.0.2.77/24", "192.0.3.0", false },
		{ "192.0.2.129/25", "192.0.2.128", true },
		{ "192.0.2.129/25", "192.0.2.127", false },
		{ "192.0.2.129/31", "192.0.2.128", true },
		{ "192.0.2.129/31", "192.0.2.130", false },
		{ "192.0.2.129/32", "192.0.2.128", false },
		{ "128.0.0.0/1", "255.255.255.255", true },
		{ "128.0.0.0/1", "127.255.255.255", false },
		{ "2001:db8::1", "2001:db8::1", true },
		{ "2001:db8::1", "2001:db8::", false },
		{ "2001:db8::1/127", "2001:db8::", true },
		{ "2001:db8:0:1::/63", "2001:db8::1", true },
		{ "2001:db8:0:1::/63", "2001:db8:0:2::1", false },
		{ "2001:db8::/32", "2001:db9::", false },
		{ "::/1", "7fff::", true },
		{ "::/1", "8000::", false },
		{ "::/1", "192.0.2.1", false },
		{ "::/95", "192.0.2.1", false },
		{ "::ffff:0:0/96", "192.0.2.1", true },
		{ "::ffff:0:0/96", "::fffe:0:0", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ip_net net;
		struct ip ip;

		assert_true(parse_net(cases[i].net, &net));
		assert_true(ip_parse(cases[i].ip, strlen(cases[i].ip), &ip));
		if (ip_is_in_net(&ip, &net) != cases[i].in)
			fail_msg("%s in %s: %d", cases[i].ip, cases[i].net,
			    !cases[i].in);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_addresses),
		cmocka_unit_test(parses_literals),
		cmocka_unit_test(refuses_a_nul),
		cmocka_unit_test(distinguishes_v4_from_v6),
		cmocka_unit_test(fills_socket_addresses),
		cmocka_unit_test(reads_socket_addresses),
		cmocka_unit_test(reads_a_mapped_socket_address),
		cmocka_unit_test(refuses_other_socket_addresses),
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(reads_networks),
		cmocka_unit_test(decides_what_is_in_a_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
