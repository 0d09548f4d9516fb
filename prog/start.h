/* SPDX-License-Identifier: ISC */
#ifndef PROG_START_H
#define PROG_START_H

/*
 * What every program that may write a report does first.
 *
 * Descriptors 0, 1 and 2 are made safe, the environment is emptied (it could
 * change what a library does), SIGPIPE and SIGXFSZ are ignored (a write fails
 * instead), SIGCHLD, which qmail-rspawn blocks, gets its default, and running
 * out of memory is reported as a temporary failure.  If no report can be
 * written, because fd 1 is closed or open for reading only, the program ends
 * here: a delivery that is not reported would be repeated.
 */
void start_program(void);

/*
 * Called last, when the report is written and the session closed: waits a
 * moment for qmail-remote-tls to send what is left and to end, so that it does
 * not stay as a zombie in a container whose first process does not reap.
 */
void end_helpers(void);

#endif
