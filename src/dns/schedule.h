/* SPDX-License-Identifier: ISC */
#ifndef DNS_SCHEDULE_H
#define DNS_SCHEDULE_H

/*
 * How long, and how often, the servers of resolv.conf are to be asked.
 */
struct dns_schedule {
	unsigned long timeout_s; /* of the first attempt at each server */
	unsigned long attempts;  /* at each server */
};

/*
 * Reads "options timeout:n attempts:n" from a file in the format of
 * resolv.conf(5): the last one of each counts, up to 30 and 5.  What is not
 * there, makes no sense or cannot be read is the default of that page: 5
 * seconds, 2 attempts.
 */
struct dns_schedule dns_schedule_read(const char *path);

#endif
