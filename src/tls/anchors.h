/* SPDX-License-Identifier: ISC */
#ifndef TLS_ANCHORS_H
#define TLS_ANCHORS_H

#include <stdbool.h>

#include "base/dsn.h"

/*
 * The certificates that we trust to vouch for a server.
 *
 * They come from a hashed directory (openssl rehash), or from a PEM bundle
 * that is compiled once into a cdb by subject name: parsing 150 certificates
 * for each delivery costs more than the rest of it.
 */

struct tls_anchors;
struct x509_store_st;

/*
 * Opens the anchors at path: a directory when it ends in '/', a bundle
 * otherwise.  statedir holds the compiled form of a bundle and may be NULL.
 * Returns NULL, with why, when there is no such file or directory, it is not
 * readable, or a bundle has no certificate in it.  A directory is looked into
 * when a chain is verified.
 */
struct tls_anchors *tls_anchors_open(const char *path, const char *statedir,
    struct dsn *why);
void tls_anchors_close(struct tls_anchors *);

/*
 * The store that looks them up while a chain is built; borrowed.  A bundle
 * is read through descriptors that are open by now; a directory's files are
 * opened as they are looked up.
 */
struct x509_store_st *tls_anchors_store(const struct tls_anchors *);

/*
 * A lookup failed for a reason of our own (not: there is no such anchor), so
 * that a chain which did not verify says nothing about the server.
 */
bool tls_anchors_failed(const struct tls_anchors *);

#endif
