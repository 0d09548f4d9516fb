/* SPDX-License-Identifier: ISC */
#ifndef IO_SECCOMP_H
#define IO_SECCOMP_H

/*
 * The part of the sandbox that filters system calls, for io/sandbox only.
 *
 * Best effort: where a kernel or container allows no filter, or there is none
 * for the architecture (seccomp_none.c), all calls stay allowed.
 */
enum seccomp_filter {
	SECCOMP_SEARCH,     /* find a server, start programs */
	SECCOMP_FETCH,      /* the same, and tell no collector of reports */
	SECCOMP_BYTES,      /* read, write, poll, allocate memory */
	SECCOMP_HOLDING,    /* and accept clients, pass descriptors */
	SECCOMP_TLS,        /* and what a TLS library needs */
	SECCOMP_TLS_READING /* and read files */
};

/*
 * Filters add up: a later one cannot allow what an earlier one forbids.  With
 * SECCOMP_BYTES messages may be sent through this socket, by pass_send(); -1:
 * through none.
 */
void seccomp_install(enum seccomp_filter, int socket);

#endif
