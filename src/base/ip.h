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
 * Always 16 bytes in network order, IPv4 in its mapped form ::ffff:a.b.c.d (RFC
 * 4291 section 2.5.5.2).  So each address has one form only, and a mapped
 * address from the DNS equals the IPv4 address in it.
 */
struct ip {
	unsigned char byte[16];
};

/* All addresses whose first bits are those of ip; bits is 1 to 128. */
struct ip_net {
	struct ip ip;
	unsigned bits;
};

#define IP_TEXT_SIZE 46 /* longest text form with its NUL */

/* From 4 or 16 bytes in network order. */
struct ip ip_from_v4(const unsigned char[4]);
struct ip ip_from_v6(const unsigned char[16]);

/* Whether it is an IPv4 address, plain or mapped; whether two are the same. */
bool ip_is_v4(const struct ip *);
bool ip_equal(const struct ip *, const struct ip *);

/*
 * Parses n bytes, all of them, as a dotted quad or as an IPv6 address in any
 * text form of RFC 4291 section 2.2.  Octets of a dotted quad are decimal and
 * may have leading zeros, as in qmail.  False if it is no address.
 */
bool ip_parse(const char *, size_t n, struct ip *);

/*
 * The same for an address literal of a mailbox, a route or a host argument:
 * "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3; the
 * tag in any case) and "[2001:db8::1]".
 */
bool ip_parse_literal(const char *, size_t n, struct ip *);

/*
 * Parses n bytes as an address in any of these forms, in brackets or not, or as
 * a network: "192.0.2.0/24", "2001:db8::/32", "[2001:db8::]/32".  The prefix
 * length is 1 to 32 for a dotted quad, otherwise 1 to 128; the bits after the
 * prefix may have any value.  An address without a prefix length is a network
 * of one address.  False if it is neither.
 */
bool ip_parse_net(const char *, size_t n, struct ip_net *);

/*
 * An IPv4 address is only in a network of IPv4 addresses, plain or mapped.  A
 * network of IPv6 addresses never contains it, however large it is.
 */
bool ip_is_in_net(const struct ip *, const struct ip_net *);

/*
 * Writes the address (RFC 5952) into text, which has IP_TEXT_SIZE bytes;
 * returns text.
 */
char *ip_format(const struct ip *, char *text);

/*
 * The address in a socket address.  False if there is none, as for an interface
 * without one, or if it is of another family.
 */
bool ip_from_sockaddr(const struct sockaddr *, struct ip *);

/* Fills a socket address for connect(); returns its length. */
socklen_t ip_sockaddr(const struct ip *, uint16_t port,
    struct sockaddr_storage *);

#endif
