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
	unsigned long helper;    /* process id of qmail-remote-tls; 0: no TLS */
	const char *address;     /* of the server, as text */
	const char *host;        /* its name; NULL if it was given as address */
	const char *extensions;  /* as smtp_ehlo_format(); NULL: none */
	const char *tls;         /* the report's line on TLS; NULL: none */
	const char *before;      /* lines on servers that failed; NULL: none */
	unsigned long memory;    /* of addresses, qmail/memory.h; 0: none */
	unsigned long helo;      /* 1: HELO, since EHLO had no usable reply */
	unsigned long secrets;   /* see delivery/secrets.h; 0: no AUTH */
	char **envelope;         /* sender, recipients, NULL */
};

#define HANDOFF_TIMEOUT_MAX 604800 /* seconds: a week */

/*
 * The argument vector, ended by NULL; allocated, and its envelope is that of
 * the handoff.
 */
char **handoff_format(const struct handoff *);

/*
 * Reads an argument vector that has at least a sender and one recipient.
 * False if anything is missing, unknown, given twice or not a number where
 * there has to be one.  The text points into argv.
 */
bool handoff_parse(struct handoff *, int argc, char **argv);

#endif
