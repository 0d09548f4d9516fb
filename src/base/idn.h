/* SPDX-License-Identifier: ISC */
#ifndef BASE_IDN_H
#define BASE_IDN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Domain names in UTF-8, as the A-labels that the DNS and SMTP know (RFC 5890
 * section 2.3.2.1).
 *
 * A label that is not ASCII has to be a U-label by all rules of IDNA2008 (RFC
 * 5891 section 4.2, RFC 5892, RFC 5893).  Before that it is brought into NFC,
 * and letters that have a small form are replaced by it, each for itself; so a
 * capital sigma is never a final sigma.  There is no other mapping: not of wide
 * letters, not of dots that are not ASCII, not of U+00DF to "ss".  Nothing
 * beyond ASCII becomes an ASCII character, as the Kelvin sign would become k.
 */

/*
 * Appends the domain of n bytes, with an A-label in place of each label that is
 * not ASCII.  All else is copied as it is: labels in ASCII, whatever they are;
 * dots at the start and the end, so keys of control files can be converted too.
 *
 * Returns NULL, or what is wrong with a label; then nothing is appended.
 */
const char *idn_to_ascii(struct buf *, const char *domain, size_t n);

/* False in a build without libidn2, where no label is taken for a U-label. */
bool idn_is_supported(void);

/*
 * In a build without libidn2 the hook is called for each domain beyond ASCII,
 * before it is refused.  It may replace the program by one that has libidn2.
 */
void idn_on_need(void (*hook)(void));

#endif
