/* SPDX-License-Identifier: ISC */
#ifndef PROG_VERSION_H
#define PROG_VERSION_H

#include <stdbool.h>

#include "config.h"

/*
 * Name and version of a program, as its bytes have them: "@(#)" is what
 * what(1) looks for, and tools/install.py, to tell our programs from others.
 */
#define VERSION_MARK(name) "@(#)" name " " PROGRAM_VERSION

/* True if --version is the only argument; no delivery has less than three. */
bool version_is_wanted(int argc, char **argv);

/* Prints name and version on standard output.  Returns the exit code. */
int version_print(const char *mark);

#endif
