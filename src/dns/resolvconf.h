/* SPDX-License-Identifier: ISC */
#ifndef DNS_RESOLVCONF_H
#define DNS_RESOLVCONF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/* Read resolv.conf(5): which name servers there are, and how to ask them. */

#define DNS_SERVERS_MAX 3 /* as many as the C library uses */

struct dns_server {
	struct ip ip;
	uint16_t port;
	/* Zone of a link-local address (RFC 4007 section 11), or "". */
	char interface[IF_NAMESIZE];
};

struct dns_config {
	struct dns_server server[DNS_SERVERS_MAX];
	size_t nserver; /* at least 1 */

	/* "options timeout:n attempts:n"; 0: the file has neither of them. */
	unsigned long timeout_s; /* for one attempt at one server */
	unsigned long attempts;  /* rounds over all servers */

	bool is_rotated; /* "options rotate": begin with a random server */
	bool uses_tcp;   /* "options use-vc": ask over TCP only */

	/*
	 * The AD bit of an answer can be trusted: either all servers are on
	 * this machine, so that nobody on the way can have set it, or the file
	 * says so with "options trust-ad".
	 */
	bool is_trusted;
};

/*
 * Reads a file in the format of resolv.conf(5).
 *
 * Addresses may have a zone (fe80::1%eth0), or a port in the form
 * [address]:port.  Invalid lines are ignored.  Without a name server, or
 * without the file, the server is 127.0.0.1.  Of several options of the same
 * name the last one counts.  A timeout is at most 30 s, and there are at most 5
 * attempts.  If only one of the two is given, the other has the default of
 * resolv.conf(5): 5 seconds, 2 attempts.
 */
void dns_config_read(struct dns_config *, const char *path);

#endif
