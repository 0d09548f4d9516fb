/* SPDX-License-Identifier: ISC */
#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define MAPPED_BITS 96 /* before the IPv4 address in a mapped one */

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

struct ip
ip_from_v4(const unsigned char v4[4])
{
	struct ip ip;

	memcpy(ip.byte, mapped, sizeof mapped);
	memcpy(ip.byte + sizeof mapped, v4, 4);
	return ip;
}

struct ip
ip_from_v6(const unsigned char v6[16])
{
	struct ip ip;

	memcpy(ip.byte, v6, sizeof ip.byte);
	return ip;
}

bool
ip_is_v4(const struct ip *ip)
{
	return memcmp(ip->byte, mapped, sizeof mapped) == 0;
}

bool
ip_equal(const struct ip *a, const struct ip *b)
{
	return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

/* Not inet_pton(), which refuses leading zeros. */
static bool
parse_v4(const char *s, size_t n, struct ip *ip)
{
	unsigned char v4[4];

	for (size_t i = 0; i < 4; i++) {
		unsigned long octet = 0;
		size_t digits;

		if (i > 0) {
			if (n == 0 || *s != '.')
				return false;
			s++;
			n--;
		}
		digits = str_number(s, n, 256, &octet);
		if (digits == 0 || octet > 255)
			return false;
		v4[i] = (unsigned char)octet;
		s += digits;
		n -= digits;
	}
	if (n > 0)
		return false;
	*ip = ip_from_v4(v4);
	return true;
}

static bool
parse_v6(const char *s, size_t n, struct ip *ip)
{
	char text[IP_TEXT_SIZE];
	unsigned char v6[16];

	if (n >= sizeof text || memchr(s, '\0', n))
		return false;
	memcpy(text, s, n);
	text[n] = '\0';
	if (inet_pton(AF_INET6, text, v6) != 1)
		return false;
	*ip = ip_from_v6(v6);
	return true;
}

bool
ip_parse(const char *s, size_t n, struct ip *ip)
{
	return parse_v4(s, n, ip) || parse_v6(s, n, ip);
}

/* An address between brackets, with or without the tag. */
static bool
parse_inside(const char *s, size_t n, struct ip *ip)
{
	static const char tag[] = "ipv6:";
	const size_t taglen = sizeof tag - 1;

	if (n > taglen && str_case_equal(s, tag, taglen))
		return parse_v6(s + taglen, n - taglen, ip);
	return ip_parse(s, n, ip);
}

static bool
is_bracketed(const char *s, size_t n)
{
	return n >= 2 && s[0] == '[' && s[n - 1] == ']';
}

bool
ip_parse_literal(const char *s, size_t n, struct ip *ip)
{
	if (is_bracketed(s, n))
		return parse_inside(s + 1, n - 2, ip);
	return parse_v4(s, n, ip);
}

/*
 * The prefix length in bits of the 16 bytes, from n digits; 0 if it is invalid.
 */
static unsigned
parse_bits(const char *s, size_t n, bool is_v6)
{
	const unsigned long most = is_v6 ? 128 : 32;
	unsigned long bits = 0;

	if (str_number(s, n, most + 1, &bits) != n || bits == 0 || bits > most)
		return 0;
	return (unsigned)(bits + 128 - most);
}

bool
ip_parse_net(const char *s, size_t n, struct ip_net *net)
{
	const char *slash = n > 0 ? memchr(s, '/', n) : NULL;
	size_t len = slash ? (size_t)(slash - s) : n;
	size_t rest = slash ? n - len - 1 : 0;
	bool is_v6 = memchr(s, ':', len) != NULL;

	net->bits = 128;
	if (slash && is_bracketed(s, n)) {
		net->bits = parse_bits(slash + 1, rest - 1, is_v6);
		return net->bits > 0 && parse_inside(s + 1, len - 1, &net->ip);
	}
	if (slash)
		net->bits = parse_bits(slash + 1, rest, is_v6);
	return net->bits > 0 && (ip_parse(s, len, &net->ip) ||
				    ip_parse_literal(s, len, &net->ip));
}

bool
ip_is_in_net(const struct ip *ip, const struct ip_net *net)
{
	size_t whole = net->bits / 8;
	unsigned mask = 0xff00 >> net->bits % 8 & 0xff;

	if (ip_is_v4(ip) && net->bits < MAPPED_BITS)
		return false;
	if (memcmp(ip->byte, net->ip.byte, whole) != 0)
		return false;
	return mask == 0 ||
	       ((ip->byte[whole] ^ net->ip.byte[whole]) & mask) == 0;
}

/*
 * Finds the longest run of two or more zero groups, the first one of equally
 * long ones.  Returns its length, or 0; *start is its first group.
 */
static size_t
longest_zeros(const unsigned group[8], size_t *start)
{
	size_t best = 1;
	size_t run = 0;

	for (size_t i = 0; i < 8; i++) {
		run = group[i] == 0 ? run + 1 : 0;
		if (run > best) {
			best = run;
			*start = i + 1 - run;
		}
	}
	return best > 1 ? best : 0;
}

/*
 * Writes RFC 5952 text.  Not by inet_ntop(), which differs between musl and
 * glibc for some addresses: people search logs for an address, so its text must
 * not depend on the C library.
 */
static void
format_v6(const unsigned char *v6, char *text)
{
	unsigned group[8];
	size_t start = 0;
	size_t zeros;
	char *p = text;

	for (size_t i = 0; i < 8; i++)
		group[i] = (unsigned)v6[2 * i] << 8 | v6[2 * i + 1];
	zeros = longest_zeros(group, &start);
	for (size_t i = 0; i < 8; i++) {
		if (zeros > 0 && i == start) {
			*p++ = ':';
			i += zeros - 1;
			if (i == 7)
				*p++ = ':';
			continue;
		}
		if (i > 0)
			*p++ = ':';
		p += snprintf(p, sizeof "ffff", "%x", group[i] & 0xffff);
	}
	*p = '\0';
}

char *
ip_format(const struct ip *ip, char *text)
{
	const unsigned char *v4 = ip->byte + sizeof mapped;

	if (ip_is_v4(ip))
		snprintf(text, IP_TEXT_SIZE, "%d.%d.%d.%d", v4[0], v4[1], v4[2],
		    v4[3]);
	else
		format_v6(ip->byte, text);
	return text;
}

socklen_t
ip_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *to)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	memset(to, 0, sizeof *to);
	if (ip_is_v4(ip)) {
		v4.sin_port = htons(port);
		memcpy(&v4.sin_addr, ip->byte + sizeof mapped, 4);
		memcpy(to, &v4, sizeof v4);
		return sizeof v4;
	}
	v6.sin6_port = htons(port);
	memcpy(&v6.sin6_addr, ip->byte, sizeof ip->byte);
	memcpy(to, &v6, sizeof v6);
	return sizeof v6;
}

bool
ip_from_sockaddr(const struct sockaddr *sa, struct ip *ip)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (sa && sa->sa_family == AF_INET) {
		memcpy(&v4, sa, sizeof v4);
		*ip = ip_from_v4((const unsigned char *)&v4.sin_addr);
		return true;
	}
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(&v6, sa, sizeof v6);
		*ip = ip_from_v6((const unsigned char *)&v6.sin6_addr);
		return true;
	}
	return false;
}
