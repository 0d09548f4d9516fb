/* SPDX-License-Identifier: ISC */
#ifndef STS_DOMAIN_H
#define STS_DOMAIN_H

#include <stdbool.h>

/* The names of domains that can have a policy. */

/*
 * Bytes: "_mta-sts." and the name are a domain name, and with the prefixes of
 * sts/cache it is a file name.
 */
#define STS_DOMAIN_MAX 244
#define STS_DOMAIN_SIZE (STS_DOMAIN_MAX + 1)

/*
 * Copies the name, in lower case and without a dot at its end.  False for what
 * cannot have a policy: an address, a name that cannot exist, one that is too
 * long, and one with bytes other than letters, digits, '-', '_' and '.'.  So no
 * path is ever made of such a name.
 */
bool sts_domain_read(char domain[STS_DOMAIN_SIZE], const char *name);

#endif
