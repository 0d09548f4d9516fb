/* SPDX-License-Identifier: ISC */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <sys/socket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An IPv4 or IPv6 address.
 *
 * Always 16 bytes in network order, IPv4 in its mapped form ::ffff:a.b.c.d
 * (RFC 4291 section 2.5.5.2): each address has one form only, and a mapped
 * address from the DNS is the same as the IPv4 address in it.
 */
struct ip {
	unsigned char byte[16];
};

/* The addresses whose first bits, 1 to 128, are those of ip. */
struct ip_net {
	struct ip ip;
	unsigned bits;
};

#define IP_TEXT_SIZE 46 /* of the longest text form with its NUL */

struct ip ip_from_v4(const unsigned char[4]);
struct ip ip_from_v6(const unsigned char[16]);

bool ip_is_v4(const struct ip *);
bool ip_equal(const struct ip *, const struct ip *);

/*
 * Reads n bytes, all of them, as a dotted quad or as an IPv6 address in any
 * textual form of RFC 4291 section 2.2.  Octets may have leading zeros, as in
 * qmail; they are decimal all the same.
 */
bool ip_parse(const char *, size_t n, struct ip *);

/*
 * The same for a literal as it stands in a mailbox, a route or a host
 * argument: "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321
 * section 4.1.3, the tag in any case) and "[2001:db8::1]".
 */
bool ip_parse_literal(const char *, size_t n, struct ip *);

/*
 * Reads n bytes as an address in any of these forms, in brackets or not, or
 * as a network: "192.0.2.0/24", "2001:db8::/32", "[2001:db8::]/32".  The
 * number is 1 to 32 for a dotted quad and 1 to 128 else; the bits behind it
 * may be anything.  An address by itself is a network of its own.
 */
bool ip_parse_net(const char *, size_t n, struct ip_net *);

/*
 * An IPv4 address is only in a network of IPv4 addresses, written as such or
 * mapped; no network of IPv6 addresses, however large, contains it.
 */
bool ip_is_in_net(const struct ip *, const struct ip_net *);

/* Into text of IP_TEXT_SIZE bytes; returns text. */
char *ip_format(const struct ip *, char *text);

/* Fills a socket address; returns its length. */
socklen_t ip_sockaddr(const struct ip *, uint16_t port,
    struct sockaddr_storage *);

#endif
