/* SPDX-License-Identifier: ISC */
#ifndef TLSD_ANCHORS_H
#define TLSD_ANCHORS_H

#include "base/dsn.h"

/*
 * The trust anchors: certificates that we trust to verify servers'
 * certificates.
 *
 * They come from a hashed directory (openssl rehash), or from a PEM bundle.  A
 * bundle has an index by subject name, because parsing 150 certificates costs
 * more than the rest of a delivery.  The index only says where in the bundle to
 * look (io/compiled.h).  So whoever could write an index can hide anchors, but
 * cannot add one.  And hiding does not help, because a chain that does not
 * verify is verified again with the whole bundle.
 */

struct tlsd_anchors;
struct x509_store_st;
struct x509_store_ctx_st;
struct X509_VERIFY_PARAM_st;

/*
 * Opens the anchors at path: a directory if it ends in '/', otherwise a bundle.
 * statedir holds the index of a bundle and may be NULL.  Returns NULL and fills
 * why if there is no such file or directory, it is not readable, or a bundle is
 * damaged or has no certificate.  Files in a directory are read only when a
 * chain is verified.
 */
struct tlsd_anchors *tlsd_anchors_open(const char *path, const char *statedir,
    struct dsn *why);

/* Frees them; NULL is allowed. */
void tlsd_anchors_close(struct tlsd_anchors *);

/* The store that looks up anchors while a chain is built; borrowed. */
struct x509_store_st *tlsd_anchors_store(const struct tlsd_anchors *);

/*
 * Verifies a chain as X509_verify_cert() does, but returns 0 for every failure.
 * For SSL_CTX_set_cert_verify_callback(), with the anchors as its argument.  A
 * bundle is read through a descriptor that is already open; files of a
 * directory are opened when they are needed.
 */
int tlsd_anchors_verify(struct x509_store_ctx_st *, void *anchors);

/*
 * Verifies the chain of a context that was used already, in a copy of it, by
 * these anchors and with these parameters.  X509_V_OK or why not.
 */
long tlsd_anchors_verify_copy(struct tlsd_anchors *, struct x509_store_ctx_st *,
    const struct X509_VERIFY_PARAM_st *);

/*
 * A failure of ours while anchors were looked up (a missing anchor is not one):
 * then a chain that did not verify says nothing about the server.  NULL if
 * there was none; borrowed.
 */
const struct dsn *tlsd_anchors_failure(const struct tlsd_anchors *);

#endif
