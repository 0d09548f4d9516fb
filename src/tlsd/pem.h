/* SPDX-License-Identifier: ISC */
#ifndef TLSD_PEM_H
#define TLSD_PEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * The blocks of a PEM file (RFC 7468), between which any other text may be.
 *
 * A block begins where a line does, or right behind another one: files are
 * often joined without a line end between them.  Before it there may be
 * blanks and a byte order mark; lines may end in LF, CR LF or CR.  A block
 * that is not whole is an error of the file, never just left out.
 */
struct pem {
	const char *text, *at, *end;
	const char *fault; /* what is wrong, when something is */
	const char *where; /* and where */
};

/* All are borrowed from the text. */
struct pem_block {
	const char *start; /* of "-----BEGIN " */
	const char *label; /* "CERTIFICATE" */
	size_t label_len;
	const char *body;
	size_t body_len;
	size_t len; /* of all, from BEGIN to the dashes of END */
};

enum pem_result { PEM_BLOCK, PEM_END, PEM_DAMAGED };

void pem_init(struct pem *, const char *text, size_t n);

/*
 * The next block.  PEM_DAMAGED when it has no END of its label, or an END
 * stands alone; then fault and where are set, and there is no way on.
 */
enum pem_result pem_next(struct pem *, struct pem_block *);

bool pem_has_label(const struct pem_block *, const char *label);

/*
 * Decodes the base64 of a block, past header lines (RFC 1421 section 4.4),
 * into *data, which is replaced.  False when it is broken: a byte that does
 * not belong there, or not a multiple of four characters; then fault and
 * where are set.
 */
bool pem_decode(struct pem *, const struct pem_block *, struct buf *data);

/* The number of the line, from 1, in which the fault is. */
size_t pem_fault_line(const struct pem *);

#endif
