/* SPDX-License-Identifier: ISC */
#ifndef TLSD_ANCHORS_H
#define TLSD_ANCHORS_H

#include "base/dsn.h"

/*
 * The certificates that we trust to vouch for a server.
 *
 * They come from a hashed directory (openssl rehash), or from a PEM bundle,
 * of which there is an index by subject name: parsing 150 certificates for
 * each delivery costs more than the rest of it.  The index only says where in
 * the bundle to look (io/compiled.h); so whoever could write one can hide
 * anchors, but make nothing an anchor.  And hiding does not help, since a
 * chain that does not verify is verified again by the whole bundle.
 */

struct tlsd_anchors;
struct x509_store_st;
struct x509_store_ctx_st;

/*
 * Opens the anchors at path: a directory when it ends in '/', a bundle
 * otherwise.  statedir holds the index of a bundle and may be NULL.
 * Returns NULL, with why, when there is no such file or directory, it is not
 * readable, or a bundle is damaged or has no certificate in it.  A directory
 * is looked into when a chain is verified.
 */
struct tlsd_anchors *tlsd_anchors_open(const char *path, const char *statedir,
    struct dsn *why);
void tlsd_anchors_close(struct tlsd_anchors *);

/* The store that looks them up while a chain is built; borrowed. */
struct x509_store_st *tlsd_anchors_store(const struct tlsd_anchors *);

/*
 * Verifies a chain: X509_verify_cert(), but 0 for all that failed.  For
 * SSL_CTX_set_cert_verify_callback(), with the anchors as its argument.
 * A bundle is read through descriptors that are open by now; a directory's
 * files are opened as they are looked up.
 */
int tlsd_anchors_verify(struct x509_store_ctx_st *, void *anchors);

/*
 * A failure of our own while anchors were looked up (not: there is no such
 * anchor): a chain that did not verify then says nothing about the server.
 * NULL when there was none; borrowed.
 */
const struct dsn *tlsd_anchors_failure(const struct tlsd_anchors *);

#endif
