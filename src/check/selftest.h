/* SPDX-License-Identifier: ISC */
#ifndef CHECK_SELFTEST_H
#define CHECK_SELFTEST_H

#include "base/buf.h"
#include "delivery/setup.h"

/*
 * Try what a delivery needs of this machine.  Each function appends what it
 * found, and what is wrong with it, if anything is.
 */

/*
 * Starts qmail-remote-tls as a delivery does, with a server that has hung up:
 * whether its libraries, the trust anchors, our certificate and its key can be
 * used, and until when the certificate is valid.
 */
void selftest_helper(const struct setup_files *, const struct control *,
    struct buf *what, struct buf *fault);

/* Which parts of the sandbox (io/sandbox.h) this process is in. */
void selftest_sandbox(struct buf *what);

/*
 * The limits on memory of a qmail-rspawn that runs: deliveries inherit them.
 */
void selftest_limits(struct buf *what, struct buf *fault);

#endif
