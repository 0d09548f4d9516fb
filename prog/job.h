/* SPDX-License-Identifier: ISC */
#ifndef PROG_JOB_H
#define PROG_JOB_H

#include <stdbool.h>

/*
 * Fetch one policy, in two processes.  One talks to the network, and gives up
 * its rights when it is connected.  The other one takes from it an entry of the
 * cache, checks that, puts it in place, and prints a line about it.
 */

/* A fetch.  Descriptors are -1 if there are none. */
struct job {
	const char *domain; /* as sts_domain_read() makes it */
	const char *id;     /* of the record; NULL: it is asked for */
	int lock, place;    /* of sts_lock_take() and sts_place_take() */
	int out;            /* gets the entry, non-blocking */
	bool is_upkeep;     /* nobody needs the policy now: say only faults */
};

/*
 * Does all of it, in this process and a child, within 65 seconds: then this
 * process is ended by a signal.  The descriptor out is closed as soon as the
 * entry is known.  0, or JOB_NOT_FETCHED.
 */
#define JOB_NOT_FETCHED 1

int job_run(const struct job *);

/* Closes the descriptors of the locks; others can fetch then. */
void job_close_locks(const struct job *);

/* Prints a line on standard output: the domain and a text. */
void job_print(const char *domain, const char *text);

#endif
