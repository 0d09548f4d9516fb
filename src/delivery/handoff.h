/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_HANDOFF_H
#define DELIVERY_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What qmail-remote knows of a server that is ready for MAIL, as it becomes
 * qmail-remote-io: the argument vector of that program, described in
 * qmail-remote-io(8).  Both sides of it are here.
 */
struct handoff {
	unsigned long fd;        /* of the session, in clear text */
	unsigned long timeout_s; /* timeoutremote */
	unsigned long status;    /* qmail-remote-tls writes to it; 0: no TLS */
	unsigned long helper;    /* process id of qmail-remote-tls; 0: it is */
				 /* not a child of this process, or no TLS */
	const char *address;     /* of the server, as text */
	const char *host;        /* its name; NULL if it was given as address */
	const char *extensions;  /* as smtp_ehlo_format(); NULL: none */
	const char *tls;         /* the report's line on TLS; NULL: none */
	const char *before;      /* lines on servers that failed; NULL: none */
	unsigned long memory;    /* of addresses, qmail/memory.h; 0: none */
	unsigned long helo;      /* 1: HELO, since EHLO had no usable reply */
	unsigned long secrets;   /* see delivery/secrets.h; 0: no AUTH */
	unsigned long cache;     /* socket to qmail-remote-cache; 0: none */
	unsigned long used;      /* MAIL commands on this connection so far */
	unsigned long progress;  /* see below; 0: a new connection */
	char **envelope;         /* sender, recipients, NULL */
};

/*
 * On a connection that was used before, qmail-remote is the parent, and makes a
 * new connection if this one is not usable.  Then qmail-remote-io writes no
 * report and has this exit code.  It does so only if it has sent no mail data;
 * before it sends any, it writes one byte to the descriptor progress.  So if it
 * was killed without that byte, no mail data has left either.
 *
 * If another message may follow on the connection, the last thing that it
 * writes there is the number of MAIL commands so far, in decimal digits.
 */
#define HANDOFF_EXIT_AGAIN 99

#define HANDOFF_TIMEOUT_MAX 604800 /* seconds: a week */

/*
 * The argument vector, ended by NULL; allocated, and its envelope is that of
 * the handoff.
 */
char **handoff_format(const struct handoff *);

/* Frees it. */
void handoff_free(char **argv);

/*
 * Reads an argument vector that has at least a sender and one recipient.
 * False if anything is missing, unknown, given twice or not a number where
 * there has to be one.  The text points into argv.
 */
bool handoff_parse(struct handoff *, int argc, char **argv);

#endif
