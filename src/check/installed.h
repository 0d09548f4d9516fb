/* SPDX-License-Identifier: ISC */
#ifndef CHECK_INSTALLED_H
#define CHECK_INSTALLED_H

#include "base/buf.h"

enum { INSTALLED_PROGRAMS = 6 };

/* The programs in QMAIL_HOME/bin; zeroed before use. */
struct installed {
	struct installed_program {
		struct buf path;
		struct buf what;  /* name and version */
		struct buf fault; /* what is wrong with it, or empty */
	} programs[INSTALLED_PROGRAMS];
};

/*
 * Look at each program in home/bin, qmail-remote under the given name: whether
 * it is the one of its name and of this version, by the mark "@(#)NAME VERSION"
 * in its bytes.  Root should do this before it becomes qmailr, who may run the
 * programs as they are installed, and not read them.  A program that can be run
 * and not read has no fault.
 */
void installed_look(struct installed *, const char *home, const char *name,
    const char *version);
void installed_finish(struct installed *);

#endif
