/* SPDX-License-Identifier: ISC */
#ifndef PROG_MANY_H
#define PROG_MANY_H

#include "check/probe.h"

/*
 * Reads destinations from standard input, one on each line, and runs the probe
 * for each of them, eight at a time, each in a process of its own.  Blank lines
 * and lines that begin with '#' are skipped.  What is shown of a destination is
 * printed when its probe has ended.
 *
 * Returns the worst verdict.
 */
enum check_verdict many_run(const struct probe *);

#endif
