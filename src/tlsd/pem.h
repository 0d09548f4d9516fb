/* SPDX-License-Identifier: ISC */
#ifndef TLSD_PEM_H
#define TLSD_PEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Find and decode the blocks of a PEM file (RFC 7468), with any other text
 * between them.
 *
 * A block begins at the start of a line, or directly after another block,
 * because files are often joined without a line end between them.  Blanks and a
 * byte order mark may precede it; lines may end in LF, CR LF or CR.  An
 * incomplete block is an error and is never skipped.
 */
struct pem {
	const char *text, *at, *end;
	const char *fault; /* what is wrong, after a failure */
	const char *where; /* and where in the text */
};

/* Everything is borrowed from the text. */
struct pem_block {
	const char *start; /* of "-----BEGIN " */
	const char *label; /* "CERTIFICATE" */
	size_t label_len;
	const char *body;
	size_t body_len;
	size_t len; /* from BEGIN to the dashes of END */
};

enum pem_result { PEM_BLOCK, PEM_END, PEM_DAMAGED };

/* The n bytes are borrowed. */
void pem_init(struct pem *, const char *text, size_t n);

/*
 * Finds the next block.  PEM_DAMAGED if it has no END with its label, or if an
 * END has no block; then fault and where are set, and no block follows.
 */
enum pem_result pem_next(struct pem *, struct pem_block *);

/* Whether the block has exactly this label. */
bool pem_has_label(const struct pem_block *, const char *label);

/*
 * Decodes the base64 of a block into *data, whose old contents are replaced;
 * skips header lines (RFC 1421 section 4.4).  False if it is invalid (a wrong
 * character, or not a multiple of four); then fault and where are set.
 */
bool pem_decode(struct pem *, const struct pem_block *, struct buf *data);

/* The line number of the fault, from 1. */
size_t pem_fault_line(const struct pem *);

#endif
