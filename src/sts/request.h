/* SPDX-License-Identifier: ISC */
#ifndef STS_REQUEST_H
#define STS_REQUEST_H

#include <stdbool.h>

/*
 * The argument vector of qmail-remote-sts when a delivery starts it, described
 * in qmail-remote-sts(8): formatted for the delivery, and parsed for the
 * program.
 */
struct sts_request {
	const char *domain;
	const char *id;      /* of the record, for the entry; may be "" */
	unsigned long lock;  /* descriptor of sts_lock_take(), or 0: none */
	unsigned long place; /* descriptor of sts_place_take(), or 0: none */
	unsigned long out;   /* where the entry is written to, or 0: nowhere */
};

/*
 * Formats an argument vector, ended by NULL, to be freed by sts_request_free().
 * program is borrowed.
 */
char **sts_request_format(const struct sts_request *, const char *program);

/* Frees an argument vector and its words, but not program. */
void sts_request_free(char **argv);

/*
 * Parses an argument vector.  False if an argument is missing, unknown or given
 * twice, or if a number is not one of a descriptor.  Text points into argv.
 */
bool sts_request_parse(struct sts_request *, int argc, char **argv);

#endif
