/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TCPTO_H
#define QMAIL_TCPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Remember hosts that time out, in qmail's file format.
 *
 * tcpto (IPv4) is shared with stock's qmail-tcpto, qmail-tcpok and
 * qmail-rspawn: 64 records of 16 bytes, never grown, shrunk or sorted.
 * tcpto6 (IPv6) has 64 records of 32 bytes and is made when it is missing;
 * clearing tcpto clears it too: while tcpto is all zero, what is older than
 * the last change of that file counts for nothing.
 * Both are read and changed under flock().  If anything goes wrong with them,
 * the delivery goes on as if the table were empty.
 */
struct tcpto {
	const char *path4;
	const char *path6;
};

/*
 * Whether to skip this address since it timed out at least twice recently.
 * *known tells whether there is a record of it at all, which
 * tcpto_answered() would clear.  now is Unix time.
 */
bool tcpto_skips(const struct tcpto *, const struct ip *, int64_t now,
    bool *known);

/* Records that a connection timed out, counting it at most every 120 s. */
void tcpto_timed_out(const struct tcpto *, const struct ip *, int64_t now);

/*
 * When tcpto was cleared, in Unix time, if it has not been used since; else 0.
 * Whoever clears it (qmail-tcpok, or qmail-rspawn as qmail starts) means all
 * that is known of addresses.
 */
int64_t tcpto_cleared(const struct tcpto *);

/* Clears the record of an address; called only when it was known. */
void tcpto_answered(const struct tcpto *, const struct ip *);

#endif
