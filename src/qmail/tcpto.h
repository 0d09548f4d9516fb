/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TCPTO_H
#define QMAIL_TCPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Remember addresses that time out, in qmail's file format.
 *
 * tcpto (IPv4) is shared with stock's qmail-tcpto, qmail-tcpok and
 * qmail-rspawn: 64 records of 16 bytes; its size and order never change.
 * tcpto6 (IPv6) has 64 records of 32 bytes and is created if it is missing.
 * Clearing tcpto clears it too: while tcpto is all zero, records older than the
 * last change of that file are ignored.  Both are read and changed under
 * flock().  If anything goes wrong with them, the delivery goes on as if the
 * table were empty.
 */
struct tcpto {
	const char *path4;
	const char *path6;
	bool is_read_only; /* never record anything */
};

/*
 * Whether to skip this address because it timed out at least twice recently.
 * *known says whether it has a record at all, which tcpto_answered() would
 * clear.  now is Unix time.
 */
bool tcpto_skips(const struct tcpto *, const struct ip *, int64_t now,
    bool *known);

/*
 * An address that tcpto_skips() says true for is skipped for this long after
 * its last counted time-out, in seconds: each process takes a time of its own
 * between these two.
 */
#define TCPTO_SKIP_MIN_S (60 * 64)
#define TCPTO_SKIP_MAX_S ((60 + 31) * 64)

/*
 * The Unix time of the last counted time-out of an address that is or may be
 * skipped because of it; 0 if it is not skipped.
 */
int64_t tcpto_skipped_since(const struct tcpto *, const struct ip *,
    int64_t now);

/*
 * Records that a connection timed out.  Time-outs less than 120 s after the
 * last counted one are not counted.
 */
void tcpto_timed_out(const struct tcpto *, const struct ip *, int64_t now);

/*
 * The Unix time at which tcpto was cleared, if it has not been used since;
 * otherwise 0.  qmail-tcpok, and qmail-rspawn when qmail starts, clear it, and
 * mean everything that is known of addresses.
 */
int64_t tcpto_cleared(const struct tcpto *);

/*
 * Clears the record of an address, which did not time out this time.  Only
 * needed if tcpto_skips() has set *known.
 */
void tcpto_answered(const struct tcpto *, const struct ip *);

#define TCPTO_RECORDS 64

struct tcpto_record {
	struct ip ip;
	int64_t when;   /* Unix time of the last counted time-out */
	unsigned count; /* number of time-outs, at least 1 */
};

/*
 * Copies the records in use, of tcpto if is_v4, otherwise of tcpto6, in the
 * order of the file.  Returns their number, or -1 with errno if the file cannot
 * be opened for reading and writing, locked or read.
 */
int tcpto_list(const struct tcpto *, bool is_v4,
    struct tcpto_record record[TCPTO_RECORDS]);

/*
 * Zeroes the record of an address.  Returns 1 if that was done, 0 if there was
 * no record, and -1 with errno as tcpto_list() does.
 */
int tcpto_forget(const struct tcpto *, const struct ip *);

#endif
