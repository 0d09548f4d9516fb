/* SPDX-License-Identifier: ISC */
#ifndef DNS_RESOLVCONF_H
#define DNS_RESOLVCONF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * What resolv.conf(5) says: which name servers there are, and how they are to
 * be asked.
 */

#define DNS_SERVERS_MAX 3 /* the C library reads as many */

struct dns_server {
	struct ip ip;
	uint16_t port;
	/* The zone of a link-local address (RFC 4007 section 11), or "". */
	char interface[IF_NAMESIZE];
};

struct dns_config {
	struct dns_server server[DNS_SERVERS_MAX];
	size_t nserver; /* at least 1 */

	/* "options timeout:n attempts:n"; 0: the file has neither of them. */
	unsigned long timeout_s; /* of one attempt at one server */
	unsigned long attempts;  /* at each server */

	bool is_rotated; /* "options rotate": begin with any server */
	bool uses_tcp;   /* "options use-vc": never ask over UDP */

	/*
	 * The AD bit of an answer means something: nobody on the way could
	 * have set it, because all servers are on this machine, or because
	 * the file says so with "options trust-ad".
	 */
	bool is_trusted;
};

/*
 * Reads a file in the format of resolv.conf(5).
 *
 * Addresses may have a zone (fe80::1%eth0), and a port in the form
 * [address]:port.  Lines that make no sense are left out.  Without a name
 * server, or without the file, it is 127.0.0.1.  Of several options of the
 * same name the last one counts; a timeout is at most 30 s, and there are at
 * most 5 attempts.  Where only one of the two is given, the other is the
 * default of that page: 5 seconds, 2 attempts.
 */
void dns_config_read(struct dns_config *, const char *path);

#endif
