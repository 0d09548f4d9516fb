/* SPDX-License-Identifier: ISC */
#ifndef CHECK_INSTALLED_H
#define CHECK_INSTALLED_H

#include "base/buf.h"

/*
 * Look at a program in QMAIL_HOME/bin: whether it is the one of this name and
 * version, by the mark "@(#)NAME VERSION" in its bytes.  Appends what is there,
 * and what is wrong with it, if anything is.  A program that can be run and not
 * read has no fault.
 */
void installed_describe(const char *path, const char *name, const char *version,
    struct buf *what, struct buf *fault);

#endif
