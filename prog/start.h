/* SPDX-License-Identifier: ISC */
#ifndef PROG_START_H
#define PROG_START_H

/*
 * What every program that may write a report does first.
 *
 * Descriptors 0, 1 and 2 are made safe, the environment is emptied (nothing
 * in it may steer a library), SIGPIPE and SIGXFSZ are ignored (a write fails
 * instead), SIGCHLD, which arrives blocked and could arrive ignored, is set
 * right, and running out of memory is made a temporary failure.  Where no
 * report can be written, fd 1 being closed or open for reading only, the
 * program ends here: what cannot be reported must not be delivered, for it
 * would be delivered again.
 */
void start_program(void);

/*
 * The last thing, when the report is written and the session closed: a moment
 * for qmail-remote-tls to send what is left and to end, so that it is no
 * zombie in a container whose first process reaps none.
 */
void end_helpers(void);

#endif
