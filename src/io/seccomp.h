/* SPDX-License-Identifier: ISC */
#ifndef IO_SECCOMP_H
#define IO_SECCOMP_H

/*
 * The part of the sandbox that filters system calls, for io/sandbox alone.
 *
 * Best effort: where a kernel or a container allows no filter, or nobody has
 * written one for the architecture (seccomp_none.c), all calls stay.
 */
enum seccomp_filter {
	SECCOMP_SEARCH,     /* finds a server, starts programs */
	SECCOMP_BYTES,      /* reads, writes, polls, allocates memory */
	SECCOMP_TLS,        /* and what a TLS library asks of the system */
	SECCOMP_TLS_READING /* and reads files */
};

/* Filters add up: what one of them forbids, a later one cannot allow. */
void seccomp_install(enum seccomp_filter);

#endif
